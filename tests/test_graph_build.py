"""Graphs from tables of edges, of ligands and receptors, and of gene sets."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multiscale.errors import GraphError
from multiscale.graph import (
    GeneSet,
    Graph,
    add_gene_sets,
    add_transcripts,
    check,
    conserved_moieties,
    energy_matrix,
    formula,
    graph_from_edges,
    graph_from_ligand_receptor,
    pair_complexes,
    pair_units,
    read_cellphonedb,
    read_edges,
    read_gmt,
    stoichiometric_matrix,
)

SIGNED = pd.DataFrame({"source": ["A", "B", "C"], "target": ["B", "C", "C"], "weight": [2.0, -0.5, 1.0]})


def ends(graph: Graph, relation: str) -> set[tuple[str, str]]:
    table = graph.edges[relation]
    return set(zip(table["source"], table["target"], strict=True))


def test_signed_edges_become_catalysed_modification_cycles() -> None:
    graph = graph_from_edges(SIGNED)
    assert graph.species == ["A", "B", "C", "B*", "C*"]
    assert ends(graph, "subunit") == {("B", "B*"), ("C", "C*")}
    assert {("B", "A activates B"), ("C*", "B inhibits C"), ("B", "B modification")} <= ends(
        graph, "reactant"
    )
    assert {("A activates B", "B*"), ("B inhibits C", "C")} <= ends(graph, "product")
    catalysts = {("A", "A activates B"), ("B*", "B inhibits C"), ("C*", "C activates C")}
    assert ends(graph, "modifier") == catalysts


def test_the_size_of_a_weight_is_the_median_of_its_rate() -> None:
    parameters = graph_from_edges(SIGNED).parameters
    assert parameters.loc["k_B_C", "nominalValue"] == 0.5
    mean, _ = str(parameters["objectivePriorParameters"]["k_B_C"]).split(";")
    assert math.isclose(float(mean), math.log(0.5), rel_tol=1e-5)
    assert parameters["note"].str.startswith("assumed").all()


def test_modification_keeps_the_total_of_every_molecule() -> None:
    graph = graph_from_edges(SIGNED)
    moieties = conserved_moieties(stoichiometric_matrix(graph))
    assert sorted(moieties.tolist()) == sorted(np.hstack([np.eye(3, dtype=int), formula(graph)]).tolist())


@pytest.mark.parametrize("column", ["weight", "mor", "sign", "interaction"])
def test_columns_of_several_resources_state_the_sign(column: str) -> None:
    graph = graph_from_edges(SIGNED.rename(columns={"weight": column}))
    assert graph.equals(graph_from_edges(SIGNED))


def test_omnipath_flags_are_signs(caplog: pytest.LogCaptureFixture) -> None:
    table = pd.DataFrame(
        {
            "source_genesymbol": ["A", "B", "C"],
            "target_genesymbol": ["B", "C", "A"],
            "is_stimulation": [1, 1, 0],
            "is_inhibition": [0, 1, 0],
        }
    )
    with caplog.at_level(logging.WARNING, logger="multiscale"):
        graph = graph_from_edges(table, source="source_genesymbol", target="target_genesymbol")
    catalysed = ends(graph, "modifier")
    assert {name for _, name in catalysed} == {"A activates B", "B activates C", "B inhibits C"}
    assert "1 edges without a sign" in caplog.text


def test_members_of_pathways_have_sign_and_weight() -> None:
    graph = graph_from_edges(SIGNED.assign(source=["p", "p", "q"]), kind="member")
    assert graph.nodes["pathway"].index.tolist() == ["p", "q"]
    assert graph.edges["member"][["source", "target", "sign", "weight"]].to_numpy().tolist() == [
        ["B", "p", 1, 2.0],
        ["C", "p", -1, 0.5],
        ["C", "q", 1, 1.0],
    ]


def test_wrong_tables_of_edges_name_rows_and_columns() -> None:
    with pytest.raises(GraphError, match=r"row 0: `A` → `B` with weight `0\.0`"):
        graph_from_edges(SIGNED.assign(weight=[0.0, 1.0, 1.0]))
    with pytest.raises(GraphError, match="2 problems"):
        graph_from_edges(SIGNED.assign(weight=["x", "", "1.0"]))
    with pytest.raises(GraphError, match="`source` is missing; did you mean `sources`"):
        graph_from_edges(SIGNED.rename(columns={"source": "sources"}))
    with pytest.raises(GraphError, match="no column states the sign"):
        graph_from_edges(SIGNED.drop(columns="weight"))
    with pytest.raises(GraphError, match="no signed edges"):
        graph_from_edges(SIGNED.iloc[:0])
    with pytest.raises(GraphError, match="`kind` = `signd`"):
        graph_from_edges(SIGNED, kind="signd")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["net.csv", "net.tsv", "net.csv.gz"])
def test_edges_are_read_from_files(tmp_path: Path, name: str) -> None:
    SIGNED.to_csv(tmp_path / name, sep="," if ".csv" in name else "\t", index=False)
    graph = read_edges(tmp_path / name)
    assert graph.name == "net" and len(graph.nodes["reaction"]) == 5
    with pytest.raises(GraphError, match="no such file"):
        read_edges(tmp_path / "missing.csv")


def test_a_pair_of_complexes_meets_as_whole_units() -> None:
    graph = graph_from_ligand_receptor(pd.DataFrame({"ligand": ["L_L", "M"], "receptor": ["R_S", "R_S"]}))
    units = pair_units(graph)
    assert units[["complex", "unit", "count"]].to_numpy().tolist() == [
        ["L_L:R_S", "L_L", 1],
        ["L_L:R_S", "R_S", 1],
        ["M:R_S", "M", 1],
        ["M:R_S", "R_S", 1],
    ]
    assert pair_complexes(graph) == ["L_L:R_S", "M:R_S"]


def test_a_pair_has_the_energies_of_its_units_and_one_of_its_own() -> None:
    graph = graph_from_ligand_receptor(pd.DataFrame({"ligand": ["L"], "receptor": ["R_S_T"]}))
    E, terms = energy_matrix(graph)
    assert terms == ["g_R_S_T", "g_L_R_S_T"]
    assert E[4:].tolist() == [[2, 0], [2, 1]]
    assert graph.parameters.loc[terms, "note"].str.startswith("assumed").all()


def test_names_of_complexes_may_come_in_any_order_or_from_a_table() -> None:
    table = pd.DataFrame({"ligand_complex": ["L", "L", "C4_2"], "receptor_complex": ["A_B", "B_A", "trimer"]})
    graph = graph_from_ligand_receptor(table, complexes={"trimer": {"A": 2, "B": 1}})
    assert graph.complexes == ["A_B", "trimer", "L:A_B", "C4_2:trimer"]
    assert graph.molecules == ["L", "A", "B", "C4_2"]


def test_secreted_ligands_act_from_solution_unless_their_receptor_also_touches_membranes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = pd.DataFrame({"ligand": ["S1", "S2", "M"], "receptor": ["R", "Q", "Q"]})
    with caplog.at_level(logging.WARNING, logger="multiscale"):
        graph = graph_from_ligand_receptor(table, secreted=["S1", "S2"])
    place = graph.nodes["complex"]["compartment"].to_dict()
    assert place == {"S1:R": "soluble", "S2:Q": "contact", "M:Q": "contact"}
    assert "1 pairs of secreted ligands lie in `contact`" in caplog.text
    assert "secreted" in str(graph.nodes["complex"]["note"]["S2:Q"])


def test_one_molecule_may_meet_itself() -> None:
    graph = graph_from_ligand_receptor(pd.DataFrame({"ligand": ["A"], "receptor": ["A"]}))
    assert pair_units(graph)["unit"].tolist() == ["A", "A"]


def test_wrong_tables_of_ligands_are_refused() -> None:
    with pytest.raises(GraphError, match="columns `ligand` and `receptor`"):
        graph_from_ligand_receptor(pd.DataFrame({"a": ["L"]}))
    with pytest.raises(GraphError, match="row 1: `receptor` is empty"):
        graph_from_ligand_receptor(pd.DataFrame({"ligand": ["L", "L"], "receptor": ["R", None]}))
    table = pd.DataFrame({"ligand": ["L"], "receptor": ["R"], "resource": ["consensus"]})
    with pytest.raises(GraphError, match="did you mean `consensus`"):
        graph_from_ligand_receptor(table, resource="consensu")


def test_transcripts_are_added_once(small_graph: Graph) -> None:
    assert add_transcripts(small_graph).equals(small_graph)
    graph = add_transcripts(graph_from_ligand_receptor(pd.DataFrame({"ligand": ["L"], "receptor": ["R"]})))
    check(graph)
    assert ends(graph, "encodes") == {("L_mRNA", "L"), ("R_mRNA", "R")}
    assert graph.nodes["molecule"].at["L_mRNA", "kind"] == "transcript"
    assert graph.nodes["molecule"].at["L_mRNA", "identifier"] == "L"


def test_gene_sets_become_pathways_of_proteins(tmp_path: Path, small_graph: Graph) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text("first\tR-1\tA\tC\tX\nsecond\tR-2\tB\n\nthird\tR-3\tX\tY\n")
    graph = add_gene_sets(small_graph, path)
    assert ends(graph, "member") - ends(small_graph, "member") == {
        ("A", "first"),
        ("C", "first"),
        ("B", "second"),
    }
    assert graph.nodes["pathway"].loc["first", "identifier"] == "R-1"
    assert add_gene_sets(small_graph, path, min_members=2).nodes["pathway"].index.tolist() == [
        "signal",
        "first",
    ]


def test_wrong_gene_sets_are_refused(tmp_path: Path, small_graph: Graph) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text("one\tdescription\tA\nonly a name\n")
    with pytest.raises(GraphError, match=r"line 2: needs a name, a description and members"):
        read_gmt(path)
    with pytest.raises(GraphError, match="none of 1 gene sets has 1 members"):
        add_gene_sets(small_graph, [GeneSet("x", "", ("Z",))])
    with pytest.raises(GraphError, match="name `signal` is used 2 times"):
        add_gene_sets(small_graph, [GeneSet("signal", "", ("A",))])


def test_the_consensus_of_ligands_and_receptors_is_read(shared: Path) -> None:
    table = pd.read_csv(shared / "data/priors/ligand_receptor_omni.csv.gz")
    graph = graph_from_ligand_receptor(table, "consensus", resource="consensus")
    rows = table[table["resource"] == "consensus"]
    parts = rows[["source", "target"]].to_numpy().ravel()
    proteins = {code for part in parts for code in part.removeprefix("COMPLEX:").split("_")}
    assert len(graph.molecules) == pytest.approx(len(proteins), abs=5)  # a few symbols share an accession
    assert len(pair_complexes(graph)) == len(rows.drop_duplicates(["source", "target"]))


def test_genes_whose_symbol_has_an_underscore_stay_whole(shared: Path) -> None:
    table = pd.read_csv(shared / "data/priors/ligand_receptor_omni.csv.gz")
    graph = graph_from_ligand_receptor(table, resource="celltalkdb")
    assert "C4B_2" in graph.molecules and "C4B_2:CR1" in pair_complexes(graph)


def test_cellphonedb_is_read_with_stoichiometry_and_secretion(shared: Path) -> None:
    tables = read_cellphonedb(shared / "data/priors/cellphonedb")
    assert tables.complexes["IL23"] == {"IL12B": 1, "IL23A": 1}
    assert tables.complexes["integrin_aVb3_complex"] == {"ITGAV": 1, "ITGB3": 1}
    assert {"IL12", "IL7", "CXCL12"} <= tables.secreted and "CD40LG" not in tables.secreted
    graph = graph_from_ligand_receptor(tables.pairs, complexes=tables.complexes, secreted=tables.secreted)
    units = pair_units(graph)
    assert len(pair_complexes(graph)) > 1800
    assert set(units.loc[units["complex"] == "IL15:IL15_receptor", "unit"]) == {"IL15", "IL15_receptor"}


def test_a_signed_network_of_thousands_of_genes_is_read(shared: Path) -> None:
    table = pd.read_csv(shared / "data/priors/cosmos_meta_network.csv.gz").head(5000)
    graph = graph_from_edges(table)
    unique = table.drop_duplicates(["source", "target", "interaction"])
    assert len(graph.nodes["reaction"]) == len(unique) + table["target"].nunique()
