"""Every problem of a configuration is found at once, under its key; the shipped example has every key and default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from monitor.config import (
    AlarmSettings,
    BedSettings,
    EngineSettings,
    JsonLogSettings,
    LinkSettings,
    LogSettings,
    LslSettings,
    MetricsSettings,
    MqttSettings,
    Settings,
    SoundSettings,
    StreamSettings,
    WebhookSettings,
    load_settings,
)
from monitor.errors import ConfigError

TABLES: dict[str, type[BaseModel]] = {
    "engine": EngineSettings,
    "lsl": LslSettings,
    "mqtt": MqttSettings,
    "webhook": WebhookSettings,
    "metrics": MetricsSettings,
    "jsonlog": JsonLogSettings,
    "sound": SoundSettings,
    "link": LinkSettings,
    "log": LogSettings,
    "bed": BedSettings,
    "bed.alarm": AlarmSettings,
    "bed.stream": StreamSettings,
}
EXAMPLES = {("bed.stream", "name"), ("bed.stream", "modality")}  # set, since a stream without them is none
NESTED = {("bed", "alarm"), ("bed", "stream")}


def problems(tmp_path: Path, text: str) -> dict[str, str]:
    """Key -> message of everything wrong with `text`."""
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert caught.value.exit_code == 3
    for problem in caught.value.problems:
        assert str(problem) in str(caught.value)
    assert len({problem.key + problem.what for problem in caught.value.problems}) == len(caught.value.problems)
    return {problem.key: str(problem) for problem in caught.value.problems}


def test_the_example_has_every_key_with_its_default(repository: Path) -> None:
    written: dict[tuple[str, str], str] = {}
    table = ""
    for line in (repository / "config.toml").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[\[?([a-z.]+)\]?\]", line):
            table = match[1]
        elif match := re.fullmatch(r"(# )?([a-z_]+) = (.+)", line):
            written.setdefault((table, match[2]), ("#" if match[1] else "") + match[3])
    expected = {(table, key) for table, model in TABLES.items() for key in model.model_fields} - NESTED
    assert set(written) == expected
    for (table, key), text in written.items():
        default = TABLES[table].model_fields[key].default
        if default is None:
            assert text.startswith("#") or (table, key) in EXAMPLES, f"{table}.{key} has no default: comment it out"
        else:
            value = tomllib.loads(f"x = {text}")["x"]
            assert (tuple(value) if isinstance(value, list) else value) == default, f"{table}.{key}"
            assert type(value) is type(default) or isinstance(value, list)


def test_every_key_is_documented() -> None:
    for model in (Settings, *TABLES.values()):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


def test_the_example_and_the_shipped_configs_load(repository: Path) -> None:
    loaded = load_settings(repository / "config.toml")
    assert loaded == Settings(
        bed=(
            BedSettings(
                stream=(
                    StreamSettings(name="Synthetic EDA", modality="EDA"),
                    StreamSettings(name="Synthetic ECG", modality="ECG"),
                )
            ),
        )
    )
    for path in sorted((repository / "tests" / "configs").glob("*.toml")):
        assert load_settings(path).bed


def test_all_problems_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """
        [engine]
        recrod = true
        queue_chunks = 3
        [lsl]
        buffer_s = "30"
        [bogus]
        [[bed]]
        name = "bed 1"
        hop_s = 0.3
        [bed.alarm]
        severe_on = 45
        severe_off = 45
        [[bed.stream]]
        name = "a"
        modality = "EEG"
        rate_hz = "fast"
        [[bed.stream]]
        source_id = "b"
        channel = 1.5
        unti = "uS"
        gain = nan
        [[bed]]
        name = "two"
        timestamps = "device"
        """,
    )
    assert set(found) == {
        "engine.recrod",
        "engine.queue_chunks",
        "lsl.buffer_s",
        "bogus",
        "bed[0].name",
        "bed[0].hop_s",
        "bed[0].alarm.severe_off",
        "bed[0].alarm.severe_on",
        "bed[0].stream[0].modality",
        "bed[0].stream[0].rate_hz",
        "bed[0].stream[1].channel",
        "bed[0].stream[1].unti",
        "bed[0].stream[1].gain",
        "bed[1].timestamps",
    }
    assert "did you mean 'record'?" in found["engine.recrod"]
    assert "did you mean 'unit'?" in found["bed[0].stream[1].unti"]
    assert "one of engine, lsl, mqtt, webhook, metrics, jsonlog, " in found["bogus"]
    assert "16" in found["engine.queue_chunks"]
    assert "'30'" in found["lsl.buffer_s"]
    assert "'measured'" in found["bed[0].stream[0].rate_hz"]
    assert "ECG, EDA" in found["bed[0].stream[0].modality"]


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("", "bed", "no bed"),
        ("[[bed]]\n[[bed]]\n", "bed[1].name", "already"),
        ("[[bed]]\nbed_s = 1\n", "bed[0].bed_s", "no such key"),
        ("[[bed]]\n[bed.alarm]\nmoderate_off = 50\n", "bed[0].alarm.moderate_off", "not below moderate_on"),
        ("[[bed]]\n[bed.alarm]\nsevere_off = 90\n", "bed[0].alarm.severe_off", "not below severe_on"),
        ("[[bed]]\n[bed.alarm]\nmoderate_on = 80\n", "bed[0].alarm.severe_on", "below moderate_on"),
        ("[[bed]]\nbuffer_s = 30\nallowed_lateness_s = 25\n", "bed[0].buffer_s", "allowed_lateness_s"),
        ("[[bed]]\nallowed_lateness_s = -1\n", "bed[0].allowed_lateness_s", "greater than or equal to 0"),
        ("[[bed]]\nbundles = []\n", "bed[0].bundles", "at least 1"),
        ('[[bed]]\nbundles = ["a", "a"]\n', "bed[0].bundles", "twice"),
        ("[[bed]]\n[[bed.stream]]\n", "bed[0].stream[0]", "which stream"),
        (
            '[[bed]]\n[[bed.stream]]\nname = "a"\nmodality = "ECG"\n[[bed.stream]]\nname = "b"\nmodality = "ecg"\n',
            "bed[0].stream[1].modality",
            "stream[0] is the bed's ECG already",
        ),
        ('[[bed]]\n[[bed.stream]]\nname = "a"\noffset = 1.0\n', "bed[0].stream[0].offset", "no gain"),
        ('[[bed]]\n[[bed.stream]]\nname = "a"\ngain = 0\n', "bed[0].stream[0].gain", "the same"),
        ('[[bed]]\n[[bed.stream]]\nname = "a"\nbits = 10\n', "bed[0].stream[0].bits", "transfer"),
        ('[[bed]]\n[[bed.stream]]\nname = "a"\nrate_hz = -4\n', "bed[0].stream[0].rate_hz", "no rate"),
        ('[[bed]]\n[[bed.stream]]\nname = "a"\nchannel = -1\n', "bed[0].stream[0].channel", "first one is 0"),
        (
            '[[bed]]\n[[bed.stream]]\nname = "a"\ngain = 2\ntransfer = "bitalino_rev"\n',
            "bed[0].stream[0].transfer",
            "one or the other",
        ),
        ("bed = 3\n", "bed", "it is 3"),
        ('[bed]\nname = "a"\n[bed.alarm]\nfreeze_s = 5\n', "bed", "(write [[bed]], with two brackets)"),
        ('[[bed]]\nbundles = "a"\n', "bed[0].bundles", "should be a list in square brackets (it is 'a')"),
        ("[engine]\nhop_s = 1.0\n[[bed]]\n", "engine.hop_s", "it belongs under [[bed]]"),
        ("[metrics]\nenabled = true\n[[bed]]\n", "metrics.enabled", "it belongs under [sound]; known here: port"),
        ("[alarm]\n[[bed]]\n", "alarm", "it is called [bed.alarm]"),
        ('[[bed]]\n[bed.alarm]\nsubject = "P-1"\n', "bed[0].alarm.subject", "it belongs under [[bed]]"),
        # What follows from a mistake is not told as another one.
        ('[[beds]]\nname = "a"\n', "beds", "did you mean 'bed'?"),
        (
            '[mqqt]\nhost = "b"\n[[bed]]\n[[bed.stream]]\nsource = "mqtt"\nmodality = "ECG"\n',
            "mqqt",
            "did you mean 'mqtt'?",
        ),
        (
            '[mqtt]\nhost = "mqtt://b"\n[[bed]]\n[[bed.stream]]\nsource = "mqtt"\nmodality = "ECG"\n',
            "mqtt.host",
            "is not allowed",
        ),
        ("[[bed]]\n[bed.alarm]\nmoderat_on = 80\nmoderate_off = 60\n", "bed[0].alarm.moderat_on", "'moderate_on'?"),
        ('[engine]\ndevice = "gpu"\n[[bed]]\n', "engine.device", "'cpu', 'cuda' or 'auto'"),
        ("[[bed]\nname = 1\n", "(syntax)", "line 1"),
        ("[engine]\n\nrecord = yes\n", "(syntax)", "line 3"),
    ],
)
def test_one_problem(tmp_path: Path, text: str, key: str, says: str) -> None:
    found = problems(tmp_path, text)
    assert set(found) == {key}
    assert says in found[key]


def test_a_default_that_stands_in_is_not_blamed(tmp_path: Path) -> None:
    text = '[[bed]]\n[bed.alarm]\nmoderate_on = "high"\nmoderate_off = 60\n'  # 60 would be above the default of 50
    assert set(problems(tmp_path, text)) == {"bed[0].alarm.moderate_on"}


TWO_BEDS = """
[[bed]]
name = "a"
[[bed.stream]]
name = "ECG"
{first}
[[bed]]
name = "b"
[[bed.stream]]
name = "ECG"
{second}
"""


def test_a_signal_belongs_to_one_patient(tmp_path: Path) -> None:
    found = problems(tmp_path, TWO_BEDS.format(first="", second=""))
    assert set(found) == {"bed[1].stream[0]"}
    assert "bed[0].stream[0] is the very same stream" in found["bed[1].stream[0]"]
    for apart in ('source_id = "amplifier-2"', "channel = 1"):
        (tmp_path / "two.toml").write_text(TWO_BEDS.format(first="", second=apart))
        assert len(load_settings(tmp_path / "two.toml").bed) == 2


def test_nobody_is_led_to_write_a_secret_here(tmp_path: Path) -> None:
    """The nearest key to `password` is the one that names a variable; a key's value is never repeated."""
    found = problems(
        tmp_path, '[mqtt]\npassword = "hunter2"\n[webhook]\nkey = "hunter3"\n[link]\nsecret = "4"\n[[bed]]\n'
    )
    assert set(found) == {"mqtt.password", "webhook.key", "link.secret"}
    assert "the file's name into password_file" in found["mqtt.password"]
    for key in ("webhook.key", "link.secret"):
        assert "the file's name into key_file" in found[key]
    assert "hunter" not in str(found)


