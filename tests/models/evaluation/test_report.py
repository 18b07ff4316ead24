"""The page of a run: everything is in it, it loads nothing, and it claims no more than the figures do."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from models.data.recorded import Oddity
from models.data.splits import Split
from models.data.traced import join_traced
from models.evaluation.command import _table
from models.evaluation.report import further, methods, read_findings, report_page, words, write_report
from models.evaluation.report.attention import (
    NO_FOCUS,
    Example,
    Trace,
    Window,
    attention_figure,
    example_of,
    normalised_entropy,
)
from models.evaluation.report.drawing import inline
from models.evaluation.report.plots import histories
from models.evaluation.steps import steps_of
from models.evaluation.summary import Comparison, Figure
from models.registry import create_model
from models.training.folds import Job, run_job, write_json
from models.training.settings import RunSettings
from models.training.windows import _write
from monitor.bundle import default_input
from monitor.errors import SourceError
from tests.helpers import made_run
from tests.helpers.traced_windows import traced_person

METHODS = {"fcn-eda": 1.4, "crossmod": 1.6, "heart-rate": 0.3}
VOID = {"meta", "br", "hr", "img", "link", "input"}
INPUT = default_input("EDA", rate_hz=10.0, samples=40)


class Page(HTMLParser):
    """What is in a page; refuses one whose elements are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._seen(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data

    def _seen(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has {name}"
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("href", "src", "xlink:href", "data", "action", "srcset"):
                (self.links if tag == "a" else self.addresses).append(value or "")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run.write_run(tmp_path_factory.mktemp("bare"), METHODS)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = made_run.write_run(tmp_path_factory.mktemp("full"), METHODS)
    write_json(folder / "streaming.json", made_run.streaming())
    write_json(folder / "controls.json", made_run.controls())
    write_json(folder / "recordings.json", made_run.recordings())
    return folder


@pytest.fixture(scope="module")
def whole(full: Path) -> str:
    """The page of a run with everything."""
    return page_of(full, examples=(focused(5.0),))


@pytest.fixture(scope="module")
def plain(bare: Path) -> str:
    """The page of a run that looked at nothing further."""
    return page_of(bare)


def page_of(folder: Path, **changes: object) -> str:
    return report_page(replace(read_findings(folder), **changes), date="2026-01-02 03:04")


def focused(strength: float) -> Example:
    """A window whose map has one peak, or hardly one."""
    seconds = np.arange(-39, 1) / 10.0
    weights = 1.0 + strength * np.exp(-((seconds + 2.0) ** 2) / 0.1)
    trace = Trace(modality="EDA", seconds=seconds, values=np.sin(seconds), map="temporal.eda", weights=weights)
    return Example(method="crossmod", job="fold-1", windows=(Window(true="severe", probability=0.7, traces=(trace,)),))


# -- the page as a whole -----------------------------------------------------------------------------------------------


def test_every_method_subset_figure_and_what_it_was_run_on_is_in_the_page(full: Path, whole: str) -> None:
    text = Page(whole).text
    summary = read_findings(full).summary
    for method in METHODS:
        assert method in text
    for title, meaning in words.SUBSETS.values():
        assert f"{title}: {meaning}" in text
    for row in summary.rows:
        for name, figure in row.figures.items():
            assert words.SHORT[name] in text, name
            assert f"{figure.value:.3f}" in text, (row.method, row.subset, name)
            assert f"{figure.low:.3f} to {figure.high:.3f}" in text
    for said in ("RESEARCH USE ONLY", "live-stream", "k-fold", "20, 21", "short", "torch 2.0", "EDA, ECG", "UTC"):
        assert said in text
    assert re.search(r"hash [0-9a-f]{16}", text)


def test_the_page_loads_nothing_runs_nothing_and_has_no_name_twice(whole: str) -> None:
    text, page = whole, Page(whole)
    assert "http" not in text
    assert "@import" not in text
    assert "/somewhere/private" not in text
    assert not {"script", "iframe", "link", "object", "embed", "img"} & page.tags.keys()
    assert page.addresses, "glyphs and clips are asked for by name"
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert all(found.startswith("#") for found in re.findall(r"url\(([^)]*)\)", text))
    assert not {name: count for name, count in page.ids.items() if count > 1}
    assert all(link[1:] in page.ids for link in page.links)


def test_the_same_findings_are_the_same_page(bare: Path, plain: str) -> None:
    assert page_of(bare) == plain


def test_simulated_patients_are_named_in_the_title_and_beside_every_picture(whole: str) -> None:
    assert "simulated patients (no people)" in re.findall(r"<title>(.*)</title>", whole)[0]
    figures = re.findall(r"<figure>(.*?)<svg", whole, flags=re.DOTALL)
    assert len(figures) == 7
    assert all("SIMULATED PATIENTS, NO PEOPLE" in found for found in figures)


def test_real_data_are_not_called_simulated(tmp_path: Path) -> None:
    folder = made_run.write_run(tmp_path, {"fcn-eda": 1.0}, data="biovid-a", seeds=(20,))
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert "imulated" not in page.text
    assert "SIMULATED" not in page.text
    assert "set by construction" not in page.text.lower()
    assert "RESEARCH USE ONLY" in page.text


def test_names_from_files_are_text_and_never_markup(tmp_path: Path) -> None:
    folder = made_run.write_run(tmp_path, {"<b>&bold": 1.0}, seeds=(20,))
    page = Page(page_of(folder))
    assert "<b>&bold" in page.text


# -- parts that may be missing -----------------------------------------------------------------------------------------


def test_a_run_without_further_looks_has_no_such_sections(plain: str) -> None:
    ids = Page(plain).ids
    assert not {"streaming", "controls", "recordings", "attention"} & ids.keys()
    assert {
        "run",
        "methods",
        "comparisons",
        "published",
        "confusion",
        "subjects",
        "reliability",
        "limits",
    } <= ids.keys()


def test_what_was_streamed_controlled_and_replayed_is_told(full: Path, whole: str) -> None:
    page = Page(whole)
    assert {"streaming", "controls", "recordings"} <= page.ids.keys()
    found = json.loads((full / "streaming.json").read_text())
    loss = found["losses"]["scaling"]
    assert f"{100 * loss['value']:+.1f}" in page.text
    assert f"{100 * loss['low']:+.1f} to {100 * loss['high']:+.1f}" in page.text
    assert "6.1 points" in page.text
    for sentence in json.loads((full / "controls.json").read_text())["sentences"]:
        assert sentence in page.text
    assert "Controls that must hold: passed" in page.text
    assert "FAIL" not in page.text
    assert json.loads((full / "recordings.json").read_text())["verdict"]["text"] in page.text
    assert "Arousal, never pain" in page.text


def test_controls_that_fail_are_not_hidden() -> None:
    text = Page(further.controls_section(made_run.controls(leaks=True), stamp="")).text
    assert "NOT PASSED" in text
    assert text.count("FAIL") == 2  # the canary, and the guard that let weights pass


def test_a_file_that_is_damaged_or_of_another_version_costs_only_its_section(tmp_path: Path) -> None:
    folder = made_run.write_run(tmp_path, {"crossmod": 1.0}, seeds=(20,))
    (folder / "streaming.json").write_text("{half", encoding="utf-8")
    write_json(folder / "controls.json", {"canary": {"fcn-eda": {}}})
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert "streaming.json is there but could not be read" in text
    assert "controls.json is damaged or of another version" in text
    assert "crossmod" in text


def test_without_figures_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        write_report(tmp_path)
    (tmp_path / "summary.json").write_text('{"data": "x"}', encoding="utf-8")
    with pytest.raises(SourceError, match="damaged"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


# -- what is claimed ---------------------------------------------------------------------------------------------------


def test_only_the_tuned_methods_of_the_tuned_population_are_set_by_construction(bare: Path) -> None:
    findings = read_findings(bare)
    assert [name for name in METHODS if findings.set_by_construction(name)] == ["fcn-eda"]
    other = {**findings.run, "settings": {**findings.settings, "data": {"kind": "simulated", "population": "neurokit"}}}
    assert not replace(findings, run=other).set_by_construction("fcn-eda")


def test_who_leaves_out_people_who_hardly_react_is_told_what_that_does(bare: Path) -> None:
    findings = read_findings(bare)

    def said(kind: str, *codes: str) -> str:
        data = {"kind": kind, "leave_out": list(codes)}
        return " ".join(words.limits(replace(findings, run={**findings.run, "settings": {"data": data}})))

    assert "2 of those left out are among the 20" in said("biovid-a", "082315_w_60", "120614_w_61", "071309_w_21")
    assert "hardly reacted" not in said("biovid-a", "071309_w_21")
    assert "hardly reacted" not in said("pmed", "082315_w_60")


def test_no_simulated_figure_is_of_the_protocol_of_an_article(plain: str) -> None:
    table = plain[plain.index('id="published"') : plain.index('id="confusion"')]
    answers = re.findall(r"<td><b>(yes|no)</b></td>", table)
    assert answers
    assert set(answers) == {"no"}
    assert "simulated" in table


@pytest.mark.parametrize(
    ("value", "low", "high", "p", "said", "unsaid"),
    [
        (0.05, 0.02, 0.08, 0.01, "crossmod was better than fat-eda by 5.0 points", "No difference"),
        (-0.05, -0.08, -0.02, 0.01, "crossmod was worse than fat-eda by 5.0 points", "No difference"),
        (0.05, 0.02, 0.08, 0.2, "not shown", "was better"),
        (0.01, -0.02, 0.04, 0.5, "no proof that the two are equal", "was better"),
        (0.01, -0.005, 0.03, 0.5, "at most 1 point worse than its best part", "not shown to be"),
        (0.01, -0.02, 0.04, 0.001, "not shown to be at most 1 point worse", "was better"),
    ],
)
def test_a_difference_is_claimed_only_where_interval_and_test_agree(
    bare: Path, value: float, low: float, high: float, p: float, said: str, unsaid: str
) -> None:
    item = Comparison(
        method="crossmod",
        other="fat-eda",
        subset="all",
        figure="balanced_accuracy",
        difference=Figure(value=value, low=low, high=high),
        p=p,
        p_holm=p,
    )
    verdict = words.verdict(item, read_findings(bare))
    assert said in verdict
    assert unsaid not in verdict


def test_few_subjects_are_said_to_be_few(tmp_path: Path) -> None:
    findings = read_findings(made_run.write_run(tmp_path, METHODS, subjects=4))
    assert "With 4 subjects no test can find anything: p cannot fall below 0.12" in words.verdict(
        findings.summary.comparisons[0], findings
    )
    assert any("4 subjects are few" in line for line in words.limits(findings))


def test_the_hash_follows_what_is_computed_and_not_where_it_lies(bare: Path) -> None:
    findings = read_findings(bare)
    moved = {**findings.settings, "output": {"folder": "/elsewhere", "weights": "all"}}
    longer = {**findings.settings, "train": {**findings.settings["train"], "schedule": "paper"}}
    assert replace(findings, run={"settings": moved}).settings_hash == findings.settings_hash
    assert replace(findings, run={"settings": longer}).settings_hash != findings.settings_hash


def test_a_stage_that_methods_share_is_drawn_once() -> None:
    shared, own = ({"train_loss": [losses, 0.5], "validation_loss": [1.0, 1.0]} for losses in (1.0, 2.0))
    methods = {"fcn-eda": {"history": {"fcn": shared}}, "crossmod": {"history": {"eda.fcn": shared, "fusion": own}}}
    folds = [{"job": f"fold-{i}.crossmod.s20", "methods": methods} for i in (1, 2)]
    found = histories(folds)
    assert {stage: len(runs) for stage, runs in found.items()} == {"crossmod: eda.fcn": 2, "crossmod: fusion": 2}


def test_the_table_of_the_terminal_fits_120_columns(tmp_path: Path) -> None:
    names = {**METHODS, "painattnnet-attention": 1.0, "tiny-biomoe-frozen": 1.0}
    summary = read_findings(made_run.write_run(tmp_path, names)).summary
    console = Console(width=120, record=True)
    with console.capture() as printed:
        console.print(_table(summary))
    lines = printed.get().splitlines()
    assert max(len(line) for line in lines) <= 120
    assert "…" not in printed.get()
    for row in summary.rows:
        figure = row.figures["balanced_accuracy"]
        said = f"{figure.value:.3f} ({figure.low:.3f}-{figure.high:.3f})"
        assert any(row.method in line and said in line for line in lines)


# -- attention ---------------------------------------------------------------------------------------------------------


def test_a_flat_map_is_no_focus_and_is_never_drawn() -> None:
    flat, sharp = focused(0.1), focused(50.0)
    assert flat.windows[0].traces[0].entropy > NO_FOCUS > sharp.windows[0].traces[0].entropy
    drawn = {name: inline(attention_figure(item), "a", "") for name, item in (("flat", flat), ("sharp", sharp))}
    assert "no focus (entropy" in drawn["flat"]
    assert "data:image/png" not in drawn["flat"]
    assert "no focus (entropy" not in drawn["sharp"]
    assert "data:image/png" in drawn["sharp"]


def test_attention_is_called_no_cause(whole: str) -> None:
    assert "Model attention (not a cause) of crossmod" in Page(whole).text


def test_entropy_is_1_for_even_weights_and_0_for_a_single_one() -> None:
    assert normalised_entropy(np.ones(50)) == pytest.approx(1.0)
    assert normalised_entropy(np.eye(50)[3]) == 0.0
    assert normalised_entropy(np.zeros(50)) == 1.0


def people(count: int, labels: tuple[int, ...] = (0, 1, 0, 1, 0, 1)):
    """Windows of a slope that rises in pain."""
    sets = []
    for i in range(count):
        person = traced_person(f"p{i}", labels)
        rng = np.random.default_rng(i)
        slope = np.linspace(0.0, 1.0, INPUT.samples) * np.array(labels)[:, np.newaxis]
        values = (slope + 0.1 * rng.normal(size=slope.shape)).astype(np.float32)[:, np.newaxis]
        windows = replace(person.windows, inputs={"eda": values})
        sets.append(replace(person, inputs=(INPUT,), windows=windows))
    return join_traced(sets)


def test_a_model_without_a_map_over_time_has_no_example() -> None:
    windows = people(2).windows
    sure = np.eye(2)[windows.labels]
    given = {"classes": ("none", "pain"), "method": "m", "job": "j"}
    for architecture, there in (("crossmod-fcn", False), ("crossmod-alstm", True)):
        torch.manual_seed(1)
        model = create_model(architecture, inputs=["eda"], classes=2)
        found = example_of(model, (INPUT,), windows, sure, **given)
        assert (found is not None) == there
    assert found is not None
    assert [window.true for window in found.windows] == ["none", "pain"]
    assert all(trace.map == "temporal.eda" for window in found.windows for trace in window.traces)


def test_examples_are_of_rightly_told_windows_only() -> None:
    windows = people(2).windows
    torch.manual_seed(1)
    model = create_model("crossmod-alstm", inputs=["eda"], classes=2)
    always = np.tile([0.9, 0.1], (len(windows), 1))
    found = example_of(model, (INPUT,), windows, always, classes=("none", "pain"), method="m", job="j")
    assert found is not None
    assert [window.true for window in found.windows] == ["none"]
    assert found.missing == ("pain",)
    values = found.windows[0].traces[0].values
    assert any(np.array_equal(values, own[0]) for own in windows.inputs["eda"][windows.labels == 0].astype(np.float64))


def test_a_trained_run_gives_examples_and_says_what_was_left_out(tmp_path: Path) -> None:
    """A real job with its weights: the step reads what training wrote."""
    traced = replace(
        people(6),
        left_out=tuple(Oddity(level="warning", code="short", where=f"p{i}", what="too short") for i in range(3)),
    )
    _write(traced, tmp_path / "windows")
    parts = {"train": ("p0", "p1", "p2"), "validation": ("p3",), "calibration": ("p4",), "test": ("p5",)}
    folder = made_run.write_run(tmp_path / "run", {"heart-rate": 1.0})
    job = Job(
        split=Split(name="hold-out", seed=1, **parts),
        recipe="alstm",
        seed=20,
        windows=tmp_path / "windows",
        classes=("none", "pain"),
        schedule="short",
        ordinal=False,
        options={"augment": False, "tune": 0, "epochs": 1, "device": "cpu"},
        temperature=False,
        responders={},
        keep_weights=True,
        may_become_bundle=False,
        folder=folder,
        asked={},
    )
    run_job(job)
    plan = SimpleNamespace(jobs=[job], windows={"form": job.windows})
    findings = read_findings(folder, plan)  # type: ignore[arg-type]
    assert [(item.method, item.job) for item in findings.examples] == [("alstm-eda", "hold-out.alstm.s20")]
    assert [(item.code, item.count, item.example) for item in findings.left_out or ()] == [
        ("short", 3, "p0: too short")
    ]
    assert "p0: too short" in Page(methods.limits(findings)).text
    # The step of the commands is given the run, so that their page has both.
    step = dict(steps_of(RunSettings()))["report"]
    assert callable(step)
    page = Page(step(folder, plan).read_text(encoding="utf-8"))  # type: ignore[arg-type]
    assert "p0: too short" in page.text
    assert "Model attention (not a cause)" in page.text
