"""Readings from tables of variants, pairs and wells: one entry point for all formats."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from multiscale.assays import Instrument
from multiscale.data import Entities, Readings, Sequences
from multiscale.errors import AssayError, FormatError, nearest
from multiscale.formats.variants import affinities, dimsum, mavedb
from multiscale.formats.variants.conditions import Condition, read_condition
from multiscale.formats.variants.file import chosen, column_of, fingerprint, read_variant_table
from multiscale.formats.variants.holdout import Holdout
from multiscale.formats.variants.layout import Layout
from multiscale.formats.variants.repeats import Repeats, settle
from multiscale.formats.variants.sequence_columns import SequenceColumn, read_sequences, reference_of
from multiscale.formats.variants.wild_type import ADDED, SAID, add_wild_type, usual_label, wild_type_cell

__all__ = ["FORMATS", "read_readings"]

FORMATS = {
    layout.name: layout
    for layout in (Layout("table"), dimsum.LAYOUT, mavedb.LAYOUT, affinities.LONG, affinities.MATRIX)
}
"""Formats by name: what their files say without being asked."""


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What to read of a file."""

    path: Path
    instrument: Instrument
    layout: Layout
    sequences: tuple[SequenceColumn, ...]
    entities: Mapping[str, str]
    conditions: Mapping[str, Condition]
    split: str | None
    holdout: Holdout | None
    where: Mapping[str, object]
    measured: bool
    repeats: Repeats
    wild_type: Mapping[str, float | str] | None

    @property
    def file(self) -> str:
        """Name for messages."""
        return self.path.name


def read_readings(
    path: str | Path,
    instrument: Instrument,
    *,
    name: str | None = None,
    format: Literal["table", "dimsum", "mavedb", "affinities", "affinity_matrix"] = "table",
    sequence: SequenceColumn | Iterable[SequenceColumn] = (),
    entities: Mapping[str, str] | None = None,
    conditions: Mapping[str, Condition] | None = None,
    split: str | None = None,
    holdout: Holdout | None = None,
    where: Mapping[str, object] | None = None,
    measured: bool = True,
    duplicates: Repeats = "keep",
    wild_type: Mapping[str, float | str] | None = None,
) -> Readings:
    """Read what one instrument measured from a table with one row per reading.

    Args:
        path: .csv, .tsv or .txt (tabs, commas or blanks), also .gz.
        instrument: how rows are read; its `columns` name the columns of measurements.
        name: of the readings; the file's name without suffix if None.
        format: `table`; `dimsum` (fitness tables of DiMSum, the input of MoCHI: wild type, stops and indels
            are marked); `mavedb` (HGVS protein notation in `hgvs_pro`); `affinities` (bounds such as
            `>10000` and units in the values), `affinity_matrix` (the same, first column × others; the
            others' names become the column `column`).
        sequence: columns with sequences, one per molecule.
        entities: per kind (`drug`, `receptor`) the column that names which one a row is about.
        conditions: per molecule its concentration, also `temperature` and `denaturant`; see
            `conditions.Condition`.
        split: column with a label per row.
        holdout: draw labels instead.
        where: rows kept, before anything is checked: per column a value, a flag, or a list of values.
        measured: whether measurements are wanted; else their columns are ignored and may be missing (rows
            to predict).
        duplicates: rows of the same variant, entities, conditions and instrument inputs: `keep` (each is a
            reading), `refuse` if they differ in what was measured, or `mean` (pool them, where that loses
            nothing).
        wild_type: cells of a row that is added for the wild type, by column (`{"fitness": 0, "sigma":
            0.05}`), or by the instrument's own name of it. For scans stated relative to a wild type that
            they do not list: double mutants alone leave ΔΔG + c, ΔG − 2c open. Its label is that of `split`
            among the cells, else `training`, else that of the first row.

    Returns:
        readings; index of `rows` = line in the file, the header being line 1.

    Raises:
        FormatError: file, columns, conditions, wild type or duplicates are wrong.
        DataError: a sequence is wrong.
        AssayError: a measurement is wrong.

    Each names file, line and variant, and the remedy.
    """
    if format not in FORMATS:
        raise FormatError(f"`format` = `{format}`; {nearest(format, FORMATS)}")
    if split and holdout:
        raise FormatError("`split` and `holdout` exclude each other; give one.")
    layout = FORMATS[format]
    columns = (sequence,) if isinstance(sequence, SequenceColumn) else tuple(sequence)
    request = _Request(
        path=Path(path),
        instrument=instrument,
        layout=layout,
        sequences=tuple(map(layout.sequence, columns)),
        entities=entities or {},
        conditions=conditions or {},
        split=split,
        holdout=holdout,
        where=where or {},
        measured=measured,
        repeats=duplicates,
        wild_type=wild_type if measured else None,
    )
    return _read(request, name or request.file.split(".")[0])


