"""Fits without a dense Hessian against those with one, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from molecular_cases import readings_of, three_states
from molecular_scans import Scaled, three_state_scan
from torch import Tensor

from multiscale.assays import Quantity
from multiscale.data import Readings
from multiscale.encoders.design import Dense, Design, Indexed, Pairs, Weighted
from multiscale.encoders.encoder import Bound, Encoder, Weights
from multiscale.errors import DataError
from multiscale.fit.curvature import minimise
from multiscale.fit.molecular import operator, preconditioner, settling
from multiscale.fit.molecular.evidence import settle
from multiscale.fit.molecular.intervals import uncertainty
from multiscale.fit.molecular.iterative import Solver, minimise_iteratively
from multiscale.fit.molecular.krylov import conjugate_gradients, inverse_root
from multiscale.fit.molecular.linear import Lines
from multiscale.fit.molecular.operator import Landscape
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.molecular.samples import sampled_uncertainty
from multiscale.fit.molecular.settling import settle_by_draws
from multiscale.model.molecular import MolecularModel, MolecularProblem


class Crossing(Encoder):
    """Pairs of entities with given features."""

    def reads(self, readings: Readings) -> bool:
        """All do."""
        return True

    def bind(self, readings) -> CrossingBound:
        """Take the rows as all pairs in turn."""
        return CrossingBound(self)


class CrossingBound(Bound):
    """Every row is one pair of entities, the second fastest."""

    left = torch.linalg.qr(torch.randn(70, 70, generator=torch.Generator().manual_seed(1)).double())[0]
    right = torch.linalg.qr(torch.randn(100, 100, generator=torch.Generator().manual_seed(2)).double())[0]

    def __init__(self, encoder: Encoder) -> None:
        labels = [str(i) for i in range(7000)]
        self.families = (Weights(name="product", labels=labels, sd=encoder.prior[0]),)

    def designs(self, readings: Readings) -> list[Design]:
        """All pairs."""
        row = torch.arange(len(readings))
        return [Pairs(8 * self.left, 5 * self.right, row // 100, row % 100)]


@pytest.fixture(scope="module")
def case() -> tuple[MolecularPosterior, Tensor]:
    """A scan with 303 parameters, and its mode by the dense method."""
    problem, theta = three_state_scan(positions=29, rows=1000, seed=3, sd=0.6)
    posterior = MolecularPosterior(MolecularModel(problem))
    found, _ = minimise(posterior, theta[None])
    return posterior, found.theta


@pytest.fixture(params=["summed", "by rows"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to multiply, with only calibrations and the graph's energies in the dense block."""
    monkeypatch.setattr(preconditioner, "SMALL", 10)
    if request.param == "by rows":
        monkeypatch.setattr(operator, "PRODUCTS", 0)
    return request.param


def test_products_with_designs_of_every_kind_are_those_of_their_columns() -> None:
    rng, rows = torch.Generator().manual_seed(0), 9
    index = torch.tensor([[0, 2, -1]] * 5 + [[1, -1, -1]] * 4)
    features = torch.randn(4, 5, generator=rng).double()
    entity, other = torch.arange(rows) % 4, torch.arange(rows) % 3
    designs = [Indexed(index, 3), Weighted(index, torch.rand(rows, 3, generator=rng).double(), 3)]
    designs += [Dense(features, entity), Pairs(features, features[:3], entity, other)]
    ends = np.cumsum([design.weights for design in designs])
    placed = [(slice(int(e) - d.weights, int(e)), d) for e, d in zip(ends, designs, strict=True)]
    size = int(ends[-1])
    lines = Lines([placed[:2], placed[2:]], size, torch.device("cpu"))
    X = lines.forward(torch.eye(size, dtype=torch.float64))  # (row, scalar, weight)
    for scalar, some in enumerate((placed[:2], placed[2:])):
        for where, design in some:
            assert torch.allclose(X[:, scalar, where], design.forward(torch.eye(design.weights).double()).T)
    g = torch.randn(rows, 2, 3, generator=rng).double()
    assert torch.allclose(lines.transpose(g), torch.einsum("rsp,rsc->pc", X, g))
    h = torch.randn(rows, 2, 2, generator=rng).double()
    own = torch.einsum("rsp,rst,rtp->p", X, h, X)
    assert torch.allclose(lines.diagonal(h), own)


