"""The graph network: physics alone at first, then energies of complexes, learned through the solver."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from multiscale.encoders.graph import GraphEncoder
from multiscale.graph import Graph
from multiscale.passing.reactions import Reactions
from multiscale.physics.energy import ln_rate_constants
from multiscale.physics.mass_action import reversible_mass_action
from multiscale.solver.time_course import TimeCourse, time_course
from multiscale.units import LN_STANDARD, kT

TEMPERATURE = 298.15  # K
SPECIES = ["A", "B", "C", "AB", "BC", "AC", "AA", "ABC"]
PAIRS = [["A", "B"], ["B", "C"], ["A", "C"], ["A", "A"], ["AB", "C"], ["BC", "A"], ["AC", "B"]]
ASSEMBLY = {"+".join(pair): pair for pair in PAIRS}  # three ways lead to ABC, so that energies close cycles
FEATURES = {"complex": 2, "reaction": 1}


def product(reaction: str) -> str:
    return "".join(sorted(reaction.replace("+", "")))


def assembly() -> Graph:
    """Three proteins that assemble, as a graph."""
    subunits = [(m, c, c.count(m)) for c in SPECIES[3:] for m in "ABC" if m in c]
    used = [(s, r, pair.count(s)) for r, pair in ASSEMBLY.items() for s in sorted(set(pair))]
    made = [(r, product(r), 1) for r in ASSEMBLY]
    tables = {"subunit": subunits, "reactant": used, "product": made}
    edges = {
        k: pd.DataFrame(rows, columns=["source", "target", "stoichiometry"]) for k, rows in tables.items()
    }
    names = {"molecule": SPECIES[:3], "complex": SPECIES[3:], "reaction": list(ASSEMBLY)}
    return Graph.from_tables(
        "assembly", {kind: pd.DataFrame({"name": n}) for kind, n in names.items()}, edges
    )


def stoichiometry() -> tuple[Tensor, Tensor]:
    """Reactants and products, each (species, reaction)."""
    used, made = torch.zeros(2, len(SPECIES), len(ASSEMBLY), dtype=torch.float64)
    for i, (reaction, pair) in enumerate(ASSEMBLY.items()):
        made[SPECIES.index(product(reaction)), i] = 1
        for species in pair:
            used[SPECIES.index(species), i] += 1
    return used, made


def system() -> Reactions:
    """The same reactions as arrays; constants are k_f of all, then k_r of all."""
    used, made = stoichiometry()
    size, count, rows = *used.shape, []
    for i, (reaction, pair) in enumerate(ASSEMBLY.items()):
        ends = [SPECIES.index(s) for s in (*pair, product(reaction))]
        net = {s: float((made - used)[s, i]) for s in set(ends)}
        rows.append((reversible_mass_action(2, 1), [size + 1 + i, size + 1 + count + i, *ends], net))
    return Reactions.build(size, 2 * count, rows)


def features() -> dict[str, Tensor]:
    rng = np.random.default_rng(0)
    return {
        k: torch.as_tensor(rng.uniform(-1, 1, (n, FEATURES[k]))) for k, n in (("complex", 5), ("reaction", 7))
    }


def encoder(seed: int = 0, **options) -> GraphEncoder:
    return GraphEncoder(assembly().to_hetero().metadata(), FEATURES, hidden=8, layers=1, seed=seed, **options)


def disturbed(seed: int = 0, **options) -> GraphEncoder:
    """A network whose last layers are no longer zero."""
    network = encoder(seed, **options)
    for parameter in (*network.energy.parameters(), *network.rate.parameters()):
        torch.nn.init.constant_(parameter, 3.0)
    return network


def test_a_fresh_network_leaves_the_physics_alone():
    out = encoder()(features(), assembly().to_hetero())
    assert out["energy"].shape == (8,) and out["rate"].shape == (7,)
    assert not out["energy"].any() and not out["rate"].any()


def test_free_molecules_have_no_energy_and_rates_stay_within_their_bound():
    out = disturbed(rate_bound=0.5)(features(), assembly().to_hetero())
    assert not out["energy"][:3].any() and bool((out["energy"][3:] != 0).all())
    assert 0.4 < float(out["rate"].detach().abs().max()) <= 0.5


def test_making_a_graph_network_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    weights = [list(encoder(seed).parameters()) for seed in (1, 1, 2)]
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


def test_single_precision_gives_the_same_prediction_to_its_rounding():
    hetero = assembly().to_hetero()
    exact, single = disturbed(), disturbed(dtype=torch.float32)
    single.load_state_dict(exact.state_dict())
    rough = single({kind: f.float() for kind, f in features().items()}, hetero)["energy"]
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough.double(), exact(features(), hetero)["energy"], rtol=1e-5, atol=1e-5)


def test_a_dimer_and_another_state_of_one_molecule_differ():
    """Same features, same neighbours: only the number of subunits tells them apart."""
    graph, same = assembly(), {**features(), "complex": torch.ones(5, 2, dtype=torch.float64)}
    twice = disturbed()(same, graph.to_hetero())["energy"][SPECIES.index("AA")]
    graph.edges["subunit"]["stoichiometry"] = graph.edges["reactant"]["stoichiometry"] = 1
    once = disturbed()(same, graph.to_hetero())["energy"][SPECIES.index("AA")]
    assert abs(float((twice - once).detach())) > 1e-3


def test_energies_do_not_depend_on_the_order_of_nodes_and_edges():
    graph, order = assembly(), [3, 1, 4, 0, 2]
    nodes = graph.nodes | {"complex": graph.nodes["complex"].iloc[order]}
    edges = {kind: table.iloc[::-1].reset_index(drop=True) for kind, table in graph.edges.items()}
    other = Graph.from_tables("other", nodes, edges)
    mixed = features() | {"complex": features()["complex"][order]}
    expected = disturbed()(features(), graph.to_hetero())["energy"][3:][order]
    torch.testing.assert_close(disturbed()(mixed, other.to_hetero())["energy"][3:], expected)


def test_features_that_do_not_fit_are_refused():
    hetero = assembly().to_hetero()
    with pytest.raises(ValueError, match="`complex`, `reaction` as announced; got `complex`"):
        encoder()({"complex": features()["complex"]}, hetero)
    with pytest.raises(ValueError, match=r"of `complex` must have shape .* = \(5, 2\); got \(5, 3\)"):
        encoder()(features() | {"complex": torch.zeros(5, 3)}, hetero)
    with pytest.raises(ValueError, match="got `complexes`"):
        GraphEncoder(hetero.metadata(), {"complexes": 2})
    with pytest.raises(ValueError, match="`rate_bound` must be positive; got 0"):
        encoder(rate_bound=0.0)


def simulate(g: Tensor, rate: Tensor, rtol: float) -> TimeCourse:
    """Assembly from three mixtures; `g` and `rate` correct −8 kcal/mol per contact and k_on = 1 /(µM s)."""
    used, made = stoichiometry()
    base = torch.tensor([0, 0, 0, -8, -8, -8, -8, -16], dtype=torch.float64)
    barrier = 2 * LN_STANDARD - (base @ used) / kT(TEMPERATURE)
    k = torch.cat(ln_rate_constants(used, made, base + g, barrier + rate, TEMPERATURE)).exp()
    x0 = torch.zeros(3, len(SPECIES), dtype=torch.float64)
    x0[:, :3] = torch.tensor([[1.0, 2.0, 3.0], [3.0, 1.0, 1.0], [2.0, 2.0, 0.5]])  # µM
    times = torch.logspace(-1, 1, 6, dtype=torch.float64)  # s
    return time_course(system(), x0, k.expand(3, -1), times, rtol=rtol, atol=1e-2 * rtol)


@pytest.mark.slow
def test_energies_are_learned_from_time_courses_through_the_solver():
    inputs, hetero, network = features(), assembly().to_hetero(), encoder(seed=1)
    true = torch.cat([torch.zeros(3), inputs["complex"][:, 0] - inputs["complex"][:, 1] ** 2])  # kcal/mol
    measured = simulate(true, 0.8 * inputs["reaction"][:, 0], 1e-6)
    optimiser = torch.optim.LBFGS(network.parameters(), max_iter=22, line_search_fn="strong_wolfe")
    solved = [measured.solved]

    def misfit() -> float:
        optimiser.zero_grad()
        out = network(inputs, hetero)
        course = simulate(out["energy"], out["rate"], 1e-3)
        solved.append(course.solved)
        loss = ((course.x - measured.x) / 0.01).square().mean()
        loss.backward()
        return float(loss.detach())

    optimiser.step(misfit)
    learned = network(inputs, hetero)["energy"].detach()
    assert all(bool(s.all()) for s in solved) and float(true.abs().max()) > 0.5
    assert float((learned - true).abs().max()) < 0.05


def test_energies_of_a_network_close_every_cycle():
    """Both ways from A + B + C to ABC have the same equilibrium constant, whatever the network says."""
    out = disturbed(seed=3)(features(), assembly().to_hetero())
    used, made = stoichiometry()
    forward, backward = ln_rate_constants(used, made, out["energy"], out["rate"], TEMPERATURE)
    ln_K = dict(zip(ASSEMBLY, (forward - backward).tolist(), strict=True))
    ways = [ln_K[f"{a}+{b}"] + ln_K[f"{a}{b}+{c}"] for a, b, c in ("ABC", "BCA", "ACB")]
    for a, b in itertools.pairwise(ways):
        assert a == pytest.approx(b, rel=1e-12)
