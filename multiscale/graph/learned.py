"""What one fit learned as priors of another: parameters of the same name and role take it over."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import pandas as pd

from multiscale.errors import GraphError, nearest
from multiscale.graph.check import check
from multiscale.graph.graph import Graph

__all__ = ["matches", "with_priors"]

NEEDED = ("parameterId", "nominalValue", "role", "unit")
INTERVAL = NormalDist().inv_cdf(0.95)
"""Half a central 90 % interval of a normal distribution, in standard deviations."""

NOTE = "prior learned by another fit"

Row = dict[str, Any]


def with_priors(graph: Graph, table: pd.DataFrame, where: str = "table") -> Graph:
    """Give parameters of a graph the posterior of another fit as prior: normal, with its estimate and sd.

    What is matched is a parameter that is estimated in both and has the same parameterId and role; all others
    stay as they are. What the two fits know of a parameter together is then prior × likelihood, provided that
    they share no data; correlations between parameters of the first fit are lost.

    Args:
        graph: stays as it is.
        table: parameter table of a fit: `parameterId` (column or index), `nominalValue` (the estimate,
            linear), `role`, `unit`, and `sd` (on the scale of the parameter) or else `lower` and `upper`
            (ends of a central 90 % interval, linear); `parameterScale` (`lin` where the column is missing),
            `estimate`.
        where: name of the table for messages.

    Returns:
        a checked graph; `objectivePriorParameters` are on the scale that the graph states.

    Raises:
        GraphError: a column is missing, nothing matches (nearest names are listed), unit or scale differ, or
            an sd is not positive; one error lists all of them.

    >>> row = {"parameterId": ["fold"], "role": "energy", "unit": "kcal/mol", "nominalValue": [-1.5]}
    >>> graph = Graph.from_tables("one", {}, parameters=pd.DataFrame(row))
    >>> changed = with_priors(graph, pd.DataFrame(row | {"sd": 0.25}))
    >>> changed.parameters.at["fold", "objectivePriorParameters"]
    '-1.5;0.25'
    """
    learned = _rows(table, where)
    names = _matched(graph, learned)
    if not names:
        raise GraphError(_unmatched(graph, learned), where)
    parameters = graph.parameters.copy()
    own = parameters[["unit", "parameterScale"]].to_dict("index")
    problems = [p for name in names for p in _problems(learned[name], own[name], name, graph.name)]
    if problems:
        raise GraphError(problems, where)
    for name in names:
        _write(parameters, name, learned[name])
    changed = replace(graph, parameters=parameters)
    check(changed)
    return changed


def matches(graph: Graph, table: pd.DataFrame, where: str = "table") -> list[str]:
    """Names of the parameters whose prior `with_priors` would change."""
    return _matched(graph, _rows(table, where))


def _rows(table: pd.DataFrame, where: str) -> dict[str, Row]:
    """Fitted rows of a table, by parameterId."""
    table = table if "parameterId" in table else table.rename_axis(index="parameterId").reset_index()
    missing = [name for name in NEEDED if name not in table]
    if not {"sd"} <= set(table) and not {"lower", "upper"} <= set(table):
        missing.append("sd")
    if missing:
        raise GraphError(
            f"column `{missing[0]}` is missing; a table of fitted parameters has {', '.join(NEEDED)}, and sd"
            " or lower and upper.",
            where,
        )
    if "estimate" in table:
        table = table[table["estimate"].astype(float) == 1]
    twice = table["parameterId"][table["parameterId"].duplicated()]
    if len(twice):
        raise GraphError(f"`parameterId` {twice.iloc[0]} occurs twice; keep one row.", where)
    rows = table.to_dict("records")
    return {str(row["parameterId"]): {str(key): cell for key, cell in row.items()} for row in rows}


def _matched(graph: Graph, learned: dict[str, Row]) -> list[str]:
    table = graph.parameters[graph.parameters["estimate"] == 1]
    roles = {str(name): role for name, role in table["role"].items()}
    return [name for name, role in roles.items() if name in learned and learned[name]["role"] == role]


def _unmatched(graph: Graph, learned: dict[str, Row]) -> str:
    """Why nothing matched: fixed, of another role, or of another name."""
    table = graph.parameters
    for name in (str(name) for name in table.index if name in learned):
        own, other = table.at[name, "role"], learned[name]["role"]
        if own == other:
            return f"`{name}` is not estimated in the graph `{graph.name}`; set `estimate` to 1 there."
        return f"`{name}` has role {other} here and {own} in the graph `{graph.name}`; give both the same."
    own = [str(name) for name in table.index[table["estimate"] == 1]]
    hints = "; ".join(f"`{name}`: {nearest(name, learned)}" for name in own[:3])
    return (
        f"no parameter has the name and role of one of the graph `{graph.name}`: {hints or 'it has none.'}"
        " Rename one of the two."
    )


def _problems(row: Row, own: Mapping[Any, Any], name: str, graph: str) -> Iterator[str]:
    """What keeps a fitted value from being a prior of this parameter."""
    if row["unit"] != own["unit"]:
        yield f"`{name}` has unit `{row['unit']}` here, `{own['unit']}` in the graph `{graph}`; convert one."
        return
    scale, wanted = row.get("parameterScale", "lin"), own["parameterScale"]
    if (scale == "lin") != (wanted == "lin"):
        yield f"`{name}` has parameterScale `{scale}` here and `{wanted}` in the graph `{graph}`; refit one."
        return
    mean, sd = float(row["nominalValue"]), _sd(row)
    if not math.isfinite(mean) or (scale != "lin" and mean <= 0):
        yield f"`{name}`: `nominalValue` must be finite, and positive on a logarithmic scale; got {mean:g}."
    if not (math.isfinite(sd) and sd > 0):
        yield f"`{name}`: the fit gives no sd, or none that is positive; got {sd:g}. Fit it with intervals."


def _sd(row: Row) -> float:
    """Standard deviation on the scale of the row, from its column or from the interval."""
    stated = float(row["sd"]) if "sd" in row else math.nan
    if not math.isnan(stated) or not {"lower", "upper"} <= set(row):
        return stated
    ends = [_scaled(float(row[end]), str(row.get("parameterScale", "lin"))) for end in ("lower", "upper")]
    return (ends[1] - ends[0]) / (2 * INTERVAL)


def _scaled(value: float, scale: str) -> float:
    if scale == "lin":
        return value
    return math.nan if value <= 0 else math.log(value) / _ln(scale)


def _ln(scale: str) -> float:
    """Natural logarithm of the base of a logarithmic scale."""
    return math.log(10.0) if scale == "log10" else 1.0


def _write(parameters: pd.DataFrame, name: str, row: Row) -> None:
    """Take over estimate and sd, on the scale of the parameter."""
    scale, own = str(row.get("parameterScale", "lin")), str(parameters.at[name, "parameterScale"])
    value, factor = float(row["nominalValue"]), 1.0 if own == "lin" else _ln(scale) / _ln(own)
    note = str(parameters.at[name, "note"])
    cells: dict[str, Any] = {
        "nominalValue": value,
        "objectivePriorType": "parameterScaleNormal",
        "objectivePriorParameters": f"{_scaled(value, own)!r};{_sd(row) * factor!r}",
        "note": note if note.endswith(NOTE) else "; ".join(filter(None, [note, NOTE])),
    }
    for column, cell in cells.items():
        parameters.at[name, column] = cell
