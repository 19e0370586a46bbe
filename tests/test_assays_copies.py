from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multiscale.assays import Copies
from multiscale.errors import AssayError


def row(**cells: object) -> pd.DataFrame:
    """A table of one measured copy number, 20,000 per cell unless said otherwise."""
    return pd.DataFrame([{"context": "T", "molecule": "A", "value": 20000, "source": "ms", **cells}])


def prepare(**cells: object) -> pd.Series:
    return Copies().prepare(row(**cells)).iloc[0]


def test_copies_are_read_as_their_logarithm() -> None:
    entry = prepare()
    assert entry[["context", "target", "readout", "censoring"]].tolist() == ["T", "A", "total", 0]
    assert entry["y"] == pytest.approx(math.log(20000))
    assert math.isnan(entry["sd"])


@pytest.mark.parametrize("cells", [{"value": 999.0}, {"value": 0}, {"value": "", "detected": "no"}])
def test_few_or_no_copies_say_only_that_there_are_fewer_than_the_limit(cells: dict[str, object]) -> None:
    entry = prepare(**cells)
    assert (entry["y"], entry["censoring"]) == (pytest.approx(math.log(1000)), -1)


def test_a_value_at_the_limit_is_a_value() -> None:
    assert prepare(value=1000)["censoring"] == 0


def test_a_row_may_state_its_own_limit() -> None:
    assert prepare(value=300, limit=100)["y"] == pytest.approx(math.log(300))
    assert prepare(detected="no", value="", limit=500)["y"] == pytest.approx(math.log(500))
    assert Copies(limit=10.0).prepare(row(value=300))["censoring"].tolist() == [0]


def test_scales_belong_to_a_molecule_of_a_source_and_to_a_source() -> None:
    table = pd.concat([row(), row(molecule="B"), row(source="flow", readout="surface")])
    scale, source = Copies().offsets(Copies().prepare(table))
    assert scale.keys.tolist() == ["ms|A", "ms|B", "flow|A"]
    assert source.keys.tolist() == ["ms", "ms", "flow"]
    assert (scale.mean, scale.sd, source.sd) == (0.0, pytest.approx(math.log(5)), pytest.approx(math.log(10)))


def test_noise_is_fitted_per_source_unless_a_row_states_it() -> None:
    entries = Copies().prepare(pd.concat([row(), row(source="flow", sd=0.1)]))
    noise = Copies(noise_median=0.4).noise(entries)
    assert (noise.keys.tolist(), noise.median) == (["ms", ""], 0.4)


def test_offsets_of_some_entries_keep_their_index() -> None:
    entries = Copies().prepare(pd.concat([row(), row(molecule="B")]))
    scale, _ = Copies().offsets(entries[entries["target"] == "B"])
    assert scale.keys.to_dict() == {1: "ms|B"}


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"value": ""}, "table, row 0: `value` is blank; drop the row or write detected = no"),
        ({"value": np.nan, "detected": "yes"}, "`value` is blank"),
        ({"value": -2}, "`value` is negative"),
        ({"value": "many"}, "`value` must be a finite number; got `many`"),
        ({"value": 5000, "detected": "no"}, "not detected, yet `value` is not below the `limit`"),
        ({"detected": "maybe"}, "`detected` is `maybe`"),
        ({"readout": "surfaces"}, "`readout` is `surfaces`; did you mean `surface`?"),
        ({"limit": 0}, "`limit` must be positive; got 0"),
        ({"unit": "fg"}, "`unit` must be a number per cell, such as copies/cell; got `fg`"),
        ({"context": ""}, "`context` is blank"),
        ({"molecule": None}, "`molecule` is blank"),
        ({"gene": "A"}, "unknown column `gene`"),
    ],
)
def test_wrong_rows_are_refused_with_the_remedy(cells: dict[str, object], message: str) -> None:
    with pytest.raises(AssayError, match=re.escape(message)):
        Copies().prepare(row(**cells))


def test_a_missing_column_is_named_with_its_meaning() -> None:
    with pytest.raises(AssayError, match=re.escape("column `source` (study or instrument")):
        Copies().prepare(row().drop(columns="source"))


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(AssayError, match="the table has no row"):
        Copies().prepare(row().iloc[:0])


@pytest.mark.parametrize("option", ["limit", "scale_sd", "source_sd", "noise_median", "noise_ln_sd"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, "1", True])
def test_options_out_of_range_are_refused(option: str, value: object) -> None:
    with pytest.raises(AssayError, match=f"`{option}` of Copies must be a positive number"):
        Copies(**{option: value})  # pyright: ignore[reportArgumentType]


def test_the_published_copy_numbers_fit_the_table(shared: Path) -> None:
    facts = pd.read_csv(
        shared / "facts" / "pbmc" / "copy_numbers.tsv", sep="\t", dtype=str, keep_default_na=False
    )
    table = facts[
        ["id", "value", "unit", "detected", "state", "spread", "n", "quantity", "method", "caveat"]
    ].assign(
        context=facts["maps_to_bulk_labels"],
        molecule=facts["gene"],
        source=facts["reference"],
        population=facts["cell_type"],
        readout=np.where(facts["quantity"].str.contains("total"), "total", "surface"),
    )
    entries = Copies().prepare(table, where="copy_numbers.tsv")
    seen = pd.to_numeric(facts["value"]) >= 1000
    assert (len(entries), int((entries["censoring"] == 0).sum())) == (len(facts), int(seen.sum()))
    assert entries["y"].min() == pytest.approx(math.log(1000))
