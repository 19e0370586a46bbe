"""Fits of PEtab problems: known truths, folders that others read, interruptions, starts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import petab.v1
import pytest
from petab_problems import write_1
from typer.testing import CliRunner

import multiscale as ms
from multiscale.cli import app
from multiscale.errors import DataError, OutputError
from multiscale.fit.petab.multistart import Settings, multistart
from multiscale.fit.petab.result import SEARCHING
from multiscale.fit.petab.starts import draw
from multiscale.fit.trust_region import Search
from multiscale.runs.petab_fit import fit_to_folder

pytestmark = pytest.mark.filterwarnings("ignore:.*petab.*")

# A ⇌ B with rate constants 0.8 and 0.3 from A = 1: B = 8/11 (1 − exp(−1.1 t)), read as k2 B + offset.
TRUTH = {"k2": 2.0, "offset": 0.25}
TABLES = {
    "parameters": [
        "parameterId parameterScale lowerBound upperBound nominalValue estimate",
        "k2 log10 0.01 100 2 1",
        "offset lin -1 1 0.25 1",
        "sigma log 0.001 2 0.05 1",
    ],
    "conditions": ["conditionId A", "plain 1"],
    "observables": ["observableId observableFormula noiseFormula", "b k2*B+offset sigma"],
    "measurements": [
        "observableId simulationConditionId time measurement",
        *(
            f"b plain {t} {2.0 * 8 / 11 * (1 - math.exp(-1.1 * t)) + 0.25 + 0.02 * (-1) ** i:.6f}"
            for i, t in enumerate((0.2, 0.5, 1.0, 2.0, 4.0, 8.0))
        ),
    ],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_1(tmp_path, **TABLES)


def test_a_fit_finds_the_truth_and_says_how_sure_it_is(path: Path):
    result = ms.fit_petab(ms.read_petab(path), ms.PetabSettings(starts=6, seed=3))
    table = result.parameters
    truth = pd.Series(TRUTH)
    for low, high in (("lower", "upper"), ("profileLower", "profileUpper")):
        found = table.loc[truth.index]
        assert ((found[low] < truth) & (truth < found[high])).all()
    assert (table["status"] == "determined").all() and result.agreeing == 6
    assert result.objective <= result.nominal


def test_profiles_and_information_agree_where_the_model_is_nearly_linear(path: Path):
    table = ms.fit_petab(ms.read_petab(path), ms.PetabSettings(starts=2)).parameters
    width = (table["profileUpper"] - table["profileLower"]) / (table["upper"] - table["lower"])
    assert 0.7 < width["offset"] < 1.5


def test_the_folder_holds_a_parameter_table_that_petab_reads(path: Path, tmp_path: Path):
    out = tmp_path / "fit"
    found = CliRunner().invoke(
        app, ["petab", str(path), "--fit", "--starts", "3", "--out", str(out), "--json"]
    )
    assert found.exit_code == 0
    summary = json.loads(found.stdout)
    table = petab.v1.get_parameter_df(out / "parameters.tsv")
    assert table is not None
    assert table.at["k2", "nominalValue"] == pytest.approx(summary["estimates"]["k2"])
    written = {file.name for file in out.iterdir()}
    assert {"waterfall.png", "parameters.png", "profiles.png", "fits.png", "starts.tsv"} <= written


def test_a_search_that_was_stopped_goes_on_and_ends_in_the_same_place(path: Path, tmp_path: Path):
    class Stop(Exception):
        """Stands for a kill."""

    def stop(search: Search) -> None:
        if search.iteration == 3:
            raise Stop

    objective = ms.PetabObjective(ms.read_petab(path), **SEARCHING)
    file = tmp_path / "search.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multiscale.fit.petab.multistart._SAVE_EVERY", -1.0)
        with pytest.raises(Stop):
            multistart(objective, Settings(starts=4), file, stop)
    resumed = multistart(objective, Settings(starts=4), file)
    whole = multistart(objective, Settings(starts=4))
    assert np.array_equal(resumed.search.x, whole.search.x)
    assert resumed.search.iteration == whole.search.iteration


def test_a_finished_fit_is_not_overwritten_unasked(path: Path, tmp_path: Path):
    settings = Settings(starts=2)
    fit_to_folder(path, tmp_path / "fit", settings, profiles=False)
    with pytest.raises(OutputError, match="holds a finished fit"):
        fit_to_folder(path, tmp_path / "fit", settings, profiles=False)
    fit_to_folder(path, tmp_path / "fit", settings, profiles=False, overwrite=True)


def test_a_search_of_another_fit_is_refused(path: Path, tmp_path: Path):
    objective, file = ms.PetabObjective(ms.read_petab(path), **SEARCHING), tmp_path / "search.npz"
    multistart(objective, Settings(starts=2), file)
    with pytest.raises(DataError, match="search of another fit"):
        multistart(objective, Settings(starts=2, seed=9), file)
    file.write_bytes(b"not a search")
    with pytest.raises(DataError, match="cannot be read as the state of a search"):
        multistart(objective, Settings(starts=2), file)


@pytest.mark.parametrize("sampling", ["latin", "sobol"])
def test_starts_lie_within_the_bounds_and_repeat_with_their_seed(path: Path, sampling: str):
    problem = ms.read_petab(path)
    starts = draw(problem, 16, 5, sampling)  # type: ignore[arg-type]
    assert np.array_equal(starts, draw(problem, 16, 5, sampling))  # type: ignore[arg-type]
    assert starts[:, 0].min() >= -2 and starts[:, 0].max() <= 2
    assert (np.histogram(starts[:, 1], 16, (-1, 1))[0] == 1).all()  # one in each sixteenth


def test_screened_starts_are_better_than_others(path: Path):
    objective = ms.PetabObjective(ms.read_petab(path), **SEARCHING)
    plain, screened = (multistart(objective, Settings(starts=3, screen=k)).search.trace[0] for k in (1, 20))
    assert screened.max() < plain.max()
