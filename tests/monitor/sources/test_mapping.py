from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monitor.config import Settings, StreamSettings
from monitor.errors import MappingError
from monitor.modality import MODALITY_MIN_RATE_HZ, MODALITY_UNITS
from monitor.sources.base import Candidate
from monitor.sources.mapping import Mapped, override, parse_map, resolve
from monitor.sources.names import guess_modalities, modality_by_name
from monitor.sources.recordings import open_recording
from monitor.sources.suggest import suggest
from monitor.sources.transfer import transfer_of
from monitor.sources.units import canonical_unit, convert

RECORDINGS = Path(__file__).resolve().parents[4] / "shared" / "recordings"
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def signal(name: str, *, unit: str | None = None, rate_hz: float | None = 500.0, index: int = 0) -> Candidate:
    return Candidate(
        key=f"csv:{name}", name=name, channel=name, channel_index=index, unit=unit, rate_hz=rate_hz, source="csv"
    )


def outlet(name: str, *labels: str, kind: str = "", unit: str | None = "mV", source_id: str = "dev") -> list[Candidate]:
    return [
        Candidate(
            key=f"lsl:{source_id}:{index}",
            name=name,
            type=kind,
            source_id=source_id,
            channel=label,
            channel_index=index,
            unit=unit,
            rate_hz=512.0,
            source="lsl",
        )
        for index, label in enumerate(labels or ("",))
    ]


def of_file(candidates: list[Candidate], *settings: StreamSettings, **kwargs: Any) -> Mapped:
    return resolve(candidates, settings, bed="bed1", live=False, **kwargs)


def live(candidates: list[Candidate], *settings: StreamSettings) -> Mapped:
    return resolve(candidates, settings, bed="bed1", live=True)


def served(mapped: Mapped) -> dict[str, str | None]:
    return {info.name: info.modality for info in mapped.streams}


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("hand GSR", "EDA"),
        ("Resp", "RESP"),
        ("RSP", "RESP"),
        ("PPG Finger", "BVP"),
        ("ekg2", "ECG"),
        ("SpO2", "SPO2"),
        ("Eda_E4", "EDA"),
        ("edaLeft", "EDA"),
        ("Photosensor", None),
        ("marker", None),
        ("scale", None),
        ("ECG-derived resp", None),
        ("PainScore", None),
    ],
)
def test_one_table_of_names(name: str, modality: str | None) -> None:
    assert modality_by_name(name) == modality


@pytest.mark.parametrize(
    ("unit", "modality", "sample", "value"),
    [
        ("V", "ECG", 0.002, 2.0),
        ("µV", "ECG", 1500.0, 1.5),
        ("millivolts", "EMG", 0.3, 0.3),
        ("nS", "EDA", 2500.0, 2.5),
        ("S", "EDA", 3e-6, 3.0),
        ("°F", "TEMP", 98.6, 37.0),
        ("K", "TEMP", 310.15, 37.0),
        ("m/s^2", "ACC", 9.80665, 1.0),
        ("V", "RESP", 0.7, 0.7),
        ("counts", "BVP", 512.0, 512.0),
    ],
)
def test_units_convert_to_the_modalitys_own(unit: str, modality: str, sample: float, value: float) -> None:
    mapped = of_file([signal(modality, unit=unit)])
    (info,) = mapped.streams
    assert info.gain * sample + info.offset == pytest.approx(value)
    assert mapped.channel_of[f"csv:{modality}"] is info


@hypothesis_settings(max_examples=50, deadline=None)
@given(
    modality=st.sampled_from(sorted(MODALITY_UNITS)), text=st.sampled_from(["V", "mV", "uS", "kOhm", "%", "degC", "g"])
)
def test_no_unit_of_another_dimension_slips_through(modality: str, text: str) -> None:
    unit = canonical_unit(text)
    assert unit is not None
    conversion = convert(unit, modality)
    target = MODALITY_UNITS[modality]
    same = target == "a.u." or unit == target or {unit, target} <= {"V", "mV"}
    assert isinstance(conversion, tuple) == same


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (signal("EDA", unit="mV"), "voltage"),
        (signal("EDA", unit="kOhm"), "1000 / kOhm"),
        (signal("EDA", unit="us"), "unit 'us' is not known"),
        (signal("EDA"), "nobody states its unit"),
        (signal("EDA", unit="uS", rate_hz=None), "--rate 100"),
        (signal("EDA", unit="uS", rate_hz=0.0), "irregular"),
    ],
)
def test_what_would_be_a_guess_is_refused(candidate: Candidate, said: str) -> None:
    with pytest.raises(MappingError) as caught:
        of_file([candidate])
    assert said in str(caught.value)


