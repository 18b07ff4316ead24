"""PainMonit PMED and PMCD in their exact form on disk, with made-up numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.data.catalogue import open_data
from models.data.recorded import DataSet
from models.data.settings import DataSettings
from models.data.survey import survey
from monitor.errors import SourceError
from tests.helpers.pain_data import PMED_TEMPERATURES, pmed_heater, wave, write_pmcd, write_pmed

STIMULI = 10
"""Two of each temperature: more than the eight before which a baseline is cut."""


@pytest.fixture(scope="module")
def pmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("painmonit")
    write_pmed(root / "PMED", heater=pmed_heater(STIMULI, pause_s=6.0))
    return root


def opened(root: Path, cache: Path, kind: str = "pmed", **more: object) -> DataSet:
    return open_data(DataSettings(kind=kind, path=str(root), cache=str(cache), **more))


def said(data: DataSet, code: str) -> list[str]:
    return [f"{o.where}: {o.what}" for o in survey(data).oddities if o.code == code]


def test_decimal_commas_units_and_columns(pmed: Path, tmp_path: Path) -> None:
    (sitting,) = opened(pmed, tmp_path)
    assert sitting.subject == "S_02"
    assert [(c.name, c.modality, c.unit) for c in sitting.channels] == [
        ("Bvp", "BVP", "a.u."),
        ("Eda_RB", "EDA", "uS"),
        ("Eda_E4", "EDA", "uS"),
        ("Tmp", "TEMP", "degC"),
        ("Resp", "RESP", "a.u."),
        ("Ecg", "ECG", "mV"),
        ("Emg", "EMG", "mV"),
    ]
    tracks = sitting.stretches[0].tracks
    n = len(pmed_heater(STIMULI, pause_s=6.0))
    np.testing.assert_allclose(tracks["Eda_RB"].samples, wave("Eda_RB", 250.0, n, offset=2.0), atol=1e-4)
    np.testing.assert_allclose(tracks["Ecg"].samples, wave("Ecg", 250.0, n, offset=2.0) / 1000, atol=1e-4)
    assert sitting.channel("EDA").name == "Eda_RB"
    assert tracks["Bvp"].stamps is None, "evenly spaced samples need no stamps"


def test_columns_by_name_with_another_unit(pmed: Path, tmp_path: Path) -> None:
    (sitting,) = opened(pmed, tmp_path, signals=("Eda_E4", "Ibi"), units={"Eda_E4": "nS"})
    assert [(c.name, c.modality, c.unit) for c in sitting.channels] == [("Eda_E4", "EDA", "uS"), ("Ibi", "", "s")]
    np.testing.assert_allclose(sitting.stretches[0].tracks["Eda_E4"].samples[0], 4.02e-3, rtol=1e-3)
    ibi = sitting.stretches[0].tracks["Ibi"].samples
    assert np.flatnonzero(np.isfinite(ibi)).tolist() == list(range(0, len(ibi), 200))


def test_stimuli_are_ranked_and_eight_baselines_precede_them(pmed: Path, tmp_path: Path) -> None:
    (sitting,) = opened(pmed, tmp_path, modalities=("EDA",))
    stimuli = [trial for trial in sitting.trials if trial.onset_s is not None]
    baselines = [trial for trial in sitting.trials if trial.label == 0]
    onsets = [20.0 + 16.0 * i for i in range(STIMULI)]
    assert [trial.onset_s for trial in stimuli] == pytest.approx(onsets)
    assert [trial.label for trial in stimuli] == [1, 2, 3, 4, 5] * 2
    assert [trial.facts["temperature_degC"] for trial in stimuli] == [*PMED_TEMPERATURES, *PMED_TEMPERATURES]
    assert [trial.rating for trial in stimuli] == pytest.approx([max(t - 42, 0) * 20 for t in PMED_TEMPERATURES] * 2)
    # The baseline is the 10 s that end 5 s before the onset, for the first eight stimuli only.
    assert [trial.start_s for trial in baselines] == pytest.approx([onset - 15.0 for onset in onsets[:8]])
    assert {len(sitting.cut(trial)["Eda_RB"]) for trial in sitting.trials} == {2500}
    at = round(onsets[3] * 250)
    samples = sitting.stretches[0].tracks["Eda_RB"].samples
    np.testing.assert_array_equal(sitting.cut(stimuli[3])["Eda_RB"], samples[at : at + 2500])


def test_a_stimulus_that_changes_or_ends_early_is_left_out(tmp_path: Path) -> None:
    heater = pmed_heater(6, pause_s=6.0)
    heater[25 * 250 : 30 * 250] = 44.0  # the first changes half way
    write_pmed(tmp_path, heater=heater[: (20 + 5 * 16 + 4) * 250])  # the last is cut short
    data = opened(tmp_path, tmp_path / "cache", modalities=("EDA",))
    (sitting,) = data
    assert len([trial for trial in sitting.trials if trial.onset_s is not None]) == 4
    assert "2 of 6 stimuli do not hold one temperature" in said(data, "stimulus")[0]
    assert "4 temperatures instead of 5" in said(data, "temperatures")[0]
    assert {t.label for t in sitting.trials if t.onset_s is not None} == {None}, "a rank of four is no rank of five"
    heat = [(t.start_s, t.seconds) for t in sitting.trials if t.group == "other heat"]
    assert heat == [pytest.approx((20.0, 10.0)), pytest.approx((100.0, 4.0))], "a stream must not take it for rest"
    assert sitting.facts["first_stimulus_s"] == pytest.approx(20.0)


def test_heat_beyond_its_ten_seconds_and_before_the_first_onset_is_no_rest(tmp_path: Path) -> None:
    heater = pmed_heater(5, pause_s=6.0)
    heater[: 2 * 250] = 40.0
    heater[30 * 250 : 31 * 250] = 38.0  # a ramp
    heater[46 * 250 : 50 * 250] = 38.0  # no ramp
    write_pmed(tmp_path, heater=heater)
    (sitting,) = opened(tmp_path, tmp_path / "cache", modalities=("EDA",))
    heat = [(t.start_s, t.seconds, t.label) for t in sitting.trials if t.group == "other heat"]
    assert heat == [pytest.approx((0.0, 2.0, None)), pytest.approx((48.0, 2.0, None))]
    assert len([t for t in sitting.trials if t.onset_s is not None]) == 5


def test_gaps_keep_their_times(tmp_path: Path) -> None:
    path = write_pmed(tmp_path, heater=np.full(2000, 32.0))
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:501] + lines[751:]) + "\n")
    data = opened(tmp_path, tmp_path / "cache", modalities=("EDA",))
    (sitting,) = data
    track = sitting.stretches[0].tracks["Eda_RB"]
    assert track.stamps is not None
    assert np.max(np.diff(track.stamps)) == pytest.approx(1.004)
    assert any("line 502" in text and "1 gaps, 1 s" in text for text in said(data, "gap"))


def test_another_rate_is_read_at_its_own(tmp_path: Path) -> None:
    path = write_pmed(tmp_path, heater=np.full(1000, 32.0))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[1::2]]) + "\n")
    (sitting,) = opened(tmp_path, tmp_path / "cache", modalities=("ECG",))
    assert sitting.channels[0].rate_hz == pytest.approx(125.0)
    assert any(oddity.code == "rate" for oddity in sitting.oddities)


def test_damage_names_file_and_line(tmp_path: Path) -> None:
    path = write_pmed(tmp_path, heater=np.full(100, 32.0))
    lines = path.read_text().splitlines()
    cells = lines[40].split(";")
    path.write_text("\n".join([*lines[:40], ";".join(["0,1", *cells[1:]]), *lines[41:]]) + "\n")
    assert any(
        f"{path}, line 41" in text and "does not ascend" in text
        for text in said(opened(tmp_path, tmp_path / "c"), "damaged")
    )
    path.write_text("\n".join([lines[0].replace("Heater_cleaned", "Heater"), *lines[1:]]) + "\n")
    assert any(
        "there is no column 'Heater_cleaned'" in text for text in said(opened(tmp_path, tmp_path / "c"), "damaged")
    )


def test_often_left_out_subjects_are_named(tmp_path: Path) -> None:
    write_pmed(tmp_path, "S_22", heater=np.full(100, 32.0))
    assert any("S_22" in text for text in said(opened(tmp_path, tmp_path / "c"), "often left out"))


def test_pmcd_windows_labels_and_scores(tmp_path: Path) -> None:
    write_pmcd(tmp_path / "PMCD")
    data = opened(tmp_path, tmp_path / "cache", "pmcd", modalities=("EDA",))
    (sitting,) = data
    assert (sitting.subject, sitting.session) == ("P01", "1")
    assert [stretch.name for stretch in sitting.stretches] == ["run-up", "main"]
    run_up = [trial for trial in sitting.trials if trial.group == "run-up"]
    assert [trial.start_s for trial in run_up] == [0.0, 2.0, 4.0, 6.0]
    assert all(trial.label == 0 and trial.calibration and trial.stretch == 0 for trial in run_up)
    main = [(t.start_s, t.label, t.rating, t.group) for t in sitting.trials if t.stretch == 1]
    assert main == [
        (2.0, 0, 0.0, "rated 0"),
        (4.0, 0, 0.0, "rated 0"),
        (6.0, 1, 6.0, "rated 1"),
        (8.0, 1, 6.0, "rated 1"),
        (12.0, 2, 9.0, "rated 2"),
        (14.0, 2, 9.0, "rated 2"),
    ]
    assert [(rating.t, rating.value) for rating in sitting.ratings] == [(5.0, 0.0), (9.0, 6.0), (15.0, 9.0)]
    assert dict(sitting.facts) == {"no_pain_threshold": 2.5, "severe_pain_threshold": 7.0}
    first = next(trial for trial in sitting.trials if trial.stretch == 1)
    main_samples = sitting.stretches[1].tracks["Eda_RB"].samples
    np.testing.assert_array_equal(sitting.cut(first)["Eda_RB"], main_samples[500:1500])
    np.testing.assert_allclose(main_samples, wave("Eda_RB", 250.0, 5000, offset=1.0), atol=1e-4)


def test_a_window_takes_the_highest_of_its_labels(tmp_path: Path) -> None:
    write_pmcd(tmp_path, labels={4.5: (8.0, 2), 5.5: (1.0, 0)}, seconds=8.0)
    (sitting,) = opened(tmp_path, tmp_path / "cache", "pmcd", modalities=("EDA",))
    assert [(t.start_s, t.label) for t in sitting.trials if t.stretch == 1] == [(2.0, 2), (4.0, 2)]


def test_missing_files_of_a_session(tmp_path: Path) -> None:
    whole = write_pmcd(tmp_path, "P01_1", labels={2.0: (1.0, 1)}, seconds=6.0)
    half = write_pmcd(tmp_path, "P01_2", labels={}, seconds=6.0)
    (half / "P01_2_runUp.csv").unlink()
    (whole / "noPainThreshold.txt").unlink()
    data = opened(tmp_path, tmp_path / "cache", "pmcd", modalities=("EDA",))
    assert [files.key for files in data.sittings] == ["P01/1"]
    levels = {Path(oddity.where).name: oddity.level for oddity in data.oddities if oddity.code == "missing"}
    assert levels == {"P01_2_runUp.csv": "error", "noPainThreshold.txt": "warning"}


def test_labels_beyond_their_scale_are_damage(tmp_path: Path) -> None:
    folder = write_pmcd(tmp_path, labels={2.0: (11.0, 1)}, seconds=5.0)
    data = opened(tmp_path, tmp_path / "cache", "pmcd", modalities=("EDA",))
    assert any(f"{folder / 'P01_1.csv'}, line 502" in text for text in said(data, "damaged"))


def test_the_other_part_is_recognised(pmed: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="it looks like PMED"):
        opened(pmed / "PMED", tmp_path, "pmcd")
    with pytest.raises(SourceError, match="no subject is in it"):
        opened(tmp_path, tmp_path, "pmed")
