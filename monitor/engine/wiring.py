"""Puts the real parts together: what an engine takes where it is given nothing else."""

from __future__ import annotations

import importlib.metadata
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.bundle import BundleSpec
from monitor.bundle_folder import Bundle, load_bundle
from monitor.clock import Clock
from monitor.config import BedSettings, Settings
from monitor.engine.beds import BedPipeline, PipelineFactory
from monitor.engine.journal import SessionStart
from monitor.engine.load import measure, outlasts, overloads
from monitor.engine.recorder import Writer, WriterFactory
from monitor.errors import ConfigError
from monitor.outputs.base import Output
from monitor.pipeline import Pipeline
from monitor.scoring.session import OnnxRunner
from monitor.sessions.store import SessionMeta, SessionWriter, StoredBundle, session_path, state_folder
from monitor.sources.base import Source
from monitor.types import Float32Array, Provenance

if TYPE_CHECKING:
    from monitor.outputs.jsonlog import JsonLogOutput
    from monitor.outputs.metrics import MetricsOutput
    from monitor.outputs.mqtt import MqttOutput
    from monitor.outputs.sound import SoundOutput
    from monitor.outputs.webhook import WebhookOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The bundles of every bed, and what makes pipelines of them."""

    bundles: Mapping[str, tuple[StoredBundle, ...]]
    """By bed, in order of preference."""
    build: PipelineFactory
    explain: Callable[[str, Mapping[str, Float32Array]], Mapping[str, Float32Array]] | None = None
    """Attention maps of one window: (bundle, inputs) -> by name; None where nothing makes them."""

    @property
    def specs(self) -> tuple[BundleSpec, ...]:
        """The bundles of all beds, each once."""
        return tuple({item.spec.name: item.spec for stored in self.bundles.values() for item in stored}.values())


def load_models(settings: Settings) -> Models:
    """Load and verify the bundles of all beds; beds that name the same bundle share one session of it.

    Raises:
        BundleError: If one is missing, damaged, does not match its model.json, or cannot run where it should.
        ConfigError: If this machine is too slow for a bed's hop or for the watchdog, by what a window of each bundle
            takes here.
    """
    loaded: dict[str, Bundle] = {}
    for bed in settings.bed:
        for name in bed.bundles:
            if name not in loaded:
                loaded[name] = load_bundle(name)
    runner = OnnxRunner(list(loaded.values()), device=settings.engine.device)
    clock = time.thread_time if settings.engine.device == "cpu" else time.perf_counter
    seconds = {name: measure(bundle, runner, clock=clock) for name, bundle in loaded.items()}
    problems = overloads(settings.bed, seconds)
    problems += outlasts(settings.bed, seconds, watchdog_s=settings.engine.watchdog_s)
    if problems:
        raise ConfigError(where="this configuration on this machine", problems=problems)
    stored = {
        bed.name: tuple(StoredBundle(spec=loaded[name].spec, path=str(loaded[name].path)) for name in bed.bundles)
        for bed in settings.bed
    }

    def build(bed: BedSettings, session: uuid.UUID) -> BedPipeline:
        specs = [bundle.spec for bundle in stored[bed.name]]
        return Pipeline(bed=bed, bundles=specs, runner=runner, session=session)

    return Models(bundles=stored, build=build, explain=runner.explain)


def live_sources(settings: Settings, clock: Clock) -> dict[str, list[Source]]:
    """What brings the streams of every bed: LSL, MQTT, or both.

    A bed that names no streams takes what turns up, over LSL and, where a broker is configured, over MQTT.
    """
    return {bed.name: _sources_of(bed, settings, clock) for bed in settings.bed}


def _sources_of(bed: BedSettings, settings: Settings, clock: Clock) -> list[Source]:
    sources: list[Source] = []
    over_lsl = tuple(stream for stream in bed.stream if stream.source == "lsl")
    if over_lsl or not bed.stream:
        # Loads liblsl, which an engine that is given its sources can do without.
        from monitor.sources.lsl import LslSource

        named = bed.model_copy(update={"stream": over_lsl})
        sources.append(LslSource(bed=named, settings=settings.lsl, clock=clock))
    if settings.mqtt.host and len(over_lsl) < max(1, len(bed.stream)):
        from monitor.sources.mqtt import MqttSource

        sources.append(MqttSource(bed=bed, settings=settings.mqtt, clock=clock))
    return sources


def lsl_outputs(models: Models) -> list[Output]:
    """Scores and events of every bed over LSL."""
    from monitor.outputs.lsl import ScoreOutlets  # as above

    return [ScoreOutlets(beds={bed: [item.spec for item in bundles] for bed, bundles in models.bundles.items()})]


def mqtt_outputs(settings: Settings, models: Models, clock: Clock) -> list[MqttOutput]:
    """What each bed says over MQTT; empty where no broker is configured, or nothing is to be published."""
    if not settings.mqtt.host or not settings.mqtt.publish:
        return []
    from monitor.outputs.mqtt import MqttOutput  # only where it is used: it takes a while to load

    folder = state_folder(settings.engine.state_dir) / "run"
    return [
        MqttOutput(bed=bed, bundles=[item.spec for item in bundles], settings=settings.mqtt, clock=clock, folder=folder)
        for bed, bundles in models.bundles.items()
    ]


def webhook_outputs(settings: Settings, clock: Clock) -> list[WebhookOutput]:
    """What sends each bed's alarms to the webhook; empty where none is configured."""
    if not settings.webhook.url:
        return []
    from monitor.outputs.webhook import WebhookOutput

    folder = state_folder(settings.engine.state_dir) / "run"
    return [WebhookOutput(bed=bed.name, settings=settings.webhook, folder=folder, clock=clock) for bed in settings.bed]


def metrics_outputs(settings: Settings, clock: Clock) -> list[MetricsOutput]:
    """What answers Prometheus; empty where no port is configured."""
    if not settings.metrics.port:
        return []
    from monitor.outputs.metrics import MetricsOutput

    version = importlib.metadata.version("pain-monitor")
    return [MetricsOutput(beds=settings.bed, settings=settings.metrics, clock=clock, version=version)]


def log_outputs(settings: Settings, models: Models, clock: Clock) -> list[JsonLogOutput]:
    """What writes the JSON log; empty where none is configured."""
    if not settings.jsonlog.path:
        return []
    from monitor.outputs.jsonlog import JsonLogOutput

    version = importlib.metadata.version("pain-monitor")
    return [JsonLogOutput(settings=settings, bundles=models.specs, clock=clock, version=version)]


def sound_outputs(settings: Settings, clock: Clock) -> list[SoundOutput]:
    """What sounds alarms on this machine; empty where that is not enabled."""
    if not settings.sound.enabled:
        return []
    from monitor.outputs.sound import SoundOutput

    return [SoundOutput(settings=settings.sound, clock=clock)]


def session_writers(*, state: Path, bundles: Mapping[str, Sequence[StoredBundle]]) -> WriterFactory:
    """Makes session databases under the state folder.

    Args:
        state: State folder.
        bundles: By bed, in order of preference.
    """

    def open_writer(start: SessionStart) -> Writer:
        bed = start.bed
        meta = SessionMeta(
            session=start.session,
            bed=bed.name,
            subject=bed.subject,
            created_utc=start.utc,
            clock_offset=start.utc - start.at,
            provenance=Provenance.LIVE,  # how it was recorded; each stream says what its signal is
            settings=bed,
            continues=start.continues,
        )
        path = session_path(state_dir=state, bed=bed.name, subject=bed.subject, utc=start.utc)
        return SessionWriter(path=path, meta=meta, bundles=bundles[bed.name])

    return open_writer
