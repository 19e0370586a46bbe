"""Gene sets in GMT files as pathways of a graph."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from multiscale.errors import GraphError
from multiscale.graph.check import check
from multiscale.graph.graph import Graph

__all__ = ["GeneSet", "add_gene_sets", "read_gmt"]


class GeneSet(NamedTuple):
    """One line of a GMT file."""

    name: str
    description: str
    members: tuple[str, ...]


def read_gmt(path: str | Path) -> list[GeneSet]:
    """Read a GMT file: per line a name, a description (often an accession) and the members, tab-separated.

    Raises:
        GraphError: the file is missing, or a line has no name or no member.
    """
    path = Path(path)
    if not path.is_file():
        raise GraphError(f"{path}: no such file; give the path of a .gmt file.")
    sets = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        name, _, rest = line.partition("\t")
        description, _, members = rest.partition("\t")
        genes = tuple(dict.fromkeys(gene.strip() for gene in members.split("\t") if gene.strip()))
        if line.strip() and not (name.strip() and genes):
            raise GraphError(
                f"{path}, line {number}: needs a name, a description and members, tab-separated."
            )
        if line.strip():
            sets.append(GeneSet(name.strip(), description.strip(), genes))
    return sets


def add_gene_sets(graph: Graph, gene_sets: str | Path | Iterable[GeneSet], min_members: int = 1) -> Graph:
    """Add gene sets as pathways whose members are the molecules with these names or identifiers.

    A transcript is a member only where the graph does not have what it encodes.

    Args:
        graph: stays as it is.
        gene_sets: a GMT file, or its content.
        min_members: sets with fewer members in the graph are left out.

    Returns:
        A checked graph.

    Raises:
        GraphError: no set has enough members in the graph, or a name is already used.
    """
    sets = read_gmt(gene_sets) if isinstance(gene_sets, str | Path) else list(gene_sets)
    molecules = graph.nodes["molecule"]
    encoding = set(graph.edges["encodes"]["source"])
    by_name: dict[str, list[str]] = {}
    for name, identifier in molecules["identifier"].items():
        for key in {str(name), identifier} if name not in encoding else ():
            by_name.setdefault(key, []).append(str(name))
    members = {s: [m for gene in s.members for m in by_name.get(gene, [])] for s in sets}
    kept = {s: list(dict.fromkeys(found)) for s, found in members.items() if len(set(found)) >= min_members}
    if not any(kept.values()):
        raise GraphError(f"none of {len(sets)} gene sets has {min_members} members in the graph.", graph.name)
    rows = [{"source": molecule, "target": s.name} for s, found in kept.items() for molecule in found]
    pathways = pd.DataFrame([{"name": s.name, "identifier": s.description} for s in kept])
    old, edges = graph.nodes["pathway"].reset_index(), graph.edges["member"]
    result = Graph.from_tables(
        graph.name,
        {**graph.nodes, "pathway": pd.concat([old, pathways], ignore_index=True)},
        {**graph.edges, "member": pd.concat([edges, pd.DataFrame(rows)], ignore_index=True)},
        graph.parameters,
        graph.card,
    )
    check(result)
    return result
