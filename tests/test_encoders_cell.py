"""Posteriors of cells: experts per modality, multiplied; free values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from multiscale.encoders.cell import CellEncoder, FreePosterior, product_of_experts

CELLS, FEATURES = 7, {"rna": 5, "protein": 3}


def encoder(seed: int = 0, labels: tuple[int, ...] = (2, 1)) -> CellEncoder:
    return CellEncoder(FEATURES, labels, 2, hidden=8, layers=2, seed=seed).double()


def inputs(seed: int = 1) -> tuple[dict[str, Tensor], dict[str, Tensor], tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    seen = {
        name: torch.randn(CELLS, count, generator=generator, dtype=torch.float64)
        for name, count in FEATURES.items()
    }
    present = {name: torch.ones(CELLS, dtype=torch.bool) for name in FEATURES}
    return seen, present, (torch.arange(CELLS) % 2, torch.zeros(CELLS, dtype=torch.int64))


def test_product_of_experts_is_the_normalised_product_of_densities():
    means, ln_precisions = (
        [torch.tensor([[1.5]]), torch.tensor([[-0.4]])],
        [torch.tensor([[0.3]]), torch.ones(1, 1)],
    )
    mean, ln_sd = product_of_experts(means, ln_precisions, [torch.tensor([True])] * 2)
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = Normal(0.0, 1.0).log_prob(x)
    for expert, ln_precision in zip(means, ln_precisions, strict=True):
        density = density + Normal(float(expert), float((-0.5 * ln_precision).exp())).log_prob(x)
    weight = density.exp() / density.exp().sum()
    found = float((weight * x).sum())
    assert float(mean) == pytest.approx(found, abs=1e-6)
    assert float(ln_sd.exp() ** 2) == pytest.approx(float((weight * (x - found) ** 2).sum()), abs=1e-6)


def test_a_cell_without_readings_has_the_prior():
    seen, present, labels = inputs()
    mean, ln_sd = encoder()(seen, {name: torch.zeros_like(here) for name, here in present.items()}, labels)
    assert torch.equal(mean, torch.zeros(CELLS, 2)) and torch.equal(ln_sd, torch.zeros(CELLS, 2))


def test_what_stands_in_a_missing_modality_has_no_effect():
    seen, present, labels = inputs()
    present["protein"][2] = False
    first = encoder()(seen, present, labels)
    seen["protein"][2] += 100.0
    second = encoder()(seen, present, labels)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], encoder()(seen, inputs()[1], labels)[0])


def test_other_cells_of_a_minibatch_have_no_effect():
    seen, present, labels = inputs()
    order = torch.tensor([4, 0, 6])
    whole = encoder()(seen, present, labels)[0][order]
    part = encoder()(
        {name: value[order] for name, value in seen.items()},
        {name: value[order] for name, value in present.items()},
        (labels[0][order], labels[1][order]),
    )[0]
    assert torch.allclose(whole, part, rtol=1e-13)


def test_a_batch_shifts_the_first_layer_and_an_unknown_one_does_not():
    network, (seen, present, labels) = encoder(), inputs()
    plain = network(seen, present, labels)[0]
    with torch.no_grad():
        network.experts[0].shifts[0][1] += torch.arange(8.0)  # pyright: ignore[reportIndexIssue, reportArgumentType]
    shifted = network(seen, present, labels)[0]
    moved = (shifted != plain).all(1)
    assert moved.tolist() == [False, True] * 3 + [False]
    unknown = (torch.full_like(labels[0], -1), labels[1])
    assert torch.equal(network(seen, present, unknown)[0], plain)


def test_a_seed_gives_the_same_weights_and_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, third = encoder(3), encoder(3), encoder(4)
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(first.parameters()), next(third.parameters()))


def test_gradients_of_an_encoder_are_those_of_finite_differences():
    network, (seen, present, labels) = encoder(), inputs()
    present["rna"][0] = False

    def value(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return network({"rna": first, "protein": second}, present, labels)

    leaves = tuple(part.clone().requires_grad_(True) for part in seen.values())
    assert torch.autograd.gradcheck(value, leaves)


def test_free_posteriors_are_found_by_the_position_of_the_cell():
    posterior = FreePosterior(torch.arange(6.0).reshape(3, 2), torch.zeros(3, 2))
    mean, ln_sd = posterior(torch.tensor([2, 0]))
    assert mean.tolist() == [[4.0, 5.0], [0.0, 1.0]] and ln_sd.shape == (2, 2)
