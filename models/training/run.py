"""A run: everything that can be said before training starts is said, then every fold that is not done is trained."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from models.data.catalogue import open_data
from models.data.protocols import require_bundle
from models.data.recorded import DataSet, Oddity
from models.data.splits import Split, incomplete, k_fold, leave_one_out, official, shuffled, with_inner
from models.data.survey import survey
from models.data.traced import BUNDLE_PROTOCOLS, TracedSet
from models.training.folds import UNFINISHED, Job, found, run_job, write_json
from models.training.recipes import RECIPES, Form, forms_of
from models.training.settings import SINGLE, Labels, RunSettings, labels_of
from models.training.windows import Cutting, cut_windows, digest_of, inputs_of, open_windows
from models.training.workers import Failure, Workers
from monitor.errors import BusyError, ConfigError, Problem, SourceError

_PARTS: Final = ("train", "validation", "calibration", "test")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All jobs of a run, and what they are of."""

    settings: RunSettings
    config: Path
    data: DataSet
    labels: Labels
    windows: Mapping[Form, Path]
    splits: tuple[Split, ...]
    jobs: tuple[Job, ...]
    oddities: tuple[Oddity, ...]

    @property
    def name(self) -> str:
        """Of the data, as figures and cards say it."""
        return data_name(str(self.settings.data.kind))


class Watcher:
    """Is told how a run goes; this one keeps silent."""

    def stage(self, text: str, total: int) -> None:
        """A stage of so many steps begins."""

    def step(self, text: str) -> None:
        """A step of it is done."""

    def say(self, text: str) -> None:
        """Something that the user should read."""


def data_name(kind: str) -> str:
    """How data are called beside figures."""
    return "simulated patients" if kind == "simulated" else kind


# -- before ------------------------------------------------------------------------------------------------------------


def prepare(
    settings: RunSettings,
    config: Path,
    workers: Workers,
    *,
    despite_oddities: bool = False,
    watcher: Watcher | None = None,
) -> Plan:
    """Look at everything that a run needs, cut its windows, and list its jobs; nothing is trained.

    Args:
        settings: As `load_run_settings` gives them.
        config: Their file.
        workers: Cut windows.
        despite_oddities: Go on where `python -m models data` finds errors.
        watcher: Is told.

    Raises:
        ConfigError: If a label or a class does not exist.
        SourceError: If the data are missing, damaged, too few, or do not support what is asked.
    """
    watcher = watcher or Watcher()
    protocol = str(settings.task.protocol)
    data = open_data(settings.data)
    data.require(protocol)
    if settings.bundle.name:
        require_bundle(protocol)
    labels = labels_of(settings.task, data, config)
    # Before anything is read, on everybody who is listed.
    _divisible(settings, data)
    oddities = _looked_at(data, despite_oddities, watcher)
    recipes = [*settings.train.recipes, *_baselines(settings)]
    forms = forms_of(recipes)
    windows: dict[Form, Path] = {}
    for form in dict.fromkeys(forms.values()):
        cutting = Cutting(
            data=settings.data,
            protocol=protocol,
            inputs=inputs_of(settings.task, form),
            numbers=dict(labels.numbers),
            seconds=settings.task.seconds,
            per_class=settings.windows_per_class(len(labels.names)),
            seed=settings.split.seed,
        )
        watcher.stage("Cutting windows", len(data.sittings))
        windows[form] = cut_windows(cutting, data, workers, on_sitting=watcher.step)
    sets = {form: open_windows(place) for form, place in windows.items()}
    subjects = _with_windows(sets, data, watcher)
    splits = _splits(settings, data, subjects)
    for split in splits:
        if lacking := incomplete(split):
            watcher.say(f"warning, {split.name}: {lacking}")
        for traced in sets.values():
            _check_classes(split, traced, labels.names, data)
    seeds = {
        name: settings.train.seeds[:1] if RECIPES[name].baseline else settings.train.seeds_of(name) for name in recipes
    }
    # A whole table of first seeds comes before any second one.
    jobs = tuple(
        _job(settings, split, name, seeds[name][rank], windows[forms[name]], labels, data)
        for rank in range(max(map(len, seeds.values())))
        for split in splits
        for name in recipes
        if rank < len(seeds[name])
    )
    return Plan(
        settings=settings,
        config=config,
        data=data,
        labels=labels,
        windows=windows,
        splits=splits,
        jobs=jobs,
        oddities=oddities,
    )


