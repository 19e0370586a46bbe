"""Interventions joined to a graph: what every context changes of constants, of starts, and when."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from multiscale.errors import DataError, nearest
from multiscale.graph import Graph
from multiscale.graph.schema import CONCENTRATIONS
from multiscale.model.kinetics.changes import Amount
from multiscale.model.kinetics.own_constants import catalysed, own_constants
from multiscale.model.kinetics.system import Kinetics
from multiscale.units import to_uM

__all__ = [
    "CHANGES_RATES",
    "ROLES",
    "Conditions",
    "Planned",
    "Row",
    "amount_of",
    "collected",
    "own_forms",
    "plan",
    "rows_of",
]

ROLES = {
    "dose": ("concentration",),
    "clamp": ("concentration",),
    "knock_down": ("efficacy",),
    "inhibit": ("efficacy",),
    "over_express": ("ratio",),
    "activate": ("ratio",),
}
"""Roles that a parameter may have that is the value of an intervention."""

OPERATION = {
    "set": "set",
    "clamp": "set",
    "dose": "add",
    "knock_down": "remove",
    "inhibit": "remove",
    "over_express": "fold",
    "activate": "fold",
}
CHANGES_RATES = ("inhibit", "activate")


@dataclass(frozen=True)
class Planned:
    """One operation on one quantity, in the contexts that have it.

    Args:
        target: name of a parameter or species.
        operation: a name in `changes.OPERATIONS`.
        amounts: per position of a context.
    """

    target: str
    operation: str
    amounts: dict[int, Amount]


@dataclass(frozen=True)
class Timed:
    """One event of every context that has it: time in s and amount; None = back to the start."""

    species: str
    add: bool
    rows: dict[int, tuple[float, Amount | None]]


@dataclass(frozen=True)
class Conditions:
    """All that interventions change, in the order in which it is done.

    Args:
        aliases: parameter that each rate constant of its own stands for.
        constants: changes of parameters, aliases among them.
        starts: changes of concentrations at the start.
        held: constant species that are clamped from the start on.
        events: later doses and clamps.
    """

    aliases: dict[str, str] = field(default_factory=dict)
    constants: list[Planned] = field(default_factory=list)
    starts: list[Planned] = field(default_factory=list)
    held: list[Planned] = field(default_factory=list)
    events: list[Timed] = field(default_factory=list)

    @property
    def parameters(self) -> list[str]:
        """Parameters that are the value of an intervention, or that one changes."""
        planned = [*self.constants, *self.starts, *self.held]
        amounts = [amount for change in planned for amount in change.amounts.values()]
        amounts += [amount for event in self.events for _, amount in event.rows.values() if amount]
        return list(dict.fromkeys(amount.parameter for amount in amounts if amount.parameter))


Row = dict[str, Any]


def plan(graph: Graph, table: pd.DataFrame, contexts: pd.Index) -> tuple[Kinetics, Conditions]:
    """Join interventions to a graph.

    Args:
        graph: with reactions.
        table: interventions, see `data.Interventions`; those of other contexts are left out.
        contexts: names of the contexts.

    Returns:
        the kinetics of the graph, in which what is inhibited or activated has rate constants of its own; and
        what the contexts change.

    Raises:
        DataError: a target or value does not exist or is of the wrong kind.
    """
    rows = rows_of(table, contexts)
    rates = {str(row["target"]): _reactions(graph, row) for row in rows if row["kind"] in CHANGES_RATES}
    own = {name for names in rates.values() for name in names}
    altered, aliases = own_constants(graph, own) if own else (graph, {})
    kinetics = Kinetics.from_graph(altered)
    flat = {alias: original for own in aliases.values() for alias, original in own.items()}
    reader = _Reader(graph, kinetics, flat)
    parts = {name: collected(rows, choose) for name, choose in reader.choices(rates, aliases).items()}
    events = _events(rows, reader)
    return kinetics, Conditions(flat, events=events, **parts)


def rows_of(table: pd.DataFrame, contexts: pd.Index) -> list[Row]:
    """Interventions on some contexts, with the position of each one's context."""
    found = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    return [
        row | {"position": contexts.get_loc(row["context"])} for row in found if row["context"] in contexts
    ]


