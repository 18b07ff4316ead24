"""What outlets say of themselves, what their stamps say, and the mailbox of a bed's inlets: no network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sources.lsl_discovery import measured_rate, missing_samples, parse_description
from monitor.sources.mailbox import Mailbox
from monitor.types import Chunk, Provenance, StreamEvent, StreamEventKind, StreamInfo

FEW = settings(max_examples=50, deadline=None)

XML = """<?xml version="1.0"?><info><name>wrist &amp; belt</name><type>GSR</type><channel_count>2</channel_count>
<channel_format>float32</channel_format><source_id>d1</source_id><nominal_srate>64.000000000000000</nominal_srate>
<uid>abc</uid><hostname>ward7</hostname><desc>{desc}</desc></info>"""
CHANNELS = (
    "<channels><channel><label>EDA</label><unit>uS</unit></channel><channel><label> R </label></channel></channels>"
)


def test_a_full_description_is_read() -> None:
    offer = parse_description(
        XML.format(desc=CHANNELS + "<pain><origin>12.25</origin><provenance>Replay</provenance></pain>")
    )
    assert (offer.name, offer.type, offer.source_id, offer.hostname) == ("wrist & belt", "GSR", "d1", "ward7")
    assert (offer.rate_hz, offer.channels, offer.format, offer.uid) == (64.0, 2, "float32", "abc")
    assert (offer.labels, offer.units) == (("EDA", "R"), ("uS", None))
    assert (offer.origin, offer.provenance) == (12.25, Provenance.REPLAY)
    first, second = offer.candidates()
    assert (first.key, second.key) == ("lsl:d1:0", "lsl:d1:1")
    assert (first.channel, first.unit, first.rate_hz, first.origin) == ("EDA", "uS", 64.0, 12.25)


@pytest.mark.parametrize(
    "desc",
    ["", "<channels><channel><label>EDA</label></channel></channels>", "<pain><origin>soon</origin></pain>",
     "<pain><origin>nan</origin><provenance>alien</provenance></pain>"],
)  # fmt: skip
def test_what_is_missing_or_senseless_is_not_stated_rather_than_guessed(desc: str) -> None:
    offer = parse_description(XML.format(desc=desc))
    assert offer.labels == ("", "")
    assert offer.units == (None, None)
    assert offer.origin is None
    assert offer.provenance is Provenance.LIVE


@pytest.mark.parametrize("text", ["", "no xml", "<info/>", "<info><channel_count>0</channel_count></info>"])
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="description"):
        parse_description(text)


def test_text_and_our_own_scores_are_no_candidates() -> None:
    assert parse_description(XML.format(desc="").replace("float32", "string")).candidates() == ()
    assert parse_description(XML.format(desc="").replace("GSR", "PainScore")).candidates() == ()


def test_without_a_source_id_a_stream_is_known_by_name_type_and_host() -> None:
    offer = parse_description(XML.format(desc="").replace("d1", ""))
    assert offer.key(0) == "lsl:wrist & belt/GSR@ward7:0"


@FEW
@given(
    rate=st.sampled_from([4.0, 64.0, 255.3, 512.0]),
    count=st.integers(20, 400),
    holes=st.lists(st.tuples(st.integers(1, 399), st.integers(1, 50)), max_size=4),
)
def test_losses_are_counted_and_do_not_change_the_rate(rate: float, count: int, holes: list[tuple[int, int]]) -> None:
    keep = np.ones(count + 500, dtype=bool)
    for at, length in holes:
        keep[at : at + length] = False
    stamps = 50.0 + np.flatnonzero(keep)[:count] / rate
    missing = round(float((stamps[-1] - stamps[0]) * rate)) + 1 - count
    assert missing_samples(stamps, rate_hz=rate) == missing
    if missing < 0.1 * count:
        assert measured_rate(stamps) == pytest.approx(rate, rel=1e-6)


def test_a_jump_of_the_clock_is_no_loss() -> None:
    stamps = np.arange(100) / 10.0
    stamps[50:] += 200_000.0
    assert missing_samples(stamps, rate_hz=10.0) == 0
    assert measured_rate(stamps) == pytest.approx(10.0)
    assert missing_samples(stamps, rate_hz=0.0) is None
    assert measured_rate(stamps[:1]) is None


def test_bursts_are_measured_by_their_count() -> None:
    stamps = np.repeat(np.arange(0.0, 10.0), 32)
    assert measured_rate(stamps) == pytest.approx(319 / 9.0)


def info(key: str) -> StreamInfo:
    return StreamInfo(
        key=key, bed="b", modality="EDA", name=key, unit="uS", rate_hz=4.0, source="lsl", provenance=Provenance.LIVE
    )


def chunk(key: str, value: float, count: int = 1) -> Chunk:
    return Chunk(stream=key, samples=np.full(count, value, np.float32), stamps=np.zeros(count), arrival=value)


def event(key: str) -> StreamEvent:
    return StreamEvent(bed="b", stream=key, kind=StreamEventKind.GONE, t=0.0)


@FEW
@given(kinds=st.lists(st.sampled_from("ice"), max_size=40))
def test_readings_keep_the_order_and_never_show_a_stream_after_its_chunks(kinds: str) -> None:
    box = Mailbox()
    sent = [{"i": info, "e": event}.get(kind, lambda key, n=n: chunk(key, n))("s") for n, kind in enumerate(kinds)]
    box.put(*sent)
    opened, chunks, events, got = [], [], [], 0
    while got < len(sent):
        reading = box.take(0.0)
        size = len(reading.opened) + len(reading.chunks) + len(reading.events)
        span = sent[got : got + size]
        assert size > 0
        assert span[: len(reading.opened)] == list(reading.opened)
        assert not any(isinstance(item, StreamInfo) for item in span[len(reading.opened) :])
        got += size
        opened += reading.opened
        chunks += reading.chunks
        events += reading.events
    assert [c for c in sent if isinstance(c, Chunk)] == chunks
    assert [e for e in sent if isinstance(e, StreamEvent)] == events
    assert box.take(0.0).chunks == []


def test_a_full_mailbox_drops_the_oldest_chunk_and_says_how_much_was_lost() -> None:
    box = Mailbox(capacity=3)
    box.put(info("s"), chunk("s", 1, 5), chunk("s", 2, 7))
    box.put(chunk("s", 3))
    box.put(chunk("s", 4))
    reading = box.take(0.0)
    assert [c.arrival for c in reading.chunks] == [3.0, 4.0]
    assert [c.lost for c in reading.chunks] == [12, 0]
    assert [i.key for i in reading.opened] == ["s"]


def test_a_defect_of_a_thread_is_raised_where_the_engine_reads() -> None:
    box = Mailbox()
    box.fail(ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        box.take(1.0)
