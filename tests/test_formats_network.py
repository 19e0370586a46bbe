"""Networks in files: what is written is read back, by this library and by others."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from multiscale import formats
from multiscale.errors import FormatError, OutputError
from multiscale.formats import cx2, cyjs, graphml, sif
from multiscale.formats.layout import layers, positions
from multiscale.graph import Graph

ODD = "R \"<b>&µ' x"  # markup, quotes, blanks and more than ASCII in a name
READERS = {"graphml": graphml.read, "cx2": cx2.read, "cyjs": cyjs.read}


@pytest.fixture
def graph() -> Graph:
    """A gene, its protein, a receptor with an odd name, their complex, a pathway, and a lone metabolite."""
    molecules = {"name": ["L.rna", "L", ODD, "M"], "kind": ["transcript", "protein", "protein", "metabolite"]}
    complexes = {"name": ["C"], "energy": ["g_C"], "statistical_factor": [0.5]}
    parameters = {"parameterId": ["g_C"], "nominalValue": [-10.1], "unit": ["kcal/mol"], "role": ["energy"]}
    return Graph.from_tables(
        "small",
        {
            k: pd.DataFrame(v)
            for k, v in (("molecule", molecules), ("complex", complexes), ("pathway", {"name": ["P"]}))
        },
        {
            "encodes": pd.DataFrame({"source": ["L.rna"], "target": ["L"]}),
            "subunit": pd.DataFrame({"source": ["L", ODD], "target": ["C", "C"], "stoichiometry": [2, 1]}),
            "member": pd.DataFrame({"source": ["C"], "target": ["P"], "sign": [-1], "weight": [0.25]}),
        },
        pd.DataFrame(parameters),
        {"title": "Small & <odd>", "compartments": {"all": {"geometry": "volume", "volume_fraction": 1.0}}},
    )


@pytest.fixture
def values() -> dict[str, pd.DataFrame]:
    return {
        "molecule": pd.DataFrame(
            {"ln_copies": [1 / 3, -2e-300], "detected": [True, False]}, index=["L", ODD]
        ),
        "complex": pd.DataFrame(
            {"Kd_uM": [0.1], "lower": [0.03], "upper": [0.4], "sd": [0.5], "remark": ["tight"]}, index=["C"]
        ),
        "subunit": pd.DataFrame({"share": [0.7], "share_lower": [0.2]}, index=[1]),
    }


@pytest.mark.parametrize("suffix", READERS)
def test_a_graph_with_learned_values_comes_back_as_it_was(graph, values, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"network.{suffix}"
    formats.export(graph, path, values, {"seed": 1, "loss": float("nan")})
    network = READERS[suffix](path)
    assert network.graph.equals(graph)
    assert network.graph.hash() == graph.hash()
    assert network.meta == {"seed": 1, "loss": None}
    for name, table in values.items():
        pd.testing.assert_frame_equal(network.values[name], table, check_names=False, check_index_type=False)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_networkx_reads_names_types_and_values_of_the_graphml(graph, values, tmp_path: Path) -> None:
    formats.export(graph, tmp_path / "n.graphml", values)
    network = nx.read_graphml(tmp_path / "n.graphml", force_multigraph=True)
    assert set(network) == {"L.rna", "L", ODD, "M", "C", "P"}
    assert network.nodes[ODD] == {
        "name": ODD,
        "type": "molecule",
        "kind": "protein",
        "identifier": ODD,
        "ln_copies": -2e-300,
        "detected": False,
    }
    assert [network.nodes["C"][key] for key in ("Kd_uM", "lower", "upper", "sd")] == [0.1, 0.03, 0.4, 0.5]
    assert network.edges["L", "C", "e0"]["stoichiometry"] == 2
    assert network.edges[ODD, "C", "e1"]["share_lower"] == 0.2


def test_igraph_reads_values_and_intervals_of_the_graphml(graph, values, tmp_path: Path) -> None:
    import igraph

    formats.export(graph, tmp_path / "n.graphml", values)
    network = igraph.Graph.Read_GraphML(str(tmp_path / "n.graphml"))
    node = network.vs.find(name="C")
    assert [node[key] for key in ("Kd_uM", "lower", "upper", "sd", "remark")] == [
        0.1,
        0.03,
        0.4,
        0.5,
        "tight",
    ]
    edge = network.es[network.get_eid(network.vs.find(name=ODD).index, node.index)]
    assert (edge["relation"], edge["share"], edge["share_lower"]) == ("subunit", 0.7, 0.2)


def test_networkx_reads_names_values_and_intervals_of_the_cyjs(graph, values, tmp_path: Path) -> None:
    formats.export(graph, tmp_path / "n.cyjs", values)
    content = json.loads((tmp_path / "n.cyjs").read_text(encoding="utf-8"))
    network = nx.cytoscape_graph(content)
    assert isinstance(network, nx.MultiDiGraph)
    assert set(network) == {"L.rna", "L", ODD, "M", "C", "P"}
    assert [network.nodes["C"][key] for key in ("Kd_uM", "lower", "upper", "sd")] == [0.1, 0.03, 0.4, 0.5]
    assert network.edges[ODD, "C", "e1"]["share"] == 0.7
    places = {tuple(node["position"].values()) for node in content["elements"]["nodes"]}
    assert len(places) == len(network)


def test_ids_of_the_cyjs_are_distinct_whatever_nodes_are_called(tmp_path: Path) -> None:
    """Nodes and edges of cytoscape.js share one space of ids."""
    nodes = {"molecule": pd.DataFrame({"name": ["e0", "e_1"]}), "complex": pd.DataFrame({"name": ["C"]})}
    edges = {"subunit": pd.DataFrame({"source": ["e0", "e_1"], "target": "C"})}
    graph = Graph.from_tables("ids", nodes, edges)
    formats.export(graph, tmp_path / "n.cyjs")
    elements = json.loads((tmp_path / "n.cyjs").read_text())["elements"]
    ids = [item["data"]["id"] for item in elements["nodes"] + elements["edges"]]
    assert len(set(ids)) == len(ids) == 5
    assert cyjs.read(tmp_path / "n.cyjs").graph.equals(graph)


def test_a_cyjs_that_cytoscape_saved_again_is_read(graph, values, tmp_path: Path) -> None:
    """Cytoscape gives nodes numbers as ids, adds attributes of its own, and keeps no order of edges."""
    path = tmp_path / "n.cyjs"
    formats.export(graph, path, values)
    content = json.loads(path.read_text(encoding="utf-8"))
    elements = content["elements"]
    numbers = {node["data"]["id"]: str(100 + i) for i, node in enumerate(elements["nodes"])}
    for node in elements["nodes"]:
        node["data"] |= {"id": numbers[node["data"]["id"]], "SUID": 7, "selected": False}
    for edge in elements["edges"]:
        edge["data"] |= {end: numbers[edge["data"][end]] for end in ("source", "target")} | {"id": "9"}
    elements["edges"].reverse()
    path.write_text(json.dumps(content), encoding="utf-8")
    network = cyjs.read(path)
    assert network.graph.equals(graph)
    pd.testing.assert_frame_equal(network.values["complex"], values["complex"], check_names=False)


def test_cyjs_of_another_program_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "n.cyjs").write_text(json.dumps(nx.cytoscape_data(nx.path_graph(3))))
    with pytest.raises(FormatError, match="another program wrote it; read it with networkx"):
        cyjs.read(tmp_path / "n.cyjs")


def test_ndex_reads_names_types_values_and_positions_of_the_cx2(graph, values, tmp_path: Path) -> None:
    from ndex2.cx2 import CX2NetworkXFactory, RawCX2NetworkFactory

    formats.export(graph, tmp_path / "n.cx2", values)
    raw = RawCX2NetworkFactory().get_cx2network(str(tmp_path / "n.cx2"))
    nodes = {node["v"]["name"]: node for node in raw.get_nodes().values()}
    assert nodes[ODD]["v"]["ln_copies"] == -2e-300
    assert nodes["C"]["v"]["type"] == "complex"
    assert [nodes["C"]["v"][key] for key in ("Kd_uM", "lower", "upper", "sd")] == [0.1, 0.03, 0.4, 0.5]
    assert {edge["v"].get("share_lower") for edge in raw.get_edges().values()} == {0.2, None}
    assert len({(node["x"], node["y"]) for node in nodes.values()}) == len(nodes)
    network = CX2NetworkXFactory().get_graph(raw, networkx_graph=nx.MultiDiGraph())
    assert network.number_of_edges() == 4


def test_ndex_reads_the_sif(graph, tmp_path: Path) -> None:
    from ndex2.cx2 import SIFToCX2NetworkFactory

    formats.export(graph, tmp_path / "n.sif")
    network = SIFToCX2NetworkFactory().get_cx2network(str(tmp_path / "n.sif"))
    names = {node["v"]["name"] for node in network.get_nodes().values()}
    assert {"L.rna", "L", ODD, "C", "P"} <= names
    assert len(network.get_edges()) == 4


def test_sif_comes_back_with_the_lone_node_and_says_what_it_lost(
    graph, values, tmp_path: Path, caplog
) -> None:
    with caplog.at_level(logging.WARNING, "multiscale"):
        formats.export(graph, tmp_path / "n.sif", values, {"seed": 1})
    assert "node types, attributes, parameters, learned values, settings" in caplog.text
    content = sif.read(tmp_path / "n.sif")
    assert content.edges.to_numpy().tolist()[0] == ["L", "subunit", "C"]
    assert sorted(content.nodes) == sorted(["L.rna", "L", ODD, "M", "C", "P"])


def test_sif_of_another_program_may_use_blanks_and_several_targets(tmp_path: Path) -> None:
    path = tmp_path / "other.sif"
    path.write_text("a pp b c\n\nd\n")
    content = sif.read(path)
    assert content.edges.to_numpy().tolist() == [["a", "pp", "b"], ["a", "pp", "c"]]
    assert content.nodes == ["a", "b", "c", "d"]
    path.write_text("a pp\n")
    with pytest.raises(FormatError, match="line 1: a source and a relation but no target"):
        sif.read(path)


def test_infinite_values_are_left_out_and_counted(graph, tmp_path: Path, caplog) -> None:
    values = {"molecule": pd.DataFrame({"ln_copies": [-np.inf, 1.0, np.nan]}, index=["L", ODD, "M"])}
    with caplog.at_level(logging.WARNING, "multiscale"):
        formats.export(graph, tmp_path / "n.graphml", values)
    assert "1 infinite values of `ln_copies`" in caplog.text
    assert graphml.read(tmp_path / "n.graphml").values["molecule"]["ln_copies"].to_dict() == {ODD: 1.0}


@pytest.mark.parametrize(
    ("name", "index", "column", "said"),
    [
        ("molecules", "L", "x", "did you mean `molecule`"),
        ("molecule", "L.rn", "x", "no `L.rn`; did you mean `L.rna`"),
        ("molecule", "L", "kind", "own attribute `kind`"),
        ("molecule", "L", "type", "own attribute `type`"),
        ("molecule", "L", "edge_index", "own attribute `edge_index`"),
    ],
)
def test_values_without_a_place_in_the_graph_are_refused(
    graph, tmp_path: Path, name: str, index: str, column: str, said: str
) -> None:
    with pytest.raises(FormatError, match=said):
        formats.export(graph, tmp_path / "n.graphml", {name: pd.DataFrame({column: [1.0]}, index=[index])})
    assert list(tmp_path.iterdir()) == []


def test_a_row_or_column_of_values_twice_is_refused(graph, tmp_path: Path) -> None:
    for table in (pd.DataFrame({"x1": [1.0, 2.0]}, ["L", "L"]), pd.DataFrame([[1, 2]], ["L"], ["y", "y"])):
        with pytest.raises(FormatError, match="occurs twice"):
            formats.export(graph, tmp_path / "n.graphml", {"molecule": table})


@pytest.mark.parametrize("suffix", READERS)
def test_nullable_columns_and_flags_with_gaps_become_plain_numbers(
    graph, suffix: str, tmp_path: Path
) -> None:
    index = ["L", "M"]
    table = pd.DataFrame(
        {
            "whole": pd.Series([1, 2], index, dtype="Int64"),
            "gap": pd.Series([1, None], index, dtype="Int64"),
            "flag": pd.Series([True, None], index, dtype=object),
        }
    )
    formats.export(graph, tmp_path / f"n.{suffix}", {"molecule": table})
    back = READERS[suffix](tmp_path / f"n.{suffix}").values["molecule"]
    assert back.dtypes.map(str).tolist() == ["int64", "float64", "float64"]
    np.testing.assert_array_equal(back.to_numpy(), [[1, 1, 1], [2, np.nan, np.nan]])


def test_an_edge_into_nothing_is_refused(tmp_path: Path) -> None:
    edges = {"encodes": pd.DataFrame({"source": ["A"], "target": ["B"]})}
    graph = Graph.from_tables("g", {"molecule": pd.DataFrame({"name": ["A"]})}, edges)
    with pytest.raises(FormatError, match="relation encodes: target `B` is no node"):
        formats.export(graph, tmp_path / "n.cx2")


def test_a_document_without_one_of_its_parts_is_refused(graph, tmp_path: Path) -> None:
    path = tmp_path / "n.cyjs"
    formats.export(graph, path)
    path.write_text(
        path.read_text(encoding="utf-8").replace('\\"parameters\\"', '\\"other\\"'), encoding="utf-8"
    )
    with pytest.raises(FormatError, match="its document lacks `parameters`"):
        cyjs.read(path)


def test_an_unknown_suffix_lists_the_known_ones(graph, tmp_path: Path) -> None:
    with pytest.raises(
        FormatError,
        match=r"did you mean `.graphml`\? Known: `.cx2`, `.cyjs`, `.graphml`, `.safetensors`, `.sbml`, "
        r"`.sif`, `.tsv`, `.xml`",
    ):
        formats.export(graph, tmp_path / "n.graphm")


def test_a_missing_folder_is_refused(graph, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        formats.export(graph, tmp_path / "no" / "n.graphml")


@pytest.mark.parametrize("suffix", READERS)
def test_a_newer_file_is_refused(graph, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"n.{suffix}"
    formats.export(graph, path)
    text = path.read_text(encoding="utf-8")
    changed = text.replace('"format_version": 1', '"format_version": 99')
    changed = changed.replace('\\"format_version\\": 1', '\\"format_version\\": 99')
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(FormatError, match="`format_version` 99 is newer than 1"):
        READERS[suffix](path)


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("content", ["", "no network", "[]", "{}"])
def test_a_file_of_another_kind_is_refused(suffix: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / f"n.{suffix}"
    with pytest.raises(FormatError, match="no such file"):
        READERS[suffix](path)
    path.write_text(content)
    with pytest.raises(FormatError, match=f"n.{suffix}"):
        READERS[suffix](path)


def test_graphml_of_another_program_is_named_as_such(tmp_path: Path) -> None:
    nx.write_graphml(nx.path_graph(3), tmp_path / "n.graphml")
    with pytest.raises(FormatError, match="another program wrote it; read it with networkx"):
        graphml.read(tmp_path / "n.graphml")


def test_attributes_that_another_program_added_are_passed_over(graph, tmp_path: Path) -> None:
    formats.export(graph, tmp_path / "n.cx2")
    content = json.loads((tmp_path / "n.cx2").read_text(encoding="utf-8"))
    declared = next(part for part in content if "attributeDeclarations" in part)["attributeDeclarations"][0]
    declared["nodes"]["selected"] = {"d": "boolean"}
    next(part for part in content if "nodes" in part)["nodes"][0]["v"]["selected"] = True
    (tmp_path / "n.cx2").write_text(json.dumps(content), encoding="utf-8")
    assert cx2.read(tmp_path / "n.cx2").graph.equals(graph)


def test_a_control_character_that_xml_cannot_hold_is_refused(tmp_path: Path) -> None:
    graph = Graph.from_tables("odd", {"molecule": pd.DataFrame({"name": ["a\x01"]})})
    with pytest.raises(FormatError, match="control character"):
        formats.export(graph, tmp_path / "n.graphml")


def test_layers_run_from_transcripts_to_pathways(graph) -> None:
    assert layers(graph) == {
        "transcripts": ["L.rna"],
        "molecules": ["L", ODD, "M"],
        "complexes": ["C"],
        "pathways": ["P"],
    }


def test_nodes_of_a_layer_stand_one_unit_apart_at_the_height_of_their_neighbours(graph) -> None:
    place = positions(graph)
    assert place["L.rna"][1] == pytest.approx(place["L"][1])
    assert place["C"][1] == pytest.approx((place["L"][1] + place[ODD][1]) / 2, abs=0.3)
    heights = sorted(place[name][1] for name in ("L", ODD, "M"))
    assert np.diff(heights).min() >= 1 - 1e-12
    assert [place[name][0] for name in ("L.rna", "L", "C", "P")] == [0, 1, 2, 3]
    assert positions(graph) == place
