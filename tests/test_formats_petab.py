"""Parameter tables under the reader and the check of PEtab's own library."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import petab.v1 as petab
import pytest
import torch
from petab.v1.lint import check_parameter_df
from petab.v1.priors import Prior

import multiscale as ms
from multiscale import formats
from multiscale.errors import FormatError
from multiscale.formats import tables
from multiscale.graph import Graph
from multiscale.model import Model


def read_by_petab(path: Path) -> pd.DataFrame:
    """Table that PEtab's library reads and finds nothing wrong with."""
    table = petab.get_parameter_df(path)
    assert table is not None
    check_parameter_df(table)
    return table


@pytest.fixture
def parameters() -> pd.DataFrame:
    """One bounded energy, one unbounded energy, a positive number without bounds, a flat prior, one fixed."""
    return pd.DataFrame(
        {
            "parameterId": ["g_1", "g_2", "k_1", "k_2", "T"],
            "parameterName": ["one", "two: \"<b>\" & 'x'", "three\tfour", "", "fünf"],
            "parameterScale": ["lin", "lin", "log", "log10", "lin"],
            "lowerBound": [-40.0, -np.inf, 0.0, -np.inf, np.nan],
            "upperBound": [10.0, np.inf, np.inf, 1e6, np.nan],
            "nominalValue": [-9.3, 0.1 + 0.2, 1 / 3, 2.0, 310.15],
            "estimate": [1, 1, 1, 1, 0],
            "objectivePriorType": ["normal", *["parameterScaleNormal"] * 3, ""],
            "objectivePriorParameters": ["-9;2", "0;inf", "-1;0.5", "0;inf", ""],
            "unit": ["kcal/mol", "kcal/mol", "uM", "1/s", "K"],
            "lower": [-10.0, np.nan, 0.1, 1.5, np.nan],
            "upper": [-8.0, np.nan, 0.9, 2.5, np.nan],
            "sd": [0.5, np.inf, 0.3, 0.2, np.nan],
        }
    )


def test_petab_accepts_a_table_with_unbounded_parameters_and_flat_priors(parameters, tmp_path: Path) -> None:
    tables.write_parameters(parameters, tmp_path / "p.tsv")
    table = read_by_petab(tmp_path / "p.tsv")
    assert table["lowerBound"].tolist()[:4] == [-40.0, -math.inf, 2.0**-1022, 2.0**-1022]
    assert table["objectivePriorType"].fillna("").tolist() == ["normal", "", "parameterScaleNormal", "", ""]
    for column in ("nominalValue", "upperBound", "lower", "upper", "sd"):
        np.testing.assert_array_equal(table[column], parameters[column])


def test_a_prior_means_to_petab_what_it_means_here(parameters, tmp_path: Path) -> None:
    """parameterScaleNormal on `log`: ln k is normal with the stated mean and sd."""
    tables.write_parameters(parameters, tmp_path / "p.tsv")
    row: Any = read_by_petab(tmp_path / "p.tsv").loc["k_1"].to_dict()
    parameters_of_prior = tuple(float(part) for part in row["objectivePriorParameters"].split(";"))
    prior = Prior(row["objectivePriorType"], parameters_of_prior, (0.0, np.inf), row["parameterScale"])
    z = (math.log(0.4) + 1) / 0.5
    wanted = math.exp(-0.5 * z * z) / (0.5 * math.sqrt(2 * math.pi))
    assert prior.pdf(math.log(0.4), x_scaled=True, rescale=True) == pytest.approx(wanted, rel=1e-12)


def test_petab_accepts_the_table_of_a_fit(small_problem, tmp_path: Path) -> None:
    table = Model(small_problem).parameters
    theta = table.sample(1, torch.Generator().manual_seed(0))[0]
    frame = table.frame(theta).assign(lower=0.1, upper=0.9, sd=0.2)
    tables.write_parameters(frame, tmp_path / "p.tsv")
    back = read_by_petab(tmp_path / "p.tsv")
    assert back.index.tolist() == frame["parameterId"].tolist()
    np.testing.assert_array_equal(back["nominalValue"], frame["nominalValue"])
    assert {"unit", "role", "note", "lower", "upper", "sd"} <= set(back.columns)


def test_petab_accepts_the_parameters_of_a_graph_with_learned_values(
    small_graph: Graph, tmp_path: Path
) -> None:
    names = small_graph.parameters.index
    learned = pd.DataFrame({"fittedValue": 1 / 3, "lower": 0.1, "upper": 0.5, "sd": 0.01}, index=names[:2])
    formats.export(small_graph, tmp_path / "p.tsv", {"parameter": learned})
    back = read_by_petab(tmp_path / "p.tsv")
    assert back.index.tolist() == names.tolist()
    assert back["fittedValue"].tolist()[:2] == [1 / 3, 1 / 3]
    assert back["upper"].isna().sum() == len(names) - 2


@pytest.mark.parametrize("name", ["pbmc_surface"])
def test_petab_accepts_the_parameters_of_a_ready_made_graph(name: str, tmp_path: Path) -> None:
    graph = ms.read_graph(name)
    formats.export(graph, tmp_path / "p.tsv")
    assert len(read_by_petab(tmp_path / "p.tsv")) == len(graph.parameters)


def test_texts_stay_texts_though_all_be_empty_or_numbers(parameters, tmp_path: Path) -> None:
    odd = parameters.assign(parameterName="", objectivePriorType="", objectivePriorParameters="")
    tables.write_parameters(odd.assign(parameterName=["1", "2", "3", "4", "5"]), tmp_path / "p.tsv")
    assert tables.read_parameters(tmp_path / "p.tsv")["parameterName"].tolist() == ["1", "2", "3", "4", "5"]
    tables.write_parameters(odd, tmp_path / "p.tsv")
    assert tables.read_parameters(tmp_path / "p.tsv")["parameterName"].tolist() == [""] * 5


@pytest.mark.parametrize(
    ("column", "row", "value", "said"),
    [
        ("parameterId", 0, "g 1", "`parameterId` must have only letters"),
        ("parameterScale", 0, "ln", "`parameterScale` must be one of"),
        ("estimate", 0, 2, "`estimate` must be 0 or 1"),
        ("lowerBound", 0, 11.0, "`lowerBound` must not exceed `upperBound`; got 11 and 10"),
        ("upperBound", 1, np.nan, "`lowerBound` must not exceed"),
        ("lowerBound", 2, -1.0, "`lowerBound` must be positive on the scale log; got -1"),
        ("nominalValue", 4, np.nan, "`nominalValue` must be finite"),
        ("objectivePriorType", 0, "gamma", "`objectivePriorType` must be empty or one of"),
        ("objectivePriorParameters", 0, "1;2;3", "must be two numbers"),
    ],
)
def test_what_petab_would_refuse_is_refused_before_it_is_written(
    parameters, tmp_path: Path, column: str, row: int, value, said: str
) -> None:
    odd = parameters.astype({"estimate": int}).copy()
    odd.loc[row, column] = value
    with pytest.raises(FormatError, match=said):
        tables.write_parameters(odd, tmp_path / "p.tsv")
    assert list(tmp_path.iterdir()) == []
