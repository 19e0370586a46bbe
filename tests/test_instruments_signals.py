"""Titrations, anisotropy, melts and calorimetry against closed forms."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from instrument_cases import SIGNAL, moments, prepared, table
from molecular_cases import graph_of
from torch import Tensor

from multiscale.assays import Anisotropy, Heat, Melt, Titration, injection_conditions
from multiscale.data import Readings
from multiscale.errors import AssayError
from multiscale.model.molecular.model import MolecularModel
from multiscale.model.molecular.problem import MolecularProblem
from multiscale.units import delta_g_from_Kd


def fixed(rows: int, **named: float) -> dict[str, Tensor]:
    return {
        name.replace("_", " "): torch.full((1, rows), value, dtype=torch.float64)
        for name, value in named.items()
    }


def ln(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64).log()[None, :, None]


def test_titrations_are_linear_in_fractions_and_concentrations() -> None:
    known = fixed(2, baseline=1.0, amplitude=-0.5)
    assert Titration(species="AB", of="A").expected({}, ln(0.0, 0.5), known).tolist() == [[1.0, 0.75]]
    made = Titration(species="AB", per=10.0)
    assert made.expected({}, ln(5.0, 20.0), known).tolist() == [pytest.approx([0.75, 0.0])]


def test_anisotropy_weighs_states_by_brightness() -> None:
    # Half bound and half as bright: a third of the light is from bound label.
    known = fixed(3, free=0.06, bound=0.18)
    made = Anisotropy(species="AB", of="A", brightness=0.5)
    assert made.expected({}, ln(0.0, 0.5, 1.0), known)[0].tolist() == pytest.approx([0.06, 0.10, 0.18])


def test_polarisation_of_an_anisotropy_of_0_2_is_273_mP() -> None:
    made = Anisotropy(species="AB", of="A", value_unit="mP")
    known = fixed(1, free=0.0, bound=0.2)
    assert made.expected({}, ln(1.0), known).item() == pytest.approx(600 / 2.2)
    starts = {u.name: u.mean for u in made.unknowns(made.prepare(table(value=[0.0, 600 / 2.2]), "t"))}
    assert starts["bound"] == pytest.approx(0.2, rel=0.05)  # quantiles lie a little inside


def test_melts_lie_between_two_sloping_baselines() -> None:
    made = Melt(species="folded", of="protein", x_unit="C", reference=293.15)
    arrays = prepared(made, table(value=[0.0, 0.0], x=[20.0, 30.0]))
    known = fixed(2, folded=1.0, folded_slope=0.1, unfolded=5.0, unfolded_slope=-0.1)
    assert made.expected(arrays, ln(1.0, 0.25), known)[0].tolist() == pytest.approx(
        [1.0, 0.25 * 2 + 0.75 * 4]
    )


def test_draws_have_the_noise_of_their_experiment() -> None:
    made = Titration(species="AB", of="A", sd_column="x")
    arrays = prepared(made, table(value=[0.0, 0.0], x=[0.3, 0.1]))
    known = {
        k: v.expand(100_000, -1)
        for k, v in fixed(2, baseline=1.0, amplitude=1.0, noise=math.log(0.4)).items()
    }
    drawn = made.draw(arrays, ln(0.5, 1.0).expand(100_000, -1, -1), known, torch.Generator().manual_seed(2))
    mean, sd = moments(drawn)
    np.testing.assert_allclose(mean, [1.5, 2.0], atol=0.01)
    np.testing.assert_allclose(sd, np.hypot([0.3, 0.1], 0.4), rtol=0.02)


def complexes(total: np.ndarray, ligand: np.ndarray, Kd: float) -> np.ndarray:
    """Concentration of AB by the quadratic formula."""
    b = total + ligand + Kd
    return 0.5 * (b - np.sqrt(b**2 - 4 * total * ligand))


def test_heats_of_a_perfused_cell_are_those_of_a_balance_of_moles() -> None:
    V0, v, Kd, enthalpy = 0.2, 2.5, 0.3, -9.0  # mL, µL, µM, kcal/mol
    conditions = injection_conditions(V0, {"A": 20.0}, {"B": 200.0}, [v] * 12)
    after = complexes(conditions["A"].to_numpy(), conditions["B"].to_numpy(), Kd)
    before = np.concatenate([[0.0], after[:-1]])
    made = Heat(species="AB", cell_volume=V0)
    arrays = prepared(made, conditions.assign(value=0.0))
    readouts = torch.log(torch.tensor(np.stack([after, before], 1)))[None]
    found = made.expected(arrays, readouts, fixed(12, enthalpy=enthalpy, offset=0.1))[0].numpy()
    # nmol that form = nmol afterwards, less those that the overflow left in the cell
    formed = V0 * after - (V0 - v * 1e-3) * before
    np.testing.assert_allclose(found, enthalpy * formed + 0.1, rtol=1e-12)


@pytest.mark.parametrize("mixing", ["perfusion", "average"])
def test_tight_binding_releases_its_enthalpy_per_mole_of_titrant(mixing: str) -> None:
    conditions = injection_conditions(1.4, {"A": 50.0}, {"B": 500.0}, [3.0] * 10, mixing=mixing)  # type: ignore[arg-type]
    made = Heat(
        species="AB",
        cell_volume=1.4,
        value_unit="kcal/mol",
        syringe_concentration=500.0,
        mixing=mixing,  # type: ignore[arg-type]
    )
    arrays = prepared(made, conditions.assign(value=0.0))
    readouts = torch.log(torch.tensor(conditions[["B", "B@previous"]].to_numpy()))[None]
    found = made.expected(arrays, readouts, fixed(10, enthalpy=-10.0, offset=0.0))
    # All of B is bound: every injected mole releases ΔH (exactly in perfusion; to second order in v/V₀ else).
    np.testing.assert_allclose(found[0], -10.0, rtol=1e-12 if mixing == "perfusion" else 1e-3)


def test_units_of_heat_agree() -> None:
    data = table(value=[0.0], volume=[10.0])
    readouts, known = ln(2.0).expand(1, 1, 2), fixed(1, enthalpy=3.0, offset=0.0)
    ucal = Heat(species="AB", cell_volume=1.0)
    joule = Heat(species="AB", cell_volume=1.0, value_unit="uJ")
    ratio = joule.expected(prepared(joule, data), readouts, known) / ucal.expected(
        prepared(ucal, data), readouts, known
    )
    assert ratio.item() == pytest.approx(4.184)


def test_quantities_of_heats_name_the_previous_state() -> None:
    found = Heat(species=("AB", "AAB"), cell_volume=1.0).quantities()
    assert [(q.species, q.of) for q in found] == [
        *(("AB", ""), ("AAB", "")),
        *(("AB", "@previous"), ("AAB", "@previous")),
    ]


def test_totals_in_the_cell_are_conserved_by_small_injections_alike() -> None:
    volumes = [0.01] * 1000
    one = injection_conditions(1.4, {"A": 10.0}, {"B": 100.0}, volumes)
    two = injection_conditions(1.4, {"A": 10.0}, {"B": 100.0}, volumes, mixing="average")
    np.testing.assert_allclose(one[["A", "B"]], two[["A", "B"]], rtol=1e-5)
    assert one["A"].iloc[-1] == pytest.approx(10.0 * math.exp(-0.01 / 1.4), rel=1e-6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SIGNAL.assign(volume=[1, 0, 1]), "t.tsv, line 3: `volume` must be positive; got 0"),
        (SIGNAL.assign(volume=[1, 1400, 1]), "`volume` is 1400 µL, but the cell holds 1.4 mL"),
        (SIGNAL.assign(value=["1", "", "2"]), "t.tsv, line 3: `value` is blank"),
        (SIGNAL.drop(columns="volume"), "column `volume` (volume) is missing"),
    ],
)
def test_bad_tables_of_heats_are_refused(data, message: str) -> None:
    with pytest.raises(AssayError, match=re.escape(message)):
        Heat(species="AB", cell_volume=1.4).prepare(data, "t.tsv")


def test_impossible_temperatures_and_injections_are_refused() -> None:
    with pytest.raises(AssayError, match="`x` is -300 C, which does not exist"):
        Melt(species="A", of="A", x_unit="C").prepare(table(value=[0.0], x=[-300.0]), "t")
    with pytest.raises(AssayError, match="`volumes` must be positive"):
        injection_conditions(1.4, {"A": 1.0}, {"B": 1.0}, [10.0, -1.0])
    with pytest.raises(AssayError, match="`B` in the syringe must be at least 0"):
        injection_conditions(1.4, {"A": 1.0}, {"B": -1.0}, [10.0])


def test_the_model_gives_the_heats_of_a_titration_that_starts_without_ligand() -> None:
    graph = graph_of({"A": 20.0, "B": 0.0}, {"AB": ("A;B", "bind")}, {"bind": delta_g_from_Kd(0.3, 298.15)})
    rows = injection_conditions(0.2, {"A": 20.0}, {"B": 200.0}, [2.5] * 12).assign(value=0.0)
    made = Heat(species="AB", cell_volume=0.2)
    names = ("A", "B", "A@previous", "B@previous")
    conditions = {name: rows[name].to_numpy() for name in names}
    readings = Readings("heats", made, rows[["injection"]], made.prepare(rows, "t"), conditions=conditions)
    model = MolecularModel(MolecularProblem(graph, readings, temperature=298.15)).instruments["heats"]
    scalars = {"bind": delta_g_from_Kd(0.3, 298.15), "enthalpy": -9.0, "offset": 0.0, "noise": 0.0}
    u = torch.tensor([scalars[name] for name in model.scalars], dtype=torch.float64).expand(1, 12, -1)
    after, before = (
        complexes(rows["A" + mark].to_numpy(), rows["B" + mark].to_numpy(), 0.3) for mark in ("", "@previous")
    )
    np.testing.assert_allclose(model.expected(u)[0], -9.0 * (0.2 * after - 0.1975 * before), rtol=1e-8)
