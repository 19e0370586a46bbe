from __future__ import annotations

import math
import re

import pandas as pd
import pytest

from multiscale.assays import LogNormal
from multiscale.errors import AssayError


def row(**cells: object) -> pd.DataFrame:
    """A table of one mean, 2 of 10,000 unless said otherwise."""
    return pd.DataFrame([{"context": "T", "molecule": "A", "value": 2.0, **cells}])


def test_a_mean_is_read_as_ln_of_its_share_of_the_total() -> None:
    entry = LogNormal(target_sum=1e6).prepare(row(value=50)).iloc[0]
    assert (entry["y"], entry["readout"]) == (pytest.approx(math.log(50e-6)), "transcript")


@pytest.mark.parametrize("value", [0, ""])
def test_what_nobody_showed_is_below_the_limit(value: object) -> None:
    entry = LogNormal().prepare(row(value=value, limit=0.5)).iloc[0]
    assert (entry["y"], entry["censoring"]) == (pytest.approx(math.log(0.5e-4)), -1)


def test_entries_of_a_source_share_scale_and_noise() -> None:
    assay = LogNormal(scale_sd=0.3)
    entries = assay.prepare(pd.concat([row(source="a"), row(source="b", sd=0.1)]))
    (scale,) = assay.offsets(entries)
    assert (scale.keys.tolist(), scale.sd) == (["a", "b"], 0.3)
    assert assay.noise(entries).keys.tolist() == ["a", ""]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"value": 0}, "nothing was seen and `limit` is blank"),
        ({"value": -0.3}, "`value` is negative; give means of expm1(X)"),
        ({"limit": -1}, "`limit` must be positive; got -1"),
    ],
)
def test_wrong_rows_are_refused_with_the_remedy(cells: dict[str, object], message: str) -> None:
    with pytest.raises(AssayError, match=re.escape(message)):
        LogNormal().prepare(row(**cells))


def test_layer_and_raw_exclude_each_other() -> None:
    with pytest.raises(AssayError, match="give `layer` or `use_raw`, not both"):
        LogNormal(layer="data", use_raw=True)
