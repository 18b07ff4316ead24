from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.blocks.causal_encoder import CausalConv, JointProjection
from models.blocks.multiscale import BRANCHES, MSCN
from models.blocks.squeeze import SqueezeExcitation
from models.painattnnet import MSCNSE, JoinedSignals, PainAttnNet, RawSignals
from models.registry import create_model
from tests.helpers.golden import Golden, load_golden

SIGNALS = ("eda", "ecg", "emg")
SAMPLES = 2816

FAMILY = ("mscn", "mscn-se", "mscn-tran", "painattnnet", "painattnnet-late", "painattnnet-attention")
REFERENCES = (
    "painattnnet",
    *(f"mpan_{mode}_m{m}" for mode in ("mscn", "mscn_se", "mscn_tran", "full") for m in (1, 2, 3)),
    *(f"mpan_{mode}_m{m}" for mode in ("early", "late") for m in (2, 3)),
)
_ARCHITECTURES = {
    "mscn": "mscn",
    "mscn_se": "mscn-se",
    "mscn_tran": "mscn-tran",
    "full": "painattnnet",
    "early": "painattnnet",
    "late": "painattnnet-late",
}

every_reference = pytest.mark.parametrize("name", REFERENCES)
every_member = pytest.mark.parametrize("architecture", FAMILY)


def build(architecture: str, count: int, classes: int = 2) -> RawSignals:
    model = create_model(architecture, inputs=SIGNALS[:count], classes=classes)
    assert isinstance(model, RawSignals)
    return model


def reference(name: str) -> tuple[RawSignals, Golden, str]:
    """Model at the reference's weights, the reference, and the prefix of its names."""
    golden = load_golden(name)
    mode, count = ("full", 1) if name == "painattnnet" else (name[5:-3], int(name[-1]))
    prefix = "PainAttnNet." if mode == "early" else ""
    model = build(_ARCHITECTURES[mode], count)
    model.load_state_dict({key.removeprefix(prefix): value for key, value in golden.state_dict().items()}, strict=True)
    return model.eval(), golden, prefix


