from __future__ import annotations

import re
from pathlib import Path

import pytest

from multiscale.data import read_table
from multiscale.errors import DataError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_keep_their_line_numbers_and_cells_their_text(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tsv", "name\tvalue\n\nA\t007\n\t\nNA\t1e-3\n")
    table = read_table(file)
    assert table.index.tolist() == [3, 5]
    assert table.index.name == "line"
    assert table["value"].tolist() == ["007", "1e-3"]
    assert table["name"].tolist() == ["A", "NA"]


def test_tab_and_comma_separated_files_agree(tmp_path: Path) -> None:
    tsv = write(tmp_path / "a.tsv", "name\tnote\nA\tone, two\n")
    csv = write(tmp_path / "a.csv", '\ufeffname,note\nA,"one, two"\n')
    assert read_table(tsv).equals(read_table(csv))


def test_lines_are_counted_across_cells_of_several_lines(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", 'name,note\nA,"one\ntwo"\nB,three\n'))
    assert table.index.tolist() == [3, 4]
    assert table["note"].tolist() == ["one\ntwo", "three"]


def test_missing_cells_at_the_end_of_a_line_are_blank(tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "a.tsv", "name\tnote\nA\n"))["note"].tolist() == [""]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "", "is empty; it needs a header line"),
        ("a.tsv", "name\tname\nA\tB\n", "a.tsv, line 1: column `name` occurs twice"),
        ("a.tsv", "name\t\nA\tB\n", "a.tsv, line 1: column 2 has no name"),
        ("a.tsv", "name\nA\nB\tC\n", "a.tsv, line 3: 2 cells, but the header has 1 columns"),
        ("a.xlsx", "name\nA\n", "must end in .tsv, .tab, .txt, .csv; got `.xlsx`"),
    ],
)
def test_malformed_tables_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read_table(write(tmp_path / name, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape("none.tsv` is not a file")):
        read_table(tmp_path / "none.tsv")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_bytes("name\nKälte\n".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_table(file)
