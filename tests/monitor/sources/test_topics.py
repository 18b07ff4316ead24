"""What comes in a topic's place is a name or nothing: no wildcard, separator, control character or other level."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from monitor.config import BedSettings, MqttSettings, StreamSettings
from monitor.sources.topics import bed_topic, signal_of, user_of

HOSTILE = ["a/b", "+", "#", "a+", "../a", "a b", "a\n", "a\x00", "é", "a\u202e"]
NO_NAMES = ["", "-a", "a" * 65]


@pytest.mark.parametrize("name", HOSTILE + NO_NAMES)
def test_hostile_names_are_no_devices_users_or_beds_of_a_topic(name: str) -> None:
    assert user_of(bed_topic("bed1", "command", name), "bed1") is None
    assert signal_of(bed_topic("bed1", "signal", name, "EDA")) is None
    if name != "-a":  # a bed may begin so
        assert signal_of(bed_topic(name, "signal", "wrist", "EDA")) is None
    with pytest.raises(ValidationError):
        StreamSettings(source="mqtt", modality="EDA", device=name)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_no_beds_users_or_hosts_of_a_configuration(name: str) -> None:
    with pytest.raises(ValidationError):
        BedSettings(name=name)
    with pytest.raises(ValidationError):
        MqttSettings(host="x", user=name)
    with pytest.raises(ValidationError):
        MqttSettings(host=name)


@given(text=st.one_of(st.text(max_size=80), st.from_regex(r"[A-Za-z0-9_.@:/+#-]{1,70}")))
def test_whatever_is_taken_is_safe_to_write_and_to_send(text: str) -> None:
    user = user_of(f"pain/v1/bed1/command/{text}", "bed1")
    if user is not None:
        assert user == text
        assert user.isascii()
        assert user.isprintable()
        assert not set(user) & set("/+#$ ")
        assert bed_topic("bed1", "reply", user).count("/") == 4
