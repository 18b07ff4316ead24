from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.blocks.cascaded_attention import CascadedAttention, WindowAttention, offsets
from models.tiny_biomoe import EXPERT, TinyBioMoE
from tests.helpers.golden import Golden, load_golden


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_golden("tiny_biomoe")


@pytest.fixture(scope="module")
def weights(golden: Golden) -> dict[str, Tensor]:
    return golden.state_dict()


@pytest.fixture
def model(weights: dict[str, Tensor]) -> TinyBioMoE:
    model = TinyBioMoE()
    model.load_state_dict(weights, strict=True)
    return model.eval()


def image(golden: Golden, number: int) -> Tensor:
    return golden.inputs()[number][1]


def embed(model: TinyBioMoE, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    with torch.inference_mode():
        return model(images, with_attention=True)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_are_the_published_ones() -> None:
    model = TinyBioMoE()
    assert count(model.enc1) == 2_897_856
    assert count(model.enc2) == 4_128_478
    assert count(model) == 7_337_278
    assert count(model) - count(model.enc1) - count(model.enc2) == 310_944


def test_operations_are_those_that_torch_counts() -> None:
    model = TinyBioMoE().eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(1, 3, 224, 224))
    assert model.flops() == counter.get_total_flops()
    assert model.enc1.flops() == pytest.approx(2 * 1.199e9, rel=1e-3)
    assert model.enc2.flops() == pytest.approx(2 * 0.340e9, rel=2e-3)


def test_published_weights_load_strictly(golden: Golden, weights: dict[str, Tensor]) -> None:
    model = TinyBioMoE()
    found = {
        key: [list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in model.state_dict().items()
    }
    assert found == golden.manifest["state_dict"]
    assert len(golden.manifest["structural_buffers"]) == 3
    for key in golden.manifest["structural_buffers"]:  # worked out by the constructor, not read
        assert torch.equal(model.state_dict()[key], weights[key])
    with pytest.raises(RuntimeError, match=r"fcn\.1\.weight"):
        model.load_state_dict({key: value for key, value in weights.items() if key != "fcn.1.weight"})


def test_outputs_and_everything_between_are_those_of_the_reference(golden: Golden, model: TinyBioMoE) -> None:
    seen: dict[str, Tensor] = {}

    def watch(name: str, key: str, pick: Callable[[Any], Tensor] = lambda result: result) -> None:
        def hook(_module: nn.Module, _inputs: Any, result: Any) -> None:
            seen[f"mid0/{key}"] = pick(result)

        model.get_submodule(name).register_forward_hook(hook)

    watch("ln_img", "ln_img[:,:,::16,::16]", lambda y: y[:, :, ::16, ::16])
    for stage in (1, 2, 3, 4):
        watch(f"enc1.patch_embed{stage}", f"enc1.patch_embed{stage}[:,:64]", lambda y: y[:, :64])
        for which in ("first", "last"):  # one block: the first is the last
            watch(f"enc1.block{stage}.0", f"enc1.block{stage}.{which}[:,:64]", lambda y: y[0][:, :64])
    for stage in (1, 2):
        watch(
            f"enc1.block{stage}.0.attn", f"enc1.block{stage}.0.spectral_out[:,:64]", lambda y: y.flatten(1, -2)[:, :64]
        )
    watch("enc1.block3.0.attn", "enc1.block3.0.attn[:,:,:8]", lambda y: y[1][:, :, :8])
    watch("enc1.block3.0", "enc1.block3.last.attn_mean_over_heads", lambda y: y[1].mean(1))
    watch("enc1.block4.0.attn", "enc1.block4.last.attn", lambda y: y[1])
    watch("enc1.post_network.0", "enc1.post_network.0.cls", lambda y: y[0].flatten(1))
    watch("enc1", "enc1", lambda y: y.embedding)
    for name in ("patch_embed", "blocks1.0.mixer", "blocks1", "blocks2"):
        watch(f"enc2.{name}", f"enc2.{name}[:,:16]", lambda y: y[:, :16])
    watch("enc2.blocks3", "enc2.blocks3")
    watch("enc2", "enc2")

    out, maps = embed(model, image(golden, 0))
    found = {**seen, "mid0/gate1": maps["gate.1"], "mid0/gate2": maps["gate.2"], "out0": out}
    for number in (1, 2):
        found[f"out{number}"] = embed(model, image(golden, number))[0]
    assert found.keys() == {name for name in golden.arrays if name.startswith(("mid0/", "out"))}
    for name, value in found.items():
        golden.assert_close(name, value)


def test_training_uses_the_statistics_of_the_batch(golden: Golden, model: TinyBioMoE) -> None:
    training, images = golden.inputs()[3]
    assert training
    model.train()
    golden.assert_close("train_out3", model(images)[0])
    names = [name for name in golden.arrays if name.startswith("train_bn3/")]
    assert len(names) == 2
    for name in names:
        golden.assert_close(name, model.state_dict()[name.removeprefix("train_bn3/")])


def test_weights_may_be_loaded_before_or_after_eval(golden: Golden, weights: dict[str, Tensor]) -> None:
    # The public code's README calls eval() first, which leaves the biases of the untrained model in use.
    late = TinyBioMoE().eval()
    embed(late, image(golden, 1))
    late.load_state_dict(weights, strict=True)
    golden.assert_close("out0", embed(late, image(golden, 0))[0])
    late.train().eval()
    golden.assert_close("out0", embed(late, image(golden, 0))[0])

    wrong = golden.arrays["readme_order_out0"]
    assert np.abs(wrong - golden.arrays["out0"]).max() > 0.2
    with torch.no_grad():
        for name, value in late.named_parameters():
            if name.endswith("attention_biases"):
                value.zero_()
    golden.assert_close("readme_order_out0", embed(late, image(golden, 0))[0])


def test_fine_tuning_reaches_every_weight(golden: Golden, model: TinyBioMoE) -> None:
    model.train()
    out, _ = model(image(golden, 3))
    (out * torch.linspace(-1.0, 1.0, out.numel()).view_as(out)).sum().backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-9]
    assert untouched == []


