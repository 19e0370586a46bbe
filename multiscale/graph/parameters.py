"""Checks of parameters.tsv: identifiers, units, values, bounds, priors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from multiscale.errors import nearest
from multiscale.graph.graph import Graph
from multiscale.graph.schema import CONCENTRATIONS, MODEL_UNITS, ROLES

__all__ = ["parameter_problems"]

_SID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_POSITIVE_ROLES = {"Kd", "Km", "Ki", "K_eq", "confinement", "exponent", "loss", "ratio"}
_NON_NEGATIVE_ROLES = {"k_on", "k_off", "k_cat", "rate_constant", "concentration", "weight", "translation"}


def parameter_problems(graph: Graph) -> Iterator[str]:
    """Sentences on everything wrong with the parameters."""
    table, own = graph.parameters, graph.card.get("units") == MODEL_UNITS
    for name in table.index[table.index.duplicated()].unique():
        yield f"parameters.tsv: parameterId `{name}` occurs twice; rename all but one."
    for name, row in zip(table.index, table.to_dict("records"), strict=True):
        for sentence in _row(name, {str(key): value for key, value in row.items()}, own):
            yield f"parameters.tsv: `{name}`: {sentence}"


def _row(name: object, row: dict[str, Any], own_units: bool) -> Iterator[str]:
    if own_units:  # of an imported model; its names and numbers may be anything
        return
    if not isinstance(name, str) or not _SID.fullmatch(name):
        yield "parameterId must have only letters, digits and underscores and start with no digit; rename it."
    if row["role"] in ROLES and row["unit"] not in ROLES[row["role"]]:
        yield (
            f"unit `{row['unit']}` does not fit role {row['role']};"
            f" {nearest(row['unit'], ROLES[row['role']])} Convert value, bounds and prior."
        )
    yield from _value(row)
    yield from _bounds(row)
    yield from _prior(row)


def _value(row: dict[str, Any]) -> Iterator[str]:
    value, role = row["nominalValue"], row["role"]
    if math.isnan(value):
        if not row["estimate"]:
            yield "has no nominalValue and is not estimated; give a value or set `estimate` to 1."
        return
    if math.isinf(value):
        yield f"nominalValue must be finite; got {value}."
    if value <= 0 and (
        role in _POSITIVE_ROLES or (row["unit"] in CONCENTRATIONS and role != "concentration")
    ):
        yield f"nominalValue of a {role} must be positive, in {row['unit']}; got {value:g}."
    elif value < 0 and role in _NON_NEGATIVE_ROLES:
        yield f"nominalValue of a {role} must not be negative, in {row['unit']}; got {value:g}."
    elif value <= 0 and row["parameterScale"] != "lin":
        yield f"nominalValue must be positive on parameterScale {row['parameterScale']}; got {value:g}."
    if role == "loss" and value > 1:
        yield f"nominalValue of a loss is relative to the free form and at most 1; got {value:g}."


def _bounds(row: dict[str, Any]) -> Iterator[str]:
    lower, upper, value = row["lowerBound"], row["upperBound"], row["nominalValue"]
    if math.isnan(lower) or math.isnan(upper) or lower > upper:
        yield f"lowerBound {lower:g} must not exceed upperBound {upper:g}; exchange or correct them."
    elif value < lower or value > upper:
        yield f"nominalValue {value:g} lies outside its bounds {lower:g} to {upper:g}; correct one of them."


def _prior(row: dict[str, Any]) -> Iterator[str]:
    kind, text = row["objectivePriorType"], row["objectivePriorParameters"]
    if not kind:
        if text:
            yield f"objectivePriorParameters `{text}` without an objectivePriorType; name the type."
        return
    try:
        first, second = (float(part) for part in text.split(";"))
    except ValueError:
        yield f"objectivePriorParameters must be two numbers separated by `;`; got `{text}`."
        return
    if not (math.isfinite(first) and math.isfinite(second)):
        yield f"objectivePriorParameters must be finite; got `{text}`."
    elif kind.lower().endswith("uniform"):
        if first >= second:
            yield f"objectivePriorParameters of a {kind} prior must be ordered; got `{text}`."
    elif second <= 0:
        yield f"the second of objectivePriorParameters is a width and must be positive; got `{text}`."
