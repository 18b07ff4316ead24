"""Tables of methods: figures by subset, the probabilities, what is published, and who is better than whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.evaluation.miscalibration import ECE_AIM, reasons
from models.evaluation.published import Published, beside
from models.evaluation.report import words
from models.evaluation.report.elements import Html, bullets, cell, joined, key_table, paragraph, table, tag
from models.evaluation.report.findings import Findings, is_baseline
from models.evaluation.summary import Row


def figures_tables(findings: Findings) -> Html:
    """Two tables, each by subset: how well classes are told apart, and how far probabilities can be believed."""
    stamp = "Simulated patients, no people. " if findings.simulated else ""
    ordered = len(findings.summary.classes) > 2
    more = "Tinted rows: plain methods that every deep model has to beat."
    small = " Small: the 95 % interval over subjects."
    small += " After ±: the spread of seeds." if any(row.spread_of_seeds for row in findings.summary.rows) else ""
    guess = f" Guessing gives a balanced accuracy of {1 / max(len(findings.summary.classes), 1):.3f}."
    parts = [
        _by_subset(findings, words.FIGURES, f"{stamp}How well classes are told apart. {more}{small}{guess}"),
        tag("h3", f"{'Order of the classes, and how' if ordered else 'How'} far the probabilities can be believed"),
        _by_subset(
            findings,
            (*words.ORDER, *words.PROBABILITIES),
            f"{stamp}ECE, Brier score, slope, intercept: of the probability of any pain, every class counting alike."
            + small,
        ),
    ]
    if why := reasons(findings.rows("all"), findings.folds):
        parts += [tag("h3", f"Methods whose ECE is above {ECE_AIM:g}, and why"), bullets(why)]
    if not any(is_baseline(row.method) for row in findings.summary.rows):
        parts.append(paragraph("No plain method was run beside these: nothing shows that a deep model is needed."))
    if any(findings.set_by_construction(row.method) for row in findings.summary.rows):
        parts.append(paragraph(words.CONSTRUCTED, class_="dim"))
    return joined(*parts)


def _by_subset(findings: Findings, names: Sequence[str], caption: str) -> Html:
    columns = [name for name in names if any(name in row.figures for row in findings.summary.rows)]
    bodies = []
    for subset in dict.fromkeys(row.subset for row in findings.summary.rows):
        title, meaning = words.SUBSETS.get(subset, (subset, ""))
        rows = findings.rows(subset)
        head = tag("th", f"{title}: {meaning}", colspan=str(len(columns) + 1), scope="colgroup", class_="group")
        bodies.append(tag("tbody", tag("tr", head), *(_row(findings, row, columns) for row in rows)))
    return table(["method", *(words.SHORT[name] for name in columns)], bodies, caption=caption, numbers=1)


def _row(findings: Findings, row: Row, columns: Sequence[str]) -> Html:
    cells = []
    for name in columns:
        figure = row.figures.get(name)
        spread = row.spread_of_seeds.get(name)
        value = words.said(figure) if figure else "-"
        if figure and spread is not None:
            value += f" ± {spread:.3f}"
        cells.append(cell(value, number=True, small=words.interval(figure)))
    return tag(
        "tr",
        cell(_named(findings, row.method), small=_of(row), class_="name"),
        *cells,
        class_="plain" if is_baseline(row.method) else "",
    )


def _of(row: Row) -> str:
    seeds = f", {len(row.seeds)} seeds" if len(row.seeds) > 1 else ""
    return f"{words.windows_of(row)}{seeds}"


def _named(findings: Findings, method: str) -> Html:
    parts: list[object] = [tag("b", method)]
    if is_baseline(method):
        parts += [" ", tag("span", "plain", class_="tag")]
    if findings.set_by_construction(method):
        parts += [" ", tag("span", "set by construction", class_="tag set")]
    return joined(*parts)


# -- beside the articles -----------------------------------------------------------------------------------------------


def published_table(findings: Findings) -> Html:
    """The published value beside ours, and whether the two were measured alike."""
    lines = list(_published(findings))
    if not lines:
        return paragraph("No article gives a figure for any of these methods.")
    return table(
        ["method", "figure", "ours", "published", "same protocol?", "why", "article, data"],
        [tag("tbody", *lines)],
        caption=("Simulated patients, no people, beside published figures of people. " if findings.simulated else "")
        + "Values of other protocols are shown because readers look for them; they are no goal and prove nothing.",
    )


def _published(findings: Findings) -> Iterator[Html]:
    summary = findings.summary
    for row in findings.rows("all"):
        for figure in ("accuracy", "macro_f1"):
            data = findings.kind if not findings.simulated else summary.data
            found = beside(
                row.method, data, summary.protocol, summary.classes, division=findings.division, figure=figure
            )
            if found is None or (figure != "accuracy" and found.data != data):
                continue
            yield tag(
                "tr",
                cell(_named(findings, row.method)),
                cell(words.SHORT[figure]),
                cell(words.said(row.figures.get(figure)), number=True, small=words.interval(row.figures.get(figure))),
                cell(f"{found.value:.3f}", number=True),
                cell(tag("b", "yes" if found.same_protocol else "no")),
                cell(found.why, class_="wide"),
                cell(_source(found)),
            )


def _source(found: Published) -> str:
    return f"{found.article}; {found.data}, {found.division}, {found.classes} classes, {found.signals}"


# -- comparisons -------------------------------------------------------------------------------------------------------


def comparisons_table(findings: Findings) -> Html:
    """Differences paired by subject, with a sentence each."""
    if not findings.summary.comparisons:
        return paragraph("There are no two methods to compare, or too few subjects.")
    rows = [
        tag(
            "tr",
            cell(tag("b", item.method), f" against {item.other}"),
            cell(
                f"{100 * item.difference.value:+.1f}",
                number=True,
                small=words.interval(item.difference, digits=1, sign=True, factor=100.0),
            ),
            cell(f"{item.p:.3g}", number=True),
            cell(f"{item.p_holm:.3g}", number=True),
            cell(words.verdict(item, findings), class_="wide"),
        )
        for item in findings.summary.comparisons
    ]
    return joined(
        paragraph(
            "Both methods told the same subjects' windows, so they are compared subject by subject: the mean "
            "difference in balanced accuracy in points, its 95 % interval, and Wilcoxon's signed rank test. p is how "
            "often chance alone gives a difference at least as large; p (Holm) makes up for the number of comparisons "
            "in the table, and is the one to read. The plain method was picked as the best one on these same subjects, "
            "which favours it."
        ),
        table(
            ["comparison", "difference, points", "p", "p (Holm)", "what can be said"],
            [tag("tbody", *rows)],
            caption="Simulated patients, no people: this says how methods work on simulated signals, nothing of people."
            if findings.simulated
            else "",
        ),
    )


# -- around them -------------------------------------------------------------------------------------------------------


def facts(findings: Findings, date: str) -> Html:
    """What the run was of."""
    summary, run = findings.summary, findings.run
    population = findings.setting("data", "population", "")
    about = f"{summary.data} (no people), population {population}" if findings.simulated else summary.data
    pairs: list[tuple[str, object]] = [
        ("Data", about),
        ("Classes", ", ".join(summary.classes)),
        ("Protocol", f"{summary.protocol}: {words.PROTOCOLS.get(summary.protocol, 'not known')}"),
    ]
    if inputs := findings.setting("task", "inputs"):
        pairs.append(("Signals", ", ".join(inputs)))
    if split := findings.setting("split", "kind"):
        folds = f", {findings.setting('split', 'folds')} folds" if split == "k-fold" else ""
        pairs.append(("Split by subject", f"{split}{folds}, seed {findings.setting('split', 'seed')}; {_people(run)}"))
    seeds = sorted({seed for row in summary.rows for seed in row.seeds})
    pairs.append(("Seeds of training", ", ".join(str(seed) for seed in seeds) + "; plain methods: the first"))
    if findings.settings:
        pairs.append(("Training", _training(findings)))
    versions = ", ".join(f"{name} {' and '.join(of)}" for name, of in findings.versions.items())
    pairs.append(("Versions", versions or "not known"))
    if findings.settings_hash:
        pairs.append(("Configuration", f"hash {findings.settings_hash}; run written {run.get('written', '?')}"))
    done = len(findings.folds)
    pairs.append(("Trainings", f"{done} of {len(run['jobs'])} done" if run.get("jobs") else f"{done} done"))
    pairs.append(("This report", f"{date} (UTC)"))
    if run.get("notice"):
        pairs.append(("Use", run["notice"]))
    return key_table(pairs)


def _people(run: object) -> str:
    splits = run.get("splits") if hasattr(run, "get") else None
    if not splits:
        return "who was in which part is not known"
    first = next(iter(splits.values()))
    sizes = ", ".join(f"{len(people)} {part}" for part, people in first.items())
    return f"{len(splits)} division{'s' if len(splits) > 1 else ''} of people, the first: {sizes}"


def _training(findings: Findings) -> str:
    train = findings.settings.get("train") or {}
    said = [f"recipes {', '.join(train.get('recipes', ()))}", f"schedule {train.get('schedule', '?')}"]
    if train.get("epochs"):
        said.append(f"cut to {train['epochs']} epochs a stage")
    if train.get("ordinal"):
        said.append("classes learnt as ordered")
    if train.get("tune"):
        said.append(f"{train['tune']} trials of a search within each split")
    said.append(
        "probabilities with a temperature of the calibration subjects"
        if findings.setting("calibrate", "temperature", False)
        else "probabilities as the models give them"
    )
    return "; ".join(said)


def reading(findings: Findings) -> Html:
    """What each figure means."""
    there = [name for name in words.SHORT if any(name in row.figures for row in findings.summary.rows)]
    return joined(
        key_table((words.SHORT[name], words.MEANING[name]) for name in there),
        paragraph(words.INTERVAL),
        paragraph(words.SEEDS),
    )


def limits(findings: Findings) -> Html:
    """What is not shown, and what was left out."""
    parts = [bullets(words.limits(findings))]
    if findings.left_out is not None:
        parts.append(tag("h3", "What was left out before training"))
        if findings.left_out:
            rows = [
                tag("tr", cell(item.code), cell(item.count, number=True), cell(item.example, class_="wide"))
                for item in findings.left_out
            ]
            head = ["reason", "sittings or trials", "the first of them"]
            parts.append(
                table(head, [tag("tbody", *rows)], caption="Counted once, even where several methods lack them.")
            )
        else:
            parts.append(paragraph("Nothing: every sitting and trial gave its windows."))
    notes = [*findings.summary.notes]
    notes += [f"{name} is there but could not be read: its section is missing." for name in findings.damaged]
    parts += [tag("h3", "Notes of the evaluation"), bullets(notes)]
    return joined(*parts)
