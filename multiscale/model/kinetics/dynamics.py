"""What kinetic regimes need of a problem: the system of its graph, and the conditions of its contexts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiscale.data import Contexts
from multiscale.errors import DataError, nearest
from multiscale.graph import Graph
from multiscale.model.kinetics.conditions import Conditions, plan
from multiscale.model.kinetics.system import Kinetics
from multiscale.model.network import Network

__all__ = ["Dynamics"]

log = logging.getLogger("multiscale")


@dataclass(frozen=True)
class Dynamics:
    """The system of a graph and the conditions under which contexts run it.

    Args:
        kinetics: the reactions.
        conditions: what interventions change.
        before: position of the context from whose steady state each context starts, −1 for none, (context,).
        abundances: species whose start varies between contexts.
        idle: starts of species within cells that no reaction touches, by name: a number (µM) or a parameter.
    """

    kinetics: Kinetics
    conditions: Conditions
    before: np.ndarray
    abundances: list[str]
    idle: dict[str, str]

    @classmethod
    def of(
        cls, graph: Graph, network: Network, contexts: Contexts, regime: str, abundances: Sequence[str] | None
    ) -> Dynamics:
        """Join graph and contexts.

        Args:
            graph: a checked graph with reactions.
            network: its arrays.
            contexts: with interventions, and maybe a column `preequilibrate`.
            regime: `steady_state` or `time_course`.
            abundances: species whose start varies, () for all that have one, None for none.

        Raises:
            GraphError: the graph lacks reactions or rate constants.
            DataError: interventions or contexts do not fit the graph or the regime.
        """
        table = contexts.table[contexts.table["kind"] != "pair"]
        if len(table) < len(contexts):
            raise DataError(
                f'pairs of contexts need regime = "equilibrium"; got `{regime}`. Use pairs = false.'
            )
        kinetics, conditions = plan(graph, contexts.interventions.table, table.index)
        before = _before(table)
        _refuse_events(contexts, table.index, before, regime)
        touched = set(kinetics.species)
        starts = pd.concat([graph.nodes[kind]["initial"] for kind in ("molecule", "complex")])
        idle = {name: str(starts[name] or "0") for name in network.species if name not in touched}
        still = [name for name in network.complexes if name in idle]
        if still:
            log.warning(
                "%d complexes take part in no reaction and stay at their start: %s",
                len(still),
                ", ".join(still[:5]) + ("..." if len(still) > 5 else ""),
            )
        return cls(kinetics, conditions, before, _abundances(kinetics, starts, abundances), idle)

    @property
    def parameters(self) -> list[str]:
        """Parameters of the graph that are needed."""
        aliases = self.conditions.aliases
        kinetic = [aliases.get(name, name) for name in self.kinetics.parameters]
        starts = [text for text in self.idle.values() if not _is_number(text)]
        return list(dict.fromkeys([*kinetic, *self.conditions.parameters, *starts]))

    @property
    def coupled(self) -> bool:
        """Whether what belongs to one context can touch measurements of another."""
        return bool((self.before >= 0).any())


def _is_number(text: str) -> bool:
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


def _before(table: pd.DataFrame) -> np.ndarray:
    """Position of the context from whose steady state each one starts, −1 for none."""
    if "preequilibrate" not in table:
        return np.full(len(table), -1)
    named = table["preequilibrate"].fillna("").astype(str).str.strip()
    for context, name in named[named != ""].items():
        if name not in table.index:
            raise DataError(
                f"context `{context}`: `preequilibrate` is `{name}`, which is no context;"
                f" {nearest(name, table.index)}"
            )
        if named[name] != "":
            raise DataError(
                f"context `{context}`: `preequilibrate` is `{name}`, which starts from `{named[name]}`"
                " itself; name one that starts from its own concentrations."
            )
    return table.index.get_indexer(pd.Index(named))


def _refuse_events(contexts: Contexts, names: pd.Index, before: np.ndarray, regime: str) -> None:
    """Steady states have no time: neither those that are measured nor those that others start from."""
    listed = [str(name) for name in names]
    timeless = listed if regime == "steady_state" else [listed[i] for i in before.tolist() if i >= 0]
    done = contexts.interventions.take(timeless).table
    late = done[(done["time"] > 0) | (done["until"] < np.inf)]
    for kind, context, place in zip(late["kind"], late["context"], late["place"], strict=True):
        why = (
            "the regime is steady_state"
            if regime == "steady_state"
            else "another context starts from its rest"
        )
        raise DataError(
            f"{place}: {kind} of `{context}` states a `time`, but {why}; leave `time` and `until` blank."
        )


def _abundances(kinetics: Kinetics, starts: pd.Series, wanted: Sequence[str] | None) -> list[str]:
    """Species whose start varies between contexts."""
    if wanted is None:
        return []
    free = [name for name in kinetics.species if name not in kinetics.inputs]
    for name in wanted:
        if name not in free:
            raise DataError(
                f"`abundances`: `{name}` is no species that reactions change; {nearest(name, free)}"
            )
    positive = [
        name for name in free if not (_is_number(text := str(starts[name]) or "0") and float(text) == 0)
    ]
    return list(wanted) or positive