def _read(request: _Request, name: str) -> Readings:
    """Read, filter, check."""
    whole = _whole(request)
    keep, kept = _kept(whole, request)
    in_file = len(whole)
    if request.wild_type is not None:
        whole, keep = _with_wild_type(whole, request, keep), np.append(keep, True)
    table, file = (whole if keep.all() else whole[keep]), request.file
    draft = Readings(
        name=name,
        instrument=request.instrument,
        rows=table,
        arrays={},
        sequences={c.molecule: _sequences(whole, c, request, keep) for c in request.sequences},
        entities={kind: _entities(table, column, kind, file) for kind, column in request.entities.items()},
        conditions={key: read_condition(table, key, c, file) for key, c in request.conditions.items()},
    )
    draft = _settled(draft, request) if request.measured else draft
    return replace(
        draft,
        rows=draft.rows.drop(columns=_measured(draft.rows, request)),
        arrays=_prepare(draft, request),
        split=_split(draft.rows, request),
        provenance=_provenance(request, kept, in_file, len(draft)),
    )


def _settled(draft: Readings, request: _Request) -> Readings:
    """Rows of which repeats are kept, refused or pooled; pooled values stand in `rows`."""
    keys = [part.codes for part in draft.sequences.values()]
    keys += [part.codes[:, None] for part in draft.entities.values()]
    keys += [values[:, None] for values in draft.conditions.values()]
    table, stay = settle(
        draft.rows, keys, request.instrument, request.repeats, request.file, partial(_variant, draft)
    )
    return draft if len(stay) == len(draft) else replace(draft.take(stay), rows=table)


def _provenance(request: _Request, kept: Mapping[str, object], before: int, after: int) -> dict[str, object]:
    """Where the rows come from, for JSON."""
    return {
        "file": str(request.path),
        "sha256": fingerprint(request.path),
        "format": request.layout.name,
        "where": {key: _plain(value) for key, value in kept.items()},
        "duplicates": request.repeats,
        "rows_in_file": before,
        "rows": after,
    }


def _whole(request: _Request) -> pd.DataFrame:
    """All rows of the file."""
    text = {column.column for column in request.sequences} | {*request.entities.values()}
    text |= {request.split} if request.split else set()
    table = read_variant_table(request.path, None if request.layout.all_text else text)
    convert = request.layout.convert
    return convert(table, request.instrument, request.file, request.measured) if convert else table


def _kept(whole: pd.DataFrame, request: _Request) -> tuple[np.ndarray, dict[str, object]]:
    """Rows to keep, and the conditions they meet."""
    stops = any("*" in column.alphabet for column in request.sequences)
    usual = request.layout.usual_rows(whole, stops) if request.sequences else {}
    conditions = {**usual, **request.where}
    keep = chosen(whole, conditions, request.file)
    if not keep.any():
        said = ", ".join(f"{column} = {value}" for column, value in conditions.items())
        raise FormatError(f"{request.file}: no row has {said}; change `where`.")
    return keep, conditions


