from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.training.augment import GREATEST_WARP, ImageAugmentation, SignalAugmentation, device_rate, time_warp
from models.training.embedding import EmbeddingAugmentation
from models.training.schedules import EMBEDDINGS, IMAGE_STRENGTHS, SIGNAL_STRENGTHS
from monitor.bundle import default_input

EDA = default_input("EDA", rate_hz=25.0, samples=138)
ECG = default_input("ECG", rate_hz=25.0, samples=138)


def draws(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def signals(count: int = 6, samples: int = 138) -> Tensor:
    return torch.cumsum(torch.randn(count, 1, samples, generator=draws(9)), dim=-1)


@pytest.mark.parametrize("name", SIGNAL_STRENGTHS)
def test_each_change_of_a_signal_keeps_shapes_and_what_it_was_given(name: str) -> None:
    x = signals()
    before = x.clone()
    (changed,) = SignalAugmentation([EDA], {name: 0.2})((x,), draws())
    assert changed.shape == x.shape
    assert changed.dtype == x.dtype
    assert torch.isfinite(changed).all()
    assert torch.equal(x, before)
    assert not torch.equal(changed, x)
    again = SignalAugmentation([EDA], {name: 0.2})
    assert torch.equal(again((x,), draws())[0], changed)
    assert not torch.equal(again((x,), draws(2))[0], changed)
    none = SignalAugmentation([EDA], {name: 0.0})
    assert not none
    assert none((x,), draws())[0] is x


def test_no_strength_at_all_changes_nothing_by_the_steps_themselves() -> None:
    x = signals()
    torch.testing.assert_close(time_warp(x, 0.0, draws(), EDA), x, rtol=0, atol=1e-4)
    assert torch.equal(device_rate(x, 0.0, draws(), EDA), x)
    for images in (torch.rand(3, 3, 32, 32),):
        assert torch.equal(ImageAugmentation({})(images, draws()), images)


def test_time_never_runs_backwards_and_keeps_both_ends() -> None:
    ramp = torch.linspace(0.0, 1.0, 400).expand(50, 1, 400)
    warped = time_warp(ramp, GREATEST_WARP, draws(), EDA)
    assert (warped.diff(dim=-1) >= -1e-6).all()
    torch.testing.assert_close(warped[..., [0, -1]], ramp[..., [0, -1]], rtol=0, atol=1e-5)
    assert (warped - ramp).abs().max() <= GREATEST_WARP
    with pytest.raises(ValueError, match=r"time_warp is 0\.3"):
        SignalAugmentation([EDA], {"time_warp": 0.3})


def test_a_lower_device_rate_uses_nothing_later_than_the_devices_next_sample() -> None:
    # Every draw is the same, so that what a change of the last points reaches can be seen.
    x = signals(64)
    period = math.ceil(EDA.rate_hz / EDA.min_rate_hz)
    assert period > 1
    before = device_rate(x, 1.0, draws(), EDA)
    for first in (20, 80, 130):
        later = x.clone()
        later[..., first:] += 100.0
        after = device_rate(later, 1.0, draws(), EDA)
        assert torch.equal(after[..., : first - period - 1], before[..., : first - period - 1])
        assert not torch.equal(after[..., first:], before[..., first:])


def test_a_lower_device_rate_leaves_slow_signals_and_takes_fast_ones() -> None:
    t = torch.arange(138) / 25.0
    slow = torch.sin(2 * math.pi * 0.2 * t).expand(40, 1, -1)
    fast = torch.sin(2 * math.pi * 9.0 * t).expand(40, 1, -1)
    inner = slice(12, -12)
    assert (device_rate(slow, 1.0, draws(), EDA) - slow)[..., inner].abs().max() < 0.05
    assert (device_rate(fast, 1.0, draws(), EDA) - fast)[..., inner].abs().mean() > 0.1
    # An ECG of less than the grid's rate is refused live, so none is drawn.
    assert ECG.min_rate_hz >= ECG.rate_hz
    assert torch.equal(device_rate(fast, 1.0, draws(), ECG), fast)


def test_amplitudes_stay_within_their_strength_and_masks_are_bridged() -> None:
    x = signals()
    (scaled,) = SignalAugmentation([EDA], {"scaling": 0.1})((x,), draws())
    ratio = scaled / x
    assert (ratio - ratio[..., :1]).abs().max() < 1e-4
    assert (ratio - 1.0).abs().max() <= 0.1 + 1e-5
    (masked,) = SignalAugmentation([EDA], {"masking": 0.2})((x,), draws())
    changed = (masked != x).squeeze(1)
    assert changed.sum(dim=1).max() <= 0.2 * 138 + 1
    assert (masked.amax(dim=-1) <= x.amax(dim=-1) + 1e-5).all()
    assert (masked.amin(dim=-1) >= x.amin(dim=-1) - 1e-5).all()
    assert not (masked == 0).any()


def test_each_signal_is_changed_by_draws_of_its_own() -> None:
    x = signals()
    one, other = SignalAugmentation([EDA, ECG], {"scaling": 0.2})((x, x), draws())
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", IMAGE_STRENGTHS)
def test_images_keep_their_colours(name: str) -> None:
    images = torch.rand(5, 3, 32, 32, generator=draws(3))
    changed = ImageAugmentation({name: 0.2})(images, draws())
    assert changed.shape == images.shape
    assert not torch.equal(changed, images)
    if name == "image_shift":
        colours = {tuple(c) for c in images.permute(0, 2, 3, 1).reshape(-1, 3).tolist()}
        assert {tuple(c) for c in changed.permute(0, 2, 3, 1).reshape(-1, 3).tolist()} <= colours
    if name == "image_mask":
        assert 1 <= (changed != images).any(dim=1).sum(dim=(1, 2)).max() <= (round(0.2 * 32)) ** 2
    if name == "image_noise":
        difference = changed - images
        torch.testing.assert_close(difference[:, 0], difference[:, 2], rtol=0, atol=1e-6)


def test_embeddings_are_turned_or_masked_as_often_as_asked() -> None:
    x = torch.randn(4000, 160, generator=draws(4)) + 0.5
    pure = EmbeddingAugmentation({"embedding_basic": 0.5})
    (turned,) = pure((x,), draws())
    flipped = (turned == -x).all(dim=1)
    assert ((turned == x).all(dim=1) | flipped).all()
    assert float(flipped.float().mean()) == pytest.approx(0.5, abs=0.05)
    (masked,) = EmbeddingAugmentation({**EMBEDDINGS, "embedding_basic": 0.0})((x,), draws())
    hidden = (masked == 0).sum(dim=1)
    some = hidden > 0
    assert float(some.float().mean()) == pytest.approx(0.5, abs=0.05)
    assert hidden[some].min() >= 16
    assert hidden[some].max() <= 32
    first, second = EmbeddingAugmentation(EMBEDDINGS)((x, x), draws())
    assert first.shape == second.shape == x.shape
    assert not EmbeddingAugmentation({})
