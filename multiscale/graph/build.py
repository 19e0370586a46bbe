"""Graphs from tidy tables of edges, as OmniPath, decoupler, COSMOS and similar resources publish them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from multiscale.errors import GraphError, nearest
from multiscale.graph.check import check
from multiscale.graph.graph import Graph
from multiscale.graph.priors import Identifiers, assumed_energy, assumed_positive

__all__ = ["add_transcripts", "graph_from_edges", "read_edges", "read_table"]

log = logging.getLogger("multiscale")

_WEIGHTS = ("weight", "mor", "sign", "interaction")  # decoupler, dorothea, several, COSMOS
_STATE_SD = 3.0  # kcal/mol: the uncatalysed share of the modified form may be anything from 1 % to 99 %
_RATE_FACTOR = 30.0  # published catalytic efficiencies of kinases and proteases span a few decades


def read_edges(
    path: str | Path, name: str = "", *, kind: Literal["signed", "member"] = "signed", **columns: str
) -> Graph:
    """Read a table of edges and make a graph of it.

    Args:
        path: .tsv, .txt or .csv, possibly compressed (.gz).
        name: name of the graph; default the file's.
        kind: see `graph_from_edges`.
        columns: `source`, `target` and `weight`, where the table calls them otherwise.

    Raises:
        GraphError: the file cannot be read, or what `graph_from_edges` raises.
    """
    table = read_table(path)
    return graph_from_edges(table, name or Path(path).name.split(".")[0], kind=kind, **columns)


def graph_from_edges(
    table: pd.DataFrame,
    name: str = "edges",
    *,
    kind: Literal["signed", "member"] = "signed",
    source: str = "source",
    target: str = "target",
    weight: str = "",
) -> Graph:
    """Make a graph of a tidy table with one edge per row.

    `signed`: every target B gets a modified form B* and the reversible, uncatalysed modification B ⇌ B*; an
    edge S → B with positive weight is the irreversible reaction B → B* with catalyst S (or S*, where S itself
    is a target), one with negative weight is B* → B. The size of the weight is the median of the prior of its
    rate constant, 1/(µM·s).

    `member`: sources are pathways (or regulons) and targets their members, with sign and weight.

    Args:
        table: one row per edge.
        name: name of the graph.
        kind: what an edge means.
        source: column of sources.
        target: column of targets.
        weight: column of signed weights; default the first of weight, mor, sign, interaction, or the flags
            is_stimulation and is_inhibition of OmniPath (rows with neither are left out, with both count
            twice).

    Returns:
        A checked graph.

    Raises:
        GraphError: a column is missing, or a row has no names or a weight that is zero or not a number.

    >>> graph = graph_from_edges(pd.DataFrame({"source": ["A"], "target": ["B"], "weight": [-1.0]}))
    >>> graph.species, list(graph.nodes["reaction"].index)
    (['A', 'B', 'B*'], ['B modification', 'A inhibits B'])
    """
    if kind not in ("signed", "member"):
        raise GraphError(f"`kind` = `{kind}`; {nearest(str(kind), ['signed', 'member'])}")
    edges = _weighted(table, source, target, weight, name)
    graph = _signed_graph(edges, name) if kind == "signed" else _member_graph(edges, name)
    check(graph)
    return graph


def add_transcripts(graph: Graph, suffix: str = "_mRNA") -> Graph:
    """Give every protein that nothing encodes a transcript with the same identifier, which counts can read.

    >>> graph = add_transcripts(Graph.from_tables("one", {"molecule": pd.DataFrame(index=["A"])}))
    >>> graph.molecules, graph.nodes["molecule"].loc["A_mRNA", "identifier"]
    (['A', 'A_mRNA'], 'A')
    """
    molecules, encodes = graph.nodes["molecule"], graph.edges["encodes"]
    proteins = molecules.loc[
        (molecules["kind"] == "protein") & ~molecules.index.isin(encodes["target"].tolist())
    ]
    transcripts = pd.DataFrame(
        {"name": proteins.index + suffix, "kind": "transcript", "identifier": proteins["identifier"].tolist()}
    )
    new = pd.DataFrame({"source": transcripts["name"], "target": proteins.index})
    nodes = {**graph.nodes, "molecule": pd.concat([molecules.reset_index(), transcripts], ignore_index=True)}
    edges = {**graph.edges, "encodes": pd.concat([encodes, new], ignore_index=True)}
    return Graph.from_tables(graph.name, nodes, edges, graph.parameters, graph.card)


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table of text or numbers; the suffix says the separator.

    Raises:
        GraphError: the file is missing or is not a table.
    """
    path = Path(path)
    if not path.is_file():
        raise GraphError(f"{path}: no such file; give the path of a .tsv or .csv table.")
    separator = "," if ".csv" in path.suffixes else "\t"
    try:
        return pd.read_csv(path, sep=separator, low_memory=False)
    except (ValueError, OSError) as error:
        raise GraphError(f"{path}: not a table separated by {separator!r}: {error}") from None


