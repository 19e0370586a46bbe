"""The order of the rooms, what is content and what is code, and what an import loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from petab_problems import write_1

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "multiscale"

# A room imports only rooms before it in this list (and files of its own room).
ROOMS = [
    *("version", "units", "errors", "content", "atomic", "config"),
    *(
        "equations",
        "graph",
        "physics",
        "passing",
        "solver",
        "assays",
        "data",
        "encoders",
        "model",
        "formats",
        "report",
        "fit",
        "runs",
    ),
    "cli",
]
FILES = sorted(PACKAGE.rglob("*.py"))
TOP = [PACKAGE / "__init__.py", PACKAGE / "__main__.py"]  # see every room
IMPORTED_AS = {  # where the names differ
    "lightning-fabric": "lightning_fabric",
    "python-libsbml": "libsbml",
    "pyyaml": "yaml",
}
GENERIC = {"speed", "conformance"}  # folders of experiments/ whose names are plain words
HEAVY = [
    "torch",
    "torch_geometric",
    "scanpy",
    "anndata",
    "matplotlib",
    "pandas",
    "scipy",
    "networkx",
    "ndex2",
    "numba",
    "libsbml",
]


def room(file: Path) -> str:
    """Name of the room that a file lies in."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(file: Path) -> Iterator[tuple[int, str]]:
    """Line and room of every import of the package in a file, wherever it stands."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = (
                [f"multiscale.{room(file)}"]
                if node.level == 1 and file.parent != PACKAGE
                else ["multiscale.?"]
            )
        for name in names:
            package, *rest = name.split(".")
            if package == "multiscale" and rest:
                yield getattr(node, "lineno", 0), rest[0]


def loaded_by(code: str) -> list[str]:
    """Heavy modules that a program loads."""
    code += f"\nimport sys; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return ast.literal_eval(run.stdout.splitlines()[-1])


def words(file: Path) -> set[str]:
    return set(re.findall(r"\w+", file.read_text(encoding="utf-8")))


def is_empty(file: Path) -> bool:
    """Whether a file holds nothing but its docstring."""
    return len(ast.parse(file.read_text(encoding="utf-8")).body) <= 1


def content_names() -> set[str]:
    folders = [
        folder for kind in ("graphs", "datasets", "experiments") for folder in (ROOT / kind).glob("*/")
    ]
    return {folder.name for folder in folders} - GENERIC


def gene_names() -> set[str]:
    """Identifiers of all genes, transcripts and proteins in graphs/."""
    import pandas as pd

    names: set[str] = set()
    for path in (ROOT / "graphs").glob("*/nodes.tsv"):
        nodes = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        if "identifier" not in nodes:  # the names are enough
            continue
        molecules = nodes[(nodes["type"] == "molecule") & (nodes["identifier"] != "")]
        names |= set(molecules["identifier"])
    return names


@pytest.mark.parametrize("file", [f for f in FILES if f not in TOP], ids=lambda f: str(f.relative_to(ROOT)))
def test_a_room_imports_only_rooms_above_it(file: Path) -> None:
    here = room(file)
    assert here in ROOMS, f"{here} is not in the list of rooms: place it"
    for line, other in imported_rooms(file):
        assert other in ROOMS, f"{file.name}:{line} imports multiscale.{other}, which is no room"
        assert ROOMS.index(other) <= ROOMS.index(here), f"{file.name}:{line}: {here} may not import {other}"


def test_the_check_of_imports_sees_absolute_relative_and_local_ones(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    file = tmp_path / "graph" / "a.py"
    file.parent.mkdir()
    file.write_text(
        "import multiscale.fit.train\nfrom multiscale import cli\ndef f():\n    from . import b\n"
    )
    assert list(imported_rooms(file)) == [(1, "fit"), (2, "cli"), (4, "graph")]


@pytest.mark.parametrize("folder", ["graphs", "datasets", "experiments", "docs"])
def test_content_folders_are_not_packages(folder: str) -> None:
    assert (ROOT / folder).is_dir()
    assert not list((ROOT / folder).rglob("__init__.py"))


def test_no_source_names_a_gene() -> None:
    genes = gene_names()
    assert len(genes) > 10
    found = {str(file.relative_to(ROOT)): sorted(words(file) & genes) for file in FILES}
    assert {file: names for file, names in found.items() if names} == {}


def test_no_source_but_the_command_line_names_a_data_set_or_an_experiment() -> None:
    names = content_names()
    assert names
    sources = [file for file in FILES if room(file) != "cli"]
    found = {str(file.relative_to(ROOT)): sorted(words(file) & names) for file in sources}
    assert {file: names for file, names in found.items() if names} == {}


def test_no_module_is_a_drawer_for_everything() -> None:
    assert not [file for file in FILES if file.stem in ("utils", "helpers", "common", "misc")]


def test_every_module_says_what_is_public() -> None:
    silent = [
        file
        for file in FILES
        if file.stem != "__main__" and not is_empty(file) and "__all__" not in words(file)
    ]
    assert [str(file.relative_to(ROOT)) for file in silent] == []


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    offered = project["dependencies"] + extras["mudata"] + extras["chem"]
    distributions = {re.split(r"[^\w-]", name)[0] for name in offered}
    declared = {IMPORTED_AS.get(name, name) for name in distributions}
    nodes = [node for file in FILES for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    imported = {module.split(".")[0] for module in modules} - sys.stdlib_module_names - {"multiscale"}
    assert imported == declared


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import multiscale") == []


@pytest.mark.parametrize("words", [["--gradient"], ["--fit", "--starts", "2", "--no-profiles"]])
def test_petab_problems_are_evaluated_and_fitted_without_pytorch(words: list[str], tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")] if "--fit" in words else []
    arguments = ["multiscale", "petab", str(write_1(tmp_path)), *words, *out]
    code = f"import sys; from multiscale.cli import main; sys.argv = {arguments}\ntry:\n    main()\n"
    code += "except SystemExit as ended:\n    assert not ended.code"
    assert not {"torch", "anndata", "networkx"} & set(loaded_by(code))
