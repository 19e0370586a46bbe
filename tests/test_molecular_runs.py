"""Fits to readings from their TOML to their folder, and predictions from there; every mistake is one line."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multiscale.cli import main
from multiscale.config import Config, ReadingsSection, read_config
from multiscale.errors import ConfigError
from multiscale.fit.api import MOLECULAR, SEARCH
from multiscale.formats.tables import read_table
from multiscale.graph import Graph, write_graph
from multiscale.runs.readings import read_section, rows_to_predict
from multiscale.units import kT

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
WILD = "MKTAYIAKQRQI"
KT = kT(303.15)
FOLD, BIND = -1.5, -1.0

TOML = """
title = "Scan"
graph = "states"
temperature = 303.15
[data.readings.abundance]
path = "abundance.tsv"
instrument = "fitness"
species = "folded + bound"
of = "protein"
sd_column = "sd"
sequence = { molecule = "protein", column = "aa_seq", first = 2, reference_where = { WT = true } }
conditions = { ligand = 0.0 }
holdout = { fraction = 0.1, seed = 1 }
[data.readings.binding]
path = "binding.tsv"
instrument = "fitness"
species = "bound"
of = "protein"
sd_column = "sd"
sequence = { molecule = "protein", column = "aa_seq", first = 2, reference_where = { WT = true } }
split = "set"
fitted = ["training"]
[encoders.mutations]
type = "additive"
molecule = "protein"
terms = ["fold", "bind"]
[fit]
starts = 2
seed = 1
"""


def states() -> Graph:
    """A protein that folds, and binds a ligand held at 1 M."""
    parameters = pd.DataFrame(
        {
            "parameterId": ["fold", "bind"],
            "nominalValue": [-1.0, -1.0],
            "objectivePriorType": "normal",
            "objectivePriorParameters": ["-1;2", "-1;3"],
            "unit": "kcal/mol",
            "role": "energy",
        }
    )
    molecules = pd.DataFrame(
        {"name": ["protein", "ligand"], "initial": ["", "1e6"], "constant": [False, True]}
    )
    complexes = pd.DataFrame({"name": ["folded", "bound"], "energy": ["fold", "fold;bind"]})
    subunits = pd.DataFrame(
        {"source": ["protein", "protein", "ligand"], "target": ["folded", "bound", "bound"]}
    )
    nodes = {"molecule": molecules, "complex": complexes}
    return Graph.from_tables("states", nodes, {"subunit": subunits}, parameters, {"licence": "CC0-1.0"})


def scan(rng: np.random.Generator, rows: int) -> tuple[list[str], np.ndarray]:
    """Single and double mutants, four letters per position, and the ΔΔG of folding and binding of each."""
    letters = [[c for c in LETTERS if c != w][:4] for w in WILD]
    effect = rng.normal(0.0, 1.0, (len(WILD), 4, 2))  # as the prior has it
    singles = [((i, k),) for i in range(len(WILD)) for k in range(4)]
    doubles = [
        tuple((int(i), int(rng.integers(4))) for i in sorted(rng.choice(len(WILD), 2, replace=False)))
        for _ in range(rows - len(singles) - 1)
    ]
    texts, energies = [WILD], [np.zeros(2)]
    for variant in [*singles, *doubles]:
        text = list(WILD)
        for i, k in variant:
            text[i] = letters[i][k]
        texts.append("".join(text))
        energies.append(np.sum([effect[i, k] for i, k in variant], axis=0))
    return texts, np.array(energies)


def fractions(energies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fraction folded without ligand, fraction bound with it (1 M)."""
    fold, bind = FOLD + energies[:, 0], BIND + energies[:, 1]
    folded, bound = np.exp(-fold / KT), np.exp(-(fold + bind) / KT)
    return folded / (1 + folded), bound / (1 + folded + bound)


def write_project(folder: Path) -> None:
    rng = np.random.default_rng(0)
    texts, energies = scan(rng, 300)
    for name, fraction in zip(("abundance", "binding"), fractions(energies), strict=True):
        value = 0.1 + 1.2 * fraction + rng.normal(0, 0.03, len(texts))
        table = pd.DataFrame(
            {"aa_seq": texts, "WT": [text == WILD for text in texts], "value": value, "sd": 0.03}
        )
        table["set"] = np.where(
            (np.arange(len(table)) <= 4 * len(WILD)) | (rng.random(len(table)) < 0.8), "training", "held"
        )
        table.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
    write_graph(states(), folder / "states")
    (folder / "fit.toml").write_text(TOML)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A project with a finished run in `out`."""
    folder = tmp_path_factory.mktemp("scan")
    write_project(folder)
    from multiscale.runs.molecular import run_molecular

    run_molecular(read_config(folder / "fit.toml"), folder / "out", progress=False)
    return folder


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


@pytest.fixture
def scanned(tmp_path: Path, monkeypatch) -> Path:
    """A project that is not fitted yet; it is the working folder."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# The TOML