def test_a_refusal_prints_lines_that_settle_it() -> None:
    candidates = [signal("hand GSR"), signal("ECG", index=1)]
    with pytest.raises(MappingError) as caught:
        of_file(candidates)
    text = str(caught.value)
    assert "--map 'EDA=hand GSR:uS'" in text
    assert "--map ECG=ECG:mV" in text
    tables = tomllib.loads(text[text.index("[[") : text.index("or to the command")])
    settings = [StreamSettings(**table) for table in tables["bed"]["stream"]]
    assert served(of_file(candidates, *settings)) == {"hand GSR": "EDA", "ECG": "ECG"}
    options = [parse_map("EDA=hand GSR:uS"), parse_map("ECG=ECG:mV")]
    assert served(of_file(candidates, *options)) == {"hand GSR": "EDA", "ECG": "ECG"}


def test_two_channels_for_one_modality_are_refused_and_both_are_named() -> None:
    candidates = [signal("foot GSR", unit="uS"), signal("hand GSR", unit="uS", index=1)]
    with pytest.raises(MappingError, match=r"2 channels for EDA.*foot GSR.*hand GSR"):
        of_file(candidates)
    mapped = of_file(candidates, parse_map("EDA=hand GSR"))
    assert served(mapped) == {"hand GSR": "EDA"}
    assert [c.name for c, _ in mapped.unused] == ["foot GSR"]


def test_what_nothing_needs_never_stops_a_mapping() -> None:
    candidates = [signal("EDA", unit="uS"), signal("EMG", index=1, rate_hz=1000.0), signal("ECG", unit="uS", index=2)]
    mapped = of_file(candidates, needed={"EDA"})
    assert served(mapped) == {"EDA": "EDA"}
    assert {c.name for c, _ in mapped.unused} == {"EMG", "ECG"}
    with pytest.raises(MappingError, match="EMG"):
        of_file(candidates, needed={"EDA", "EMG"})
    with pytest.raises(MappingError, match="EMG"):
        of_file(candidates)


@pytest.mark.parametrize("named", [False, True])
def test_a_rate_too_low_leaves_the_stream_shown_and_the_rest_going(named: bool) -> None:
    candidates = [signal("EDA", unit="uS", rate_hz=30.0), signal("EMG", rate_hz=15.0)]
    mapped = of_file(candidates, *([parse_map("EMG=EMG:mV")] if named else []))
    assert served(mapped) == {"EDA": "EDA"}
    (shown,) = mapped.shown
    assert shown.modality is None
    assert shown.unused.startswith("rate_too_low")
    assert "450" in shown.unused


@pytest.mark.parametrize("modality", sorted(MODALITY_MIN_RATE_HZ))
def test_the_lowest_rate_itself_is_enough(modality: str) -> None:
    candidate = signal(modality, unit=MODALITY_UNITS[modality], rate_hz=MODALITY_MIN_RATE_HZ[modality])
    assert served(of_file([candidate])) == {modality: modality}


def test_counts_are_shown_and_not_used_until_a_transfer_is_given() -> None:
    candidates = [signal("EDA", unit="counts"), signal("ECG", unit="mV", index=1)]
    mapped = of_file(candidates)
    assert served(mapped) == {"ECG": "ECG"}
    assert mapped.shown[0].unused.startswith("unit_unknown")
    known = of_file(candidates, StreamSettings(name="EDA", modality="EDA", transfer="bitalino_rev", bits=10))
    info = known.channel_of["csv:EDA"]
    assert (info.modality, info.unit, info.rails) == ("EDA", "counts", (0.0, 1023.0))
    assert info.gain * 512 + info.offset == pytest.approx(12.5)
    own = of_file(candidates, StreamSettings(name="EDA", modality="EDA", gain=0.01, offset=-1.0))
    assert (own.channel_of["csv:EDA"].gain, own.channel_of["csv:EDA"].offset) == (0.01, -1.0)
    with pytest.raises(MappingError, match="gain = 1"):
        of_file([candidates[0]])


