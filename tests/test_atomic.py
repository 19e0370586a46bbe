"""Files and folders appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from multiscale import atomic
from multiscale.errors import OutputError


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_file_that_fails_half_way_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic.replace(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files(tmp_path) == {"a.txt": "old"}


def test_a_file_is_not_seen_before_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic.replace(path) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
        assert not path.exists()
    assert files(tmp_path) == {"a.txt": "new"}


@pytest.mark.parametrize(("target", "said"), [("missing/a.txt", "does not exist"), (".", "is a folder")])
def test_a_file_needs_a_place(tmp_path: Path, target: str, said: str) -> None:
    with pytest.raises(OutputError, match=said), atomic.replace(tmp_path / target):
        pass


def test_a_folder_appears_when_it_is_complete_with_the_folders_above_it(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "one"
    with atomic.folder(out) as temporary:
        (temporary / "a.txt").write_text("1")
        assert not out.parent.exists()
    assert files(tmp_path) == {"runs/one/a.txt": "1"}


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic.folder(tmp_path / "runs" / "one") as temporary:
        (temporary / "a.txt").write_text("1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"not empty; .*overwrite"), atomic.folder(tmp_path):
        pytest.fail("the block ran")
    assert files(tmp_path) == {"mine.txt": "mine"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with atomic.folder(out) as temporary:
        (temporary / "a.txt").write_text("1")
    assert files(tmp_path) == {"out/a.txt": "1"}


def test_overwriting_replaces_files_of_the_same_name_and_keeps_those_of_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    for name in ("a.txt", "mine.txt", "sub/b.txt", "sub/mine.txt"):
        (out / name).write_text("old")
    with atomic.folder(out, overwrite=True) as temporary:
        (temporary / "sub").mkdir()
        for name in ("a.txt", "sub/b.txt", "c.txt"):
            (temporary / name).write_text("new")
    expected = {"a.txt": "new", "mine.txt": "old", "sub/b.txt": "new", "sub/mine.txt": "old", "c.txt": "new"}
    assert files(out) == expected
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file"), atomic.folder(tmp_path / "out", overwrite=True):
        pass
