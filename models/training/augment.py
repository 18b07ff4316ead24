"""Changes of training windows that keep their meaning: what people and devices differ in, and labels do not.

Of signals, each with a strength in 0..1, 0 being none:

- `jitter`: white noise, its standard deviation so many times the window's own.
- `scaling`: amplitudes times 1 - s to 1 + s, about 0, where the bundle's scaling puts the baseline.
- `time_warp`: time runs faster and slower within the window by a smooth map that keeps both ends; a point moves by at
  most s of the window (s up to 0.2). Rates change by at most 4.2 s: 4 % at 0.01.
- `masking`: a run of up to s of the window is bridged by a straight line, as the live pipeline bridges a short gap.
- `device_rate`: with probability s, the window as a device of a lower rate would have given it: a rate drawn (uniform
  in its log) between the least that the bundle takes and the grid's, sampled at a random phase, and interpolated back.
  A point uses samples up to the device's next one, as live, and nothing from beyond the window's end.

Leaving a whole signal out (`channel_dropout`) is the architecture's own affair (`PainAttnNetAttention`): elsewhere
zeros would be a signal of their own, and losing one means another bundle.

Of images: `image_shift` (by up to s of the side, edges repeated), `image_mask` (a square of side s, as its mean
colour), `image_noise` (white noise, the same on all three channels). No colours are changed: they are the values.

Draws are made on the CPU by the generator that is given, so that a GPU sees the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Generator, Tensor

from monitor.bundle import InputSpec

GREATEST_WARP: Final = 0.2
"""Of `time_warp`; from 0.238 on time could run backwards."""


class SignalAugmentation:
    """Augments a batch of signals.

    Args:
        inputs: What the batch consists of, in order.
        strengths: By name; others than those of signals are passed over.

    Raises:
        ValueError: If time would run backwards.
    """

    def __init__(self, inputs: Sequence[InputSpec], strengths: Mapping[str, float]) -> None:
        self._inputs = tuple(inputs)
        self._strengths = {name: float(strengths.get(name, 0.0)) for name in _STEPS}
        if self._strengths["time_warp"] > GREATEST_WARP:
            raise ValueError(f"time_warp is {self._strengths['time_warp']:g}: {GREATEST_WARP} at most")

    def __bool__(self) -> bool:
        return any(self._strengths.values())

    def __call__(self, signals: tuple[Tensor, ...], draws: Generator) -> tuple[Tensor, ...]:
        """(B, channels, samples) each -> the same shapes; what is given stays as it is."""
        changed = []
        for item, signal in zip(self._inputs, signals, strict=True):
            one = signal
            for name, step in _STEPS.items():
                if strength := self._strengths[name]:
                    one = step(one, strength, draws, item)
            changed.append(one)
        return tuple(changed)


def device_rate(x: Tensor, probability: float, draws: Generator, item: InputSpec) -> Tensor:
    """Windows as devices of lower rates would have given them; see the module's text."""
    count, samples = len(x), x.shape[-1]
    spread = math.log(max(1.0, item.rate_hz / item.min_rate_hz)) if item.min_rate_hz > 0 else math.log(4.0)
    chosen = _uniform(count, draws, x) < probability
    period = torch.exp(spread * _uniform(count, draws, x))[:, None]
    first = _uniform(count, draws, x)[:, None] * period
    last = first + torch.floor((samples - 1 - first) / period) * period
    at = torch.arange(samples, device=x.device, dtype=x.dtype)[None, :]
    before = first + torch.floor((at - first) / period) * period
    left = torch.maximum(before, first)
    right = torch.minimum(torch.maximum(before + period, first), last)
    share = ((at - left) / (right - left).clamp(min=1e-6)).clamp(0.0, 1.0)
    sampled = torch.lerp(_at(x, left), _at(x, right), share[:, None, :])
    # A device as fast as the grid gives what is there, not what lies between.
    changed = chosen & (period[:, 0] > 1.0)
    return torch.where(changed[:, None, None], sampled, x)


def time_warp(x: Tensor, strength: float, draws: Generator, _: InputSpec) -> Tensor:
    """Time t becomes t + s (c1 sin(pi t) + c2 sin(2 pi t) / 2) / 1.5 on 0..1, c uniform in -1..1."""
    samples = x.shape[-1]
    c1, c2 = (2.0 * _uniform(len(x), draws, x)[:, None] - 1.0 for _ in range(2))
    t = torch.linspace(0.0, 1.0, samples, device=x.device, dtype=x.dtype)[None, :]
    moved = t + strength / 1.5 * (c1 * torch.sin(math.pi * t) + 0.5 * c2 * torch.sin(2.0 * math.pi * t))
    return _at(x, (moved * (samples - 1)).clamp(0.0, samples - 1))


