"""The assay of concentrations: columns, units, scales, limits, and what it reads."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kinetic_problems import ENZYME, enzyme, measured, problem

from multiscale.assays import Concentration, make_assay
from multiscale.errors import AssayError, DataError
from multiscale.model import Model
from multiscale.model.sums import read_sum

FIXED = [{**row, "estimate": 0} for row in ENZYME]


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame([{"context": "a", "target": "S", "value": 2.0} | columns])


def test_values_are_read_in_micromolar_and_seconds() -> None:
    entries = Concentration().prepare(table(unit="nM", time="60"))
    assert entries.loc[0, "y"] == pytest.approx(math.log(2e-3), abs=1e-15)
    assert entries.loc[0, "time"] == 60.0


def test_readings_in_arbitrary_units_share_a_scale_per_source_and_target() -> None:
    rows = pd.concat([table(unit="uM"), table(source="gel"), table(source="gel", target="P")])
    assay = Concentration()
    entries = assay.prepare(rows)
    assert assay.offsets(entries)[0].keys.tolist() == ["", "gel|S", "gel|P"]
    assert assay.noise(entries).keys.tolist() == ["all|S", "gel|S", "gel|P"]
    normal = Concentration(distribution="normal", noise_median=0.1)
    assert normal.offsets(entries) == []
    assert normal.factors(entries)[0].keys.tolist() == ["", "gel|S", "gel|P"]


def test_a_value_below_its_limit_is_censored_at_the_limit() -> None:
    entries = Concentration(limit=5.0).prepare(table(unit="nM"))
    assert entries.loc[0, "censoring"] == -1
    assert entries.loc[0, "y"] == pytest.approx(math.log(5e-3), abs=1e-15)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"unit": "uMM"}, "table, row 0: `unit` is `uMM`; did you mean `uM`?"),
        ({"value": 0.0}, "table, row 0: `value` must be positive; state a `limit`, or use distribution"),
        ({"value": ""}, "table, row 0: `value` is blank; drop the row or write detected = no"),
        ({"detected": "no"}, "table, row 0: not detected, and there is no `limit`; state it"),
        ({"time": -1}, "table, row 0: `time` must not be negative, in s; got -1"),
        ({"readout": "totals"}, "table, row 0: `readout` is `totals`; did you mean `total`?"),
    ],
)
def test_wrong_rows_are_refused(columns: dict[str, object], message: str) -> None:
    with pytest.raises(AssayError, match=re.escape(message)):
        Concentration().prepare(table(**columns))


def test_normal_noise_needs_its_size() -> None:
    with pytest.raises(AssayError, match="give the option `noise_median`, which normal noise needs"):
        Concentration(distribution="normal").prepare(table())
    with pytest.raises(AssayError, match="did you mean `normal`"):
        make_assay("concentration", {"distribution": "norm"})


def test_sums_are_read_between_blanks_so_that_names_may_hold_plus_signs() -> None:
    assert read_sum("Ca2+ + 2*A-P", ["Ca2+", "A-P"]) == {"Ca2+": 1.0, "A-P": 2.0}
    with pytest.raises(DataError, match="`A` in `A \\+ B` is no species that can be read"):
        read_sum("A + B", ["AA", "B"])


def location(rows: list[tuple], assay: Concentration | None = None, unit: str = "uM", **columns: Any):
    """What the enzyme's readings are at the prior medians, with scales of 3."""
    model = Model(problem(enzyme(FIXED), measured(rows, assay, unit=unit, **columns)))
    values = {block.name: np.full(len(block), math.log(3.0)) for block in model.parameters.blocks}
    state = model.state(model.parameters.pack(values) if values else torch.zeros(1, 0).double())
    return model.readings["blot"].location(state)[0], state


def test_sums_totals_and_times_are_read_from_the_course() -> None:
    rows = [("a", "S + 2*ES", 4.0, 1.0), ("a", "P", 2.0, 1.0), ("a", "P", "", 1.0)]
    found, state = location(rows, sd=0.1)
    E, S, P, ES = state.x[0, 0].T
    expected = torch.stack([S[1] + 2 * ES[1], P[0], P[1]]).log()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    total, _ = location([("a", "E", 4.0, 1.0)], sd=0.1, readout="total")
    torch.testing.assert_close(total, (E + ES)[-1:].log(), rtol=1e-12, atol=0)


def test_a_scale_multiplies_normal_readings_and_shifts_logarithms() -> None:
    rows = [("a", "P", 4.0, 1.0)]
    plain, _ = location(rows, sd=0.1)
    shifted, _ = location(rows, unit="", sd=0.1)
    normal, _ = location(rows, Concentration(distribution="normal"), unit="", sd=0.1)
    torch.testing.assert_close(shifted, plain + math.log(3.0), rtol=1e-12, atol=0)
    torch.testing.assert_close(normal, 3.0 * plain.exp(), rtol=1e-12, atol=0)


def test_nothing_reads_as_the_least_that_the_solver_resolves() -> None:
    found, _ = location([("a", "P", 0.0, 1.0)], sd=0.1)
    assert found.item() == pytest.approx(math.log(1e-9), abs=1e-12)


@pytest.mark.parametrize(
    ("target", "time", "regime", "message"),
    [
        ("Q", 1.0, "time_course", "`blot`: `Q` in `Q` is no species that can be read"),
        ("P", 1.0, "steady_state", "`blot` states a `time`, 1 s, but the regime is `steady_state`"),
        ("P", "", "time_course", "no measurement of context `a` states a `time`, so it has no last one"),
    ],
)
def test_readings_that_do_not_fit_are_refused(target: str, time: object, regime: str, message: str) -> None:
    rows = [("a", target, time, 1.0), ("a", "S", time, 1.0)]
    with pytest.raises(DataError, match=re.escape(message)):
        problem(enzyme(FIXED), measured(rows, sd=0.1), regime=regime)  # pyright: ignore[reportArgumentType]
