"""Results inside an AnnData: the keys, their alignment with cells and genes, and what HDF5 can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from multiscale.errors import FormatError
from multiscale.formats import anndata

CELLS, GENES = ["c1", "c2", "c3"], ["A", "B"]


@pytest.fixture
def adata() -> ad.AnnData:
    return ad.AnnData(np.ones((3, 2)), obs=pd.DataFrame(index=CELLS), var=pd.DataFrame(index=GENES))


@pytest.fixture
def results() -> dict[str, Any]:
    return {
        "molecules": pd.DataFrame(
            [[1.0, 2.0], [3.0, 4.0], [np.nan, np.nan]], index=CELLS, columns=["A", "L<i>"]
        ),
        "complexes": pd.DataFrame({"A:B": [0.5, 1.5, np.nan]}, index=CELLS),
        "pathways": pd.DataFrame({"one/two": [0.0, 1.0, np.nan]}, index=CELLS),
        "variables": pd.DataFrame({"ln_translation": [7.0, np.nan]}, index=GENES),
        "meta": {
            "seed": np.int64(1),
            "nothing": None,
            "settings": {"starts": 32, "groups": ["a", "b"], "mixed": [1, "a"], "empty": []},
            "edges": pd.DataFrame({"source": ["A"], "relation": ["subunit"], "target": ["A:B"]}),
        },
    }


def test_results_stand_under_the_documented_keys(adata, results) -> None:
    anndata.write(adata, **results)
    assert adata.obsm["X_multiscale"][1].tolist() == [3.0, 4.0]
    assert adata.obsm["multiscale_complex"].loc["c2", "A:B"] == 1.5
    assert adata.obsm["multiscale_pathway"].columns.tolist() == ["one|two"]
    assert adata.varm["X_multiscale"][0].tolist() == [7.0]
    assert adata.uns["multiscale"]["molecules"].tolist() == ["A", "L<i>"]
    assert adata.uns["multiscale"]["variables"].tolist() == ["ln_translation"]


def test_results_survive_a_file(adata, results, tmp_path: Path) -> None:
    anndata.write(adata, **results, key_added="ms")
    anndata.write_h5ad(adata, tmp_path / "r.h5ad")
    back = ad.read_h5ad(tmp_path / "r.h5ad")
    np.testing.assert_array_equal(back.obsm["X_ms"], results["molecules"].to_numpy())
    assert results["complexes"].equals(back.obsm["ms_complex"])
    content = back.uns["ms"]
    assert content["seed"] == 1
    assert "nothing" not in content
    assert content["settings"]["starts"] == 32
    assert content["settings"]["groups"].tolist() == ["a", "b"]
    assert content["settings"]["mixed"] == '[1, "a"]'
    assert content["edges"]["target"].tolist() == ["A:B"]


@pytest.mark.parametrize(("argument", "said"), [("molecules", "`obs_names`"), ("variables", "`var_names`")])
def test_an_index_of_other_names_is_refused_and_nothing_is_written(
    adata, results, argument: str, said: str
) -> None:
    results[argument] = results[argument].set_axis(["x", *results[argument].index[1:]])
    with pytest.raises(FormatError, match=f"{said}; `x` is none of them"):
        anndata.write(adata, **results)
    assert not adata.uns
    assert not adata.obsm


def test_an_index_in_another_order_is_refused(adata, results) -> None:
    with pytest.raises(FormatError, match="another order"):
        anndata.write(adata, pathways=results["pathways"][::-1])
