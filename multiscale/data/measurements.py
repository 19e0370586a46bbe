"""Measurements with the contexts they describe: count matrices and tables, each read by its assay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from multiscale import content
from multiscale.assays import Assay, CountLikelihood, Counts
from multiscale.data.contexts import Contexts, group_contexts
from multiscale.data.tables import read_table
from multiscale.errors import AssayError, DataError, nearest

__all__ = ["CountMatrix", "Data", "MeasurementTable", "from_measurements", "read_measurements"]


@dataclass(frozen=True, eq=False)
class CountMatrix:
    """Counts of features in cells.

    Args:
        name: of the assay in the data, such as `rna`.
        assay: how the counts are read.
        values: counts, integers ≥ 0, shape (row, feature).
        rows: index = names of the cells; columns `context` and `size_factor` (> 0).
        features: identifiers of the features, unique.
        mask: true where observed, shape (row, feature); all if None.
        provenance: where the counts came from and what was done to them.
    """

    name: str
    assay: Counts
    values: sparse.csr_array
    rows: pd.DataFrame
    features: pd.Index
    mask: np.ndarray | None = None
    provenance: dict[str, object] = field(default_factory=dict)

    @property
    def identifiers(self) -> list[str]:
        """What is measured, in the data's own names."""
        return list(self.features)

    @property
    def contexts(self) -> list[str]:
        """Names of the contexts that rows describe, in order of first appearance."""
        return list(dict.fromkeys(self.rows["context"]))

    def select(self, features: Sequence[str]) -> CountMatrix:
        """The same cells with some features, in the order given.

        Raises:
            DataError: a feature is not there.
        """
        index = self.features.get_indexer(pd.Index(features))
        if (index < 0).any():
            name = list(features)[int(np.argmax(index < 0))]
            raise DataError(
                f"`{name}` is not a feature of `{self.name}`; {nearest(str(name), self.features)}"
            )
        mask = None if self.mask is None else self.mask[:, index]
        return replace(self, values=self.values[:, index].tocsr(), features=self.features[index], mask=mask)

    def likelihood(self, contexts: Sequence[str]) -> CountLikelihood:
        """Likelihood of all features, a function of ln rates (start, context, feature) and dispersions.

        Args:
            contexts: names and order of the axis `context` of the rates; every row's context must be among
                them.

        Raises:
            DataError: a row's context is not among them.
        """
        group = pd.Index(contexts).get_indexer(pd.Index(self.rows["context"]))
        if (group < 0).any():
            name = self.rows["context"].iloc[int(np.argmax(group < 0))]
            raise DataError(
                f"context `{name}` of `{self.name}` is not in the model; {nearest(name, contexts)}"
            )
        return CountLikelihood(
            torch.from_numpy(self.values.toarray().astype(np.float64)),
            torch.from_numpy(np.log(self.rows["size_factor"].to_numpy(np.float64))),
            torch.from_numpy(group.astype(np.int64)),
            len(contexts),
            None if self.mask is None else torch.from_numpy(self.mask),
        )


@dataclass(frozen=True, eq=False)
class MeasurementTable:
    """Measurements in rows, already checked by their assay.

    Args:
        name: of the assay in the data, such as `proteome`.
        assay: how the rows are read.
        entries: as `assay.prepare` returned them, index `entry`.
        provenance: where they came from.
    """

    name: str
    assay: Assay
    entries: pd.DataFrame
    provenance: dict[str, object] = field(default_factory=dict)

    @property
    def identifiers(self) -> list[str]:
        """What is measured, in the data's own names."""
        return list(dict.fromkeys(self.entries["target"]))

    @property
    def contexts(self) -> list[str]:
        """Names of the contexts that entries describe, in order of first appearance."""
        return [name for name in dict.fromkeys(self.entries["context"]) if name]

    def take(self, rows: pd.Series | np.ndarray) -> MeasurementTable:
        """The entries where `rows` is true; they keep their index."""
        return replace(self, entries=self.entries[np.asarray(rows, dtype=bool)])


@dataclass(frozen=True, eq=False)
class Data:
    """Everything measured: contexts and, per assay, the measurements that describe them.

    Args:
        contexts: the situations.
        assays: measurements by name.
        provenance: per name, where the measurements came from and what was done to them (JSON-able).

    Raises:
        DataError: measurements describe a context that is not there.
    """

    contexts: Contexts
    assays: dict[str, CountMatrix | MeasurementTable]
    provenance: dict[str, dict[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that every context is known."""
        known = set(self.contexts.names)
        for name, assay in self.assays.items():
            for context in assay.contexts:
                if context not in known:
                    hint = nearest(context, self.contexts.groups)
                    raise DataError(
                        f"`{name}` measures context `{context}`, which is not in the data; {hint}"
                    )

    def join(self, other: Data | CountMatrix | MeasurementTable) -> Data:
        """Both together; the name of an assay must be in one of them only.

        Args:
            other: data, or one set of measurements about contexts of these data.

        Raises:
            DataError: a name occurs twice, a context is unknown or contradicts its namesake.
        """
        if isinstance(other, CountMatrix | MeasurementTable):
            other = Data(self.contexts, {other.name: other}, {other.name: other.provenance})
        twice = sorted(set(self.assays) & set(other.assays))
        if twice:
            raise DataError(f"assay `{twice[0]}` is in both; give one of them another `name`.")
        return Data(
            self.contexts.join(other.contexts),
            {**self.assays, **other.assays},
            {**self.provenance, **other.provenance},
        )


def from_measurements(*tables: MeasurementTable, contexts: Contexts | None = None) -> Data:
    """Data of tables alone: their contexts become groups.

    Args:
        tables: with distinct names.
        contexts: further contexts, or the same ones with covariates and interventions; they come first.

    Raises:
        DataError: there is no table, or two of one name.
    """
    if not tables:
        raise DataError("`from_measurements` needs at least one table.")
    names = dict.fromkeys(context for table in tables for context in table.contexts)
    new = group_contexts([name for name in names if contexts is None or name not in contexts.names])
    data = Data(new if contexts is None else contexts.join(new), {})
    for table in tables:
        data = data.join(table)
    return data


def read_measurements(path: str | Path, *, assay: Assay, name: str | None = None) -> MeasurementTable:
    """Read a table of measurements and let its assay check it.

    Args:
        path: a .tsv or .csv file, or its path below `datasets/`.
        assay: how the rows are read; its `columns` say what the table holds.
        name: of the measurements in the data; the stem of the file if None.

    Raises:
        DataError: the file is missing or no table.
        AssayError: the assay reads no tables, or a column or value is wrong; the message names file, line,
            value and remedy.
    """
    if not isinstance(assay, Assay):
        raise AssayError(f"`assay` must read tables, such as Copies() or Affinity(); got {assay!r}.")
    file = content.find("datasets", path)
    entries = assay.prepare(read_table(file), where=file.name)
    provenance: dict[str, object] = {"source": file.name, "entries": len(entries)}
    return MeasurementTable(name or file.stem, assay, entries, provenance)
