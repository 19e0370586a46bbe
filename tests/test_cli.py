"""The command line: every mistake is one line, exit code 2, and nothing on disk."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from multiscale import content
from multiscale.cli import main
from multiscale.runs import run as runs


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run a command in an empty folder; return exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["multiscale", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def graph_edit(file: str, old: str, new: str):
    return lambda folder: edit(folder / "net" / file, old, new)


def config_edit(old: str, new: str):
    return lambda folder: edit(folder / "fit.toml", old, new)


def negative_counts(folder: Path) -> None:
    import anndata

    adata = anndata.read_h5ad(folder / "cells.h5ad")
    counts = np.asarray(adata.X)
    counts[3, 1] = -2.0
    adata.X = counts
    adata.write_h5ad(folder / "cells.h5ad")


def missing_counts(folder: Path) -> None:
    import anndata

    adata = anndata.read_h5ad(folder / "cells.h5ad")
    counts = np.asarray(adata.X)
    counts[3, 1] = np.nan
    adata.X = counts
    adata.write_h5ad(folder / "cells.h5ad")


def other_genes(folder: Path) -> None:
    import anndata

    adata = anndata.read_h5ad(folder / "cells.h5ad")
    adata.var_names = [f"ENSG{i}" for i in range(adata.n_vars)]
    adata.write_h5ad(folder / "cells.h5ad")


def duplicate_name(folder: Path) -> None:
    path = folder / "net" / "nodes.tsv"
    line = next(row for row in path.read_text().splitlines() if row.startswith("C\t"))
    path.write_text(path.read_text() + line + "\n")


def full_folder(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "precious.txt").write_text("precious")


MISTAKES = {
    "missing TOML": (lambda folder: (folder / "fit.toml").unlink(), ["fit.toml", "no such file"]),
    "missing AnnData": (lambda folder: (folder / "cells.h5ad").unlink(), ["cells.h5ad"]),
    "missing table": (lambda folder: (folder / "copies.tsv").unlink(), ["copies.tsv"]),
    "wrong TOML key": (
        config_edit("groupby", "grupby"),
        ["fit.toml", "`data.grupby`", "did you mean `groupby`"],
    ),
    "wrong TOML value": (config_edit("starts = 3", "starts = 0"), ["`fit.starts` = 0"]),
    "unknown assay": (
        config_edit('assay = "copies"', 'assay = "copys"'),
        ["data.tables.proteome", "did you mean `copies`"],
    ),
    "unknown assay option": (
        config_edit('assay = "copies"', 'assay = "copies"\nlimits = 3'),
        ["`limits`", "did you mean `limit`"],
    ),
    "unknown held-out table": (
        config_edit('table = "proteome"', 'table = "proteom"'),
        ["`holdout.table`", "did you mean `proteome`"],
    ),
    "unknown split": (
        config_edit("folds = 2", 'folds = 2\nsplits = ["gene"]'),
        ["`holdout.splits.0` = 'gene'", "'block', 'molecule' or 'context'"],
    ),
    "unknown profile": (
        config_edit("draws = 0", 'draws = 0\nprofiles = ["g_contct"]'),
        ["`uncertainty.profiles`", "did you mean `g_contact`"],
    ),
    "unknown node type": (
        graph_edit("nodes.tsv", "\tpathway", "\tpatway"),
        ["nodes.tsv", "`patway`", "did you mean `pathway`"],
    ),
    "unknown relation": (
        graph_edit("edges.tsv", "\tencodes\t", "\tencode\t"),
        ["edges.tsv", "`encode`", "did you mean `encodes`"],
    ),
    "dangling edge": (graph_edit("edges.tsv", "\tencodes\tC", "\tencodes\tD"), ["edges.tsv", "`D`"]),
    "negative stoichiometry": (graph_edit("edges.tsv", "\tL2\t2", "\tL2\t-2"), ["edges.tsv", "-2"]),
    "duplicate name": (duplicate_name, ["nodes.tsv", "`C`"]),
    "Kd not positive": (
        lambda folder: edit(folder / "affinities.tsv", "\t20\t", "\t0\t"),
        ["affinities.tsv", "Kd must be positive"],
    ),
    "negative counts": (negative_counts, ["negative", "cell3"]),
    "NaN counts": (missing_counts, ["nan", "cell3"]),
    "no gene in common": (other_genes, ["no identifier of the graph is in the data"]),
    "output not empty": (full_folder, ["out", "not empty", "--overwrite"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_exit_code_two_and_nothing_written(mistake: str, command, project: Path):
    spoil, words = MISTAKES[mistake]
    spoil(project)
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    code, out, err = command("fit", "fit.toml", "--out", "out")
    assert code == 2
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert all(word in err for word in words), err
    assert out == ""
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_a_fit_writes_every_table_and_says_whether_the_graph_helped(command, project: Path):
    code, out, err = command("fit", "fit.toml", "--out", "out", "--json")
    assert code == 0, err
    summary = json.loads(out)
    assert summary["headline"].startswith("The graph")
    names = {path.name for path in (project / "out").iterdir()}
    assert names >= {
        "network.graphml",
        "results.h5ad",
        "parameters.tsv",
        "metrics.json",
        "heldout.tsv",
        "report.html",
    }
    assert json.loads((project / "out" / "metrics.json").read_text()) == summary
    columns = (project / "out" / "heldout.tsv").read_text().splitlines()[0].split("\t")
    described = "fold context molecule measured touched_by_graph"
    models = "fitted no_graph translation_only slope gene_plus_type mean"
    assert columns[:11] == [*described.split(), *models.split()]


def test_paths_in_the_toml_are_relative_to_it(command, project: Path, monkeypatch):
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    text = (project / "fit.toml").read_text()
    (project / "fit.toml").write_text(text[: text.index("[holdout]")])
    code, _, err = command("fit", "../fit.toml", "--out", "out")
    assert code == 0, err
    assert (project / "elsewhere" / "out" / "report.html").is_file()


def test_graph_check_lists_every_problem(command, project: Path):
    edit(project / "net" / "edges.tsv", "\tL2\t2", "\tL2\t-2")
    edit(project / "net" / "edges.tsv", "\tencodes\tC", "\tencodes\tD")
    code, _, err = command("graph", "check", "net")
    assert code == 2
    assert "-2" in err
    assert "`D`" in err


def test_graph_show_counts_nodes_and_relations(command, project: Path):
    code, out, _ = command("graph", "show", "net", "--json")
    assert code == 0
    assert json.loads(out)["nodes"] == {"molecule": 8, "complex": 3, "pathway": 1}


@pytest.mark.parametrize("suffix", ["graphml", "cx2", "sif"])
def test_graph_convert_writes_formats_and_never_overwrites(suffix: str, command, project: Path):
    assert command("graph", "convert", "net", f"net.{suffix}")[0] == 0
    content_before = (project / f"net.{suffix}").read_bytes()
    code, _, err = command("graph", "convert", "net", f"net.{suffix}")
    assert code == 2
    assert "--overwrite" in err
    assert (project / f"net.{suffix}").read_bytes() == content_before


def test_data_list_and_verify_cover_every_data_set(command):
    code, out, _ = command("data", "list", "--json")
    assert code == 0
    for name in json.loads(out):
        assert command("data", "verify", name)[0] == 0


def test_verify_notices_a_changed_file(command, tmp_path, monkeypatch):
    shutil.copytree(content.find("datasets", "pbmc_affinities"), tmp_path / "copy")
    (tmp_path / "copy" / "affinities.tsv").write_text("changed")
    code, _, err = command("data", "verify", str(tmp_path / "copy"))
    assert code == 2
    assert "checksum" in err


def test_config_schema_is_json(command):
    code, out, _ = command("config", "--schema")
    assert code == 0
    assert "holdout" in json.loads(out)["properties"]


UNFINISHED = '{"format_version": 1, "key": {}, "config": {"graph": "net", "data": {"anndata": "cells.h5ad"}}}'


def begun(folder: Path, finished: bool = False) -> None:
    """A folder in which a run was begun."""
    (folder / "out" / "checkpoint").mkdir(parents=True)
    (folder / "out" / "checkpoint" / "run.json").write_text(UNFINISHED)
    if finished:
        (folder / "out" / "checkpoint" / "outputs.safetensors").write_bytes(b"")


FIT = ("fit", "fit.toml", "--out", "out")
WRONG = {
    "unfinished run": (begun, FIT, ["an unfinished run", "--resume", "--overwrite"]),
    "finished run": (lambda folder: begun(folder, True), FIT, ["a finished run", "--resume"]),
    "resume and overwrite": (begun, (*FIT, "--resume", "--overwrite"), ["give one of them"]),
    "resume of another run": (
        begun,
        (*FIT, "--resume"),
        ["begun with something else", "`fit.starts` was None, is 3"],
    ),
    "resume of something else": (full_folder, (*FIT, "--resume"), ["holds files but no run"]),
    "nothing to resume": (None, ("fit", "--resume", "net"), ["net", "holds no run"]),
    "run without --resume": (begun, ("fit", "out"), ["is a folder", "--resume"]),
    "neither CONFIG nor RUN": (None, ("fit",), ["CONFIG is missing"]),
    "no --out": (None, ("fit", "fit.toml"), ["`--out` is missing"]),
    "two runs": (begun, ("fit", "out", "--resume", "--out", "other"), ["`--out` = other"]),
    "controls of nothing": (
        config_edit('[holdout]\ntable = "proteome"\nfolds = 2\nstarts = 1\n', ""),
        (*FIT, "--controls", "3"),
        ["[holdout]"],
    ),
    "export of an unfinished run": (
        begun,
        ("export", "out", "--format", "sif"),
        ["network.graphml", "--resume"],
    ),
    "export of no run": (None, ("export", "net", "--format", "sif"), ["give the folder of a run"]),
    "unknown format": (begun, ("export", "out", "--format", "graphm"), ["did you mean `graphml`", "`h5mu`"]),
    "report of an unfinished run": (begun, ("report", "out"), ["metrics.json", "`fit --resume out`"]),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_with_runs_is_one_line_and_changes_no_file(mistake: str, command, project: Path):
    spoil, arguments, words = WRONG[mistake]
    if spoil is not None:
        spoil(project)
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    code, out, err = command(*arguments)
    assert code == 2
    last = err.splitlines()[-1]
    assert last.startswith("multiscale: "), err
    assert "Traceback" not in err
    assert all(word in last for word in words), err
    assert out == ""
    after = {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and path.name != "lock"}
    assert after == before


def interrupted(*_):
    raise KeyboardInterrupt


def test_an_interrupted_fit_says_how_to_go_on_and_goes_on(command, project: Path, monkeypatch):
    with monkeypatch.context() as stopped:
        stopped.setattr(runs, "complete", interrupted)
        code, _, err = command(*FIT)
    assert code == 130
    assert "`multiscale fit --resume out` goes on" in err
    assert [path.name for path in (project / "out").iterdir()] == ["checkpoint"]
    assert command("fit", "--resume", "out", "--controls", "0")[0] == 0
    assert (project / "out" / "report.html").is_file()


def test_an_interrupt_before_anything_was_kept_says_that_nothing_was_written(
    command, project: Path, monkeypatch
):
    monkeypatch.setattr(runs, "problem_from_config", interrupted)
    code, _, err = command(*FIT)
    assert (code, "nothing was written" in err, (project / "out").exists()) == (130, True, False)


def test_a_run_is_exported_and_reported_again_from_its_folder_alone(command, project: Path):
    assert command(*FIT)[0] == 0
    for name in ("fit.toml", "cells.h5ad", "copies.tsv", "affinities.tsv"):
        (project / name).unlink()
    code, out, err = command("export", "out", "--format", "graphml,cx2", "--format", "sif,tsv,h5ad", "--json")
    assert code == 0, err
    files = json.loads(out)["files"]
    assert [Path(name).name for name in files] == [
        "network.graphml",
        "network.cx2",
        "network.sif",
        "parameters.tsv",
        "results.h5ad",
    ]
    assert all((project / name).is_file() for name in files)
    code, _, err = command("export", "out", "--format", "cx2")
    assert (code, "--overwrite" in err) == (2, True)
    assert command("export", "out", "--format", "cx2", "--overwrite")[0] == 0
    page = (project / "out" / "report.html").read_bytes()
    assert command("report", "out", "--out", "again.html")[0] == 0
    assert (project / "again.html").read_bytes() == page
    assert command("fit", "--resume", "out")[0] == 2  # the data are gone
    metrics = json.loads((project / "out" / "metrics.json").read_text())
    del metrics["tables"], metrics["sentences"]  # as the first runs wrote it
    (project / "out" / "metrics.json").write_text(json.dumps(metrics))
    assert command("report", "out")[0] == 0


def test_every_export_format_is_named_in_the_help():
    from multiscale.cli import EXPORTS
    from multiscale.runs.store import export_formats

    assert {part.split(" ")[0] for part in EXPORTS.split(", ")} == set(export_formats())