def _reactions(graph: Graph, row: Row) -> list[str]:
    """Reactions that a row inhibits or activates."""
    found = catalysed(graph, row["target"])
    if not found:
        modifiers = graph.edges["modifier"]
        known = [*modifiers.loc[modifiers["role"] == "catalyst", "source"], *graph.nodes["reaction"].index]
        raise DataError(
            f"{row['place']}: `target` is `{row['target']}`, which catalyses no reaction and is none;"
            f" {nearest(row['target'], known)}"
        )
    fast = graph.nodes["reaction"]["fast"]
    quick = [name for name in found if fast.at[name]]
    if quick:
        raise DataError(
            f"{row['place']}: reaction `{quick[0]}` is fast, so its rate does not matter; leave `fast` empty."
        )
    return found


class _Reader:
    """Reads targets and values of rows."""

    def __init__(self, graph: Graph, kinetics: Kinetics, aliases: Mapping[str, str]) -> None:
        self._graph, self._kinetics = graph, kinetics
        self._read = list(dict.fromkeys(aliases.get(name, name) for name in kinetics.parameters))

    def choices(
        self, rates: Mapping[str, Sequence[str]], aliases: Mapping[str, Mapping[str, str]]
    ) -> dict[str, Callable[[Row], list[tuple[str, Amount]]]]:
        """What a row changes, per part of `Conditions`."""

        def constants(row: Row) -> list[tuple[str, Amount]]:
            if row["kind"] in CHANGES_RATES:
                names = [alias for reaction in rates[row["target"]] for alias in aliases[reaction]]
                return [(name, self.amount(row)) for name in names]
            return [(row["target"], self.amount(row))] if self._sets_parameter(row) else []

        def starts(row: Row) -> list[tuple[str, Amount]]:
            if row["kind"] in (*CHANGES_RATES, "clamp") or row["time"] > 0 or self._sets_parameter(row):
                return []
            return [(name, self.amount(row)) for name in self._species(row)]

        def held(row: Row) -> list[tuple[str, Amount]]:
            if row["kind"] != "clamp" or row["time"] > 0:
                return []
            return [(self.constant(row), self.amount(row))]

        return {"constants": constants, "starts": starts, "held": held}

    def _sets_parameter(self, row: Row) -> bool:
        target = row["target"]
        if row["kind"] != "set" or target in self._kinetics.species:
            return False
        if target not in self._read:
            known = [*self._kinetics.species, *self._read]
            raise DataError(
                f"{row['place']}: `target` is `{target}`, which is neither a species that reactions touch"
                f" nor a parameter that they read; {nearest(target, known)}"
            )
        return True

    def _species(self, row: Row) -> list[str]:
        """The species that a row changes: of a molecule that is knocked down all its own forms."""
        names = [self.species(row)]
        if row["kind"] in ("knock_down", "over_express"):
            names += [
                name for name in own_forms(self._graph, row["target"]) if name in self._kinetics.species
            ]
        return names

    def species(self, row: Row) -> str:
        """The target, a species that reactions touch."""
        if row["target"] not in self._kinetics.species:
            hint = nearest(row["target"], self._kinetics.species)
            raise DataError(
                f"{row['place']}: `target` is `{row['target']}`, which no reaction touches as a species;"
                f" {hint}"
            )
        return str(row["target"])

    def constant(self, row: Row) -> str:
        """The target of a clamp, an input."""
        name = self.species(row)
        if name not in self._kinetics.inputs:
            hint = nearest(name, self._kinetics.inputs)
            raise DataError(
                f"{row['place']}: `target` is `{name}`, which reactions change; a clamp needs a species that"
                f" the graph declares `constant`; {hint}"
            )
        return name

    def amount(self, row: Row) -> Amount:
        """The value of a row: a number, or a parameter of the right role."""
        energy = self._sets_parameter(row) and self._graph.parameters.at[row["target"], "role"] == "energy"
        return amount_of(self._graph, row, self._roles(row), self._unit(row), signed=energy)

    def _roles(self, row: Row) -> tuple[str, ...]:
        if row["kind"] in ROLES:
            return ROLES[row["kind"]]
        target = row["target"]
        return (
            (str(self._graph.parameters.at[target, "role"]),)
            if self._sets_parameter(row)
            else ("concentration",)
        )

    def _unit(self, row: Row) -> str:
        """Unit that the value needs: of the parameter that is set, else µM, else none."""
        if self._sets_parameter(row):
            return str(self._graph.parameters.at[row["target"], "unit"])
        return "uM" if self._roles(row) == ("concentration",) else "1"


