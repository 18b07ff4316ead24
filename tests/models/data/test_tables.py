"""Delimited text: exact about form, and every complaint names file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.data import tables
from models.data.tables import read_names, read_table
from monitor.errors import SourceError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    return path


def test_numbers_come_as_written_in_the_order_asked_for(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a\tb\tc\n1\t2.5\t-3e2\n4\t\tnan\n"), ["c", "a"], delimiter="\t")
    assert list(table.columns) == ["c", "a"]
    np.testing.assert_array_equal(table.columns["a"], [1, 4])
    np.testing.assert_array_equal(table.columns["c"], [-300, np.nan])
    assert (table.rows, table.whole, table.names) == (2, True, ("a", "b", "c"))


def test_decimal_commas_and_windows_line_ends(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "\ufeffa; b\r\n1,5;-2,25\r\n;0,004\r\n"), delimiter=";", decimal_comma=True)
    np.testing.assert_array_equal(table.columns["a"], [1.5, np.nan])
    np.testing.assert_array_equal(table.columns["b"], [-2.25, 0.004])


def test_without_the_word_on_commas_a_comma_is_no_decimal_sign(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'1,5' in column 'a' is no number"):
        read_table(written(tmp_path, "a;b\n1,5;2\n"), delimiter=";")


def test_damage_is_told_in_letters_that_a_terminal_can_show(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        read_table(written(tmp_path, f"a\x1b[2J;b\n1;\x00\x07{'x' * 500}\n"), delimiter=";")
    assert str(caught.value).isprintable()
    assert len(caught.value.what) < 120


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{i};{i / 7:.5f}" for i in range(100)]
    path = written(tmp_path, "a;b\n" + "\n".join(rows) + "\n")
    whole = read_table(path, delimiter=";")
    monkeypatch.setattr(tables, "_BLOCK", 17)
    pieces = read_table(path, delimiter=";")
    for name in ("a", "b"):
        np.testing.assert_array_equal(whole.columns[name], pieces.columns[name])
    assert pieces.rows == 100


@pytest.mark.parametrize("block", [1 << 22, 9])
@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a,b\n1,2\n3\n5,6\n", 3, "1 cells instead of 2"),
        ("a,b\n1,2\n3,4,5\n", 3, "3 cells instead of 2"),
        ("a,b\n1,2\n\n5,6\n", 3, "1 cells instead of 2"),
        ("a,b\n1,2\n3,4\n5,x6\n", 4, "'x6' in column 'b' is no number"),
        ("a,c\n1,2\n", 1, "there is no column 'b'"),
        ("b,b\n1,2\n", 1, "column 'b' is there 2 times"),
    ],
)
def test_damage_is_found_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int, what: str, block: int
) -> None:
    monkeypatch.setattr(tables, "_BLOCK", block)
    path = written(tmp_path, text)
    with pytest.raises(SourceError, match=what) as caught:
        read_table(path, ["b"], delimiter=",")
    assert caught.value.where == f"{path}, line {line}"


def test_a_last_line_without_its_end_is_read_and_said(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a,b\n1,2\n3,4"), delimiter=",")
    np.testing.assert_array_equal(table.columns["b"], [2, 4])
    assert not table.whole


@pytest.mark.parametrize("text", ["", "\n", "a,b\n", "a,b\n\n\n"])
def test_nothing_to_read(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceError, match=r"is empty|holds no row"):
        read_table(written(tmp_path, text), delimiter=",")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read") as caught:
        read_names(tmp_path / "none.csv", delimiter=",")
    assert caught.value.where == str(tmp_path / "none.csv")
