from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from multiscale.assays import Affinity
from multiscale.data import read_table
from multiscale.errors import AssayError


def row(**cells: object) -> pd.DataFrame:
    """A table of one affinity, 1 µM unless said otherwise."""
    return pd.DataFrame([{"complex": "AB", "value": 1.0, "unit": "uM", **cells}])


def prepare(**cells: object) -> pd.Series:
    return Affinity().prepare(row(**cells)).iloc[0]


def test_one_micromolar_is_minus_eight_kcal_per_mol() -> None:
    # R·T·ln 10⁻⁶ = 1.98720 cal/(mol K) · 298.15 K · (-13.8155)
    entry = prepare()
    assert (entry["y"], entry["readout"], entry["censoring"]) == (
        pytest.approx(-8.1854, abs=1e-4),
        "delta_g",
        0,
    )


@pytest.mark.parametrize(
    ("value", "unit"),
    [(1e9, "fM"), (1e6, "pM"), (1e3, "nM"), ("1", "uM"), (1.0, "µM"), (1e-3, "mM"), (1e-6, "M")],
)
def test_units_of_concentration_agree(value: object, unit: str) -> None:
    assert prepare(value=value, unit=unit)["y"] == pytest.approx(prepare()["y"], rel=1e-14)


def test_energies_are_read_as_they_are() -> None:
    assert prepare(value=-9.5, unit="kcal/mol", quantity="delta_g")["y"] == -9.5


def test_temperature_of_a_row_counts_and_a_missing_one_is_flagged() -> None:
    table = pd.concat([row(temperature_C="37"), row(temperature_C="")])
    entries = Affinity(temperature=300.0).prepare(table)
    assert entries["temperature"].tolist() == [310.15, 300.0]
    assert entries["temperature_assumed"].tolist() == [False, True]
    assert entries["y"][0] / entries["y"][1] == pytest.approx(310.15 / 300.0, rel=1e-14)


def test_planar_affinities_are_read_as_ln_of_density() -> None:
    entry = prepare(value=5000, unit="molecules/um^2", quantity="Kd_2D")
    assert (entry["readout"], entry["y"]) == ("ln_K2D", pytest.approx(math.log(5000)))
    # The same uncertainty of energy, 0.5 kcal/mol, over kT = 0.59249 kcal/mol.
    assert entry["sd"] == pytest.approx(0.5 / 0.59249, rel=1e-4)


@pytest.mark.parametrize(("relation", "censoring"), [("=", 0), ("~", 0), (">", 1), ("<", -1), ("", 0)])
def test_relations_become_censoring(relation: str, censoring: int) -> None:
    assert prepare(relation=relation)["censoring"] == censoring


def test_no_binding_up_to_a_concentration_bounds_the_energy_from_below() -> None:
    entries = Affinity().prepare(row(value=10, relation=">"))
    y, sd = torch.tensor(entries["y"].to_numpy()), torch.tensor(entries["sd"].to_numpy())
    weaker, tighter = (
        Affinity().log_prob(y, y + shift, sd, torch.tensor(entries["censoring"].to_numpy()))
        for shift in (3.0, -3.0)
    )
    assert float(weaker) == pytest.approx(0.0, abs=1e-8)
    assert float(tighter) < -15.0


def test_formats_other_than_monovalent_share_an_avidity_energy() -> None:
    table = pd.concat([row(), row(format="bivalent"), row(format="cells"), row(format="bivalent")])
    assay = Affinity(avidity_mean=-2.0, avidity_sd=1.0)
    (offset,) = assay.offsets(assay.prepare(table))
    assert offset.keys.tolist() == ["", "bivalent", "cells", "bivalent"]
    assert (offset.name, offset.mean, offset.sd) == ("avidity", -2.0, 1.0)


def test_no_noise_of_affinities_is_fitted() -> None:
    entries = Affinity(sd=0.7).prepare(pd.concat([row(), row(sd=0.2)]))
    assert entries["sd"].tolist() == [0.7, 0.2]
    assert set(Affinity().noise(entries).keys) == {""}


def test_parts_are_names_joined_by_semicolons() -> None:
    assert prepare(parts=" A2 ; B ")["parts"] == "A2;B"
    assert prepare()["parts"] == ""


