"""Rate constants of their own for reactions that contexts inhibit or activate, where others share them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pandas as pd

from multiscale.graph import Graph
from multiscale.graph.rates import Reaction, needs_of, reactions_of
from multiscale.model.parameters import petab_id

__all__ = ["catalysed", "own_constants"]


def catalysed(graph: Graph, target: str) -> list[str]:
    """Reactions whose rates a target sets: those that it catalyses, in any of its forms, or itself.

    Args:
        graph: with reactions.
        target: a reaction, a complex, or a molecule, which also catalyses as part of a complex.
    """
    edges = graph.edges["subunit"]
    forms = {target, *edges.loc[edges["source"] == target, "target"]}
    modifiers = graph.edges["modifier"]
    chosen = modifiers[(modifiers["role"] == "catalyst") & modifiers["source"].isin(forms)]
    reactions = {*chosen["target"], target}
    return [name for name in graph.nodes["reaction"].index if name in reactions]


def own_constants(graph: Graph, names: Collection[str]) -> tuple[Graph, dict[str, dict[str, str]]]:
    """The same graph, in which some reactions have rate constants that no other reaction reads.

    Args:
        graph: with reactions.
        names: of the reactions.

    Returns:
        the graph, and for every reaction which parameter each new one stands for.
    """
    table, rows = graph.nodes["reaction"].copy(), [graph.parameters]
    used, found = set(graph.parameters.index), {}
    for reaction in reactions_of(graph):
        if reaction.name not in names:
            continue
        aliases = _aliases(reaction, used)
        used |= aliases.keys()
        found[reaction.name] = aliases
        new = {original: alias for alias, original in aliases.items()}
        _rename(table, reaction, new)
        rows.append(graph.parameters.loc[list(aliases.values())].set_axis(list(aliases)))
    parameters = pd.concat(rows).rename_axis("parameterId")
    return replace(graph, nodes={**graph.nodes, "reaction": table}, parameters=parameters), found


def _aliases(reaction: Reaction, used: set[str]) -> dict[str, str]:
    """A new name for every rate constant of a reaction."""
    found: dict[str, str] = {}
    for need in needs_of(reaction):
        given = need.given(reaction)
        if need.constant.kind == "rate" and given and given not in found.values():
            alias = petab_id(f"{given}_of_{reaction.name}")
            while alias in used or alias in found:
                alias += "_"
            found[alias] = given
    return found


def _rename(table: pd.DataFrame, reaction: Reaction, new: dict[str, str]) -> None:
    """Let a reaction read other parameters."""
    constants = {name: new.get(given, given) for name, given in reaction.constants.items()}
    for column in ("k_f", "k_r"):
        if column in constants:
            table.loc[reaction.name, column] = constants.pop(column)
    table.loc[reaction.name, "constants"] = ";".join(f"{name}={given}" for name, given in constants.items())
