"""The graph: one table per node type, one per relation, the parameters and a card."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from multiscale.equations.model import Equations
from multiscale.errors import GraphError, nearest
from multiscale.graph.schema import FORMAT_VERSION, NODE_TYPES, PARAMETER_COLUMNS, RELATIONS
from multiscale.graph.tables import empty_table, standard_table
from multiscale.graph.tsv import equations_text, file_texts

if TYPE_CHECKING:
    import networkx as nx
    from torch import Tensor
    from torch_geometric.data import HeteroData

__all__ = ["Graph", "default_card", "describe"]


@dataclass(frozen=True, eq=False)
class Graph:
    """A prior network: the template that data instantiate once per context.

    Args:
        name: one word.
        nodes: one table per node type, index `name`; every type is present, maybe empty.
        edges: one table per relation, columns `source`, `target` and attributes; every relation is present.
        parameters: index `parameterId`, columns of PEtab and unit, role, reference, doi, note.
        card: title, licence, sources, compartments: the content of card.toml.
        equations: of a model that was read from a file: how fast the reactions are, rules and events; the
            tables then say who takes part. None = the laws of the tables are all.

    Build one with `Graph.from_tables`, `read_graph` or a builder: they fill in defaults and dtypes.
    """

    name: str
    nodes: dict[str, pd.DataFrame]
    edges: dict[str, pd.DataFrame]
    parameters: pd.DataFrame
    card: dict[str, Any]
    equations: Equations | None = None

    def __repr__(self) -> str:
        """Say how many nodes, edges and parameters there are."""
        parts = [
            ", ".join(f"{len(t)} {n}" for n, t in part.items() if len(t)) for part in (self.nodes, self.edges)
        ]
        return (
            f"graph `{self.name}`: {parts[0]}; edges: {parts[1] or 'none'}; {len(self.parameters)} parameters"
        )

    @classmethod
    def from_tables(
        cls,
        name: str,
        nodes: Mapping[str, pd.DataFrame],
        edges: Mapping[str, pd.DataFrame] | None = None,
        parameters: pd.DataFrame | None = None,
        card: Mapping[str, Any] | None = None,
        equations: Equations | None = None,
    ) -> Graph:
        """Make a graph of tables that may lack types, relations, columns and values.

        Args:
            name: one word.
            nodes: table per node type, with the names as index or as column `name`.
            edges: table per relation, with columns `source` and `target`.
            parameters: table with `parameterId` as index or column.
            card: content of card.toml; what is needed and missing is filled in, the licence as `NOASSERTION`.
            equations: of an imported model.

        Raises:
            GraphError: unknown type, relation or column, or a value of the wrong kind; lists all of them.
                Whether the graph is consistent is the business of `check`.

        >>> graph = Graph.from_tables("one", {"molecule": pd.DataFrame({"name": ["A"]})})
        >>> graph.nodes["molecule"].loc["A", "identifier"]
        'A'
        """
        edges = edges or {}
        problems = [
            f"unknown node type `{t}`; {nearest(t, NODE_TYPES)}" for t in nodes if t not in NODE_TYPES
        ]
        problems += [f"unknown relation `{r}`; {nearest(r, RELATIONS)}" for r in edges if r not in RELATIONS]
        node_tables = {kind: _node_table(kind, nodes.get(kind), problems) for kind in NODE_TYPES}
        edge_tables = {kind: _edge_table(kind, edges.get(kind), problems) for kind in RELATIONS}
        parameter_table = _parameter_table(parameters, problems)
        if problems:
            raise GraphError(problems, name)
        filled = default_card(name) | copy.deepcopy(dict(card or {})) | {"name": name}
        return cls(name, node_tables, edge_tables, parameter_table, filled, equations)

    @property
    def molecules(self) -> list[str]:
        """Names of the molecules."""
        return self.nodes["molecule"].index.tolist()

    @property
    def complexes(self) -> list[str]:
        """Names of the complexes."""
        return self.nodes["complex"].index.tolist()

    @property
    def species(self) -> list[str]:
        """Names of the molecules, then of the complexes."""
        return self.molecules + self.complexes

    @property
    def compartments(self) -> dict[str, dict[str, Any]]:
        """Compartments of the card: geometry, volume and confinement by name."""
        sections = self.card.get("compartments")
        return sections if isinstance(sections, dict) else {}

    def node_type(self, name: str) -> str:
        """Type of a node.

        Raises:
            GraphError: there is no such node; the message lists the nearest names.
        """
        for kind, table in self.nodes.items():
            if name in table.index:
                return kind
        every = [node for table in self.nodes.values() for node in table.index]
        raise GraphError(f"no node is named `{name}`; {nearest(name, every)}", self.name)

    def hash(self) -> str:
        """SHA-256 of the files that `write_graph` writes, in hexadecimal: equal graphs have equal hashes."""
        digest = hashlib.sha256()
        texts = file_texts(self.nodes, self.edges, self.parameters, self.card, self.equations)
        for file, text in texts.items():
            digest.update(f"{file}\0{text}\0".encode())
        return digest.hexdigest()

    def equals(self, other: Graph) -> bool:
        """Whether all tables (values, dtypes, order), the card and the equations are the same."""
        tables = [
            (self.parameters, other.parameters),
            *((table, other.nodes[kind]) for kind, table in self.nodes.items()),
            *((table, other.edges[kind]) for kind, table in self.edges.items()),
        ]
        same = all(a.index.equals(b.index) and a.equals(b) for a, b in tables)
        same = same and self.card == other.card and self.name == other.name
        own = [None if g.equations is None else equations_text(g.equations) for g in (self, other)]
        return same and own[0] == own[1]

    def counts(self) -> dict[str, Any]:
        """Name, title, hash and how many nodes, edges and parameters there are of each kind."""
        return {
            "name": self.name,
            "title": self.card.get("title", ""),
            "hash": self.hash(),
            "nodes": {kind: len(table) for kind, table in self.nodes.items() if len(table)},
            "edges": {kind: len(table) for kind, table in self.edges.items() if len(table)},
            "parameters": {
                str(k): int(n) for k, n in self.parameters["role"].value_counts(sort=False).items()
            },
            "compartments": list(self.compartments),
        }

    def summary(self) -> str:
        """What the graph holds, in one line."""
        counts = self.counts()
        return "; ".join(
            ", ".join(f"{count} {kind}" for kind, count in counts[part].items()) or f"no {part}"
            for part in ("nodes", "edges")
        )

    def to_hetero(self, contexts: Mapping[str, Tensor] | None = None) -> HeteroData:
        """PyG `HeteroData` of the graph; see `multiscale.graph.convert.to_hetero`."""
        from multiscale.graph.convert import to_hetero

        return to_hetero(self, contexts)

    def to_networkx(self) -> nx.MultiDiGraph:
        """`MultiDiGraph` of the graph; see `multiscale.graph.convert.to_networkx`."""
        from multiscale.graph.convert import to_networkx

        return to_networkx(self)


def default_card(name: str) -> dict[str, Any]:
    """Card of a graph of which only the name is known; SPDX `NOASSERTION` claims nothing of the licence."""
    return {"format_version": FORMAT_VERSION, "name": name, "title": name, "licence": "NOASSERTION"}


def describe(graph: Graph) -> str:
    """Content of a graph as text, one line per kind of content."""
    counts = graph.counts()
    lines = [f"{graph.name}: {counts['title']}"]
    for part in ("nodes", "edges", "parameters"):
        listed = ", ".join(f"{count} {kind}" for kind, count in counts[part].items())
        lines.append(f"{part:<12} {listed or 'none'}")
    shapes = [f"{name} ({c.get('geometry', '?')})" for name, c in graph.compartments.items()]
    lines.append(f"compartments {', '.join(shapes) or 'none'}")
    lines.append(f"licence      {graph.card.get('licence', '')}")
    return "\n".join([*lines, f"sha256       {counts['hash']}"])


def _node_table(kind: str, raw: pd.DataFrame | None, problems: list[str]) -> pd.DataFrame:
    columns = NODE_TYPES[kind].columns
    if raw is None:
        return empty_table(["name"], columns).set_index("name")
    raw = raw if "name" in raw.columns else raw.rename_axis(index="name").reset_index()
    table, found = standard_table(
        raw, ["name"], columns, f"{kind} nodes", lambda i: f"`{raw['name'].iloc[i]}`"
    )
    problems += found
    return table.set_index("name")


def _edge_table(kind: str, raw: pd.DataFrame | None, problems: list[str]) -> pd.DataFrame:
    columns = RELATIONS[kind].columns
    if raw is None:
        return empty_table(["source", "target"], columns)
    table, found = standard_table(raw, ["source", "target"], columns, f"{kind} edges", lambda i: f"row {i}")
    problems += found
    return table


def _parameter_table(raw: pd.DataFrame | None, problems: list[str]) -> pd.DataFrame:
    if raw is None:
        return empty_table(["parameterId"], PARAMETER_COLUMNS).set_index("parameterId")
    raw = raw if "parameterId" in raw.columns else raw.rename_axis(index="parameterId").reset_index()
    table, found = standard_table(
        raw, ["parameterId"], PARAMETER_COLUMNS, "parameters", lambda i: f"`{raw['parameterId'].iloc[i]}`"
    )
    problems += found
    return table.set_index("parameterId")
