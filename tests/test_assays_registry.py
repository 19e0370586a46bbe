from __future__ import annotations

import re

import pytest

from multiscale.assays import ASSAYS, Assay, Counts, make_assay
from multiscale.errors import AssayError


@pytest.mark.parametrize("kind", sorted(ASSAYS))
def test_every_assay_can_be_made_without_options(kind: str) -> None:
    assert isinstance(make_assay(kind), ASSAYS[kind])


def test_every_table_assay_explains_its_columns() -> None:
    tables = [assay for assay in ASSAYS.values() if issubclass(assay, Assay)]
    assert len(tables) == 4
    assert all(meaning for assay in tables for meaning in assay.columns.values())


def test_an_unknown_assay_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(AssayError, match=re.escape("`count` is not an assay; did you mean `counts`?")):
        make_assay("count")


def test_an_unknown_option_is_refused_with_the_nearest_name() -> None:
    expected = "`use_row` is not an option of the assay `counts`; did you mean `use_raw`?"
    with pytest.raises(AssayError, match=re.escape(expected)):
        make_assay("counts", {"use_row": True})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "counts", "use_raw": True}, "give `layer` or `use_raw`, not both"),
        ({"layer": 3}, "`layer` of Counts must be a name; got 3"),
        ({"use_raw": "yes"}, "`use_raw` of Counts must be true or false; got 'yes'"),
        ({"recover": 1}, "`recover` of Counts must be true or false; got 1"),
        ({"target_sum": 0.0}, "`target_sum` of Counts must be a positive number"),
        ({"dispersion_median": -1.0}, "`dispersion_median` of Counts must be a positive number"),
    ],
)
def test_options_of_counts_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(AssayError, match=re.escape(message)):
        make_assay("counts", options)


def test_counts_are_recovered_by_default_from_what_was_not_named() -> None:
    assert Counts().may_recover
    assert Counts(use_raw=True).may_recover
    assert not Counts(layer="counts").may_recover
    assert Counts(layer="lognorm", recover=True).may_recover