def config_of(tmp_path: Path, text: str) -> Config:
    (tmp_path / "fit.toml").write_text(text)
    return read_config(tmp_path / "fit.toml")


def test_conditions_are_numbers_columns_or_columns_with_a_unit(tmp_path: Path):
    text = TOML.replace("{ ligand = 0.0 }", '{ a = 1, b = "b_nM", c = { column = "c", unit = "nM" } }')
    found = config_of(tmp_path, text).data.readings["abundance"].conditions
    assert (found["a"].value, found["b"].column) == (1.0, "b_nM")
    assert (found["c"].column, found["c"].unit) == ("c", "nM")


def test_settings_come_back_from_json_as_they_were(tmp_path: Path):
    config = config_of(tmp_path, TOML)
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert config.data.readings["abundance"].model_extra == {
        "species": "folded + bound",
        "of": "protein",
        "sd_column": "sd",
    }


def test_fits_to_readings_have_fewer_starts_unless_stated(tmp_path: Path):
    text = TOML[: TOML.index("[fit]")]
    assert config_of(tmp_path, text).fit.starts == 8
    assert config_of(tmp_path, text + "[fit]\nstarts = 3\n").fit.starts == 3


def test_paths_of_readings_encoders_and_priors_are_near_the_toml(tmp_path: Path):
    for name in ("abundance.tsv", "drugs.tsv", "earlier.tsv"):
        (tmp_path / name).touch()
    source = '\nsource = { entity = "drug", table = "drugs.tsv" }\n[fit]'
    text = 'priors_from = ["earlier.tsv"]\n' + TOML.replace("[fit]", source)
    config = config_of(tmp_path, text)
    assert config.data.readings["abundance"].path == str(tmp_path / "abundance.tsv")
    assert config.encoders["mutations"].model_dump()["source"]["table"] == str(tmp_path / "drugs.tsv")
    assert config.priors_from == [str(tmp_path / "earlier.tsv")]


WRONG_KEYS = {
    "condition": ("{ ligand = 0.0 }", "{ ligand = true }", ["conditions.ligand", "True"]),
    "condition without source": (
        "{ ligand = 0.0 }",
        '{ ligand = { unit = "nM" } }',
        ["column = ...", "conditions.ligand"],
    ),
    "sequence": (
        "first = 2",
        "frist = 2",
        ["`data.readings.abundance.sequence.0.frist`", "did you mean `first`"],
    ),
    "holdout": ("fraction = 0.1", "fraction = 1.5", ["holdout.fraction", "1.5"]),
    "method": ("[fit]", '[fit]\nmethod = "newtn"', ["`fit.method` = 'newtn'", "'newton'"]),
}


@pytest.mark.parametrize("key", WRONG_KEYS)
def test_a_wrong_key_of_readings_is_named(key: str, tmp_path: Path):
    old, new, words = WRONG_KEYS[key]
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, TOML.replace(old, new, 1))
    assert all(word in str(caught.value) for word in words), caught.value


# Mistakes


def toml(old: str, new: str):
    def spoil(folder: Path) -> None:
        text = (folder / "fit.toml").read_text()
        assert old in text
        (folder / "fit.toml").write_text(text.replace(old, new, 1))

    return spoil


