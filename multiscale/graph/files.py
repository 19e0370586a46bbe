"""Reading and writing the folder of a graph: card.toml, three tables, equations of an imported model."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from multiscale import atomic
from multiscale.content import find
from multiscale.equations.model import Equations
from multiscale.errors import DataError, FormatError, GraphError, nearest
from multiscale.graph.check import check, problems_of
from multiscale.graph.graph import Graph
from multiscale.graph.schema import FORMAT_VERSION, NODE_TYPES, PARAMETER_COLUMNS, RELATIONS, Column
from multiscale.graph.tables import standard_table
from multiscale.graph.tsv import file_texts, read_equations_text

__all__ = ["read_graph", "write_graph"]

_ATTRIBUTES = {column.name for kind in (*NODE_TYPES.values(), *RELATIONS.values()) for column in kind.columns}


@dataclass(frozen=True)
class _File:
    """Cells of one TSV file as text, with the line of each row."""

    name: str
    cells: pd.DataFrame
    lines: list[int]


def read_graph(path_or_name: str | Path) -> Graph:
    """Read and check the folder of a graph.

    Args:
        path_or_name: a folder with card.toml and nodes.tsv, and edges.tsv and parameters.tsv where there are
            any; or a name under graphs/.

    Raises:
        GraphError: no such folder, a newer format, or anything that `check` or the reading of the tables
            finds wrong; one error lists every problem.
    """
    folder = _folder(path_or_name)
    card = _read_card(folder / "card.toml")
    problems: list[str] = []
    nodes = _read_nodes(_read_tsv(folder / "nodes.tsv", problems), problems)
    edges = _read_edges(_read_tsv(folder / "edges.tsv", problems), problems)
    parameters = _read_parameters(_read_tsv(folder / "parameters.tsv", problems), problems)
    equations = _read_equations(folder / "equations.toml")
    graph = Graph(str(card.get("name", folder.name)), nodes, edges, parameters, card, equations)
    problems += problems_of(graph)
    if problems:
        raise GraphError(problems, str(folder))
    return graph


def write_graph(graph: Graph, folder: str | Path, overwrite: bool = False) -> Path:
    """Check a graph and write its folder, all files or none.

    Args:
        graph: what to write.
        folder: a new or empty folder, unless `overwrite`.
        overwrite: replace the files of an existing folder; its other files are kept.

    Returns:
        The folder.

    Raises:
        GraphError: the graph is inconsistent; nothing is written.
        OutputError: the folder is not empty; nothing is written.
    """
    check(graph)
    with atomic.folder(folder, overwrite) as fresh:
        for name, text in _texts(graph).items():
            (fresh / name).write_text(text, encoding="utf-8", newline="")
    if (
        graph.equations is None
    ):  # those of an imported model that was there before would contradict the tables
        (Path(folder) / "equations.toml").unlink(missing_ok=True)
    return Path(folder)


def _texts(graph: Graph) -> dict[str, str]:
    return file_texts(graph.nodes, graph.edges, graph.parameters, graph.card, graph.equations)


def _read_equations(path: Path) -> Equations | None:
    """Equations of an imported model, None without such a file."""
    if not path.is_file():
        return None
    try:
        return read_equations_text(path.read_text(encoding="utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise GraphError(f"{path}: not text in UTF-8: {error}; correct it.") from None
    except FormatError as error:
        raise GraphError(str(error)) from None


def _folder(path_or_name: str | Path) -> Path:
    try:
        folder = find("graphs", path_or_name)
    except DataError as error:
        raise GraphError(str(error)) from None
    if not folder.is_dir():
        raise GraphError(
            f"{folder}: is a file; give the folder with card.toml, nodes.tsv, edges.tsv, parameters.tsv."
        )
    missing = [name for name in ("card.toml", "nodes.tsv") if not (folder / name).is_file()]
    if missing:
        raise GraphError(f"{folder}: `{'` and `'.join(missing)}` not found; a graph's folder needs them.")
    return folder


def _read_card(path: Path) -> dict[str, Any]:
    """Content of card.toml; a newer format is refused before anything else is read."""
    try:
        card = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GraphError(f"{path}: not a TOML file: {error}; correct it.") from None
    version = card.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise GraphError(
            f"{path}: `format_version` {version} is newer than {FORMAT_VERSION}, the newest that this version"
            " of multiscale reads; upgrade multiscale."
        )
    return card


def _read_tsv(path: Path, problems: list[str]) -> _File:
    """Cells of a file; a missing one counts as empty, rows may lack trailing cells but not have too many."""
    if not path.is_file():
        return _File(path.name, pd.DataFrame(), [])
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter="\t", strict=True)
            rows = [(reader.line_num, row) for row in reader if any(row)]
    except (csv.Error, UnicodeDecodeError) as error:
        problems.append(f"{path.name}: not a tab-separated table in UTF-8: {error}; correct it.")
        rows = []
    header = rows[0][1] if rows else []
    repeated = sorted({name for name in header if header.count(name) > 1})
    problems += [f"{path.name}: column `{name}` occurs twice; keep one." for name in repeated]
    problems += [
        f"{path.name}, line {line}: {len(row)} cells where the header has {len(header)}; remove some."
        for line, row in rows[1:]
        if any(row[len(header) :])
    ]
    width = len(header)
    cells = [(row + [""] * width)[:width] for _, row in rows[1:]]
    table = pd.DataFrame(cells, columns=pd.Index(header, dtype=object), dtype=object)
    return _File(path.name, table.loc[:, ~table.columns.duplicated()], [line for line, _ in rows[1:]])


def _read_nodes(file: _File, problems: list[str]) -> dict[str, pd.DataFrame]:
    attributes = {kind: node_type.columns for kind, node_type in NODE_TYPES.items()}
    tables = _split(file, "type", "node type", ["name"], attributes, problems)
    return {kind: table.set_index("name") for kind, table in tables.items()}


def _read_edges(file: _File, problems: list[str]) -> dict[str, pd.DataFrame]:
    attributes = {kind: relation.columns for kind, relation in RELATIONS.items()}
    return _split(file, "relation", "relation", ["source", "target"], attributes, problems)


def _read_parameters(file: _File, problems: list[str]) -> pd.DataFrame:
    cells = _with_keys(file, ["parameterId"])
    table, found = standard_table(
        cells, ["parameterId"], PARAMETER_COLUMNS, file.name, lambda i: f"line {file.lines[i]}"
    )
    problems += found
    return table.set_index("parameterId")


def _split(
    file: _File,
    by: str,
    noun: str,
    keys: list[str],
    attributes: dict[str, tuple[Column, ...]],
    problems: list[str],
) -> dict[str, pd.DataFrame]:
    """Split a file into one standard table per kind (value of column `by`)."""
    cells = _with_keys(file, [*keys, by])
    known = [*keys, by, *dict.fromkeys(column.name for columns in attributes.values() for column in columns)]
    problems += [
        f"{file.name}: unknown column `{name}`; {nearest(name, known)}"
        for name in cells.columns
        if name not in known
    ]
    missing = [key for key in [*keys, by] if key not in cells.columns]
    problems += [f"{file.name}: column `{key}` is missing; add it." for key in missing]
    cells = cells.assign(**dict.fromkeys(missing, ""))
    problems += [
        f"{file.name}, line {line}: unknown {noun} `{kind}`; {nearest(kind, attributes)}"
        for line, kind in zip(file.lines, cells[by], strict=True)
        if by not in missing and kind not in attributes
    ]
    return {
        kind: _kind_table(file, cells[cells[by] == kind].drop(columns=by), kind, keys, columns, problems)
        for kind, columns in attributes.items()
    }


def _kind_table(
    file: _File,
    cells: pd.DataFrame,
    kind: str,
    keys: list[str],
    columns: Sequence[Column],
    problems: list[str],
) -> pd.DataFrame:
    """Standard table of the rows of one kind; attributes that the kind does not have must be empty."""
    own = [*keys, *(column.name for column in columns)]
    lines = [file.lines[i] for i in cells.index]
    foreign = cells[[name for name in cells.columns if name not in own]]
    problems += [
        f"{file.name}, line {lines[i]}: `{name}` = `{value}` is not an attribute of `{kind}`; leave it empty."
        for name in foreign.columns
        for i, value in enumerate(foreign[name])
        if value != "" and name in _ATTRIBUTES
    ]
    selected = cells[[name for name in cells.columns if name in own]].reset_index(drop=True)
    table, found = standard_table(selected, keys, columns, file.name, lambda i: f"line {lines[i]}")
    problems += found
    return table


def _with_keys(file: _File, keys: list[str]) -> pd.DataFrame:
    """Cells of a file; a file that is missing or empty has its key columns and no rows."""
    return file.cells if len(file.cells.columns) else pd.DataFrame(columns=pd.Index(keys), dtype=object)
