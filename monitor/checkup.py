"""Everything about a configuration that can be found wrong before a single sample arrives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from monitor.admission import PACKET_MARGIN_S
from monitor.bundle import BundleSpec
from monitor.bundle_folder import Bundle, load_bundle
from monitor.config import BedSettings, MqttSettings, Settings, StreamSettings, load_settings
from monitor.errors import BundleError, ConfigError, EngineError, Problem, SourceError
from monitor.modality import many_channels, parse_modality
from monitor.sources.transfer import transfer_of
from monitor.sources.units import canonical_unit, convert, known_units


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """A configuration in which nothing is wrong, and what it amounts to."""

    settings: Settings
    notes: tuple[str, ...]
    """One sentence for each thing that was looked at."""


def check_config(path: Path) -> Checkup:
    """Check a configuration with all that it refers to on this machine; looks at no network.

    Args:
        path: The file.

    Raises:
        ConfigError: With every problem at once, those of bundles, units and the LSL library included.
    """
    settings = load_settings(path)
    notes: list[str] = []
    problems = _places(settings)
    try:
        from monitor.sources.liblsl import pylsl
    except SourceError as error:
        problems.append(Problem("(system)", error.what, error.todo))
    else:
        notes.append(f"LSL library {pylsl.library_version() // 100}.{pylsl.library_version() % 100} is here")
    for number, bed in enumerate(settings.bed):
        key = f"bed[{number}]"
        bundles, wrong = _bundles(bed, key)
        problems += wrong
        problems += unusable(bed, [bundle.spec for bundle in bundles], key)
        notes += [_bundle_note(bed, bundle.spec) for bundle in bundles]
        notes += [_stream_note(bed, stream) for stream in bed.stream]
        notes.append(
            f"bed {bed.name}: whether a hop of {bed.hop_s:g} s leaves time for its models is measured at start"
        )
    if settings.mqtt.host:
        from monitor.sources.broker import password, tls_context

        try:
            tls_context(settings.mqtt)
            password(settings.mqtt)
        except SourceError as error:
            problems.append(Problem("mqtt", str(error)))
        notes.append(_broker_note(settings.mqtt))
    if settings.link.listen:
        from monitor.link import RemoteDoor

        try:
            names = [client.name for client in RemoteDoor(settings.link).clients().values()]
        except EngineError as error:
            problems.append(Problem("link", str(error)))
        else:
            who = ", ".join(names) or "NOBODY yet"
            notes.append(f"other machines reach the engine at {settings.link.listen} with the keys of: {who}")
    if settings.sound.enabled:
        from monitor.outputs.sound_players import DevicePlayer, SoundError

        player = DevicePlayer(settings.sound.device)
        try:
            player.open()
            notes.append("alarms are heard on this machine; try `pain-monitor sound-test`")
        except SoundError as error:
            notes.append(f"audio off: {error}; alarms are shown and sent, and not heard")
        finally:
            player.close()
    if settings.webhook.url:
        from monitor.outputs.webhook import webhook_key, webhook_tls

        for look in (webhook_key, webhook_tls):
            try:
                look(settings.webhook)
            except ConfigError as error:
                problems += error.problems
        notes.append("alarms are sent to the webhook; that its receiver answers is found at the first one")
    if problems:
        raise ConfigError(where=str(path), problems=problems)
    return Checkup(settings=settings, notes=tuple(notes))


def _places(settings: Settings) -> list[Problem]:
    """Where nothing can ever be written; whether the daemon's user may write there, only that user can tell."""
    problems = []
    places = {
        "engine.state_dir": Path(settings.engine.state_dir).expanduser() if settings.engine.state_dir else None,
        "jsonlog.path": Path(settings.jsonlog.path).expanduser() if settings.jsonlog.path else None,
    }
    for key, place in places.items():
        if place is None:
            continue
        folder = place if key == "engine.state_dir" else place.parent
        try:
            if folder is not place and place.is_dir():
                problems.append(Problem(key, f"{place} is a folder", f"name a file in it: {place / 'events.jsonl'}"))
                continue
            above = next((each for each in (folder, *folder.parents) if each.exists()), folder)
            if above.exists() and not above.is_dir():
                problems.append(Problem(key, f"{above} is a file, and should be a folder", "choose another place"))
        except OSError:  # a folder that this user may not look into; the daemon says what it finds there
            continue
    return problems