@pytest.mark.parametrize(
    ("device", "modality", "bits", "low", "high"),
    [
        # The ranges that the data sheets print beside the formulas.
        ("bitalino_rev", "ECG", 10, -1.5, 1.5),
        ("bitalino_rev", "EMG", 10, -1.635, 1.635),
        ("bitalino_rev", "EDA", 10, 0.0, 25.0),
        ("biosignalsplux", "ECG", 16, -1.5, 1.5),
        ("biosignalsplux", "EMG", 12, -1.5, 1.5),
        ("biosignalsplux", "EDA", 16, 0.0, 25.0),
        ("biosignalsplux", "RESP", 16, -50.0, 50.0),
        ("biosignalsplux", "BVP", 16, 0.0, 1.0),
    ],
)
def test_transfer_functions_span_the_data_sheets_ranges(
    device: str, modality: str, bits: int, low: float, high: float
) -> None:
    transfer = transfer_of(device, modality, bits=bits)
    assert transfer is not None
    assert transfer.offset == pytest.approx(low, rel=2e-3)
    assert transfer.gain * 2**bits + transfer.offset == pytest.approx(high, rel=2e-3)
    assert transfer.rails == (0.0, 2**bits - 1.0)


def test_config_goes_before_what_the_file_states() -> None:
    candidate = replace(signal("x1", unit="uS", rate_hz=30.0), rate_measured=True)
    given_ = StreamSettings(name="x1", modality="ECG", unit="uV", rate_hz=250)
    (info,) = of_file([candidate], given_).streams
    assert (info.modality, info.unit, info.rate_hz, info.gain, info.rate_measured) == ("ECG", "uV", 250.0, 1e-3, False)
    (measured,) = of_file([candidate], StreamSettings(name="x1", modality="EDA", rate_hz="measured")).streams
    assert (measured.rate_hz, measured.rate_measured) == (30.0, True)


def test_a_setting_that_matches_nothing_says_what_was_seen() -> None:
    setting = StreamSettings(name="heart", modality="ECG")
    with pytest.raises(MappingError, match=r"nothing matches name = 'heart'; seen: 'ECG'"):
        of_file([signal("ECG", unit="mV")], setting)
    mapped = live(outlet("ECG"), setting)
    assert mapped.streams == ()
    assert mapped.missing[0][0] is setting
    assert "'ECG'" in mapped.missing[0][1]


def test_two_streams_that_match_are_refused_and_the_lines_tell_them_apart() -> None:
    candidates = outlet("ECG", source_id="a") + outlet("ECG", source_id="b")
    with pytest.raises(MappingError) as caught:
        live(candidates, StreamSettings(name="ECG"))
    assert "source_id a" in str(caught.value)
    assert 'source_id = "b"' in str(caught.value)
    mapped = live(candidates, StreamSettings(name="ECG", source_id="b"))
    assert [info.key for info in mapped.streams] == ["lsl:b:0"]


def test_live_settings_are_the_whole_truth() -> None:
    candidates = outlet("ECG", source_id="a") + outlet("EDA", source_id="b", unit="uS")
    assert served(live(candidates)) == {"ECG": "ECG", "EDA": "EDA"}
    mapped = live(candidates, StreamSettings(name="EDA"))
    assert served(mapped) == {"EDA": "EDA"}
    assert mapped.unused[0][1] == "not named by the configuration"


def test_channel_labels_go_before_the_type_of_the_stream() -> None:
    candidates = outlet("device", "nSeq", "ECG", kind="ECG")
    assert guess_modalities(candidates) == {"lsl:dev:1": "ECG"}
    assert guess_modalities(outlet("device", kind="EKG")) == {"lsl:dev:0": "ECG"}
    for setting in (
        StreamSettings(name="device", modality="ECG"),
        StreamSettings(name="device", channel="ECG", modality="ECG"),
        StreamSettings(source_id="dev", channel=1, modality="ECG"),
    ):
        assert served(live(candidates, setting)) == {"device/ECG": "ECG"}


