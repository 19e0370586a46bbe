"""Messages: gather, law, scatter; and the PyG operators, which must send the same."""

import numpy as np
import pytest
import torch
from random_graphs import random_graph
from torch_geometric.nn import HeteroConv

from multiscale.passing.kinetic_operators import Binding
from multiscale.passing.messages import bind, drive, pool, translate
from multiscale.passing.operators import Drive, Pooling, Translation
from multiscale.physics.scales import phenotype_rate


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


def test_a_phenotype_follows_its_pathways_and_stays_within_its_bound():
    """Half the bound at artanh ½, all of it at most; a braking pathway lowers the rate."""
    activity = torch.tensor([[0.5493061443340549, 0.0], [30.0, 0.0], [0.0, 0.2]], dtype=torch.float64)
    weight, edges = torch.tensor([0.4, -0.1], dtype=torch.float64), torch.tensor([[0, 1], [0, 0]])
    rates = drive(activity, torch.ones(3, 1, dtype=torch.float64), weight, edges, 0.4)[:, 0]
    assert rates[:2].tolist() == pytest.approx([1.2, 1.4], rel=1e-9)
    assert 0.6 < float(rates[2]) < 1.0


def test_the_rate_of_a_phenotype_rises_with_slope_one_and_has_exact_gradients():
    base, drives = tensor(3), tensor(3, seed=1).requires_grad_(True)
    slope = torch.autograd.grad(phenotype_rate(base, 1e-6 * drives, 0.3).sum(), drives)[0]
    torch.testing.assert_close(slope, torch.full_like(slope, 1e-6), rtol=1e-9, atol=0)
    bound = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(phenotype_rate, (base, drives, bound))


def test_operators_of_all_scales_send_the_messages_of_the_model_within_one_hetero_conv():
    data = random_graph(0).to_hetero()
    encodes, subunit = ("molecule", "encodes", "molecule"), ("molecule", "subunit", "complex")
    member, drives = ("molecule", "member", "pathway"), ("pathway", "drives", "cell")
    edges = {kind: data[kind].edge_index for kind in (encodes, subunit, member, drives)}
    ln_x, ln_weight, activity, base = (tensor(n, 3, seed=n) for n in (8, 9, 2, 4))
    levels, base = (tensor(8, 3, seed=1), tensor(8, 1, seed=3)), base[:2]
    signed, growth, A = (
        data[member].sign * data[member].weight,
        tensor(2, seed=5),
        data[subunit].stoichiometry,
    )
    layer = HeteroConv({encodes: Translation(), subunit: Binding(), member: Pooling(), drives: Drive(0.5)})
    values = {"molecule": ln_x, "complex": ln_weight, "pathway": activity, "cell": base, encodes: levels}
    out = layer(values, edges, stoichiometry_dict={subunit: A}, weight_dict={member: signed, drives: growth})
    expected = {
        "molecule": translate(levels[0].T, levels[1][:, 0], edges[encodes]).exp(),
        "complex": bind(ln_x.T, ln_weight.T, A, edges[subunit]),
        "pathway": pool((ln_x - ln_x.mean(1, keepdim=True)).T, signed, edges[member], 2),
        "cell": drive(activity.T, base.T, growth, edges[drives], 0.5),
    }
    for kind, sent in expected.items():
        torch.testing.assert_close(out[kind], sent.T, rtol=1e-12, atol=1e-14)
