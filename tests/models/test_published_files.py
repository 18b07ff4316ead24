from __future__ import annotations

import argparse
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.published_files import WeightsFileError, read_file, read_state_dict

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def same(found: dict[str, Tensor]) -> bool:
    return list(found) == list(WEIGHTS) and all(torch.equal(found[key], WEIGHTS[key]) for key in WEIGHTS)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", None])
def test_all_layouts_are_read(key: str | None, prefix: str, tmp_path: Path) -> None:
    weights: dict[str, Any] = {prefix + name: value for name, value in WEIGHTS.items()}
    torch.save({"epoch": 3, "loss": 0.5, key: weights} if key else weights, tmp_path / "weights.pth")
    assert same(read_state_dict(tmp_path / "weights.pth"))


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def testtensors_alone_is_known_by_its_name_or_its_content(name: str, tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / name)
    found = read_state_dict(tmp_path / name)
    assert all(torch.equal(found[key], WEIGHTS[key]) for key in WEIGHTS)
    assert found.keys() == WEIGHTS.keys()


def test_older_files_of_torch_are_read(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "weights.pth", _use_new_zipfile_serialization=False)
    assert same(read_state_dict(tmp_path / "weights.pth"))


def test_a_name_that_only_some_have_is_not_taken_off(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "weights.pth")
    assert list(read_state_dict(tmp_path / "weights.pth")) == ["module.a", "b"]


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.mark}",))


def newer(content: Any, path: Path) -> None:
    torch.save(content, path)


def older(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def bare(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def oldest(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=0))


@pytest.mark.parametrize("write", [newer, older, bare, oldest])
def test_code_in_a_file_is_named_and_not_run(write: Callable[[Any, Path], None], tmp_path: Path) -> None:
    path, mark = tmp_path / "weights.pth", tmp_path / "mark"
    write({"state_dict": WEIGHTS, "extra": Payload(mark)} if write in (newer, older) else Payload(mark), path)
    with pytest.raises(WeightsFileError, match=r"asks for (posix|nt)\.system, which is code") as caught:
        read_state_dict(path)
    assert not mark.exists()
    assert "weights_only" not in str(caught.value)  # no advice to run it after all

    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists(), "the payload does nothing, so that this test shows nothing"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"state_dict": WEIGHTS, "args": argparse.Namespace(lr=0.1)}, "argparse.Namespace"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
def test_a_harmless_object_is_refused_by_its_name_too(content: Any, name: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(WeightsFileError, match=f"asks for {name}.*save its state_dict alone"):
        read_state_dict(tmp_path / "weights.pth")


def tensors_alone(content: Any, path: Path) -> None:
    save_file(content, path)


def saved(tmp_path: Path, write: Callable[[Any, Path], None]) -> bytes:
    write({"a": torch.zeros(5000)}, tmp_path / "whole.pth")
    return (tmp_path / "whole.pth").read_bytes()


@pytest.mark.parametrize("write", [newer, older, tensors_alone])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(write: Callable[[Any, Path], None], share: float, tmp_path: Path) -> None:
    whole = saved(tmp_path, write)
    path = tmp_path / "weights.pth"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsFileError, match=r"cannot be read as weights: .*download it again"):
        read_state_dict(path)


@pytest.mark.parametrize("write", [newer, older, tensors_alone])
def test_a_damaged_file_is_read_or_refused_and_nothing_else(write: Callable[[Any, Path], None], tmp_path: Path) -> None:
    whole = saved(tmp_path, write)
    path = tmp_path / "weights.pth"
    draw = random.Random(5)
    refused = 0
    for _ in range(250):
        damaged = bytearray(whole)
        # Where the structure is: the zeros of the tensor itself may be anything.
        places = [n for n, byte in enumerate(whole) if byte]
        for place in draw.choices(places, k=draw.randint(1, 4)):
            damaged[place] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_state_dict(path)
        except WeightsFileError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty; copy or download it again"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page.*download the file itself"),
        (b"\xef\xbb\xbf\n  <HTML>Not found</HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS.*git lfs pull"),
        (b"not weights", "no file of torch.save or safetensors"),
        (b"PK\x03\x04 cut short", "cut short or damaged"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{not json     }", "as safetensors it is damaged"),
        (bytes(range(256)), "cannot be read as weights"),
    ],
)
def test_what_is_no_file_of_weights_is_said_to_be_what_it_is(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(WeightsFileError, match=message) as caught:
        read_file(tmp_path / "weights.pth")
    assert "weights.pth" in str(caught.value)


def test_a_file_that_is_not_there_is_said_not_to_be(tmp_path: Path) -> None:
    with pytest.raises(WeightsFileError, match="No such file"):
        read_file(tmp_path / "weights.pth")
    with pytest.raises(WeightsFileError, match="directory"):
        read_file(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "no weights by name but a list"),
        ({}, "no weights are nothing"),
        ({"state_dict": {}}, "no weights are nothing"),
        ({"epoch": 3, "net": WEIGHTS}, "neither under state_dict.*no weights are epoch, net"),
        ({"state_dict": {"a": torch.ones(1), "b": 3}}, "no weights are b"),
        ({"state_dict": WEIGHTS, "model": WEIGHTS}, "under state_dict and model"),
        ({3: torch.ones(1)}, "no weights are 3"),
    ],
)
def test_other_layouts_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(WeightsFileError, match=message):
        read_state_dict(tmp_path / "weights.pth")
