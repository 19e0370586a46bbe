"""Files with random damage: they are read and run, or refused with one of the library's own errors."""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from petab_problems import MODEL, write_1, write_2

from multiscale.errors import MultiscaleError
from multiscale.fit.petab.objective import Objective
from multiscale.formats.petab import read_petab
from multiscale.formats.sbml.read import read_equations
from multiscale.model.imported import simulate_equations

Damage = Callable[[bytes, Random], bytes]

NUMBERS = (
    *(
        "1e999999",
        "-1e308",
        "0",
        "-0.0",
        "nan",
        "inf",
        "-inf",
        "INF",
        "NaN",
        "1e-320",
        "9^9^9^9",
        "",
        "abc",
        "1,5",
    ),
    *(
        "0x10",
        "1e",
        "9" * 400,
        "-1",
        "\u0663",
        "1_000",
        "true",
        "a;b",
        "(" * 300,
        "log(-1)",
        "1/0",
        '"',
        "\0",
    ),
)
NUMBER = re.compile(rb"(?<![\w.])[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")
ATTRIBUTE = re.compile(rb'(?<==")[^"]*(?=")')
WORD = re.compile(rb"[A-Za-z_]\w*")
LEAF = re.compile(rb"<\w+[^<>]*/>|<ci>[^<>]*</ci>|<cn>[^<>]*</cn>")
CELL = re.compile(rb"[^\t\n]+")
LINE = re.compile(rb"[^\n]*\n")


def flipped(data: bytes, random: Random) -> bytes:
    """One byte is another one."""
    at = random.randrange(len(data))
    return data[:at] + bytes([random.choice((0, 34, 38, 40, 60, random.randrange(256)))]) + data[at + 1 :]


def cut(data: bytes, random: Random) -> bytes:
    """The end is missing."""
    return data[: random.randrange(len(data))]


def gap(data: bytes, random: Random) -> bytes:
    """Something in the middle is missing."""
    at = random.randrange(len(data))
    return data[:at] + data[at + random.choice((1, 2, 5, 20, 100)) :]


def replaced(what: re.Pattern[bytes], others: tuple[str, ...] = ()) -> Damage:
    """A piece is one of some texts, or the same as another piece."""

    def damage(data: bytes, random: Random) -> bytes:
        pieces = list(what.finditer(data))
        if not pieces:
            return data
        one, other = random.choice(pieces), random.choice(pieces)[0]
        return data[: one.start()] + (random.choice(others).encode() if others else other) + data[one.end() :]

    return damage


def repeated(what: re.Pattern[bytes], times: int) -> Damage:
    """A piece is there once more, or not at all."""

    def damage(data: bytes, random: Random) -> bytes:
        pieces = list(what.finditer(data))
        if not pieces:
            return data
        piece = random.choice(pieces)
        return data[: piece.start()] + piece[0] * times + data[piece.end() :]

    return damage


ANY = (flipped, cut, gap, replaced(NUMBER, NUMBERS), replaced(WORD), *(repeated(LINE, n) for n in (0, 2)))
OF_MODELS = (
    *(*ANY, replaced(ATTRIBUTE, NUMBERS), replaced(ATTRIBUTE), replaced(LEAF)),
    *(repeated(LEAF, n) for n in (0, 2)),
)
OF_TABLES = (*ANY, replaced(CELL, NUMBERS), replaced(CELL), *(repeated(CELL, n) for n in (0, 2)))

damages = st.tuples(st.integers(0, 2**32), st.integers(1, 2))


def damaged(data: bytes, kinds: tuple[Damage, ...], random: Random, times: int) -> bytes:
    for _ in range(times):
        data = random.choice(kinds)(data, random) if data else data
    return data


