"""The model bundles that come with the monitor: what each reads, says and costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from monitor.bundle import BundleSpec, InputSpec
    from monitor.bundle_folder import Bundle

TITLE: Final = "Shipped model bundles · RESEARCH USE ONLY"
TABLE_WIDTH: Final = 118
"""Columns from which on a table has room for every word."""


def models(
    *,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Leave out how long a window takes on this machine.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a bundle on standard output.")] = False,
) -> None:
    """List the model bundles that come with the monitor: what each needs, says, costs here, and was trained on.

    Name one in config.toml (`bundles = ["crossmod-eda-ecg"]`) or in `pain-monitor demo --bundle NAME`. Milliseconds are
    CPU time of one thread for one window, pictures included, median of three.
    """
    from rich.console import Console

    from monitor.bundle_folder import load_bundle, shipped_bundles

    bundles = [load_bundle(name) for name in shipped_bundles()]
    taken: list[float | None] = [None] * len(bundles)
    if not no_measure:
        from monitor.engine.load import measure

        with Console(stderr=True).status("Measuring ..."):
            taken = [1e3 * measure(bundle) for bundle in bundles]
    if as_json:
        for bundle, milliseconds in zip(bundles, taken, strict=True):
            print(json.dumps(_summary(bundle, milliseconds)))
        return
    console = Console()
    (_print_table if console.width >= TABLE_WIDTH else _print_list)(bundles, taken, console)


def _print_table(bundles: list[Bundle], taken: list[float | None], console: Console) -> None:
    from rich.table import Table

    table = Table(title=TITLE, title_justify="left", show_lines=True, show_edge=False)
    # A name is typed again elsewhere: it must never be cut off, however narrow the terminal.
    table.add_column("name", min_width=max((len(bundle.spec.name) for bundle in bundles), default=0), overflow="fold")
    table.add_column("reads")
    table.add_column("says")
    table.add_column("costs", justify="right", no_wrap=True)
    table.add_column("weights")
    for bundle, milliseconds in zip(bundles, taken, strict=True):
        spec = bundle.spec
        table.add_row(
            "\n".join(part for part in (spec.name, f"{spec.version} {spec.architecture}", spec.paper) if part),
            "\n".join([*dict.fromkeys(_read(item) for item in spec.inputs), f"{_window_s(spec):.3g} s"]),
            "\n".join([f"{spec.target}:", *(item.name for item in spec.classes)]),
            "\n".join(_costs(bundle, milliseconds)),
            "\n".join([spec.origin, spec.notice or "may alarm"]),
        )
    console.print(table, highlight=False)


def _print_list(bundles: list[Bundle], taken: list[float | None], console: Console) -> None:
    """For a narrow terminal: nothing is cut off, and a line is found by its first word."""
    from rich.table import Table

    console.print(f"[bold]{TITLE}[/]")
    for bundle, milliseconds in zip(bundles, taken, strict=True):
        spec = bundle.spec
        console.print(f"\n[bold]{spec.name}[/] {spec.version}, {spec.architecture}", highlight=False)
        reads = [*dict.fromkeys(_read(item) for item in spec.inputs), f"windows of {_window_s(spec):.3g} s"]
        lines = Table.grid(padding=(0, 1))
        for heading, said in (
            ("reads", ", ".join(reads)),
            ("says", f"{spec.target}: {', '.join(item.name for item in spec.classes)}"),
            ("costs", ", ".join(_costs(bundle, milliseconds))),
            ("weights", f"{spec.origin}; {spec.notice or 'may alarm'}"),
            ("paper", spec.paper),
        ):
            if said:
                lines.add_row(f"  {heading}", said)
        console.print(lines, highlight=False)


def _costs(bundle: Bundle, milliseconds: float | None) -> list[str]:
    spec = bundle.spec
    costs = [_count(spec.parameters, "weights"), _count(spec.flops, "FLOP"), f"{_size(bundle) / 1e6:.1f} MB"]
    return costs if milliseconds is None else [*costs, f"{milliseconds:.3g} ms"]


def _read(item: InputSpec) -> str:
    many = f" x {item.channels}" if item.channels > 1 else ""
    drawn = f" {item.render.kind.replace('_', ' ')}" if item.render is not None else ""
    return f"{item.modality}{many}{drawn} ≥ {item.min_rate_hz:g} Hz"


def _window_s(spec: BundleSpec) -> float:
    return max(item.samples / item.rate_hz for item in spec.inputs)


def _count(value: float, unit: str) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter} {unit}"
    return f"{value:.0f} {unit}"


def _size(bundle: Bundle) -> int:
    return sum((bundle.path / name).stat().st_size for name in bundle.spec.sha256)


def _summary(bundle: Bundle, milliseconds: float | None) -> dict[str, object]:
    spec = bundle.spec
    return {
        "name": spec.name,
        "version": spec.version,
        "architecture": spec.architecture,
        "paper": spec.paper,
        "target": spec.target,
        "notice": spec.notice,
        "inputs": [
            {
                "name": item.name,
                "modality": item.modality,
                "channels": item.channels,
                "unit": item.unit,
                "min_rate_hz": item.min_rate_hz,
                "image": item.render.kind if item.render is not None else None,
            }
            for item in spec.inputs
        ],
        "window_seconds": _window_s(spec),
        "hop_seconds": spec.hop_seconds,
        "classes": [{"name": item.name, "level": item.level} for item in spec.classes],
        "parameters": spec.parameters,
        "flops": spec.flops,
        "bytes": _size(bundle),
        "milliseconds": milliseconds,
        "trained_on": spec.training.data,
        "note": spec.origin,
        "alarm_eligible": spec.weights.alarm_eligible,
        "intended_use": spec.intended_use,
    }
