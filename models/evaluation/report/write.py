"""From what was found to the page, section by section; one without findings is left out, with its entry in the list."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.evaluation.report import further, methods, plots
from models.evaluation.report.attention import NO_FOCUS, Example, attention_figure
from models.evaluation.report.drawing import inline
from models.evaluation.report.elements import Html, drawing, joined, page, paragraph, tag
from models.evaluation.report.findings import Findings, read_findings
from monitor.errors import SourceError

if TYPE_CHECKING:
    from models.training.run import Plan

NAME: Final = "report.html"

_BANNER: Final = "RESEARCH USE ONLY. No figure here validates a measure of pain."
_SIMULATED: Final = "SIMULATED PATIENTS, NO PEOPLE"


def report_step(folder: Path, plan: Plan) -> Path:
    """`write_report` as a step of `evaluate` (`models.evaluation.steps`)."""
    return write_report(folder, plan)


def write_report(folder: Path, plan: Plan | None = None) -> Path:
    """Write report.html of a run, from the files of its folder.

    Args:
        folder: Of the run, with summary.json.
        plan: The run, for what lies outside of its folder (see `read_findings`); None: without these parts.

    Returns:
        The page.

    Raises:
        SourceError: If summary.json is missing or damaged, or the page cannot be written.
    """
    text = report_page(read_findings(folder, plan), date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"))
    path = folder / NAME
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as fresh:
            (Path(fresh) / NAME).write_text(text, encoding="utf-8")
            (Path(fresh) / NAME).replace(path)
    except OSError as error:
        raise SourceError(
            f"cannot be written: {error.strerror or error}", where=str(path), todo="Make room, or mend the folder"
        ) from None
    return path


def report_page(findings: Findings, *, date: str) -> str:
    """The whole page.

    Args:
        findings: Of a run.
        date: When it is written, in UTC.
    """
    summary = findings.summary
    what = f"{summary.data} (no people)" if findings.simulated else summary.data
    title = f"Pain models on {what}: {summary.protocol}, {len(summary.classes)} classes"
    banner = f"{_BANNER} {_SIMULATED}." if findings.simulated else _BANNER
    sections = list(_sections(findings, date))
    links = tag("nav", *(tag("a", name, href=f"#{key}") for key, name, _ in sections))
    body = [tag("h1", title), links]
    body += [tag("section", tag("h2", name), content, id=key) for key, name, content in sections]
    return page(title, banner, joined(*body))


def _sections(findings: Findings, date: str) -> Iterator[tuple[str, str, Html]]:
    stamp = _SIMULATED if findings.simulated else ""
    yield "run", "What was run", methods.facts(findings, date)
    yield "methods", "Methods", methods.figures_tables(findings)
    yield "comparisons", "Which is better", methods.comparisons_table(findings)
    yield "published", "Beside published values", methods.published_table(findings)
    yield from _pictures(findings, stamp)
    if findings.streaming is not None:
        yield (
            "streaming",
            "Live",
            _careful(partial(further.streaming_section, stamp=stamp), findings.streaming, "streaming"),
        )
    if findings.controls is not None:
        yield (
            "controls",
            "Controls",
            _careful(partial(further.controls_section, stamp=stamp), findings.controls, "controls"),
        )
    if findings.recordings is not None:
        section = _careful(further.recordings_section, findings.recordings, "recordings")
        yield "recordings", "Recordings without pain", section
    yield "reading", "How to read the figures", methods.reading(findings)
    yield "limits", "Limits", methods.limits(findings)


def _careful(section: Callable[[Mapping[str, Any]], Html], found: Mapping[str, Any], key: str) -> Html:
    """A section, or that its file is of another version: the rest of the page must not be lost over it."""
    try:
        return section(found)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        return paragraph(f"{key}.json is damaged or of another version ({error!r}): evaluate again to see it here.")


def _pictures(findings: Findings, stamp: str) -> Iterator[tuple[str, str, Html]]:
    rows = findings.rows("all")
    classes = len(findings.summary.classes)
    if rows:
        yield (
            "confusion",
            "What was told of what",
            drawing(
                inline(plots.confusion_figure(rows), "confusion", "Confusion matrix of each method"),
                "All held-out windows. Each row is a true class and adds up to 100 %; below the share is the number of "
                "windows, seeds added up. The diagonal from upper left to lower right was told right.",
                stamp=stamp,
            ),
        )
    told = [row for row in rows if row.subject_f1]
    if told:
        yield (
            "subjects",
            "How much it differs between people",
            drawing(
                inline(plots.violin_figure(told), "violins", "Macro F1 of each subject by method"),
                "A dot is one subject (mean over seeds), the line the middle one, the shape how subjects spread; fewer "
                "than 5 subjects have no shape. Blue: deep models, green: plain methods. As Fig. 4 of "
                "the CrossMod paper.",
                stamp=stamp,
            ),
        )
    calibrated = [row for row in rows if row.reliability]
    if calibrated:
        yield (
            "reliability",
            "Whether probabilities can be believed",
            drawing(
                inline(plots.reliability_figure(calibrated), "reliability", "Reliability diagram of each method"),
                f"Windows of held-out subjects in {plots.RELIABILITY_BINS} groups of equal mass by the probability of "
                "pain that was told. On the dashed line, what was told came true; below it pain is told too often, "
                f"above it too rarely. Every class counts alike, so who knows nothing tells {1 - 1 / classes:.0%}.",
                stamp=stamp,
            ),
        )
    stages = plots.histories(findings.folds)
    if stages:
        yield (
            "learning",
            "How training went",
            drawing(
                inline(plots.learning_figure(stages), "learning", "Loss by epoch of each stage and fold"),
                "One line for each fold and seed. Training subjects well below validation subjects: learnt by heart. "
                "Weights are kept where the loss of the validation subjects is lowest; test subjects have no part in "
                "it. A stage of several methods is drawn once.",
                stamp=stamp,
            ),
        )
    examples = [example for example in findings.examples if example.windows]
    if examples:
        yield "attention", "Model attention (not a cause)", _attention(examples, stamp)


def _attention(examples: Sequence[Example], stamp: str) -> Html:
    parts = [
        paragraph(
            "Where the weights inside a model lay in one window of each class. Attention is no cause and no "
            "explanation: other weights can give the same answer. Shown is, of the windows of a class that were told "
            "right, the one whose probability is the middle one; nobody picked it by eye. A map that lies on nothing "
            f"in particular (normalised entropy above {NO_FOCUS}) is called no focus and is not drawn."
        )
    ]
    for number, example in enumerate(examples):
        lost = f" No window of {', '.join(example.missing)} was told right." if example.missing else ""
        maps = sorted({trace.map for window in example.windows for trace in window.traces if trace.map})
        focus = any(trace.focus for window in example.windows for trace in window.traces)
        shown = "Orange: the stronger, the greater the weight of that moment, relative to the greatest."
        shown = shown if focus else "No map has a focus, so none is drawn."
        alternative = f"Signals of single windows with the model attention of {example.method}"
        parts.append(
            drawing(
                inline(attention_figure(example), f"attention{number}", alternative),
                f"Model attention (not a cause) of {example.method}, maps {', '.join(maps)}, weights of {example.job}. "
                f"{shown}{lost}",
                stamp=stamp,
            )
        )
    return joined(*parts)