def _looked_at(data: DataSet, despite: bool, watcher: Watcher) -> tuple[Oddity, ...]:
    watcher.stage("Reading", len(data.sittings))
    result = survey(data, on_sitting=lambda files: watcher.step(files.key))
    errors = [oddity for oddity in result.oddities if oddity.level == "error"]
    if errors and not despite:
        lines = "".join(f"\n  {o.where}: {o.what}" + f" ({o.todo})" * bool(o.todo) for o in errors[:8])
        more = f"\n  and {len(errors) - 8} more" if len(errors) > 8 else ""
        raise SourceError(
            f"not fit for training, {len(errors)} error{'s' if len(errors) > 1 else ''}:{lines}{more}",
            where=str(data.root),
            todo="\n`python -m models data` shows all; mend them, leave subjects out (data.leave_out), or give "
            "--despite-oddities",
        )
    warnings: dict[str, list[Oddity]] = {}
    for oddity in result.oddities:
        if oddity.level != "note":
            warnings.setdefault(oddity.code, []).append(oddity)
    for code, of in warnings.items():
        places = list(dict.fromkeys(o.where for o in of))
        where = "; ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
        watcher.say(f"{of[0].level}, {code}: {where}: {of[0].what}")
    return result.oddities


def _divisible(settings: RunSettings, data: DataSet) -> None:
    """Refuse people who cannot be divided as asked, with what is missing of them."""
    try:
        _splits(settings, data, data.subjects)
    except SourceError as error:
        lost = [f"{oddity.where}: {oddity.what}" for oddity in data.oddities if oddity.level == "error"]
        more = f", and {len(lost) - 3} more" if len(lost) > 3 else ""
        what = error.what + (f" ({'; '.join(lost[:3])}{more})" if lost else "")
        raise SourceError(what, where=error.where or str(data.root), todo=error.todo) from None


def _baselines(settings: RunSettings) -> list[str]:
    asked = settings.evaluate.baselines
    if isinstance(asked, tuple):
        return list(asked)
    able = [n for n, entry in RECIPES.items() if entry.baseline and not entry.refuses(settings.task.inputs)]
    return able if asked else []


def _with_windows(sets: Mapping[Form, TracedSet], data: DataSet, watcher: Watcher) -> list[str]:
    """Subjects that have windows for every recipe, so that all are trained and tested on the same people."""
    there = [set(traced.windows.subjects.tolist()) for traced in sets.values()]
    subjects = [s for s in data.subjects if all(s in of for of in there)]
    if lost := [s for s in data.subjects if s not in subjects]:
        shown = ", ".join(lost[:6]) + (f" and {len(lost) - 6} more" if len(lost) > 6 else "")
        why = next((o.what for t in sets.values() for o in t.left_out if o.where.split("/")[0].startswith(lost[0])), "")
        watcher.say(f"warning, left out: no window of {shown}" + (f": {why}" if why else ""))
    return subjects


def _splits(settings: RunSettings, data: DataSet, subjects: Sequence[str]) -> tuple[Split, ...]:
    kind, seed = settings.split.kind, settings.split.seed
    unlabelled = {s.subject for s in data.sittings if s.part == "test"} if data.kind != "simulated" else set()
    people = [s for s in subjects if s not in unlabelled]
    if kind == "loso":
        return leave_one_out(people, seed=seed)
    if kind == "k-fold":
        return k_fold(people, settings.split.folds, seed=seed)
    if kind == "official":
        there = set(subjects)
        return (official(data.without([s for s in data.subjects if s not in there]), seed=seed),)
    if kind == "hold-out":
        order = shuffled(people, seed, "hold-out")
        test = order[: max(1, round(len(order) / settings.split.folds))]
        return (with_inner("hold-out", set(people) - set(test), test, seed),)
    return (_parts(data, subjects, seed),)


def _parts(data: DataSet, subjects: Sequence[str], seed: int) -> Split:
    """The data's own parts."""
    there = set(subjects)
    parts = {part: sorted({s.subject for s in data.sittings if s.part == part} & there) for part in _PARTS}
    if empty := [part for part, people in parts.items() if not people]:
        raise SourceError(
            f"{data.kind} has nobody in {' and '.join(empty)}",
            where=str(data.root),
            todo="split.kind = parts is for data that come divided in four; take hold-out, official or k-fold",
        )
    return Split(name="parts", seed=seed, **{part: tuple(people) for part, people in parts.items()})


def _check_classes(split: Split, traced: TracedSet, classes: Sequence[str], data: DataSet) -> None:
    """Refuse a part that lacks a class, before an hour is spent."""
    for part, subjects in split.parts.items():
        own = set(traced.windows.of(subjects).labels.tolist()) if subjects else set()
        if missing := [name for number, name in enumerate(classes) if number not in own]:
            raise SourceError(
                f"{split.name}: {part} ({len(subjects)} subjects) has no window of {', '.join(missing)}",
                where=str(data.root),
                todo="Take fewer folds, another split.seed, or more subjects",
            )


