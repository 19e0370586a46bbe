"""Priors of the readings at fractions zero and one, and rows that state no standard deviation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

from multiscale.assays import Fitness
from multiscale.errors import AssayError

FRACTIONS = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64).log()[None, :, None]
TABLE = pd.DataFrame({"value": [-1.0, 0.5, 2.0], "sigma": [0.3, np.nan, 0.4]}).rename_axis("line")


def fitness(**options: object) -> Fitness:
    return Fitness(species="bound", of="protein", **options)  # pyright: ignore[reportArgumentType]


def at_prior_means(made: Fitness) -> dict[str, torch.Tensor]:
    """Values of all unknowns at the means of their priors."""
    unknowns = made.unknowns(made.prepare(TABLE, "t"))
    return {u.name: torch.full((1, 3), u.mean, dtype=torch.float64) for u in unknowns}


@pytest.mark.parametrize("decreasing", [False, True])
@pytest.mark.parametrize("kind", ["affine", "log_affine"])
def test_stated_plateaus_are_the_readings_at_fractions_zero_and_one(kind: str, decreasing: bool) -> None:
    ends = (3.0, -2.0) if decreasing else (-2.0, 3.0)
    options = {"floor": [ends[0], 0.1], "top": [ends[1], 0.2], "decreasing": decreasing, "base": 2}
    made = fitness(calibration=kind, **options)
    found = made.expected({}, FRACTIONS, at_prior_means(made))[0].tolist()
    assert [found[0], found[2]] == pytest.approx(ends)
    sign = -1.0 if decreasing else 1.0
    between = 0.75 * ends[0] + 0.25 * ends[1]
    if kind == "log_affine":
        between = sign * math.log2(0.75 * 2 ** (sign * ends[0]) + 0.25 * 2 ** (sign * ends[1]))
    assert found[1] == pytest.approx(between)


def test_the_prior_of_a_plateau_has_the_stated_sd_in_the_unit_of_the_reading() -> None:
    affine = fitness(floor=[-1.0, 0.1], top=[2.0, 0.2]).unknowns(fitness().prepare(TABLE, "t"))
    assert [(u.name, u.mean, u.sd) for u in affine[:2]] == [("baseline", -1.0, 0.1), ("top", 2.0, 0.2)]
    log = fitness(calibration="log_affine", base=2, top=[2.0, 0.2]).unknowns(fitness().prepare(TABLE, "t"))
    assert [u.name for u in log[:2]] == ["background", "top"] and log[1].scale == "ln"
    assert log[1].sd / math.log(2) == pytest.approx(0.2)


def test_a_floor_alone_leaves_the_amplitude() -> None:
    found = fitness(floor=[-1.0, 0.1]).unknowns(fitness().prepare(TABLE, "t"))
    assert [u.name for u in found] == ["baseline", "amplitude", "noise"]
    steps = fitness(calibration="monotone", midpoints=[0.0], floor=[-1.0, 0.1])
    assert steps.unknowns(steps.prepare(TABLE, "t"))[0].mean == -1.0


def test_a_row_that_states_no_sd_has_that_of_its_group_alone() -> None:
    made = fitness(sd_column="sigma")
    arrays = made.prepare(TABLE, "t")
    assert arrays["variance"] == pytest.approx([0.09, 0.0, 0.16])
    stated = made.unknowns(arrays)[-1]
    assert stated.mean == pytest.approx(math.log(0.3 * 0.4) / 2)
    known = at_prior_means(made) | {"noise": torch.full((1, 3), math.log(0.5), dtype=torch.float64)}
    tensors = {name: torch.as_tensor(array) for name, array in arrays.items()}
    found = made.log_density(tensors, FRACTIONS, known)[0]
    mean = made.expected({}, FRACTIONS, known)[0]
    sd = np.sqrt([0.34, 0.25, 0.41])
    np.testing.assert_allclose(found, scipy.stats.norm.logpdf(TABLE["value"], mean, sd), rtol=1e-12)


@pytest.mark.parametrize("prior", [[1.0], [0.0, 0.0], "low", [0.0, "wide"]])
def test_what_is_no_prior_is_refused(prior: object) -> None:
    with pytest.raises(AssayError, match=r"`floor` must be \[mean, sd\]"):
        fitness(floor=prior)
    with pytest.raises(AssayError, match="`top` is of affine and log_affine"):
        fitness(calibration="monotone", top=[1.0, 0.1])
