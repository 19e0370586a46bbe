"""Content of the repository: facts are complete, cited, and fit the graph and the AnnData they belong to."""

from __future__ import annotations

import csv
import hashlib
import math
import tomllib
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

Row = dict[str, str]

ROOT = Path(__file__).parents[1]
GRAPH = ROOT / "graphs" / "pbmc_surface"
TABLES = {
    "pbmc_affinities": "affinities.tsv",
    "pbmc_proteome": "copies.tsv",
    "pbmc_surface_antibodies": "antibodies.tsv",
    "blood_cell_geometry": "cells.tsv",
}
FOLDERS = [GRAPH, *(ROOT / "datasets" / name for name in TABLES)]


def read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def card(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "card.toml").read_text(encoding="utf-8"))


def table(name: str) -> list[Row]:
    return read(ROOT / "datasets" / name / TABLES[name])


NODES = {row["name"]: row for row in read(GRAPH / "nodes.tsv")}
EDGES = read(GRAPH / "edges.tsv")
PARAMETERS = read(GRAPH / "parameters.tsv")
COMPLEXES = [row for row in NODES.values() if row["type"] == "complex"]
SUBUNITS = [row for row in EDGES if row["relation"] == "subunit"]
MEMBERS = [row for row in EDGES if row["relation"] == "member"]
PAIRS = {row["target"] for row in SUBUNITS if row["side"]}


def names(**wanted: str) -> set[str]:
    return {name for name, row in NODES.items() if wanted.items() <= row.items()}


def composition(name: str, side: str | None = None) -> Counter[str]:
    parts = [row for row in SUBUNITS if row["target"] == name and side in (None, row["side"])]
    return Counter({row["source"]: int(row["stoichiometry"]) for row in parts} or {name: 1})


