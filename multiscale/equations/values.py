"""Equations with other numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from multiscale.equations.model import Equations
from multiscale.errors import DataError, nearest

__all__ = ["with_values"]


def with_values(equations: Equations, values: Mapping[str, float]) -> Equations:
    """Replace values at the start; they come before initial assignments.

    Args:
        equations: of a model.
        values: by name of a parameter, of a compartment (its size), or of a species: what its name stands
            for, its concentration, or its amount where it is `only_amount`.

    Raises:
        DataError: a name is unknown, or a formula gives the quantity at all times.

    >>> from multiscale.equations.model import Parameter
    >>> with_values(Equations(parameters={"k": Parameter(1.0)}), {"k": 2.0}).parameters["k"].value
    2.0
    """
    known = {**equations.parameters, **equations.compartments, **equations.species}
    for name in values:
        if name not in known:
            raise DataError(f"`{name}` cannot be set: the model has none; {nearest(name, known)}")
        if name in equations.assignments:
            raise DataError(f"`{name}` cannot be set: a rule gives it at all times; set what the rule reads.")
    return replace(
        equations,
        parameters={n: replace(p, value=values.get(n, p.value)) for n, p in equations.parameters.items()},
        compartments={n: replace(c, size=values.get(n, c.size)) for n, c in equations.compartments.items()},
        species={
            n: replace(s, start=values[n], start_is_amount=s.only_amount) if n in values else s
            for n, s in equations.species.items()
        },
        starts={name: formula for name, formula in equations.starts.items() if name not in values},
    )
