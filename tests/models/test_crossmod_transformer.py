from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from export.fill import fill_model
from models.blocks.activations import elish
from models.blocks.attention import MultiHeadAttention
from models.crossmod_parts import ALSTM, FCN, EncoderLayer, SignalEncoder, TransformerBlock
from models.crossmod_transformer import CrossModTransformer
from tests.models.numpy_crossmod import crossmod

SAMPLES = 138


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def signals(batch: int, *names: str, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    walk = {name: torch.randn(batch, 1, SAMPLES, generator=generator, dtype=torch.float64).cumsum(-1) for name in names}
    return {name: (value / SAMPLES**0.5).to(dtype) for name, value in walk.items()}


@pytest.mark.parametrize(
    ("module", "parameters"),
    [
        (FCN(dropout=0.2), 264_704),
        (ALSTM(dropout=0.2), 50_497),
        (MultiHeadAttention(dim=128, heads=8), 66_048),
        (EncoderLayer(dropout=0.2), 99_584),
        (TransformerBlock(dropout=0.2), 627_072),
        (SignalEncoder(dropout=0.2), 942_273),
        (CrossModTransformer(classes=2), 2_511_876),
        (CrossModTransformer(classes=3), 2_511_876 + 129),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_every_part_has_the_parameters_of_its_table(module: nn.Module, parameters: int) -> None:
    assert count(module) == parameters


def test_operations_agree_with_those_that_torch_counts() -> None:
    model = CrossModTransformer(classes=2).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(signals(1, "eda", "ecg"))
    # torch does not look into its LSTM kernel.
    lstm = 2 * 2 * SAMPLES * (4 * 64 * (1 + 64) + 4 * 64 * 128)
    # The score is a product of one row, which it counts as well.
    assert model.flops(model.example_shapes()) == pytest.approx(counter.get_total_flops() + lstm, rel=1e-3)
    assert round(model.flops(model.example_shapes()) / 1e6) == 724


@pytest.mark.parametrize("names", [("eda", "ecg"), ("eda", "bvp")])
def test_float64_module_equals_the_transcription_of_the_paper(names: tuple[str, str]) -> None:
    model = CrossModTransformer(inputs=names, classes=3)
    fill_model(model)
    model = model.double().eval()
    inputs = signals(2, *names, dtype=torch.float64)
    with torch.inference_mode():
        result = model(inputs, with_attention=True)
    found = {"logits": result.logits, "features": result.features, **result.attention}

    weights = {key: value.numpy().astype(np.float64) for key, value in model.state_dict().items()}
    for example in range(2):
        expected = crossmod(weights, {name: inputs[name][example, 0].numpy() for name in names})
        assert list(found) == list(expected)
        for name, values in expected.items():
            error = np.abs(found[name][example].numpy() - values).max()
            assert error <= 1e-9 * np.abs(values).max(), name


def test_a_dead_query_key_or_score_would_be_noticed() -> None:
    """The last block's attention is nearly flat even at fill weights; the comparison above must see it all the same."""
    model = CrossModTransformer(classes=3)
    fill_model(model)
    model = model.double().eval()
    inputs = signals(1, "eda", "ecg", dtype=torch.float64)
    state = model.state_dict()
    assert len(model.parity_probes()) == 2 * 12 + 2
    with torch.inference_mode():
        intact = model(inputs, with_attention=True).attention
        for name in model.parity_probes():
            kept = state[name].clone()
            state[name].zero_()
            mutated = model(inputs, with_attention=True).attention
            state[name].copy_(kept)
            changes = [(mutated[m] - intact[m]).abs().max() / intact[m].abs().max() for m in intact]
            assert max(changes) > 1e-6, name


def test_attention_rows_sum_to_one_and_shapes_are_as_declared() -> None:
    model = CrossModTransformer(classes=3).eval()
    with torch.inference_mode():
        maps = model(signals(3, "eda", "ecg"), with_attention=True).attention
    declared = {item.name: item for item in model.attention_maps(model.example_shapes())}
    assert list(maps) == list(declared)
    for name, values in maps.items():
        assert values.shape == (3, *declared[name].shape)
        if declared[name].kind != "embedding":
            torch.testing.assert_close(values.sum(-1), torch.ones(values.shape[:-1]))


def test_maps_cost_nothing_unless_asked_for_and_change_nothing() -> None:
    model = CrossModTransformer(classes=3).eval()
    with torch.inference_mode():
        plain, shown = model(signals(2, "eda", "ecg")), model(signals(2, "eda", "ecg"), with_attention=True)
    assert plain.attention == {}
    assert torch.equal(plain.logits, shown.logits)
    assert torch.equal(plain.features, shown.features)


def test_embedding_map_is_the_gradient_times_its_input() -> None:
    model = CrossModTransformer(classes=3)
    fill_model(model)
    model = model.double().eval()
    fused = torch.randn(1, SAMPLES, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    fused.requires_grad_()
    model.fc4(model.block.features(fused.mean(dim=1)))[0, 2].backward()
    with torch.no_grad():
        shown = model.block.attribution(fused, model.fc4.weight[[2]])
    torch.testing.assert_close(shown, fused.detach() * fused.grad)


def test_a_gradient_reaches_every_parameter() -> None:
    model = CrossModTransformer(classes=3)
    model(signals(4, "eda", "ecg")).logits.square().sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A key's bias moves a whole row of scores alike and softmax takes it out again, up to rounding.
    assert [name for name in dead if not name.endswith("key.bias")] == []


def test_the_order_of_examples_in_a_batch_means_nothing() -> None:
    model = CrossModTransformer(classes=3).eval()
    inputs = signals(3, "eda", "ecg")
    with torch.inference_mode():
        straight = model(inputs).logits
        turned = model({name: value.flip(0) for name, value in inputs.items()}).logits.flip(0)
    torch.testing.assert_close(straight, turned)


def test_elish_is_that_of_the_printed_equation() -> None:
    x = torch.tensor([-200.0, -2.0, -1e-3, 0.0, 1e-3, 2.0, 200.0], dtype=torch.float64, requires_grad=True)
    y = elish(x)
    values = x.detach().numpy()
    with np.errstate(over="ignore"):
        expected = np.where(values >= 0, values, (np.exp(values) - 1) / (1 + np.exp(-values)))
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-12)
    y.sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    "arguments", [{"inputs": ("eda",)}, {"inputs": ("eda", "eda")}, {"inputs": ("eda", "ecg", "emg")}, {"classes": 1}]
)
def test_what_cannot_be_fused_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"two different signals|nothing to classify"):
        CrossModTransformer(**arguments)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="do not divide"):
        MultiHeadAttention(dim=128, heads=7)