def amount_of(graph: Graph, row: Row, roles: Collection[str], wanted: str, *, signed: bool = False) -> Amount:
    """The value of a row: a number, or a parameter.

    Args:
        graph: whose parameters they are.
        row: of the table of interventions.
        roles: that the parameter may have.
        wanted: unit that the value needs.
        signed: whether a number may be negative.

    Raises:
        DataError: there is no such parameter, or the value is of the wrong kind.
    """
    value = row["value"]
    if isinstance(value, float):
        if value < 0 and not signed:
            raise DataError(f"{row['place']}: `value` must not be negative; got {value:g}.")
        return Amount(value)
    table = graph.parameters
    if value not in table.index or table.at[value, "role"] not in roles:
        known = [str(name) for name, role in table["role"].items() if role in roles]
        raise DataError(
            f"{row['place']}: `value` is `{value}`, which is neither a number nor a parameter of role"
            f" {' or '.join(roles)}; {nearest(value, known)}"
        )
    unit = str(table.at[value, "unit"])
    if unit == wanted:
        return Amount(1.0, str(value))
    if unit not in CONCENTRATIONS or wanted not in CONCENTRATIONS:
        raise DataError(
            f"{row['place']}: `value` is `{value}` in {unit}, but `{row['target']}` is in"
            f" {wanted}; convert it."
        )
    return Amount(to_uM(1.0, unit) / to_uM(1.0, wanted), str(value))


def own_forms(graph: Graph, molecule: str) -> list[str]:
    """Complexes of nothing but one molecule: its other states, and what it forms with itself."""
    edges = graph.edges["subunit"]
    parts = edges.groupby("target")["source"].agg(set)
    return [str(name) for name, found in parts.items() if found == {molecule}]


def collected(rows: list[Row], choose: Callable[[Row], list[tuple[str, Amount]]]) -> list[Planned]:
    """Changes of all rows, those of different contexts together, in order where they meet in one context."""
    found: list[Planned] = []
    for row in rows:
        for target, amount in choose(row):
            operation, position = OPERATION[row["kind"]], row["position"]
            later = [i for i, p in enumerate(found) if p.target == target]
            last = found[later[-1]] if later else None
            if last is not None and last.operation == operation == "set" and position in last.amounts:
                raise DataError(
                    f"{row['place']}: `{target}` is set twice in `{row['context']}`; keep one row."
                )
            if last is None or last.operation != operation or position in last.amounts:
                last = Planned(target, operation, {})
                found.append(last)
            last.amounts[position] = amount
    return found


def _events(rows: list[Row], reader: _Reader) -> list[Timed]:
    """Doses and clamps after the start; the k-th one of every context shares a slot with those of others."""
    moments: dict[tuple[str, bool], dict[int, list[tuple[float, Amount | None]]]] = {}
    for row in rows:
        if row["kind"] not in ("dose", "clamp"):
            continue
        add = row["kind"] == "dose"
        name = reader.species(row) if add else reader.constant(row)
        mine = moments.setdefault((name, add), {}).setdefault(row["position"], [])
        if row["time"] > 0:
            mine.append((float(row["time"]), reader.amount(row)))
        if np.isfinite(row["until"]):
            mine.append((float(row["until"]), None))
    events = []
    for (name, add), by_context in moments.items():
        ordered = {
            c: sorted(some, key=lambda one: (one[0], one[1] is not None)) for c, some in by_context.items()
        }
        for k in range(max(len(some) for some in ordered.values())):
            events.append(Timed(name, add, {c: some[k] for c, some in ordered.items() if k < len(some)}))
    return events
