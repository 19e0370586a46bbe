"""Networks of the data sets of single cells: what their rows claim, and what they do when they are solved."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import multiscale as ms
from multiscale.model.network import Network
from multiscale.model.sums import read_sum

ROOT = Path(__file__).parents[1] / "graphs"


def table(graph: str, file: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / graph / file, sep="\t", dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def shared() -> Path:
    folder = os.environ.get("MULTISCALE_DATA", "")
    if not folder:
        pytest.skip("MULTISCALE_DATA does not name the folder with data/")
    return Path(folder) / "data"


@pytest.fixture(scope="module")
def signalling() -> ms.Graph:
    return ms.read_graph("bcr_signalling")


@pytest.fixture(scope="module")
def receptors() -> ms.Graph:
    return ms.read_graph("surface_receptors")


def panel(folder: Path, name: str) -> anndata.AnnData:
    """A file of an older anndata, which says so in warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return anndata.read_h5ad(folder / "citeseq_pbmc" / f"{name}.h5ad")


def rest(graph: ms.Graph, **totals: float) -> dict[str, np.ndarray]:
    """Concentrations at rest of every species, without and with the input, at the centre of the priors."""
    set_ = {"BCRXL": [0.0, 1.0]} | {name: [value] * 2 for name, value in totals.items()}
    found = ms.simulate(graph, set=set_, regime="steady_state")
    assert [status <= ms.Status.ROUNDING for status in found.status] == [True, True]
    return dict(zip(found.species, found.x[:, 0].T.numpy(), strict=True))


def surface(graph: ms.Graph, **absent: float) -> dict[str, float]:
    """Part of every molecule that is at the surface when all totals are 0.1 µM, but for some."""
    network = Network.from_graph(graph)
    totals = np.array([absent.get(name, 0.1) for name in network.molecules])
    terms = graph.parameters.loc[network.terms, "nominalValue"].to_numpy()
    kT = 0.0019872 * 310.15  # kcal/mol
    subunits = network.formula.sum(0)
    ln_weight = np.log(network.statistical_factor) - network.term_counts @ terms / kT
    ln_weight += (1 - subunits) * np.log(1e6)  # µM in 1 M
    solved = ms.equilibrium(network.formula, ln_weight, totals)
    assert bool(solved.solved)
    at_surface = (network.formula * network.surface) @ solved.x.numpy() / 0.1
    return dict(zip(network.molecules, at_surface.tolist(), strict=True))


def test_stimulation_raises_every_marker_at_the_centre_of_the_priors(signalling):
    found = rest(signalling)
    markers = table("bcr_signalling", "markers.tsv")
    read = [target for target in markers["target"] if "+" not in target]
    assert len(read) == 14
    assert all(found[name][1] > 1.2 * found[name][0] for name in read)


def test_a_cell_without_receptors_does_not_respond(signalling):
    found = rest(signalling, BCR=1e-4, FcR=1e-4)
    states = [name for name in found if name.endswith("*") and name not in ("BCR*", "FcR*")]
    assert len(states) == 18
    for name in states:
        np.testing.assert_allclose(found[name][1], found[name][0], rtol=0.01)


def test_states_of_a_protein_add_up_to_its_total(signalling):
    found = rest(signalling, Syk=2.5)
    np.testing.assert_allclose(found["Syk"] + found["Syk*"], 2.5, rtol=1e-9)


def test_every_catalysed_reaction_names_its_source_and_two_of_them_inhibit(signalling):
    edges = signalling.edges["modifier"]
    catalysed = signalling.nodes["reaction"].loc[edges["target"]]
    assert (catalysed["reference"] != "").all() and (edges["reference"] != "").all()
    assert {name for name in catalysed.index if "inhibits" in name} == {
        "PKC inhibits Btk",
        "Lyn inhibits Akt",
    }


@pytest.mark.parametrize(
    ("name", "file"), [("bcr_signalling", "markers.tsv"), ("surface_receptors", "antibodies.tsv")]
)
def test_what_a_marker_reads_is_in_the_graph(name, file):
    species = ms.read_graph(name).species
    rows = table(name, file)
    assert (rows["reference"] != "").all()
    assert all(read_sum(target, species) for target in rows["target"] if target)


