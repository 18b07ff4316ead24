"""The presets of CrossMod-Transformer, and its parts alone on one signal."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from export.fill import fill_model
from models.base import PainModel
from models.crossmod_parts import ALSTM, FCN, EncoderLayer, SignalEncoder, TransformerBlock
from models.crossmod_transformer import PRESETS, CrossModTransformer
from models.crossmod_unimodal import CrossModALSTM, CrossModFAT, CrossModFCN
from tests.models.numpy_crossmod import alone, crossmod

SAMPLES = 138
UNIMODAL = (CrossModFCN, CrossModALSTM, CrossModFAT)

every_preset = pytest.mark.parametrize("preset", PRESETS)
each_alone = pytest.mark.parametrize("kind", UNIMODAL)


def signals(batch: int, *names: str, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    walk = {name: torch.randn(batch, 1, SAMPLES, generator=generator, dtype=torch.float64).cumsum(-1) for name in names}
    return {name: (value / SAMPLES**0.5).to(dtype) for name, value in walk.items()}


def filled(model: PainModel) -> PainModel:
    fill_model(model)
    return model.double().eval()


def weights_of(model: PainModel) -> dict[str, np.ndarray]:
    return {key: value.numpy().astype(np.float64) for key, value in model.state_dict().items()}


def test_names_and_shapes_of_the_default_are_those_of_every_checkpoint_so_far() -> None:
    model = CrossModTransformer(inputs=("eda", "ecg"), classes=3, dropout=0.2, final_dropout=0.5)
    state = [f"{key} {tuple(value.shape)} {value.dtype}" for key, value in model.state_dict().items()]
    assert len(state) == 226
    digest = hashlib.sha256("\n".join(state).encode()).hexdigest()
    assert digest == "95531da57644d7a609271cc0d7be863e6febe47cc9a9fcdc38bde2edf19daf83"
    assert model.arguments["preset"] == "tables"


@pytest.mark.parametrize(
    ("preset", "parameters", "million"),
    [("tables", 2_511_876, 724), ("fig8", 3_927_172, 954), ("literal", 2_511_876, 176)],
)
def test_parameters_and_operations_of_the_presets(preset: str, parameters: int, million: int) -> None:
    model = CrossModTransformer(classes=2, preset=preset)
    assert model.parameter_count() == parameters
    assert round(model.flops(model.example_shapes()) / 1e6) == million


def test_fig8_has_the_operations_of_the_figure() -> None:
    model = CrossModTransformer(classes=2, preset="fig8")
    encoder = model.encoders["eda"]
    assert sum(p.numel() for p in encoder.alstm.parameters()) == 199_297
    # The stated count has the context, which is not passed on here.
    assert round(ALSTM(hidden=128, dropout=0.0).flops(SAMPLES) / 1e6, 2) == 54.48
    assert 54.4 < encoder.alstm.flops(SAMPLES) / 1e6 < 54.48
    block = sum(p.numel() for p in (*model.block.parameters(), *model.fc4.parameters()))
    assert block == 1_745_026
    assert round((model.block.flops(SAMPLES, dense=1) + 2 * 128 * 2) / 1e6, 2) == 440.62
    # FC1-3 of each signal run while it is trained alone, and never again.
    once = sum(e.flops(SAMPLES, dense=1) - e.flops(SAMPLES) for e in model.encoders.values())
    assert round((model.flops(model.example_shapes()) + once) / 1e6) == 955


def test_operations_of_the_parts() -> None:
    assert round(FCN(dropout=0.0).flops(SAMPLES) / 1e6, 2) == 72.63
    assert round(ALSTM(dropout=0.0).flops(SAMPLES) / 1e6, 2) == 13.67
    block = TransformerBlock(dropout=0.0)
    assert round(block.flops(1, dense=1) / 1e6, 2) == 1.25
    assert round(block.flops(SAMPLES, dense=1) / 1e6, 2) == 130.03
    assert round(block.flops(SAMPLES, dense=SAMPLES) / 1e6, 2) == 210.84
    assert sum(p.numel() for p in EncoderLayer(width=256, dropout=0.0).parameters()) == 395_776
    assert sum(p.numel() for p in SignalEncoder(dropout=0.0).parameters()) == 942_273


@pytest.mark.parametrize(
    ("kind", "parameters", "million"),
    [(CrossModFCN, 264_704 + 8_386, 72.7), (CrossModALSTM, 50_497 + 8_386, 13.7), (CrossModFAT, 942_531, 216.3)],
)
def test_parameters_and_operations_of_the_parts_alone(kind: type[PainModel], parameters: int, million: float) -> None:
    model = kind(classes=2)
    assert model.parameter_count() == parameters
    assert round(model.flops(model.example_shapes()) / 1e6, 1) == million


@pytest.mark.parametrize("preset", ["fig8", "literal"])
def test_operations_agree_with_those_that_torch_counts(preset: str) -> None:
    model = CrossModTransformer(classes=2, preset=preset).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(signals(1, "eda", "ecg"))
    hidden = model.layout.hidden
    # torch does not look into its LSTM kernel.
    lstm = 2 * 2 * SAMPLES * 4 * hidden * (1 + hidden + 2 * hidden)
    assert model.flops(model.example_shapes()) == counter.get_total_flops() + lstm


@pytest.mark.parametrize("preset", ["fig8", "literal"])
def test_presets_equal_the_transcription_of_their_readings(preset: str) -> None:
    model = filled(CrossModTransformer(classes=3, preset=preset))
    inputs = signals(1, "eda", "ecg", dtype=torch.float64)
    with torch.inference_mode():
        result = model(inputs, with_attention=True)
    found = {"logits": result.logits, "features": result.features, **result.attention}
    expected = crossmod(weights_of(model), {name: value[0, 0].numpy() for name, value in inputs.items()}, preset)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name][0].shape == values.shape, name
        assert np.abs(found[name][0].numpy() - values).max() <= 1e-9 * np.abs(values).max(), name


@each_alone
def test_parts_alone_equal_the_transcription_of_the_paper(kind: type[PainModel]) -> None:
    model = filled(kind(inputs=("bvp",), classes=3))
    signal = signals(1, "bvp", dtype=torch.float64)
    with torch.inference_mode():
        result = model(signal, with_attention=True)
    found = {"logits": result.logits, "features": result.features, **result.attention}
    expected = alone(weights_of(model), kind.architecture, "bvp", signal["bvp"][0, 0].numpy())
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert np.abs(found[name][0].numpy() - values).max() <= 1e-9 * np.abs(values).max(), name


@pytest.mark.parametrize(
    "model", [*(CrossModTransformer(preset=preset) for preset in PRESETS), *(kind() for kind in UNIMODAL)],
    ids=[*PRESETS, *(kind.architecture for kind in UNIMODAL)],
)  # fmt: skip
def test_maps_are_as_declared_and_change_nothing(model: PainModel) -> None:
    model.eval()
    inputs = signals(2, *model.input_names)
    with torch.inference_mode():
        plain, shown = model(inputs), model(inputs, with_attention=True)
    assert plain.attention == {}
    assert torch.equal(plain.logits, shown.logits)
    declared = {item.name: item for item in model.attention_maps(model.example_shapes())}
    assert list(shown.attention) == list(declared)
    for name, values in shown.attention.items():
        assert values.shape == (2, *declared[name].shape)
        if declared[name].kind != "embedding":
            torch.testing.assert_close(values.sum(-1), torch.ones(values.shape[:-1]))


def test_one_token_leaves_nothing_to_show_but_the_attention_over_time() -> None:
    model = filled(CrossModTransformer(preset="literal"))
    maps = model.attention_maps(model.example_shapes())
    assert [item.name for item in maps] == ["temporal.eda", "temporal.ecg"]
    inputs = signals(1, "eda", "ecg", dtype=torch.float64)
    with torch.inference_mode():
        intact = model(inputs).logits
        for key, value in model.state_dict().items():
            if key.endswith(("query.weight", "key.weight")):
                value.zero_()
        assert torch.equal(model(inputs).logits, intact)


@each_alone
def test_dead_probes_are_noticed(kind: type[PainModel]) -> None:
    model = filled(kind())
    inputs = signals(1, "eda", dtype=torch.float64)
    state = model.state_dict()
    assert model.parity_probes()
    with torch.inference_mode():
        before = model(inputs, with_attention=True)
        intact = {"logits": before.logits, **before.attention}
        for name in model.parity_probes():
            kept = state[name].clone()
            state[name].zero_()
            after = model(inputs, with_attention=True)
            state[name].copy_(kept)
            mutated = {"logits": after.logits, **after.attention}
            assert max((mutated[m] - intact[m]).abs().max() / intact[m].abs().max() for m in intact) > 1e-6, name


def test_fcn_and_alstm_alone_classify_what_the_whole_builds_on() -> None:
    encoder, fcn, alstm = SignalEncoder(dropout=0.2).eval(), CrossModFCN().eval(), CrossModALSTM().eval()
    fcn.fcn, alstm.alstm = encoder.fcn, encoder.alstm
    signal = signals(2, "eda")
    with torch.inference_mode():
        assert torch.equal(fcn(signal).features, encoder.fcn(signal["eda"]).mean(dim=1))
        assert torch.equal(alstm(signal).features, encoder.alstm(signal["eda"])[0][:, -1])


def test_fat_alone_is_the_encoder_of_the_whole_up_to_the_mean() -> None:
    fat, whole = CrossModFAT().eval(), CrossModTransformer().eval()
    whole.encoders["eda"].load_state_dict(fat.encoder.state_dict())
    signal = signals(2, "eda")
    with torch.inference_mode():
        encoder = whole.encoders["eda"]
        expected = encoder.block.features(encoder.fuse(signal["eda"])[0].mean(dim=1))
        assert torch.equal(fat(signal).features, expected)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no preset 'table'; there are tables, fig8, literal"):
        CrossModTransformer(preset="table")


@each_alone
def test_what_cannot_be_one_signal_is_refused(kind: type[PainModel]) -> None:
    with pytest.raises(ValueError, match="reads one signal"):
        kind(inputs=("eda", "ecg"))
    with pytest.raises(ValueError, match="nothing to classify"):
        kind(classes=1)
    for of in (kind().flops, kind().attention_maps):
        with pytest.raises(ValueError, match=r"takes \(1, samples\) of eda, not \(2, 138\)"):
            of({"eda": (2, 138)})