def _weighted(table: pd.DataFrame, source: str, target: str, weight: str, name: str) -> pd.DataFrame:
    """Columns source, target, weight without repeated edges; problems of all rows in one error."""
    missing = [column for column in (source, target, weight) if column and column not in table.columns]
    if missing:
        raise GraphError(
            [f"column `{c}` is missing; {nearest(c, map(str, table.columns))}" for c in missing], name
        )
    edges = _with_weights(table, weight, name)
    edges = pd.DataFrame({"source": edges[source], "target": edges[target], "weight": edges["weight"]})
    numbers = pd.Series(pd.to_numeric(edges["weight"], errors="coerce"))
    wrong = ~np.isfinite(numbers) | (numbers == 0) | edges["source"].isna() | edges["target"].isna()
    if wrong.any():
        rows = edges.loc[wrong].itertuples(name=None)
        problems = [
            f"row {i}: `{s}` → `{t}` with weight `{w}`; names and a number other than zero are needed."
            for i, s, t, w in rows
        ]
        raise GraphError(problems, name)
    edges = edges.assign(
        source=edges["source"].astype(str), target=edges["target"].astype(str), weight=numbers
    )
    if edges.empty:
        raise GraphError("the table has no signed edges; give at least one row.", name)
    edges = edges.assign(sign=np.sign(numbers).astype(int))
    return edges.drop_duplicates(["source", "target", "sign"]).reset_index(drop=True)


def _with_weights(table: pd.DataFrame, weight: str, name: str) -> pd.DataFrame:
    """The table with a numeric column `weight`, from whatever column states the sign."""
    column = weight or next((c for c in _WEIGHTS if c in table.columns), "")
    if column:
        return table.assign(weight=table[column])
    if not {"is_stimulation", "is_inhibition"} <= set(table.columns):
        raise GraphError(
            "no column states the sign of the edges; add `weight` (positive or negative) or name it. The"
            f" table has {', '.join(f'`{c}`' for c in table.columns)}.",
            name,
        )
    activating, inhibiting = (table[c].astype(bool) for c in ("is_stimulation", "is_inhibition"))
    unsigned = int((~activating & ~inhibiting).sum())
    if unsigned:
        log.warning("graph `%s`: %d edges without a sign are left out.", name, unsigned)
    parts = [table.loc[activating].assign(weight=1.0), table.loc[inhibiting].assign(weight=-1.0)]
    return pd.concat(parts, ignore_index=True)


def _signed_graph(edges: pd.DataFrame, name: str) -> Graph:
    """Modification cycles with catalysed forward or backward reactions."""
    ids = Identifiers()
    modified = {target: f"{target}*" for target in edges["target"]}
    states = [
        {"source": target, "name": state, "energy": ids.new("g", target), "evidence": "inferred"}
        for target, state in modified.items()
    ]
    basal = [
        {"name": f"{target} modification", "before": target, "after": state, "reversible": True}
        for target, state in modified.items()
    ]
    catalysed = [
        _catalysed(source, target, sign, modified) | {"k_f": ids.new("k", source, target), "size": abs(size)}
        for source, target, size, sign in edges.itertuples(index=False, name=None)
    ]
    energies = [
        assumed_energy(row["energy"], 0.0, _STATE_SD, f"{row['name']} relative to {row['source']}")
        for row in states
    ]
    rates = [
        assumed_positive(row["k_f"], row["size"], _RATE_FACTOR, "rate_constant", "1/(uM*s)", row["name"])
        for row in catalysed
    ]
    complexes, reactions = pd.DataFrame(states), pd.DataFrame([*basal, *catalysed])
    return Graph.from_tables(
        name,
        {
            "molecule": pd.DataFrame(
                {"name": [*dict.fromkeys([*edges["source"], *modified])], "kind": "other"}
            ),
            "complex": complexes[["name", "energy", "evidence"]],
            "reaction": reactions[["name", "reversible", "k_f"]],
        },
        {
            "subunit": pd.DataFrame({"source": complexes["source"], "target": complexes["name"]}),
            "reactant": pd.DataFrame({"source": reactions["before"], "target": reactions["name"]}),
            "product": pd.DataFrame({"source": reactions["name"], "target": reactions["after"]}),
            "modifier": pd.DataFrame([{"source": r["catalyst"], "target": r["name"]} for r in catalysed]),
        },
        pd.DataFrame([*energies, *rates]),
    )


def _catalysed(source: str, target: str, sign: int, modified: Mapping[str, str]) -> dict[str, Any]:
    """Reaction of one signed edge; a source that is itself modified acts in its modified form."""
    before, after = (target, modified[target]) if sign > 0 else (modified[target], target)
    verb = "activates" if sign > 0 else "inhibits"
    return {
        "name": f"{source} {verb} {target}",
        "before": before,
        "after": after,
        "reversible": False,
        "catalyst": modified.get(source, source),
    }


def _member_graph(edges: pd.DataFrame, name: str) -> Graph:
    """Pathways with signed, weighted members."""
    members = pd.DataFrame(
        {
            "source": edges["target"],
            "target": edges["source"],
            "sign": edges["sign"],
            "weight": edges["weight"].abs(),
        }
    )
    nodes = {
        "molecule": pd.DataFrame({"name": members["source"].unique(), "kind": "gene"}),
        "pathway": pd.DataFrame({"name": members["target"].unique()}),
    }
    return Graph.from_tables(name, nodes, {"member": members})
