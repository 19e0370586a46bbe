"""What conditions change of their cells: interventions at equilibrium, and changes of all cells at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.errors import DataError, nearest
from multiscale.graph import Graph
from multiscale.model.kinetics.changes import Amount, Change
from multiscale.model.kinetics.conditions import (
    CHANGES_RATES,
    ROLES,
    Planned,
    Row,
    amount_of,
    collected,
    rows_of,
)
from multiscale.model.network import Network

__all__ = ["BindingChanges", "Changes", "plan_binding"]


class BindingChanges(NamedTuple):
    """What interventions change at binding equilibrium.

    Args:
        totals: of molecules, µM.
        held: of molecules that are held at a free concentration, µM.
        energies: energy terms, kcal/mol.
    """

    totals: list[Planned]
    held: list[Planned]
    energies: list[Planned]

    @property
    def parameters(self) -> list[str]:
        """Parameters that are the value of an intervention."""
        amounts = [amount for part in self for one in part for amount in one.amounts.values()]
        return list(dict.fromkeys(amount.parameter for amount in amounts if amount.parameter))


def plan_binding(
    graph: Graph, network: Network, held: Collection[str], table: pd.DataFrame, conditions: Sequence[str]
) -> BindingChanges:
    """Join interventions to a graph whose cells are at binding equilibrium.

    `set` replaces the total of a molecule, `dose` adds to it, `knock_down` and `over_express` scale it; of a
    molecule that is held, they change the concentration at which it is, and so does `clamp`. `set` of an
    energy term replaces it: a mutation.

    Args:
        graph: a checked graph.
        network: its arrays.
        held: molecules that are held at a free concentration.
        table: interventions, see `data.Interventions`.
        conditions: names.

    Raises:
        DataError: a target or value does not exist, or is of the wrong kind.
    """
    rows = rows_of(table, pd.Index(conditions))
    for row in rows:
        _refuse(row, graph, network, held)

    def change(row: Row, chosen: bool) -> list[tuple[str, Amount]]:
        return [(row["target"], _amount(graph, network, row))] if chosen else []

    return BindingChanges(
        collected(
            rows, lambda row: change(row, row["target"] in network.molecules and row["target"] not in held)
        ),
        collected(rows, lambda row: change(row, row["target"] in held)),
        collected(rows, lambda row: change(row, row["target"] not in network.molecules)),
    )


def _refuse(row: Row, graph: Graph, network: Network, held: Collection[str]) -> None:
    """Refuse what has no meaning at equilibrium."""
    target, where = row["target"], row["place"]
    if row["kind"] in CHANGES_RATES:
        raise DataError(
            f"{where}: {row['kind']} of `{target}` acts on reactions, which regime `equilibrium` lacks; use"
            ' regime = "steady_state", or say what it does to a molecule (knock_down, set, dose).'
        )
    if row["time"] > 0 or np.isfinite(row["until"]):
        raise DataError(f"{where}: {row['kind']} of `{target}` states a time, but an equilibrium has none.")
    if target in network.molecules:
        if row["kind"] == "clamp" and target not in held:
            hint = nearest(target, held) if held else "the graph has none."
            raise DataError(
                f"{where}: clamp of `{target}`, which cells use up; a clamp needs a molecule that the graph"
                f" declares `constant`; {hint}"
            )
        return
    _refuse_target(row, graph, network)


def _refuse_target(row: Row, graph: Graph, network: Network) -> None:
    """Refuse targets that are neither molecules nor energy terms."""
    target, where = row["target"], row["place"]
    if target in network.complexes or target in network.pair_complexes:
        raise DataError(
            f"{where}: `target` is the complex `{target}`, whose amount follows from binding; name one of its"
            " subunits."
        )
    if target in network.transcripts:
        edges = graph.edges["encodes"]
        made = [str(m) for t, m in zip(edges["source"], edges["target"], strict=True) if t == target]
        raise DataError(
            f"{where}: `target` is the transcript `{target}`; name the molecule that it encodes: `{made[0]}`."
        )
    if row["kind"] != "set" or target not in network.terms:
        known = [*network.molecules, *(network.terms if row["kind"] == "set" else [])]
        kinds = "neither a molecule nor an energy term" if row["kind"] == "set" else "no molecule"
        raise DataError(
            f"{where}: `target` is `{target}`, which is {kinds} of the graph; {nearest(target, known)}"
        )


def _amount(graph: Graph, network: Network, row: Row) -> Amount:
    """The value of a row, µM, kcal/mol or a ratio."""
    if row["target"] not in network.molecules:
        return amount_of(graph, row, ("energy",), "kcal/mol", signed=True)
    roles = ROLES.get(row["kind"], ("concentration",))
    return amount_of(graph, row, roles, "uM" if roles == ("concentration",) else "1")


class Changes:
    """Changes of quantities, in the order in which they are done; each is a line a q + b.

    Args:
        planned: changes of conditions.
        columns: names of the quantities.
        conditions: number of conditions.
        device: where values live.

    Two conditions; in the second, half of A is removed and then 3 µM of it are added.

    >>> half, three = Amount(0.5), Amount(3.0)
    >>> planned = [Planned("A", "remove", {1: half}), Planned("A", "add", {1: three})]
    >>> changes = Changes(planned, ["A", "B"], 2, torch.device("cpu"))
    >>> before = torch.tensor([[2.0, 7.0], [4.0, 7.0]], dtype=torch.float64)
    >>> changes(before, {}, torch.tensor([0, 1])).tolist()
    [[2.0, 7.0], [5.0, 7.0]]
    """

    def __init__(
        self, planned: Sequence[Planned], columns: Sequence[str], conditions: int, device: torch.device
    ) -> None:
        position = {name: i for i, name in enumerate(columns)}
        self._steps: list[tuple[int, Change, Change | None]] = []
        self._shape, self._device = (conditions, len(columns)), device
        for one in planned:
            rows = list(one.amounts)
            change = Change(one.operation, rows, list(one.amounts.values()), device)
            zero = Change("set", rows, [Amount(0.0)] * len(rows), device)
            slope = {"set": zero, "add": None}.get(one.operation, change)
            self._steps.append((position[one.target], change, slope))

    def __len__(self) -> int:
        """Number of changes."""
        return len(self._steps)

    def __call__(self, before: Tensor, values: Mapping[str, Tensor], condition: Tensor) -> Tensor:
        """Quantities of all cells after it.

        Args:
            before: shape (cell, quantity) or (quantity,).
            values: parameters, each of shape (1, 1).
            condition: of every cell, (cell,).
        """
        if not self._steps:
            return before
        slope, shift = self._lines(values)
        return before * slope[condition] + shift[condition]

    def _lines(self, values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Slopes a and shifts b, each (condition, quantity)."""
        ones = torch.ones(self._shape, dtype=torch.float64, device=self._device)
        slopes, shifts = list(ones.T), list(torch.zeros_like(ones).T)
        for column, change, slope in self._steps:
            shifts[column] = change(shifts[column][None], values)[0]
            if slope is not None:
                slopes[column] = slope(slopes[column][None], values)[0]
        return torch.stack(slopes, 1), torch.stack(shifts, 1)