def _job(
    settings: RunSettings, split: Split, recipe: str, seed: int, windows: Path, labels: Labels, data: DataSet
) -> Job:
    train = settings.train
    options = train.given
    asked: dict[str, Any] = {
        "data": settings.data.model_dump(mode="json", exclude={"path", "cache", "labels"}, exclude_defaults=True),
        "task": settings.task.model_dump(mode="json", exclude={"classes"}),
        "classes": {name: [k for k, v in labels.numbers.items() if v == i] for i, name in enumerate(labels.names)},
        "windows": digest_of(windows),
        "split": settings.split.model_dump(mode="json"),
        "parts": {part: list(people) for part, people in split.parts.items()},
        "train": {"recipe": recipe, "seed": seed, "schedule": train.schedule, "ordinal": train.ordinal, **options},
        "calibrate": settings.calibrate.model_dump(mode="json"),
    }
    return Job(
        split=split,
        recipe=recipe,
        seed=seed,
        windows=windows,
        classes=labels.names,
        schedule=train.schedule,
        ordinal=train.ordinal,
        options=options,
        temperature=settings.calibrate.temperature,
        responders=_responders(data),
        keep_weights=settings.keeps_weights and not RECIPES[recipe].baseline,
        may_become_bundle=settings.split.kind in SINGLE and settings.task.protocol in BUNDLE_PROTOCOLS,
        folder=settings.folder,
        asked=asked,
    )


def _responders(data: DataSet) -> dict[str, bool]:
    """Of simulated people it is known whether they answer to pain."""
    if data.kind != "simulated":
        return {}
    from monitor.sources.synthetic_patient import SyntheticPatient

    answers = {}
    for sitting in data.sittings:
        number = int(sitting.subject.rsplit("-", 1)[1])
        answers[sitting.subject] = SyntheticPatient(part=sitting.part, number=number).responder
    return answers


# -- the run itself ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the output folder for this process, and clear away what a killed run left half written.

    Raises:
        BusyError: If another run writes into it.
        SourceError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise SourceError(
            f"cannot be made: {error.strerror or error}", where=str(folder), todo="Mend output.folder"
        ) from None
    with file:
        if not _locked(file):
            raise BusyError("another run writes into it", where=str(folder), todo="Wait for it, or end it")
        for part in ("folds", "predictions", "weights"):
            for left in (folder / part).glob(f"{UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)
        yield


def _locked(file: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:  # elsewhere whoever starts two runs in one folder has to know
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def require_device(settings: RunSettings, config: Path) -> None:
    """Refuse a GPU that this machine does not have.

    Raises:
        ConfigError: If there is none.
    """
    if settings.train.device != "cuda":
        return
    from models.training.loop import device_of

    try:
        device_of(settings.train.device)
    except ConfigError as error:
        problems = [Problem(f"train.{p.key}", p.what, p.todo) for p in error.problems]
        raise ConfigError(where=str(config), problems=problems) from None


def to_do(plan: Plan, *, only: str = "", fresh: bool = False) -> tuple[list[Job], int]:
    """Jobs that are not done, and how many are.

    Args:
        plan: Of the run.
        only: Beginning of the names of jobs, such as `fold-1-of-5`; empty: all.
        fresh: Forget what is there.

    Raises:
        SourceError: If a job was done with other settings, or none begins so.
    """
    chosen = [job for job in plan.jobs if job.name == only or job.name.startswith(f"{only}.") or not only]
    if not chosen:
        names = ", ".join(dict.fromkeys(split.name for split in plan.splits[:12]))
        raise SourceError(f"no fold is called {only}", todo=f"There are {names}")
    if fresh:
        for job in chosen:
            job.json.unlink(missing_ok=True)
    left = [job for job in chosen if found(job) is None]
    return left, len(chosen) - len(left)


def train_jobs(
    jobs: Sequence[Job], workers: Workers, *, on_done: Callable[[Job, Mapping[str, Any]], object] = lambda *_: None
) -> None:
    """Run jobs; one that fails does not stop the others.

    Raises:
        ToldError: What a user can mend, of the first job that failed.
        RuntimeError: A defect, of the first that failed.
    """
    futures: dict[Future[dict[str, Any] | Failure], Job] = {
        workers.submit_job(job.name, run_job, job): job for job in jobs
    }
    failures: list[tuple[Job, Failure]] = []
    for future in as_completed(futures):
        result, job = future.result(), futures[future]
        if isinstance(result, Failure):
            failures.append((job, result))
            logging.getLogger(__name__).error("%s: %s", job.name, result.text)
        else:
            on_done(job, result)
    if failures:
        job, failure = min(failures, key=lambda pair: (pair[1].exit_code is not None, pair[0].name))
        count = f"{len(failures)} of {len(jobs)} jobs failed; {job.name}: "
        Failure(count + failure.text, failure.exit_code).throw()


_WHERE: Final[dict[str, set[str]]] = {"data": {"cache"}, "output": {"folder"}, "bundle": {"out"}}
"""Places on this machine, which mean nothing wherever the folder is taken."""


def write_plan(plan: Plan) -> None:
    """run.json: what the run is of, for whoever finds the folder."""
    write_json(
        plan.settings.folder / "run.json",
        {
            "data": plan.name,
            "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "settings": plan.settings.model_dump(mode="json", exclude=_WHERE),
            "classes": list(plan.labels.names),
            "splits": {split.name: {part: list(of) for part, of in split.parts.items()} for split in plan.splits},
            "jobs": [job.name for job in plan.jobs],
            "notice": "Research use only. Simulated people are no people."
            if plan.data.kind == "simulated"
            else "Research use only. Under the agreement of the data that it is computed from.",
        },
    )
