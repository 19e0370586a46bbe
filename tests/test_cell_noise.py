"""Noise of cells: keyed, independent, standard normal, the same whoever computes it."""

import numpy as np
import pytest
import torch
from scipy import stats

from multiscale.fit.cells.noise import GOLDEN, mix, standard_normal


def splitmix64(seed: int, count: int) -> list[int]:
    """The generator as its authors wrote it, in integers without limit."""
    found, word = [], 2**64 - 1
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & word
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & word
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & word
        found.append(z ^ (z >> 31))
    return found


@pytest.mark.parametrize("seed", [0, 1234567, 2**63 - 1, 2**63, 2**64 - 1])
def test_the_hash_is_splitmix64_in_wrapping_int64(seed):
    start = seed - 2**64 if seed >= 2**63 else seed
    steps = torch.arange(1, 101) * (GOLDEN - 2**64)
    ours = [int(number) % 2**64 for number in mix(torch.tensor(start) + steps)]
    assert ours == splitmix64(seed, 100)


def test_noise_of_a_cell_does_not_depend_on_its_company_or_order():
    whole = standard_normal(3, 7, torch.arange(100), 5)
    some = torch.tensor([93, 4, 17])
    assert torch.equal(standard_normal(3, 7, some, 5), whole[some])
    assert torch.equal(standard_normal(3, 7, some, 2), whole[some][:, :2])


def test_noise_is_standard_normal_in_all_directions():
    noise = standard_normal(0, 0, torch.arange(50_000), 4).numpy()
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.01
    correlation = np.corrcoef(np.column_stack([noise, np.roll(noise, 1, axis=0)]).T)
    assert np.abs(correlation - np.eye(8)).max() < 4 / np.sqrt(50_000)


def test_seed_epoch_and_draw_each_give_unrelated_noise():
    cells = torch.arange(20_000)
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (1, 1, 0), (2, 0, 0)]
    drawn = [standard_normal(seed, epoch, cells, 1, draw)[:, 0].numpy() for seed, epoch, draw in keys]
    assert np.abs(np.corrcoef(drawn) - np.eye(len(keys))).max() < 4.5 / np.sqrt(20_000)


def test_the_global_random_state_is_untouched():
    before = torch.random.get_rng_state()
    standard_normal(1, 2, torch.arange(10), 3)
    assert torch.equal(before, torch.random.get_rng_state())
