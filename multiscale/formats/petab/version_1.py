"""PEtab version 1: what its files say.

Source: Schmiester et al. 2021, doi:10.1371/journal.pcbi.1008646, and the PEtab data format specification,
version 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from multiscale.equations.expression import Expression, number, symbol, symbols_of
from multiscale.equations.model import Equations
from multiscale.formats.petab.check import (
    Scope,
    by_name,
    check_bounds,
    check_extensions,
    check_parameters,
    check_target,
    measured_value,
    names_read,
    overrides,
    prior_of,
    whole_observables,
)
from multiscale.formats.petab.model import constants, read_model, start_of
from multiscale.formats.petab.priors import SCALES, Prior, scaled
from multiscale.formats.petab.problem import Measurement, Observable, PetabParameter, PetabProblem, Phase
from multiscale.formats.petab.tables import IDENTIFIER, Problems, Row, Tables, is_number

__all__ = ["PRIOR_KINDS", "read_version_1"]

PRIOR_KINDS: dict[str, str] = {
    "uniform": "uniform",
    "normal": "normal",
    "laplace": "laplace",
    "logNormal": "log-normal",
    "logLaplace": "log-laplace",
    "parameterScaleUniform": "uniform",
    "parameterScaleNormal": "normal",
    "parameterScaleLaplace": "laplace",
}
"""Kind of the prior by the name of version 1; those of `parameterScale…` are densities on the parameter's
scale."""

_PARAMETERS = ("parameterId", "parameterScale", "lowerBound", "upperBound", "estimate")
_OBSERVABLES = ("observableId", "observableFormula", "noiseFormula")
_MEASUREMENTS = ("observableId", "simulationConditionId", "measurement", "time")
_NO_TARGETS = {"conditionId", "conditionName"}


def read_version_1(path: Path, content: Mapping[str, Any]) -> PetabProblem:
    """Read a problem of version 1.

    Args:
        path: of the YAML file.
        content: of the YAML file.

    Raises:
        FormatError: anything is wrong; one error lists all problems.
    """
    problems = Problems(path)
    tables = Tables(path, problems)
    part = _only(content, problems)
    model_path, equations = _model(tables, part, problems)
    rows = {
        "parameter": by_name(
            tables.rows(tables.files(content, "parameter_file"), _PARAMETERS, "parameter"), "parameterId"
        ),
        "condition": by_name(
            tables.rows(tables.files(part, "condition_files"), ("conditionId",), "condition"), "conditionId"
        ),
        "observable": by_name(
            tables.rows(tables.files(part, "observable_files"), _OBSERVABLES, "observable"), "observableId"
        ),
    }
    measured = tables.rows(tables.files(part, "measurement_files"), _MEASUREMENTS, "measurement")
    targets = sorted({column for row in rows["condition"].values() for column in row.cells} - _NO_TARGETS)
    scope = Scope(None if problems.unread else equations, list(rows["parameter"]), targets)
    parameters = {name: _parameter(name, row) for name, row in rows["parameter"].items()}
    conditions = {name: _condition(row, targets, scope) for name, row in rows["condition"].items()}
    stated = {name: _observable(name, row, scope) for name, row in rows["observable"].items()}
    observables = whole_observables(stated, rows["observable"], scope)
    measurements = tuple(
        _measurement(i, row, observables, conditions, scope) for i, row in enumerate(measured)
    )
    read = names_read(observables, measurements)
    for target, row in _first_rows(rows["condition"], targets):
        check_target(row, target, target, scope, read)
    used = read | {name for changes in conditions.values() for name in symbols_of(changes.values())}
    check_parameters(rows["parameter"], scope, used)
    if not measurements and not problems.unread:
        problems.add("`measurement_files`: no table has a row; add measurements.")
    problems.raise_any()
    assert equations is not None  # otherwise there was a problem
    experiments = _experiments(measurements, conditions, targets, equations)
    return PetabProblem(
        path, 1, path.stem, equations, parameters, experiments, observables, measurements, model_path
    )


def _only(content: Mapping[str, Any], problems: Problems) -> Mapping[str, Any]:
    """Return the one problem that the file lists."""
    check_extensions(content, problems)
    parts = content.get("problems")
    if not isinstance(parts, list) or len(parts) != 1 or not isinstance(parts[0], dict):
        count = len(parts) if isinstance(parts, list) else 0
        problems.add(f"`problems` must list one problem; got {count}. Write one YAML file for each.")
        return {}
    return parts[0]


def _model(
    tables: Tables, part: Mapping[str, Any], problems: Problems
) -> tuple[Path | None, Equations | None]:
    paths = tables.files(part, "sbml_files")
    if len(paths) > 1:
        problems.add(f"`sbml_files`: {len(paths)} models; only problems with one model are supported.")
    return (paths[0], read_model(paths[0], problems)) if len(paths) == 1 else (None, None)


def _parameter(name: str, row: Row) -> PetabParameter:
    scale = row.choice("parameterScale", SCALES, "lin")
    words = ("0", "1", "0.0", "1.0", "True", "False", "true", "false")
    estimate = row.text("estimate") if row.text("estimate") in words else ""
    if not estimate:
        row.note("estimate", f"must be 0 or 1; got `{row.text('estimate')}`.")
    lower, upper = row.number("lowerBound"), row.number("upperBound")
    chosen = estimate in ("1", "1.0", "True", "true")
    parameter = PetabParameter(name, scale, lower, upper, row.number("nominalValue"), chosen)
    check_bounds(row, parameter)
    if not chosen or not lower <= upper or (scale != "lin" and lower <= 0.0):
        return parameter
    prior = _prior(row, "objectivePrior", parameter, (-math.inf, math.inf))
    start = _prior(row, "initializationPrior", parameter, (lower, upper))
    if prior is not None and start is None and math.isfinite(lower) and lower < upper < math.inf:
        ends = float(scaled(lower, scale)), float(scaled(upper, scale))
        start = Prior(
            "uniform", ends, scale, lower, upper
        )  # the default, whatever the prior of the objective is
    return replace(parameter, prior=prior, start_prior=start)


def _prior(row: Row, prefix: str, parameter: PetabParameter, bounds: tuple[float, float]) -> Prior | None:
    """Prior of one of the two kinds; the version says nothing of cutting off those of the objective."""
    kind = row.choice(f"{prefix}Type", PRIOR_KINDS, "")
    if not kind and not row.text(f"{prefix}Parameters"):
        return None
    kind = kind or "parameterScaleUniform"
    scale = parameter.scale if kind.startswith("parameterScale") else "lin"
    ends = [float(scaled(end, scale)) for end in (parameter.lower, parameter.upper)]
    default = f"{ends[0]!r};{ends[1]!r}" if PRIOR_KINDS[kind] == "uniform" else ""
    return prior_of(row, f"{prefix}Parameters", PRIOR_KINDS[kind], scale, bounds, default)


def _condition(row: Row, targets: Sequence[str], scope: Scope) -> dict[str, Expression]:
    """What a condition sets; empty cells and NaN set nothing."""
    changes = {}
    for target in targets:
        text = row.text(target)
        if is_number(text):
            changes[target] = number(float(text))
        elif IDENTIFIER.fullmatch(text):
            changes[target] = symbol(text)
            scope.check(row, target, changes[target])
        elif text:
            row.note(target, f"must be a number or the name of a parameter; got `{text}`.")
    return changes


def _first_rows(rows: Mapping[str, Row], targets: Sequence[str]) -> list[tuple[str, Row]]:
    """Return each target with the first row that has it."""
    return [(target, next(row for row in rows.values() if target in row.cells)) for target in targets]


def _observable(name: str, row: Row, scope: Scope) -> Observable:
    formula, noise = (row.formula(column, scope.names) for column in ("observableFormula", "noiseFormula"))
    return Observable(
        formula,
        noise,
        _placeholders(row, f"observableParameter{{}}_{name}", formula, noise),
        _placeholders(row, f"noiseParameter{{}}_{name}", noise),
        row.choice("noiseDistribution", ("normal", "laplace"), "normal"),
        row.choice("observableTransformation", SCALES, "lin"),
        row.text("observableName"),
    )


def _placeholders(row: Row, pattern: str, *formulas: Expression) -> tuple[str, ...]:
    """Return the placeholders in formulas; they are numbered from 1 without gaps."""
    expression = re.compile(re.escape(pattern).replace(r"\{\}", "([0-9]{1,4})"))
    found = sorted(int(m[1]) for name in symbols_of(formulas) if (m := expression.fullmatch(name)))
    if found != list(range(1, len(found) + 1)):
        row.note("observableFormula", f"placeholders `{pattern.format('…')}` must count from 1; got {found}.")
    return tuple(pattern.format(i) for i in found)


def _measurement(
    i: int,
    row: Row,
    observables: Mapping[str, Observable],
    conditions: Mapping[str, Mapping[str, Expression]],
    scope: Scope,
) -> Measurement:
    name = row.reference("observableId", observables, "observable")
    observable = observables.get(name)
    time = row.required_number("time")
    if time < 0.0:
        row.note("time", f"must not be negative; got {time}.")
    before = row.text("preequilibrationConditionId")
    if before:
        row.reference("preequilibrationConditionId", conditions, "condition")
    after = row.reference("simulationConditionId", conditions, "condition")
    value = measured_value(row, observable)
    known = scope.names if scope.equations is not None else None
    changed, noise = (), ()
    if observable is not None:
        changed = overrides(row, "observableParameters", observable.placeholders, known)
        noise = overrides(row, "noiseParameters", observable.noise_placeholders, known)
    experiment = f"{before}+{after}" if before else after
    labels = row.text("datasetId"), row.text("replicateId")
    return Measurement(name, experiment, time, value, changed, noise, i, *labels)


def _experiments(
    measurements: Sequence[Measurement],
    conditions: Mapping[str, Mapping[str, Expression]],
    targets: Sequence[str],
    equations: Equations,
) -> dict[str, tuple[Phase, ...]]:
    """Experiments of the pairs of conditions that occur, in the order of the measurements."""
    free = constants(equations) & set(equations.parameters)
    found: dict[str, tuple[Phase, ...]] = {}
    for name in dict.fromkeys(measurement.experiment for measurement in measurements):
        before, plus, after = name.rpartition("+")
        changes = dict(conditions[after])
        for target in targets if plus else ():
            if target in free and target not in changes and target in conditions[before]:
                start = start_of(
                    equations, target
                )  # NaN means the model's value, not that of the phase before
                if start is not None:
                    changes[target] = start
        phases = (Phase(0.0, changes, (after,)),)
        found[name] = (Phase(-math.inf, conditions[before], (before,)), *phases) if plus else phases
    return found
