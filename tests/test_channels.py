"""Channels of single cells: densities against SciPy, draws against expectations, what is refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from scipy import integrate, sparse
from torch import Tensor

from multiscale.assays.channels import (
    CHANNELS,
    Channel,
    Cytometry,
    Labels,
    SurfaceProteins,
    Transcripts,
    make_channel,
    summarise,
)
from multiscale.errors import AssayError

EVERY: dict[str, Channel] = {
    "transcripts": Transcripts(),
    "inflated": Transcripts(zero_inflation=True),
    "surface": SurfaceProteins(),
    "sized surface": SurfaceProteins(size_factor=True),
    "cytometry": Cytometry(),
    "transformed": Cytometry(transformed=True, distribution="student_t"),
    "labels": Labels(),
}
COUNTED = [name for name, channel in EVERY.items() if channel.kind in ("transcripts", "surface_proteins")]


def scene(channel: Channel, cells: int = 4, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """Arguments of a density but readings: two features, unknowns per cell where they may be per batch."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    values = {
        "dispersion": normal(2) + 0.5,
        "background": normal(cells, 2) + 0.5,
        "additive_sd": normal(cells, 2) + 1.0,
        "relative_sd": 0.3 * normal(2) - 1.5,
    }
    known = {unknown.name for unknown in channel.unknowns(some_summary())}
    return {
        "ln_signal": normal(cells, 2) + 1.5,
        "heads": normal(cells, 2, channel.heads),
        "values": {name: value for name, value in values.items() if name in known},
        "ln_size": 0.5 * normal(cells),
    }


def some_summary(batches: int = 1) -> Any:
    y = np.random.default_rng(0).poisson(5.0, (60, 2)).astype(float)
    return summarise(y, np.ones(60), np.arange(60) % batches, ["a", "b"], [str(b) for b in range(batches)])


def repeated(arguments: dict[str, Any], times: int) -> dict[str, Any]:
    """The first cell many times."""

    def first(value: Tensor) -> Tensor:
        return value if value.dim() == 1 and len(value) == 2 else value[:1].expand(times, *value.shape[1:])

    values = {name: first(value) for name, value in arguments["values"].items()}
    return {**{k: first(v) for k, v in arguments.items() if k != "values"}, "values": values}


def nbinom(y: np.ndarray, mean: Tensor, r: Tensor) -> np.ndarray:
    return scipy.stats.nbinom.pmf(y, r.numpy(), (r / (r + mean)).numpy())


@pytest.mark.parametrize("name", COUNTED)
def test_counts_have_the_probabilities_of_scipys_mixtures(name: str) -> None:
    channel, given = EVERY[name], scene(EVERY[name])
    y = torch.tensor([[0.0, 1.0], [5.0, 0.0], [30.0, 2.0], [0.0, 100.0]])
    r, lost = given["values"]["dispersion"].exp(), torch.sigmoid(given["heads"].sum(-1)).numpy()
    size = given["ln_size"].exp().unsqueeze(1) if channel.sized else 1.0
    signal = given["ln_signal"].exp()
    if isinstance(channel, SurfaceProteins):
        low = given["values"]["background"].exp()
        expected = lost * nbinom(y.numpy(), size * low, r) + (1 - lost) * nbinom(
            y.numpy(), size * (low + signal), r
        )
    else:
        lost = lost * channel.heads
        expected = lost * (y == 0).numpy() + (1 - lost) * nbinom(y.numpy(), size * signal, r)
    found = channel.log_density(y, **given).numpy()
    np.testing.assert_allclose(found, np.log(expected), rtol=1e-10)


@pytest.mark.parametrize("name", COUNTED)
def test_probabilities_of_counts_sum_to_one(name: str) -> None:
    given = repeated(scene(EVERY[name]), 5000)
    y = torch.arange(5000.0).unsqueeze(1).expand(5000, 2)
    total = EVERY[name].log_density(y, **given).exp().sum(0)
    np.testing.assert_allclose(total.numpy(), [1.0, 1.0], atol=1e-9)


