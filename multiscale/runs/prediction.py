"""What `multiscale predict` does: rows of a table predicted by a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from multiscale.config import Config
from multiscale.errors import ConfigError, FormatError, OutputError, nearest
from multiscale.fit.molecular.result import MolecularResult
from multiscale.formats import document
from multiscale.formats.tables import write_table
from multiscale.graph import read_graph
from multiscale.runs.fingerprint import differences, molecular_fingerprint
from multiscale.runs.folder import CHECKPOINT, RUN, is_run
from multiscale.runs.molecular_problem import Asked, molecular_problem
from multiscale.runs.readings import rows_to_predict

__all__ = ["GRAPH", "MODEL", "load_run", "predict", "predict_to_file", "readings_of_run"]

FORMAT_VERSION = 1
GRAPH, MODEL = "graph", "model"
"""Folders of a run: the graph as it was fitted, with its priors, and the fitted numbers."""


def predict(run: str | Path, file: str | Path, readings: str | None = None) -> pd.DataFrame:
    """Predict rows of a table by a finished run.

    Args:
        run: its folder.
        file: rows in the layout of the table that was fitted; columns of measurements are not needed, and
            ignored.
        readings: which readings the rows are; None where the run has only one.

    Returns:
        the columns that identify the rows, `predicted`, and `lower` and `upper`: 90 % of new measurements lie
        between them.

    Raises:
        FormatError: the folder holds no finished fit to readings, or a file is wrong.
        ConfigError: the run has several readings and none is named, or another.
        DataError: a row holds what the fit does not know, such as an unseen mutation; names file, line and
            variant.
    """
    run = Path(run)
    config = _config(run)
    name = readings_of_run(config, readings)
    if not Path(file).is_file():
        raise FormatError(
            f"{file}: no such file; give a table in the layout of `{config.data.readings[name].path}`."
        )
    result, asked = load_run(run, config)
    rows = rows_to_predict(file, config.data.readings[name], asked.problem.readings[name])
    return result.predict(rows).reset_index(drop=True)


def predict_to_file(
    run: Path, file: Path, out: Path, *, readings: str | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """`predict` into a tab-separated table, which appears whole or not at all.

    Returns:
        `file`, `readings`, `rows`.

    Raises:
        OutputError: the table exists and `overwrite` is not set, or has another suffix.
        MultiscaleError: see `predict`.
    """
    if out.suffix != ".tsv":
        raise OutputError(f"`--out {out}` must end in .tsv.")
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists; choose another name or add --overwrite.")
    if not out.parent.is_dir():
        raise OutputError(f"{out}: the folder `{out.parent}` does not exist; make it first.")
    table = predict(run, file, readings)
    write_table(table, out)
    return {"file": str(out), "readings": readings_of_run(_config(run), readings), "rows": len(table)}


def readings_of_run(config: Config, name: str | None) -> str:
    """Which readings are meant, by their name.

    Raises:
        ConfigError: there is none of that name, or no name and several to choose from.
    """
    known = list(config.data.readings)
    if name is None and len(known) == 1:
        return known[0]
    if name is None:
        raise ConfigError(
            f"the run has several readings; say which ones the rows are by `--readings`: {', '.join(known)}."
        )
    if name not in known:
        raise ConfigError(f"the run has no readings `{name}`; {nearest(name, known)}")
    return name


def load_run(run: Path, config: Config | None = None) -> tuple[MolecularResult, Asked]:
    """The result of a finished run and the problem that was fitted, rebuilt from graph and tables.

    Raises:
        FormatError: the folder holds no finished fit to readings, or data have changed since.
        MultiscaleError: data cannot be read any more.
    """
    config = _config(run) if config is None else config
    asked = molecular_problem(config, read_graph(run / GRAPH), check_rest=False)
    _refuse_changed(run, config, asked)
    return MolecularResult.load(run / MODEL, asked.problem), asked


def _config(run: Path) -> Config:
    """Settings of a finished fit to readings."""
    path = run / "config.json"
    if not path.is_file():
        unfinished = f"the run is unfinished; `multiscale fit --resume {run}` goes on" if is_run(run) else ""
        raise FormatError(f"{path}: no such file: {unfinished or 'give the folder of a run'}.")
    content = document.read(path, FORMAT_VERSION)
    try:
        config = Config.model_validate(content)
    except ValidationError:
        raise FormatError(f"{path}: is damaged; fit again.") from None
    if not config.molecular:
        raise FormatError(f"{run}: is a fit of cells; rows are predicted by fits to [data.readings].")
    return config


def _refuse_changed(run: Path, config: Config, asked: Asked) -> None:
    """Encoders learn from the fitted rows which weights there are: other rows would make other weights."""
    path = run / CHECKPOINT / RUN
    if not path.is_file():
        return
    before = document.read(path, FORMAT_VERSION)["key"]
    now = json.loads(document.to_json(molecular_fingerprint(config, asked.problem.graph, asked.all_readings)))
    differ = [
        sentence for sentence in differences(before, now) if sentence.startswith(("`readings ", "`file of "))
    ]
    if differ:
        raise FormatError(
            f"{run}: data have changed since the fit: {'; '.join(differ)}; fit again, or restore them."
        )