def _with_wild_type(whole: pd.DataFrame, request: _Request, keep: np.ndarray) -> pd.DataFrame:
    """The table and a row for the wild type."""
    own, file = request.instrument.columns, request.file
    cells = dict(request.wild_type or {})
    label = None if "split" in whole else cells.pop("split", None)
    cells = {column if column in whole else own.get(column, column): cell for column, cell in cells.items()}
    if request.split in whole and request.split not in cells:
        assert request.split is not None
        cells[request.split] = label or usual_label(whole[request.split][keep].dropna().to_numpy())
    for column in request.sequences:
        reference = reference_of(whole, column, file, request.layout.wild_type)
        cells[column.column] = wild_type_cell(reference, column.notation, column.molecule, file)
    return add_wild_type(whole, cells, file)


def _sequences(whole: pd.DataFrame, column: SequenceColumn, request: _Request, keep: np.ndarray) -> Sequences:
    """Sequences of one molecule in the rows kept; the wild type may be in another row."""
    wild = reference_of(whole, column, request.file, request.layout.wild_type)
    return read_sequences(whole, column, request.file, wild, keep)


def _entities(table: pd.DataFrame, column: str, kind: str, where: str) -> Entities:
    """Which entity every row names."""
    return Entities(*_factors(table, column, where, f"entity `{kind}`"))


def _factors(table: pd.DataFrame, column: str, where: str, use: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes and sorted names of a column of text without blanks."""
    cells = column_of(table, column, where, use)
    codes, raw = pd.factorize(cells.to_numpy(dtype=object))
    names = [str(name).strip() for name in raw]
    known = sorted(set(names) - {""})
    rank = {name: number for number, name in enumerate(known)} | {"": -1}
    codes = np.array([rank[name] for name in names] + [-1], dtype=np.int64)[codes]
    blank = codes < 0
    if blank.any():
        line = table.index[blank][0]
        raise FormatError(f"{where}, line {line}: `{column}` ({use}) is blank; fill it or leave out the row.")
    return codes, tuple(known)


def _measured(table: pd.DataFrame, request: _Request) -> list[str]:
    """Columns of measurements, which do not identify a row."""
    own = request.instrument.columns
    names = {own.get(column, column) for column in request.instrument.measured}
    names |= {str(column) for column in table.columns if request.layout.is_measured(str(column))}
    return [column for column in table.columns if column in names]


def _split(table: pd.DataFrame, request: _Request) -> np.ndarray | None:
    """Label of every row; rows to predict may lack it."""
    if not request.measured and (request.split is None or request.split not in table):
        return None
    if request.holdout:
        added = table.index == ADDED
        labels = np.full(len(table), "training")
        labels[~added] = request.holdout.labels(table[~added], request.file)
        return labels
    if request.split is None:
        return None
    codes, labels = _factors(table, request.split, request.file, "`split`")
    return np.array(labels)[codes]


def _variant(draft: Readings, line: int) -> str:
    """Mutations and entities of the row of a line, for messages."""
    at = np.flatnonzero(draft.rows.index == line)
    if len(at) != 1:  # a line of a matrix holds several
        return ""
    parts = [part.take(at).labels()[0] for part in draft.sequences.values()]
    parts += [part.names[part.codes[at[0]]] for part in draft.entities.values()]
    return " × ".join(parts)


def _prepare(draft: Readings, request: _Request) -> dict[str, np.ndarray]:
    """Numbers of the instrument; what it refuses is said with the variant's name."""
    try:
        return request.instrument.prepare(draft.rows, request.file, measured=request.measured)
    except AssayError as error:
        match = re.match(rf"{re.escape(request.file)}, line (\d+)[^:]*: ", str(error))
        if match and int(match.group(1)) == ADDED:
            raise AssayError(str(error).replace(f"line {ADDED}", SAID, 1)) from None
        name = _variant(draft, int(match.group(1))) if match else ""
        if not match or not name or "variant `" in str(error):
            raise
        head, rest = match.group(0), str(error)[match.end() :]
        raise AssayError(f"{head}variant `{name}`: {rest}") from None


def _plain(value: Any) -> Any:
    """A value for JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return [_plain(item) for item in value] if several else value