def split(model: RawSignals, joined: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(zip(model.input_names, joined.split(SAMPLES, dim=-1), strict=True))


def signals(batch: int, *names: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {name: torch.randn(batch, 1, SAMPLES, generator=generator) for name in names}


def inner(model: RawSignals, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the reference's manifest calls `mid0/...`, by name."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _arguments: object, result: object) -> None:
            found[name] = result[0] if isinstance(result, tuple) else result  # type: ignore[assignment]
            if name.endswith("seresnet"):
                found[f"{name}.gate"] = result[1]  # type: ignore[index]
            if "layer" in name and isinstance(result, tuple):
                found[f"{name}.attn_weights_mean_over_heads"] = result[1]

        return hook

    handles = []
    for path, module in model.named_modules():
        name = path.replace("encoderWrapper", "encoder").replace("model_list.", "model")
        name = name.replace("encoder.layers.", "encoder.layer").replace(".conv", ".query_tcn")
        handles.append(module.register_forward_hook(keep(name)))
    with torch.inference_mode():
        model(inputs, with_attention=True)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize(
    ("architecture", "parameters", "macs"),
    [
        ("mscn", (448_988, 454_163, 459_338), (39.4e6, 77.8e6, 116.4e6)),
        ("mscn-se", (437_408, 442_583, 447_758), (40.3e6, 78.7e6, 117.3e6)),
        ("mscn-tran", (3_887_000, 3_892_175, 3_897_350), (323.5e6, 362.0e6, 400.5e6)),
        ("painattnnet", (558_308, 563_483, 568_658), (48.7e6, 87.1e6, 125.7e6)),
        ("painattnnet-late", (None, 1_121_120, 1_679_429), (None, 97.3e6, 146.0e6)),
        ("painattnnet-attention", (None, 1_113_044, 1_666_850), (None, 97.3e6, 146.0e6)),
    ],
)
def test_parameters_and_operations_are_the_published_ones(
    architecture: str, parameters: tuple[int | None, ...], macs: tuple[float | None, ...]
) -> None:
    for count in (1, 2, 3):
        if parameters[count - 1] is None:
            continue
        model = build(architecture, count).eval()
        assert model.parameter_count() == parameters[count - 1]
        assert model.flops(model.example_shapes()) == pytest.approx(2 * macs[count - 1], rel=2e-3)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            model(signals(1, *model.input_names))
        assert model.flops(model.example_shapes()) == counter.get_total_flops()


def test_branches_leave_the_points_that_the_published_layers_take() -> None:
    left = [[branch.lengths(count * SAMPLES)[-1] for count in (1, 2, 3)] for branch in BRANCHES]
    assert left == [[60, 119, 177], [12, 20, 29], [3, 5, 7]]


@every_reference
def test_published_weights_load_strictly_and_in_order(name: str) -> None:
    model, golden, prefix = reference(name)
    found = {prefix + key: [list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in
             model.state_dict().items()}  # fmt: skip
    assert list(found) == list(golden.manifest["state_dict"])
    assert found == golden.manifest["state_dict"]
    assert model.parameter_count() == golden.manifest["n_parameters"]


@every_reference
def test_outputs_and_what_leads_to_them_are_those_of_the_reference(name: str) -> None:
    model, golden, _ = reference(name)
    for number, (training, joined) in enumerate(golden.inputs()):
        if not training:
            with torch.inference_mode():
                golden.assert_close(f"out{number}", model(split(model, joined)).logits)
    expected = {key.removeprefix("mid0/") for key in golden.arrays if key.startswith("mid0/")}
    found = inner(model, split(model, golden.inputs()[0][1]))
    assert expected
    for key in expected:
        golden.assert_close(f"mid0/{key}", found[key])


@every_reference
def test_batch_statistics_are_those_of_the_reference(name: str) -> None:
    model, golden, own = reference(name)
    number, joined = next((n, x) for n, (training, x) in enumerate(golden.inputs()) if training)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    golden.assert_close(f"train_out{number}", model(split(model, joined)).logits)
    prefix = f"train_bn{number}/"
    statistics = [key.removeprefix(prefix) for key in golden.arrays if key.startswith(prefix)]
    assert statistics
    for key in statistics:
        golden.assert_close(prefix + key, model.state_dict()[key.removeprefix(own)])


@every_reference
def test_the_entries_that_reach_no_output_are_the_reference_s(name: str) -> None:
    model, golden, prefix = reference(name)
    dead = {prefix + key for key in model.dead_entries()}
    # Squeeze blocks whose only unit is off for that one input are no dead entries.
    assert {
        key for key in golden.manifest["entries_out0_does_not_depend_on"] if not key.endswith("se.fc.2.weight")
    } == dead


def test_weights_fit_their_number_of_signals_only() -> None:
    _, golden, _ = reference("mpan_full_m1")
    with pytest.raises(RuntimeError, match=r"mscn\.fc_short\.weight"):
        build("painattnnet", 2).load_state_dict(golden.state_dict())


def test_the_reference_would_notice_any_weight_that_is_wrong() -> None:
    model, golden, _ = reference("painattnnet")
    inputs = split(model, golden.inputs()[0][1])
    bound = golden.bound("out0")
    for key, value in model.state_dict().items():
        # Every third entry: each costs a forward pass.
        if not value.is_floating_point() or key in model.dead_entries() or zlib.crc32(key.encode()) % 3:
            continue
        kept = value.clone()
        value.mul_(0.5)
        with torch.inference_mode():
            wrong = model(inputs).logits.numpy()
        value.copy_(kept)
        assert np.any(np.abs(wrong - golden.arrays["out0"]) > bound), key
    with torch.inference_mode():
        golden.assert_close("out0", model(inputs).logits)


def test_gates_are_one_pattern_and_exactly_a_half_where_their_unit_is_off() -> None:
    gate = SqueezeExcitation(30)
    assert gate.hidden == 1
    means = torch.randn(64, 30, 1, generator=torch.Generator().manual_seed(3)).double()
    with torch.inference_mode():
        scaled, gates = gate.double()(means)
        off = gate.fc[0](means.squeeze(-1)).squeeze(-1) <= 0
    assert 0 < off.sum() < len(off)
    assert torch.all(gates[off] == 0.5)
    assert torch.all((gates[~off] - 0.5).abs().amax(dim=1) > 0)
    assert torch.equal(scaled, means * gates.unsqueeze(-1))
    assert torch.linalg.matrix_rank(torch.logit(gates), atol=1e-6) == 1


def test_what_is_missing_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing of 30 channels"):
        SqueezeExcitation(30, reduction=31)


@pytest.mark.parametrize("architecture", FAMILY[:4])
def test_signals_are_joined_by_name_in_the_order_of_the_model(architecture: str) -> None:
    model = build(architecture, 2).eval()
    assert isinstance(model, JoinedSignals)
    inputs = signals(2, *model.input_names)
    with torch.inference_mode():
        expected = model(inputs).logits
        assert torch.equal(model(dict(reversed(inputs.items()))).logits, expected)
        turned = create_model(architecture, inputs=("ecg", "eda"), classes=2).eval()
        turned.load_state_dict(model.state_dict())
        assert not torch.allclose(turned(inputs).logits, expected, atol=1e-6)
    assert torch.equal(model.join(inputs), torch.cat([inputs[name] for name in model.input_names], dim=-1))


@every_member
def test_maps_cost_nothing_unless_asked_for_and_are_as_declared(architecture: str) -> None:
    model = build(architecture, 2, classes=3).eval()
    inputs = signals(3, *model.input_names)
    with torch.inference_mode():
        plain, shown = model(inputs), model(inputs, with_attention=True)
    assert plain.attention == {}
    assert torch.equal(plain.logits, shown.logits)
    declared = {item.name: item for item in model.attention_maps(model.example_shapes())}
    assert {name: tuple(value.shape) for name, value in shown.attention.items()} == {
        name: (3, *item.shape) for name, item in declared.items()
    }
    assert list(shown.attention) == list(declared)
    for name, values in shown.attention.items():
        assert values.min() >= 0
        assert values.max() <= 1
        if declared[name].kind in ("self", "modality"):
            torch.testing.assert_close(values.sum(dim=-1), torch.ones(values.shape[:-1]))


def test_the_members_show_what_they_have() -> None:
    shown = {name: [m.name for m in build(name, 1).attention_maps({"eda": (1, SAMPLES)})] for name in FAMILY[:4]}
    assert shown == {
        "mscn": [],
        "mscn-se": ["channel.se"],
        "mscn-tran": ["self.0", "self.1"],
        "painattnnet": ["channel.se", "self.0", "self.1"],
    }


@every_member
def test_a_gradient_reaches_every_parameter_that_is_not_dead(architecture: str) -> None:
    torch.manual_seed(0)
    model = build(architecture, 2, classes=3)
    for module in model.modules():
        if isinstance(module, SqueezeExcitation):  # its only unit may be off, and then nothing passes
            module.fc[0].weight.data.abs_()
            module.register_forward_pre_hook(lambda _, arguments: (arguments[0] + 1.0,))
    model(signals(4, *model.input_names)).logits.square().sum().backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert still == set(model.dead_entries())


def test_a_causal_convolution_has_not_seen_what_comes() -> None:
    torch.manual_seed(0)
    block = CausalConv(4).eval()
    x = torch.randn(1, 4, 75)
    later = x.clone()
    later[..., 40:] += 1.0
    with torch.inference_mode():
        changed = (block(x) != block(later)).any(dim=1).squeeze(0)
    assert not changed[:40].any()
    assert changed[40:53].all()


def test_the_joint_projection_is_that_of_torch() -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(30, 5, batch_first=True).eval()
    ours = JointProjection(30, heads=5, dropout=0.1).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    q, k, v = torch.randn(3, 2, 30, 75)
    with torch.inference_mode():
        expected, weights = theirs(q.mT, k.mT, v.mT)
        found, shown = ours(q, k, v, with_weights=True)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(shown, weights)
    with pytest.raises(ValueError, match="6 heads do not divide a width of 20"):
        JointProjection(20, heads=6, dropout=0.0)


def test_first_weights_are_drawn_as_published() -> None:
    torch.manual_seed(0)
    state = MSCNSE(classes=2).state_dict()
    assert state["mscn.medium_scale.5.weight"].std() == pytest.approx(0.02, rel=0.05)
    assert state["mscn.short_scale.6.weight"].mean() == pytest.approx(1.0, abs=0.01)
    assert state["mscn.short_scale.6.weight"].std() == pytest.approx(0.02, rel=0.3)
    assert not state["seresnet.layer.0.bn2.bias"].any()


@every_member
def test_other_windows_and_classes_are_built_at_will(architecture: str) -> None:
    model = create_model(architecture, inputs=("eda", "bvp"), classes=5, samples=1500).eval()
    with torch.inference_mode():
        assert model(dict.fromkeys(("eda", "bvp"), torch.zeros(1, 1, 1500))).logits.shape == (1, 5)
    with pytest.raises(ValueError, match=r"takes \(1, 1500\) of eda, not \(1, 2816\)"):
        model.flops({"eda": (1, SAMPLES), "bvp": (1, SAMPLES)})


def test_other_windows_resize_the_layers_over_time_and_nothing_else() -> None:
    model = MSCNSE(inputs=("eda",), classes=2, samples=5120)
    shapes = {key: value.shape for key, value in MSCNSE(inputs=("eda",), classes=2).state_dict().items()}
    changed = {key for key, value in model.state_dict().items() if value.shape != shapes[key]}
    assert changed == {f"mscn.fc_{name}.weight" for name in ("short", "medium", "long")}
    with torch.inference_mode():
        assert model({"eda": torch.zeros(1, 1, 5120)}).logits.shape == (1, 2)
    for of in (model.flops, model.attention_maps):
        with pytest.raises(ValueError, match=r"takes \(1, 5120\) of eda, not \(1, 2816\)"):
            of({"eda": (1, SAMPLES)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": ()}, "different signals"),
        ({"inputs": ("eda", "eda")}, "different signals"),
        ({"classes": 1}, "nothing to classify"),
        ({"samples": 500}, "500 samples are too few"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PainAttnNet(**arguments)


def test_the_shortest_window_that_fits_is_accepted() -> None:
    shortest = next(n for n in range(1, SAMPLES) if min(min(b.lengths(n)) for b in BRANCHES) >= 1)
    with torch.inference_mode():
        assert MSCN(shortest, dropout=0.0).eval()(torch.zeros(1, 1, shortest)).shape == (1, 192, 75)
    with pytest.raises(ValueError, match="too few"):
        MSCN(shortest - 1, dropout=0.0)
