from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from export.fill import fill_model
from models.blocks.backbone import BackboneMap, ImageBackbone
from models.image_pipeline import ImagePipeline, PainFormerPipeline, TinyBioMoEPipeline


class Dummy(ImageBackbone):
    """Means of 16 x 16 patches, a layer, BatchNorm: everything of an encoder but its size."""

    embedding: ClassVar[int] = 160
    paper: ClassVar[str] = "none"
    maps: ClassVar[tuple[BackboneMap, ...]] = (
        BackboneMap(name="rollout", kind="rollout", axis="image", shape=(14, 14)),
        BackboneMap(name="gate.1", kind="gate", axis="channel", shape=(160,)),
    )

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Linear(588, 160)
        self.norm = nn.BatchNorm1d(160)
        self.images: list[int] = []

    def forward(self, images: Tensor, *, with_attention: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        self.images.append(images.shape[0])
        small = 16.0 * nn.functional.avg_pool2d(images, 16)
        z = self.norm(self.weight(small.flatten(1)))
        return z, {"rollout": small.mean(1), "gate.1": z.sigmoid()} if with_attention else {}

    def flops(self) -> int:
        return 2 * 588 * 160

    def parity_probes(self) -> tuple[str, ...]:
        return ("weight.weight",)


class Pipeline(ImagePipeline):
    architecture = "dummy"
    paper = "none"
    published_elu = True
    takes_embeds = True

    def make_backbone(self) -> Dummy:
        return Dummy()


class ImagesOnly(Pipeline):
    takes_embeds = False


def case(images: int, videos: int, fusion: str, head: str) -> Any:
    arguments = {
        "inputs": ("eda_waveform", "ecg_psd")[:images],
        "embeds": ("rgb", "depth")[:videos],
        "fusion": fusion,
        "head": head,
    }
    return pytest.param(arguments, id=f"{images}-{videos}-{fusion}-{head}")


# Every fusion of images alone; a mixer or a video where it makes a difference, since each costs as much as ten images.
CASES = [case(images, 0, fusion, "linear") for images in (1, 2) for fusion in ("add", "concat", "decision")]
CASES += [
    case(1, 2, "concat", "linear"),
    case(2, 1, "decision", "linear"),
    case(2, 0, "concat", "mixer"),
    case(2, 0, "add", "mixer"),
    case(2, 0, "decision", "mixer"),
    case(2, 2, "add", "mixer"),
]
every_case = pytest.mark.parametrize("arguments", CASES)


def build(**arguments: Any) -> Pipeline:
    model = Pipeline(**arguments)
    fill_model(model)
    return model.eval()


def windows(model: ImagePipeline, batch: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(11)
    return {name: torch.randn(batch, *shape, generator=generator) for name, shape in model.example_shapes().items()}


def run(model: ImagePipeline, inputs: Mapping[str, Tensor], **kwargs: bool) -> Any:
    with torch.inference_mode():
        return model(inputs, **kwargs)


@every_case
def test_every_combination_classifies_counts_and_shows_what_it_declares(arguments: dict[str, Any]) -> None:
    model = build(classes=4, **arguments)
    shapes = model.example_shapes()
    assert tuple(shapes) == model.input_names == (*arguments["inputs"], *arguments["embeds"])
    inputs = windows(model, batch=1)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        plain = model(inputs)
    assert model.flops(shapes) == counter.get_total_flops()
    shown = run(model, inputs, with_attention=True)
    assert plain.attention == {}
    assert torch.equal(plain.logits, shown.logits)
    assert plain.logits.shape == (1, 4)
    declared = {item.name: item.shape for item in model.attention_maps(shapes)}
    assert {name: tuple(value.shape[1:]) for name, value in shown.attention.items()} == declared
    assert set(model.parity_probes()) <= set(model.state_dict())
    again = Pipeline(**model.arguments).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(run(again, inputs).logits, plain.logits)


@pytest.mark.parametrize(
    "arguments", [case(2, 1, "decision", "linear"), case(2, 0, "add", "mixer"), case(2, 0, "concat", "mixer")]
)
def test_each_probe_and_each_input_changes_the_logits(arguments: dict[str, Any]) -> None:
    model = build(**arguments)
    inputs = windows(model, batch=1)
    expected = run(model, inputs).logits
    state = model.state_dict()
    assert len(model.parity_probes()) > 1
    for name in model.parity_probes():
        kept = state[name].clone()
        state[name].zero_()
        assert (run(model, inputs).logits - expected).abs().max() > 1e-3, name
        state[name].copy_(kept)
    for name in inputs:
        changed = run(model, inputs | {name: torch.zeros_like(inputs[name])}).logits
        assert (changed - expected).abs().max() > 1e-4, name


def test_embeddings_are_fused_as_named() -> None:
    first, second = "eda_waveform", "ecg_psd"
    model = build(inputs=(first, second), fusion="add", embeds=("rgb", "depth"))
    inputs = windows(model, batch=3)
    assert model.video is not None
    with torch.inference_mode():
        z1, z2 = (model.backbone(inputs[name])[0] for name in (first, second))
        video = model.video(inputs["rgb"] + inputs["depth"])
    torch.testing.assert_close(run(model, inputs).features, torch.cat([z1 + z2, video], dim=1))
    joined = build(inputs=(first, second), fusion="concat", embeds=("rgb", "depth"))
    torch.testing.assert_close(run(joined, inputs).features, torch.cat([z1, z2, video], dim=1))
    gsr = build(inputs=(first,), embeds=("rgb", "thermal", "depth"))
    assert run(gsr, windows(gsr)).features.shape == (2, 200)


def test_deciding_for_each_is_the_mean_of_probabilities() -> None:
    model = build(inputs=("eda_waveform", "ecg_psd"), embeds=("rgb",), fusion="decision", classes=3)
    inputs = windows(model, batch=2)
    result = run(model, inputs)
    assert model.video is not None
    with torch.inference_mode():
        seen = [model.backbone(inputs[name])[0] for name in model.images] + [model.video(inputs["rgb"])]
        each = [head(part.unsqueeze(1))[0].softmax(-1) for head, part in zip(model.heads, seen, strict=True)]
    assert len(each) == 3
    torch.testing.assert_close(result.logits.softmax(-1), sum(each) / 3)
    torch.testing.assert_close(result.logits.exp().sum(-1), torch.ones(2))
    assert result.features.shape == (2, 160 + 160 + 40)


def test_a_decision_stays_finite_where_all_heads_are_sure() -> None:
    model = build(inputs=("a", "b"), fusion="decision", classes=2)
    for head in model.heads:
        nn.init.zeros_(head.out.weight)
        head.out.bias.data = torch.tensor([0.0, 500.0])
    logits = run(model, windows(model)).logits
    assert torch.isfinite(logits).all()
    assert torch.equal(logits.softmax(-1)[:, 1], torch.ones(2))


def test_maps_carry_the_name_of_their_image_only_where_there_are_several() -> None:
    one, two = build(), build(inputs=("eda_waveform", "ecg_psd"))
    assert [item.name for item in one.attention_maps(one.example_shapes())] == ["rollout", "gate.1"]
    inputs = windows(two)
    attention = run(two, inputs, with_attention=True).attention
    assert [(item.name, item.of) for item in two.attention_maps(two.example_shapes())] == [
        ("rollout.eda_waveform", "eda_waveform"),
        ("rollout.ecg_psd", "ecg_psd"),
        ("gate.1.eda_waveform", "eda_waveform"),
        ("gate.1.ecg_psd", "ecg_psd"),
    ]
    for name in two.images:
        alone = run(one, {"eda_waveform": inputs[name]}, with_attention=True).attention
        torch.testing.assert_close(attention[f"rollout.{name}"], alone["rollout"])


def test_all_images_go_through_the_encoder_at_once() -> None:
    model = build(inputs=("a", "b", "c"))
    run(model, windows(model, batch=2))
    assert model.backbone.images == [6]


def test_the_published_head_has_an_elu_and_features_come_before_it() -> None:
    model = build(classes=2)
    result = run(model, windows(model))
    with torch.inference_mode():
        (head,) = model.heads
        assert (result.features < -1.0).any()
        torch.testing.assert_close(result.logits, head.out(nn.functional.elu(result.features)))


def test_a_frozen_encoder_rests_and_the_head_learns() -> None:
    model = Pipeline(classes=2, dropout=0.5).train().freeze_backbone()
    before = model.backbone.norm.running_mean.clone()
    assert model.training
    model(windows(model, batch=4)).logits.sum().backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(p.grad is not None for p in model.heads.parameters())
    assert torch.equal(model.backbone.norm.running_mean, before)
    assert not model.train().backbone.training

    model.freeze_backbone(False)
    assert model.backbone.training
    model(windows(model, batch=4)).logits.sum().backward()
    assert all(p.grad is not None for p in model.backbone.parameters())
    assert not torch.equal(model.backbone.norm.running_mean, before)
    assert not model.eval().backbone.training


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Pipeline, {"inputs": ()}, "one or more different images"),
        (Pipeline, {"inputs": ("a", "a")}, "one or more different images"),
        (Pipeline, {"inputs": ("a",), "embeds": ("a",)}, "one or more different images"),
        (Pipeline, {"fusion": "vote"}, "no fusion 'vote'"),
        (Pipeline, {"head": "tree"}, "no head 'tree'"),
        (Pipeline, {"classes": 1}, "nothing to classify"),
        (ImagesOnly, {"embeds": ("rgb",)}, "images only"),
    ],
)
def test_what_cannot_be_built_is_refused(kind: type[Pipeline], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


def test_a_two_second_signal_is_no_image() -> None:
    model = build()
    for of in (model.flops, model.attention_maps):
        with pytest.raises(ValueError, match=r"takes \(3, 224, 224\) of eda_waveform, not \(1, 1024\)"):
            of({"eda_waveform": (1, 1024)})


def test_the_published_pipelines_have_the_counts_that_they_state() -> None:
    assert TinyBioMoEPipeline(classes=3).parameter_count() == 7_337_278 + 3 * 193
    assert PainFormerPipeline(classes=3).parameter_count() == 19_596_704 + 3 * 161 == 19_597_187
    gsr = PainFormerPipeline(inputs=("gsr_waveform",), embeds=("rgb", "thermal", "depth"), classes=2)
    assert gsr.parameter_count() == 19_596_704 + 3_372_868 + 2 * 201
    assert (gsr.heads[0].before[0].__class__, TinyBioMoEPipeline().heads[0].before[0].__class__) == (
        nn.Identity,
        nn.ELU,
    )
    with pytest.raises(ValueError, match="tiny-biomoe takes images only"):
        TinyBioMoEPipeline(embeds=("rgb",))


def test_a_published_encoder_in_the_pipeline_gives_its_own_embedding_and_map() -> None:
    model = build_real()
    inputs = windows(model, batch=1)
    result = run(model, inputs, with_attention=True)
    with torch.inference_mode():
        z, maps = model.backbone(inputs["gsr_psd"], with_attention=True)
    torch.testing.assert_close(result.features[:, 160:], z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.attention["rollout.gsr_psd"], maps["rollout"])
    assert [item.name for item in model.attention_maps(model.example_shapes())] == list(result.attention)


def build_real() -> PainFormerPipeline:
    model = PainFormerPipeline(inputs=("gsr_waveform", "gsr_psd"))
    fill_model(model)
    return model.eval()
