"""Steps of a run that ask its bundle: held-out sittings run live, and alarms where nobody is in pain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.training.run import Plan


def streaming_step(folder: Path, plan: Plan) -> Path:
    """Run the test subjects of the run's one split through the real pipeline: `streaming.json`.

    Args:
        folder: Of the run.
        plan: With a bundle that is written.

    Raises:
        BundleError: If the bundle is not there.
        SourceError: If no sitting could be run.
        LiveDifferenceError: If a live score differs from the arrays': a defect of ours.
    """
    from models.data.protocols import SILENCE_IS_REST
    from models.evaluation.streaming import stream_evaluation
    from monitor.bundle_folder import load_bundle
    from monitor.scoring.session import OnnxRunner

    bundle = load_bundle(plan.settings.bundle_out)
    test = set(plan.splits[0].test)
    result = stream_evaluation(
        OnnxRunner([bundle]),
        bundle.spec,
        (plan.data.load(files) for files in plan.data.sittings if files.subject in test),
        seed=plan.settings.evaluate.seed,
        classes=plan.labels.numbers,
        silence_is_rest=plan.data.kind in SILENCE_IS_REST,
        hop_s=bundle.spec.hop_seconds,
    )
    return _written(folder / "streaming.json", result.as_json())


def recordings_step(folder: Path, plan: Plan) -> Path:
    """Count the bundle's alarms on recordings without pain: `recordings.json`.

    Args:
        folder: Of the run.
        plan: With a bundle that is written.

    Raises:
        MonitorError: If the bundle is not there or draws no index, or a recording cannot be read.
    """
    from models.evaluation.recordings import recordings_report

    settings = plan.settings
    report = recordings_report(settings.bundle_out, Path(settings.evaluate.recordings), seed=settings.evaluate.seed)
    return _written(folder / "recordings.json", report)


def _written(path: Path, content: Mapping[str, Any]) -> Path:
    from models.training.folds import write_json

    write_json(path, content)
    return path
