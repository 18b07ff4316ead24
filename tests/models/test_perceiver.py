from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from export.fill import fill_model
from models.blocks.perceiver import GEGLU, AsymmetricAttention, Perceiver, fourier_positions


def small(tokens: int = 5) -> Perceiver:
    model = Perceiver(channels=3, tokens=tokens, latents=7, width=16, depth=2, selfs=2, heads=2, head_width=4, factor=2)
    fill_model(model)
    return model.eval()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def test_places_have_the_printed_frequencies() -> None:
    places = fourier_positions(9, bands=6, max_frequency=10.0)
    assert places.shape == (9, 13)
    x = np.linspace(-1.0, 1.0, 9)
    np.testing.assert_allclose(places[:, 12], x, atol=1e-7)
    for band, frequency in enumerate((1.0, 1.8, 2.6, 3.4, 4.2, 5.0)):
        np.testing.assert_allclose(places[:, band], np.sin(math.pi * frequency * x), atol=1e-6)
        np.testing.assert_allclose(places[:, 6 + band], np.cos(math.pi * frequency * x), atol=1e-6)
    assert len(torch.unique(fourier_positions(22_080, bands=6, max_frequency=10.0), dim=0)) == 22_080


def test_attention_is_scaled_dot_product_attention() -> None:
    attention = AsymmetricAttention(16, 6, heads=2, head_width=4).eval()
    queries, memory = noise(3, 7, 16), noise(3, 11, 6)

    def split(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (2, 4)).transpose(1, 2)

    with torch.inference_mode():
        expected = functional.scaled_dot_product_attention(
            split(queries @ attention.query.weight.T),
            split(memory @ attention.key.weight.T),
            split(memory @ attention.value.weight.T),
        )
        expected = expected.transpose(1, 2).flatten(2) @ attention.out.weight.T + attention.out.bias
        torch.testing.assert_close(attention(queries, memory), expected)
        same = attention(queries[:1], memory)
        torch.testing.assert_close(same, attention(queries[:1].expand(3, -1, -1), memory))


def test_the_feed_forward_gates_one_half_by_the_gelu_of_the_other() -> None:
    feed = GEGLU(4, factor=3)
    x = noise(2, 5, 4)
    with torch.inference_mode():
        value, gate = (x @ feed.expand.weight.T + feed.expand.bias).split(12, dim=-1)
        gated = value * gate * 0.5 * (1.0 + torch.erf(gate / math.sqrt(2.0)))
        torch.testing.assert_close(feed(x), gated @ feed.contract.weight.T + feed.contract.bias)


def test_each_example_is_read_for_itself() -> None:
    model = small()
    tokens = noise(4, 5, 3)
    with torch.inference_mode():
        together = model(tokens)
        alone = torch.cat([model(one) for one in tokens.split(1)])
    assert together.shape == (4, 16)
    torch.testing.assert_close(together, alone)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_the_order_of_tokens_matters() -> None:
    model = small()
    tokens = noise(1, 5, 3)
    with torch.inference_mode():
        assert (model(tokens) - model(tokens.flip(1))).abs().max() > 1e-3


def test_operations_are_those_that_torch_counts() -> None:
    for tokens in (1, 5):
        model = small(tokens)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            model(noise(1, tokens, 3))
        assert model.flops() == counter.get_total_flops() > 0


def test_each_probe_changes_the_output_and_a_single_token_leaves_no_choice() -> None:
    for tokens in (1, 5):
        model = small(tokens)
        given = noise(1, tokens, 3)
        state = dict(model.named_parameters())
        names = {name for name in state if name.endswith(("query.weight", "key.weight"))}
        assert len(names) == 12
        with torch.inference_mode():
            expected = model(given)
            for name in names:
                kept = state[name].clone()
                state[name].zero_()
                changed = (model(given) - expected).abs().max().item()
                state[name].copy_(kept)
                assert (changed > 1e-4) == (name in model.probes()), (tokens, name, changed)


def test_a_gradient_reaches_every_parameter() -> None:
    model = small().train()
    model(noise(2, 5, 3)).square().sum().backward()
    dead = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert dead == set()
