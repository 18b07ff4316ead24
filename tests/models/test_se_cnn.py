from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.se_cnn import EBR_REGIONS, REGIONS, SECNN, ChannelGate, from_keras, keras_entries
from tests.helpers.golden import Golden, load_golden

CLASSES = {"class": 3, "level": 9}

every_variant = pytest.mark.parametrize("variant", ["se", "vanilla", "ebr"])
every_task = pytest.mark.parametrize("task", ["class", "level"])


def reference(variant: str, task: str) -> tuple[SECNN, Golden]:
    golden = load_golden(f"fmri_{variant}_{task}")
    model = SECNN(variant=variant, classes=CLASSES[task])
    theirs = golden.state_dict()
    state = {ours: from_keras(theirs[name]) for ours, name in keras_entries(variant).items()}
    left_out = model.load_state_dict(state, strict=False)
    assert not left_out.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in left_out.missing_keys)
    return model.eval(), golden


def windows(batch: int, channels: int = REGIONS) -> dict[str, torch.Tensor]:
    return {"regions": torch.rand(batch, channels, 25, generator=torch.Generator().manual_seed(7))}


def run(model: SECNN, published: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Softmax of an input in the published layout (B, 25, regions), and what went on inside, in that layout too."""
    seen: dict[str, torch.Tensor] = {}

    def gate(name: str):
        return lambda _module, _inputs, output: seen.__setitem__(f"{name}.gate", output[1])

    units = {"se1": model.unit1, "se2": model.unit2, "se_a": model.shortcut_a, "se3": model.unit3,
             "se_b": model.shortcut_b, "se_2": model.shortcut_2}  # fmt: skip
    hooks = [unit.gate.register_forward_hook(gate(name)) for name, unit in units.items()]
    hooks += [
        model.unit1.register_forward_hook(lambda _m, _i, y: seen.__setitem__("after_bn1", y.transpose(1, 2))),
        model.unit3.register_forward_pre_hook(lambda _m, x: seen.__setitem__("add1", x[0].transpose(1, 2))),
        model.dense1.register_forward_pre_hook(lambda _m, x: seen.__setitem__("add2", x[0].unflatten(1, (25, 128)))),
    ]
    result = model({"regions": published.transpose(1, 2)}, with_attention=True)
    for hook in hooks:
        hook.remove()
    seen |= {"dense2": result.features, "logits": result.logits}
    if "channel.regions" in result.attention:
        seen["se_in.gate"] = result.attention["channel.regions"]
    return torch.softmax(result.logits, dim=-1), seen


@every_task
@every_variant
def test_names_and_shapes_are_those_of_the_published_graph(variant: str, task: str) -> None:
    model, golden = reference(variant, task)
    names = keras_entries(variant)
    assert list(names.values()) == list(golden.manifest["state_dict"])
    state = model.state_dict()
    assert set(names) == {key for key in state if not key.endswith("num_batches_tracked")}
    # Keras counts running statistics as parameters that are not trained.
    assert sum(state[key].numel() for key in names) == golden.manifest["n_parameters"]
    assert model.parameter_count() == golden.manifest["n_trainable"]


@pytest.mark.parametrize(
    ("variant", "classes", "parameters"),
    [
        ("se", 3, 1_917_070),
        ("se", 9, 1_917_676),
        ("vanilla", 3, 1_909_429),
        ("vanilla", 9, 1_910_035),
        ("ebr", 3, 1_765_621),
        ("ebr", 9, 1_766_227),
    ],
)
def test_parameters_are_the_published_ones(variant: str, classes: int, parameters: int) -> None:
    assert SECNN(variant=variant, classes=classes).parameter_count() == parameters - 1088


@every_task
@every_variant
def test_outputs_and_intermediates_are_those_of_the_reference(variant: str, task: str) -> None:
    model, golden = reference(variant, task)
    checked = 0
    for number, (training, published) in enumerate(golden.inputs()):
        model.train(training)
        with torch.inference_mode():
            told, seen = run(model, published)
        golden.assert_close(f"{'train_' if training else ''}out{number}", told)
        checked += 1
        if number == 0:
            assert {f"mid0/{name}" for name in seen} == {name for name in golden.arrays if name.startswith("mid0/")}
            for name, value in seen.items():
                golden.assert_close(f"mid0/{name}", value)
                checked += 1
    assert checked == len(golden.arrays)


@every_variant
def test_the_reference_would_notice_any_weight_that_is_wrong(variant: str) -> None:
    model, golden = reference(variant, "class")
    published = golden.inputs()[0][1]
    # Where no hidden unit of a gate is on, its first layer is dead for this input, and so are the second's weights.
    off = set()
    for name, gate in model.named_modules():
        if isinstance(gate, ChannelGate):
            gate.fc1.register_forward_hook(lambda _m, _i, y, name=name: off.add(name) if (y <= 0).all() else None)
    with torch.inference_mode():
        run(model, published)
    assert len(off) <= 3
    dead = {f"{name}.{entry}" for name in off for entry in ("fc1.weight", "fc1.bias", "fc2.weight")}
    for key, value in model.state_dict().items():
        if not value.is_floating_point() or key in dead:
            continue
        kept = value.clone()
        value.mul_(0.5)
        with torch.inference_mode():
            _, seen = run(model, published)
        value.copy_(kept)
        wrong = [
            np.abs(found.numpy() - golden.arrays[f"mid0/{name}"]).max() / golden.bound(f"mid0/{name}").max()
            for name, found in seen.items()
        ]
        assert max(wrong) > 1.0, key


@every_variant
def test_the_l2_term_counts_what_upstream_counts(variant: str) -> None:
    model, golden = reference(variant, "class")
    found = 0.01 * sum(weight.double().square().sum().item() for weight in model.penalised())
    assert found == pytest.approx(golden.manifest["l2_penalty"], rel=1e-6)


@pytest.mark.parametrize(("variant", "million"), [("se", 13.8), ("vanilla", 13.8), ("ebr", 6.6)])
def test_operations_agree_with_those_that_torch_counts(variant: str, million: float) -> None:
    model = SECNN(variant=variant).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(windows(1, model.channels))
    assert model.flops(model.example_shapes()) == counter.get_total_flops()
    assert model.flops(model.example_shapes()) / 1e6 == pytest.approx(million, abs=0.05)


def test_maps_cost_nothing_unless_asked_for_and_are_as_declared() -> None:
    model = SECNN().eval()
    with torch.inference_mode():
        plain, shown = model(windows(3)), model(windows(3), with_attention=True)
    assert plain.attention == {}
    assert torch.equal(plain.logits, shown.logits)
    assert shown.features.shape == (3, 100)
    (declared,) = model.attention_maps(model.example_shapes())
    assert (declared.name, declared.axis, declared.of) == ("channel.regions", "channel", "regions")
    gates = shown.attention["channel.regions"]
    assert gates.shape == (3, *declared.shape) == (3, 246)
    assert gates.min() > 0.0
    assert gates.max() < 1.0


@pytest.mark.parametrize("variant", ["vanilla", "ebr"])
def test_variants_without_a_gate_on_regions_show_none(variant: str) -> None:
    model = SECNN(variant=variant).eval()
    assert model.attention_maps(model.example_shapes()) == ()
    with torch.inference_mode():
        assert model(windows(1, model.channels), with_attention=True).attention == {}


def test_gates_scale_the_regions_that_they_belong_to() -> None:
    torch.manual_seed(0)
    gate = ChannelGate(REGIONS)
    x = windows(2)["regions"]
    with torch.inference_mode():
        scaled, gates = gate(x)
    assert torch.equal(scaled, x * gates[:, :, None])
    assert gates.std() > 0.01


def test_regions_of_variant_ebr() -> None:
    assert len(EBR_REGIONS) == len(set(EBR_REGIONS)) == 32
    assert list(EBR_REGIONS) == sorted(EBR_REGIONS)
    assert 0 <= EBR_REGIONS[0] < EBR_REGIONS[-1] < REGIONS
    assert {14, 86, 87} < set(EBR_REGIONS)  # A9/46d and aSTS
    assert not {210, 211, 212, 213} & set(EBR_REGIONS)  # amygdala
    assert sum(EBR_REGIONS) == 3824


def test_first_weights_are_drawn_as_keras_draws_them() -> None:
    torch.manual_seed(0)
    model = SECNN()
    drawn = {
        "unit1.conv": (model.unit1.conv, math.sqrt(6.0 / (3 * 246))),
        "shortcut_b.conv": (model.shortcut_b.conv, math.sqrt(6.0 / (3 * (246 + 128)))),
        "dense1": (model.dense1, math.sqrt(6.0 / 3200)),
        "dense3": (model.dense3, math.sqrt(6.0 / 103)),
        "gate.fc2": (model.gate.fc2, math.sqrt(6.0 / 261)),
    }
    for name, (layer, limit) in drawn.items():
        assert 0.95 * limit < layer.weight.abs().max().item() <= limit * (1 + 1e-6), name
        assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.1), name
        assert not layer.bias.any(), name
    first = model.gate.fc1.weight
    assert first.std().item() == pytest.approx(math.sqrt(2.0 / 246), rel=0.05)
    assert first.abs().max().item() <= 2.0 * math.sqrt(2.0 / 246) / 0.8796


def test_a_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    model = SECNN()
    model(windows(16)).logits.square().sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A gate of two hidden units may start with both of them off.
    assert [name for name in dead if "gate.fc1" not in name] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": ("a", "b")}, "one input"),
        ({"inputs": ()}, "one input"),
        ({"variant": "plain"}, "no variant"),
        ({"classes": 1}, "nothing to classify"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SECNN(**arguments)


def test_other_windows_are_refused() -> None:
    model = SECNN(variant="ebr")
    for of in (model.flops, model.attention_maps):
        with pytest.raises(ValueError, match=r"takes \(32, 25\) of regions, not \(246, 25\)"):
            of({"regions": (246, 25)})
