"""Agreement of identifiers between a graph and its data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from multiscale.errors import DataError

__all__ = ["Match", "match"]

WHERE = "in var_names (or the table) and in column `identifier` of the graph's nodes"
"""Where identifiers are kept."""


@dataclass(frozen=True)
class Match:
    """Identifiers in both, only in the graph, and only in the data, each in its original order."""

    matched: tuple[str, ...]
    only_graph: tuple[str, ...]
    only_data: tuple[str, ...]

    def __str__(self) -> str:
        """Say how many matched, and what did not on either side."""
        total = len(self.matched) + len(self.only_graph)
        missing = f"; not in the data: {shorten(self.only_graph)}" if self.only_graph else ""
        unused = f"; not in the graph: {shorten(self.only_data)}" if self.only_data else ""
        return f"{len(self.matched)} of {total} identifiers of the graph are in the data{missing}{unused}"


def match(graph: Iterable[str], data: Iterable[str]) -> Match:
    """Match identifiers exactly, with upper and lower case distinguished.

    Args:
        graph: identifiers of the graph's molecules.
        data: identifiers of the features or targets of an assay.

    Returns:
        what matched and what did not.

    Raises:
        DataError: nothing matches; the message shows both sides, and says so if case or the kind of
            identifier is the reason.

    >>> match(["A", "B"], ["B", "C"])
    Match(matched=('B',), only_graph=('A',), only_data=('C',))
    """
    ours, theirs = list(dict.fromkeys(graph)), list(dict.fromkeys(data))
    in_graph, in_data = set(ours), set(theirs)
    matched = tuple(name for name in ours if name in in_data)
    if not matched:
        sides = f"graph has {shorten(ours)}; data have {shorten(theirs)}"
        raise DataError(f"no identifier of the graph is in the data: {sides}. {_remedy(ours, theirs)}")
    only_graph = tuple(name for name in ours if name not in in_data)
    return Match(matched, only_graph, tuple(name for name in theirs if name not in in_graph))


def shorten(names: Iterable[str], shown: int = 5) -> str:
    """List the first few names.

    >>> shorten(["A", "B", "C"], shown=2)
    '`A`, `B`, ... (3)'
    """
    every = list(names)
    head = ", ".join(f"`{name}`" for name in every[:shown]) or "none"
    return f"{head}, ... ({len(every)})" if len(every) > shown else head


def _remedy(ours: list[str], theirs: list[str]) -> str:
    folded = {name.casefold() for name in theirs}
    alike = [name for name in ours if name.casefold() in folded]
    if alike:
        return f"{len(alike)} would match if case were ignored: spell them alike (human genes in capitals)."
    for side, other, names in (("data", "graph", theirs), ("graph", "data", ours)):
        if sum(name.startswith("ENS") for name in names) > len(names) / 2:
            return f"Ensembl identifiers in the {side} only: use those of the {other}, {WHERE}."
    return f"Use the same identifiers {WHERE}."