@pytest.fixture(scope="module")
def blood() -> Any:
    """The AnnData inside scanpy; its file is older than today's anndata, which says so in warnings."""
    scanpy = pytest.importorskip("scanpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return scanpy.datasets.pbmc68k_reduced()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_card_names_its_sources_and_the_hashes_of_measured_tables(folder: Path):
    content = card(folder)
    assert (content["name"], content["format_version"], content["licence"]) == (folder.name, 1, "facts")
    assert content["title"] and content["sources"]
    for name, file in content.get("files", {}).items():
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert found == file["sha256"], f"{name} changed: write its sha256 into card.toml"


@pytest.mark.parametrize("name", TABLES)
def test_card_explains_every_column_of_the_table(name: str):
    file = card(ROOT / "datasets" / name)["files"][TABLES[name]]
    assert list(table(name)[0]) == list(file["columns"])
    assert len(table(name)) == file["rows"]


@pytest.mark.parametrize("name", TABLES)
def test_every_measured_row_has_a_reference_and_a_doi_or_says_why_not(name: str):
    for row in table(name):
        assert row["reference"], row["id"]
        assert row["doi"] or "doi" in row["note"], row["id"]


def test_every_complex_has_a_reference_and_a_doi_or_says_why_not():
    for row in COMPLEXES:
        assert row["reference"], row["name"]
        assert row["doi"] or "doi" in row["note"], row["name"]


def test_every_prior_is_called_an_assumption_and_so_is_the_width_of_a_cited_one():
    assert all("assumption" in row["note"] for row in PARAMETERS)
    cited = {row["parameterId"] for row in PARAMETERS if row["role"] == "energy" and row["reference"]}
    assert cited == {"g_LCK_CD8A_over_CD4", "g_LAG3_DR"}


def test_the_prior_of_the_cd8_clasp_is_the_published_ratio_of_stabilities():
    row = next(row for row in PARAMETERS if row["parameterId"] == "g_LCK_CD8A_over_CD4")
    mean, _ = row["objectivePriorParameters"].split(";")
    assert float(mean) == pytest.approx(-0.5925 * math.log(22 / 11), abs=0.005)  # kT at 298.15 K, kcal/mol


def test_complexes_without_a_measurement_are_flagged():
    assert {row["evidence"] for row in COMPLEXES} == {"measured", "obligate", "inferred"}
    assert names(evidence="measured") == {row["complex"] for row in table("pbmc_affinities")}


@pytest.mark.parametrize("row", table("pbmc_affinities"), ids=lambda row: row["id"])
def test_parts_of_an_affinity_exist_and_add_up_to_its_complex(row: Row):
    whole = composition(row["complex"])
    parts = row["parts"].split(";") if row["parts"] else list(whole)
    assert {row["complex"], *parts} <= set(NODES)
    assert sum((composition(part) for part in parts), Counter()) == whole


def test_one_pair_in_three_formats_spans_its_published_range():
    rows = [row for row in table("pbmc_affinities") if row["complex"] == "BAFF:BCMA"]
    nM = {row["format"]: float(row["value"]) * {"nM": 1, "uM": 1000}[row["unit"]] for row in rows}
    assert nM == {"monovalent": 1600, "bivalent_Fc": 0.63, "cell_surface": 0.22}


def test_energy_terms_and_losses_of_complexes_are_parameters():
    terms = {term.split("*")[0] for row in COMPLEXES for term in row["energy"].split(";")}
    losses = {row["orphan"] for row in COMPLEXES} - {""}
    assert terms == {row["parameterId"] for row in PARAMETERS if row["role"] == "energy"}
    assert losses == {row["parameterId"] for row in PARAMETERS if row["role"] == "loss"}


def test_statistical_factors_are_one_half_for_twofold_symmetric_assemblies_only():
    half = {row["name"] for row in COMPLEXES if float(row["statistical_factor"]) != 1}
    dimers = {"CD247(2)", "FCER1G(2)", "LAG3(2)", "S100A8(2)", "S100A9(2)"}
    assert half == dimers | {"(S100A8:S100A9)2", "LAG3(2):(HLA-DR)2"}
    assert all(float(NODES[name]["statistical_factor"]) == 0.5 for name in half)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_each_side_of_a_pair_is_a_multiple_of_one_species_of_one_cell(name: str):
    formulas = [composition(s) for s in names(type="molecule") | names(type="complex") - PAIRS]
    for side in ("sender", "receiver"):
        part = composition(name, side)
        assert any(part == Counter({m: n * k for m, n in f.items()}) for f in formulas for k in (1, 2, 3))


def test_every_molecule_and_complex_lives_in_a_compartment_of_the_card():
    compartments = card(GRAPH)["compartments"]
    used = {row["compartment"] for row in NODES.values() if row["type"] in ("molecule", "complex")}
    assert used == set(compartments)
    assert {c["geometry"] for c in compartments.values()} == {"membrane", "volume", "contact", "soluble"}


def test_every_protein_has_one_transcript():
    encodes = {row["target"]: row["source"] for row in EDGES if row["relation"] == "encodes"}
    assert encodes == {name: f"{name}.rna" for name in names(kind="protein")}


def test_every_pathway_reads_a_complex_and_is_a_reactome_pathway():
    assert all(NODES[name]["identifier"].startswith("R-HSA-") for name in names(type="pathway"))
    reading = {row["target"] for row in MEMBERS if NODES[row["source"]]["type"] == "complex"}
    assert reading == names(type="pathway")


@pytest.mark.parametrize("pathway", sorted(names(type="pathway")))
def test_a_pathway_lies_within_cells_or_between_them(pathway: str):
    members = [row["source"] for row in MEMBERS if row["target"] == pathway]
    assert len({name in PAIRS for name in members}) == 1


def test_proteome_has_66_proteins_in_16_populations_of_which_813_were_detected():
    rows = table("pbmc_proteome")
    assert len(rows) == len({(row["molecule"], row["population"]) for row in rows}) == 1056 == 66 * 16
    assert len({row["molecule"] for row in rows}) == 66
    assert sum(row["detected"] == "yes" for row in rows) == 813
    assert all((row["value"] == "") == (row["detected"] == "no") for row in rows)
    assert {row["molecule"] for row in rows} <= names(kind="protein")


def test_each_population_belongs_to_one_label():
    labels = {(row["population"], row["context"]) for row in table("pbmc_proteome")}
    assert len(labels) == 16
    assert len({context for _, context in labels}) == 9  # no sorted population stands for CD34+


def test_antibodies_read_molecules_with_a_form_on_the_membrane():
    for molecule in {row["molecule"] for row in table("pbmc_surface_antibodies")}:
        forms = {row["target"] for row in SUBUNITS if row["source"] == molecule} - PAIRS | {molecule}
        assert "surface" in {NODES[name]["compartment"] for name in forms}


@pytest.mark.parametrize("row", table("blood_cell_geometry"), ids=lambda row: row["context"])
def test_surface_is_that_of_a_sphere_of_the_published_volume(row: Row):
    radius = (3 * float(row["volume_fL"]) / (4 * math.pi)) ** (1 / 3)
    assert float(row["surface_um2"]) == pytest.approx(4 * math.pi * radius**2, abs=0.05)


@pytest.mark.parametrize("name", ["pbmc_proteome", "pbmc_surface_antibodies", "blood_cell_geometry"])
def test_contexts_are_labels_of_the_anndata(name: str, blood: Any):
    labels = set(blood.obs["bulk_labels"].cat.categories)
    contexts = {row["context"] for row in table(name)}
    assert contexts <= labels
    assert name != "blood_cell_geometry" or contexts == labels


def test_transcripts_are_measured_in_the_anndata(blood: Any):
    identifiers = [row["identifier"] for row in NODES.values() if row["kind"] == "transcript"]
    assert len(set(identifiers)) == len(identifiers) == 96
    assert set(identifiers) <= set(blood.raw.var_names)
