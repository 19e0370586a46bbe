"""PEtab version 2: what its files say.

Source: PEtab data format specification, version 2.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from multiscale.equations.expression import Expression, symbols_of
from multiscale.equations.model import Equations
from multiscale.errors import nearest
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
from multiscale.formats.petab.model import names_of, read_model, renamed
from multiscale.formats.petab.priors import PRIORS
from multiscale.formats.petab.problem import Measurement, Observable, PetabParameter, PetabProblem, Phase
from multiscale.formats.petab.tables import Problems, Row, Tables

__all__ = ["read_version_2"]

_KEYS = (
    "format_version",
    "id",
    "parameter_files",
    "model_files",
    "measurement_files",
    "condition_files",
    "experiment_files",
    "observable_files",
    "mapping_files",
    "extensions",
)
_DISTRIBUTIONS: dict[str, tuple[str, str]] = {
    "normal": ("normal", "lin"),
    "laplace": ("laplace", "lin"),
    "log-normal": ("normal", "log"),
    "log-laplace": ("laplace", "log"),
}
_REQUIRED = {
    "parameter": ("parameterId", "lowerBound", "upperBound", "estimate"),
    "observable": ("observableId", "observableFormula", "noiseFormula"),
    "condition": ("conditionId", "targetId", "targetValue"),
    "experiment": ("experimentId", "time", "conditionId"),
    "measurement": ("observableId", "experimentId", "time", "measurement"),
    "mapping": ("petabEntityId", "modelEntityId"),
}

Change = tuple[Expression, Row]


def read_version_2(path: Path, content: Mapping[str, Any]) -> PetabProblem:
    """Read a problem of version 2.

    Args:
        path: of the YAML file.
        content: of the YAML file.

    Raises:
        FormatError: anything is wrong; one error lists all problems.
    """
    problems = Problems(path)
    for key in content:
        if key not in _KEYS:
            problems.add(f"unknown key `{key}`; {nearest(key, _KEYS)}")
    check_extensions(content, problems)
    tables = Tables(path, problems)
    rows = {noun: _rows(tables, content, noun) for noun in _REQUIRED}
    model_id, model_path, equations = _model(tables, content, problems)
    equations = _with_aliases(equations, rows["mapping"])
    named = {
        "parameter": by_name(rows["parameter"], "parameterId"),
        "observable": by_name(rows["observable"], "observableId"),
    }
    targets = {row.text("targetId") for row in rows["condition"]}
    scope = Scope(None if problems.unread else equations, list(named["parameter"]), targets)
    parameters = _parameters(named["parameter"])
    conditions = _conditions(rows["condition"], scope)
    stated = {name: _observable(row, scope) for name, row in named["observable"].items()}
    observables = whole_observables(stated, named["observable"], scope)
    experiments = _experiments(rows["experiment"], conditions, parameters)
    if any(not row.text("experimentId") for row in rows["measurement"]):
        experiments[""] = (Phase(0.0),)
    measurements = tuple(
        _measurement(i, row, observables, experiments, parameters, model_id)
        for i, row in enumerate(rows["measurement"])
    )
    _check_names(
        rows["condition"], named["parameter"], scope, conditions, names_read(observables, measurements)
    )
    if not measurements and not problems.unread:
        problems.add("`measurement_files`: no table has a row; add measurements.")
    problems.raise_any()
    assert equations is not None  # otherwise there was a problem
    name = str(content.get("id") or path.stem)
    return PetabProblem(
        path, 2, name, equations, parameters, experiments, observables, measurements, model_path
    )


def _rows(tables: Tables, content: Mapping[str, Any], noun: str) -> list[Row]:
    required = noun in ("parameter", "observable", "measurement")
    return tables.rows(tables.files(content, f"{noun}_files", required), _REQUIRED[noun], noun)


def _model(
    tables: Tables, content: Mapping[str, Any], problems: Problems
) -> tuple[str, Path | None, Equations | None]:
    """Name, path and equations of the only model."""
    models = content.get("model_files")
    if not isinstance(models, dict) or len(models) != 1:
        count = len(models) if isinstance(models, dict) else 0
        problems.add(
            f"`model_files` must name one model; got {count}. Problems with several are not supported."
        )
        return "", None, None
    name, model = next(iter(models.items()))
    if not isinstance(model, dict) or not isinstance(model.get("location"), str):
        problems.add(f"`model_files`: `{name}` must have `location` and `language`; got {model!r}.")
        return str(name), None, None
    if model.get("language") != "sbml":
        problems.add(f"`model_files`: `language` of `{name}` must be `sbml`; got `{model.get('language')}`.")
        return str(name), None, None
    path = tables.file("model_files", model["location"])
    return str(name), path, None if path is None else read_model(path, problems)


def _with_aliases(equations: Equations | None, rows: Sequence[Row]) -> Equations | None:
    """Equations in which quantities have the names that the mapping table gives them."""
    found = by_name(rows, "petabEntityId")
    names = {row.text("modelEntityId"): name for name, row in found.items() if row.text("modelEntityId")}
    if equations is None:
        return None
    known = names_of(equations)
    for inner, name in names.items():
        if inner not in known:
            found[name].note("modelEntityId", f"the model has no `{inner}`; {nearest(inner, known)}")
        elif inner != name and name in known:
            found[name].note("petabEntityId", f"the model has another `{name}`; choose another name.")
    return renamed(equations, {inner: name for inner, name in names.items() if inner != name})


def _parameters(rows: Mapping[str, Row]) -> dict[str, PetabParameter]:
    parameters = {name: _parameter(name, row) for name, row in rows.items()}
    if not any(parameter.prior for parameter in parameters.values()):
        return parameters
    return {
        name: _with_uniform(rows[name], parameter)
        if parameter.estimate and not parameter.prior
        else parameter
        for name, parameter in parameters.items()
    }


def _parameter(name: str, row: Row) -> PetabParameter:
    estimate = row.text("estimate").lower()
    if estimate not in ("true", "false"):
        row.note("estimate", f"must be true or false; got `{row.text('estimate')}`.")
    lower, upper = row.number("lowerBound"), row.number("upperBound")
    parameter = PetabParameter(name, "lin", lower, upper, row.number("nominalValue"), estimate == "true")
    check_bounds(row, parameter)
    kind = row.choice("priorDistribution", PRIORS, "")
    if not kind or not parameter.estimate or not lower <= upper:
        return parameter
    prior = prior_of(row, "priorParameters", kind, "lin", (lower, upper), "")
    return replace(parameter, prior=prior, start_prior=prior)


def _with_uniform(row: Row, parameter: PetabParameter) -> PetabParameter:
    """Parameter without a prior beside ones that have priors: uniform between its bounds."""
    ends = f"{parameter.lower!r};{parameter.upper!r}"
    bounds = (parameter.lower, parameter.upper)
    prior = prior_of(row, "priorParameters", "uniform", "lin", bounds, ends)
    return replace(parameter, prior=prior, start_prior=prior)


def _conditions(rows: Sequence[Row], scope: Scope) -> dict[str, dict[str, Change]]:
    """Changes by target, by condition."""
    conditions: dict[str, dict[str, Change]] = {}
    for row in rows:
        changes = conditions.setdefault(row.name("conditionId"), {})
        target = row.name("targetId")
        if target in changes:
            row.note("targetId", f"`{row.text('conditionId')}` sets `{target}` twice; remove one.")
        changes[target] = (row.formula("targetValue", scope.names), row)
        scope.check(row, "targetValue", changes[target][0])
    return conditions


def _observable(row: Row, scope: Scope) -> Observable:
    distribution, scale = _DISTRIBUTIONS[row.choice("noiseDistribution", _DISTRIBUTIONS, "normal")]
    return Observable(
        row.formula("observableFormula", scope.names),
        row.formula("noiseFormula", scope.names),
        tuple(row.parts("observablePlaceholders")),
        tuple(row.parts("noisePlaceholders")),
        distribution,
        scale,
        row.text("observableName"),
    )


def _experiments(
    rows: Sequence[Row],
    conditions: Mapping[str, Mapping[str, Change]],
    parameters: Mapping[str, PetabParameter],
) -> dict[str, tuple[Phase, ...]]:
    """Phases by experiment, in order of time."""
    found: dict[str, dict[float, list[Row]]] = {}
    for row in rows:
        if row.text("conditionId"):
            row.reference("conditionId", conditions, "condition")
        time = row.required_number("time")
        if time == math.inf:
            row.note("time", "must be finite or -inf; got inf.")
        found.setdefault(row.name("experimentId"), {}).setdefault(time, []).append(row)
    experiments = {}
    for name, times in found.items():
        first = min(times)
        phases = [_phase(time, times[time], conditions, parameters, time == first) for time in sorted(times)]
        if (
            phases[-1].time == -math.inf
        ):  # what follows the steady state starts at the initial time of the model
            phases.append(Phase(0.0))
        experiments[name] = tuple(phases)
    return experiments


def _phase(
    time: float,
    rows: Sequence[Row],
    conditions: Mapping[str, Mapping[str, Change]],
    parameters: Collection[str],
    first: bool,
) -> Phase:
    """All conditions that an experiment applies at a time."""
    changes: dict[str, Expression] = {}
    names = [row.text("conditionId") for row in rows if row.text("conditionId") in conditions]
    for row, name in zip((row for row in rows if row.text("conditionId") in conditions), names, strict=True):
        for target, (value, place) in conditions[name].items():
            if target in changes:
                row.note("conditionId", f"`{target}` is set by two conditions at time {time}; keep one.")
            changes[target] = value
            unknown = (
                sorted(symbols_of([value]) - set(parameters)) if first and not place.problems.unread else []
            )
            if unknown:
                place.note(
                    "targetValue",
                    f"`{name}` starts an experiment, so that its formulas may read only parameters of"
                    f" the parameter table; got `{unknown[0]}`.",
                )
    return Phase(time, changes, tuple(names))


def _measurement(
    i: int,
    row: Row,
    observables: Mapping[str, Observable],
    experiments: Mapping[str, tuple[Phase, ...]],
    parameters: Collection[str],
    model_id: str,
) -> Measurement:
    name = row.reference("observableId", observables, "observable")
    observable = observables.get(name)
    experiment = row.reference("experimentId", experiments, "experiment")
    time = row.required_number("time")
    start = next(
        (phase.time for phase in experiments.get(experiment, ()) if phase.time > -math.inf), -math.inf
    )
    if time < start:
        row.note("time", f"{time} is before `{experiment}` starts, at {start}.")
    if row.text("modelId") not in ("", model_id):
        row.note("modelId", f"unknown model `{row.text('modelId')}`; the only one is `{model_id}`.")
    value = measured_value(row, observable)
    changed, noise = (), ()
    if observable is not None:
        changed = overrides(row, "observableParameters", observable.placeholders, parameters)
        noise = overrides(row, "noiseParameters", observable.noise_placeholders, parameters)
    labels = row.text("datasetId"), row.text("replicateId")
    return Measurement(name, experiment, time, value, changed, noise, i, *labels)


def _check_names(
    rows: Sequence[Row],
    parameters: Mapping[str, Row],
    scope: Scope,
    conditions: Mapping[str, Mapping[str, Change]],
    read: set[str],
) -> None:
    """Note targets that cannot be set and parameters that nothing uses."""
    for row in rows:
        check_target(row, "targetId", row.text("targetId"), scope, read)
    values = [value for changes in conditions.values() for value, _ in changes.values()]
    check_parameters(parameters, scope, read | symbols_of(values))
