"""Networks from whatever they come in: the kind of file says which reader."""

from __future__ import annotations

from pathlib import Path

from multiscale.graph import Graph, read_edges, read_graph

__all__ = ["load"]

_TABLES = (".tsv", ".csv", ".tsv.gz", ".csv.gz")
_SBML = (".xml", ".sbml")


def load(path_or_name: str | Path) -> Graph:
    """Read a network.

    Args:
        path_or_name: a name under graphs/, the folder of a graph, an edge table (.tsv, .csv, also .gz), or a
            model in SBML (.xml, .sbml).

    Raises:
        MultiscaleError: it cannot be read; the message names the file.
    """
    name = Path(path_or_name).name.lower()
    if name.endswith(_SBML):
        from multiscale.formats.sbml import read_sbml

        return read_sbml(path_or_name)
    return read_edges(path_or_name) if name.endswith(_TABLES) else read_graph(path_or_name)
