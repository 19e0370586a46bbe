"""Checks of PEtab tables against each other and against the model; they note every problem with its cell."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from multiscale.equations.expression import Expression, number, substitute, symbol, symbols_of
from multiscale.equations.model import Equations
from multiscale.errors import nearest
from multiscale.formats.petab.model import changeable, constants, names_of
from multiscale.formats.petab.priors import SCALES, Prior
from multiscale.formats.petab.problem import Measurement, Observable, PetabParameter
from multiscale.formats.petab.tables import IDENTIFIER, Problems, Row, is_number

__all__ = [
    "Scope",
    "by_name",
    "check_bounds",
    "check_extensions",
    "check_parameters",
    "check_target",
    "measured_value",
    "names_read",
    "overrides",
    "prior_of",
    "whole_observables",
]


@dataclass(frozen=True)
class Scope:
    """Names that formulas of the tables may read.

    Args:
        equations: the model; None = it could not be read, so that nothing can be said about names.
        parameters: of the parameter table.
        targets: what conditions set.
    """

    equations: Equations | None
    parameters: Collection[str]
    targets: Collection[str]

    @cached_property
    def names(self) -> set[str]:
        """All names."""
        own = names_of(self.equations) if self.equations is not None else set()
        return {*own, *self.parameters, *self.targets}

    def check(self, row: Row, column: str, expression: Expression, more: Iterable[str] = ()) -> None:
        """Note names in a formula that nothing has.

        Args:
            row: where the formula is.
            column: its cell.
            expression: the formula.
            more: further names that it may read.
        """
        if self.equations is None:
            return
        known = self.names | set(more)
        for name in sorted(symbols_of([expression]) - known):
            row.note(column, f"unknown name `{name}`; {nearest(name, known)}")


def by_name(rows: Iterable[Row], column: str) -> dict[str, Row]:
    """Rows by the name in a column; names that are none or occur twice are noted, the first row counts."""
    found: dict[str, Row] = {}
    for row in rows:
        name = row.name(column)
        if name in found:
            row.note(column, f"`{name}` occurs twice, first in line {found[name].line}; remove one.")
        found.setdefault(name, row)
    return found


def check_bounds(row: Row, parameter: PetabParameter) -> None:
    """Note what keeps a parameter from being estimated, or from having a value."""
    if not parameter.estimate:
        if not math.isfinite(parameter.nominal):
            row.note("nominalValue", f"`{parameter.name}` is not estimated; it needs a finite value.")
        return
    for column, bound in (("lowerBound", parameter.lower), ("upperBound", parameter.upper)):
        if math.isnan(bound):
            row.note(column, f"`{parameter.name}` is to be estimated and has no bound; give one.")
    if math.isinf(parameter.nominal):
        row.note("nominalValue", f"must be finite; got {parameter.nominal}.")
    if parameter.lower > parameter.upper:
        row.note(
            "lowerBound", f"{parameter.lower} is above the upper bound {parameter.upper}; exchange them."
        )
    if parameter.scale != "lin":
        for column, value in (("lowerBound", parameter.lower), ("nominalValue", parameter.nominal)):
            if value <= 0.0:
                row.note(
                    column, f"{value} has no value on the scale `{parameter.scale}`; it must be positive."
                )


def prior_of(
    row: Row, column: str, kind: str, scale: str, bounds: tuple[float, float], default: str
) -> Prior | None:
    """Prior with the parameters that a cell gives; None where there is no such distribution (and noted).

    Args:
        row: of the parameter table.
        column: with numbers separated by semicolons.
        kind: of the prior.
        scale: of which it is the density.
        bounds: at which it is cut off.
        default: text that stands for an empty cell.
    """
    try:
        numbers = tuple(float(part) for part in (row.text(column) or default).split(";"))
        return Prior(kind, numbers, scale, *bounds)
    except ValueError as error:
        row.note(column, f"`{row.text(column)}` gives no prior: {error}.")
        return None


def check_parameters(rows: Mapping[str, Row], scope: Scope, used: Collection[str]) -> None:
    """Note parameters that conditions change too, that the model computes, or that nothing uses.

    Args:
        rows: of the parameter table by name.
        scope: names of the problem.
        used: names that formulas of the tables read.
    """
    if scope.equations is None:
        return
    own, free = names_of(scope.equations), constants(scope.equations)
    for name, row in rows.items():
        if name in scope.targets:
            row.note("parameterId", f"conditions set `{name}`; keep it either here or there.")
        elif name in own and name not in free:
            row.note("parameterId", f"the model changes or computes `{name}`; set it by a condition instead.")
        elif name not in own and name not in used:
            row.note("parameterId", f"nothing reads `{name}`; {nearest(name, free | set(used))}")


def check_target(row: Row, column: str, name: str, scope: Scope, read: Collection[str]) -> None:
    """Note a target of a condition that cannot be set.

    Args:
        row: of the condition table.
        column: where the target's name is.
        name: of the target.
        scope: names of the problem.
        read: names that formulas of observables read.
    """
    if scope.equations is None:
        return
    free = changeable(scope.equations)
    if name in scope.equations.assignments:
        row.note(column, f"a rule of the model computes `{name}` at all times; it cannot be set.")
    elif name in names_of(scope.equations) - free:
        row.note(column, f"`{name}` is no compartment, species or parameter of the model; it cannot be set.")
    elif name not in free and name not in read:
        row.note(column, f"neither the model nor an observable has `{name}`; {nearest(name, free)}")


def check_extensions(content: Mapping[str, Any], problems: Problems) -> None:
    """Note extensions of the format without which a problem cannot be understood."""
    extensions = content.get("extensions") or {}
    for name, extension in extensions.items() if isinstance(extensions, dict) else ():
        if not isinstance(extension, dict) or extension.get("required", True):
            problems.add(
                f"`extensions`: `{name}` is not supported; only files without required extensions are."
            )


def names_read(observables: Mapping[str, Observable], measurements: Iterable[Measurement]) -> set[str]:
    """Names that formulas of observables and noise read, and what measurements put in their place."""
    formulas = [
        part for observable in observables.values() for part in (observable.formula, observable.noise)
    ]
    formulas += {e: None for m in measurements for e in (*m.overrides, *m.noise_overrides)}
    return symbols_of(formulas)


def whole_observables(
    observables: Mapping[str, Observable], rows: Mapping[str, Row], scope: Scope
) -> dict[str, Observable]:
    """Put observables in place where formulas name them, and note names that nothing has.

    Args:
        observables: as the table states them.
        rows: of the observable table by name.
        scope: names of the problem.
    """
    inlined = _inline_observables(observables, rows, scope)
    for name, observable in inlined.items():
        more = (*observable.placeholders, *observable.noise_placeholders)
        scope.check(rows[name], "observableFormula", observable.formula, observable.placeholders)
        scope.check(rows[name], "noiseFormula", observable.noise, more)
    return inlined


def _inline_observables(
    observables: Mapping[str, Observable], rows: Mapping[str, Row], scope: Scope
) -> dict[str, Observable]:
    """Put observables in place where formulas of others, or their own noise, name them; circles are noted."""
    names = set(observables) - scope.names
    whole: dict[str, Expression] = {}

    def formula_of(name: str, path: tuple[str, ...]) -> Expression:
        if name in path:
            circle = " → ".join(f"`{step}`" for step in (*path, name))
            rows[name].note("observableFormula", f"is defined by itself: {circle}; break the circle.")
            return symbol(name)
        if name not in whole:
            whole[name] = put(observables[name].formula, (*path, name))
        return whole[name]

    def put(expression: Expression, path: tuple[str, ...]) -> Expression:
        inner = {name: formula_of(name, path) for name in sorted(symbols_of([expression]) & names)}
        return substitute([expression], lambda node: inner.get(node.name or ""))[0]

    return {
        name: replace(observable, formula=formula_of(name, ()), noise=put(observable.noise, ()))
        for name, observable in observables.items()
    }


def overrides(
    row: Row, column: str, placeholders: Sequence[str], known: Collection[str] | None
) -> tuple[Expression, ...]:
    """What the placeholders of an observable stand for in a measurement.

    Args:
        row: of the measurement table.
        column: with numbers and names separated by semicolons.
        placeholders: what they replace.
        known: names that may stand there; None = not known.
    """
    parts = row.parts(column)
    if len(parts) != len(placeholders):
        wanted = f": {', '.join(placeholders)}" if placeholders else ""
        row.note(
            column, f"{len(parts)} values for {len(placeholders)} placeholders{wanted}; give one for each."
        )
        return ()
    return tuple(_override(row, column, part, known) for part in parts)


def _override(row: Row, column: str, part: str, known: Collection[str] | None) -> Expression:
    if is_number(part):
        return number(float(part))
    if not IDENTIFIER.fullmatch(part):
        row.note(column, f"`{part}` must be a number or the name of a parameter.")
    elif known is not None and part not in known and not row.problems.unread:
        row.note(column, f"unknown parameter `{part}`; {nearest(part, known)}")
    return symbol(part)


def measured_value(row: Row, observable: Observable | None) -> float:
    """Value of a measurement; what is no finite number, or not positive on a logarithmic scale, is noted."""
    value = row.required_number("measurement")
    if math.isinf(value):
        row.note("measurement", f"must be finite; got {value}. Remove the row.")
    if observable is not None and observable.scale in set(SCALES) - {"lin"} and value <= 0.0:
        row.note("measurement", f"{value} has no value on the scale `{observable.scale}`; remove the row.")
    return value
