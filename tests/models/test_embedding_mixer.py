from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from export.fill import fill_model
from models.embedding_mixer import EmbeddingMixer, VideoEncoder


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def attention_products(model: VideoEncoder | EmbeddingMixer) -> int:
    """Operations of Q K and of weights times V alone."""
    perceiver = model.perceiver
    latents = perceiver.latents.shape[0]
    reads = sum(perceiver.tokens * read.attention.inner for read in perceiver.reads)
    thoughts = sum(latents * think.attention.inner for thoughts in perceiver.thoughts for think in thoughts)
    return 2 * 2 * latents * (reads + thoughts)


def test_the_video_encoder_has_the_published_counts_term_by_term() -> None:
    model = VideoEncoder()
    (read,) = model.perceiver.reads
    assert not any(len(thoughts) for thoughts in model.perceiver.thoughts)
    assert model.perceiver.tokens == 22_080
    assert model.perceiver.latents.numel() == 131_072
    assert read.memory_norm.normalized_shape == (14,)
    assert [count(part) for part in (read.norm, read.memory_norm)] == [1_024, 28]
    attention = read.attention
    assert [count(p) for p in (attention.query, attention.key, attention.value)] == [32_768, 896, 896]
    assert count(attention.out) == 33_280
    assert [count(part) for part in (read.feed.expand, read.feed.contract)] == [2_101_248, 1_049_088]
    assert count(model.out) == 20_520
    assert count(model) == 3_372_868
    assert (model.flops() - attention_products(model)) / 2 == pytest.approx(0.86e9, abs=0.005e9)
    assert model.flops() / 2 == pytest.approx(1.585e9, rel=1e-3)


def test_the_mixer_has_the_counts_that_its_docstring_states() -> None:
    model = EmbeddingMixer(tokens=2)
    assert count(model) == 9_245_620
    perceiver = model.perceiver
    assert [count(block.feed) + count(block.feed_norm) for block in (*perceiver.reads, *perceiver.thoughts[0])] == [
        788_992
    ] * 4
    assert {count(b.attention) + count(b.norm) for thoughts in perceiver.thoughts for b in thoughts} == {1_050_112}
    assert (model.flops() - attention_products(model)) / 2 == pytest.approx(2.32e9, rel=3e-3)
    assert model.flops() / 2 == pytest.approx(2.58e9, rel=3e-3)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (VideoEncoder(channels=8, frames=6), (8, 6)),
        (EmbeddingMixer(channels=8, tokens=3), (3, 8)),
    ],
)
def test_operations_are_those_that_torch_counts(model: VideoEncoder | EmbeddingMixer, shape: tuple[int, ...]) -> None:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.eval()(torch.zeros(1, *shape))
    assert model.flops() == counter.get_total_flops() > 0


def test_what_comes_out_is_as_wide_as_the_paper_says() -> None:
    with torch.inference_mode():
        assert VideoEncoder().eval()(torch.zeros(1, 160, 138)).shape == (1, 40)
        assert EmbeddingMixer(tokens=2).eval()(torch.zeros(3, 2, 160)).shape == (3, 512)


def test_a_video_is_read_frame_after_frame() -> None:
    model = VideoEncoder(channels=4, frames=3).eval()
    video = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(1))
    scalars = torch.cat([video[:, :, frame] for frame in range(3)], dim=-1).unsqueeze(-1)
    with torch.inference_mode():
        assert torch.equal(model(video), model.out(model.perceiver(scalars)))
        assert (model(video) - model(video.flip(2))).abs().max() > 1e-4


@pytest.mark.parametrize("tokens", [1, 2])
def test_probes_are_entries_and_each_changes_the_output(tokens: int) -> None:
    model = EmbeddingMixer(channels=8, tokens=tokens).eval()
    fill_model(model)
    state = model.state_dict()
    given = torch.randn(1, tokens, 8, generator=torch.Generator().manual_seed(2))
    assert len(model.parity_probes()) == (12 if tokens > 1 else 8)
    with torch.inference_mode():
        expected = model(given)
        for name in model.parity_probes():
            kept = state[name].clone()
            state[name].zero_()
            assert (model(given) - expected).abs().max() > 1e-4, name
            state[name].copy_(kept)
    assert set(VideoEncoder(channels=4, frames=3).parity_probes()) == {
        "perceiver.reads.0.attention.query.weight",
        "perceiver.reads.0.attention.key.weight",
    }