def test_pairs_of_which_few_occur_are_multiplied_entity_by_entity() -> None:
    rng = torch.Generator().manual_seed(0)
    left, right = (torch.randn(n, 4, generator=rng).double() for n in (30, 40))
    design = Pairs(left, right, torch.tensor([3, 7, 7, 29]), torch.tensor([0, 39, 5, 5]))
    lines = Lines([[(slice(0, 16), design)]], 16, torch.device("cpu"))
    v, g = torch.randn(16, 2, generator=rng).double(), torch.randn(4, 1, 2, generator=rng).double()
    assert torch.allclose(lines.forward(v)[:, 0].T, design.forward(v.T))
    assert torch.allclose((lines.forward(v) * g).sum(), (v * lines.transpose(g)).sum())


def test_the_hessian_multiplies_as_the_dense_one(case, way: str) -> None:
    posterior, theta = case
    H, curvature = posterior.hessian(theta), Landscape(posterior).at(theta)
    v = torch.randn(len(H), 3, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(curvature.times(v), H @ v, rtol=1e-9, atol=1e-9 * float(H.max()))
    assert torch.allclose(curvature.diagonal, H.diagonal())
    index = Solver.of(curvature).preconditioner.large[0].index
    assert torch.allclose(
        curvature.members(index), H[index[:, :, None], index[:, None]], atol=1e-9 * float(H.max())
    )
    convex = posterior.convex_hessian(theta)
    assert torch.allclose(curvature.convexified().times(v), convex @ v, atol=1e-9 * float(H.max()))


def test_the_preconditioner_inverts_a_hessian_whose_large_weights_do_not_meet(case) -> None:
    posterior, theta = case
    solver = Solver.of(Landscape(posterior).at(theta))  # few parameters: all in the dense block
    K = solver(torch.eye(theta.shape[1], dtype=torch.float64))
    assert torch.allclose(K, torch.eye(len(K), dtype=torch.float64), atol=1e-7)


def test_the_preconditioner_is_a_factor_of_what_it_says(case, way: str) -> None:
    posterior, theta = case
    solver = Solver.of(Landscape(posterior).at(theta))
    K = solver(torch.eye(theta.shape[1], dtype=torch.float64))
    assert torch.allclose(K, K.T, atol=1e-8)
    whole = torch.logdet(posterior.hessian(theta))
    assert float(solver.preconditioner.ln_determinant + torch.logdet(K)) == pytest.approx(float(whole))


def test_the_mode_is_that_of_the_dense_method(case, way: str) -> None:
    posterior, theta = case
    begin = theta + 0.05 * torch.randn(theta.shape, generator=torch.Generator().manual_seed(0)).double()
    found, _ = minimise_iteratively(posterior, begin)
    assert found.reasons == ["gradient below tolerance"]
    assert torch.allclose(found.theta, theta, atol=2e-5)
    assert float(found.loss) == pytest.approx(float(posterior(theta)), abs=1e-6)


def test_sds_and_covariances_are_those_of_the_dense_method_within_the_error_of_draws(
    case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preconditioner, "SMALL", 10)
    posterior, theta = case
    known, drawn = uncertainty(posterior, theta), sampled_uncertainty(posterior, theta, 400)
    ratio = drawn.laplace.sd / known.laplace.sd
    assert float((ratio - 1).square().mean().sqrt()) < drawn.laplace.error  # 1/√800
    fold, bind = (posterior.model.parameters.slices()[f"mutations single {t}"] for t in ("fold", "bind"))
    i, j = (torch.arange(w.start, w.stop) for w in (fold, bind))
    scale = (known.entries(i, i) * known.entries(j, j)).sqrt()
    assert float(((drawn.entries(i, j) - known.entries(i, j)) / scale).abs().max()) < 0.2
    part, rows = posterior.model.instruments["binding"], torch.arange(50)
    share = drawn.of_rows(part, rows)[:, 1, 1] / known.of_rows(part, rows)[:, 1, 1]
    assert float(share.mean()) == pytest.approx(1.0, abs=0.05)


def test_equal_seeds_give_equal_draws(case) -> None:
    posterior, theta = case
    a, b, c = (sampled_uncertainty(posterior, theta, 4, seed).deviations for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_draws_far_from_a_minimum_are_refused(case) -> None:
    posterior, theta = case
    with pytest.raises(DataError, match="intervals need a minimum"):
        sampled_uncertainty(posterior, torch.zeros_like(theta), 2)


def test_learned_widths_are_those_of_the_dense_method(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, theta = three_state_scan(positions=12, rows=500, seed=1, prior_sd="learned", sd=0.7)
    monkeypatch.setattr(settling, "DRAWN", 64)
    model = MolecularModel(problem)
    dense, drawn = settle(model, theta[None]), settle_by_draws(model, theta[None])
    for name, width in dense.model.widths.items():
        assert drawn.model.widths[name] == pytest.approx(width, rel=0.05)
    noise = settling.unknowns_of(model, ("noise",))
    assert torch.allclose(drawn.optimum.theta[0, noise], dense.optimum.theta[0, noise], atol=0.05)


def test_ridge_regression_with_7000_weights_is_the_closed_form() -> None:
    """Orthogonal features: every weight has its own normal posterior."""
    instrument = Scaled(quantity=Quantity("energy", "bound"), exact=True, sd=0.5)
    base = readings_of(instrument.quantity, 7000)
    y = np.random.default_rng(0).normal(size=7000)
    readings = Readings("signal", instrument, base.rows, {"y": y}, conditions={})
    problem = MolecularProblem(three_states(), [readings], {"pairs": Crossing(terms=("bind",), prior_sd=0.3)})
    posterior = MolecularPosterior(MolecularModel(problem))
    found, _ = minimise_iteratively(posterior, torch.zeros(1, posterior.model.parameters.size).double())
    where = posterior.model.parameters.slices()["pairs product bind"]
    flat = posterior.model.parameters.flat(found.theta)
    rest = torch.from_numpy(y) - flat[0, : where.start].sum()
    bound = CrossingBound
    projected = (5 * 8 * (bound.left.T @ rest.reshape(70, 100) @ bound.right)).flatten()
    precision = 1600 / 0.25 + 1 / 0.09  # (8·5)² / noise² + prior
    assert torch.allclose(flat[0, where], projected / 0.25 / precision, atol=1e-8)
    known = sampled_uncertainty(posterior, found.theta, 4)
    assert float(known.laplace.sd[0, where].median()) * 0.3 == pytest.approx(precision**-0.5, rel=0.005)


def test_conjugate_gradients_solve_and_meet_negative_curvature() -> None:
    K = torch.diag(torch.tensor([1.0, 2.0, 5.0])).double()
    b = torch.tensor([1.0, 1.0, 1.0]).double()
    assert torch.allclose(conjugate_gradients(lambda v: K @ v, b, 1e-12).x, b / K.diagonal())
    downward = conjugate_gradients(lambda v: -(K @ v), b, 1e-12).downward
    assert downward is not None
    assert inverse_root(lambda v: -(K @ v), b[:, None], 1e-9) is None


def test_lanczos_gives_inverse_roots_and_determinants() -> None:
    A = torch.randn(40, 40, generator=torch.Generator().manual_seed(0)).double()
    K = A @ A.T / 40 + torch.eye(40)
    z = torch.randn(40, 200, generator=torch.Generator().manual_seed(1)).double()
    roots = inverse_root(lambda v: K @ v, z, 1e-10)
    values, vectors = torch.linalg.eigh(K)
    assert roots is not None
    assert torch.allclose(roots.y, vectors @ torch.diag(values.rsqrt()) @ vectors.T @ z, atol=1e-7)
    assert float(roots.ln_determinant.mean()) == pytest.approx(float(torch.logdet(K)), abs=1.0)