def test_gates_are_shown_when_asked_for(golden: Golden, model: TinyBioMoE) -> None:
    images = image(golden, 1)
    out, maps = embed(model, images)
    assert {item.name: (2, *item.shape) for item in model.maps} == {name: tuple(m.shape) for name, m in maps.items()}
    assert out.shape == (2, model.embedding)
    for gates in maps.values():
        assert gates.min() == 0.0
        assert gates.max() == 1.0
    assert (maps["gate.1"] - maps["gate.2"]).abs().max() > 0.1
    with torch.inference_mode():
        alone, none = model(images)
    assert none == {}
    assert torch.equal(alone, out)


def test_a_closed_gate_takes_its_channel_out(golden: Golden, model: TinyBioMoE) -> None:
    with torch.no_grad():
        model.fcn[1].bias[7] = -1e3
        model.ln_out.weight.fill_(1.0)
        model.ln_out.bias.fill_(0.0)
        weighed: list[Tensor] = []
        model.ln_out.register_forward_pre_hook(lambda _module, given: weighed.append(given[0]))
        _, maps = embed(model, image(golden, 1))
    for half, name in enumerate(("gate.1", "gate.2")):
        assert (maps[name][:, 7] == 0.0).all()
        assert (weighed[0][:, half * EXPERT + 7] == 0.0).all()
        assert (weighed[0][:, half * EXPERT : (half + 1) * EXPERT] != 0.0).any(dim=1).all()


def test_the_loss_of_any_steering_tensor_shows(golden: Golden, model: TinyBioMoE) -> None:
    probes = model.parity_probes()
    state = model.state_dict()
    for end in ("complex_weight", "attention_biases", "qkvs.0.c.weight", "kv.weight", "se.fc2.weight", "fcn.1.weight"):
        assert any(name.endswith(end) for name in probes)
    images = image(golden, 1)[:1]
    expected, _ = embed(model, images)
    for name in probes:
        kept = state[name].clone()
        state[name].zero_()
        found, _ = embed(model, images)
        state[name].copy_(kept)
        assert (found - expected).abs().max() > 10 * (1e-6 + 2e-5 * expected.abs().max()), name


@pytest.mark.parametrize("side", [1, 4, 7])
def test_biases_go_by_distance_along_each_axis(side: int) -> None:
    table = offsets(side)
    for a in range(side**2):
        for b in range(side**2):
            down, right = abs(a // side - b // side), abs(a % side - b % side)
            assert table[a, b] == down * side + right


def test_windows_do_not_see_each_other() -> None:
    torch.manual_seed(3)
    attention = CascadedAttention(dim=12, heads=3, key_dim=4, kernels=(7, 5, 3), resolution=7)
    nn.init.ones_(attention.proj[1].bn.weight)
    layer = WindowAttention(attention, resolution=14).eval()
    x = torch.randn(2, 12, 14, 14)
    changed = x.clone()
    changed[0, :, 2, 9] += 1.0  # upper right
    with torch.inference_mode():
        before, after = layer(x), layer(changed)
        alone = attention(x[:, :, 7:, :7])
    differs = (before != after).any(dim=1)
    assert differs[0, :7, 7:].any()
    differs[0, :7, 7:] = False
    assert not differs.any()
    torch.testing.assert_close(before[:, :, 7:, :7], alone)


def test_impossible_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="3 kernels for 4 heads"):
        CascadedAttention(dim=12, heads=4, key_dim=4, kernels=(7, 5, 3), resolution=7)
    with pytest.raises(ValueError, match="13 channels"):
        CascadedAttention(dim=13, heads=2, key_dim=4, kernels=(3, 3), resolution=7)
    attention = CascadedAttention(dim=12, heads=2, key_dim=4, kernels=(3, 3), resolution=7)
    with pytest.raises(ValueError, match="do not tile a side of 10"):
        WindowAttention(attention, resolution=10)