def test_every_marker_of_a_state_is_read(shared):
    channels = pd.read_csv(shared / "cytof_bcr" / "catalyst_PBMC_panel.csv").set_index("antigen")
    rows = table("bcr_signalling", "markers.tsv").set_index("marker")["channel"]
    assert set(channels.index[channels["marker_class"] == "state"]) < set(rows.index)
    assert (channels.loc[rows.index, "fcs_colname"] == rows).all()


def test_every_antibody_of_the_panels_has_a_row(shared):
    rows = table("surface_receptors", "antibodies.tsv").groupby("panel")["antibody"].agg(list)
    names = (shared / "eccite_pbmc" / "citefuse_ecciteseq_ADT_features.txt").read_text().splitlines()
    assert rows["citefuse_ecciteseq"] == [name.strip('"') for name in names]
    for name in ("pbmc_5k_protein_v3", "pbmc_10k_protein_v3"):
        assert rows[name] == list(panel(shared, name).uns["protein_names"])


def test_transcripts_are_called_as_in_the_data(shared, receptors):
    data = panel(shared, "pbmc_5k_protein_v3")
    molecules = receptors.nodes["molecule"]
    symbols = molecules.loc[molecules["kind"] == "transcript", "identifier"]
    missing = set(symbols) - set(data.var_names)
    assert missing == {"CD34", "CEACAM8", "EPCAM", "SDC1", "SIGLEC8"}  # not seen in these cells


def test_stoichiometry_is_that_of_Complex_Portal(shared, receptors):
    genes = pd.read_csv(shared / "priors" / "cellphonedb" / "gene_input.csv.gz").drop_duplicates("uniprot")
    symbol = genes.set_index("uniprot")["hgnc_symbol"]
    portal = pd.read_csv(shared / "priors" / "complex_portal_human.tsv.gz", sep="\t", index_col=0).iloc[:, 3]
    complexes, edges = receptors.nodes["complex"], receptors.edges["subunit"]
    cited = complexes[complexes["reference"].str.startswith("Complex Portal")]
    assert len(cited) == 4
    for name, reference in cited["reference"].items():
        parts = [part.rstrip(")").split("(") for part in portal[reference.split()[-1]].split("|")]
        mine = edges[edges["target"] == name].set_index("source")["stoichiometry"]
        assert Counter(mine.to_dict()) == Counter({symbol[part]: int(count) for part, count in parts})


def test_every_complex_and_every_prior_says_where_it_comes_from(receptors):
    complexes = receptors.nodes["complex"]
    assert (complexes["reference"] != "").all()
    assert ((complexes["doi"] != "") | complexes["note"].str.contains("doi")).all()
    assert receptors.parameters["note"].str.contains("assumption").all()


def test_a_receptor_stays_inside_without_one_of_its_chains(receptors):
    whole = surface(receptors)
    assert all(whole[name] > 0.05 for name in ("CD3E", "CD3D", "HLA-A", "CD19", "ITGAM"))
    assert surface(receptors, CD247=0.0)["CD3E"] == 0
    assert surface(receptors, B2M=0.0)["HLA-A"] == 0
    assert surface(receptors, ITGB2=0.0)["ITGAM"] == 0


def test_chains_that_share_a_partner_compete_for_it(receptors):
    both, alone = surface(receptors), surface(receptors, **{"HLA-B": 0.0, "HLA-C": 0.0, "CD1A": 0.0})
    assert both["HLA-A"] < 0.5 * alone["HLA-A"]
    assert both["HLA-A"] == pytest.approx(both["HLA-B"]) == pytest.approx(both["HLA-C"])


def test_two_epsilon_chains_go_with_every_T_cell_receptor(receptors):
    found = surface(receptors)
    receptor = found["TRAC"] + found["TRDC"]
    np.testing.assert_allclose(found["CD3E"], 2 * receptor, rtol=1e-9)
    np.testing.assert_allclose(found["CD3G"], receptor, rtol=1e-9)
