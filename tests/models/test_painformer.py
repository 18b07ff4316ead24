from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.blocks.backbone import IMAGE_SHAPE
from models.blocks.spectformer import DropPath, SpectFormer
from models.blocks.spectral import SpectralGate
from models.painformer import PainFormer, rollout
from tests.helpers.golden import Golden, load_golden


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_golden("painformer")


@pytest.fixture
def model(golden: Golden) -> PainFormer:
    model = PainFormer()
    model.load_state_dict(golden.state_dict(), strict=True)
    return model.eval()


def images(batch: int) -> Tensor:
    return torch.randn(batch, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(3))


def maps_of(*shape: int, seed: int = 5) -> Tensor:
    """Attention as softmax gives it, far from flat."""
    return torch.softmax(3.0 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


class Kept:
    """What some modules of a model gave at their last call."""

    def __init__(self, model: nn.Module, *names: str) -> None:
        self.outputs: dict[str, Tensor | tuple[Tensor, ...]] = {}
        for name in names:
            model.get_submodule(name).register_forward_hook(self._keep(name))

    def _keep(self, name: str):  # type: ignore[no-untyped-def]
        def hook(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            self.outputs[name] = output

        return hook

    def __getitem__(self, name: str) -> Tensor:
        output = self.outputs[name]
        return output if isinstance(output, Tensor) else output[0]


def test_parameters_and_operations_are_the_published_ones() -> None:
    model = PainFormer().eval()
    assert sum(p.numel() for p in model.parameters()) == 19_596_704
    assert model.flops() == pytest.approx(2 * 6.085e9, rel=1e-4)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(images(1))
    assert model.flops() == counter.get_total_flops()


def test_published_weights_load_strictly(golden: Golden) -> None:
    state = PainFormer().state_dict()
    found = {key: [list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in state.items()}
    assert found == golden.manifest["state_dict"]


def test_outputs_are_those_of_the_reference(model: PainFormer, golden: Golden) -> None:
    embeds = [f"patch_embed{i}" for i in (1, 2, 3, 4)]
    blocks = [f"block{i}.0" for i in (1, 2, 3, 4)]
    ends = ["block1.2", "block2.3", "block3.11", "block4.2"]
    spectral = ["block1.0.attn", "block2.0.attn"]
    kept = Kept(model, *embeds, *blocks, *ends, *spectral, "post_network.0")
    compared = 0
    for number, (training, image) in enumerate(golden.inputs()):
        if training:
            continue
        with torch.inference_mode():
            encoding = model.encode(image)
        golden.assert_close(f"out{number}", encoding.embedding)
        if number > 0:
            continue
        shown = {f"patch_embed{i}[:,:64]": kept[name][:, :64] for i, name in enumerate(embeds, start=1)}
        shown |= {f"block{i}.first[:,:64]": kept[name][:, :64] for i, name in enumerate(blocks, start=1)}
        shown |= {f"block{i}.last[:,:64]": kept[name][:, :64] for i, name in enumerate(ends, start=1)}
        shown |= {f"{name.removesuffix('attn')}spectral_out[:,:64]": kept[name][:, :64] for name in spectral}
        shown |= {
            "block3.0.attn[:,:,:8]": encoding.maps[0][:, :, :8],
            "block3.last.attn_mean_over_heads": encoding.maps[11].mean(dim=1),
            "block4.last.attn": encoding.maps[14],
            "post_network.0.cls": kept["post_network.0"][:, 0],
            "tokens_stage4": encoding.tokens,
        }
        for name, values in shown.items():
            golden.assert_close(f"mid0/{name}", values)
        count, *tokens = golden.arrays["mid0/n_attention_maps"].tolist()
        assert [len(encoding.maps), *(item.shape[-1] for item in encoding.maps)] == [count, *tokens]
        compared = len(shown) + 1
    assert compared == sum(name.startswith("mid0/") for name in golden.arrays)


def test_training_is_that_of_the_reference(model: PainFormer, golden: Golden) -> None:
    ((image, number),) = [(image, n) for n, (training, image) in enumerate(golden.inputs()) if training]
    model.train()
    with torch.no_grad():
        golden.assert_close(f"train_out{number}", model(image)[0])
    statistics = [name for name in golden.arrays if name.startswith(f"train_bn{number}/")]
    assert statistics
    for name in statistics:
        golden.assert_close(name, model.state_dict()[name.partition("/")[2]])


def test_where_attention_looked_is_a_map_that_sums_to_one_and_leaves_the_embedding_alone(model: PainFormer) -> None:
    with torch.inference_mode():
        plain, none = model(images(2))
        embedding, maps = model(images(2), with_attention=True)
    torch.testing.assert_close(embedding, plain, rtol=0.0, atol=0.0)
    assert none == {}
    (declared,) = model.maps
    assert maps.keys() == {declared.name}
    shown = maps[declared.name]
    assert shown.shape == (2, *declared.shape)
    assert (shown >= 0.0).all()
    torch.testing.assert_close(shown.sum(dim=(1, 2)), torch.ones(2))
    assert (shown[0] - shown[1]).abs().max() > 1e-4  # another image, another map


def test_rollout_by_hand() -> None:
    # One head, one coarse token over four fine ones, one fine block in which all look at the last.
    fine = torch.zeros(1, 1, 4, 4)
    fine[..., 3] = 1.0
    shown = rollout([fine], [torch.ones(1, 1, 1, 1)], torch.tensor([0.3, 0.7]).reshape(1, 1, 1, 2))
    torch.testing.assert_close(shown, torch.tensor([[[0.125, 0.125], [0.125, 0.625]]]))


def test_rollout_is_the_product_of_all_maps() -> None:
    """Against the definition, with whole matrices and the pooling written out."""
    fine = [maps_of(2, 3, 16, 16, seed=i) for i in range(3)]
    coarse = [maps_of(2, 5, 4, 4, seed=10 + i) for i in range(2)]
    class_map = maps_of(2, 5, 1, 5, seed=20)

    def through(maps: list[Tensor]) -> Tensor:
        product = torch.eye(maps[0].shape[-1]).expand(2, -1, -1)
        for weights in maps:
            step = 0.5 * (weights.mean(dim=1) + torch.eye(weights.shape[-1]))
            product = step / step.sum(dim=-1, keepdim=True) @ product
        return product

    pool = torch.zeros(4, 4, 4)
    for row in range(4):
        for column in range(4):
            pool[2 * (row // 2) + column // 2, row, column] = 0.25
    cls = class_map.mean(dim=1)
    row = cls[..., 1:] + cls[..., :1] / 4
    expected = (row @ through(coarse) @ pool.flatten(1) @ through(fine)).reshape(2, 4, 4)
    torch.testing.assert_close(rollout(fine, coarse, class_map), expected)


def test_rollout_of_maps_that_look_nowhere_else_is_even() -> None:
    even = rollout(
        [torch.eye(16).expand(1, 2, 16, 16)], [torch.eye(4).expand(1, 2, 4, 4)], torch.full((1, 2, 1, 5), 0.2)
    )
    torch.testing.assert_close(even, torch.full((1, 4, 4), 1 / 16))


def test_first_weights() -> None:
    torch.manual_seed(0)
    model = PainFormer()
    spreads = {
        "block3.0.mlp.fc1": 0.02,
        "patch_embed3.proj": (2 / (9 * 320)) ** 0.5,
        "block1.0.mlp.dwconv.dwconv": (2 / 9) ** 0.5,
    }
    for name, spread in spreads.items():
        layer = model.get_submodule(name)
        assert layer.weight.std().item() == pytest.approx(spread, rel=0.05)
        assert not layer.bias.any()
    gate = model.get_submodule("block1.0.attn")
    assert isinstance(gate, SpectralGate)
    assert gate.complex_weight.std().item() == pytest.approx(0.02, rel=0.02)


def small(drop_path: float) -> SpectFormer:
    """One of the family: the same code, a tenth of the time."""
    torch.manual_seed(0)
    sizes = {"dims": (8, 8, 16, 16), "depths": (1, 2, 1, 1), "heads": (1, 1, 2, 2), "mlp_ratios": (2, 2, 2, 2)}
    return SpectFormer(stem=4, class_heads=2, drop_path=drop_path, **sizes)  # type: ignore[arg-type]


def test_every_weight_learns() -> None:
    model = small(drop_path=0.0)
    (model(images(2)).embedding * torch.randn(2, 16)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_branches_are_left_out_in_training_only_and_not_unless_asked_for() -> None:
    model = small(drop_path=0.9)
    with torch.no_grad():
        seen = [model(images(2)).tokens for _ in range(4)]
        assert not all(torch.equal(seen[0], other) for other in seen[1:])
        model.eval()
        whole = model(images(2)).tokens
        assert torch.equal(model(images(2)).tokens, whole)
        plain = small(drop_path=0.0).train()
        assert torch.equal(plain(images(2)).tokens, plain(images(2)).tokens)


def test_what_is_left_out_is_made_up_for_on_average() -> None:
    torch.manual_seed(0)
    found = DropPath(0.25).train()(torch.ones(40_000, 1, 1)).flatten()
    torch.testing.assert_close(found.unique(), torch.tensor([0.0, 4 / 3]))
    assert found.mean().item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"depths": (1, 1, 1)}, "4 stages"),
        ({"heads": (1, 1, 3, 2)}, "3 heads do not divide a width of 16"),
    ],
)
def test_what_cannot_be_built_is_refused(sizes: dict[str, tuple[int, ...]], message: str) -> None:
    good = {"dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2), "mlp_ratios": (2, 2, 2, 2)}
    with pytest.raises(ValueError, match=message):
        SpectFormer(stem=4, class_heads=2, **(good | sizes))  # type: ignore[arg-type]


def test_probes_are_the_filters_and_the_attention() -> None:
    probes = PainFormer().parity_probes()
    assert len(probes) == len(set(probes)) == 7 + 2 * 15 + 2
    assert "block1.0.attn.complex_weight" in probes
    assert "post_network.0.attn.kv.weight" in probes
