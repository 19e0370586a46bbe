"""The PEtab test suite and problems of the benchmark collection."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from multiscale.fit.petab.objective import Objective
from multiscale.formats.petab.read import read_petab
from multiscale.runs.petab import evaluate_petab

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments" / "conformance"))

import petab_suite  # pyright: ignore[reportMissingImports]


@pytest.mark.parametrize(("version", "count"), [("v1.0.0", 20), ("v2.0.0", 31)])
def test_all_cases_of_the_suite_pass(shared: Path, version: str, count: int):
    cases = petab_suite.cases_in(shared / "conformance" / "petab_test_suite" / version)
    verdicts = [petab_suite.judge(case, home, None) for case, home in cases.items()]
    assert [(v.case, v.reason) for v in verdicts if v.outcome != petab_suite.PASSED] == []
    assert len(verdicts) == count


@pytest.mark.parametrize("name", ["Boehm_JProteomeRes2014", "Brannmark_JBC2010", "Fujita_SciSignal2010"])
def test_likelihoods_of_the_benchmark_are_the_published_ones(shared: Path, name: str):
    folder = shared / "conformance" / "petab_benchmark"
    reference = json.loads((folder / "reference_llh.json").read_text(encoding="utf-8"))[name]
    problem = Objective(read_petab(folder / name / f"{name}.yaml"))
    assert problem.value(problem.nominal).llh[0] == pytest.approx(reference, rel=1e-5)


def test_the_command_gives_likelihood_gradient_and_simulations(shared: Path, tmp_path: Path):
    home = shared / "conformance" / "petab_test_suite" / "v1.0.0" / "sbml" / "0001"
    found = evaluate_petab(home / "_0001.yaml", gradient=True, simulate=tmp_path / "simulated.tsv")
    assert found["llh"] == pytest.approx(-0.84750169713188, abs=1e-6)
    assert set(found["gradient"]) == {"a0", "b0", "k1", "k2"}
    assert "simulation" in (tmp_path / "simulated.tsv").read_text(encoding="utf-8").splitlines()[0]
