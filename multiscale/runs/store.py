"""Reading the folder of a run again: for its report, its exports, and where its data came from."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from multiscale import atomic, formats
from multiscale.config import CELL_FILES, Config
from multiscale.content import find
from multiscale.errors import FormatError, OutputError, nearest
from multiscale.formats import document
from multiscale.formats.tables import read_table, write_parameters, write_table
from multiscale.report.findings import Findings
from multiscale.runs.folder import is_run

__all__ = ["FORMAT_VERSION", "export_formats", "export_run", "read_run", "sources", "write_tables"]

FORMAT_VERSION = 1
"""Of metrics.json and with it of the folder."""

NETWORK, RESULTS = "network.graphml", "results.h5ad"
SOURCE = {"h5ad": RESULTS, "h5mu": RESULTS, "tsv": "parameters.tsv"}
"""File of the run that a format is made from, if it is not the network."""

SAID = ("headline", "sentences", "not_determined", "tables")
"""Keys of metrics.json that become parts of the findings of their own."""

UNSTATED = "not stated"
COLUMNS = ("name", "title", "licence", "reference", "doi", "url", "version")


def read_run(folder: str | Path) -> Findings:
    """Everything that the report of a run says, from its files alone.

    Args:
        folder: of a finished run.

    Raises:
        FormatError: a file is missing, damaged, or newer than this version reads.
    """
    folder = Path(folder)
    metrics = document.read(_need(folder, "metrics.json"), FORMAT_VERSION)
    config = document.read(_need(folder, "config.json"), FORMAT_VERSION)
    network = formats.graphml.read(_need(folder, NETWORK))
    names = metrics.get(
        "tables", sorted(path.stem for path in folder.glob("*.tsv"))
    )  # the first runs name none
    tables = {name: read_table(_need(folder, f"{name}.tsv")) for name in names}
    return Findings(
        title=config.get("title") or network.graph.name,
        question=config.get("question", ""),
        headline=metrics["headline"],
        sentences=metrics.get("sentences", []),
        undetermined=metrics.get("not_determined", []),
        network=network,
        tables=tables,
        meta={key: value for key, value in metrics.items() if key not in SAID} | {"config": config},
    )


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write tables as `<name>.tsv`, with all digits."""
    for name, table in tables.items():
        write = write_parameters if name == "parameters" and "nominalValue" in table else write_table
        write(table, folder / f"{name}.tsv")


def export_formats() -> list[str]:
    """Names of the formats that a run can be exported to: suffixes without the dot."""
    return [suffix.removeprefix(".") for suffix in formats.FORMATS] + ["h5ad", "h5mu"]


def export_run(
    run: str | Path, names: Sequence[str], out: str | Path | None = None, overwrite: bool = False
) -> list[Path]:
    """Write the network and the results of a run in other formats, without fitting again.

    Args:
        run: folder of a finished run.
        names: of the formats, see `export_formats`.
        out: folder to write; default `export` in the run.
        overwrite: whether files that exist are replaced.

    Returns:
        the files written.

    Raises:
        FormatError: the run lacks a file, or a format is unknown.
        OutputError: a file exists and `overwrite` is not set.
    """
    run = Path(run)
    out = run / "export" if out is None else Path(out)
    files = {name: out / _file_name(name) for name in dict.fromkeys(names)}
    existing = [file for file in files.values() if file.exists()]
    if existing and not overwrite:
        raise OutputError(f"{existing[0]} exists; give another folder or add --overwrite.")
    needed = {name: _need(run, SOURCE.get(name, NETWORK)) for name in files}
    out.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        _export(name, needed[name], file)
    return list(files.values())


def _file_name(name: str) -> str:
    if name not in export_formats():
        raise FormatError(f"`--format` {name}: no such format; {nearest(name, export_formats())}")
    stem = {"tsv": "parameters", "h5ad": "results", "h5mu": "results"}.get(name, "network")
    return f"{stem}.{name}"


def _export(name: str, source: Path, path: Path) -> None:
    """Write one format, atomically, from the network or the results of a run."""
    if source.suffix == path.suffix:
        with atomic.replace(path) as temporary:
            shutil.copyfile(source, temporary)
    elif name == "h5mu":
        import anndata

        with atomic.replace(path) as temporary:
            formats.anndata.write_h5mu(anndata.read_h5ad(source), temporary)
    else:
        network = formats.graphml.read(source)
        values = dict(network.values)
        if name in ("xml", "sbml"):
            table = formats.tables.read_parameters(_need(source.parent, SOURCE["tsv"]))
            values["parameter"] = table.set_index("parameterId")
        formats.export(network.graph, path, values, network.meta)


def _need(folder: Path, name: str) -> Path:
    """A file of a finished run."""
    path = folder / name
    if path.is_file():
        return path
    if name == RESULTS and (folder / "metrics.json").is_file():
        raise FormatError(f"{path}: no such file: the run had no AnnData, so it has no results in one.")
    if is_run(folder):
        raise FormatError(f"{path}: no such file: the run is unfinished; `fit --resume {folder}` goes on.")
    raise FormatError(f"{path}: no such file; give the folder of a run.")


def sources(config: Config) -> pd.DataFrame:
    """Where graph and data come from, under which licence: one row per source that a card names.

    Args:
        config: the configuration of a fit.

    Returns:
        columns name, title, licence, reference, doi, url, version; '' where a card says nothing.
    """
    data = config.data
    named = [data.anndata, data.cells, data.contexts, data.interventions]
    if config.cells is not None:
        named += [getattr(config.cells, name) for name in CELL_FILES]
    paths = [path for path in named if path and isinstance(path, str)] + [
        table.path for table in data.tables.values()
    ]
    paths += [part.path for part in data.readings.values()]
    rows = list(_rows(find("graphs", config.graph)))
    for path in paths:
        if path.startswith("scanpy:"):
            rows.append(_scanpy_row(path))
        else:
            rows += _rows(find("datasets", path))
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS)).fillna("").drop_duplicates(ignore_index=True)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """One row per source of the card in a folder or beside a file; one row in all where there is no card."""
    folder = path if path.is_dir() else path.parent
    card_path = folder / "card.toml"
    if not card_path.is_file():
        yield {"name": path.stem, "title": path.name, "licence": UNSTATED}
        return
    card = tomllib.loads(card_path.read_text(encoding="utf-8"))
    own = {"licence": UNSTATED} | {key: card[key] for key in COLUMNS if key in card}
    for source in card.get("sources") or [{}]:
        yield own | {key: source[key] for key in COLUMNS if key in source}


def _scanpy_row(source: str) -> dict[str, Any]:
    name = source.removeprefix("scanpy:")
    return {
        "name": source,
        "title": f"`{name}` of scanpy.datasets",
        "licence": UNSTATED,
        "version": f"scanpy {version('scanpy')}",
    }
