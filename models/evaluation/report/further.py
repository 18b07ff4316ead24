"""Sections of what was looked at beside the table: live streams, controls, recordings without pain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from models.evaluation.report import plots, words
from models.evaluation.report.drawing import inline
from models.evaluation.report.elements import Html, bullets, cell, drawing, joined, paragraph, table, tag, text
from models.evaluation.report.findings import figure_of
from models.evaluation.streaming_losses import GOAL, PUBLISHED_LOSS

_STEPS: Final = {
    "paper": "events, scaled afterwards as articles do",
    "live_events": "the same events, scaled live",
    "free_running": "a window every hop, live",
}
_NONE: Final = "-"


def _number(value: float | None, form: str = "{:.2f}") -> str:
    return _NONE if value is None else form.format(value)


def _share(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.0f} %"


def _dot(stamp: str) -> str:
    return f"{stamp}. " if stamp else ""


# -- live --------------------------------------------------------------------------------------------------------------


def streaming_section(found: Mapping[str, Any], *, stamp: str) -> Html:
    """What is lost on the way to a bedside, and how alarms come; of streaming.json."""
    equality = found["equality"]
    parts: list[object] = [
        paragraph(
            f"{found['model']}, trained on {found['trained']} windows, ran through the monitor's own pipeline on "
            f"{found['sittings']} recordings of {len(found['subjects'])} subjects whom nothing of it has seen: "
            f"{found['hours']:.2f} h after calibration, {_share(found['prevalence'])} of it in pain, "
            f"{_share(found['coverage'])} of the windows scored."
        ),
        paragraph(
            f"Live scores equal those of the same windows cut from whole recordings: {equality['windows']} windows, "
            f"largest difference of a probability {equality['largest_difference']:.2g} (allowed "
            f"{equality['tolerance']:g})."
        ),
        _losses(found.get("losses"), stamp),
    ]
    alarms = found.get("alarms") or {}
    if alarms:
        parts += [tag("h3", "Alarms"), _at_rates(alarms, stamp), _alarm_grid(alarms, stamp)]
    parts.append(bullets([*found.get("left_out", ()), *found.get("notes", ())]))
    return joined(*parts)


def _losses(found: Mapping[str, Any] | None, stamp: str) -> Html:
    if found is None:
        return paragraph("No subject has two classes at every step, so no loss can be told.")
    goal, published = found.get("goal", GOAL), found.get("published", PUBLISHED_LOSS)
    lost = {"paper": "", "live_events": "scaling", "free_running": "free_running"}
    rows = []
    for step, key in lost.items():
        accuracy = figure_of(found["accuracy"][step])
        cells = [
            cell(tag("b", _STEPS[step])),
            cell(f"{100 * accuracy.value:.1f} %", number=True, small=words.interval(accuracy, digits=1, factor=100.0)),
        ]
        if not key:
            cells += [cell(""), cell("")]
        else:
            loss = figure_of(found[key])
            small = words.interval(loss, digits=1, sign=True, factor=100.0)
            cells.append(cell(f"{100 * loss.value:+.1f}", number=True, small=small))
            aim = f"aim: at most {100 * goal:g} points"
            cells.append(cell(_kept(found.get("within_goal"), aim) if key == "scaling" else ""))
        rows.append(tag("tr", *cells))
    whole = figure_of(found["whole"])
    small = words.interval(whole, digits=1, sign=True, factor=100.0)
    rows.append(
        tag(
            "tr",
            cell("from the first step to the last"),
            cell(""),
            cell(f"{100 * whole.value:+.1f}", number=True, small=small),
            cell(f"published, from offline to live: {100 * published:.1f} points"),
        )
    )
    return joined(
        tag("h3", "What is lost on the way to a bedside"),
        table(
            ["step", "balanced accuracy", "lost, points", ""],
            [tag("tbody", *rows)],
            caption=f"{_dot(stamp)}Mean over subjects; losses are paired by subject, with 95 % intervals below. A "
            "negative loss is a gain.",
        ),
    )


def _kept(within: object, aim: str) -> Html:
    if within is None:
        return text(aim)
    word = tag("span", "kept", class_="good") if within else tag("span", "missed", class_="bad")
    return joined(aim, " (by the mean): ", word)


def _at_rates(alarms: Mapping[str, Any], stamp: str) -> Html:
    rows = []
    for name, curve in alarms.items():
        for rate, point in curve["at_rates"].items():
            head = (cell(tag("b", name)), cell(f"at most {rate}", number=True))
            if point is None:
                rows.append(tag("tr", *head, cell("no limit and delay of the grid is so quiet", span=6)))
                continue
            false = figure_of(point["false_per_hour"])
            found = figure_of(point["sensitivity"])
            rows.append(
                tag(
                    "tr",
                    *head,
                    cell(f"{point['limit']:g}", number=True),
                    cell(f"{point['delay_s']:g} s", number=True),
                    cell(
                        f"{point['detected']} of {point['bouts']}, {_share(found.value)}",
                        number=True,
                        small=words.interval(found, digits=0, factor=100.0),
                    ),
                    cell(f"{false.value:.2g}", number=True, small=words.interval(false, digits=2)),
                    cell(_share(point["in_alarm_without_pain"]), number=True),
                    cell(_onset(point), number=True),
                )
            )
    return table(
        [
            "score",
            "false alarms an hour",
            "limit",
            "delay",
            "bouts found, %",
            "false an hour",
            "in alarm at rest",
            "onset to alarm",
        ],
        [tag("tbody", *rows)],
        caption=f"{_dot(stamp)}The best point of the grid at each rate of false alarms, chosen among these same "
        "recordings, which flatters it. Plain measures went the same way as the model's index.",
        numbers=1,
    )


def _onset(point: Mapping[str, Any]) -> str:
    if point["delay_median_s"] is None:
        return _NONE
    return f"{point['delay_median_s']:.0f} s, 9 of 10 in {point['delay_p90_s']:.0f} s"


def _alarm_grid(alarms: Mapping[str, Any], stamp: str) -> Html:
    curves = {name: curve["points"] for name, curve in alarms.items() if curve["points"]}
    if not curves:
        return Html("")
    drawn = inline(plots.alarm_figure(curves), "alarms", "Bouts found and false alarms by limit and delay")
    return drawing(
        drawn,
        "Every limit of the index and delay of the grid. Above: the share of bouts of pain at which an alarm was "
        "announced; below: false alarms an hour without pain. Brighter is more. A good score is bright above and dark "
        "below at the same place.",
        stamp=stamp,
    )


# -- controls ----------------------------------------------------------------------------------------------------------


def controls_section(found: Mapping[str, Any], *, stamp: str) -> Html:
    """Trainings that must find nothing, and leaks that must be refused; of controls.json."""
    passed = found.get("passed")
    said = (
        tag("span", "passed", class_="good")
        if passed
        else tag("span", "NOT PASSED: trust no figure of this run", class_="bad")
    )
    rows = list(_control_rows(found))
    lines = [
        (name, item["balanced_accuracy"], item["chance_low"], item["chance_high"]) for name, item, _ in _judged(found)
    ]
    parts: list[object] = [
        paragraph(
            "Controls that must hold: ", said, f". Split {found.get('split', '?')}, seed {found.get('seed', '?')}."
        ),
        table(
            ["control", "balanced accuracy", "chance (99.9 %)", "what it must show", "result"],
            [tag("tbody", *rows)],
            caption=f"{_dot(stamp)}Chance is where the figure lies when answers have nothing to do with labels.",
        ),
    ]
    if lines:
        svg = inline(
            plots.chance_figure(lines), "controls", "Balanced accuracy of each control beside its chance interval"
        )
        parts.append(drawing(svg, "Grey bars: what chance gives. Dots: what was found.", stamp=stamp))
    parts += [tag("h3", "In words"), bullets(found.get("sentences", ()))]
    return joined(*parts)


def _judged(found: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    for name, item in (found.get("canary") or {}).items():
        yield f"{name}, labels permuted", item, "chance, or something leaks"
    leak = found.get("leak") or {}
    if "honest" in leak:
        yield "forest, labels permuted", leak["honest"], "chance"
    if "leaked" in leak:
        yield "forest that saw the test part", leak["leaked"], "what a leak would be worth"
    for key, name in (("time", "time in session alone"), ("amplitude", "spread of signals alone")):
        if key in found:
            yield name, found[key], "what can be told without physiology"
    for name, item in (found.get("identity") or {}).items():
        yield f"who is it, by {name}", item, "how well people can be recognised"


def _control_rows(found: Mapping[str, Any]) -> Iterator[Html]:
    for name, item, must in _judged(found):
        canary = name.endswith("labels permuted")
        inside = bool(item["within_chance"])
        if canary and not item.get("informative", True):
            result: Html = tag("span", "could not have failed: one class told")
        elif canary:
            result = tag("span", "pass" if inside else "FAIL", class_="good" if inside else "bad")
        else:
            result = tag("span", "within chance" if inside else "outside chance")
        yield tag(
            "tr",
            cell(tag("b", name)),
            cell(f"{item['balanced_accuracy']:.3f}", number=True),
            cell(f"{item['chance_low']:.3f} to {item['chance_high']:.3f}", number=True),
            cell(must),
            cell(result),
        )
    for kind, refusal in (found.get("refused") or {}).items():
        ok = bool(refusal)
        yield tag(
            "tr",
            cell(tag("b", f"leak made on purpose: {kind}")),
            cell(""),
            cell(""),
            cell("refused by a guard"),
            cell(tag("span", "pass" if ok else "FAIL", class_="good" if ok else "bad")),
        )


# -- nobody in pain ----------------------------------------------------------------------------------------------------


def recordings_section(found: Mapping[str, Any]) -> Html:
    """Alarms where nobody is in pain, and stress as arousal; of recordings.json."""
    may = found["verdict"]["may_be_default"]
    rows = [_rest(name, row) for name, row in (*found["groups"].items(), ("all", found["all"]))]
    parts: list[object] = [
        paragraph(
            f"{found['bundle']} {found['version']}, trained on {found['trained_on']}, on real recordings in which "
            "nobody is known to be in pain: every pain alarm is a false one."
        ),
        paragraph(tag("span", found["verdict"]["text"], class_={True: "good", False: "bad"}.get(may, ""))),
        table(
            [
                "recordings",
                "number",
                "hours",
                "scored",
                "over the limit",
                "index, median (quartiles)",
                "alarms",
                "an hour (95 %)",
            ],
            [tag("tbody", *rows)],
            caption=f"Real recordings at rest, a window every {found['hop_s']:g} s, limit {found['alarm_limit']:g}.",
            numbers=1,
        ),
    ]
    arousal = found.get("arousal")
    if arousal:
        parts += [
            tag("h3", "Stress: arousal, not pain"),
            paragraph(tag("b", arousal["notice"])),
            _arousal(arousal["blocks"]),
        ]
    parts.append(bullets(found.get("notes", ())))
    return joined(*parts)


def _rest(name: str, row: Mapping[str, Any]) -> Html:
    index = _NONE
    if row["index_median"] is not None:
        index = f"{row['index_median']:.0f} ({row['index_iqr'][0]:.0f} to {row['index_iqr'][1]:.0f})"
    rate, small = _NONE, ""
    if row["alarms_per_hour"] is not None:
        low, high = row["alarms_per_hour_interval"]
        rate, small = f"{row['alarms_per_hour']:.2g}", f"{low:.2g} to {high:.2g}"
    return tag(
        "tr",
        cell(tag("b", name)),
        cell(row["recordings"], number=True),
        cell(_number(row["hours"]), number=True),
        cell(_share(row["scored_share"]), number=True),
        cell(_share(row["over_limit_share"]), number=True),
        cell(index, number=True),
        cell(row["alarms"], number=True),
        cell(rate, number=True, small=small),
    )


def _arousal(blocks: Mapping[str, Mapping[str, Any]]) -> Html:
    rows: Sequence[Html] = [
        tag(
            "tr",
            cell(tag("b", kind)),
            cell(name),
            cell(row["subjects"], number=True),
            cell(
                f"{row['difference']:+.2g}",
                number=True,
                small="" if row["low"] is None else f"{row['low']:+.2g} to {row['high']:+.2g}",
            ),
            cell(_share(row["share_higher"]), number=True),
            cell(f"{row['p']:.3f}", number=True),
            cell(
                f"{row['shuffled']['mean']:+.2g}",
                number=True,
                small=f"{row['shuffled']['low']:+.2g} to {row['shuffled']['high']:+.2g}",
            ),
        )
        for kind, measures in blocks.items()
        for name, row in measures.items()
    ]
    return table(
        ["block", "measure", "subjects", "difference", "higher in", "p", "with shuffled labels"],
        [tag("tbody", *rows)],
        caption="Block of stress less the mean of the rests before and after. A difference within the interval of "
        "shuffled labels means nothing.",
        numbers=2,
    )
