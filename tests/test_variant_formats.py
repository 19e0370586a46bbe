"""Formats of variant tables: DiMSum, MaveDB, MoCHI's design, affinities; energies written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from variant_tables import FITNESS, WILD, write

from multiscale.assays.binding_energy import BindingEnergy
from multiscale.assays.fitness import Fitness
from multiscale.errors import AssayError, FormatError, OutputError
from multiscale.formats import anndata as anndata_files
from multiscale.formats import variants
from multiscale.formats.tables import read_table
from multiscale.formats.variants import (
    ModelDesign,
    Phenotype,
    SequenceColumn,
    graph_from_model_design,
    read_model_design,
    read_readings,
    sequences_of_mutations,
)
from multiscale.model.molecular.model import MolecularModel
from multiscale.model.molecular.problem import MolecularProblem
from multiscale.units import kT

DIMSUM = """nt_seq aa_seq Nham_aa WT indel STOP STOP_readthrough mean_count count_e1_s0 fitness sigma
 MKVT* 0 True False False False 90 90 0.0 0.01
 MAVT* 1  False False False 50 40 -1.0 0.1
 MA*T* 2  False True False 20 20 -1.2 0.2
 MAVTT* 2  True False False 20 20 -1.2 0.2
"""
SCORED = Fitness(species="folded", of="protein", columns={"value": "fitness"}, sd_column="sigma")


# DiMSum


def test_dimsum_tables_mark_the_wild_type_and_leave_out_stops_and_indels(tmp_path: Path) -> None:
    path = write(tmp_path, DIMSUM, "scan.txt")
    readings = read_readings(path, SCORED, format="dimsum", sequence=SequenceColumn("protein", "aa_seq"))
    assert readings.sequences["protein"].labels() == ["wt", "K2A"]
    assert readings.arrays["value"].tolist() == [0.0, -1.0]
    assert list(readings.rows.columns) == [
        "nt_seq",
        "aa_seq",
        "Nham_aa",
        "WT",
        "indel",
        "STOP",
        "STOP_readthrough",
    ]
    assert readings.provenance["rows_in_file"] == 4 and readings.provenance["rows"] == 2


def test_stops_of_a_dimsum_table_are_kept_by_an_alphabet_that_has_them(tmp_path: Path) -> None:
    path = write(tmp_path, DIMSUM, "scan.txt")
    column = SequenceColumn("protein", "aa_seq", alphabet="protein*")
    readings = read_readings(path, SCORED, format="dimsum", sequence=column)
    assert readings.sequences["protein"].labels() == ["wt", "K2A", "K2A:V3*"]


def test_two_scans_of_one_protein_have_the_same_wild_type(shared: Path) -> None:
    column = SequenceColumn("protein", "aa_seq", first=311)
    folder = shared / "data" / "psd95_pdz3"
    found = [
        read_readings(folder / f"fitness_{name}.txt.gz", SCORED, format="dimsum", sequence=column)
        for name in ("abundance", "binding")
    ]
    assert [len(part) for part in found] == [5902, 6964]
    first, second = (part.sequences["protein"].reference for part in found)
    assert first is not None and second is not None and (first == second).all() and len(first) == 84
    for part in found:  # the file counts mutations itself
        assert ((part.sequences["protein"].mutations() >= 0).sum(1) == part.rows["Nham_aa"]).all()


# Mutations as text


def test_hgvs_and_plain_mutations_say_the_same() -> None:
    hgvs = [
        "p.=",
        "p.Met10Ala",
        "p.[Met10Ala;Thr13Pro]",
        "NP_1.1:p.(Lys11Leu)",
        "p.Val12=",
        "_wt",
        "p.K11A",
        "p.(=)",
    ]
    plain = ["wt", "M10A", "M10A:T13P", "K11L", "wt", "=", "K11A", "wt"]
    options = {"reference": WILD, "first": 10}
    first = sequences_of_mutations(hgvs, notation="hgvs", **options)
    assert first.labels() == sequences_of_mutations(plain, **options).labels()
    assert first.labels() == ["wt", "M10A", "M10A:T13P", "K11L", "wt", "wt", "K11A", "wt"]


def test_ter_is_a_stop_where_the_alphabet_has_one() -> None:
    found = sequences_of_mutations(["p.Lys2Ter"], reference=WILD, notation="hgvs", alphabet="protein*")
    assert found.texts() == ["M*VT"]
    with pytest.raises(FormatError, match=r"row 1: variant `p.Lys2Ter`: letter `\*` is not in the alphabet"):
        sequences_of_mutations(["p.Lys2Ter"], reference=WILD, notation="hgvs")


@pytest.mark.parametrize(
    ("text", "notation", "message"),
    [
        ("A24", "mutations", "`A24` is no substitution such as A24G"),
        ("T11A", "mutations", "the wild type has `K` at 11, not `T`; check `first`"),
        ("K99A", "mutations", "position 99 lies outside 10 to 13"),
        ("K11A:K11L", "mutations", "position 11 is changed twice"),
        ("K11B", "mutations", "letter `B` is not in the alphabet"),
        ("p.Lys11del", "hgvs", "`Lys11del` is no substitution such as p.Ala24Gly"),
        ("p.Met10fs", "hgvs", "is no substitution"),
        ("p.Xyz11Ala", "hgvs", "`Xyz` is no residue"),
        ("c.32A>G", "hgvs", "does not begin with `p.`"),
        ("", "mutations", "is no substitution"),
    ],
)
def test_what_is_no_substitution_is_refused(text: str, notation, message: str) -> None:
    with pytest.raises(FormatError, match=r"scan.csv, line 9: variant .*" + message):
        sequences_of_mutations(
            ["wt", text], reference=WILD, first=10, notation=notation, where="scan.csv", lines=[8, 9]
        )


def test_mavedb_tables_are_read_with_their_comments(tmp_path: Path) -> None:
    text = (
        "# Accession: urn:mavedb:0\naccession,hgvs_nt,hgvs_pro,score\nu#1,NA,p.Lys2Ala,0.5\nu#2,NA,p.=,1.0\n"
    )
    scored = Fitness(species="folded", of="protein", columns={"value": "score"})
    column = SequenceColumn("protein", "hgvs_pro", reference=WILD)
    readings = read_readings(write(tmp_path, text), scored, format="mavedb", sequence=column)
    assert readings.sequences["protein"].labels() == ["K2A", "wt"]
    assert readings.rows.index.tolist() == [3, 4] and readings.arrays["value"].tolist() == [0.5, 1.0]


# Counts are pooled by summing


@dataclass(frozen=True, kw_only=True)
class Reads(Fitness):
    """An instrument of counts alone."""

    measured: ClassVar = {"count_0": "reads in the first bin", "count_1": "reads in the second bin"}

    def prepare(self, table: pd.DataFrame, where: str, *, measured: bool = True) -> dict[str, np.ndarray]:
        return {name: table[name].to_numpy(float) for name in self.measured}


def test_counts_of_repeats_are_summed(tmp_path: Path) -> None:
    path = write(tmp_path, "sequence,count_0,count_1\nMKVT,1,2\nMAVT,3,4\nMKVT,10,20\n")
    column = SequenceColumn("protein", "sequence", reference=WILD)
    reads = Reads(species="folded", of="protein")
    readings = read_readings(path, reads, sequence=column, duplicates="mean")
    assert readings.arrays["count_0"].tolist() == [11, 3] and readings.arrays["count_1"].tolist() == [22, 4]
    assert readings.sequences["protein"].labels() == ["wt", "K2A"]


# Designs of models

DESIGN = "phenotype\ttransformation\ttrait\tfile\n"
THREE = ModelDesign(
    (
        Phenotype("abundance", "TwoStateFractionFolded", ("Folding",)),
        Phenotype("binding", "ThreeStateFractionBound", ("Folding", "Binding")),
        Phenotype("other", "FourStateFractionBound", ("Folding", "Binding", "Other")),
    )
)


def fraction(design: ModelDesign, phenotype: str, tmp_path: Path, energies: dict[str, float]) -> float:
    """Fraction that a phenotype reads in the graph of a design, energies in units of kT."""
    reading = design.reading(phenotype)
    instrument = Fitness(species=reading["species"], of=reading["of"])
    path = write(tmp_path, "value\n0.0\n1.0\n")
    readings = read_readings(path, instrument, conditions=reading["conditions"])
    problem = MolecularProblem(graph_from_model_design(design), readings, temperature=300.0)
    rows = MolecularModel(problem).row_model(readings)
    u = torch.zeros(1, 2, len(rows.scalars), dtype=torch.float64)
    for name, energy in energies.items():
        u[..., rows.scalars.index(name)] = energy * kT(300.0)
    return float(rows.readouts(u)[0, 0, 0].exp())


def test_graphs_of_designs_give_the_fractions_of_their_transformations(tmp_path: Path) -> None:
    f, b, a = -0.7, 0.4, -1.1
    energies = {"folding": f, "binding": b, "other": a}
    assert fraction(THREE, "abundance", tmp_path, energies) == pytest.approx(1 / (1 + np.exp(f)))
    three = 1 / (1 + np.exp(b) * (1 + np.exp(f)))
    assert fraction(THREE, "binding", tmp_path, energies) == pytest.approx(three)
    weights = [1, np.exp(-f), np.exp(-f - b), np.exp(-f - a)]
    assert fraction(THREE, "other", tmp_path, energies) == pytest.approx(weights[2] / sum(weights))


def test_a_design_table_is_read(shared: Path) -> None:
    design = read_model_design(shared / "data" / "psd95_pdz3" / "model_design.txt")
    assert [part.name for part in design.phenotypes] == ["Abundance", "Binding"]
    assert design.traits == ("Folding", "Binding")
    graph = graph_from_model_design(design, molecule="domain", ligand="peptide")
    assert graph.nodes["complex"]["energy"].to_dict() == {"folded": "folding", "bound": "folding;binding"}
    reading = design.reading("Abundance", "domain", "peptide")
    assert reading == {"species": "folded", "of": "domain", "conditions": {"peptide": 0.0}}
    assert design.reading("Binding", "domain", "peptide")["conditions"] == {"peptide": 1e6}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("A\tLinear\tF\t\n", "line 2: phenotype `A`: `Linear` is a curve, not an equilibrium"),
        ("A\tThreeStateFractionBond\tF,B\t\n", "did you mean `ThreeStateFractionBound`"),
        ("A\tThreeStateFractionBound\tF\t\n", "has 2 distinct traits; got F"),
        ("A\tTwoStateFractionFolded\tF\t\nA\tTwoStateFractionFolded\tF\t\n", "phenotype `A` is repeated"),
    ],
)
def test_designs_that_mean_no_states_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_model_design(write(tmp_path, DESIGN + rows, "design.txt"))


def test_one_molecule_does_not_fold_with_two_traits() -> None:
    two = ModelDesign(tuple(Phenotype(name, "TwoStateFractionFolded", (name,)) for name in ("F1", "F2")))
    with pytest.raises(FormatError, match=r"one molecule folds with one trait; got F1 \(F1\), F2 \(F2\)"):
        graph_from_model_design(two)


# Affinities

AFFINITY = BindingEnergy(complex="bound", columns={"value": "Kd_nM"}, relation_column="relation")
MARKS = "drug\tKd_nM\na\t10\nb\t>10000\nc\t<0.1\nd\t1e3\n"


def test_marks_and_the_unit_of_the_header_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, MARKS, "kd.tsv")
    readings = read_readings(path, AFFINITY, format="affinities", entities={"drug": "drug"})
    assert readings.arrays["censoring"].tolist() == [0, 1, -1, 0]
    energy = readings.arrays["kT"] * np.log(np.array([10.0, 1e4, 0.1, 1e3]) * 1e-9)  # Kd over 1 M
    assert readings.arrays["y"] == pytest.approx(energy)
    assert list(readings.rows.columns) == ["drug"]


def test_a_bound_that_would_be_read_as_a_value_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, MARKS, "kd.tsv")
    blind = BindingEnergy(complex="bound", columns={"value": "Kd_nM"})
    with pytest.raises(
        FormatError, match=r'kd.tsv, line 3: the value is a bound; .*relation_column = "relation"'
    ):
        read_readings(path, blind, format="affinities", entities={"drug": "drug"})


def test_units_that_contradict_or_are_missing_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, MARKS, "kd.tsv")
    other = BindingEnergy(
        complex="bound", columns={"value": "Kd_nM"}, unit_of_value="uM", relation_column="relation"
    )
    with pytest.raises(FormatError, match="the file says nM, the instrument's `unit_of_value` is uM"):
        read_readings(path, other, format="affinities")
    path = write(tmp_path, MARKS.replace("Kd_nM", "value"), "kd.tsv")
    plain = BindingEnergy(complex="bound", relation_column="relation")
    with pytest.raises(AssayError, match=r"kd.tsv: no unit"):
        read_readings(path, plain, format="affinities")


MATRIX = "kinase (nM)\tdrug1\tdrug2\nX\t12\t>10000\nY\t\t0.5 uM\n"
PAIRS = {"kinase": "kinase (nM)", "drug": "column"}
WIDE = BindingEnergy(complex="bound", relation_column="relation")


def test_a_matrix_becomes_one_row_per_measured_pair(tmp_path: Path) -> None:
    path = write(tmp_path, MATRIX, "kd.tsv")
    readings = read_readings(path, WIDE, format="affinity_matrix", entities=PAIRS)
    assert readings.rows.index.tolist() == [2, 2, 3]
    assert [readings.entities["drug"].names[code] for code in readings.entities["drug"].codes] == [
        "drug1",
        "drug2",
        "drug2",
    ]
    assert readings.arrays["censoring"].tolist() == [0, 1, 0]
    assert np.exp(readings.arrays["y"] / readings.arrays["kT"]) == pytest.approx([12e-9, 1e-5, 5e-7])
    assert len(read_readings(path, WIDE, format="affinity_matrix", entities=PAIRS, measured=False)) == 4


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("-3", r"line 3: variant `Y × drug1`: an affinity must be positive; got -3"),
        ("strong", r"line 3: `drug1` is `strong`; expected a number, a bound"),
        ("3 mg", r"line 3: `drug1` is `3 mg`; .*units are fM"),
    ],
)
def test_a_bad_cell_of_a_matrix_is_named(tmp_path: Path, cell: str, message: str) -> None:
    path = write(tmp_path, MATRIX.replace("Y\t\t", f"Y\t{cell}\t"), "kd.tsv")
    with pytest.raises(FormatError, match=message):
        read_readings(path, WIDE, format="affinity_matrix", entities=PAIRS)


def test_nothing_bound_is_a_bound_at_the_limit_of_the_instrument(tmp_path: Path) -> None:
    path = write(tmp_path, MATRIX.replace("12", "n.b."), "kd.tsv")
    limited = BindingEnergy(complex="bound", relation_column="relation", limit=1e4)
    readings = read_readings(path, limited, format="affinity_matrix", entities=PAIRS)
    assert readings.arrays["censoring"].tolist() == [1, 1, 0]
    assert readings.arrays["y"][0] == readings.arrays["y"][1]
    with pytest.raises(FormatError, match="read by the instrument `affinity`; got Fitness"):
        read_readings(path, FITNESS, format="affinity_matrix", entities=PAIRS)


def test_affinities_of_pairs_keep_their_names(shared: Path) -> None:
    folder = shared / "data"
    drugs = BindingEnergy(
        complex="bound", columns={"value": "Kd_nM"}, unit_of_value="nM", censored_at=10000.0
    )
    path = folder / "davis_kinase" / "affinities.tsv.gz"
    readings = read_readings(
        path, drugs, entities={"drug": "pubchem_cid", "kinase": "kinase"}, duplicates="refuse"
    )
    assert len(readings) == 25046 and len(readings.entities["drug"].names) == 68
    assert (readings.arrays["censoring"] == 1).mean() == pytest.approx(0.7, abs=0.05)
    where = {"domain_seq_align_gapless": {"not": ""}}
    columns = [
        SequenceColumn("domain", "domain_seq_align_gapless", reference=""),
        SequenceColumn("peptide", "pep_seq_10mer_aligned", alphabet="ACDEFGHIKLMNPQRSTVWYy", reference=""),
    ]
    path = folder / "sh2_phosphopeptide" / "affinities.tsv.gz"
    pairs = read_readings(path, FITNESS, sequence=columns, where=where, measured=False)
    assert pairs.sequences["domain"].length == 76 and pairs.sequences["peptide"].length == 10


# Energies written

ENERGIES = pd.DataFrame(
    [
        ("M1A", "fold", 1.0, 0.5, 1.5),
        ("K2L", "fold", 2.0, 1.5, 2.5),
        ("M1A", "bind", -0.5, -1.0, 0.0),
        ("M1A:K2L", "fold", 3.0, 2.0, 4.0),
    ],
    columns=["variant", "term", "value", "lower", "upper"],
)


def test_energies_and_readings_are_features_of_variants(tmp_path: Path) -> None:
    scan = pd.DataFrame(
        {"variant": ["M1A", "wt"], "measured": [0.1, 0.9], "predicted": [0.2, 0.8], "lower": [0.1, 0.7]}
    )
    data = variants.variants_anndata(ENERGIES, {"scan": scan}, units={"scan": "1"})
    assert data.obs_names.tolist() == ["M1A", "K2L", "M1A:K2L", "wt"]
    assert data.var_names.tolist() == ["fold", "bind", "scan measured", "scan predicted"]
    assert data.obs["mutations"].tolist() == [1, 1, 2, 0] and data.obs["position"].tolist() == [1, 2, 0, 0]
    values, lower = data.to_df(), data.to_df("lower")
    assert values.loc["M1A", "fold"] == 1.0 and values.isna().loc["K2L", "bind"]
    assert lower.loc["M1A", "scan predicted"] == 0.1 and lower.isna().loc["M1A", "scan measured"]
    anndata_files.write_h5ad(data, tmp_path / "variants.h5ad")
    import anndata

    again = anndata.read_h5ad(tmp_path / "variants.h5ad")
    assert np.array_equal(np.asarray(again.X), np.asarray(data.X), equal_nan=True)
    assert again.var["unit"].tolist() == ["kcal/mol", "kcal/mol", "1", "1"]


def test_positions_times_residues_hold_single_mutations_and_zero_at_the_wild_type() -> None:
    table = variants.energy_positions(ENERGIES, "fold")
    assert table.index.tolist() == [1, 2] and table["wild_type"].tolist() == ["M", "K"]
    assert table.loc[1, "A"] == 1.0 and table.loc[1, "M"] == 0.0 and table.isna().loc[1, "L"]
    assert variants.energy_positions(ENERGIES, "fold", value="upper").loc[2, "L"] == 2.5
    with pytest.raises(FormatError, match="did you mean `fold`"):
        variants.energy_positions(ENERGIES, "folds")


def test_tables_of_positions_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "energies"
    variants.write_energy_positions(ENERGIES, folder)
    names = [f"{term}{suffix}.tsv" for term in ("bind", "fold") for suffix in ("", "_lower", "_upper")]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert read_table(folder / "fold_lower.tsv").loc[1, "L"] == 1.5
    with pytest.raises(OutputError, match="not empty"):
        variants.write_energy_positions(ENERGIES, folder)
    broken = pd.concat([ENERGIES, ENERGIES.replace("M1A", "K1L")])
    with pytest.raises(FormatError, match="position 1 has two residues"):
        variants.write_energy_positions(broken, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_variant_that_occurs_twice_is_refused() -> None:
    with pytest.raises(FormatError, match="variant `M1A` has `fold` twice"):
        variants.variants_anndata(pd.concat([ENERGIES, ENERGIES]))
