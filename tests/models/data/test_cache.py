"""Sittings as memory maps: what is cached is what was read, and a changed file is read anew."""

from __future__ import annotations

import os
import pickle
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.data import cache as cache_module
from models.data.cache import Cache
from models.data.catalogue import open_data
from models.data.recorded import Channel, Oddity, Rating, Sitting, SittingFiles, Stretch, Track, Trial
from models.data.settings import DataSettings
from monitor.errors import SourceError
from tests.helpers.pain_data import AI4PAIN_SIGNALS, write_ai4pain, write_biovid, write_pmcd

EDA = Channel(name="eda", modality="EDA", unit="uS", rate_hz=4.0)
ECG = Channel(name="ecg", modality="ECG", unit="mV", rate_hz=100.0)


def sitting(value: float = 1.0) -> Sitting:
    """Two stretches: one with stamps and both signals, one with one signal only; and an empty track."""
    stamps = np.array([0.0, 0.25, 1.5])
    return Sitting(
        subject="S 1/x",
        session="2",
        part="train",
        classes=("no", "yes"),
        channels=(EDA, ECG),
        stretches=(
            Stretch(
                name="a",
                tracks={
                    "eda": Track(samples=np.array([value, np.nan, 3.0], dtype=np.float32), stamps=stamps),
                    "ecg": Track(samples=np.arange(5, dtype=np.float32), t_first=0.5),
                },
                start_s=2.0,
            ),
            Stretch(name="b", tracks={"ecg": Track(samples=np.empty(0, dtype=np.float32))}),
        ),
        trials=(Trial(name="t", label=1, seconds=0.5, facts={"temperature_degC": 44.5}), Trial(name="u", label=None)),
        ratings=(Rating(t=1.0, value=6.0),),
        oddities=(Oddity(level="note", code="x", where="y", what="z"),),
        facts={"first_stimulus_s": 1.0},
    )


def files(path: Path, read: Callable[[], Sitting] = sitting) -> SittingFiles:
    return SittingFiles(subject="S 1/x", session="2", part="train", files=(path,), read=read)


def counting(calls: list[int]) -> Callable[[], Sitting]:
    def read() -> Sitting:
        calls.append(1)
        return sitting()

    return read


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.csv"
    path.write_text("a")
    return path


def assert_same(a: Sitting, b: Sitting) -> None:
    for name in ("subject", "session", "part", "classes", "channels", "trials", "ratings", "oddities", "facts"):
        assert getattr(a, name) == getattr(b, name), name
    for mine, other in zip(a.stretches, b.stretches, strict=True):
        assert (mine.name, mine.start_s, set(mine.tracks)) == (other.name, other.start_s, set(other.tracks))
        for name, track in mine.tracks.items():
            np.testing.assert_array_equal(track.samples, other.tracks[name].samples)
            assert track.t_first == other.tracks[name].t_first
            assert (track.stamps is None) == (other.tracks[name].stamps is None)
            if track.stamps is not None:
                np.testing.assert_array_equal(track.stamps, other.tracks[name].stamps)


def test_everything_comes_back_the_first_and_the_second_time(tmp_path: Path, source: Path) -> None:
    calls: list[int] = []
    cache = Cache(tmp_path / "cache", {})
    for _ in range(2):
        assert_same(sitting(), cache.load(files(source, counting(calls))))
    assert len(calls) == 1
    samples = cache.load(files(source)).stretches[0].tracks["ecg"].samples
    assert isinstance(samples.base, np.memmap) or isinstance(samples, np.memmap)
    assert not samples.flags.writeable
    assert samples.dtype == np.float32