def test_a_long_value_is_not_repeated_whole(tmp_path: Path) -> None:
    found = problems(tmp_path, f"[engine]\nrecord = {list(range(1000))}\n[[bed]]\n")
    assert len(found["engine.record"]) < 150


def test_the_mark_that_some_editors_begin_a_file_with(tmp_path: Path) -> None:
    (tmp_path / "windows.toml").write_bytes(b'\xef\xbb\xbf[[bed]]\r\nname = "a"\r\n')
    assert load_settings(tmp_path / "windows.toml").bed[0].name == "a"


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# a\n# \xe9\n")
    with pytest.raises(ConfigError, match=r"line 2 is not UTF-8 \(save it as UTF-8\)"):
        load_settings(tmp_path / "latin.toml")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.sampled_from(sorted(TABLES)),
    data=st.data(),
    value=st.sampled_from(['"text"', "-1e9", "[1, 2]", "{ a = 1 }", "true", "1979-05-27", "inf"]),
)
def test_any_value_is_taken_or_named(tmp_path: Path, table: str, data: st.DataObject, value: str) -> None:
    """Whatever stands behind a key, the answer is settings or a ConfigError that names that key or its table."""
    key = data.draw(st.sampled_from([name for name in TABLES[table].model_fields if (table, name) not in NESTED]))
    head = "[[bed]]\n" if table.startswith("bed") else "[[bed]]\n" + f"[{table}]\n"
    if table == "bed.alarm":
        head += "[bed.alarm]\n"
    if table == "bed.stream":
        head += "[[bed.stream]]\n" + ('name = "a"\n' if key != "name" else "")
    path = tmp_path / "any.toml"
    path.write_text(f"{head}{key} = {value}\n", encoding="utf-8")
    try:
        loaded = load_settings(path)
    except ConfigError as error:
        blamed = [problem.key for problem in error.problems]
    else:
        assert isinstance(loaded, Settings)
        return
    assert all(table.split(".")[-1] in name and (key in name or table == "bed.alarm") for name in blamed), blamed
