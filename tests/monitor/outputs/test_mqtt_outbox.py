"""No alarm is lost while the broker is away, and none is invented when it comes back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.outputs.outbox import Letter, Outbox


def letter(condition: str, number: int) -> Letter:
    return Letter(condition=condition, payload=str(number).encode())


@given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "send", "reconnect"]))))
@settings(max_examples=100, deadline=None)
def test_every_transition_is_sent_in_order_and_the_last_word_is_the_newest(
    steps: list[tuple[str, str]],
) -> None:
    outbox = Outbox()
    put: list[Letter] = []
    sent: list[Letter] = []

    def send() -> None:
        while (first := outbox.first()) is not None:
            sent.append(first)
            outbox.confirm(first)

    for number, (condition, step) in enumerate(steps):
        if step == "put":
            put.append(letter(condition, number))
            outbox.put(put[-1])
        elif step == "send":
            send()
        else:
            outbox.repeat()
    send()
    assert list(dict.fromkeys(sent)) == put, "each in its order, repeated ones aside"
    for condition in "abc":
        of_it = [item for item in put if item.condition == condition]
        if of_it:
            assert [item for item in sent if item.condition == condition][-1] is of_it[-1]


def test_after_a_reconnect_the_newest_state_of_each_condition_is_sent_once_more() -> None:
    outbox = Outbox()
    items = [letter("a", 1), letter("b", 2), letter("b", 3), letter("c", 4)]
    for item in items:
        outbox.put(item)
    for item in items[:3]:
        outbox.confirm(item)
    outbox.repeat()
    waiting = []
    while (first := outbox.first()) is not None:
        waiting.append(first.payload)
        outbox.confirm(first)
    assert waiting == [b"4", b"1", b"3"]


def test_when_it_overflows_the_newest_of_each_condition_survives() -> None:
    outbox = Outbox(capacity=4)
    for number in range(100):
        outbox.put(letter("flapping", number))
        if number == 50:
            outbox.put(letter("steady", number))
    assert len(outbox) == 4
    assert outbox.given_up == 97
    left = []
    while (first := outbox.first()) is not None:
        left.append((first.condition, first.payload))
        outbox.confirm(first)
    assert ("steady", b"50") in left
    assert left[-1] == ("flapping", b"99")
