"""One fold: a recipe trained on one split with one seed. What it leaves behind is small, whole, and says what it is of.

`folds/<job>.json` is written last, beside its place and moved there: where it is, predictions and weights are too. It
holds everything that was asked for, so that a run with other settings is refused by name of what differs.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.data.guards import Learnt, Parts, divide
from models.data.splits import Split
from models.training.recipe import Fitted, Task, Told
from models.training.recipes import make_recipe
from models.training.windows import open_windows
from monitor.bundle import InputSpec
from monitor.errors import SourceError

_log = logging.getLogger(__name__)

FORMAT: Final = 1
UNFINISHED: Final = ".writing-"
"""How folders begin whose content has not been moved to its place; a kill leaves them."""
_CLOCK: Final = re.compile(r"/\d+:.*$")
"""What `models.data.segments` adds to a sitting's key for each of its cuts."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One recipe on one split with one seed; all that its numbers depend on."""

    split: Split
    recipe: str
    seed: int
    windows: Path
    """Folder of `models.training.windows`."""
    classes: tuple[str, ...]
    schedule: str
    ordinal: bool
    options: Mapping[str, object]
    temperature: bool
    responders: Mapping[str, bool]
    """Who is known to answer to pain; empty where nobody knows."""
    keep_weights: bool
    may_become_bundle: bool
    """Keep what a bundle needs beside the weights: where the training windows lie, and limits of what is believed."""
    folder: Path
    """Of the run."""
    asked: Mapping[str, Any]
    """Settings that decide its numbers, as plain values."""

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.split.name}.{self.recipe}.s{self.seed}"

    @property
    def json(self) -> Path:
        """What it found."""
        return self.folder / "folds" / f"{self.name}.json"

    @property
    def predictions(self) -> Path:
        """What it said of held-out windows."""
        return self.folder / "predictions" / f"{self.name}.csv.gz"

    def weights(self, method: str) -> Path:
        """A method's checkpoint, of `models.checkpoint.save_checkpoint`."""
        return self.folder / "weights" / f"{self.name}.{method}.pt"

    def features(self, method: str) -> Path:
        """Where a method's training windows lie, as of `monitor.feature_space`."""
        return self.weights(method).with_suffix(".npz")

    @property
    def hash(self) -> str:
        """Of what was asked."""
        text = json.dumps(_plain(self.asked), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def found(job: Job) -> dict[str, Any] | None:
    """What the job left behind, or None where it has to be run.

    Raises:
        SourceError: If what lies there was asked for otherwise, with what differs.
    """
    try:
        content = json.loads(job.json.read_text(encoding="utf-8"))
        given = content["asked"]
        same = content["hash"] == job.hash and content["format"] == FORMAT
        whole = job.predictions.is_file() and all(
            (job.folder / m["weights"]).is_file() if m["weights"] else not (job.keep_weights and m["network"])
            for m in content["methods"].values()
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise SourceError(
            f"is damaged: {error!r}",
            where=str(job.json),
            todo="Remove it and train again: this job alone is then run anew",
        ) from None
    if not same:
        changes = list(_differences(given, _plain(job.asked)))
        shown = "; ".join(changes[:6]) + (f"; {len(changes) - 6} more" if len(changes) > 6 else "")
        raise SourceError(
            f"it was trained with other settings: {shown or 'another version of this program'}",
            where=str(job.json),
            todo="Name another output.folder, or give --fresh to train anew",
        )
    return content if whole else None


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _differences(old: Any, new: Any) -> Iterator[str]:
    before, now = dict(_flat(old)), dict(_flat(new))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            yield f"{key} was {_short(before.get(key))}, is {_short(now.get(key))}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


# -- in the worker -----------------------------------------------------------------------------------------------------


def run_job(job: Job) -> dict[str, Any]:
    """Train, calibrate, open the test part once, and write what came of it.

    Raises:
        ConfigError: If the recipe cannot be trained on these windows.
        LeakError: If anything has seen the test part.
    """
    from models.evaluation.predictions import predictions_of, write_predictions

    started, clock = time.process_time(), time.monotonic()
    traced = open_windows(job.windows)
    parts = divide(traced, job.split)
    task = Task(
        inputs=traced.inputs, classes=job.classes, schedule=job.schedule, ordinal=job.ordinal, options=job.options
    )
    fitted = make_recipe(job.recipe, on_epoch=_say_epoch).fit(parts, task, seed=job.seed)
    _log.info("calibrates")
    held = parts.calibration.labelled()
    scales = {
        name: _calibrated(method.tell(held), held.labels, job.temperature, len(job.classes))
        for name, method in fitted.items()
    }
    learnt = [item for method in fitted.values() for item in method.learnt]
    if job.temperature:
        subjects = frozenset(parts.subjects["calibration"])
        learnt.append(Learnt(name="temperature", kind="calibration", subjects=subjects))
    trained_s = time.process_time() - started

    test = parts.open_test(learnt)
    labelled = test.labels >= 0
    of_test = np.flatnonzero(np.isin(traced.windows.subjects, job.split.test))[labelled]
    test = test.labelled()
    sessions = np.array([_CLOCK.sub("", r) for r in traced.recordings[of_test].tolist()], dtype=np.str_)
    answers = [job.responders.get(s) for s in test.subjects.tolist()]
    responder = np.array([-1 if a is None else int(a) for a in answers], dtype=np.int64)
    _log.info("is tested")
    told = []
    for name, method in fitted.items():
        probabilities = scales[name][1](method.tell(test).logits)
        told.append(
            predictions_of(
                test,
                probabilities,
                method=name,
                seed=job.seed,
                split=job.split.name,
                protocol=traced.protocol,
                classes=job.classes,
                recordings=sessions,
                responder=responder,
            )
        )
    placed(job.predictions, lambda path: write_predictions(path, told))
    content = {
        "format": FORMAT,
        "job": job.name,
        "hash": job.hash,
        "asked": _plain(job.asked),
        "versions": _versions(),
        "seconds": round(time.monotonic() - clock, 1),
        "cpu_seconds": round(time.process_time() - started, 1),
        "training_cpu_seconds": round(trained_s, 1),
        "subjects": parts.subjects,
        "windows": {
            part: _counts(getattr(parts, part).labels, job.classes) for part in ("train", "validation", "calibration")
        }
        | {"test": _counts(test.labels, job.classes)},
        "methods": {
            name: _described(job, name, method, parts, scales[name][0], item.probabilities, test.labels)
            for (name, method), item in zip(fitted.items(), told, strict=True)
        },
    }
    write_json(job.json, content)
    return content


def _say_epoch(stage: str, done: int, most: int, loss: float, validation: float) -> None:
    _log.info("%s %d/%d, loss %.4f, validation %.4f", stage, done, most, loss, validation)


def _calibrated(
    told: Told, labels: NDArray[np.int64], fit: bool, classes: int
) -> tuple[dict[str, Any], Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """What is kept of the calibration, and the probabilities that it gives."""
    from models.evaluation.calibration import calibrate, softmax

    if not fit:
        return {"temperature": 1.0}, softmax
    calibration = calibrate(told, labels, classes=classes)
    more = {name: getattr(calibration, name) for name in ("brier", "slope", "intercept", "windows")}
    return {
        "temperature": calibration.temperature,
        "calibration": calibration.as_spec() | more,
    }, calibration.probabilities


def _described(
    job: Job,
    name: str,
    method: Fitted,
    parts: Parts,
    calibration: Mapping[str, Any],
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> dict[str, Any]:
    path, abstain = None, None
    if method.model is not None and job.keep_weights:
        from models.checkpoint import save_checkpoint

        model = method.model
        placed(job.weights(name), lambda path: _saved(save_checkpoint, model, path))
        path = str(job.weights(name).relative_to(job.folder))
        if job.may_become_bundle:
            abstain = _limits(job, name, method, parts, calibration["temperature"])
    recalls = [float(np.mean(probabilities[labels == c].argmax(axis=1) == c)) for c in np.unique(labels)]
    read: tuple[InputSpec, ...] = getattr(method, "inputs", ())
    return {
        "parameters": method.parameters,
        "network": method.model is not None,
        "weights": path,
        "inputs": [item.model_dump(mode="json") for item in read],
        "learnt": [
            {"name": item.name, "kind": item.kind, "from": _whose(item.subjects, parts.subjects)}
            for item in method.learnt
        ],
        "history": {stage: asdict(result) for stage, result in method.history.items()},
        **calibration,
        "abstain": abstain,
        "backbone": getattr(method, "backbone", "none"),
        "figures": {
            "balanced_accuracy": round(float(np.mean(recalls)), 4),
            "accuracy": round(float(np.mean(probabilities.argmax(axis=1) == labels)), 4),
        },
    }


def _saved(save: Callable[[Any, Path], object], model: Any, path: Path) -> None:
    """Write a checkpoint, with a disk that is full told as one: torch has no word for it."""
    try:
        save(model, path)
    except RuntimeError as error:
        if not any(sign in str(error) for sign in ("inline_container", "PytorchStreamWriter", "iostream")):
            raise
        raise OSError(errno.ENOSPC, "torch could not write all of it, as on a full disk") from None


def _limits(job: Job, name: str, method: Fitted, parts: Parts, temperature: float) -> dict[str, float]:
    """Write where the training windows lie, and give the limits of what is believed."""
    from models.evaluation.abstention import fit_abstention

    windows = parts.train.labelled()
    calibration = method.tell(parts.calibration.labelled())
    limits = fit_abstention(method.tell(windows), windows.labels, calibration, temperature=temperature)
    if limits.distance_above is not None:
        placed(job.features(name), limits.write)
    return limits.as_spec()


def _whose(subjects: frozenset[str], parts: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Names of the parts that they are, or their codes where they are no whole parts."""
    whole = [part for part, of in parts.items() if of and set(of) <= subjects]
    rest = subjects - {subject for part in whole for subject in parts[part]}
    return [*whole, *sorted(rest)]


def _counts(labels: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, int]:
    return {name: int(np.sum(labels == number)) for number, name in enumerate(classes)}


def _versions() -> dict[str, str]:
    import scipy
    import sklearn
    import torch

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of JSON whole or not at all.

    Raises:
        SourceError: If it cannot be written.
    """
    text = json.dumps(_finite(content), indent=1, allow_nan=False, default=str) + "\n"
    placed(path, lambda fresh: fresh.write_text(text, encoding="utf-8"))


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def placed(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the place, then move it there; under its own name, which compressed files hold.

    Args:
        path: The place; its folder is made.
        write: Writes the path that it is given.

    Raises:
        SourceError: If it cannot be written: a full disk, a folder that may not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=path.parent, prefix=UNFINISHED))
        try:
            write(fresh / path.name)
            (fresh / path.name).replace(path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise SourceError(
            f"cannot be written: {error.strerror or error}",
            where=str(path),
            todo="Make room, or mend output.folder, and run it again: what is done is kept",
        ) from None
