"""SIF: `source <tab> relation <tab> target`, the least that every network program reads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from multiscale import atomic
from multiscale.errors import FormatError
from multiscale.graph import Graph

__all__ = ["Interactions", "read", "write"]

log = logging.getLogger("multiscale")


@dataclass(frozen=True)
class Interactions:
    """Content of a SIF file.

    Args:
        edges: columns source, relation, target.
        nodes: all names in order of appearance, those without an edge among them.
    """

    edges: pd.DataFrame
    nodes: list[str]


def write(
    graph: Graph,
    path: str | Path,
    values: Mapping[str, pd.DataFrame] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write the edges of a graph as SIF, atomically; a node without edges stands on a line of its own.

    SIF holds names and relations only; a warning names what stays behind.

    Args:
        graph: the graph.
        path: file to write.
        values: not held by this format.
        meta: not held by this format.

    Raises:
        FormatError: a name holds a tab, a line break, or blanks at its ends, which readers strip.
    """
    lost = (
        ["node types", "attributes", "parameters"]
        + ["learned values"] * bool(values)
        + ["settings"] * bool(meta)
    )
    log.warning("%s: SIF holds names and relations only; left out: %s.", path, ", ".join(lost))
    names = [str(name) for table in graph.nodes.values() for name in table.index]
    _check_names(names, any(map(len, graph.edges.values())))
    lines, linked = [], set()
    for relation, table in graph.edges.items():
        for source, target in zip(table["source"], table["target"], strict=True):
            lines.append(f"{source}\t{relation}\t{target}\n")
            linked |= {source, target}
    lines += [f"{name}\n" for name in names if name not in linked]
    with atomic.replace(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8", newline="\n")


def read(path: str | Path) -> Interactions:
    """Read a SIF file of any program.

    Fields are separated by tabs if there are any, else by blanks; a line may name several targets.

    Raises:
        FormatError: the file is missing, or a line has a relation but no target.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: no such file.")
    text = path.read_text(encoding="utf-8")
    separator = "\t" if "\t" in text else None
    edges: list[tuple[str, str, str]] = []
    nodes: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        parts = [part.strip() for part in line.split(separator)] if line.strip() else []
        if len(parts) == 2:
            raise FormatError(f"{path}, line {number}: a source and a relation but no target: {line!r}.")
        nodes |= dict.fromkeys(parts[:1] + parts[2:])
        edges += [(parts[0], parts[1], target) for target in parts[2:]]
    return Interactions(pd.DataFrame(edges, columns=["source", "relation", "target"]), list(nodes))


def _check_names(names: list[str], linked: bool) -> None:
    """Refuse names that would not come back; without an edge, hence without a tab, blanks separate fields."""
    for name in names:
        if any(mark in name for mark in "\t\n\r"):
            raise FormatError(f"SIF cannot hold the tab or line break in the name {name!r}; rename the node.")
        if name != name.strip() or not name:
            raise FormatError(
                f"SIF cannot hold the blanks at the ends of the name {name!r}; rename the node."
            )
        if not linked and name.split() != [name]:
            raise FormatError(
                f"SIF without edges cannot hold the blank in the name {name!r}; rename the node."
            )
