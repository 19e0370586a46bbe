"""Saved models hold no code: nothing in the package can read any, and a file that has some is refused."""

from __future__ import annotations

import ast
import hashlib
import json
import pickle
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from multiscale.errors import FormatError
from multiscale.formats import weights

PACKAGE = Path(weights.__file__).parents[1]
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"torch.load", "torch.save", "pd.read_pickle", "to_pickle", "np.load", "eval", "exec"}


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    weights.save(tmp_path / "model", {"theta": np.array([[0.5]])}, {"seed": 1})
    return tmp_path / "model"


def forbidden(source: str) -> Iterator[str]:
    """Imports and calls in a source that could run code out of a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            plain = name == "np.load" and "allow_pickle=False" in map(ast.unparse, node.keywords)
            if (name in FORBIDDEN_CALLS and not plain) or name.endswith(".to_pickle"):
                yield name


def test_nothing_in_the_package_can_read_a_pickle() -> None:
    found = {path.name: list(forbidden(path.read_text(encoding="utf-8"))) for path in PACKAGE.rglob("*.py")}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import load", "torch.load('x')", "t.to_pickle('x')", "np.load('x')"],
)
def test_the_search_for_pickles_finds_them(source: str) -> None:
    assert list(forbidden(source))


@pytest.mark.parametrize("consistent", [False, True])
def test_a_pickle_in_place_of_the_weights_is_refused_and_not_run(
    folder: Path, tmp_path: Path, consistent: bool
) -> None:
    content = pickle.dumps(Bomb(tmp_path / "ran"))
    (folder / weights.ARRAYS).write_bytes(content)
    if consistent:  # whoever replaced the weights can replace their digest too
        meta = json.loads((folder / weights.DOCUMENT).read_text())
        meta["sha256"] = {weights.ARRAYS: hashlib.sha256(content).hexdigest()}
        (folder / weights.DOCUMENT).write_text(json.dumps(meta))
    with pytest.raises(FormatError, match="not a safetensors file" if consistent else "differs from what"):
        weights.load(folder)
    assert not (tmp_path / "ran").exists()
    pickle.loads(content)
    assert (tmp_path / "ran").exists()  # the bomb does go off where pickles are read


def test_a_description_without_digest_is_refused(folder: Path) -> None:
    (folder / weights.DOCUMENT).write_text('{"format_version": 1}')
    with pytest.raises(FormatError, match="describes no saved model"):
        weights.load(folder)


def test_weights_have_the_permissions_of_the_other_files(folder: Path) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert len(modes) == 1
    assert load_file(folder / weights.ARRAYS)["theta"].tolist() == [[0.5]]
