"""The inbox is bounded, and a topic that floods it loses its own messages before anybody else's."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from monitor.clock import ManualClock
from monitor.sources import broker
from monitor.sources.broker import Inbox


def put(inbox: Inbox, topic: str, payload: bytes) -> None:
    inbox.put_nowait(SimpleNamespace(topic=topic, payload=payload, retain=False))  # type: ignore[arg-type]


def test_a_flood_drops_its_own_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "INBOX_MESSAGES", 100)

    async def run() -> list[tuple[str, bytes]]:
        inbox = Inbox(clock=ManualClock(5.0))
        for number in range(10):
            put(inbox, "calm", b"%d" % number)
        for number in range(10_000):
            put(inbox, "flood", b"%d" % number)
        assert inbox.dropped == 9910
        taken = [await inbox.get() for _ in range(inbox.qsize())]
        assert {item.arrival for item in taken} == {5.0}
        put(inbox, "calm", b"after")
        assert (await inbox.get()).payload == b"after"
        return [(item.topic, item.payload) for item in taken]

    taken = asyncio.run(run())
    assert [payload for topic, payload in taken if topic == "calm"] == [b"%d" % number for number in range(10)]
    assert [payload for topic, payload in taken if topic == "flood"] == [b"%d" % n for n in range(9910, 10_000)]


def test_it_is_bounded_in_bytes_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "INBOX_BYTES", 10_000)

    async def run() -> None:
        inbox = Inbox(clock=ManualClock())
        for _ in range(50):
            put(inbox, "large", b"\x00" * 1000)
        assert inbox.qsize() == 10
        put(inbox, "huge", b"\x00" * 20_000)
        assert inbox.qsize() == 10

    asyncio.run(run())
