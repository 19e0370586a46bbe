"""Operators of reactions and binding: one pass over `HeteroData` sends what the solvers' arrays send."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch_geometric.transforms import ToUndirected

from multiscale.graph import Graph, formula
from multiscale.model.kinetics.system import Kinetics
from multiscale.passing.kinetic_operators import Binding, Change, MassAction, Totals
from multiscale.passing.mass_action_pass import MassActionPass, both_ways
from multiscale.passing.messages import bind, change, total
from multiscale.passing.reactions import Reactions
from multiscale.physics.mass_action import mass_action, reversible_mass_action
from multiscale.solver.equilibrium import equilibrium
from multiscale.solver.system import Point

MOLECULES, COMPLEXES, CONTEXTS = 5, 3, 4
SPECIES = [f"M{i}" for i in range(MOLECULES)] + [f"C{i}" for i in range(COMPLEXES)]
Sides = tuple[list[int], list[int], list[int], bool]


def random_sides(rng: np.random.Generator) -> Sides:
    """Reactants and products with repeats (orders 0 to 3), catalysts, and whether it runs backwards."""
    used, made = ([int(s) for s in rng.integers(len(SPECIES), size=rng.integers(4))] for _ in range(2))
    made = made if used or made else [0]
    return (
        used,
        made,
        [int(s) for s in rng.permutation(len(SPECIES))[: rng.integers(3)]],
        bool(rng.random() < 0.5),
    )


def graph_of(reactions: list[Sides]) -> Graph:
    """The same reactions as tables."""
    rows: dict[str, list[tuple[str, str, int]]] = {"reactant": [], "product": [], "modifier": []}
    for i, (used, made, catalysts, _) in enumerate(reactions):
        for relation, members in (("reactant", used), ("product", made), ("modifier", catalysts)):
            for s in sorted(set(members)):
                ends = (f"r{i}", SPECIES[s]) if relation == "product" else (SPECIES[s], f"r{i}")
                rows[relation].append((*ends, members.count(s)))
    edges = {k: pd.DataFrame(v, columns=["source", "target", "stoichiometry"]) for k, v in rows.items()}
    edges["modifier"] = edges["modifier"][["source", "target"]]
    table = {"name": [f"r{i}" for i in range(len(reactions))], "reversible": [r[3] for r in reactions]}
    species = {"molecule": SPECIES[:MOLECULES], "complex": SPECIES[MOLECULES:]}
    nodes = {kind: pd.DataFrame({"name": names}) for kind, names in species.items()}
    return Graph.from_tables("net", nodes | {"reaction": pd.DataFrame(table)}, edges)


def system_of(reactions: list[Sides], used_counts: float = -1.0) -> Reactions:
    """The same reactions as arrays; constants are k_f of all reactions, then k_r of all."""
    size, count, rows = len(SPECIES), len(reactions), []
    for i, (used, made, catalysts, reversible) in enumerate(reactions):
        left, right = [*catalysts, *used], [*catalysts, *made]
        k_f, k_r = size + 1 + i, size + 1 + count + i
        law = reversible_mass_action(len(left), len(right)) if reversible else mass_action(len(left))
        slots = [k_f, k_r, *left, *right] if reversible else [k_f, *left]
        rows.append((law, slots, {s: made.count(s) + used_counts * used.count(s) for s in {*used, *made}}))
    return Reactions.build(size, 2 * count, rows)


def split(x: Tensor) -> dict[str, Tensor]:
    """Values (context, species) by node type, (node, context)."""
    return {"molecule": x.T[:MOLECULES], "complex": x.T[MOLECULES:]}


@pytest.mark.parametrize("seed", range(20))
def test_one_pass_over_the_graph_is_the_right_hand_side_of_the_solver(seed: int):
    rng = np.random.default_rng(seed)
    reactions = [random_sides(rng) for _ in range(12)]
    signs = rng.choice([1.0, 0.0, -1e-8], p=[0.8, 0.1, 0.1], size=(CONTEXTS, len(SPECIES)))
    x = torch.as_tensor(rng.lognormal(size=signs.shape) * signs)  # a solver may stand at −1e-8
    k_f, k_r = torch.as_tensor(rng.lognormal(size=(2, 12, CONTEXTS)))
    t = torch.zeros(CONTEXTS, dtype=x.dtype)
    got = MassActionPass()(split(x), graph_of(reactions).to_hetero(), k_f, k_r)
    expected = system_of(reactions).rate(Point(t, x, torch.cat([k_f, k_r]).T))
    gross = system_of(reactions, 1.0).rate(Point(t, x.abs(), torch.cat([k_f, -k_r]).T))  # nothing cancels
    error = (torch.cat([got["molecule"], got["complex"]]).T - expected).abs()
    assert bool((error <= 1e-12 * gross).all())


def test_gradients_of_a_pass_are_those_of_the_solver_where_factors_are_zero():
    reactions: list[Sides] = [([0, 0, 5], [1], [], False), ([0, 1], [6, 6], [2], True)]
    x = torch.tensor([[0.0, 0.0, 1.5, 2.0, 1.0, 3.0, 0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    k = torch.tensor([[2.0], [0.7]], dtype=torch.float64)
    sent = MassActionPass()(split(x), graph_of(reactions).to_hetero(), k, 0.1 * k)
    weight = torch.arange(1.0, 9.0, dtype=torch.float64)
    (got,) = torch.autograd.grad((torch.cat([sent["molecule"], sent["complex"]])[:, 0] * weight).sum(), x)
    at = Point(torch.zeros(1, dtype=x.dtype), x.detach(), torch.cat([k, 0.1 * k]).T)
    torch.testing.assert_close(got, system_of(reactions).pull(at, weight[None]).x, rtol=1e-13, atol=1e-15)


def test_amounts_not_concentrations_balance_between_volumes():
    """A molecule that moves into ten times the volume fills it ten times more slowly."""
    reactions: list[Sides] = [([0], [5], [], False)]
    x = torch.ones(1, len(SPECIES), dtype=torch.float64)
    k, volume = torch.ones(1, 1, dtype=torch.float64), torch.ones(MOLECULES, dtype=torch.float64)
    volumes = {"molecule": volume, "complex": 10 * volume[:COMPLEXES], "reaction": volume[:1]}
    sent = MassActionPass()(split(x), graph_of(reactions).to_hetero(), k, k, volumes)
    assert float(sent["molecule"][0]) == -1.0 and float(sent["complex"][0]) == pytest.approx(0.1)


def test_one_pass_is_the_system_that_a_model_makes_of_the_same_graph():
    """A dose of a drug opens the way into a nucleus of a tenth of the volume, where two molecules pair."""
    nodes = {
        "molecule": pd.DataFrame(
            {
                "name": ["drug", "M", "N"],
                "compartment": ["cytosol", "cytosol", "nucleus"],
                "constant": [True, False, False],
            }
        ),
        "complex": pd.DataFrame({"name": ["NN"], "compartment": ["nucleus"]}),
        "reaction": pd.DataFrame(
            {"name": ["move", "pair"], "reversible": [True, True], "compartment": ["cytosol", "nucleus"]}
            | {"source_or_sink": [True, False], "k_f": ["k0", "k1"], "k_r": ["k2", "k3"]}
        ),
    }
    ends = {
        "reactant": [("M", "move", 1), ("N", "pair", 2)],
        "product": [("move", "N", 1), ("pair", "NN", 1)],
        "subunit": [("N", "NN", 2)],
    }
    edges = {k: pd.DataFrame(v, columns=["source", "target", "stoichiometry"]) for k, v in ends.items()}
    edges["modifier"] = pd.DataFrame({"source": ["drug"], "target": ["move"]})
    parameters = pd.DataFrame({"parameterId": ["k0", "k1", "k2", "k3"], "role": "rate_constant"})
    parameters["unit"] = ["1/(uM*s)", "1/(uM*s)", "1/(uM*s)", "1/s"]
    fractions = {"cytosol": 0.5, "nucleus": 0.05}
    card = {"compartments": {k: {"geometry": "volume", "volume_fraction": f} for k, f in fractions.items()}}
    graph = Graph.from_tables("nucleus", nodes, edges, parameters, card)
    model = Kinetics.from_graph(graph)
    k = torch.tensor([2.0, 3.0, 0.5, 0.7], dtype=torch.float64)
    x = torch.tensor([0.3, 2.0, 5.0, 1.0], dtype=torch.float64)
    at = Point(
        torch.zeros((), dtype=x.dtype), x, model.values(dict(zip(parameters["parameterId"], k, strict=True)))
    )
    volume = {"molecule": model.volume[:3], "complex": model.volume[3:], "reaction": model.volume[[1, 2]]}
    values = {"molecule": x[:3, None], "complex": x[3:, None]}
    sent = MassActionPass()(values, graph.to_hetero(), k[:2, None], k[2:, None], volume)
    torch.testing.assert_close(
        torch.cat([*sent.values()])[:, 0], model.reactions.rate(at), rtol=1e-13, atol=0
    )


def test_an_input_is_read_and_does_not_change():
    graph = graph_of([([0], [5], [], False)])
    graph.nodes["molecule"].loc["M0", "constant"] = True
    k = torch.ones(1, 1, dtype=torch.float64)
    sent = MassActionPass()(split(torch.ones(1, 8, dtype=torch.float64)), graph.to_hetero(), k, k)
    assert float(sent["molecule"][0]) == 0.0 and float(sent["complex"][0]) == 1.0


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("modifier", "role", "inhibitor"), ("reaction", "law", "michaelis_menten"), ("reaction", "fast", True)],
)
def test_what_is_no_mass_action_is_refused(table: str, column: str, value: str | bool):
    graph = graph_of([([0], [5], [1], False)])
    (graph.nodes | graph.edges)[table][column] = value
    k = torch.ones(1, 1, dtype=torch.float64)
    named = column if value is True else value
    with pytest.raises(ValueError, match=f"catalysts only; got {named}; use the solvers"):
        MassActionPass()(split(torch.ones(1, 8, dtype=torch.float64)), graph.to_hetero(), k, k)


def test_products_are_exact_for_zero_and_slightly_negative_concentrations():
    x = torch.tensor([[0.0], [-1e-9], [3.0]], dtype=torch.float64)
    edges = torch.tensor([[0, 1, 1, 2, 1], [0, 1, 2, 2, 3]])
    n = torch.tensor([1, 2, 1, 2, 3])
    got = MassAction()((x, torch.zeros(5, 1)), edges, n).flatten().tolist()
    assert got == pytest.approx([0.0, 1e-18, -9e-9, -1e-27, 1.0], rel=1e-15, abs=0.0)


def test_the_operator_of_change_sends_the_message_of_the_solver():
    v = torch.as_tensor(np.random.default_rng(0).normal(size=(3, 2)))
    edges, c = torch.tensor([[0, 1, 2, 2], [0, 0, 1, 3]]), torch.tensor([1.0, 2.0, 0.5, 3.0]).double()
    got = Change(-1)((v, torch.zeros(4, 1)), edges, c)
    torch.testing.assert_close(got, -change(v.T, c, edges, 4).T, rtol=1e-15, atol=0.0)


def test_the_sign_of_change_is_that_of_a_product_or_a_reactant():
    with pytest.raises(ValueError, match=r"`sign` must be \+1 .* got 2"):
        Change(2)


def test_reverse_edges_are_those_of_pyg(small_graph: Graph):
    expected = ToUndirected(merge=False)(small_graph.to_hetero())
    edges, stoichiometry = both_ways(small_graph.to_hetero())
    assert set(edges) == set(expected.edge_types)
    assert all(torch.equal(edges[kind], expected[kind].edge_index) for kind in edges)
    assert all(torch.equal(stoichiometry[kind], expected[kind].stoichiometry) for kind in stoichiometry)


def bound_state(small_graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """ln w of the complexes, totals of the molecules and ln x of all species in two contexts."""
    A = torch.as_tensor(formula(small_graph), dtype=torch.float64)
    ln_weight = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, -1.0]], dtype=torch.float64)
    totals = torch.as_tensor(np.random.default_rng(0).lognormal(size=(2, 8)))
    totals[1, 1] = 0.0  # without B there are no complexes of B
    eye = torch.eye(8, dtype=torch.float64)
    weights = torch.cat([torch.zeros(2, 8, dtype=torch.float64), ln_weight], 1)
    return ln_weight, totals, equilibrium(torch.cat([eye, A], 1), weights, totals).ln_x


def test_binding_messages_hold_in_the_equilibrium_of_the_solver(small_graph: Graph):
    ln_weight, totals, ln_x = bound_state(small_graph)
    store = small_graph.to_hetero()["molecule", "subunit", "complex"]
    ln_complex = bind(ln_x[:, :8], ln_weight, store.stoichiometry, store.edge_index)
    torch.testing.assert_close(ln_complex, ln_x[:, 8:], rtol=1e-11, atol=1e-11)
    got = total(ln_x[:, :8].exp(), ln_complex.exp(), store.stoichiometry, store.edge_index.flip(0))
    torch.testing.assert_close(got, totals, rtol=1e-11, atol=0.0)


def test_the_operators_of_binding_send_the_messages_of_binding(small_graph: Graph):
    ln_weight, totals, ln_x = bound_state(small_graph)
    edges, stoichiometry = both_ways(small_graph.to_hetero())
    there, back = ("molecule", "subunit", "complex"), ("complex", "rev_subunit", "molecule")
    bound = Binding()((ln_x[:, :8].T, ln_weight.T), edges[there], stoichiometry[there])
    torch.testing.assert_close(bound, ln_x[:, 8:].T, rtol=1e-11, atol=1e-11)
    got = Totals()((bound.exp(), ln_x[:, :8].T.exp()), edges[back], stoichiometry[back])
    torch.testing.assert_close(got, totals.T, rtol=1e-11, atol=0.0)
