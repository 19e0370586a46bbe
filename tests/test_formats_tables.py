"""Parameter tables in PEtab's columns, documents and saved models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from multiscale import formats
from multiscale.errors import FormatError, OutputError
from multiscale.formats import document, tables, weights
from multiscale.graph import Graph


@pytest.fixture
def parameters() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "parameterId": ["g_C", "NA"],  # an identifier that pandas would take for a missing value
            "parameterScale": ["lin", "log10"],
            "lowerBound": [-40.0, 1e-6],
            "upperBound": [np.inf, 1e6],
            "nominalValue": [0.1 + 0.2, 1 / 3],
            "estimate": [1, 0],
            "unit": ["kcal/mol", ""],
            "fittedValue": [-9.75, np.nan],
        }
    )


def test_a_parameter_table_comes_back_to_the_last_bit(parameters, tmp_path: Path) -> None:
    tables.write_parameters(parameters, tmp_path / "p.tsv")
    pd.testing.assert_frame_equal(tables.read_parameters(tmp_path / "p.tsv"), parameters, check_exact=True)


def test_petab_columns_come_first(parameters, tmp_path: Path) -> None:
    tables.write_parameters(parameters[parameters.columns[::-1]], tmp_path / "p.tsv")
    header = (tmp_path / "p.tsv").read_text().splitlines()[0].split("\t")
    assert header == [*tables.PETAB_COLUMNS, "fittedValue", "unit"]


@pytest.mark.parametrize(
    ("column", "content", "said"),
    [
        ("parameterId", ["a", "a"], "occurs twice"),
        ("parameterScale", ["lin", "ln"], "must be one of lin, log, log10; got `ln`"),
        ("estimate", [1, 2], "must be 0 or 1"),
        ("nominalValue", None, "column `nominalValue` is missing"),
    ],
)
def test_a_table_that_petab_refuses_is_refused(
    parameters, tmp_path: Path, column, content, said: str
) -> None:
    odd = parameters.drop(columns=column) if content is None else parameters.assign(**{column: content})
    with pytest.raises(FormatError, match=said):
        tables.write_parameters(odd, tmp_path / "p.tsv")
    assert list(tmp_path.iterdir()) == []


def test_export_joins_learned_values_to_the_parameters_of_the_graph(parameters, tmp_path: Path) -> None:
    own = parameters.drop(columns="fittedValue").assign(role=["energy", "loss"], unit=["kcal/mol", "1"])
    graph = Graph.from_tables("g", {"molecule": pd.DataFrame({"name": ["A"]})}, parameters=own)
    learned = pd.DataFrame({"fittedValue": [-9.75]}, index=["g_C"])
    formats.export(graph, tmp_path / "p.tsv", {"parameter": learned})
    written = tables.read_parameters(tmp_path / "p.tsv").set_index("parameterId")
    assert written.loc["g_C", "fittedValue"] == -9.75
    assert written["fittedValue"].isna().tolist() == [False, True]
    assert written.loc["NA", "nominalValue"] == 1 / 3


def test_learned_values_of_unknown_parameters_are_refused(tmp_path: Path) -> None:
    graph = Graph.from_tables("g", {"molecule": pd.DataFrame({"name": ["A"]})})
    learned = pd.DataFrame({"fittedValue": [0.0]}, index=["g_D"])
    with pytest.raises(FormatError, match="no `g_D`"):
        formats.export(graph, tmp_path / "p.tsv", {"parameter": learned})


def test_documents_are_strict_json() -> None:
    content = {"a": np.float64(1.5), "b": [np.inf, None, True], "c": {1: Path("x")}, "d": np.arange(2)}
    assert json.loads(document.to_json(content)) == {
        "a": 1.5,
        "b": [None, None, True],
        "c": {"1": "x"},
        "d": [0, 1],
    }


@pytest.mark.parametrize("version", [None, 0, True, "1", 2])
def test_a_document_without_a_readable_version_is_refused(version) -> None:
    with pytest.raises(FormatError, match="`format_version`"):
        document.parse(json.dumps({"format_version": version}), "model.json", 1)


def saved(folder: Path) -> Path:
    theta = torch.tensor([[0.1, -2.0]], dtype=torch.float64, requires_grad=True)
    meta = {"seed": 3, "settings": {"starts": 2}, "format_version": 7}
    weights.save(
        folder, {"theta": theta, "loss": np.array([1.25])}, meta, {"energies": pd.DataFrame({"g": [1 / 3]})}
    )
    return folder


def test_a_saved_model_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    model = weights.load(saved(tmp_path / "model"))
    assert model.arrays["theta"].tolist() == [[0.1, -2.0]]
    assert model.arrays["theta"].dtype == np.float64
    assert model.arrays["loss"].tolist() == [1.25]
    assert model.meta["settings"] == {"starts": 2}
    assert model.meta["format_version"] == weights.FORMAT_VERSION
    assert model.tables["energies"]["g"].tolist() == [1 / 3]


def test_safetensors_itself_reads_the_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    assert load_file(saved(tmp_path / "model") / "weights.safetensors")["theta"].tolist() == [[0.1, -2.0]]


def test_a_saved_model_holds_no_pickle(tmp_path: Path) -> None:
    names = {path.suffix for path in saved(tmp_path / "model").iterdir()}
    assert names == {".safetensors", ".json", ".tsv"}


def test_a_model_is_not_written_over_files(tmp_path: Path) -> None:
    saved(tmp_path / "model")
    with pytest.raises(OutputError, match="not empty"):
        saved(tmp_path / "model")


def test_a_damaged_or_newer_model_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(content | {"format_version": 2}))
    with pytest.raises(FormatError, match="is newer than 1"):
        weights.load(folder)
    (folder / "model.json").write_text(json.dumps(content))
    (folder / "weights.safetensors").write_bytes(b"\x80\x04")
    with pytest.raises(FormatError, match="differs from what"):
        weights.load(folder)
    with pytest.raises(FormatError, match="no such file"):
        weights.load(tmp_path / "nowhere")
