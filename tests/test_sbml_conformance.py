"""Cases of the SBML Test Suite, chosen so that they have every feature, and the script that runs them all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "experiments/conformance/sbml.py"

NUMBERS = """
00130 00155 00388 00422 00516 00764 00900 00948 00992 01000 01027
01133 01134 01140 01141 01153 01156 01161 01169 01170 01177 01182
01212 01242 01270 01282 01286 01288 01309 01376 01381 01461 01462
01465 01467 01495 01498 01508 01510 01517 01527 01542 01581 01594
"""
CASES = NUMBERS.split()
"""Between them every pair of features that is read and that occurs often."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("sbml_conformance", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def suite(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the chosen cases."""
    folder = tmp_path_factory.mktemp("suite")
    with ZipFile(shared / "conformance/sbml_semantic.zip") as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.split("/")[-2] in CASES])
    return folder


@pytest.mark.parametrize("case", CASES)
def test_case_of_the_suite_passes(script: ModuleType, suite: Path, case: str) -> None:
    (folder,) = (path.parent for path in suite.rglob("settings.txt") if path.parent.name == case)
    verdict = script.judge(folder, None)
    assert (verdict.outcome, verdict.reason) == ("passed", "")


def decay(folder: Path, results: str, *, law: str = "<cn>1</cn>") -> Path:
    """Case in which x' is given by a rule and x(0) = 2."""
    folder.mkdir(parents=True)
    math = f'<math xmlns="http://www.w3.org/1998/Math/MathML">{law}</math>'
    (folder / "model.xml").write_text(
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model id="m">'
        '<listOfParameters><parameter id="x" value="2" constant="false"/></listOfParameters>'
        f'<listOfRules><rateRule variable="x">{math}</rateRule></listOfRules></model></sbml>'
    )
    (folder / "settings.txt").write_text(
        "start: 0\nduration: 1\nsteps: 1\nvariables: x\nabsolute: 0.01\nrelative: 0\namount:\nconcentration:"
    )
    (folder / "tags.txt").write_text(
        "componentTags: Parameter, RateRule\ntestTags: Amount\ntestType: TimeCourse\n"
    )
    (folder / "results.csv").write_text(results)
    return folder


def test_differences_within_the_tolerance_pass_and_others_are_wrong(
    script: ModuleType, tmp_path: Path
) -> None:
    near = decay(tmp_path / "near", "Time,x\n0,2\n1,3.009\n")
    far = decay(tmp_path / "far", "Time,x\n0,2\n1,3.02\n")
    assert script.judge(near, None).outcome == "passed"
    verdict = script.judge(far, None)
    assert (verdict.outcome, verdict.tags) == ("wrong", ("Amount", "Parameter", "RateRule"))
    assert verdict.reason.startswith("`x` at 1: 3")


def test_what_the_reader_or_the_solver_refuses_has_a_reason(script: ModuleType, tmp_path: Path) -> None:
    unknown = decay(tmp_path / "unknown", "time,x\n0,2\n1,3\n", law="<ci>q</ci>")
    blowing_up = "<apply><times/><ci>x</ci><ci>x</ci></apply>"  # x = 2 / (1 − 2 t)
    singular = decay(tmp_path / "singular", "time,x\n0,2\n1,-2\n", law=blowing_up)
    for folder, words in ((unknown, "model.xml: line 1"), (singular, "blow up")):
        verdict = script.judge(folder, None)
        assert verdict.outcome == "refused"
        assert words in verdict.reason


def test_cells_that_are_not_finite_must_be_equal(script: ModuleType) -> None:
    settings = script.Settings(np.arange(3.0), {"x": None}, 1.0, 1.0)
    theirs = pd.DataFrame({"x": [np.inf, np.nan, 1.0]})
    assert script.differences(theirs.copy(), theirs, settings) == ""
    for row in range(3):
        ours = theirs.copy()
        ours.loc[row, "x"] = -np.inf
        assert script.differences(ours, theirs, settings) != ""


def test_script_counts_cases_and_writes_what_it_simulated(tmp_path: Path) -> None:
    decay(tmp_path / "cases/00001", "Time,x\n0,2\n1,3\n")
    decay(tmp_path / "cases/00002", "time,x\n0,2\n1,4\n")
    with ZipFile(tmp_path / "cases.zip", "w") as archive:
        for path in sorted((tmp_path / "cases").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path / "cases"))
    command = [
        sys.executable,
        str(SCRIPT),
        str(tmp_path / "cases.zip"),
        "--json",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"passed": 1, "wrong": ["00002"], "refused": {}}
    table = pd.read_csv(tmp_path / "out/00001.csv")
    assert list(table.columns) == ["Time", "x"]
    assert table["x"].to_list() == pytest.approx([2.0, 3.0])
