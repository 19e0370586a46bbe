"""Fits of single cells from their TOML to their folder; stopped and resumed; every mistake is one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from cell_made import counted_cells

import multiscale as ms
from multiscale.cli import main
from multiscale.config import Config, read_config
from multiscale.errors import ConfigError, DataError
from multiscale.fit.cells import CellResult
from multiscale.fit.cells.controls import compare_fits, hidden_densities
from multiscale.fit.cells.training import Training
from multiscale.fit.checkpoint import Checkpoint
from multiscale.formats.tables import read_table
from multiscale.graph import write_graph
from multiscale.model.cells import CellProblem
from multiscale.report.cell_words import WITHOUT, headline
from multiscale.runs.cells import run_cells
from multiscale.runs.cells_problem import cell_problem
from multiscale.runs.store import read_run

TOML = """
title = "Cells"
graph = "small"
[data.cells]
anndata = "cells.h5ad"
batch_key = "lane"
condition_key = "done"
interventions = "done.tsv"
groupby = "kind"
where = { kept = true }
[data.cells.holdout]
fraction = 0.2
seed = 1
[data.cells.assays.rna]
type = "transcripts"
features = "variable"
[data.cells.assays.protein]
type = "surface_proteins"
obsm_key = "protein_expression"
names = ["A", "C", "isotype"]
[model]
latent = 2
[fit]
seed = 1
max_epochs = 6
batch_size = 32
accelerator = "cpu"
"""


def write_project(folder: Path, graph) -> None:
    """Cells of a small graph: nine in ten are kept, of the transcripts one neither varies nor is known."""
    cells = counted_cells(90)
    every = np.arange(len(cells))
    part, protein = (cells.modalities[name] for name in ("rna", "protein"))
    obs = pd.DataFrame(index=cells.obs.index)
    obs["lane"] = [cells.batch.names[code] for code in cells.batch.codes]
    obs["done"] = [cells.condition.names[code] for code in cells.condition.codes]
    obs["kind"] = np.where(every % 4 < 2, "x", "y")
    obs["kept"] = every % 10 > 0
    var = pd.DataFrame({"variable": [False, False, False, False, True, False]}, index=list(part.features))
    adata = anndata.AnnData(part.values(every), obs, var)
    adata.obsm["protein_expression"] = protein.source.rows(every)
    adata.write_h5ad(folder / "cells.h5ad")
    cells.interventions.table[["context", "kind", "target", "value"]].to_csv(
        folder / "done.tsv", sep="\t", index=False
    )
    write_graph(graph, folder / "small")
    (folder / "fit.toml").write_text(TOML)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cells")


@pytest.fixture
def finished(folder, small_graph) -> Path:
    """A project with a finished run in `out`, made once."""
    if not (folder / "out").exists():
        write_project(folder, small_graph)
        run_cells(read_config(folder / "fit.toml"), folder / "out", progress=False)
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch) -> Path:
    """The project without its run; it is the working folder."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command; return exit code, standard output and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["multiscale", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def changed(*pairs: tuple[str, str]) -> Config:
    """Settings of the project, some of them other ones."""
    text = TOML
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after)
    Path("fit.toml").write_text(text)
    return read_config("fit.toml")


def numbers(out: Path) -> dict[str, object]:
    """All that a run says in numbers, but for how long it took."""
    metrics = json.loads((out / "metrics.json").read_text())
    del metrics["seconds"], metrics["data"]["rna"]["file"], metrics["data"]["protein"]["file"]
    tables = {path.stem: read_table(path) for path in out.glob("*.tsv")}
    tables["history"] = tables["history"].drop(columns="seconds")
    return {"metrics": metrics, **{name: table.to_csv() for name, table in tables.items()}}


def test_a_run_has_tables_states_model_network_and_page(finished):
    out = finished / "out"
    files = {path.name for path in out.iterdir()}
    wanted = {
        "report.html",
        "metrics.json",
        "config.json",
        "network.graphml",
        "results.h5ad",
        "model",
        "graph",
    }
    assert wanted <= files
    metrics = json.loads((out / "metrics.json").read_text())
    assert {"history", "parameters", "scores", "comparison", "units", "checks", "groups"} <= set(
        metrics["tables"]
    )
    assert all((out / f"{name}.tsv").is_file() for name in metrics["tables"])
    adata = anndata.read_h5ad(out / "results.h5ad")
    assert len(adata) == metrics["cells"] == 81
    assert {"X_multiscale", "multiscale_complex", "multiscale_molecule"} <= set(adata.obsm)
    assert list(adata.var_names) == ["A", "B", "C", "L", "other", "isotype"]
    assert metrics["data"]["rna"]["size_features"] == 6  # sizes are those of all transcripts


