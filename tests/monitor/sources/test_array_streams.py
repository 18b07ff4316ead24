"""A stream of many channels is found, mapped and read as one: over LSL, in XDF files, in configurations."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.bundle import FilterSpec, InputSpec, ScaleSpec
from monitor.bundle_folder import load_bundle
from monitor.checkup import unusable
from monitor.cli.inventory import _stream_lines
from monitor.config import BedSettings, Settings, StreamSettings, contradictions
from monitor.errors import MappingError
from monitor.sources.base import WHOLE
from monitor.sources.lsl_discovery import Offer, _report
from monitor.sources.lsl_inlet import _taken
from monitor.sources.lsl_matching import Match, Seen, Vacancy, choose, place_name
from monitor.sources.mapping import parse_map, resolve
from monitor.sources.recordings import open_recording
from monitor.sources.replay import duration, replay_chunks, replay_streams
from monitor.types import Chunk, Provenance, StreamEventKind
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.helpers.xdf_writer import XdfStream, file_header

REGIONS = StreamSettings(name="regions", modality="ARRAY:regions")


def offer(name: str, channels: int, *, uid: str = "", **changes: Any) -> Offer:
    fields: dict[str, Any] = {
        "uid": uid or name,
        "name": name,
        "type": "",
        "source_id": f"id-{name}",
        "hostname": "here",
        "rate_hz": 1.0,
        "format": "float32",
        "channels": channels,
        "labels": ("",) * channels,
        "units": (None,) * channels,
        "origin": None,
        "provenance": Provenance.LIVE,
    }
    return Offer(**(fields | changes))


def seen(*offers: Offer) -> list[Seen]:
    """As the search of a bed sees them."""
    return [
        Seen(uid=o.uid, host=o.hostname, where=str(o), candidate=candidate)
        for o in offers
        for candidate in (*o.candidates(), *filter(None, [o.whole()]))
    ]


def decide(found: list[Seen], *streams: StreamSettings) -> tuple[list[Match], list[Vacancy]]:
    wanted = {place_name(stream, number): stream for number, stream in enumerate(streams)}
    return choose(found, bed="b1", wanted=wanted, served=(), announced={})


def test_an_array_binds_an_outlet_with_all_of_its_channels() -> None:
    eda = offer("wrist", 1, labels=("EDA",), units=("uS",), rate_hz=32.0)
    found = seen(offer("regions", 246), eda)
    matches, vacancies = decide(found, REGIONS, StreamSettings(name="wrist"))
    assert vacancies == []
    assert [(m.info.modality, m.info.channels, m.info.unit, m.info.rate_hz) for m in matches] == [
        ("ARRAY:regions", 246, "a.u.", 1.0),
        ("EDA", 1, "uS", 32.0),
    ]
    assert matches[0].seen.candidate.channel_index == WHOLE
    assert matches[0].info.name == "regions"


def test_an_array_of_one_channel_is_that_channel() -> None:
    (match,), _ = decide(seen(offer("regions", 1)), REGIONS)
    assert match.info.channels == 1
    samples = np.arange(6, dtype=np.float64).reshape(6, 1)
    assert _taken(samples, WHOLE).shape == (6,)


@pytest.mark.parametrize("form", [np.float64, np.float32, np.int16])
def test_samples_are_copied_whole_or_by_channel(form: Any) -> None:
    samples = np.arange(12).astype(form).reshape(4, 3)
    whole, one = _taken(samples, WHOLE), _taken(samples, 2)
    samples[:] = 0
    assert whole.dtype == one.dtype == np.float32
    np.testing.assert_array_equal(whole, np.arange(12).reshape(4, 3))
    np.testing.assert_array_equal(one, [2, 5, 8, 11])


def test_two_outlets_for_one_array_are_refused_and_none_is_looked_for() -> None:
    twins = seen(offer("regions", 246, uid="a"), offer("regions", 246, uid="b", source_id="other"))
    matches, (vacancy,) = decide(twins, REGIONS)
    assert (matches, vacancy.kind) == ([], StreamEventKind.REFUSED)
    assert "2 LSL streams match" in vacancy.detail
    matches, (vacancy,) = decide(seen(offer("voxels", 246), offer("wrist", 1)), REGIONS)
    assert (matches, vacancy.kind) == ([], StreamEventKind.SEARCHING)
    assert vacancy.detail.count("name='voxels'") == 1  # and not one line for each of its channels
    assert vacancy.detail.count("name='wrist'") == 1


def test_a_bed_that_names_nothing_takes_no_array_and_its_channels_as_ever() -> None:
    found = seen(offer("regions", 246), offer("hub", 2, labels=("EDA", "ECG"), units=("uS", "mV"), rate_hz=128.0))
    matches, _ = decide(found)
    assert sorted((m.info.modality or "", m.info.channels) for m in matches) == [("ECG", 1), ("EDA", 1)]


def test_an_array_has_the_unit_that_somebody_states_and_no_conversion() -> None:
    (match,), _ = decide(seen(offer("regions", 3, units=("bold", "bold", "bold"))), REGIONS)
    assert (match.info.unit, match.info.gain, match.info.offset) == ("bold", 1.0, 0.0)
    stated = REGIONS.model_copy(update={"unit": "% change", "gain": 0.5})
    (match,), _ = decide(seen(offer("regions", 3)), stated)
    assert (match.info.unit, match.info.gain) == ("% change", 0.5)


def test_an_irregular_array_without_a_rate_is_refused() -> None:
    _, (vacancy,) = decide(seen(offer("regions", 3, rate_hz=0.0)), REGIONS)
    assert "no rate is stated" in vacancy.detail
    assert "channel =" not in vacancy.detail


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channel": 3}, "takes all channels"),
        ({"transfer": "bitalino_rev"}, "takes all channels"),
        ({"source": "mqtt", "name": None}, "comes over LSL only"),
    ],
)
def test_a_configuration_cannot_take_a_part_of_an_array(changes: dict[str, Any], words: str) -> None:
    bed = BedSettings(stream=(REGIONS.model_copy(update=changes),))
    problems = [str(problem) for problem in contradictions(Settings(bed=(bed,)))]
    assert any(words in problem for problem in problems)


def test_streams_lists_a_wide_stream_once_and_suggests_lines_that_bind_it() -> None:
    report = _report(offer("Brain regions", 246))
    lines = _stream_lines(report)
    assert len(lines) < 15
    assert any("242 more channels" in line for line in lines)
    table = tomllib.loads(report.config.replace("[[bed.stream]]", "[[stream]]"))["stream"][0]
    setting = StreamSettings(**table)
    assert setting.modality == "ARRAY:brain-regions"
    matches, _ = decide(seen(offer("Brain regions", 246)), setting)
    assert [match.info.channels for match in matches] == [246]
    assert "ARRAY" not in "\n".join(_stream_lines(_report(offer("EDA", 1))))


def write_xdf(path: Path) -> np.ndarray:
    wide = XdfStream(number=1, name="regions", rate_hz=1.0, labels=("",) * 5, units=("",) * 5)
    wrist = XdfStream(number=2, name="wrist", rate_hz=8.0, labels=("EDA",), units=("uS",))
    values = np.random.default_rng(3).normal(size=(20, 5)).astype(np.float32)
    eda = np.linspace(1, 2, 160, dtype=np.float32)[:, np.newaxis]
    parts = [file_header(), wide.header(), wrist.header()]
    parts += [wide.samples((50.0 + np.arange(20)).tolist(), values)]
    parts += [wrist.samples((50.0 + np.arange(160) / 8).tolist(), eda), wide.footer(20), wrist.footer(160)]
    path.write_bytes(b"".join(parts))
    return values


def test_a_recorded_array_is_played_as_one_where_it_is_asked_for(tmp_path: Path) -> None:
    values = write_xdf(tmp_path / "take.xdf")
    recording = open_recording(tmp_path / "take.xdf")
    candidates = [signal.candidate for signal in (*recording.signals, *recording.arrays)]
    mapped = resolve(candidates, (parse_map("ARRAY:regions=regions"),), bed="b", live=False, needed={"EDA"})
    assert [(i.modality, i.channels, i.name) for i in mapped.streams] == [
        ("ARRAY:regions", 5, "regions"),
        ("EDA", 1, "wrist"),
    ]
    assert {why for _, why in mapped.unused} == {"its stream is taken as a whole"}
    infos = replay_streams(recording, mapped.streams)
    chunks = [c for _, c in replay_chunks(recording, infos) if isinstance(c, Chunk) and c.stream == infos[0].key]
    assert {chunk.samples.shape for chunk in chunks} == {(1, 5)}
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), values)
    assert duration(recording) == pytest.approx(20.0, abs=0.01)
    # Without such a setting nothing has changed.
    plain = resolve(candidates, (), bed="b", live=False)
    assert [info.modality for info in plain.streams] == ["EDA"]
    with pytest.raises(MappingError, match="nothing matches name = 'wide'"):
        resolve(candidates, (parse_map("ARRAY:regions=wide"),), bed="b", live=False)


def test_check_finds_a_stream_that_is_slower_than_windows_wait_and_takes_any_unit(tmp_path: Path) -> None:
    item = InputSpec(
        name="regions",
        modality="ARRAY:regions",
        channels=5,
        unit="a.u.",
        min_rate_hz=0.4,
        filter=FilterSpec(kind="none"),
        rate_hz=0.5,
        samples=10,
        scale=ScaleSpec(center="none", spread="none", floor=0.0),
    )
    spec = load_bundle(write_tiny_bundle(tmp_path, inputs=[item])).spec
    stream = REGIONS.model_copy(update={"unit": "bold", "rate_hz": 0.5})
    for lateness, problems in ((2.0, ["bed[0].allowed_lateness_s"]), (2.5, [])):
        bed = BedSettings(bundles=(spec.name,), stream=(stream,), allowed_lateness_s=lateness)
        assert [problem.key for problem in unusable(bed, [spec], "bed[0]")] == problems