def unusable(bed: BedSettings, bundles: list[BundleSpec], key: str) -> list[Problem]:
    """Streams that can never serve what they are meant for, and bundles that can never score.

    Args:
        bed: The bed.
        bundles: Its bundles.
        key: Where the bed stands in the file, e.g. `bed[0]`.
    """
    problems = []
    if not bed.stream:
        problems.append(Problem(key, "the bed has no stream", "add a [[bed.stream]]; see `pain-monitor streams`"))
    for position, stream in enumerate(bed.stream):
        problems += _stream_problems(stream, bundles, f"{key}.stream[{position}]")
        problems += _lateness_problems(stream, bed, bundles, f"{key}.allowed_lateness_s")
    stated = {parse_modality(stream.modality) for stream in bed.stream if stream.modality is not None}
    complete = all(stream.modality is not None for stream in bed.stream)
    for spec in bundles:
        missing = dict.fromkeys(item.modality for item in spec.inputs if item.modality not in stated)
        if bed.stream and complete and missing:
            what = f"{spec.name} needs {' and '.join(missing)}, which no stream of the bed brings"
            problems.append(Problem(f"{key}.bundles", what, "add the stream, or choose another bundle"))
    return problems


def _bundles(bed: BedSettings, key: str) -> tuple[list[Bundle], list[Problem]]:
    bundles: list[Bundle] = []
    problems: list[Problem] = []
    for position, name in enumerate(bed.bundles):
        try:
            bundles.append(load_bundle(name))
        except BundleError as error:
            problems.append(Problem(f"{key}.bundles[{position}]", f"{error.where}: {error.what}", error.todo))
    return bundles, problems


def _stream_problems(stream: StreamSettings, bundles: list[BundleSpec], key: str) -> list[Problem]:
    problems = []
    modality = parse_modality(stream.modality) if stream.modality is not None else None
    if stream.unit is not None and not many_channels(modality):
        unit = canonical_unit(stream.unit)
        if unit is None:
            problems.append(Problem(f"{key}.unit", f"there is no unit '{stream.unit}'", f"one of {known_units()}"))
        elif modality is not None and stream.gain is None and stream.transfer is None:
            answer = convert(unit, modality)
            if isinstance(answer, str):
                problems.append(Problem(f"{key}.unit", answer))
    if (
        stream.transfer is not None
        and modality is not None
        and transfer_of(stream.transfer, modality, bits=stream.bits) is None
    ):
        problems.append(Problem(f"{key}.transfer", f"{stream.transfer} has no transfer function for {modality}"))
    for spec in bundles:
        for item in spec.inputs:
            if item.modality == modality and isinstance(stream.rate_hz, float) and stream.rate_hz < item.min_rate_hz:
                what = f"{stream.rate_hz:g} Hz is too low for {spec.name}"
                problems.append(Problem(f"{key}.rate_hz", what, f"{item.min_rate_hz:g} Hz or more for {modality}"))
    return problems


def _lateness_problems(stream: StreamSettings, bed: BedSettings, bundles: list[BundleSpec], key: str) -> list[Problem]:
    """A stream whose samples are further apart than a window waits can never serve it."""
    if stream.modality is None or not isinstance(stream.rate_hz, float):
        return []
    modality = parse_modality(stream.modality)
    needed = 1.0 / stream.rate_hz + PACKET_MARGIN_S
    if needed <= bed.allowed_lateness_s or all(i.modality != modality for spec in bundles for i in spec.inputs):
        return []
    what = f"{bed.allowed_lateness_s:g} s is too short for {modality} at {stream.rate_hz:g} Hz"
    return [Problem(key, what, f"{needed:g} or more")]


def _bundle_note(bed: BedSettings, spec: BundleSpec) -> str:
    return f"bed {bed.name}: bundle {spec.name} {spec.version} is whole (trained on {spec.training.data})"


def _broker_note(mqtt: MqttSettings) -> str:
    secured = "over TLS" if mqtt.tls else "WITHOUT ENCRYPTION"
    user = f"user '{mqtt.user}'" if mqtt.user else "no user name"
    says = "publishes scores and alarms" if mqtt.publish else "publishes nothing"
    return f"MQTT broker {mqtt.host}:{mqtt.port} {secured}, with {user}; the monitor {says} there"


def _stream_note(bed: BedSettings, stream: StreamSettings) -> str:
    if stream.source == "mqtt":
        unit = stream.unit or "the unit that it states"
        device = f"device '{stream.device}'" if stream.device else "the one device that sends it"
        return f"bed {bed.name}: {stream.modality} over MQTT from {device}, in {unit}"
    parts = {"name": stream.name, "type": stream.type, "source_id": stream.source_id}
    found = ", ".join(f"{key} '{value}'" for key, value in parts.items() if value is not None)
    modality = stream.modality or "the modality that its name tells"
    if many_channels(stream.modality and parse_modality(stream.modality)):
        return f"bed {bed.name}: {modality} from all channels of the LSL stream with {found}, as they come"
    unit = stream.unit or "the unit that it states"
    return f"bed {bed.name}: {modality} from the LSL stream with {found}, in {unit}"