def test_settings_for_a_live_stream_fit_its_recording() -> None:
    setting = StreamSettings(name="biosignalsplux", type="Physio", channel="ECG", modality="ECG", unit="mV")
    assert served(of_file([signal("ECG"), signal("nSeq", index=1)], setting)) == {"ECG": "ECG"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([StreamSettings(name="ECG"), StreamSettings(channel="ECG")], "both name"),
        ([StreamSettings(name="ECG"), StreamSettings(name="lead2", modality="ECG", unit="mV")], "two channels"),
        ([StreamSettings(name="lead2")], "no modality follows"),
        ([StreamSettings(name="lead2", modality="EEG")], "no modality 'EEG'"),
        ([StreamSettings(unit="mV")], "neither"),
        ([StreamSettings(name="lead2", modality="TEMP", transfer="bitalino_rev")], "not defined for TEMP"),
    ],
)
def test_settings_that_contradict_are_refused(settings: list[StreamSettings], said: str) -> None:
    with pytest.raises(MappingError) as caught:
        of_file([signal("ECG", unit="mV"), signal("lead2", index=1)], *settings)
    assert said in str(caught.value)


def test_different_origins_are_refused() -> None:
    first = [replace(c, origin=10.0) for c in outlet("ECG", source_id="a")]
    second = [replace(c, origin=10.5) for c in outlet("EDA", source_id="b", unit="uS")]
    with pytest.raises(MappingError, match="different origins"):
        live(first + second)
    mapped = live(first + [replace(c, origin=10.0) for c in second])
    assert {info.origin for info in mapped.streams} == {10.0}


def test_map_options_are_read_and_replace_what_served_the_modality() -> None:
    setting = parse_map("eda=hand GSR:µS")
    assert (setting.modality, setting.name, setting.unit) == ("EDA", "hand GSR", "uS")
    assert parse_map("RESP=belt").unit is None
    assert parse_map("ECG=lead:II:").name == "lead:II"
    config = (StreamSettings(name="foot GSR", modality="eda"), StreamSettings(name="ECG", modality="ECG"))
    assert [s.name for s in override(config, [setting])] == ["hand GSR", "ECG"]


@pytest.mark.parametrize("text", ["", "EDA", "EDA=", "=x", "EDA=x:furlong", "EEG=x:mV"])
def test_map_options_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(MappingError):
        parse_map(text)


def test_suggestions_are_configuration_that_maps() -> None:
    candidates = [signal("ECG", rate_hz=None), signal("hand GSR", unit="uS", index=1), signal("HR", index=2)]
    text = suggest(candidates)
    assert "# 'HR'" in text
    settings = [StreamSettings(**table) for table in tomllib.loads(text)["bed"]["stream"]]
    assert served(of_file(candidates, *settings)) == {"ECG": "ECG", "hand GSR": "EDA"}


CASES = {
    "drivedb17": ("drivedb17/drive17a", {"ECG": 480.0, "EDA": 30.0, "RESP": 30.0}),
    "neurokit_eventrelated": ("neurokit/bio_eventrelated_100hz.csv.bz2", {"ECG": 100.0, "EDA": 100.0, "RESP": 100.0}),
    "stress_predict": ("stress_predict/S12", {"BVP": 64.0, "EDA": 4.0, "TEMP": 4.0}),
}


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not here")
@pytest.mark.parametrize("name", sorted(CASES))
def test_shipped_configurations_map_their_recordings_from_file_and_over_lsl(name: str) -> None:
    if name == "drivedb17":
        pytest.importorskip("wfdb", reason="the optional package 'wfdb' is not installed")
    path, rates = CASES[name]
    bed = Settings(**tomllib.loads((CONFIGS / f"{name}.toml").read_text(encoding="utf-8"))).bed[0]
    candidates = [s.candidate for s in open_recording(RECORDINGS / path, rate_hz=100.0).signals]
    mapped = resolve(candidates, bed.stream, bed=bed.name, live=False)
    found = {info.modality: info.rate_hz for info in mapped.streams}
    assert {modality: found[modality] for modality in rates} == rates
    if name == "drivedb17":
        assert [info.unused.split(":")[0] for info in mapped.shown] == ["rate_too_low"]
    # As the player announces them: one outlet a signal, named after it.
    outlets = [
        replace(c, key=f"lsl:play-{i}:0", source="lsl", source_id=f"play-{i}", channel=c.name, channel_index=0)
        for i, c in enumerate(candidates)
    ]
    over_lsl = resolve(outlets, bed.stream, bed=bed.name, live=True)
    assert {info.modality: info.rate_hz for info in over_lsl.streams} == rates
    assert over_lsl.missing == ()
