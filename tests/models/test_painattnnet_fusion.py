from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from models.painattnnet_fusion import ModalityAttention, PainAttnNetAttention, PainAttnNetLate

SIGNALS = ("eda", "ecg", "emg")
SAMPLES = 1500


def signals(batch: int, seed: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(batch, 1, SAMPLES, generator=generator).cumsum(dim=-1) / 40 for name in SIGNALS}


@pytest.fixture(scope="module")
def attention() -> PainAttnNetAttention:
    """First weights, with the statistics of some windows: without them nothing that BatchNorm passes has its size."""
    torch.manual_seed(0)
    model = PainAttnNetAttention(inputs=SIGNALS, classes=3, samples=SAMPLES, channel_dropout=0.0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(signals(16))
    return model.eval()


def test_late_fusion_is_a_sum_with_one_number_each() -> None:
    torch.manual_seed(0)
    model = PainAttnNetLate(inputs=SIGNALS, classes=3, samples=SAMPLES).eval()
    assert model.weights.tolist() == [1.0, 1.0, 1.0]
    inputs = signals(2)
    with torch.inference_mode():
        parts = []
        for number in range(3):
            model.weights.copy_(torch.eye(3)[number])
            parts.append(model(inputs).features)
        model.weights.copy_(torch.tensor([0.5, -2.0, 3.0]))
        expected = 0.5 * parts[0] - 2.0 * parts[1] + 3.0 * parts[2]
        found = model(inputs)
        torch.testing.assert_close(found.features, expected)
        torch.testing.assert_close(found.logits, model.fc(expected))


def test_weights_over_modalities_depend_on_the_window_from_the_first(attention: PainAttnNetAttention) -> None:
    with torch.inference_mode():
        weights = attention(signals(16), with_attention=True).attention["modality"]
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(16))
    assert weights.std(dim=0).min() > 1e-3
    assert weights.min() > 0


def test_after_the_last_norm_there_would_be_nothing_to_weigh(attention: PainAttnNetAttention) -> None:
    with torch.inference_mode():
        encoded, raw, _ = attention.encoders[0](signals(16)["eda"], name="eda", with_attention=False)
    assert encoded.mean(dim=-1).abs().max() < 1e-5
    assert raw.mean(dim=-1).std(dim=0).max() > 1e-2


def test_the_weights_are_the_softmax_of_the_equation() -> None:
    torch.manual_seed(0)
    fusion = ModalityAttention(30)
    summaries = torch.randn(4, 3, 30)
    with torch.inference_mode():
        found = fusion(summaries).numpy()
    w, v, u = (x.detach().numpy().astype(np.float64) for x in (fusion.proj.weight, fusion.score.weight[0], summaries))
    scores = np.array([[v @ np.tanh(w @ u[b, i]) for i in range(3)] for b in range(4)])
    np.testing.assert_allclose(found, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("instead", [0.0, 1e6, float("nan")])
def test_a_missing_modality_has_no_weight_whatever_stands_in_its_place(
    attention: PainAttnNetAttention, instead: float
) -> None:
    inputs = signals(4)
    present = {"ecg": torch.tensor([True, False, True, False])}
    with torch.inference_mode():
        whole = attention(inputs, with_attention=True)
        lost = attention(inputs, present=present, with_attention=True)
        swapped = inputs["ecg"].clone()
        swapped[~present["ecg"]] = instead
        again = attention({**inputs, "ecg": swapped}, present=present, with_attention=True)
    weights = lost.attention["modality"]
    assert torch.all(weights[~present["ecg"], 1] == 0)
    assert torch.all(weights[present["ecg"]] > 0)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    assert torch.equal(again.logits, lost.logits)
    assert torch.equal(again.attention["modality"], weights)
    assert torch.equal(lost.logits[::2], whole.logits[::2])
    assert not torch.isclose(lost.logits[1::2], whole.logits[1::2]).all()
    others = whole.attention["modality"][1, [0, 2]]
    torch.testing.assert_close(weights[1, [0, 2]], others / others.sum())


def test_what_is_all_there_need_not_be_said(attention: PainAttnNetAttention) -> None:
    inputs = signals(2)
    with torch.inference_mode():
        said = attention(inputs, present={name: torch.ones(2, dtype=torch.bool) for name in SIGNALS}).logits
        assert torch.equal(said, attention(inputs).logits)


def test_a_window_without_any_modality_is_refused(attention: PainAttnNetAttention) -> None:
    inputs = signals(2)
    none = torch.tensor([True, False])
    with pytest.raises(ValueError, match="no modality left"):
        attention(inputs, present=dict.fromkeys(SIGNALS, none))
    with pytest.raises(ValueError, match="has no input resp"):
        attention(inputs, present={"resp": none})


def test_training_masks_modalities_at_the_stated_rate_and_never_all() -> None:
    torch.manual_seed(0)
    model = PainAttnNetAttention(inputs=SIGNALS[:2], classes=3, samples=SAMPLES, channel_dropout=0.3).train()
    like = torch.empty(20_000, 2, 1)
    there = model._there(None, like)
    assert there is not None
    assert there.any(dim=1).all()
    # Both gone, 0.3 x 0.3, stay both.
    assert (~there).float().mean(dim=0).numpy() == pytest.approx(0.3 * 0.7, abs=0.01)
    lost = {"eda": torch.zeros(20_000, dtype=torch.bool)}
    assert torch.equal(model._there(lost, like), torch.tensor([False, True]).expand(20_000, 2))
    assert model.eval()._there(None, like) is None


def test_masked_training_still_gives_weights_that_sum_to_one() -> None:
    torch.manual_seed(0)
    model = PainAttnNetAttention(inputs=SIGNALS, classes=3, samples=SAMPLES, channel_dropout=0.5).train()
    result = model(signals(8), with_attention=True)
    weights = result.attention["modality"]
    assert 0 < (weights == 0).sum() < weights.numel()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(8))
    result.logits.square().sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