def test_the_first_sentence_is_about_the_graph(finished):
    metrics = json.loads((finished / "out" / "metrics.json").read_text())
    whole = metrics["comparison"][0]
    assert (whole["control"], whole["modality"]) == (WITHOUT, "all")
    assert f"{whole['readings']:,} readings" in metrics["headline"]
    assert whole["difference"] == pytest.approx(whole["fitted"] - whole["without"])
    scores = {(row["modality"], row["readings"]): row["entries"] for row in metrics["scores"]}
    assert whole["readings"] == scores["rna", "hidden"] + scores["protein", "hidden"]


def test_the_page_holds_the_tables_and_loads_nothing(finished):
    page = (finished / "out" / "report.html").read_text()
    for name in ("comparison", "scores", "checks", "reads_graph", "units", "groups", "history", "parameters"):
        assert f'data-name="{name}.tsv"' in page
    assert "Cells that the model draws" in page and "default-src 'none'" in page
    assert "nan" not in read_run(finished / "out").headline


def test_a_run_that_was_stopped_gives_the_same_numbers(project, finished, monkeypatch):
    config, calls = read_config("fit.toml"), []
    whole = Training._finish_epoch

    def stops(training: Training) -> None:
        calls.append(training)
        if len(calls) == 9:  # in the third epoch of the control
            raise KeyboardInterrupt
        whole(training)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_finish_epoch", stops)
        with pytest.raises(KeyboardInterrupt):
            run_cells(config, "out", progress=False, save_every_s=0.0)
    assert {path.name for path in Path("out").iterdir()} == {"checkpoint"}
    assert {"cells", "without_graph.cells.state"} <= set(Checkpoint("out/checkpoint"))
    run_cells(config, "out", resume=True, progress=False)
    assert numbers(Path("out")) == numbers(finished / "out")


def test_the_command_fits_and_adds_rewired_graphs_later(project, command):
    changed(("max_epochs = 6", "max_epochs = 1"))
    code, said, log = command("fit", "fit.toml", "--out", "run")
    assert (code, said.splitlines()[-1][:7]) == (0, "Report:"), log
    assert "3 of 3 features read the graph" not in log and "rna: 4 of 5 features read the graph" in log
    code, said, log = command("fit", "--resume", "run", "--controls", "1", "--json")
    assert code == 0, log
    controls = {row["control"] for row in json.loads(said)["comparison"]}
    assert controls == {WITHOUT, "rewired 1"}
    code, _, log = command("fit", "fit.toml", "--out", "run", "--workers", "2")
    assert (code, "`--workers`" in log) == (2, True)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("batch_key", "batch_kye"), "unknown key `data.cells.batch_kye`; did you mean `batch_key`"),
        (('anndata = "cells.h5ad"', ""), "give either `anndata` or `mudata`"),
        (('anndata = "cells.h5ad"', 'anndata = "cels.h5ad"'), "`cels.h5ad`"),
        (('"lane"', '"lanes"'), "`batch_key`: `lanes`"),
        (('"kind"', '"kinds"'), "`groupby`: obs has no column `kinds`; did you mean `kind`"),
        (("kept = true", "keep = true"), "`where`: obs has no column `keep`"),
        (("kept = true", 'kind = "z"'), "no cell is left with `kind` = 'z'"),
        (('"variable"', '"variables"'), "var has no column `variables`; did you mean `variable`"),
        (('type = "transcripts"', 'type = "transcript"'), "[data.cells.assays.rna]: `transcript`"),
        (("obsm_key", "obsm"), "[data.cells.assays.protein]: `obsm` is not an option"),
        (("seed = 1\nmax", "starts = 4\nmax"), "`fit.starts` has no meaning beside [data.cells]"),
        (("[model]\nlatent = 2", "[model]\npriors = { link = 1 }"), "`priors` has no `link`"),
        (("fraction = 0.2", 'modalities = ["dna"]'), "`modalities`: `dna` is none"),
        (("[fit]", "[holdout]\ntable = 'x'\n[fit]"), "Readings are held out by [data.cells.holdout]"),
    ],
)
def test_a_wrong_key_is_one_clear_error(project, command, pair, said):
    Path("fit.toml").write_text(TOML.replace(*pair))
    code, _, log = command("fit", "fit.toml", "--out", "run")
    assert code == 2 and len(log.splitlines()) == 1
    assert said in log
    assert not Path("run").exists()