@pytest.mark.parametrize("distribution", ["normal", "student_t"])
@pytest.mark.parametrize("transformed", [True, False])
def test_densities_of_intensities_integrate_to_one(distribution: Any, transformed: bool) -> None:
    channel = Cytometry(distribution=distribution, transformed=transformed)
    given = repeated(scene(channel), 1)

    def density(y: float) -> float:
        return float(channel.log_density(torch.full((1, 2), y, dtype=torch.float64), **given)[0, 0].exp())

    mass = integrate.quad(density, -np.inf, np.inf, limit=500, epsabs=1e-8)[0]
    assert mass == pytest.approx(1.0, abs=2e-5 if distribution == "student_t" else 1e-6)


def test_arcsinh_of_intensities_is_normal_with_the_variance_of_the_delta_method() -> None:
    channel, given = Cytometry(cofactor=7.0, transformed=True), scene(Cytometry())
    mu = given["ln_signal"].exp().numpy()
    additive, relative = (given["values"][name].exp().numpy() for name in ("additive_sd", "relative_sd"))
    sd = np.sqrt((additive**2 + (relative * mu) ** 2) / (49.0 + mu**2))
    y = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = scipy.stats.norm.logpdf(y.numpy(), np.arcsinh(mu / 7.0), sd)
    np.testing.assert_allclose(channel.log_density(y, **given).numpy(), expected, rtol=1e-11)
    heavy = dataclasses.replace(channel, distribution="student_t", degrees=3.0)
    expected = scipy.stats.t.logpdf(y.numpy(), 3.0, np.arcsinh(mu / 7.0), sd)
    np.testing.assert_allclose(heavy.log_density(y, **given).numpy(), expected, rtol=1e-11)


def test_variance_on_the_arcsinh_scale_is_that_of_intensities_with_both_kinds_of_noise() -> None:
    draws = np.random.default_rng(1).normal(size=(2, 200_000))
    for mu in (0.5, 10.0, 1000.0):
        shown = np.arcsinh((mu + 0.2 * draws[0] + 0.05 * mu * draws[1]) / 5.0)
        values = {"additive_sd": torch.tensor([0.2]).log(), "relative_sd": torch.tensor([0.05]).log()}
        channel = Cytometry(transformed=True)
        empty, ln_mu = torch.zeros(1, 1, 0), torch.full((1, 1), math.log(mu))
        y = torch.tensor([[math.asinh(mu / 5.0)]])
        peak = channel.log_density(y, ln_mu, empty, values, torch.zeros(1)).item()
        assert math.exp(-peak) / math.sqrt(2 * math.pi) == pytest.approx(shown.std(), rel=0.02)


def test_intensities_have_the_density_of_their_arcsinh_times_its_slope() -> None:
    given = scene(Cytometry())
    intensity = torch.tensor([[-20.0, 0.0], [3.0, 40.0], [1e3, 1e4], [1e5, 7.0]], dtype=torch.float64)
    raw = Cytometry().log_density(intensity, **given)
    shown = Cytometry(transformed=True).log_density(torch.asinh(intensity / 5.0), **given)
    torch.testing.assert_close(raw, shown - 0.5 * torch.log(25.0 + intensity.square()))