def run_model(data: bytes, folder: Path) -> None:
    """Read and run a model; errors of the library must be one sentence with the file's name."""
    path = folder / "model.xml"
    path.write_bytes(data)
    try:
        equations = read_equations(path)
    except MultiscaleError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return
    try:
        course = simulate_equations(equations, [0.0, 0.5], max_steps=300)
    except MultiscaleError:
        return
    assert course.attrs["status"].solved or course.attrs["message"]


def run_problem(path: Path) -> None:
    """Read a problem and evaluate it."""
    try:
        problem = read_petab(path)
    except MultiscaleError as error:
        assert str(path) in str(error)
        return
    try:
        objective = Objective(problem, max_steps=300, threads=1)
    except MultiscaleError:
        return
    found = objective.value(objective.nominal)
    assert found.llh[0] == found.llh[0] and (found.llh[0] > -float("inf") or found.message[0])


def quick(count: int) -> settings:
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


@quick(60)
@given(damages)
def test_damaged_model_runs_or_is_refused(damage: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_model(damaged(MODEL.encode(), OF_MODELS, Random(damage[0]), damage[1]), Path(folder))


@pytest.mark.parametrize("write", [write_1, write_2])
@quick(100)
@given(damages)
def test_damaged_problem_runs_or_is_refused(write: Callable[[Path], Path], damage: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, random = write(Path(folder)), Random(damage[0])
        file = random.choice([file for file in sorted(Path(folder).iterdir()) if file.suffix != ".xml"])
        file.write_bytes(damaged(file.read_bytes(), OF_TABLES, random, damage[1]))
        run_problem(path)


@pytest.fixture(scope="module")
def semantic(shared: Path) -> list[bytes]:
    """Models of the semantic test suite."""
    with zipfile.ZipFile(shared / "conformance/sbml_semantic.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".xml"))
        return [archive.read(name) for name in names if b"<sbml" in archive.read(name)[:500]]


@pytest.fixture(scope="module")
def suite(shared: Path) -> list[Path]:
    """YAML files of the PEtab test suite."""
    found = sorted((shared / "conformance/petab_test_suite").glob("v*/sbml/*/*.yaml"))
    return [path for path in found if "solution" not in path.name]


@quick(40)
@given(damages)
def test_damaged_model_of_the_suite_runs_or_is_refused(
    semantic: list[bytes], damage: tuple[int, int]
) -> None:
    run_of_suite(semantic, damage)


@pytest.mark.slow
@quick(3000)
@given(damages)
def test_thousands_of_damaged_models_run_or_are_refused(
    semantic: list[bytes], damage: tuple[int, int]
) -> None:
    run_of_suite(semantic, damage)


@quick(40)
@given(damages)
def test_damaged_problem_of_the_suite_runs_or_is_refused(suite: list[Path], damage: tuple[int, int]) -> None:
    run_suite_problem(suite, damage)


@pytest.mark.slow
@quick(2000)
@given(damages)
def test_thousands_of_damaged_problems_run_or_are_refused(suite: list[Path], damage: tuple[int, int]) -> None:
    run_suite_problem(suite, damage)


def run_of_suite(semantic: list[bytes], damage: tuple[int, int]) -> None:
    random = Random(damage[0])
    with tempfile.TemporaryDirectory() as folder:
        run_model(damaged(random.choice(semantic), OF_MODELS, random, damage[1]), Path(folder))


def run_suite_problem(suite: list[Path], damage: tuple[int, int]) -> None:
    random = Random(damage[0])
    yaml = random.choice(suite)
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(yaml.parent.iterdir()):
            (Path(folder) / file.name).write_bytes(file.read_bytes())
        names = [
            file.name for file in sorted(yaml.parent.iterdir()) if file.suffix in (".tsv", ".yaml", ".xml")
        ]
        file = Path(folder) / random.choice(names)
        kinds = OF_MODELS if file.suffix == ".xml" else OF_TABLES
        file.write_bytes(damaged(file.read_bytes(), kinds, random, damage[1]))
        run_problem(Path(folder) / yaml.name)
