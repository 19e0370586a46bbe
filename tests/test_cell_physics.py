"""Physics of single cells: as contexts of a problem, closed forms of interventions, derivatives, failures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from kinetic_problems import parameter
from torch import Tensor

import multiscale as ms
from multiscale.data import Data, Interventions, cell_contexts
from multiscale.errors import DataError, GraphError
from multiscale.model import Model
from multiscale.model.cells import CellPhysics, CellState, make_physics
from multiscale.solver import Status
from multiscale.units import MOLECULES_PER_UM_FL, delta_g_from_Kd

T = 310.15
VOLUME = 200.0
PER_CELL = MOLECULES_PER_UM_FL * VOLUME
SURFACE = 0.1
"""Part of the cell that the receptor's compartment takes."""
COLUMNS = ["context", "kind", "target", "value", "time", "until"]


def exact(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def done(*rows: tuple) -> Interventions:
    """Interventions (condition, kind, target, value, time, until)."""
    full = [(*row[:3], str(row[3]), *row[4:], *[""] * (len(COLUMNS) - len(row))) for row in rows]
    return Interventions(pd.DataFrame(full, columns=COLUMNS))


def energy(name: str, Kd: float, sd: float | None = 1.0) -> dict[str, object]:
    return parameter(name, "energy", "kcal/mol", delta_g_from_Kd(Kd, T), sd)


def dimers() -> ms.Graph:
    """A and B bind and are then lost more slowly, on a membrane of 5 % of the cell; L forms a homodimer."""
    nodes = {
        "molecule": pd.DataFrame({"name": ["A", "B", "L"], "compartment": ["", "", "surface"]}),
        "complex": pd.DataFrame(
            {
                "name": ["A:B", "L2"],
                "compartment": "surface",
                "energy": ["g_AB", "g_LL"],
                "orphan": ["rho", ""],
                "statistical_factor": [1.0, 0.5],
            }
        ),
    }
    parts = [("A", "A:B", 1), ("B", "A:B", 1), ("L", "L2", 2)]
    edges = {"subunit": pd.DataFrame(parts, columns=["source", "target", "stoichiometry"])}
    values = [energy("g_AB", 0.02), energy("g_LL", 0.5), parameter("rho", "loss", "1", 0.3, 0.5)]
    card = {
        "cell": {"volume_fL": VOLUME},
        "compartments": {"surface": {"geometry": "membrane", "volume_fraction": 0.05}},
    }
    return ms.Graph.from_tables("dimers", nodes, edges, pd.DataFrame(values), card)


def receptor() -> ms.Graph:
    """R binds its ligand or an antibody, both held in the medium, or a decoy, which is there if added."""
    names = ["R", "ligand", "antibody", "decoy"]
    given = {"initial": ["", "l", "", "0"], "constant": [False, True, True, False]}
    nodes = {
        "molecule": pd.DataFrame({"name": names, "compartment": ["surface", "", "", ""], **given}),
        "complex": pd.DataFrame(
            {"name": ["R:l", "R:a", "R:d"], "compartment": "surface", "energy": ["g_l", "g_a", "g_d"]}
        ),
    }
    pairs = [
        ("R", "R:l"),
        ("ligand", "R:l"),
        ("R", "R:a"),
        ("antibody", "R:a"),
        ("R", "R:d"),
        ("decoy", "R:d"),
    ]
    edges = {"subunit": pd.DataFrame(pairs, columns=["source", "target"])}
    values = [
        *(energy("g_l", 0.1), energy("g_a", 0.003), energy("g_d", 0.2), energy("g_mutant", 5.0)),
        parameter("e", "efficacy", "1", 0.5, 0.2),
        parameter("fold", "ratio", "1", 4.0, 0.5),
        parameter("l", "concentration", "nM", 50.0, 0.5),
        parameter("c", "concentration", "nM", 20.0, 0.5),
    ]
    surface = {"geometry": "membrane", "volume_fraction": SURFACE}
    card = {"cell": {"volume_fL": VOLUME}, "compartments": {"surface": surface}}
    return ms.Graph.from_tables("receptor", nodes, edges, pd.DataFrame(values), card)


def drawn(physics: CellPhysics, cells: int, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Parameters near the centre of their priors, and totals of cells."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(cells, len(physics.molecules), generator=generator, dtype=torch.float64)
    return physics.parameters.sample(1, generator, 0.3), physics.start + 0.5 * noise


def summed(state: CellState) -> Tensor:
    """A number that depends on all of a state."""
    parts = [state.ln_x, state.ln_total, state.ln_surface]
    return sum((p.nan_to_num(neginf=0.0).sin().sum() for p in parts), torch.zeros(()).double())


def gradients(found: Callable[..., Tensor], *at: Tensor) -> Sequence[Tensor]:
    leaves = [part.clone().requires_grad_(True) for part in at]
    return torch.autograd.grad(found(*leaves), leaves)


def close(one: Tensor, two: Tensor, rtol: float = 1e-9, atol: float = 1e-10) -> None:
    torch.testing.assert_close(one, two, rtol=rtol, atol=atol)


def test_cells_at_equilibrium_are_contexts_of_a_problem_in_values_and_gradients() -> None:
    physics = make_physics(dimers(), "equilibrium", ["all"], temperature=T)
    theta, ln_total = drawn(physics, 5)
    model = Model(ms.Problem(dimers(), Data(cell_contexts("abcde"), {}), temperature=T))
    values = {k: v[0].numpy() for k, v in physics.parameters.unpack(theta).items()}
    rest = {"translation_mean": np.zeros(1), "translation": np.zeros(3), "level": np.zeros((5, 0))}
    everything = model.parameters.pack({**rest, **values, "supply": ln_total.numpy()})
    state, found = model.state(everything), physics(theta, ln_total, torch.zeros(5).long())
    close(found.ln_x, state.x[0, :, 0].log())
    close(found.ln_total, state.ln_total[0])
    close(found.ln_surface, state.ln_surface[0])
    weight = torch.linspace(-1, 1, 15).double().reshape(5, 3)

    def of_problem(all_: Tensor) -> Tensor:
        return (weight * model.state(all_).ln_total[0]).sum()

    def of_cells(theta_: Tensor, totals: Tensor) -> Tensor:
        return (weight * physics(theta_, totals, torch.zeros(5).long()).ln_total).sum()

    (whole,), (shared, own) = gradients(of_problem, everything), gradients(of_cells, theta, ln_total)
    place = model.parameters.slices()
    close(own.flatten(), whole[0, place["supply"]] / model.problem.priors.supply[1])
    for name, where in physics.parameters.slices().items():
        close(shared[0, where], whole[0, place[name]])


CONDITIONS = {
    "stimulated": [("set", "CD3CD28", 1)],
    "less": [("set", "CD3CD28", 1), ("inhibit", "PKC*", "efficacy_g0076"), ("knock_down", "Mek", 0.8)],
    "ester": [("set", "PMA", 2), ("over_express", "Raf", 3), ("dose", "Erk", 0.7)],
}


def signalling(contexts: dict[str, list[tuple]]) -> Interventions:
    return done(*((name, *row) for name, rows in contexts.items() for row in rows))


def test_cells_at_steady_state_are_contexts_of_a_problem_with_their_interventions() -> None:
    graph, names = ms.read_graph("tcell_phospho"), list(CONDITIONS)
    physics = make_physics(graph, "steady_state", names, signalling(CONDITIONS))
    theta, ln_total = drawn(physics, 9)
    cells, condition = {f"cell {i}": CONDITIONS[names[i % 3]] for i in range(9)}, torch.arange(9) % 3
    contexts = cell_contexts(cells).with_interventions(signalling(cells))
    priors = ms.Priors(abundance_sd=0.5)
    model = Model(ms.Problem(graph, Data(contexts, {}), regime="steady_state", priors=priors))
    assert model.problem.dynamics is not None and model.problem.dynamics.abundances == physics.molecules
    values = {k: v[0].numpy() for k, v in physics.parameters.unpack(theta).items()}
    everything = model.parameters.pack({**values, "abundance": ln_total.numpy()})
    state, found = model.state(everything), physics(theta, ln_total, condition)
    assert bool(found.solved.all()) and physics.species == model.problem.network.species
    close(found.ln_x, state.ln_x[0], rtol=1e-7, atol=1e-8)
    (whole,) = gradients(lambda all_: model.state(all_).ln_x.sin().sum(), everything)
    shared, own = gradients(lambda a, b: physics(a, b, condition).ln_x.sin().sum(), theta, ln_total)
    place = model.parameters.slices()
    close(own.flatten(), whole[0, place["abundance"]] / 0.5, rtol=1e-6, atol=1e-8)
    for name, where in physics.parameters.slices().items():
        close(shared[0, where], whole[0, place[name]], rtol=1e-6, atol=1e-8)


BLOCKED = done(
    ("less", "knock_down", "R", "e"),
    ("more", "over_express", "R", "fold"),
    ("without", "set", "ligand", 0),
    ("blocked", "dose", "antibody", 0.03),
    ("both", "clamp", "antibody", "c"),
    ("both", "set", "ligand", 0.4),
    ("decoyed", "dose", "decoy", 0.5),
    ("fixed", "set", "R", 0.25),
    ("fixed", "dose", "R", 0.05),
    ("fixed", "over_express", "R", 2),
    ("mutant", "set", "g_l", "g_mutant"),
    ("gone", "knock_down", "R", 1),
)
BLOCKED_NAMES = ["none", *dict.fromkeys(BLOCKED.table["context"])]
CASES = {
    "dimers": lambda: make_physics(dimers(), "equilibrium", ["all"], temperature=T),
    "receptor": lambda: make_physics(receptor(), "equilibrium", BLOCKED_NAMES, BLOCKED, T),
    "signalling": lambda: make_physics(
        ms.read_graph("tcell_phospho"), "steady_state", list(CONDITIONS), signalling(CONDITIONS)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_central_differences(name: str) -> None:
    physics, h = CASES[name](), 1e-5
    number = max(len(physics.inventory.ln_per_cell), 3)
    condition = torch.arange(number) % len(physics.inventory.ln_per_cell)
    theta, ln_total = drawn(physics, number)

    def f(a: Tensor, b: Tensor) -> Tensor:
        return summed(physics(a, b, condition))

    shared, own = gradients(f, theta, ln_total)
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        a, b = (torch.randn(part.shape, generator=generator).double() for part in (theta, ln_total))
        change = (f(theta + h * a, ln_total + h * b) - f(theta - h * a, ln_total - h * b)) / (2 * h)
        expected = float((shared * a).sum() + (own * b).sum())
        assert expected == pytest.approx(float(change), rel=1e-6, abs=1e-6)


def bound(R: float, ligand: float = 0.05, antibody: float = 0.0, Kd: float = 0.1) -> float:
    """Ln copies of R:l where ligand and antibody are not used up: R / (1 + l/Kd + a/Ka) · l/Kd."""
    return math.log(PER_CELL * R * ligand / Kd / (1 + ligand / Kd + antibody / 0.003))


R = 0.3
"""What cells have of the receptor, µM."""


@pytest.fixture(scope="module")
def blocked() -> tuple[CellPhysics, dict[str, CellState]]:
    physics = CASES["receptor"]()
    centre = torch.zeros(1, physics.parameters.size).double()
    ln_total = exact([[math.log(R * PER_CELL)]])
    states = {n: physics(centre, ln_total, torch.tensor([i])) for i, n in enumerate(BLOCKED_NAMES)}
    return physics, states


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("none", bound(R)),
        ("less", bound(R * (1 - 0.5))),
        ("more", bound(R * 4)),
        ("without", -math.inf),
        ("blocked", bound(R, antibody=0.03)),
        ("both", bound(R, ligand=0.4, antibody=0.02)),
        ("fixed", bound(SURFACE * (0.25 + 0.05) * 2)),
        ("mutant", bound(R, Kd=5.0)),
        ("gone", -math.inf),
    ],
)
def test_an_intervention_at_equilibrium_has_its_closed_form(condition: str, expected: float, blocked) -> None:
    physics, states = blocked
    where = torch.tensor([BLOCKED_NAMES.index(condition)])
    read = physics.readouts(["R:l"], "surface")(states[condition], where)
    assert float(read) == pytest.approx(expected, rel=1e-10)
    assert bool(states[condition].solved.all())


def test_a_dose_of_what_cells_use_up_competes_as_a_quadratic_says(blocked) -> None:
    """In µM of the cell, with s = 1 + l/Kl, the complex c obeys c = a b/(φ K s), a = R − c, b = D − c."""
    D, K = 0.5, SURFACE * 0.2 * (1 + 0.05 / 0.1)
    total = R + D + K
    c = (total - math.sqrt(total**2 - 4 * R * D)) / 2
    physics, states = blocked
    x = states["decoyed"].ln_x[0].exp() * SURFACE
    assert float(x[physics.species.index("R:d")]) == pytest.approx(c, rel=1e-10)
    assert float(x[physics.species.index("R:l")]) == pytest.approx((R - c) * 0.05 / 0.1 / 1.5, rel=1e-10)


def test_an_antibody_keeps_the_receptor_and_takes_its_ligand(blocked) -> None:
    physics, states = blocked
    free, held = states["none"], states["blocked"]
    close(free.ln_surface[:, 0], held.ln_surface[:, 0])
    taken = free.ln_x - held.ln_x
    assert float(taken[0, physics.species.index("R:l")]) == pytest.approx(
        math.log((1.5 + 0.03 / 0.003) / 1.5), rel=1e-10
    )
    assert float(free.ln_x[0, physics.species.index("antibody")]) == -math.inf
    assert float(held.ln_x[0, physics.species.index("antibody")].exp()) == pytest.approx(0.03)


def test_an_unknown_efficacy_moves_its_condition_alone() -> None:
    physics = CASES["receptor"]()
    theta, ln_total = drawn(physics, 2)
    where = physics.parameters.slices()["efficacy"]
    values = physics.parameters.unpack(theta)["efficacy"]
    for name, expected in (("less", float(-1 / (1 - values))), ("more", 0.0)):
        condition = torch.full((2,), BLOCKED_NAMES.index(name))
        (found,) = gradients(lambda a, c=condition: physics(a, ln_total, c).ln_total[:, 0].mean(), theta)
        (slope,) = gradients(lambda a: physics.parameters.unpack(a)["efficacy"].sum(), theta)
        assert float(found[0, where]) == pytest.approx(expected * float(slope[0, where]), rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_cells_do_not_depend_on_their_neighbours_nor_on_a_warm_start(name: str) -> None:
    physics = CASES[name]()
    kinds = len(physics.inventory.ln_per_cell)
    theta, ln_total = drawn(physics, 2 * kinds)
    condition = torch.arange(2 * kinds) % kinds
    together = physics(theta, ln_total, condition)
    near = physics(theta, ln_total + 0.1, condition).warm
    near[0] = torch.nan
    again, half = physics(theta, ln_total, condition, near), physics(theta, ln_total[1::2], condition[1::2])
    for one, two in ((together, again), (CellState(*(part[1::2] for part in vars(together).values())), half)):
        close(one.ln_x, two.ln_x, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e4])
def test_a_cell_that_cannot_be_solved_is_told_and_touches_no_gradient(name: str, value: float) -> None:
    physics = CASES[name]()
    theta, ln_total = drawn(physics, 3)
    bad, condition = ln_total.clone(), torch.zeros(3).long()
    bad[1, 0] = value
    state = physics(theta, bad, condition)
    assert state.solved.tolist() == [True, False, True]
    assert bool(state.ln_x[1].isfinite().all())
    shared, own = gradients(lambda a, b: summed(physics(a, b, condition)), theta, bad)
    kept = torch.tensor([0, 2])
    expected = gradients(lambda a, b: summed(physics(a, b, condition[kept])), theta, ln_total[kept])
    assert float(own[1].abs().max()) == 0
    close(shared, expected[0])
    close(own[kept], expected[1])


def turnover() -> ms.Graph:
    """A is made and lost, and modified and back in turn with K; S rests as it starts."""
    nodes = {
        "molecule": pd.DataFrame({"name": ["A", "S"], "initial": ["1", "2"]}),
        "complex": pd.DataFrame({"name": ["S*"]}),
        "reaction": pd.DataFrame(
            {
                "name": ["make", "lose", "modify"],
                "k_f": ["k", "d", "k_S"],
                "k_r": ["", "", "d"],
                "reversible": [False, False, True],
                "source_or_sink": [True, True, False],
            }
        ),
    }
    edges = {
        "subunit": pd.DataFrame({"source": ["S"], "target": ["S*"]}),
        "reactant": pd.DataFrame({"source": ["A", "S"], "target": ["lose", "modify"]}),
        "product": pd.DataFrame({"source": ["make", "modify"], "target": ["A", "S*"]}),
    }
    constants = [
        parameter("k", "rate_constant", "uM/s", 0.3),
        parameter("k_S", "rate_constant", "1/s", 0.3, 2.0),
        parameter("d", "rate_constant", "1/s", 0.1, 1.0),
    ]
    card = {"cell": {"volume_fL": VOLUME}}
    return ms.Graph.from_tables("turnover", nodes, edges, pd.DataFrame(constants), card)


def test_only_what_reactions_conserve_has_a_total() -> None:
    physics = make_physics(turnover(), "steady_state", ["all"])
    assert (physics.molecules, physics.counted) == (["S"], ["S", "A"])
    centre = torch.zeros(1, 2).double()
    state = physics(centre, exact([[0.0], [math.log(3.0)]]), torch.zeros(2).long())
    expected = exact([[3.0, 0.5, 1.5], [3.0, 1.5, 4.5]])  # A = k/d, S* : S = k : d
    close(state.ln_x.exp(), expected)
    close(state.ln_total.exp() / PER_CELL, exact([[2.0, 3.0], [6.0, 3.0]]))


def test_a_condition_without_rest_fails_its_cells_alone() -> None:
    stuck = done(("stuck", "inhibit", "lose", 1))
    physics = make_physics(turnover(), "steady_state", ["fine", "stuck"], stuck)
    condition, ln_total = torch.tensor([0, 1, 0]), torch.zeros(3, 1).double()
    state = physics(torch.zeros(1, 2).double(), ln_total, condition)
    assert state.solved.tolist() == [True, False, True]
    assert Status(int(state.status[1])) in (Status.NO_STEADY_STATE, Status.SINGULAR)
    shared, own = gradients(
        lambda a, b: summed(physics(a, b, condition)), torch.zeros(1, 2).double(), ln_total
    )
    assert bool(shared.isfinite().all()) and float(own[1]) == 0


def test_readouts_are_sums_in_their_units() -> None:
    physics = make_physics(dimers(), "equilibrium", ["all"], temperature=T)
    theta, ln_total = drawn(physics, 2)
    condition = torch.zeros(2).long()
    state = physics(theta, ln_total, condition)
    x = dict(zip(physics.species, state.ln_x.exp().T, strict=True))
    read = physics.readouts(["L", "L + 2*L2"], "species")(state, condition).exp()
    close(read, torch.stack([x["L"], x["L"] + 2 * x["L2"]], 1))
    read = physics.readouts(["L", "L + 2*L2", "A"], "total")(state, condition)
    close(read, torch.stack([ln_total[:, 2], ln_total[:, 2], state.ln_total[:, 0]], 1))
    close(read[:, 0].exp(), (x["L"] + 2 * x["L2"]) * 0.05 * PER_CELL)
    read = physics.readouts(["A", "A:B", "A:B + L"], "surface")(state, condition).exp()
    close(read[:, 0], x["A:B"] * 0.05 * PER_CELL)
    close(read[:, 1:], torch.stack([read[:, 0], read[:, 0] + x["L"] * 0.05 * PER_CELL], 1))


def test_volumes_of_conditions_turn_copies_into_concentrations() -> None:
    volumes = pd.DataFrame({"context": ["large"], "volume_fL": [400.0]})
    physics = make_physics(dimers(), "equilibrium", ["usual", "large"], temperature=T, covariates=volumes)
    theta, ln_total = drawn(physics, 1)
    one = physics(theta, ln_total, torch.tensor([0]))
    two = physics(theta, ln_total + math.log(2.0), torch.tensor([1]))
    close(one.ln_x, two.ln_x)
    close(one.ln_surface + math.log(2.0), two.ln_surface)


def test_starts_are_the_copies_that_the_graph_states() -> None:
    graph = receptor()
    graph.nodes["molecule"].loc["R", "initial"] = "3"
    physics = make_physics(graph, "equilibrium", ["all"], temperature=T)
    assert float(physics.start.exp()) == pytest.approx(0.3 * PER_CELL)
    assert make_physics(receptor(), "equilibrium", ["all"]).start.tolist() == [10.0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            ("a", "knock_down", "Receptor", 0.5),
            "`Receptor`, which is no molecule of the graph; Known: `R`",
        ),
        (("a", "set", "g_x", 0.5), "`g_x`, which is neither a molecule nor an energy term"),
        (("a", "set", "R:l", 0.5), "the complex `R:l`, whose amount follows"),
        (("a", "inhibit", "R", 0.5), "acts on reactions, which regime `equilibrium` lacks"),
        (("a", "clamp", "R", 0.5), "a clamp needs a molecule that the graph declares `constant`"),
        (("a", "dose", "decoy", 0.5, 3.0), "an equilibrium has none"),
        (("a", "knock_down", "R", "fold"), "neither a number nor a parameter of role efficacy"),
        (("a", "dose", "R", "e"), "neither a number nor a parameter of role concentration"),
        (("b", "dose", "R", 1.0), "`context` is `b`, which is not in the data"),
    ],
)
def test_what_cannot_be_done_at_equilibrium_is_refused_by_name(row: tuple, words: str) -> None:
    with pytest.raises(DataError) as error:
        make_physics(receptor(), "equilibrium", ["a"], done(row), T)
    assert words in str(error.value), str(error.value)


