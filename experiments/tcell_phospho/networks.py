"""Control networks without edges, and with a species clamped."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

import multiscale as ms
from multiscale.graph import check

__all__ = ["held", "without_edges"]


def without_edges(graph: ms.Graph) -> ms.Graph:
    """Independent cycles: no measured species acts on another, and every input may act on every one."""
    inputs, reactions, ends = _inputs(graph), graph.nodes["reaction"], _ends(graph)
    driven = graph.edges["modifier"]
    kept = reactions[~reactions.index.isin(driven["target"])]
    made = [ends[name] for name in kept.index]
    before = {after: first for first, after in made if after in graph.nodes["complex"].index}
    rows = pd.DataFrame([(i, state) for i in inputs for state in before], columns=["source", "state"])
    names = [f"{source} activates {state}" for source, state in rows.itertuples(index=False)]
    rows["k_f"] = [f"k_{source}_{state.rstrip('*')}" for source, state in rows.itertuples(index=False)]
    stimulus = reactions.at[driven.loc[driven["source"].isin(inputs), "target"].iloc[0], "k_f"]
    assumed = pd.DataFrame([graph.parameters.loc[stimulus]] * len(rows), index=rows["k_f"])
    new = {
        "reactant": pd.DataFrame({"source": rows["state"].map(before), "target": names}),
        "product": pd.DataFrame({"source": names, "target": rows["state"]}),
    }
    edges = {}
    for name, end in (("reactant", "target"), ("product", "source")):
        table = graph.edges[name]
        edges[name] = pd.concat([table[table[end].isin(kept.index)], new[name]])
    edges["modifier"] = pd.DataFrame({"source": rows["source"], "target": names})
    parameters = pd.concat([graph.parameters.drop(rows["k_f"], errors="ignore"), assumed])
    nodes = graph.nodes | {"reaction": pd.concat([kept, rows[["k_f"]].set_axis(names)])}
    name = f"{graph.name}_without_edges"
    return _checked(ms.Graph.from_tables(name, nodes, graph.edges | edges, parameters, graph.card))


def held(graph: ms.Graph, state: str) -> ms.Graph:
    """The graph with a state that reactions read but do not change: a clamp."""
    complexes = graph.nodes["complex"].copy()
    complexes.loc[state, "constant"] = True
    return replace(graph, nodes={**graph.nodes, "complex": complexes})


def _checked(graph: ms.Graph) -> ms.Graph:
    check(graph)
    return graph


def _inputs(graph: ms.Graph) -> list[str]:
    molecules = graph.nodes["molecule"]
    return molecules.index[molecules["constant"].astype(bool)].tolist()


def _ends(graph: ms.Graph) -> dict[str, tuple[str, str]]:
    """What every reaction consumes and makes."""
    before = graph.edges["reactant"].set_index("target")["source"]
    after = graph.edges["product"].set_index("source")["target"]
    return {str(name): (before[name], after[name]) for name in graph.nodes["reaction"].index}