def test_the_digest_follows_the_samples_and_nothing_else(tmp_path: Path, source: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("another")
    third = tmp_path / "third.csv"
    third.write_text("x")
    cache = Cache(tmp_path / "cache", {})
    digests = [
        cache.load(files(path, lambda value=value: sitting(value))).digest  # type: ignore[misc]
        for path, value in ((source, 1.0), (other, 1.0), (third, 1.5))
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("change", ["size", "time", "options", "version", "gone"])
def test_whatever_changes_is_read_anew(
    tmp_path: Path, source: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    cache = Cache(tmp_path / "cache", {"units": {}})
    cache.load(files(source, counting(calls)))
    if change == "size":
        before = source.stat()
        source.write_text("ab")
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "time":
        os.utime(source, ns=(1, 1))
    elif change == "options":
        cache = Cache(tmp_path / "cache", {"units": {"ecg": "mV"}})
    elif change == "version":
        monkeypatch.setattr(cache_module, "LOADER_VERSION", cache_module.LOADER_VERSION + 1)
    else:
        source.unlink()
    cache.load(files(source, counting(calls)))
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["0.npy", "1.npy", "sitting.json", "0.stamps.npy"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, source: Path, name: str, damage: str) -> None:
    cache = Cache(tmp_path / "cache", {})
    cache.load(files(source))
    (path,) = (tmp_path / "cache").glob(f"*/{name}")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        path.unlink()
    assert_same(sitting(), cache.load(files(source)))


def test_a_failed_read_leaves_nothing_behind(tmp_path: Path, source: Path) -> None:
    def fail() -> Sitting:
        raise SourceError("damaged")

    cache = Cache(tmp_path / "cache", {})
    with pytest.raises(SourceError, match="damaged"):
        cache.load(files(source, fail))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_write_that_breaks_off_leaves_no_half(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache", {})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(SourceError, match="No space left"):
            cache.load(files(source))
    assert list((tmp_path / "cache").iterdir()) == []
    assert_same(sitting(), cache.load(files(source)))


def test_two_at_once_agree(tmp_path: Path, source: Path) -> None:
    cache = Cache(tmp_path / "cache", {})

    def slow() -> Sitting:
        cache.load(files(source))  # another process has read and written it in the meantime
        return sitting()

    assert_same(sitting(), cache.load(files(source, slow)))
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_only_the_user_may_read_the_copies(tmp_path: Path, source: Path) -> None:
    cache = Cache(tmp_path / "cache", {})
    cache.load(files(source))
    for folder in (tmp_path / "cache", *(tmp_path / "cache").iterdir()):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_cache_that_cannot_be_made_is_the_configurations_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="the cache cannot be made"):
        Cache(tmp_path / "file" / "cache", {})


@pytest.mark.parametrize("kind", ["biovid-a", "ai4pain-2026", "pmcd", "e4"])
def test_a_data_set_can_be_handed_to_another_process(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "data"
    if kind == "biovid-a":
        write_biovid(root, per_class=1, rows=10)
    elif kind == "ai4pain-2026":
        write_ai4pain(root, "train", "1", {"1_ARM_1": 20}, signals=AI4PAIN_SIGNALS)
    elif kind == "pmcd":
        write_pmcd(root, labels={}, seconds=1.0, run_up_s=1.0)
    else:
        (root / "anna").mkdir(parents=True)
        (root / "anna" / "EDA.csv").write_text("1700000000\n4\n1.0\n2.0\n")
    data = open_data(DataSettings(kind=kind, path=str(root), cache=str(tmp_path / "cache")))
    there = pickle.loads(pickle.dumps(data))
    assert [sitting.digest for sitting in there] == [sitting.digest for sitting in data]


def test_memory_is_that_of_one_subject_however_many_there_are(tmp_path: Path) -> None:
    """All of BioVid A is 87 subjects of 100 files: what one costs must not add up."""

    def peak(data_of: int, cache: str) -> int:
        settings = DataSettings(kind="biovid-a", path=str(root), cache=str(tmp_path / cache), subjects=names[:data_of])
        data = open_data(settings)
        tracemalloc.start()
        try:
            for sitting in data:
                assert sum(float(sitting.cut(trial)["ecg"].max()) for trial in sitting.trials) > 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    names = tuple(f"07130{n}_w_2{n}" for n in range(1, 6))
    root = write_biovid(tmp_path / "PartA", names, per_class=2, rows=600, index=False)
    one, five = peak(1, "one"), peak(5, "five")
    assert five < 1.5 * one
    assert peak(5, "five") < 0.5 * one, "from the cache nothing is parsed"