def test_notes_are_carried_along() -> None:
    entry = prepare(reference="Someone 2001", doi="10.1/x", evidence_grade="A")
    assert (entry["reference"], entry["doi"], entry["evidence_grade"]) == ("Someone 2001", "10.1/x", "A")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"value": 0}, "row 0: Kd must be positive; got `value` 0: correct it or drop the row"),
        ({"value": -3, "quantity": "Ki"}, "Ki must be positive; got `value` -3"),
        ({"value": ""}, "`value` is blank; drop the row, or give a bound"),
        ({"value": "low micromolar"}, "`value` must be a finite number; got `low micromolar`"),
        ({"value": np.inf}, "`value` must be a finite number; got `inf`"),
        ({"relation": "range"}, "`relation` must be one of =, ~, >, <; got `range`: write a bound"),
        ({"relation": "none"}, "got `none`: write a bound"),
        ({"unit": "fold"}, "`unit` of Kd is `fold`"),
        ({"unit": "uMol"}, "did you mean `uM`?"),
        ({"unit": "nM", "quantity": "delta_g"}, "`unit` of delta_g is `nM`; Known: `kcal/mol`"),
        ({"quantity": "Kd_2D"}, "`unit` of Kd_2D is `uM`"),
        ({"quantity": "IC50"}, "`quantity` is `IC50`"),
        ({"temperature_C": 298.15}, "`temperature_C` must be -50 to 150 degrees Celsius; got 298.15"),
        ({"temperature_C": "25 (assumed)"}, "`temperature_C` must be a finite number; got `25 (assumed)`"),
        ({"parts": "A"}, "`parts` must be two or more names"),
        ({"complex": " "}, "`complex` is blank"),
        ({"sd": 0}, "`sd` must be positive; got 0"),
        ({"Kd": 1}, "unknown column `Kd`"),
    ],
)
def test_wrong_rows_are_refused_with_the_remedy(cells: dict[str, object], message: str) -> None:
    with pytest.raises(AssayError, match=re.escape(message)):
        Affinity().prepare(row(**cells))


def test_an_error_names_file_line_and_number_of_wrong_rows(tmp_path: Path) -> None:
    file = tmp_path / "kd.tsv"
    file.write_text("complex\tvalue\tunit\nAB\t1\tuM\n\nAB\t0\tuM\nAB\t-1\tuM\n")
    with pytest.raises(AssayError, match=re.escape("kd.tsv, line 4 (and 1 more): Kd must be positive")):
        Affinity().prepare(read_table(file), where=file.name)


@pytest.mark.parametrize(
    "options", [{"temperature": -5.0}, {"sd": 0.0}, {"avidity_sd": -1.0}, {"avidity_mean": math.nan}]
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(AssayError, match=f"`{next(iter(options))}` of Affinity must be a"):
        Affinity(**options)


def test_the_published_affinities_fit_the_table(shared: Path) -> None:
    facts = pd.read_csv(
        shared / "facts" / "pbmc" / "affinities.tsv", sep="\t", dtype=str, keep_default_na=False
    )
    usable = facts[
        facts["value"].ne("") & facts["relation"].isin(["=", "~", ">"]) & ~facts["unit"].str.contains("fold")
    ]
    planar = usable["value_type"].eq("2D Kd")
    table = usable[["id", "value", "unit", "relation", "reference", "doi", "pmid", "method"]].assign(
        complex=usable["gene_a"] + ":" + usable["gene_b"],
        quantity=np.where(planar, "Kd_2D", "Kd"),
        format=np.where(usable["value_type"].str.contains("apparent"), usable["value_type"], "monovalent"),
        temperature_C=usable["temperature_C"].str.replace(" (assumed)", ""),
    )
    entries = Affinity().prepare(table, where="affinities.tsv")
    in_nM = pd.to_numeric(usable["value_nM"][~planar]).to_numpy()
    solution = entries[entries["readout"] == "delta_g"]
    kT = 8.31446261815324 / 4184 * solution["temperature"]
    # The table states few digits of the converted value.
    np.testing.assert_allclose(solution["y"], kT * np.log(in_nM * 1e-9), atol=0.02)
    assert (len(entries), (entries["readout"] == "ln_K2D").sum(), (entries["censoring"] == 1).sum()) == (
        len(usable),
        1,
        2,
    )