def test_cells_and_contexts_share_a_key_but_not_a_meaning():
    text = {"graph": "g", "data": {"cells": "cells.tsv"}}
    assert Config.model_validate(text).cells is None
    config = Config.model_validate({"graph": "g", "data": {"cells": {"anndata": "a.h5ad"}}})
    assert config.cells is not None and config.controls.rewirings == 0
    assert (config.fit.max_epochs, config.fit.batch_size) == (200, 512)
    assert Config.model_validate(config.model_dump(mode="json")) == config


def test_whole_cells_can_be_held_out(project):
    config = changed(("fraction = 0.2", 'fraction = 0.2\nby = "cell"\nmodalities = ["protein"]'))
    cells = cell_problem(config).cells
    entries = cells.modalities["protein"].hidden
    assert entries is not None
    hidden = entries.toarray()
    measured = cells.modalities["protein"].rows >= 0
    assert cells.modalities["rna"].hidden is None
    assert set(hidden.sum(1)) == {0, 3}
    assert (hidden.any(1) & measured).sum() == hidden.any(1).sum() == round(0.2 * measured.sum())


# Without a TOML


@pytest.fixture(scope="module")
def kept() -> list[CellResult]:
    return []


@pytest.fixture
def fits(kept, small_graph) -> list[CellResult]:
    """A fit of cells with hidden readings, and its control without a graph, made once."""
    if not kept:
        problem = CellProblem(small_graph, counted_cells(48, hidden=True), latent=2)
        options = {"max_epochs": 3, "batch_size": 16, "accelerator": "cpu", "progress": False}
        kept += [ms.fit(part, **options) for part in (problem, problem.with_graph(None))]
    return kept


def test_hidden_densities_are_means_over_draws_of_those_of_a_cell(fits):
    one = hidden_densities(fits[0], draws=1)
    many = hidden_densities(fits[0], draws=64)
    assert one["readings"].sum() == fits[0].scores().loc[("protein", "hidden"), "entries"]
    score = fits[0].scores().loc[("protein", "hidden"), "log_density"]
    assert one["log_density"].sum() / len(one) == pytest.approx(score, rel=1e-5)
    assert (many["log_density"] > one["log_density"] - np.log(64)).all()  # the first draw is one of them


def test_a_comparison_is_the_mean_of_cells_with_its_standard_error(fits):
    row = compare_fits(fits[0], {"other": fits[1]}).iloc[0]
    a, b = (hidden_densities(fit)["log_density"].to_numpy() for fit in fits)
    assert row["difference"] == pytest.approx((a - b).mean())  # one hidden reading per cell
    assert row["standard_error"] == pytest.approx((a - b).std() / np.sqrt(len(a)))
    same = compare_fits(fits[0], {WITHOUT: fits[0]})
    assert "makes no difference" in headline({"comparison": same})


def test_the_first_sentence_does_not_praise_a_graph_that_rewired_ones_equal():
    row = {"modality": "all", "readings": 9, "cells": 3, "fitted": -1.0, "without": -1.5}
    row |= {"difference": 0.5, "standard_error": 0.1}
    rows = [{"control": WITHOUT, **row}, {"control": "rewired 1", **row, "difference": -0.1}]
    said = headline({"comparison": pd.DataFrame(rows)})
    assert said.startswith("The graph helps, but so do rewired ones (1 of 1 predict better): held-out")
    worse = pd.DataFrame([{**rows[0], "difference": -0.5}])
    assert headline({"comparison": worse}).startswith("The graph does not help")
    assert "Nothing was held out" in headline({})


def test_a_result_writes_its_own_page(fits, tmp_path):
    fits[1].report(tmp_path / "control.html")
    assert "control without a graph was fitted" in (tmp_path / "control.html").read_text()
    with pytest.raises(DataError, match="no column `kind`"):
        fits[0].findings(groupby="kind")


def test_checks_draw_new_readings_within_their_intervals(fits):
    table = fits[0].findings().tables["checks"]
    inside = (table["lower"] <= table["drawn"]) & (table["drawn"] <= table["upper"])
    assert inside.mean() > 0.88
    assert set(table.loc[table["hidden"], "modality"]) == {"protein"}
    assert len(table) == 48 * 6 + 32 * 3  # every third cell lacks proteins


def test_features_may_be_listed(project):
    config = changed(('features = "variable"', 'features = ["A", "other"]'))
    assert cell_problem(config).cells.modalities["rna"].features == ("A", "other")
    with pytest.raises(ConfigError, match="is a column of var"):
        cell_problem(changed(("obsm_key", 'features = "variable"\nobsm_key')))
