"""Contexts: the physical situations that measurements describe, and the batch axis of every computation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pandas as pd

from multiscale.data.interventions import Interventions
from multiscale.errors import DataError, nearest

__all__ = ["Contexts", "cell_contexts", "group_contexts", "pair_contexts"]

KINDS = ("group", "cell", "pair")
COLUMNS = ("kind", "sender", "receiver", "n_cells")


@dataclass(frozen=True, eq=False)
class Contexts:
    """A table of contexts, one row each.

    Args:
        table: index `context` = unique names; columns `kind` (group, cell or pair), `sender` and `receiver`
            (contexts that a pair joins, else empty), `n_cells`, and any covariates. In kinetic regimes the
            covariate `preequilibrate` names the context from whose steady state a context starts.
        interventions: what was done to them.

    Raises:
        DataError: a name occurs twice or is empty, a kind is unknown, or a pair joins contexts that are not
            there, or an intervention is on one that is not.
    """

    table: pd.DataFrame
    interventions: Interventions = field(default_factory=Interventions)

    def __post_init__(self) -> None:
        """Check names, kinds, pairs and interventions."""
        table = self.table
        missing = [column for column in COLUMNS if column not in table]
        if missing:
            raise DataError(f"contexts need the columns {', '.join(COLUMNS)}; `{missing[0]}` is missing.")
        twice = table.index[table.index.duplicated()]
        if len(twice):
            raise DataError(f"context `{twice[0]}` occurs twice; names of contexts must be unique.")
        if (table.index == "").any():
            raise DataError("a context has an empty name; name it or drop its measurements.")
        wrong = table.index[~table["kind"].isin(KINDS)]
        if len(wrong):
            raise DataError(f"context `{wrong[0]}`: `kind` must be one of {', '.join(KINDS)}.")
        self._check_pairs()
        self.interventions.check_contexts(self.groups)

    def _check_pairs(self) -> None:
        """Refuse pairs whose sides are not contexts of their own."""
        pairs = self.table.loc[self.pairs]
        known = set(self.table.index)
        for side in ("sender", "receiver"):
            for name, group in zip(pairs.index, pairs[side].tolist(), strict=True):
                if group not in known:
                    raise DataError(f"pair context `{name}`: {side} `{group}` is not a context.")

    @property
    def names(self) -> list[str]:
        """Names of all contexts, in order."""
        return list(self.table.index)

    @property
    def groups(self) -> list[str]:
        """Names of the contexts that hold cells: groups and single cells, not pairs."""
        return list(self.table.index[self.table["kind"] != "pair"])

    @property
    def pairs(self) -> list[str]:
        """Names of the pair contexts."""
        return list(self.table.index[self.table["kind"] == "pair"])

    def with_covariates(self, table: pd.DataFrame) -> Contexts:
        """The same contexts with further columns, such as `volume_fL` and `surface_um2` of the cells.

        Args:
            table: column `context`, unique, and the covariates; rows of other contexts are left out.

        Raises:
            DataError: `context` is missing or doubled, no row fits, or a column is there already.
        """
        if "context" not in table:
            raise DataError(f"covariates need a column `context`; got {', '.join(map(str, table.columns))}.")
        new = table.set_index("context")
        twice = [*new.index[new.index.duplicated()], *new.columns.intersection(self.table.columns)]
        if twice:
            raise DataError(
                f"covariates: `{twice[0]}` occurs twice; every context and column may occur once."
            )
        if not new.index.isin(self.table.index).any():
            hint = nearest(str(new.index[0]), self.groups)
            raise DataError(f"covariates fit none of the contexts: they have `{new.index[0]}`; {hint}")
        return replace(self, table=self.table.join(new))

    def with_interventions(self, interventions: Interventions | pd.DataFrame) -> Contexts:
        """The same contexts with further interventions.

        Args:
            interventions: as read by `read_interventions`, or a table with the same columns.

        Raises:
            DataError: a column or value is wrong, or a context is not there.
        """
        given = interventions if isinstance(interventions, Interventions) else Interventions(interventions)
        return replace(self, interventions=self.interventions.join(given))

    def __len__(self) -> int:
        """Count the contexts."""
        return len(self.table)

    def join(self, other: Contexts) -> Contexts:
        """Contexts of both, in the order of first appearance; blank cells here are filled from the other.

        Raises:
            DataError: a context has another kind, sender or receiver there.
        """
        common = self.table.index.intersection(other.table.index)
        for column in ("kind", "sender", "receiver"):
            differs = self.table.loc[common, column] != other.table.loc[common, column]
            if differs.any():
                name = common[differs.to_numpy()][0]
                raise DataError(f"context `{name}` has two values of `{column}`; rename one of the two.")
        new = other.table.index.difference(self.table.index, sort=False)
        order = self.table.index.append(new)
        table = self.table.combine_first(other.table).loc[order].rename_axis("context")
        columns = list(dict.fromkeys([*self.table.columns, *other.table.columns]))
        done = self.interventions.join(other.interventions)
        return Contexts(table[columns], done)


def group_contexts(names: Iterable[str], n_cells: Iterable[int] | None = None) -> Contexts:
    """Contexts of groups of cells: types, clusters, samples.

    Args:
        names: of the groups, unique.
        n_cells: cells in each; 0 (unknown) if None.

    >>> group_contexts(["B", "T"]).names
    ['B', 'T']
    """
    return _plain("group", list(names), n_cells)


def cell_contexts(names: Iterable[str]) -> Contexts:
    """Contexts of single cells.

    >>> cell_contexts(["cell_1"]).table["kind"].tolist()
    ['cell']
    """
    cells = list(names)
    return _plain("cell", cells, [1] * len(cells))


def pair_contexts(groups: Contexts) -> Contexts:
    """The groups, and all ordered pairs of them, named `sender|receiver`; a group also meets itself.

    >>> pair_contexts(group_contexts(["B", "T"])).pairs
    ['B|B', 'B|T', 'T|B', 'T|T']
    """
    names = groups.groups
    sides = [(sender, receiver) for sender in names for receiver in names]
    table = pd.DataFrame(
        {
            "kind": "pair",
            "sender": [sender for sender, _ in sides],
            "receiver": [receiver for _, receiver in sides],
            "n_cells": 0,
        },
        index=pd.Index([f"{sender}|{receiver}" for sender, receiver in sides], name="context"),
    )
    return Contexts(pd.concat([groups.table, table]), groups.interventions)


def _plain(kind: str, names: list[str], n_cells: Iterable[int] | None) -> Contexts:
    index = pd.Index(names, name="context", dtype=object)
    cells = [0] * len(names) if n_cells is None else list(n_cells)
    return Contexts(pd.DataFrame({"kind": kind, "sender": "", "receiver": "", "n_cells": cells}, index=index))