def test_a_transcript_is_no_target_but_names_what_it_encodes(small_graph) -> None:
    with pytest.raises(DataError, match=r"the transcript `A.rna`; name the molecule that it encodes: `A`"):
        make_physics(small_graph, "equilibrium", ["a"], done(("a", "knock_down", "A.rna", 0.5)))


def test_what_cannot_be_read_is_refused_by_name() -> None:
    physics = make_physics(dimers(), "equilibrium", ["all"], temperature=T)
    for names, reads, words in (
        (["A:C"], "species", "`A:C` in `A:C` is no species that can be read; did you mean `A:B`"),
        (["A + L"], "surface", "`A` in `A + L` is read on the surface, but the graph never puts it"),
        (["A"], "copies", "`reads` is `copies`"),
    ):
        with pytest.raises(DataError) as error:
            physics.readouts(names, reads)
        assert words in str(error.value), str(error.value)
    unknown = make_physics(ms.read_graph("tcell_phospho"), "steady_state", ["all"])
    with pytest.raises(DataError, match="the volume of the cells is not known"):
        unknown.readouts(["Raf"], "total")


def test_a_molecule_nowhere_on_a_membrane_is_read_in_all_forms_where_that_is_wanted() -> None:
    physics = CASES["receptor"]()
    with pytest.raises(DataError, match="never puts it on a membrane"):
        make_physics(turnover(), "steady_state", ["all"]).readouts(["S"], "surface")
    loose = make_physics(turnover(), "steady_state", ["all"]).readouts(["S"], "surface", strict=False)
    assert loose.index.tolist() == [[0]] and physics.readouts(["R"], "surface").index.tolist() == [[4]]


def test_regimes_and_graphs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="`regime` of single cells is `time_course`"):
        make_physics(dimers(), "time_course", ["all"])
    with pytest.raises(GraphError, match="no reactions"):
        make_physics(dimers(), "steady_state", ["all"])
    with pytest.raises(DataError, match="`target` is `Raff`"):
        make_physics(
            ms.read_graph("tcell_phospho"), "steady_state", ["a"], done(("a", "knock_down", "Raff", 0.5))
        )


def test_a_mutation_shifts_the_energy_of_its_condition() -> None:
    """Half of R is bound at c = Kd, so l = 5 µM binds half of the mutant."""
    rows = done(("a", "set", "g_l", "g_mutant"), ("a", "set", "ligand", 5.0))
    physics = make_physics(receptor(), "equilibrium", ["a"], rows, T)
    state = physics(torch.zeros(1, physics.parameters.size).double(), physics.start[None], torch.tensor([0]))
    x = dict(zip(physics.species, state.ln_x[0].exp().tolist(), strict=True))
    assert x["R:l"] == pytest.approx(x["R"], rel=1e-9)
