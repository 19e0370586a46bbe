"""What all instruments have in common: derivatives, rows without measurements, names and options."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from instrument_cases import CASES, FITNESS, Case, density, leaves, prepared, readouts, table, values

from multiscale.assays import INSTRUMENTS, Fitness, make_instrument
from multiscale.assays.cells import encode_groups, groups
from multiscale.errors import AssayError

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_log_densities_have_right_first_and_second_derivatives(case: Case) -> None:
    names, given = leaves(case, starts=1)
    assert torch.autograd.gradcheck(lambda *parts: density(case, names, list(parts)), given)
    assert torch.autograd.gradgradcheck(lambda *parts: density(case, names, list(parts)), given, atol=1e-4)


@every_case
def test_nothing_bound_gives_finite_densities_and_derivatives(case: Case) -> None:
    names, given = leaves(case)
    if case.instrument.quantities()[0].kind != "energy":
        given[0] = torch.full_like(given[0], -math.inf).requires_grad_()
    found = density(case, names, given)
    gradient = torch.autograd.grad(found.sum(), given, create_graph=True)
    second = torch.autograd.grad([part.sum() for part in gradient], given)
    assert all(torch.isfinite(part).all() for part in (found, *gradient, *second))


@every_case
def test_starts_are_independent_of_each_other(case: Case) -> None:
    names, given = leaves(case)
    both = density(case, names, given)
    assert both.shape == (2, len(case.table))
    torch.testing.assert_close(both[1:], density(case, names, [part[1:] for part in given]))


@every_case
def test_rows_without_measurements_are_prepared_expected_and_drawn(case: Case) -> None:
    inputs = {case.instrument.columns.get(name, name) for name in case.instrument.inputs}
    bare = case.table[[name for name in case.table if name in inputs]]
    arrays = prepared(case.instrument, bare, measured=False)
    given, known = readouts(case.instrument, len(bare)), values(case.instrument, case.table)
    drawn = case.instrument.draw(arrays, given, known, torch.Generator().manual_seed(1))
    assert torch.isfinite(case.instrument.expected(arrays, given, known)).all()
    assert drawn.shape == (2, len(bare)) and torch.isfinite(drawn).all()
    assert np.isnan(case.instrument.observed({n: a.numpy() for n, a in arrays.items()})).all()
    again = case.instrument.unknowns(case.instrument.prepare(bare, "table", measured=False))
    assert [unknown.name for unknown in again] == list(known)
    assert all(math.isfinite(unknown.mean) and unknown.sd > 0 for unknown in again)


@every_case
def test_unknowns_have_proper_priors_and_distinct_names(case: Case) -> None:
    found = case.instrument.unknowns(case.instrument.prepare(case.table, "table"))
    assert len({unknown.name for unknown in found}) == len(found)
    assert all(math.isfinite(u.mean) and u.sd > 0 and (u.width is None or u.width > 0) for u in found)
    assert all(u.codes.shape == (len(case.table),) and u.codes.max() < len(u.labels) for u in found)


@every_case
def test_expected_and_observed_have_one_number_per_row(case: Case) -> None:
    arrays = prepared(case.instrument, case.table)
    given = readouts(case.instrument, len(case.table))
    expected = case.instrument.expected(arrays, given, values(case.instrument, case.table))
    observed = case.instrument.observed(case.instrument.prepare(case.table, "table"))
    assert expected.shape == (2, len(case.table)) and observed.shape == (len(case.table),)


def test_every_instrument_has_a_case_and_is_made_by_its_name() -> None:
    assert {type(case.instrument) for case in CASES} == set(INSTRUMENTS.values())
    made = make_instrument("affinity", {"complex": "AB", "unit_of_value": "nM"})
    assert (made.unit, made.quantities()[0].kind) == ("nM", "energy")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("fitnes", {}, "did you mean `fitness`"),
        (
            "fitness",
            {"species": "A", "off": "A"},
            "`off` is not an option of the instrument `fitness`; did you mean `of`",
        ),
        ("fitness", {"species": "A"}, "needs the option `of`"),
        ("fitness", {"species": "A", "of": "A", "calibration": "log-affine"}, "did you mean `log_affine`"),
        ("fitness", {"species": "A", "of": "A", "base": 1}, "`base` of Fitness must be"),
        ("fitness", {"species": "A", "of": "A", "columns": {"vaule": "y"}}, "did you mean `value`"),
        ("fitness", {"species": "A", "of": "A", "counts": 1}, "`counts` of Fitness must be true or false"),
        ("selection_counts", {"species": "A", "of": "A", "distribution": "poisson"}, "`poisson`"),
        ("affinity", {"complex": "AB", "quantity": "IC50"}, "depends on the concentrations of the assay"),
        ("affinity", {"complex": "AB", "unit_of_value": "ug/mL"}, "`unit_of_value` of Kd is `ug/mL`"),
        ("affinity", {"complex": "AB", "relations": {"no": "over"}}, "`no` means `over`"),
        ("titration", {"species": "A", "per": 0.0}, "`per` of Titration must be a positive number, in µM"),
        ("anisotropy", {"species": "A", "of": "A", "value_unit": "mp"}, "`value_unit` of Anisotropy is `mp`"),
        (
            "itc",
            {"species": "A", "cell_volume": 1.0, "value_unit": "kcal/mol"},
            "needs `syringe_concentration`",
        ),
        ("melt", {"species": "A", "of": "A", "x_unit": "F"}, "`x_unit` of Melt is `F`"),
        ("sortseq", {"species": "A", "bins": ["a"]}, "at least two different columns"),
        ("sortseq", {"species": "A", "bins": ["a", "b"], "link": "log"}, "did you mean `logit`"),
    ],
)
def test_wrong_options_are_refused(kind: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(AssayError, match=re.escape(message)):
        make_instrument(kind, options)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("value", None, "f.tsv, line 3: variant `A2G`: `value` is blank"),
        ("value", "n/a?", "f.tsv, line 3: variant `A2G`: `value` must be a finite number; got `n/a?`"),
        ("value", math.inf, "`value` must be a finite number; got `inf`"),
        ("sigma", 0.0, "line 3: variant `A2G`: `sigma` must be positive; got 0"),
        (
            "before",
            -1,
            "line 3: variant `A2G`: `before` must be a count, a whole number of at least 0; got -1",
        ),
        ("after", 0.5, "`after` must be a count"),
        ("lib", " ", "`lib` is blank; name the group of every row"),
    ],
)
def test_bad_cells_are_refused_with_file_line_and_variant(column: str, cell: object, message: str) -> None:
    bad = FITNESS.assign(variant=["wt", "A2G", "A2C"]).astype({column: object})
    bad.loc[3, column] = cell  # pyright: ignore[reportArgumentType, reportCallIssue]
    columns = {"input_count": "before", "selected_count": "after"}
    made = Fitness(species="A", of="A", counts=True, columns=columns, sd_column="sigma", group="lib")
    with pytest.raises(AssayError, match=re.escape(message)):
        made.prepare(bad, "f.tsv")


def test_a_missing_column_is_named_with_the_nearest_one() -> None:
    with pytest.raises(AssayError, match=r"column `vlaue` \(value\) is missing; did you mean `value`"):
        Fitness(species="A", of="A", columns={"value": "vlaue"}).prepare(FITNESS, "f.tsv")


@pytest.mark.parametrize("cells", [[2, 10, 2], [2.0, 10.0, 2.0], ["2", "10 ", "2"]])
def test_labels_of_groups_do_not_depend_on_how_the_column_was_read(cells: list[object]) -> None:
    labels, codes = encode_groups(groups(table(lib=cells), "lib", "f.tsv"))
    assert (labels, codes.tolist()) == (("10", "2"), [1, 0, 1])


def test_large_tables_of_text_are_read_like_numbers() -> None:
    data = pd.DataFrame({"value": np.linspace(0, 1, 1000).astype(str)})
    found = Fitness(species="A", of="A").prepare(data, "f.tsv")
    np.testing.assert_array_equal(found["value"], np.linspace(0, 1, 1000))
