"""The device of the latency benchmark: the monitor's own LSL player, which notes when it has pushed each packet.

A process of its own: `python -m benchmarks.latency_player --tag T --seconds S LOG`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Final

from monitor.outputs.lsl_player import Packet, play, stopped_by_signals
from monitor.outputs.synthetic_playback import synthetic_packets, synthetic_specs
from monitor.sources.synthetic import SyntheticPatient

RATES_HZ: Final = MappingProxyType({"ECG": 512.0, "EDA": 512.0, "EMG": 512.0, "BVP": 64.0})


def _noted(packets: Iterable[Packet], log: list[tuple[str, float, float, float]]) -> Iterator[Packet]:
    """Pass packets on; the player asks for the next one as soon as it has pushed the one before."""
    for packet in packets:
        yield packet
        due, key, _, stamps = packet
        log.append((key, float(stamps[-1]), due, time.monotonic()))


def main() -> None:
    """Play a resting patient until the time is up or a signal comes, then write what was pushed when."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tag", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("log", type=Path)
    given = parser.parse_args()
    patient = SyntheticPatient(part="test", number=1, rates_hz=RATES_HZ)
    modalities = list(RATES_HZ)
    log: list[tuple[str, float, float, float]] = []
    with stopped_by_signals() as stop:
        play(
            specs=synthetic_specs(patient, modalities, tag=given.tag),
            packets=_noted(synthetic_packets(patient, modalities, duration_s=given.seconds), log),
            stop=stop,
        )
    given.log.write_text(json.dumps(log), encoding="utf-8")


if __name__ == "__main__":
    main()
