"""Bins of sorted cells: probabilities, draws, and information per read."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from instrument_cases import READS, moments, prepared, table, values
from torch import Tensor

from multiscale.assays import Bins, information
from multiscale.assays.density import log_difference_of_ndtr

NAMES = ("low", "mid", "high")
LINKS = ("logit", "probit", "multinomial")


def bins(link: str = "logit", **options: object) -> Bins:
    given = {"species": "on", "of": "site", "bins": NAMES, "link": link, **options}
    return Bins(**given)  # pyright: ignore[reportArgumentType]


def known(rows: int, **named: float) -> dict[str, Tensor]:
    return {
        name.replace("_", " "): torch.full((1, rows), value, dtype=torch.float64)
        for name, value in named.items()
    }


@pytest.mark.parametrize(
    ("link", "distribution"), [("logit", scipy.stats.logistic), ("probit", scipy.stats.norm)]
)
def test_bins_lie_between_thresholds_of_the_reporter(link: str, distribution) -> None:
    p = np.array([0.0, 0.1, 1.0])
    readouts = torch.tensor(p).log()[None, :, None]
    values = known(3, background=math.log(0.02), threshold_1=-2.0, gap_2=math.log(1.5), spread=math.log(0.8))
    found = bins(link).log_shares(readouts, values).exp()[0]
    x = np.log(p + 0.02)
    below = distribution.cdf((np.array([[-2.0], [-0.5]]) - x) / 0.8)
    np.testing.assert_allclose(found.T, [below[0], below[1] - below[0], 1 - below[1]], rtol=1e-10)


def test_depths_weigh_the_bins() -> None:
    readouts = torch.full((1, 1, 1), -1.0, dtype=torch.float64)
    values = known(1, background=-4.0, threshold_1=-2.0, gap_2=0.0, spread=0.0, depth_2=0.7, depth_3=-0.4)
    weighed = bins().log_shares(readouts, values).exp() * torch.tensor([0.0, 0.7, -0.4]).double().exp()
    found = bins(depth=True).log_shares(readouts, values).exp()
    torch.testing.assert_close(found, weighed / weighed.sum())


@pytest.mark.parametrize("link", LINKS)
def test_lapses_spread_a_share_of_the_reads_over_all_bins(link: str) -> None:
    made, lapsing = bins(link), bins(link, lapse=True)
    readouts = torch.tensor([-7.0, -1.0], dtype=torch.float64)[None, :, None]
    data = table(low=[4, 1], mid=[2, 0], high=[1, 0])
    given = values(lapsing, data, starts=1)
    given["lapse"] = torch.full((1, 2), math.log(0.25), dtype=torch.float64)
    wanted = 0.8 * made.log_shares(readouts, given).exp() + 0.2 / 3
    torch.testing.assert_close(lapsing.log_shares(readouts, given).exp(), wanted)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("depth", [False, True])
def test_probabilities_of_all_counts_of_three_reads_add_up_to_one(link: str, depth: bool) -> None:
    made = bins(link, depth=depth and link != "multinomial")
    reads = [c for c in itertools.product(range(4), repeat=3) if sum(c) == 3]
    data = table(**dict(zip(NAMES, zip(*reads, strict=True), strict=True)))
    readouts = torch.full((2, len(reads), 1), -1.2, dtype=torch.float64)
    found = made.log_density(prepared(made, data), readouts, values(made, data))
    torch.testing.assert_close(found.exp().sum(1), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("high", "low"), [(-30.0, -31.0), (41.0, 40.0), (0.5, -0.4), (1e-3, 0.0), (9.0, -40.0)]
)
def test_mass_between_two_numbers_is_exact_in_both_tails(high: float, low: float) -> None:
    found = log_difference_of_ndtr(*torch.tensor([high, low], dtype=torch.float64))
    side = -1.0 if high + low > 0 else 1.0
    a, b = scipy.stats.norm.logcdf([side * high, side * low])
    wanted = max(a, b) + math.log(-math.expm1(-abs(a - b)))
    assert found.item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("link", LINKS)
def test_drawn_mean_bins_have_the_moments_of_multinomial_reads(link: str) -> None:
    made = bins(link)
    data = table(low=[10, 1], mid=[20, 0], high=[10, 0])
    many = {name: value[:1].expand(50_000, -1) for name, value in values(made, data).items()}
    readouts = torch.full((50_000, 2, 1), -1.0, dtype=torch.float64)
    drawn = made.draw(prepared(made, data), readouts, many, torch.Generator().manual_seed(4))
    shares = made.log_shares(readouts[:1], {name: value[:1] for name, value in many.items()}).exp()[0].numpy()
    number = np.arange(1, 4)
    centre = shares @ number
    spread = np.sqrt((shares @ number**2 - centre**2) / [40, 1])
    mean, sd = moments(drawn)
    np.testing.assert_allclose(mean, centre, atol=0.015)
    np.testing.assert_allclose(sd, spread, rtol=0.02)


def test_thresholds_start_where_reads_of_all_rows_part() -> None:
    made = bins(bins=tuple("abcd"))
    arrays = made.prepare(table(a=[100], b=[100], c=[100], d=[100]), "t")
    mean = {unknown.name: unknown.mean for unknown in made.unknowns(arrays)}
    assert math.exp(mean["gap 2"]) == pytest.approx(math.exp(mean["gap 3"]))
    assert mean["threshold 1"] + math.exp(mean["gap 2"]) == pytest.approx(-1.0)


def test_observed_is_the_mean_bin_and_nan_without_reads() -> None:
    made = bins()
    found = made.observed(made.prepare(table(low=[3, 0], mid=[1, 0], high=[0, 0]), "t"))
    np.testing.assert_allclose(found, [1.25, np.nan])


def test_shares_that_are_the_same_for_all_variants_tell_nothing() -> None:
    reads = torch.tensor(READS.to_numpy(dtype=float))
    shares = (reads.sum(0) / reads.sum()).log().expand(3, -1)
    assert information(shares, reads).item() == pytest.approx(0.0, abs=1e-14)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"t\.tsv, line 4: `mid` must be a count.*got -1"):
        bins().prepare(table(low=[1, 1, 1], mid=[1, 1, -1], high=[0, 0, 0]), "t.tsv")
