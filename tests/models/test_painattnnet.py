from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.blocks.multiscale import BRANCHES, MSCN
from models.blocks.squeeze import SqueezeExcitation
from models.painattnnet import MSCNSE
from tests.helpers.golden import Golden, load_golden

SIGNALS = ("eda", "ecg", "emg")
SAMPLES = 2816

every_count = pytest.mark.parametrize("count", [1, 2, 3])


def reference(count: int) -> tuple[MSCNSE, Golden]:
    golden = load_golden(f"mpan_mscn_se_m{count}")
    model = MSCNSE(inputs=SIGNALS[:count], classes=2)
    model.load_state_dict(golden.state_dict(), strict=True)
    return model.eval(), golden


def split(model: MSCNSE, joined: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(zip(model.input_names, joined.split(SAMPLES, dim=-1), strict=True))


def signals(batch: int, *names: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {name: torch.randn(batch, 1, SAMPLES, generator=generator) for name in names}


@pytest.mark.parametrize(
    ("count", "parameters", "macs"), [(1, 437_408, 40.3e6), (2, 442_583, 78.7e6), (3, 447_758, 117.3e6)]
)
def test_parameters_and_operations_are_the_published_ones(count: int, parameters: int, macs: float) -> None:
    model = MSCNSE(inputs=SIGNALS[:count], classes=2).eval()
    assert model.parameter_count() == parameters
    assert MSCNSE(inputs=SIGNALS[:count], classes=3).parameter_count() == parameters + 2251
    assert model.flops(model.example_shapes()) == pytest.approx(2 * macs, rel=2e-3)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(signals(1, *model.input_names))
    assert model.flops(model.example_shapes()) == counter.get_total_flops()


def test_branches_leave_the_points_that_the_published_layers_take() -> None:
    left = [[branch.lengths(count * SAMPLES)[-1] for count in (1, 2, 3)] for branch in BRANCHES]
    assert left == [[60, 119, 177], [12, 20, 29], [3, 5, 7]]


@every_count
def test_published_weights_load_strictly_and_in_order(count: int) -> None:
    model, golden = reference(count)
    found = {key: [list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in
             model.state_dict().items()}  # fmt: skip
    assert list(found) == list(golden.manifest["state_dict"])
    assert found == golden.manifest["state_dict"]
    other = MSCNSE(inputs=SIGNALS[: count % 3 + 1], classes=2)
    with pytest.raises(RuntimeError, match=r"mscn\.fc_short\.weight"):
        other.load_state_dict(golden.state_dict())


@every_count
def test_outputs_are_those_of_the_reference(count: int) -> None:
    model, golden = reference(count)
    for number, (training, joined) in enumerate(golden.inputs()):
        if training:
            continue
        with torch.inference_mode():
            result = model(split(model, joined), with_attention=True)
            if number == 0:
                golden.assert_close("mid0/mscn", model.mscn(joined))
                golden.assert_close("mid0/seresnet", result.features.unflatten(1, (30, 75)))
                golden.assert_close("mid0/seresnet.gate", result.attention["channel.se"])
        golden.assert_close(f"out{number}", result.logits)


@every_count
def test_batch_statistics_are_those_of_the_reference(count: int) -> None:
    model, golden = reference(count)
    number, joined = next((n, x) for n, (training, x) in enumerate(golden.inputs()) if training)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    golden.assert_close(f"train_out{number}", model(split(model, joined)).logits)
    prefix = f"train_bn{number}/"
    statistics = [name.removeprefix(prefix) for name in golden.arrays if name.startswith(prefix)]
    assert statistics
    for key in statistics:
        golden.assert_close(prefix + key, model.state_dict()[key])


def test_the_reference_would_notice_any_weight_that_is_wrong() -> None:
    model, golden = reference(1)
    inputs = split(model, golden.inputs()[0][1])
    bound = golden.bound("out0")
    for key, value in model.state_dict().items():
        if not value.is_floating_point():
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


def test_signals_are_joined_by_name_in_the_order_of_the_model() -> None:
    model = MSCNSE(inputs=SIGNALS, classes=3).eval()
    inputs = signals(2, *SIGNALS)
    with torch.inference_mode():
        expected = model(inputs).logits
        assert torch.equal(model(dict(reversed(inputs.items()))).logits, expected)
        turned = MSCNSE(inputs=("ecg", "eda", "emg"), classes=3).eval()
        turned.load_state_dict(model.state_dict())
        assert not torch.allclose(turned(inputs).logits, expected, atol=1e-6)
    assert torch.equal(model.join(inputs), torch.cat([inputs[name] for name in SIGNALS], dim=-1))


def test_maps_cost_nothing_unless_asked_for_and_are_as_declared() -> None:
    model = MSCNSE(inputs=SIGNALS, classes=3).eval()
    inputs = signals(3, *SIGNALS)
    with torch.inference_mode():
        plain, shown = model(inputs), model(inputs, with_attention=True)
    assert plain.attention == {}
    assert torch.equal(plain.logits, shown.logits)
    (declared,) = model.attention_maps(model.example_shapes())
    assert (declared.name, declared.axis, declared.of) == ("channel.se", "channel", "eda+ecg+emg")
    assert {name: tuple(value.shape) for name, value in shown.attention.items()} == {"channel.se": (3, 30)}
    assert shown.features.shape == (3, 2250)


def test_a_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    model = MSCNSE(inputs=SIGNALS, classes=3)
    model(signals(8, *SIGNALS)).logits.square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_first_weights_are_drawn_as_published() -> None:
    torch.manual_seed(0)
    state = MSCNSE(classes=2).state_dict()
    assert state["mscn.medium_scale.5.weight"].std() == pytest.approx(0.02, rel=0.05)
    assert state["mscn.short_scale.6.weight"].mean() == pytest.approx(1.0, abs=0.01)
    assert state["mscn.short_scale.6.weight"].std() == pytest.approx(0.02, rel=0.3)
    assert not state["seresnet.layer.0.bn2.bias"].any()


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
        MSCNSE(**arguments)


def test_the_shortest_window_that_fits_is_accepted() -> None:
    shortest = next(n for n in range(1, SAMPLES) if min(min(b.lengths(n)) for b in BRANCHES) >= 1)
    with torch.inference_mode():
        assert MSCN(shortest, dropout=0.0).eval()(torch.zeros(1, 1, shortest)).shape == (1, 192, 75)
    with pytest.raises(ValueError, match="too few"):
        MSCN(shortest - 1, dropout=0.0)