def test_labels_have_the_probability_of_a_coin() -> None:
    y, given = torch.tensor([[0.0, 1.0]] * 4), scene(Labels())
    p = torch.sigmoid(given["ln_signal"]).numpy()
    expected = scipy.stats.bernoulli.logpmf(y.numpy().astype(int), p)
    np.testing.assert_allclose(Labels().log_density(y, **given).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    channel, given = EVERY[name], scene(EVERY[name])
    y = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    y = y if isinstance(channel, Labels) else 23.0 * y
    names = list(given["values"])

    def density(ln_signal: Tensor, heads: Tensor, *values: Tensor) -> Tensor:
        return channel.log_density(y, ln_signal, heads, dict(zip(names, values, strict=True)), ln_size)

    ln_size = given["ln_size"]
    inputs = (given["ln_signal"], given["heads"], *given["values"].values())
    assert torch.autograd.gradcheck(density, tuple(x.clone().requires_grad_() for x in inputs))


@pytest.mark.parametrize("name", EVERY)
def test_single_precision_is_kept_and_close_to_double_precision(name: str) -> None:
    channel, given = EVERY[name], scene(EVERY[name], dtype=torch.float32)
    y = channel.draw(generator=torch.Generator().manual_seed(0), **given)
    double = {k: v.double() for k, v in given.items() if k != "values"}
    values = {k: v.double() for k, v in given["values"].items()}
    found = channel.log_density(y, **given)
    assert found.dtype == y.dtype == channel.seen(y, given["ln_size"]).dtype == torch.float32
    torch.testing.assert_close(
        found.double(), channel.log_density(y, **double, values=values), atol=2e-6, rtol=1e-5
    )
    assert channel.expected(**given).dtype == torch.float32


@pytest.mark.parametrize("name", EVERY)
def test_draws_have_the_expectation_and_repeat_with_their_seed(name: str) -> None:
    channel, given = EVERY[name], repeated(scene(EVERY[name]), 50_000)
    given["values"] = {k: v - 1.0 if k.endswith("_sd") else v for k, v in given["values"].items()}
    first, again = (channel.draw(generator=torch.Generator().manual_seed(5), **given) for _ in range(2))
    assert torch.equal(first, again)
    error = (4.5 * first.std(0) / math.sqrt(50_000)).numpy()
    assert (np.abs((first.mean(0) - channel.expected(**given)[0]).numpy()) < error).all()


@pytest.mark.parametrize("name", EVERY)
def test_encoders_see_finite_numbers_of_order_one(name: str) -> None:
    channel, given = EVERY[name], scene(EVERY[name])
    seen = channel.seen(torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]), given["ln_size"])
    assert seen.shape == (4, 2) and torch.isfinite(seen).all() and seen.abs().max() < 3.0


def test_encoders_see_counts_per_size_where_readings_grow_with_it() -> None:
    y, ln_size = torch.tensor([[6.0]]), torch.tensor([math.log(3.0)])
    seen = [EVERY[name].seen(y, ln_size).item() for name in ("transcripts", "surface", "sized surface")]
    assert seen == pytest.approx([math.log(3.0), math.log(7.0), math.log(3.0)])
    assert Cytometry().seen(y, ln_size).item() == pytest.approx(math.asinh(1.2))


def test_the_odds_that_a_count_is_foreground_follow_bayes_rule() -> None:
    channel, given = SurfaceProteins(), scene(SurfaceProteins())
    y = torch.tensor([[0.0, 3.0], [9.0, 1.0], [40.0, 0.0], [2.0, 7.0]])
    r, low = given["values"]["dispersion"].exp(), given["values"]["background"].exp()
    prior = torch.sigmoid(-given["heads"][..., 0]).numpy()
    top = prior * nbinom(y.numpy(), low + given["ln_signal"].exp(), r)
    expected = top / (top + (1 - prior) * nbinom(y.numpy(), low, r))
    np.testing.assert_allclose(channel.foreground(y, **given).numpy(), expected, rtol=1e-9)


def test_decoders_of_transcripts_begin_at_mean_counts_and_at_half_a_count_where_there_is_none() -> None:
    y = np.array([[4.0, 0.0], [1.0, 0.0], [4.0, 0.0]])  # 2, 2 and 8 at size 1
    summary = summarise(y, np.array([2.0, 0.5, 0.5]), np.array([0, 0, 1]), ["a", "b"], ["x", "y"])
    np.testing.assert_allclose(Transcripts().start(summary), np.log([4.0, 0.5 / 3.0]))
    (dispersion,) = Transcripts(dispersion_median=4.0).unknowns(summary)
    np.testing.assert_allclose(dispersion.start, np.log([4.0, 4.0]))