def table(old: str, new: str, file: str = "binding.tsv"):
    def spoil(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return spoil


MISTAKES = {
    "missing table": (lambda folder: (folder / "binding.tsv").unlink(), ["binding.tsv", "MULTISCALE_DATA"]),
    "missing graph": (lambda folder: shutil.rmtree(folder / "states"), ["states"]),
    "unknown key": (
        toml("fitted =", "fited ="),
        ["[data.readings.binding]", "`fited`", "did you mean `fitted`"],
    ),
    "unknown instrument": (
        toml('"fitness"', '"fitnes"'),
        ["[data.readings.abundance]", "did you mean `fitness`"],
    ),
    "option of the instrument missing": (toml('of = "protein"\n', ""), ["abundance", "key `of` is missing"]),
    "wrong option": (
        toml('of = "protein"', 'of = "protein"\ncalibration = "afine"'),
        ["abundance", "did you mean `affine`"],
    ),
    "species not in the graph": (toml('"folded + bound"', '"foldd"'), ["abundance", "did you mean `folded`"]),
    "condition not in the graph": (toml("{ ligand = 0.0 }", "{ ligandd = 0.0 }"), ["did you mean `ligand`"]),
    "unknown encoder": (toml('"additive"', '"aditive"'), ["[encoders.mutations]", "did you mean `additive`"]),
    "option of the encoder": (
        toml("terms =", "pior_sd = 1.0\nterms ="),
        ["`pior_sd`", "did you mean `prior_sd`"],
    ),
    "term not in the graph": (
        toml('["fold", "bind"]', '["fold", "bnd"]'),
        ["`mutations`", "did you mean `bind`"],
    ),
    "label that no row has": (toml('fitted = ["training"]', 'fitted = ["train"]'), ["`train`", "training"]),
    "labels without split": (toml('split = "set"\n', ""), ["binding", "`fitted`", "`split`"]),
    "split and holdout": (toml("holdout =", 'split = "set"\nholdout ='), ["abundance", "exclude each other"]),
    "section of cells": (toml("[fit]", '[holdout]\ntable = "a"\n[fit]'), ["`holdout`", "[data.readings]"]),
    "controls of cells": (
        toml("[fit]", "[controls]\nrewirings = 3\n[fit]"),
        ["`controls`", "[data.readings]"],
    ),
    "encoders without readings": (
        lambda folder: (folder / "fit.toml").write_text(
            'graph = "states"\n[data]\n[encoders.a]\ntype = "additive"\n'
        ),
        ["[encoders]", "[data.readings.<name>]"],
    ),
    "letter outside the alphabet": (table("MKTAYIAK", "MKTAYIBK"), ["binding.tsv", "line", "B"]),
    "sequence too short": (table("MKTAYIAK", "MKTAYIA"), ["binding.tsv", "line"]),
    "no wild type": (table("True", "False"), ["binding.tsv", "wild type", "absent"]),
    "no number": (table("0.03\t", "x\t"), ["binding.tsv", "line", "x"]),
    "missing prior": (toml('title = "Scan"', 'priors_from = ["runs/none"]'), ["`priors_from`", "runs/none"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_exit_code_two_and_nothing_written(mistake: str, command, scanned: Path):
    spoil, words = MISTAKES[mistake]
    spoil(scanned)
    code, out, err = command("fit", "fit.toml", "--out", "out")
    last = err.splitlines()[-1]
    assert (code, out, (scanned / "out").exists()) == (2, "", False), err
    assert last.startswith("multiscale: ")
    assert all(line.startswith(("multiscale: ", "readings `")) for line in err.splitlines()), err
    assert all(word in last for word in words), err


# A run


def test_a_run_writes_tables_metrics_graph_and_page(finished: Path):
    out = finished / "out"
    names = {path.name for path in out.iterdir()}
    assert names >= {
        *(
            "parameters.tsv",
            "energies.tsv",
            "energies.h5ad",
            "undetermined.tsv",
            "metrics.json",
            "config.json",
        ),
        *(
            "predictions_abundance.tsv",
            "predictions_binding.tsv",
            "report.html",
            "model",
            "graph",
            "checkpoint",
        ),
    }
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_energies_are_those_that_made_the_scan(finished: Path):
    learned = read_table(finished / "out" / "energies.tsv")
    _, energies = scan(np.random.default_rng(0), 150)
    letters = [[c for c in LETTERS if c != wild][:4] for wild in WILD]
    labels = [f"{wild}{i + 2}{letter}" for i, wild in enumerate(WILD) for letter in letters[i]]
    for column, term in enumerate(("fold", "bind")):
        estimate = learned[learned["term"] == term].set_index("label").loc[labels, "estimate"]
        assert np.corrcoef(estimate, energies[1 : len(labels) + 1, column])[0, 1] > 0.9


def test_rows_that_were_not_fitted_are_scored(finished: Path):
    metrics = json.loads((finished / "out" / "metrics.json").read_text())
    scores = metrics["readings"]["binding"]["held"]
    table = read_table(finished / "out" / "predictions_binding.tsv")
    assert set(table["split"]) == {"held"}
    assert scores["n"] == len(table)
    assert scores["r2"] > 0.9
    off = table["observed"] - table["predicted"]
    assert scores["rmse"] == pytest.approx(math.sqrt((off**2).mean()))
    assert 0.7 <= scores["coverage_90"] <= 1.0
    assert set(scores) >= {"n", "r2", "rmse", "spearman", "coverage_90", "log_density"}


def test_the_energies_of_a_run_are_priors_of_another_graph(finished: Path):
    from multiscale.runs.priors import graph_with_priors

    learned = read_table(finished / "out" / "parameters.tsv").set_index("parameterId")
    graph = graph_with_priors(states(), [str(finished / "out")])
    for name in ("fold", "bind"):
        mean, sd = map(float, str(graph.parameters.at[name, "objectivePriorParameters"]).split(";"))
        assert mean == pytest.approx(learned.at[name, "nominalValue"])
        assert 0 < sd < 1


def test_heat_maps_are_position_by_residue(finished: Path):
    learned = read_table(finished / "out" / "energies.tsv")
    heat = read_table(finished / "out" / "heatmap_mutations_fold.tsv").set_index("position")
    assert (heat.index[0], len(heat)) == (2, len(WILD))
    row = learned[(learned["term"] == "fold") & (learned["label"] == "M2A")].iloc[0]
    assert heat.at[2, "A"] == pytest.approx(row["estimate"])
    assert math.isnan(float(str(heat.at[2, "W"])))  # which no row has


def test_the_page_is_written_again_from_the_tables_of_the_run(finished: Path, command, tmp_path: Path):
    assert command("report", finished / "out", "--out", tmp_path / "again.html")[0] == 0
    assert (tmp_path / "again.html").read_bytes() == (finished / "out" / "report.html").read_bytes()


def test_a_finished_run_has_nothing_left_to_do_and_other_settings_are_refused(finished: Path, command):
    before = (finished / "out" / "metrics.json").read_bytes()
    assert command("fit", finished / "fit.toml", "--out", finished / "out", "--resume")[0] == 0
    assert (finished / "out" / "metrics.json").read_bytes() == before
    code, _, err = command("fit", finished / "fit.toml", "--out", finished / "out")
    assert (code, "a finished run" in err) == (2, True)


def test_a_stopped_run_goes_on_from_its_folder_and_ends_with_the_same_numbers(
    finished: Path, command, tmp_path: Path, monkeypatch
):
    from multiscale.runs import molecular

    with monkeypatch.context() as stopped:
        stopped.setattr(molecular, "_write", interrupted)
        code, _, err = command("fit", finished / "fit.toml", "--out", tmp_path / "out")
    assert (code, "--resume" in err) == (130, True)
    monkeypatch.chdir(tmp_path)
    assert command("fit", "--resume", "out")[0] == 0
    for name in ("parameters.tsv", "energies.tsv", "predictions_binding.tsv"):
        assert (tmp_path / "out" / name).read_text() == (finished / "out" / name).read_text()


def interrupted(*_, **__):
    raise KeyboardInterrupt


# Predictions


def rows(folder: Path, *variants: str) -> Path:
    """A table with variants to predict, without measurements."""
    path = folder / "rows.tsv"
    pd.DataFrame({"aa_seq": variants, "name": [f"v{i}" for i in range(len(variants))]}).to_csv(
        path, sep="\t", index=False
    )
    return path


def test_rows_of_a_file_are_predicted_with_intervals(finished: Path, command, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = read_table(finished / "binding.tsv").head(50)
    file = rows(tmp_path, *source["aa_seq"])
    code, out, err = command("predict", finished / "out", file, "--readings", "binding")
    assert (code, out) == (0, "50 rows: predictions.tsv\n"), err
    table = read_table(tmp_path / "predictions.tsv")
    assert list(table.columns) == ["aa_seq", "name", "predicted", "lower", "upper", "fit_lower", "fit_upper"]
    assert ((table["lower"] < table["predicted"]) & (table["predicted"] < table["upper"])).all()
    off = table["predicted"] - source["value"]
    assert math.sqrt((off**2).mean()) < 0.06


def test_measurements_in_a_file_to_predict_are_ignored(finished: Path, command, tmp_path: Path):
    for name in ("a", "b"):
        table = read_table(finished / "binding.tsv").head(9)
        table = table.assign(value="nonsense") if name == "b" else table.drop(columns=["value", "sd"])
        table.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
        arguments = (finished / "out", tmp_path / f"{name}.tsv", "--readings", "binding", "--json")
        code, out, err = command("predict", *arguments, "--out", tmp_path / f"{name}.out.tsv")
        assert (code, json.loads(out)["rows"]) == (0, 9), err
    assert (tmp_path / "a.out.tsv").read_text() == (tmp_path / "b.out.tsv").read_text()


def test_rows_are_not_left_out_for_what_was_measured_of_them(tmp_path: Path):
    table = pd.DataFrame(
        {"drug": list("abc"), "Kd": [1.0, 2.0, 3.0], "call": ["binder", "binder", "aggregate"]}
    )
    table.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    options = {"complex": "bound", "columns": {"value": "Kd", "relation": "call"}, "unit_of_value": "uM"}
    options |= {"relations": {"binder": "="}, "where": {"call": ["binder"], "drug": ["a", "b", "c"]}}
    path = str(tmp_path / "pairs.tsv")
    section = ReadingsSection(path=path, instrument="affinity", entities={"drug": "drug"}, **options)
    fitted = read_section("pairs", section)
    assert len(fitted) == 2 and len(rows_to_predict(path, section, fitted)) == 3


UNSEEN = "W" + WILD[1:]
PREDICT = {
    "no readings named": ((), [WILD], ["--readings", "abundance, binding"]),
    "unknown readings": (("--readings", "bindin"), [WILD], ["did you mean `binding`"]),
    "unseen mutation": (("--readings", "binding"), [WILD, UNSEEN], ["rows.tsv", "line 3", "M2W"]),
    "other length": (("--readings", "binding"), [WILD, WILD[1:]], ["rows.tsv", "line 3"]),
    "letter": (("--readings", "binding"), ["B" + WILD[1:]], ["rows.tsv", "line 2", "B"]),
}


@pytest.mark.parametrize("mistake", PREDICT)
def test_rows_that_cannot_be_predicted_are_named_in_one_line(
    mistake: str, finished: Path, command, tmp_path: Path
):
    options, variants, words = PREDICT[mistake]
    file = rows(tmp_path, *variants)
    code, out, err = command("predict", finished / "out", file, *options, "--out", tmp_path / "p.tsv")
    assert (code, out, err.count("\n"), (tmp_path / "p.tsv").exists()) == (2, "", 1, False), err
    assert all(word in err for word in words), err


def test_missing_files_folders_and_outputs_that_exist_are_refused(finished: Path, command, tmp_path: Path):
    file = rows(tmp_path, WILD)
    (tmp_path / "taken.tsv").write_text("mine")
    ask = ("--readings", "binding", "--out")
    for arguments, words in (
        ((finished / "out", tmp_path / "none.tsv", *ask, tmp_path / "p.tsv"), "no such file"),
        ((tmp_path / "none", file, *ask, tmp_path / "p.tsv"), "give the folder of a run"),
        ((finished / "out", file, *ask, tmp_path / "taken.tsv"), "--overwrite"),
        ((finished / "out", file, *ask, tmp_path / "p.csv"), "must end in .tsv"),
        ((finished / "out", file, *ask, tmp_path / "none" / "p.tsv"), "does not exist"),
    ):
        code, out, err = command("predict", *arguments)
        assert (code, out, err.count("\n"), words in err) == (2, "", 1, True), err
    assert (tmp_path / "taken.tsv").read_text() == "mine"


def test_predictions_are_refused_where_the_fitted_rows_have_changed(finished: Path, command, tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    config = json.loads((folder / "out" / "config.json").read_text())
    config["data"]["readings"]["binding"]["path"] = str(folder / "binding.tsv")
    (folder / "out" / "config.json").write_text(json.dumps(config))
    table("0.03\t", "0.04\t")(folder)
    code, _, err = command(
        "predict", folder / "out", rows(tmp_path, WILD), "--readings", "binding", "--out", tmp_path / "p.tsv"
    )
    assert (code, "data have changed since the fit: `readings binding" in err) == (2, True), err


EXPERIMENTS = Path(__file__).parents[1] / "experiments"


@pytest.mark.parametrize("name", ["gb1", "joint_energy", "kinase_affinity", "pbmc_complexes"])
def test_fit_takes_all_options_that_a_configuration_states(name: str) -> None:
    config = read_config(EXPERIMENTS / name / "config.toml")
    known = {"seed", "accelerator", "threads", *(MOLECULAR if config.molecular else SEARCH)}
    assert set(config.fit_options) <= known and "starts" in config.fit_options
