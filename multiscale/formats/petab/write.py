"""Writing parameter estimation problems, and estimates, in PEtab format."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from multiscale import atomic
from multiscale.errors import FormatError, nearest
from multiscale.formats.petab.condition_rows import conditions_of_1, conditions_of_2
from multiscale.formats.petab.model import renamed
from multiscale.formats.petab.parameter_rows import parameter_rows
from multiscale.formats.petab.problem import PetabProblem
from multiscale.formats.petab.write_tables import Cells, formula_text, identifier, number_text, write_table
from multiscale.formats.sbml.elements import sbml_identifiers

__all__ = ["write_parameters", "write_petab"]


def write_petab(
    problem: PetabProblem, folder: str | Path, *, version: int = 1, overwrite: bool = False
) -> Path:
    """Write a problem with its model, all files or none.

    Version 1 holds experiments that start at 0, after a steady state or not, and set quantities to numbers
    and parameters; version 2 also later changes, and formulas. Version 2 has no parameter scales: priors on
    a logarithmic scale become the same distributions of the parameter itself, noise of log10 that of ln.

    Args:
        problem: what to write.
        folder: a new or empty folder, unless `overwrite`.
        version: of PEtab, 1 or 2.
        overwrite: replace files of the same names.

    Returns:
        Path of the YAML file.

    Raises:
        FormatError: the version has no words for something in the problem; nothing is written.
        OutputError: the folder is not empty; nothing is written.
    """
    if version not in (1, 2):
        raise FormatError(f"`version` must be 1 or 2; got {version}.")
    tables, description = _version_1(problem) if version == 1 else _version_2(problem)
    model = _model(problem)
    name = f"{identifier(problem.name)}.yaml"
    with atomic.folder(folder, overwrite) as fresh:
        for noun, rows in tables.items():
            write_table(fresh / f"{noun}.tsv", rows)
        (fresh / "model.xml").write_text(model, encoding="utf-8", newline="")
        text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
        (fresh / name).write_text(text, encoding="utf-8", newline="")
    return Path(folder) / name


def write_parameters(problem: PetabProblem, path: str | Path, found: pd.DataFrame) -> Path:
    """Write the parameter table of a problem with what a fit found, atomically.

    Args:
        problem: whose version of PEtab the table has.
        path: file to write; an existing one is replaced.
        found: index = names of estimated parameters, others keep their nominal values; column `estimate`
            (linear scale) becomes `nominalValue`, the others, such as ends of intervals, follow PEtab's
            own.

    Returns:
        The path.

    Raises:
        FormatError: a parameter is unknown or fixed, `estimate` is missing, or a column is one of PEtab's
        own.
    """
    _check_found(problem, found)
    rows = parameter_rows(
        problem, problem.version, {str(name): float(value) for name, value in found["estimate"].items()}
    )
    further = {str(name): column.to_dict() for name, column in found.items() if name != "estimate"}
    taken = [name for name in further if any(name in row for row in rows)]
    if taken:
        raise FormatError(f"`found`: PEtab has its own column `{taken[0]}`; choose another name.")
    for name, cells in further.items():
        rows = [{**row, name: _cell(cells.get(row["parameterId"], ""))} for row in rows]
    with atomic.replace(path) as temporary:
        write_table(temporary, rows)
    return Path(path)


def _check_found(problem: PetabProblem, found: pd.DataFrame) -> None:
    if "estimate" not in found:
        listed = nearest("estimate", map(str, found.columns))
        raise FormatError(f"`found` must have a column `estimate`; {listed}")
    for name in map(str, found.index):
        if name not in problem.estimated:
            hint = nearest(name, problem.estimated)
            raise FormatError(f"`{name}` is no estimated parameter of the problem; {hint}")


def _cell(value: object) -> str:
    return number_text(value) if isinstance(value, float) else str(value)


def _version_1(problem: PetabProblem) -> tuple[dict[str, list[Cells]], dict[str, Any]]:
    """Tables by file name without its end, and what the YAML file says."""
    names = {
        name: (
            tuple(f"observableParameter{i + 1}_{name}" for i in range(len(observable.placeholders))),
            tuple(f"noiseParameter{i + 1}_{name}" for i in range(len(observable.noise_placeholders))),
        )
        for name, observable in problem.observables.items()
    }
    conditions, pairs = conditions_of_1(problem)
    tables = {
        "parameters": parameter_rows(problem, 1),
        "conditions": conditions,
        "observables": [_observable_1(problem, name, *placeholders) for name, placeholders in names.items()],
        "measurements": _measurements(problem, {name: _pair(*pair) for name, pair in pairs.items()}),
    }
    part = {f"{noun}_files": [f"{noun}s.tsv"] for noun in ("condition", "measurement", "observable")}
    parts = [{"sbml_files": ["model.xml"], **part}]
    return tables, {"format_version": 1, "parameter_file": "parameters.tsv", "problems": parts}


def _version_2(problem: PetabProblem) -> tuple[dict[str, list[Cells]], dict[str, Any]]:
    conditions, experiments, names = conditions_of_2(problem)
    tables = {
        "parameters": parameter_rows(problem, 2),
        "conditions": conditions,
        "experiments": experiments,
        "observables": [_observable_2(problem, name) for name in problem.observables],
        "measurements": _measurements(problem, {name: {"experimentId": new} for name, new in names.items()}),
    }
    tables = {noun: rows for noun, rows in tables.items() if rows}
    files = {f"{noun.removesuffix('s')}_files": [f"{noun}.tsv"] for noun in tables}
    models = {"model_files": {"model": {"location": "model.xml", "language": "sbml"}}}
    return tables, {"format_version": "2.0.0", "id": identifier(problem.name), **models, **files}


def _model(problem: PetabProblem) -> str:
    """SBML of the model; local parameters, which tables cannot name, get identifiers."""
    from multiscale.formats.sbml.write import equations_to_sbml  # loads PyTorch, which tables do not need

    names = sbml_identifiers(problem.equations)
    new = {name: other for name, other in names.items() if name != other}
    return equations_to_sbml(renamed(problem.equations, new), problem.name)


def _pair(before: str, after: str) -> Cells:
    return {"preequilibrationConditionId": before, "simulationConditionId": after}


def _observable_1(
    problem: PetabProblem, name: str, placeholders: Sequence[str], noise_placeholders: Sequence[str]
) -> Cells:
    observable = problem.observables[name]
    new = dict(zip(observable.placeholders, placeholders, strict=True))
    new |= dict(zip(observable.noise_placeholders, noise_placeholders, strict=True))
    return {
        "observableId": name,
        "observableName": observable.title,
        "observableFormula": formula_text(observable.formula, new),
        "observableTransformation": observable.scale,
        "noiseFormula": formula_text(observable.noise, new),
        "noiseDistribution": observable.distribution,
    }


def _observable_2(problem: PetabProblem, name: str) -> Cells:
    observable = problem.observables[name]
    noise = observable.noise * math.log(10.0) if observable.scale == "log10" else observable.noise
    return {
        "observableId": name,
        "observableName": observable.title,
        "observableFormula": formula_text(observable.formula),
        "observablePlaceholders": ";".join(observable.placeholders),
        "noiseFormula": formula_text(noise),
        "noisePlaceholders": ";".join(observable.noise_placeholders),
        "noiseDistribution": ("" if observable.scale == "lin" else "log-") + observable.distribution,
    }


def _measurements(problem: PetabProblem, places: Mapping[str, Cells]) -> list[Cells]:
    rows = [
        {
            "observableId": m.observable,
            **places[m.experiment],
            "measurement": number_text(m.value),
            "time": number_text(m.time),
            "observableParameters": ";".join(formula_text(e) for e in m.overrides),
            "noiseParameters": ";".join(formula_text(e) for e in m.noise_overrides),
            "datasetId": m.dataset,
            "replicateId": m.replicate,
        }
        for m in problem.measurements
    ]
    optional = ("preequilibrationConditionId", "datasetId", "replicateId")
    empty = [name for name in optional if not any(row.get(name) for row in rows)]
    return [{name: cell for name, cell in row.items() if name not in empty} for row in rows]
