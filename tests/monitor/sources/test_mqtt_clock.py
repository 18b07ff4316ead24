"""A device's clock: mapped by the packet that was held up least, constant inside a segment, anew after a jump."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sources.mqtt_clock import SETTLE_S, DeviceClock

TRUE = 1000.0
"""Stream clock minus device clock."""


@given(delays=st.lists(st.floats(0.001, 3.0), min_size=12, max_size=60))
@settings(max_examples=60, deadline=None)
def test_the_smallest_delay_of_the_first_seconds_is_the_mapping_for_good(delays: list[float]) -> None:
    clock = DeviceClock()
    known: list[float] = []
    for second, delay in enumerate(delays):
        arrival = TRUE + second + delay
        clock.observe(signal="EDA", run="a", newest=float(second), arrival=arrival)
        offset = clock.offset(arrival)
        if offset is None:
            assert arrival - (TRUE + delays[0]) < SETTLE_S
        else:
            known.append(offset)
    assert len(set(known)) <= 1
    for offset in known:
        assert TRUE <= offset <= TRUE + delays[0] + 1e-9, "never ahead of what happened"


def settled(*, run: str = "a") -> DeviceClock:
    clock = DeviceClock()
    for second in range(12):
        clock.observe(signal="EDA", run=run, newest=float(second), arrival=TRUE + second + 0.05)
    assert clock.offset(TRUE + 12) == TRUE + 0.05 or abs((clock.offset(TRUE + 12) or 0) - TRUE - 0.05) < 1e-9
    return clock


def test_a_late_packet_is_no_new_segment() -> None:
    clock = settled()
    before = clock.offset(TRUE + 12)
    assert not clock.observe(signal="EDA", run="a", newest=12.0, arrival=TRUE + 72.0)
    assert clock.offset(TRUE + 72) == before


def test_a_new_run_and_a_jump_begin_anew() -> None:
    for run, newest in (("b", 0.5), ("a", 2.0), ("a", 40.0)):
        clock = settled()
        assert clock.observe(signal="EDA", run=run, newest=newest, arrival=TRUE + 13.0), (run, newest)
        assert clock.offset(TRUE + 13.0) is None
        assert clock.offset(TRUE + 13.0 + SETTLE_S) == TRUE + 13.0 - newest


def test_signals_of_one_device_share_one_mapping() -> None:
    clock = settled()
    before = clock.offset(TRUE + 12)
    assert not clock.observe(signal="ECG", run="a", newest=11.9, arrival=TRUE + 12.0)
    assert clock.offset(TRUE + 12.0) == before
