"""Units: constants and conversions against published values."""

import math

import pytest
from scipy import constants

from multiscale import units


def test_gas_constant_is_the_one_of_codata_in_kilocalories():
    assert pytest.approx(constants.R / constants.calorie / 1e3, rel=1e-12) == units.R


def test_molecules_in_a_femtolitre_follow_the_avogadro_constant():
    assert pytest.approx(constants.Avogadro * 1e-6 * 1e-15, rel=1e-12) == units.MOLECULES_PER_UM_FL


def test_a_nanomolar_binder_has_minus_twelve_kilocalories_at_room_temperature():
    assert units.delta_g_from_Kd(1e-3) == pytest.approx(-12.28, abs=5e-3)


@pytest.mark.parametrize("Kd", [1e-9, 1.0, 1e6])
def test_energy_and_dissociation_constant_are_inverse(Kd: float):
    assert units.Kd_from_delta_g(units.delta_g_from_Kd(Kd, 310.15), 310.15) == pytest.approx(Kd, rel=1e-13)


def test_two_dimensional_dissociation_constant_of_one_millimolar_in_three_nanometres():
    assert units.two_dimensional_Kd(1000.0, 3.0) == pytest.approx(1806.6, abs=0.1)


def test_copies_and_concentration_are_inverse():
    assert units.copies(units.concentration(12345.0, 210.0), 210.0) == pytest.approx(12345.0)


@pytest.mark.parametrize("bad", [0.0, -5.0, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(bad: float):
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        units.kT(bad)


def test_an_unknown_unit_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="nM"):
        units.to_uM(1.0, "nanomol")
