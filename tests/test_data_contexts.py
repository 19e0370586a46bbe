from __future__ import annotations

import re

import pandas as pd
import pytest

from multiscale.data import Contexts, cell_contexts, group_contexts, pair_contexts
from multiscale.errors import DataError


def table(**columns: list[object]) -> pd.DataFrame:
    """A table of two groups with some columns replaced."""
    usual = {"kind": ["group", "group"], "sender": ["", ""], "receiver": ["", ""], "n_cells": [3, 4]}
    return pd.DataFrame({**usual, **columns}, index=pd.Index(["B", "T"], name="context"))


def test_pairs_are_ordered_and_include_a_group_with_itself() -> None:
    contexts = pair_contexts(group_contexts(["B", "T", "NK"], [1, 2, 3]))
    assert (contexts.groups, len(contexts.pairs), len(contexts)) == (["B", "T", "NK"], 9, 12)
    row = contexts.table.loc["T|B"]
    assert (row["kind"], row["sender"], row["receiver"]) == ("pair", "T", "B")


def test_no_groups_make_no_pairs() -> None:
    assert pair_contexts(group_contexts([])).names == []


def test_cells_are_contexts_of_one_cell() -> None:
    contexts = cell_contexts(["c1", "c2"])
    assert contexts.table["n_cells"].tolist() == [1, 1]
    assert contexts.groups == ["c1", "c2"]


def test_joined_contexts_keep_the_order_of_first_appearance() -> None:
    joined = group_contexts(["T", "B"], [5, 6]).join(group_contexts(["NK", "B"], [1, 2]))
    assert joined.names == ["T", "B", "NK"]
    assert joined.table["n_cells"].tolist() == [5, 6, 1]
    assert joined.table["n_cells"].dtype == int


def test_joined_contexts_have_the_covariates_of_both() -> None:
    left, right = Contexts(table(dose=[1.0, None])), Contexts(table(dose=[9.0, 2.0], donor=["x", "y"]))
    joined = left.join(right).table
    assert joined["dose"].tolist() == [1.0, 2.0]
    assert joined["donor"].tolist() == ["x", "y"]
    assert joined.columns.tolist() == ["kind", "sender", "receiver", "n_cells", "dose", "donor"]


def test_joining_contexts_of_two_kinds_is_refused() -> None:
    with pytest.raises(DataError, match="context `B` has two values of `kind`"):
        group_contexts(["B"]).join(cell_contexts(["B"]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"kind": ["group", "well"]}, "context `T`: `kind` must be one of group, cell, pair"),
        (
            {"kind": ["group", "pair"], "sender": ["", "B"], "receiver": ["", "X"]},
            "receiver `X` is not a context",
        ),
    ],
)
def test_inconsistent_tables_are_refused(columns: dict[str, list[object]], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        Contexts(table(**columns))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="`receiver` is missing"):
        Contexts(table().drop(columns="receiver"))


def test_names_must_be_unique_and_not_empty() -> None:
    with pytest.raises(DataError, match="context `B` occurs twice"):
        group_contexts(["B", "B"])
    with pytest.raises(DataError, match="empty name"):
        group_contexts(["B", ""])


def test_a_pair_that_reads_like_a_group_is_refused() -> None:
    with pytest.raises(DataError, match=re.escape("context `A|A` occurs twice")):
        pair_contexts(group_contexts(["A", "A|A"]))


def test_covariates_are_added_by_name() -> None:
    sizes = pd.DataFrame({"context": ["T", "B", "other"], "volume_fL": [130.0, 200.0, 1.0]})
    contexts = group_contexts(["B", "T"]).with_covariates(sizes)
    assert contexts.table["volume_fL"].to_dict() == {"B": 200.0, "T": 130.0}


@pytest.mark.parametrize(
    ("covariates", "message"),
    [
        (pd.DataFrame({"cell": ["B"], "volume_fL": [1.0]}), "need a column `context`; got cell, volume_fL"),
        (pd.DataFrame({"context": ["B", "B"], "volume_fL": [1.0, 2.0]}), "`B` occurs twice"),
        (pd.DataFrame({"context": ["B"], "kind": ["group"]}), "`kind` occurs twice"),
        (
            pd.DataFrame({"context": ["b_cell"], "volume_fL": [1.0]}),
            "fit none of the contexts: they have `b_cell`",
        ),
    ],
)
def test_covariates_that_do_not_fit_are_refused(covariates: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        group_contexts(["B", "T"]).with_covariates(covariates)
