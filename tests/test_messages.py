"""Messages: gather, law, scatter; and the PyG operators, which must send the same."""

import numpy as np
import pytest
import torch

from multiscale.passing.messages import pool, translate
from multiscale.passing.operators import Pooling, Translation


def tensor(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape))


EDGES = torch.tensor([[0, 1, 2, 3], [0, 0, 1, 3]])


def test_two_transcripts_of_one_molecule_add_up():
    ln_level, ln_factor = tensor(2, 4), tensor(5, seed=1)
    supplied = translate(ln_level, ln_factor, EDGES)
    expected = ln_factor[0] + (ln_level[:, 0].exp() + ln_level[:, 1].exp()).log()
    torch.testing.assert_close(supplied[:, 0], expected, rtol=1e-13, atol=1e-13)


def test_a_molecule_that_nothing_encodes_has_no_supply():
    assert translate(tensor(4), tensor(5), EDGES)[2] == -torch.inf


def test_translation_does_not_overflow_and_has_exact_gradients():
    ln_level = torch.tensor([800.0, 790.0, 1.0, 2.0], dtype=torch.float64)
    assert bool(translate(ln_level, torch.zeros(5, dtype=torch.float64), EDGES)[:2].isfinite().all())
    small = tensor(4).requires_grad_(True)
    kept = torch.tensor([0, 1, 3])
    assert torch.autograd.gradcheck(lambda level: translate(level, tensor(5, seed=1), EDGES)[kept], (small,))


def test_pooling_weights_its_members():
    activity = pool(tensor(3, 4), torch.tensor([1.0, -2.0, 0.5, 1.0], dtype=torch.float64), EDGES, 5)
    assert float(activity[0, 0]) == pytest.approx(float(tensor(3, 4)[0, 0] - 2 * tensor(3, 4)[0, 1]))
    assert activity.shape == (3, 5)


def test_the_operator_of_translation_sends_the_message_of_the_model():
    ln_level, ln_factor = tensor(4, 3), tensor(5, 1, seed=1)
    supplied = Translation()((ln_level, ln_factor), EDGES)
    expected = translate(ln_level.T, ln_factor[:, 0], EDGES).exp().T
    torch.testing.assert_close(supplied, expected, rtol=1e-12, atol=0)


def test_the_operator_of_pooling_sends_the_message_of_the_model():
    ln_x, weight = tensor(4, 3), tensor(4, seed=2)
    got = Pooling()((ln_x, torch.zeros(5, 1)), EDGES, weight)
    relative = ln_x - ln_x.mean(1, keepdim=True)
    torch.testing.assert_close(got, pool(relative.T, weight, EDGES, 5).T, rtol=1e-12, atol=1e-14)
