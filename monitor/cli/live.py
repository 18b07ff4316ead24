"""What runs in real time: the demo, the daemon, and the player that stands in for a device."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from monitor.cli import gateway

if TYPE_CHECKING:
    import threading

    from monitor.outputs.player import Packet, PlayProgress, SignalSpec

_SYNTHETIC_MODALITIES: Final = "ECG,EDA,BVP,EMG,RESP"

_DEMO_PATIENT: Final = 23
"""Answers to pain; its first pain lasts half a minute, so that there is something to see."""


def demo(
    *,
    headless: Annotated[bool, typer.Option("--headless", help="Lines only; no dashboard is opened.")] = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
    seconds: Annotated[float | None, typer.Option(min=1.0, help="Stop after so long; default: on Ctrl-C.")] = None,
    bundle: Annotated[str, typer.Option(help="Model bundle; `pain-monitor models` lists them.")] = "crossmod-eda-ecg",
    patient: Annotated[int, typer.Option(min=0, help="Which demonstration patient.")] = _DEMO_PATIENT,
) -> None:
    """Watch a simulated patient being scored live, on the dashboard and in lines; nothing to set up.

    The patient runs as a process of its own and streams over real LSL outlets, as a device would. It rests for 40
    seconds, in which the monitor takes a short baseline (an index marked ~ is not calibrated yet), and then has pain
    from time to time. The session is recorded: `pain-monitor inspect` and `pain-monitor verify` take the file that is
    named at the end.

    Exit code 0 after --seconds, 130 after Ctrl-C.
    """
    from monitor.bundle_folder import load_bundle
    from monitor.cli import screen
    from monitor.demo import run_demo

    load_bundle(bundle)  # what is wrong with it is told before a window opens
    if not headless:
        if why := screen.why_no_screen():
            print(f"pain-monitor: no dashboard here ({why}); lines only", file=sys.stderr)
        else:
            given = ["--bundle", bundle, "--patient", str(patient)]
            given += ["--seconds", str(seconds)] if seconds is not None else []
            raise typer.Exit(screen.demo_on_screen(given))
    if with_parent:
        screen.stop_with_parent()
    with _interrupts() as interrupted:
        code = run_demo(bundle=bundle, patient=patient, seconds=seconds, write=_write)
    raise typer.Exit(130 if interrupted() and code == 0 else code)


def daemon(
    config: Annotated[Path, typer.Argument(help="The configuration, e.g. config.toml.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a window on standard output.")] = False,
) -> None:
    """Monitor the beds of a configuration until SIGTERM, SIGHUP or Ctrl-C: score, alarm, record.

    Everything wrong with the configuration is told before anything starts (see `pain-monitor check`). Streams may come
    and go; what is missing is a reason in each line, not an error. A bed can have one engine only. Where scoring
    hangs, the process is ended and started anew.

        pain-monitor daemon config.toml

        pain-monitor daemon config.toml --json | tee scores.jsonl
    """
    from monitor.checkup import check_config
    from monitor.engine.supervisor import run_daemon

    engine = check_config(config).settings.engine
    with _interrupts() as interrupted:
        code = run_daemon(config, json=as_json, restart_limit=engine.restart_limit, stopped_s=engine.watchdog_s)
    raise typer.Exit(130 if interrupted() and code == 0 else code)


@contextlib.contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Tell afterwards whether Ctrl-C was pressed, whoever handles the signal in between; main thread only."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        numbers = bytearray()
        try:
            yield lambda: signal.SIGINT in numbers
        finally:
            signal.set_wakeup_fd(before)
            with contextlib.suppress(BlockingIOError):
                numbers += ours.recv(4096)


def _write(line: str) -> None:
    """Print a line for a reader who is there now, be it a person or a program at the other end of a pipe."""
    print(line, flush=True)


def stream(
    recording: Annotated[str, typer.Argument(help="A recording (as for `replay`), or `synthetic`.")],
    *,
    lsl: Annotated[bool, typer.Option("--lsl", help="Play over Lab Streaming Layer.")] = False,
    mqtt: gateway.Broker = "",
    tls_ca: gateway.TlsCa = None,
    no_tls: gateway.Plain = False,
    user: gateway.User = "",
    password_file: gateway.PasswordFile = None,
    bed: gateway.Bed = "bed1",
    device: gateway.Device = "pain-monitor-stream",
    start: Annotated[float, typer.Option(min=0.0, help="Begin so many seconds into it.")] = 0.0,
    duration: Annotated[float | None, typer.Option(min=0.0, help="Play so many seconds; default: all.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for a listener.")] = False,
    rate: Annotated[float | None, typer.Option(help="Sampling rate in Hz where the recording states none.")] = None,
    patient: Annotated[int, typer.Option(min=0, help="synthetic: which demonstration patient.")] = _DEMO_PATIENT,
    modalities: Annotated[str, typer.Option(help="synthetic: which signals.")] = _SYNTHETIC_MODALITIES,
    rest: Annotated[float, typer.Option(min=0.0, help="synthetic: seconds of rest before the first pain.")] = 150.0,
    tag: Annotated[str, typer.Option(help="synthetic: told apart from others by this, in every source_id.")] = "",
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Play a recording, or a simulated patient, in real time over LSL as a device would, or over MQTT as a gateway.

    This is how to try the monitor without hardware:

        pain-monitor stream synthetic --lsl                       (one terminal)
        pain-monitor daemon config.toml                           (another)

        pain-monitor stream ride.csv --lsl --start 600 --duration 120

        pain-monitor stream synthetic --mqtt broker.example --tls-ca ca.crt --user gateway-bed1 --bed bed1

    Over LSL it waits for a listener before the first sample; over MQTT nobody can tell whether one is there, and it
    begins when the broker has taken it (docs/mqtt.md). It ends with the recording or on Ctrl-C, and announces the start
    of the window grid, so that scores equal those of `pain-monitor replay` of the same file.
    """
    if lsl == bool(mqtt):
        raise typer.BadParameter("say how to play it: --lsl, or --mqtt HOST", param_hint="--lsl / --mqtt")
    broker = None
    if mqtt:
        broker = gateway.broker_settings(mqtt, tls_ca=tls_ca, plain=no_tls, user=user, password_file=password_file)
    from monitor.outputs.player import stopped_by_signals

    packet_s = 0.25 if mqtt else 0.05
    specs, packets, total = (
        _synthetic(patient, modalities, rest, tag, start, duration, packet_s)
        if recording == "synthetic"
        else _recorded(Path(recording), rate, start, duration, packet_s)
    )
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    log = Console(stderr=True)
    said = (
        gateway.sent_lines(specs, bed=bed, device=device)
        if broker is not None
        else [
            f"{spec.name}: {spec.rate_hz:g} Hz, {spec.unit or 'no unit'}, source_id '{spec.source_id}' "
            f"({spec.provenance.value})"
            for spec in specs
        ]
    )
    for line in said:
        log.print(line, highlight=False, markup=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with stopped_by_signals() as stop, Progress(*columns, console=log, transient=True) as bars:
        bar = bars.add_task("waiting for a listener" if not no_wait else "playing", total=total)

        def show(state: PlayProgress) -> None:
            if state.waiting_for:
                waiting = "nobody listens yet to" if broker is None else "waiting for"
                bars.update(bar, description=f"{waiting} {', '.join(state.waiting_for)}")
            else:
                bars.update(bar, description=f"playing, {state.played_s:.0f} s", completed=state.played_s)

        if with_parent:
            _stop_with_parent(stop)
        if broker is not None:
            from monitor.outputs import mqtt_player

            played = mqtt_player.play(
                specs=specs, packets=packets, broker=broker, bed=bed, device=device, stop=stop, progress=show
            )
        else:
            from monitor.outputs.lsl import play

            played = play(specs=specs, packets=packets, stop=stop, wait=not no_wait, progress=show)
        interrupted = stop.is_set()
    log.print(f"played {played:.1f} s" + (", then stopped" if interrupted else ""), highlight=False)
    if interrupted:
        raise typer.Exit(130)


def _stop_with_parent(stop: threading.Event) -> None:
    """Set `stop` when standard input ends, as it does when the process that started us is gone, however it ended."""
    import threading

    def wait() -> None:
        sys.stdin.buffer.read()
        stop.set()

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _synthetic(
    number: int, modalities: str, rest: float, tag: str, start: float, duration: float | None, packet_s: float
) -> tuple[tuple[SignalSpec, ...], Iterator[Packet], float | None]:
    from monitor.modality import parse_modality
    from monitor.outputs.synthetic_playback import synthetic_packets, synthetic_specs
    from monitor.sources.synthetic import SyntheticPatient

    names = [parse_modality(name) for name in modalities.split(",")]
    patient = SyntheticPatient(part="demo", number=number, rest_s=rest)
    packets = synthetic_packets(patient, names, start_s=start, duration_s=duration, packet_s=packet_s)
    return synthetic_specs(patient, names, tag=tag), packets, duration


def _recorded(
    path: Path, rate: float | None, start: float, duration: float | None, packet_s: float
) -> tuple[tuple[SignalSpec, ...], Iterator[Packet], float | None]:
    from monitor.outputs.playback import recording_packets, recording_specs
    from monitor.sources.recordings import open_recording

    recording = open_recording(path, rate_hz=rate)
    packets = recording_packets(recording, start_s=start, duration_s=duration, packet_s=packet_s)
    return recording_specs(recording), packets, duration
