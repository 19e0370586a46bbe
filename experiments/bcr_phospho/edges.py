"""What cells say of every edge of the network: its rate constant beside its prior, and what it carries."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

import multiscale as ms
from multiscale.fit.cells import CellResult
from multiscale.fit.cells.information import graph_intervals
from multiscale.graph.rates import reactions_of

__all__ = ["edges"]


def edges(
    result: CellResult, condition: str, *, most: int, draws: int, acts: float, determined: float
) -> pd.DataFrame:
    """One row per edge.

    The share of an edge is what it carries of all that modifies its target (or reverses that), in the mean
    cell under a condition: k x / Σ k x over the reactions that use up the same form. Its ends follow from
    those of k, everything else at its optimum.

    Args:
        result: of all cells.
        condition: under which shares are worked out.
        most: cells whose scores give the intervals.
        draws: of their latent states.
        acts: share above which an edge acts, and below which it is silent.
        determined: posterior sd of ln k over that of the prior, from which on the cells have no say.

    Returns:
        columns `edge`, `reference`, `k`, `k_lower`, `k_upper`, `prior_k`, `sd_ratio`, `share`, `share_lower`,
        `share_upper` and `verdict` (`acts` or `silent` if the whole interval says so and the cells determine
        k, else `open`); edges in the order of the graph.
    """
    graph = result.graph
    assert graph is not None
    known = graph_intervals(result, most=most, draws=draws)
    x = result.states(contexts=[condition]).concentrations.mean()
    fluxes, catalysed = _fluxes(graph, known["value"], x)
    notes = graph.nodes["reaction"]["reference"]
    intervals, rows = known.to_dict("index"), []
    for name, (constant, form) in catalysed.items():
        own, row = fluxes[name], intervals[constant]
        rest = sum(flux for other, flux in fluxes.items() if _form(other) == form) - own
        ends = {
            key: _share(own * math.exp(float(row[key]) - float(row["value"])), rest)
            for key in ("value", "lower", "upper")
        }
        told = float(row["sd_ratio"]) < determined
        rows.append(
            {
                "edge": name[0],
                "reference": notes[name[0]],
                "k": np.exp(row["value"]),
                "k_lower": np.exp(row["lower"]),
                "k_upper": np.exp(row["upper"]),
                "prior_k": np.exp((row["prior_lower"] + row["prior_upper"]) / 2),
                "sd_ratio": row["sd_ratio"],
                "share": ends["value"],
                "share_lower": ends["lower"],
                "share_upper": ends["upper"],
                "verdict": _verdict(ends["lower"], ends["upper"], acts) if told else "open",
            }
        )
    return pd.DataFrame(rows)


def _verdict(low: float, high: float, acts: float) -> str:
    return "acts" if low > acts else "silent" if high < acts else "open"


Step = tuple[str, str]
"""Reaction, and the form that it uses up."""


def _form(step: Step) -> str:
    return step[1]


def _share(own: float, rest: float) -> float:
    return float(own / (own + rest))


def _fluxes(
    graph: ms.Graph, ln_k: pd.Series, x: pd.Series
) -> tuple[dict[Step, float], dict[Step, tuple[str, str]]]:
    """Rate per form of every reaction, both ways, 1/s; and of catalysed ones constant and form."""
    fixed = graph.parameters["nominalValue"].astype(float)

    def k(name: str) -> float:
        return float(np.exp(ln_k[name])) if name in ln_k else float(fixed[name])

    fluxes: dict[Step, float] = {}
    catalysed: dict[Step, tuple[str, str]] = {}
    for reaction in reactions_of(graph):
        (before,), (after,) = reaction.reactants, reaction.products
        catalysts = reaction.modifiers["catalyst"]
        step = (reaction.name, before)
        fluxes[step] = k(reaction.constants["k_f"]) * float(np.prod([x[name] for name in catalysts]))
        if catalysts:
            catalysed[step] = (reaction.constants["k_f"], before)
        if reaction.reversible:
            fluxes[reaction.name, after] = k(reaction.constants["k_r"])
    return fluxes, catalysed
