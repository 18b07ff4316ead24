"""Which channel fills which place of a bed: uniquely, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.config import StreamSettings
from monitor.sources.base import Candidate
from monitor.sources.lsl_matching import ANY_PLACE, Match, Seen, Vacancy, choose, place_name
from monitor.types import StreamEventKind


def seen(uid: str, channel: str = "", *, index: int = 0, host: str = "ward7", **fields: Any) -> Seen:
    candidate = Candidate(
        key=f"lsl:{fields.get('source_id', uid)}:{index}", channel=channel, channel_index=index, source="lsl",
        **{"name": uid, "unit": "uS", "rate_hz": 64.0, **fields},
    )  # fmt: skip
    return Seen(uid=uid, host=host, where=f"outlet {uid}", candidate=candidate)


def decide(
    found: list[Seen], *streams: StreamSettings, served: frozenset[str] = frozenset(), **announced: float
) -> tuple[list[Match], list[Vacancy]]:
    wanted = {place_name(stream, number): stream for number, stream in enumerate(streams)}
    return choose(found, bed="b1", wanted=wanted, served=served, announced=announced)


@pytest.mark.parametrize(
    "stream",
    [
        StreamSettings(name="wrist", modality="EDA"),
        StreamSettings(type="GSR", modality="EDA"),
        StreamSettings(source_id="d1", modality="EDA"),
        StreamSettings(channel="EDA"),
        StreamSettings(modality="EDA"),
    ],
)
def test_any_one_criterion_is_enough_where_it_is_unique(stream: StreamSettings) -> None:
    found = [
        seen("u1", "EDA", name="wrist", type="GSR", source_id="d1"),
        seen("u2", "chest", name="belt", type="RESP", source_id="d2"),
    ]
    matches, vacancies = decide(found, stream)
    assert [match.seen.uid for match in matches] == ["u1"]
    assert matches[0].info.modality == "EDA"
    assert vacancies == []


def test_all_criteria_must_agree() -> None:
    matches, vacancies = decide([seen("u1", "EDA", name="wrist", type="GSR")], StreamSettings(name="wrist", type="EDA"))
    assert matches == []
    assert vacancies[0].kind is StreamEventKind.SEARCHING


def test_two_outlets_that_say_the_same_of_themselves_are_two() -> None:
    twins = [seen("u1", "EDA", name="wrist", source_id="d1"), seen("u2", "EDA", name="wrist", source_id="d1")]
    matches, vacancies = decide(twins, StreamSettings(source_id="d1"))
    assert matches == []
    assert vacancies[0].kind is StreamEventKind.REFUSED
    assert "outlet u1" in vacancies[0].detail
    assert "outlet u2" in vacancies[0].detail


def test_the_modality_tells_the_channels_of_one_outlet_apart() -> None:
    channels = [("EDA", "uS"), ("ECG", "mV"), ("aux", "V")]
    found = [
        seen("u1", label, index=number, name="hub", unit=unit, rate_hz=250.0)
        for number, (label, unit) in enumerate(channels)
    ]
    matches, vacancies = decide(
        found, StreamSettings(name="hub", modality="ECG"), StreamSettings(name="hub", channel=0)
    )
    assert [(match.seen.candidate.channel_index, match.info.modality) for match in matches] == [(1, "ECG"), (0, "EDA")]
    assert vacancies == []


def test_one_channel_cannot_fill_two_places() -> None:
    matches, vacancies = decide(
        [seen("u1", "EDA", name="wrist")], StreamSettings(name="wrist"), StreamSettings(modality="EDA")
    )
    assert matches == []
    assert {vacancy.kind for vacancy in vacancies} == {StreamEventKind.REFUSED}
    assert len(vacancies) == 2


def test_a_filled_place_is_left_alone() -> None:
    stream = StreamSettings(name="wrist")
    assert decide([seen("u1", "EDA", name="wrist")], stream, served=frozenset({place_name(stream, 0)})) == ([], [])


def test_a_bed_without_named_streams_takes_what_the_table_of_names_knows_and_nothing_else() -> None:
    found = [seen("u1", "EDA"), seen("u2", "ECG", unit="mV", rate_hz=250.0), seen("u3", "mystery")]
    matches, vacancies = decide(found)
    assert {match.place for match in matches} == {"EDA", "ECG"}
    assert vacancies == []
    matches, vacancies = decide([*found, seen("u4", "hand GSR")])
    assert {match.place for match in matches} == {"ECG"}
    assert [vacancy.place for vacancy in vacancies] == ["EDA"]
    assert decide([found[2]])[1][0].place == ANY_PLACE
    assert decide([found[2]], served=frozenset({"EDA"})) == ([], [])


def test_what_cannot_be_mapped_says_why_and_does_not_disturb_its_neighbour() -> None:
    found = [seen("u1", "EDA", unit="bananas"), seen("u2", "ECG", unit="mV", rate_hz=250.0)]
    matches, vacancies = decide(found)
    assert [match.place for match in matches] == ["ECG"]
    assert "bananas" in vacancies[0].detail


def test_a_stream_too_slow_for_its_modality_is_bound_to_be_shown_not_scored() -> None:
    (match,), vacancies = decide([seen("u1", "EMG", unit="mV", rate_hz=15.0)])
    assert match.info.modality is None
    assert "rate_too_low" in match.info.unused
    assert vacancies == []


def test_two_origins_on_one_host_are_refused_and_two_hosts_have_clocks_of_their_own() -> None:
    eda, ecg = seen("u1", "EDA", origin=5.0), seen("u2", "ECG", unit="mV", rate_hz=250.0, origin=6.0)
    matches, vacancies = decide([eda, ecg])
    assert [match.place for match in matches] == ["EDA"]
    assert "origin" in vacancies[0].detail
    other = seen("u2", "ECG", unit="mV", rate_hz=250.0, origin=6.0, host="ward8")
    assert len(decide([eda, other])[0]) == 2
    assert decide([eda], ward7=6.0)[0] == []
    assert len(decide([eda], ward7=5.0)[0]) == 1