def scaling(x: Tensor, strength: float, draws: Generator, _: InputSpec) -> Tensor:
    """Amplitudes times 1 - s to 1 + s."""
    return x * (1.0 + strength * (2.0 * _uniform(len(x), draws, x) - 1.0))[:, None, None]


def masking(x: Tensor, strength: float, draws: Generator, _: InputSpec) -> Tensor:
    """A run of up to s of the window as a straight line between its ends."""
    samples = x.shape[-1]
    length = torch.floor(_uniform(len(x), draws, x) * (strength * samples + 1.0)).clamp(max=samples - 2)[:, None]
    start = torch.floor(_uniform(len(x), draws, x)[:, None] * (samples - 1 - length))
    stop = start + length + 1.0
    at = torch.arange(samples, device=x.device, dtype=x.dtype)[None, :]
    inside = (at > start) & (at < stop)
    line = torch.lerp(_at(x, start), _at(x, stop), ((at - start) / (stop - start)).clamp(0.0, 1.0)[:, None, :])
    return torch.where(inside[:, None, :], line, x)


def jitter(x: Tensor, strength: float, draws: Generator, _: InputSpec) -> Tensor:
    """White noise of s times the window's own standard deviation."""
    noise = torch.randn(x.shape, generator=draws, dtype=torch.float32).to(x)
    return x + strength * x.std(dim=-1, keepdim=True, unbiased=False) * noise


_STEPS: Final = {
    "device_rate": device_rate,
    "time_warp": time_warp,
    "scaling": scaling,
    "masking": masking,
    "jitter": jitter,
}
"""In the order in which a signal meets them: the body, the device, the line, the amplifier."""


class ImageAugmentation:
    """Augments a batch of images, (B, 3, size, size).

    Args:
        strengths: By name; others than those of images are passed over.
    """

    def __init__(self, strengths: Mapping[str, float]) -> None:
        self._shift, self._mask, self._noise = (
            float(strengths.get(name, 0.0)) for name in ("image_shift", "image_mask", "image_noise")
        )

    def __bool__(self) -> bool:
        return bool(self._shift or self._mask or self._noise)

    def __call__(self, images: Tensor, draws: Generator) -> Tensor:
        """The same shape; what is given stays as it is."""
        if self._shift:
            images = _shifted(images, self._shift, draws)
        if self._mask:
            images = _masked(images, self._mask, draws)
        if self._noise:
            count, _, height, width = images.shape
            noise = torch.randn((count, 1, height, width), generator=draws, dtype=torch.float32).to(images)
            images = images + self._noise * noise
        return images


def _shifted(images: Tensor, share: float, draws: Generator) -> Tensor:
    for dim in (2, 3):
        size = images.shape[dim]
        most = round(share * size)
        by = torch.randint(-most, most + 1, (len(images), 1), generator=draws)
        rows = (torch.arange(size)[None, :] - by).clamp(0, size - 1).to(images.device)
        shape = (-1, 1, size, 1) if dim == 2 else (-1, 1, 1, size)
        images = images.gather(dim, rows.reshape(shape).expand(images.shape))
    return images


def _masked(images: Tensor, share: float, draws: Generator) -> Tensor:
    hidden = []
    for size in images.shape[2:]:
        side = round(share * size)
        start = torch.randint(0, size - side + 1, (len(images), 1), generator=draws)
        at = torch.arange(size)[None, :]
        hidden.append(((at >= start) & (at < start + side)).to(images.device))
    square = (hidden[0][:, :, None] & hidden[1][:, None, :])[:, None]
    return torch.where(square, images.mean(dim=(2, 3), keepdim=True), images)


def _uniform(count: int, draws: Generator, like: Tensor) -> Tensor:
    return torch.rand(count, generator=draws, dtype=torch.float32).to(like)


def _at(x: Tensor, positions: Tensor) -> Tensor:
    """Values between points: (B, channels, S) at (B, P) -> (B, channels, P)."""
    low = positions.floor().clamp(0, x.shape[-1] - 1)
    share = (positions - low)[:, None, :]
    first = low.long()
    second = (first + 1).clamp(max=x.shape[-1] - 1)
    shape = (-1, x.shape[1], -1)
    left, right = (x.gather(-1, index[:, None, :].expand(shape)) for index in (first, second))
    return torch.lerp(left, right, share.to(x.dtype))