@pytest.mark.parametrize("positive", [0.1, 0.5, 0.9])
def test_background_and_foreground_of_proteins_begin_near_the_truth(positive: float) -> None:
    rng = np.random.default_rng(0)
    mean = np.where(rng.random((4000, 1)) < positive, 200.0, [[8.0]])
    y = rng.poisson(mean * rng.gamma(5.0, 0.2, mean.shape)).astype(float)
    summary = summarise(y, np.ones(4000), np.arange(4000) // 2000, ["a"], ["x", "y", "empty"])
    background = SurfaceProteins().unknowns(summary)[0]
    assert background.name == "background" and background.mean.shape == (3, 1)
    # within one sd of the prior; where most cells are positive, the lower quantile is theirs too
    assert (np.abs(background.start - np.log(8.0)) < (1.5 if positive > 0.8 else 1.0)).all()
    assert background.mean[2] == pytest.approx(background.mean[:2].mean())
    assert SurfaceProteins().start(summary)[0] > background.mean.max()


def test_constant_readings_give_finite_starts() -> None:
    for level, name in (
        (0.0, "surface"),
        (7.0, "surface"),
        (0.0, "cytometry"),
        (0.0, "labels"),
        (1.0, "labels"),
    ):
        summary = summarise(np.full((5, 2), level), np.ones(5), np.zeros(5, int), ["a", "b"], ["x"])
        assert np.isfinite(EVERY[name].start(summary)).all()
        for unknown in EVERY[name].unknowns(summary):
            assert np.isfinite(unknown.start).all() and (unknown.sd > 0).all()


def test_decoders_of_intensities_and_labels_begin_at_the_median_and_at_the_odds() -> None:
    y = np.array([[1.0], [100.0], [900.0]])
    batch = np.zeros(3, int)
    summary = summarise(y, np.ones(3), batch, ["a"], ["x"])
    assert Cytometry().start(summary) == pytest.approx(np.log([100.0]))
    shown = summarise(np.arcsinh(y / 5.0), np.ones(3), batch, ["a"], ["x"])
    assert Cytometry(transformed=True).start(shown) == pytest.approx(np.log([100.0]))
    labels = summarise(np.array([[1.0], [0.0], [0.0]]), np.ones(3), batch, ["a"], ["x"])
    assert Labels().start(labels) == pytest.approx([math.log(1.5 / 2.5)])


def test_unknowns_are_per_batch_where_batches_differ() -> None:
    shapes = {
        unknown.name: unknown.mean.shape
        for channel in (Transcripts(), SurfaceProteins(), Cytometry())
        for unknown in channel.unknowns(some_summary(3))
    }
    each, shared = (3, 2), (2,)
    assert shapes == {
        "dispersion": shared,
        "background": each,
        "additive_sd": each,
        "relative_sd": shared,
    }


def test_summary_is_that_of_numpy_sparse_or_dense_and_nan_where_there_is_no_cell() -> None:
    rng = np.random.default_rng(2)
    y, size, batch = (
        rng.poisson(0.7, (300, 300)).astype(np.float32),
        rng.uniform(0.5, 2, 300),
        rng.integers(2, size=300),
    )
    names = [f"f{i}" for i in range(300)]
    dense = summarise(y, size, batch, names, ["x", "y"])
    found = summarise(sparse.csr_array(y), size, batch, names, ["x", "y", "none"])
    part = y[batch == 1]
    scaled = part / size[batch == 1, None]
    np.testing.assert_allclose(found.mean[1], scaled.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.variance[1], scaled.var(0), rtol=1e-6)
    np.testing.assert_allclose(found.zeros[1], (part == 0).mean(0))
    np.testing.assert_allclose(
        found.quantiles[:, 1], np.quantile(part, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    )
    np.testing.assert_array_equal(found.quantiles[:, :2], dense.quantiles)
    assert np.isnan(found.mean[2]).all() and found.cells.tolist() == [
        (batch == 0).sum(),
        (batch == 1).sum(),
        0,
    ]


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize(("wrong", "shown"), [(-1.0, "-1.0"), (1.5, "1.5"), (np.nan, "nan"), (np.inf, "inf")])
def test_what_is_no_count_is_refused_with_its_place(form: Any, wrong: float, shown: str) -> None:
    y = form(np.array([[0.0, 3.0, 0.0], [0.0, 0.0, wrong]]))
    for name in COUNTED:
        with pytest.raises(AssayError) as caught:
            EVERY[name].check(y, "rna.X", ["f", "g", "h"], ["cell 1", "cell 2"])
        message = str(caught.value)
        assert all(part in message for part in ("rna.X", "`h`", "`cell 2`", f" {shown};", "layer="))
    Transcripts().check(form(np.array([[0.0, 3.0, 1e6]])), "rna.X", ["f", "g", "h"], ["cell 1"])


def test_what_is_no_intensity_and_no_label_is_refused() -> None:
    cases: list[tuple[Channel, float, str]] = [
        (Cytometry(), np.nan, "finite"),
        (Cytometry(transformed=True), 812.0, "transformed"),
        (Labels(), 2.0, "0 .absent. and 1"),
    ]
    for channel, wrong, words in cases:
        with pytest.raises(AssayError, match=words):
            channel.check(np.array([[1.0, wrong]]), "X", ["f", "g"], ["c"])
    Cytometry().check(np.array([[-3.0, 812.0]]), "X", ["f", "g"], ["c"])
    Labels().check(np.array([[True, False]]), "X", ["f", "g"], ["c"])


def test_transcripts_of_zeros_alone_and_no_cells_are_refused() -> None:
    with pytest.raises(AssayError, match="all counts are 0"):
        Transcripts().start(summarise(np.zeros((3, 1)), np.ones(3), np.zeros(3, int), ["a"], ["x"]))
    with pytest.raises(AssayError, match="no measured cell"):
        summarise(np.zeros((0, 1)), np.ones(0), np.zeros(0, int), ["a"], ["x"])
    with pytest.raises(AssayError, match="2 sizes, 3 batches, 1 names"):
        summarise(np.zeros((3, 1)), np.ones(2), np.zeros(3, int), ["a"], ["x"])


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("transcript", {}, "did you mean `transcripts`"),
        ("transcripts", {"zero_inflated": True}, "did you mean `zero_inflation`"),
        ("transcripts", {"zero_inflation": 1}, "true or false"),
        ("transcripts", {"dispersion_median": 0.0}, "positive"),
        ("transcripts", {"layer": "counts", "use_raw": True}, "only one of `layer` and `use_raw`"),
        ("transcripts", {"layer": ""}, "must be a name"),
        ("surface_proteins", {"background_ln_sd": -1.0}, "positive"),
        ("surface_proteins", {"names": ["a"]}, "`obsm_key`"),
        ("surface_proteins", {"names": 3, "obsm_key": "protein"}, "`names`"),
        ("surface_proteins", {"targets": {"a": 3}}, "`targets`"),
        ("cytometry", {"cofactor": 0.0}, "units of intensity"),
        ("cytometry", {"additive_sd": -2.0}, "units of intensity"),
        ("cytometry", {"distribution": "student"}, "did you mean `student_t`"),
    ],
)
def test_wrong_options_are_refused_by_name(kind: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(AssayError, match=words):
        make_channel(kind, options)


def test_channels_are_made_from_their_names_and_options() -> None:
    assert sorted(CHANNELS) == ["cytometry", "labels", "surface_proteins", "transcripts"]
    for kind, channel in CHANNELS.items():
        assert channel.kind == kind and isinstance(make_channel(kind), channel)
    inflated = make_channel("transcripts", {"zero_inflation": True, "targets": {"f": "A + 2*B"}})
    assert inflated == dataclasses.replace(Transcripts(targets={"f": "A + 2*B"}), zero_inflation=True)
    assert (inflated.heads, inflated.sized, inflated.reads) == (1, True, "transcript")
    assert not make_channel("surface_proteins").sized and SurfaceProteins(size_factor=True).sized
