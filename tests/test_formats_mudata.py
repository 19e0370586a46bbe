"""Results beside the modalities of a MuData, read by mudata itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest

from multiscale.errors import FormatError, MultiscaleError
from multiscale.formats import anndata
from multiscale.formats.anndata import not_pulling

CELLS, GENES, PROTEINS = ["c1", "c2", "c3"], ["A", "B"], ["P1"]


def modality(cells: list[str], names: list[str]) -> ad.AnnData:
    obs = pd.DataFrame({"batch": 1.0}, index=cells)
    return ad.AnnData(np.ones((len(cells), len(names))), obs=obs, var=pd.DataFrame(index=names))


@pytest.fixture
def mdata() -> mudata.MuData:
    """RNA of three cells, proteins of two of them."""
    with not_pulling():
        return mudata.MuData({"rna": modality(CELLS, GENES), "prot": modality(CELLS[1:], PROTEINS)})


def results(names: list[str]) -> dict[str, Any]:
    return {
        "molecules": pd.DataFrame([[1.0, 2.0], [3.0, 4.0], [np.nan] * 2], index=CELLS, columns=["A", "<b>µ"]),
        "complexes": pd.DataFrame({"A:B": [0.5, 1.5, np.nan], "A:B lower": [0.1, 1.0, np.nan]}, index=CELLS),
        "pathways": pd.DataFrame({"one/two": [0.0, 1.0, np.nan]}, index=CELLS),
        "variables": pd.DataFrame({"ln_translation": [7.0] + [np.nan] * (len(names) - 1)}, index=names),
    }


def check(read: mudata.MuData, names: list[str]) -> None:
    """What mudata read holds the results under the documented keys."""
    wanted = results(names)
    np.testing.assert_array_equal(read.obsm["X_multiscale"], wanted["molecules"].to_numpy())
    assert read.obsm["multiscale_complex"].equals(wanted["complexes"])
    assert read.obsm["multiscale_pathway"]["one|two"].tolist()[:2] == [0.0, 1.0]
    assert read.varm["X_multiscale"][0].tolist() == [7.0]
    assert read.uns["multiscale"]["molecules"].tolist() == ["A", "<b>µ"]
    assert read.uns["multiscale"]["format_version"] == 1
    assert read.uns["multiscale"]["seed"] == 3


def read_h5mu(path: Path) -> mudata.MuData:
    with not_pulling():
        return mudata.read_h5mu(path)


def test_mudata_reads_results_beside_the_modalities(mdata, tmp_path: Path) -> None:
    names = mdata.var_names.tolist()
    anndata.write(mdata, **results(names), meta={"seed": 3})
    anndata.write_h5mu(mdata, tmp_path / "r.h5mu")
    back = read_h5mu(tmp_path / "r.h5mu")
    check(back, names)
    assert list(back.mod) == ["rna", "prot"]
    assert back["prot"].obs_names.tolist() == CELLS[1:]


def test_an_anndata_becomes_a_mudata_with_the_same_keys(tmp_path: Path) -> None:
    adata = modality(CELLS, GENES)
    anndata.write(adata, **results(GENES), meta={"seed": 3})
    anndata.write_h5mu(adata, tmp_path / "r.h5mu")
    back = read_h5mu(tmp_path / "r.h5mu")
    check(back, GENES)
    np.testing.assert_array_equal(back["rna"].obsm["X_multiscale"], adata.obsm["X_multiscale"])


def options() -> dict[str, Any]:
    """All options of mudata, as 0.3 and as 0.4 tell them."""
    if hasattr(mudata, "set_options"):
        with mudata.set_options() as found:
            return dict(found)
    return vars(mudata)["settings"].model_dump()


def test_writing_changes_neither_the_options_nor_the_table_of_cells(mdata, tmp_path: Path) -> None:
    before, columns = options(), mdata.obs.columns.tolist()
    anndata.write_h5mu(mdata, tmp_path / "r.h5mu")
    assert options() == before
    assert mdata.obs.columns.tolist() == columns == []
    assert [path.name for path in tmp_path.iterdir()] == ["r.h5mu"]


def test_cells_of_one_modality_are_not_those_of_the_whole(mdata) -> None:
    table = results(mdata.var_names.tolist())["molecules"].iloc[1:]
    with pytest.raises(FormatError, match="`obs_names`; 2 rows for 3 names"):
        anndata.write(mdata, molecules=table)


def test_without_mudata_the_extra_is_named(mdata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mudata", None)
    with pytest.raises(MultiscaleError, match=r"pip install 'multiscale-biology\[mudata\]'"):
        anndata.write_h5mu(mdata, tmp_path / "r.h5mu")
    assert list(tmp_path.iterdir()) == []
