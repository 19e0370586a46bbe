"""Volumes of compartments, and the compartment in which the flux of each reaction is counted."""

from __future__ import annotations

import math
from collections.abc import Iterator

from multiscale.graph.graph import Graph
from multiscale.graph.rates import Reaction

__all__ = ["flux_compartments", "species_compartments", "volume_problems", "volumes"]


def species_compartments(graph: Graph) -> dict[str, str]:
    """Compartment of every species, '' = the whole cell."""
    tables = (graph.nodes["molecule"], graph.nodes["complex"])
    return {str(n): str(c) for t in tables for n, c in zip(t.index, t["compartment"], strict=True)}


def flux_compartments(graph: Graph, reactions: list[Reaction]) -> dict[str, str]:
    """Compartment in which the flux of each reaction is counted: as named, else that of its reactants.

    A reaction without reactants is counted where its first product is.
    """
    home = species_compartments(graph)
    named = dict(
        zip(graph.nodes["reaction"].index, graph.nodes["reaction"]["compartment"].tolist(), strict=True)
    )
    return {r.name: named[r.name] or next((home[s] for s in r.species), "") for r in reactions}


def volumes(graph: Graph, used: set[str]) -> dict[str, float]:
    """Volumes of compartments in one unit; only their ratios enter rates.

    The unit is fL where [cell] states the volume of the cell, or where all compartments that are used state
    `volume_fL`; else it is the volume of the cell.

    Args:
        graph: with a card.
        used: names of compartments, '' = the whole cell.

    Returns:
        Volume by compartment; NaN where it cannot be compared with that of the others.
    """
    cell = float(graph.card.get("cell", {}).get("volume_fL", math.nan))
    given = {name: graph.compartments.get(name, {}) for name in used}
    in_fL = {name: float(c["volume_fL"]) for name, c in given.items() if "volume_fL" in c}
    fraction = {name: float(c.get("volume_fraction", 1.0)) for name, c in given.items() if name not in in_fL}
    if not fraction or not math.isnan(cell):
        return in_fL | {name: share * cell for name, share in fraction.items()}
    return fraction | dict.fromkeys(in_fL, math.nan)


def volume_problems(graph: Graph, reactions: list[Reaction]) -> Iterator[str]:
    """Reactions between volumes name the one in which they are counted, and these volumes are known."""
    home, known = species_compartments(graph), graph.compartments
    named = {r: c for r, c in graph.nodes["reaction"]["compartment"].items() if c}
    where = flux_compartments(graph, reactions)
    used = {home[s] for r in reactions for s in r.species} | set(where.values())
    if not used - {""} <= set(known):  # reported with the card
        return
    volume = volumes(graph, used)
    for reaction in reactions:
        places = list(dict.fromkeys([where[reaction.name], *(home[s] for s in reaction.change)]))
        listed = ", ".join(f"`{place}`" if place else "the whole cell" for place in places)
        unknown = [place for place in places if math.isnan(volume[place])]
        if len({volume[place] for place in places}) > 1 and unknown:
            yield (
                f"card.toml: reaction `{reaction.name}` joins {listed}, but the volume of"
                f" `{unknown[0]}` is in fL and that of the cell is not stated; add `volume_fL` under [cell]."
            )
        elif len({volume[place] for place in places}) > 1 and not (
            reaction.name in named or reaction.law == "transport"  # by definition counted where it comes from
        ):
            yield (
                f"nodes.tsv: reaction `{reaction.name}` joins {listed}, which have different volumes; name"
                " in `compartment` the one in which its flux is counted."
            )
