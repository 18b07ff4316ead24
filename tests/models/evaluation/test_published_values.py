"""Published values stand beside ours with what differs; none of the present ones is of the same protocol."""

from __future__ import annotations

import itertools

import pytest

from models.evaluation import published
from models.evaluation.published import PUBLISHED, Published, beside


def test_values_are_the_articles() -> None:
    loso = {item.method: item.value for item in PUBLISHED if (item.data, item.division) == ("biovid-a", "loso")}
    assert (loso["fcn-eda"], loso["fcn-ecg"], loso["crossmod"]) == pytest.approx((0.8005, 0.6227, 0.8752))
    assert all(0.5 < item.value < 1.0 for item in PUBLISHED)
    assert len({(i.method, i.data, i.division, i.classes, i.figure) for i in PUBLISHED}) == len(PUBLISHED)


def test_accuracies_of_biovid_are_possible_counts() -> None:
    """3,480 trials: what the article prints, truncated or rounded, is a whole number of them."""
    for item in PUBLISHED:
        if item.data == "biovid-a" and "CrossMod" in item.article:
            assert min(abs(k / 3480 - item.value) for k in range(3481)) <= 1.5e-4


def test_simulated_rows_are_never_the_same_protocol() -> None:
    found = beside("fcn-eda", "simulated patients", "live-segment", ("none", "moderate", "severe"))
    assert found is not None
    assert (found.data, found.division, found.value) == ("biovid-a", "loso", pytest.approx(0.8005))
    assert not found.same_protocol
    assert found.why.startswith("simulated")


def test_the_nearest_value_is_taken() -> None:
    three = ("none", "low", "high")
    ai4pain = beside("crossmod", "ai4pain-2025", "paper", three)
    biovid = beside("crossmod", "biovid-a", "paper", 2, division="k-fold")
    f1 = beside("crossmod", "ai4pain-2025", "paper", three, figure="macro_f1")
    assert ai4pain is not None
    assert biovid is not None
    assert f1 is not None
    assert [item.value for item in (ai4pain, biovid, f1)] == pytest.approx([0.7583, 0.8592, 0.7463])
    assert "searched on the evaluated people" in biovid.why
    assert beside("heart-rate", "biovid-a", "paper", 2) is None
    assert beside("crossmod", "biovid-a", "paper", 2, figure="qwk") is None


def test_what_is_impossible_is_no_target() -> None:
    five = beside("mscn-se", "biovid-a", "paper", 5)
    late = beside("painattnnet-late", "biovid-a", "paper", 2, division="loso")
    for item in (five, late):
        assert item is not None
        assert not item.target
        assert not item.same_protocol
        assert "no target" in item.why
        assert "trained on the tested people" in item.why
    plain = beside("mscn", "biovid-a", "paper", 2, division="loso")
    assert plain is not None
    assert plain.target
    assert all(not item.target for item in PUBLISHED if item.value > 0.95)


def test_every_reason_is_said() -> None:
    found = beside("crossmod-end-to-end", "pmed", "live-stream", 3, division="k-fold")
    assert found is not None
    for said in ("other data", "live-stream", "another way to train"):
        assert said in found.why


def test_a_clean_value_would_be_the_same_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = Published(
        method="new",
        article="x",
        data="biovid-a",
        division="loso",
        classes=2,
        figure="accuracy",
        value=0.8,
        signals="EDA",
    )
    monkeypatch.setattr(published, "PUBLISHED", (clean,))
    asked = itertools.product(("biovid-a", "pmed"), ("paper", "live-stream"), (2, 3), ("loso", "k-fold"))
    for data, protocol, classes, division in asked:
        found = beside("new", data, protocol, classes, division=division)
        assert found is not None
        assert found.same_protocol == ((data, protocol, classes, division) == ("biovid-a", "paper", 2, "loso"))
