"""Reading and writing the folder of a graph."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph

from multiscale.errors import GraphError, OutputError
from multiscale.graph import Graph, describe, read_graph, write_graph
from multiscale.graph.schema import FORMAT_VERSION, NODE_TYPES, RELATIONS

CARD = 'format_version = 1\nname = "small"\ntitle = "t"\nlicence = "facts"\n'
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)


def folder(path: Path, nodes: str, edges: str = "", parameters: str = "", card: str = CARD) -> Path:
    """Write the files of a graph as given; empty ones are left out."""
    texts = {"card.toml": card, "nodes.tsv": nodes, "edges.tsv": edges, "parameters.tsv": parameters}
    path.mkdir(exist_ok=True)
    for name, text in texts.items():
        if text:
            (path / name).write_bytes(text.encode())
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(GraphError) as caught:
        read_graph(path)
    return caught.value.problems


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), note=TEXT)
def test_a_written_graph_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, seed: int, note: str
) -> None:
    graph = random_graph(seed, note=note)
    path = write_graph(graph, tmp_path_factory.mktemp("graphs") / "graph")
    back = read_graph(path)
    for kind, table in graph.nodes.items():
        pd.testing.assert_frame_equal(back.nodes[kind], table, check_exact=True)
    for kind, table in graph.edges.items():
        pd.testing.assert_frame_equal(back.edges[kind], table, check_exact=True)
    pd.testing.assert_frame_equal(back.parameters, graph.parameters, check_exact=True)
    assert back.card == graph.card
    assert back.equals(graph) and back.hash() == graph.hash()


def test_hash_and_equality_notice_one_value(small_graph: Graph) -> None:
    other = Graph.from_tables(
        "small", small_graph.nodes, small_graph.edges, small_graph.parameters, small_graph.card
    )
    assert other.equals(small_graph) and other.hash() == small_graph.hash()
    other.edges["member"].loc[0, "weight"] = 1.0 + 2**-52
    assert not other.equals(small_graph) and other.hash() != small_graph.hash()


def test_empty_cells_and_missing_columns_mean_the_default(tmp_path: Path) -> None:
    graph = read_graph(folder(tmp_path, "name\ttype\tkind\nA\tmolecule\t\nB\tmolecule\tdrug\nP\tpathway\n"))
    assert graph.nodes["molecule"]["kind"].tolist() == ["protein", "drug"]
    assert graph.nodes["molecule"]["identifier"].tolist() == ["A", "B"]
    assert list(graph.nodes) == list(NODE_TYPES) and list(graph.edges) == list(RELATIONS)
    assert graph.nodes["complex"].dtypes["statistical_factor"] == "float64"


def test_files_of_a_spreadsheet_program_are_read(tmp_path: Path) -> None:
    """Byte-order mark, carriage returns, quotes, blank lines, cut-off trailing cells, TRUE in capitals."""
    nodes = '\ufeffname\ttype\treversible\tlabel\r\nA\tmolecule\r\n\r\nr\treaction\tTRUE\t"the ""first"""\r\n'
    edges = "source\trelation\ttarget\tstoichiometry\r\nA\treactant\tr\t1.0\r\nr\tproduct\tA\r\n"
    graph = read_graph(folder(tmp_path, nodes, edges))
    assert graph.nodes["reaction"][["reversible", "label"]].to_numpy().tolist() == [[True, 'the "first"']]


def test_a_table_written_by_pandas_is_read(tmp_path: Path) -> None:
    nodes = pd.DataFrame({"name": ["A", "B"], "type": "molecule", "note": ['say "x"', None]})
    graph = read_graph(folder(tmp_path, nodes.to_csv(sep="\t", index=False)))
    assert graph.nodes["molecule"]["note"].tolist() == ['say "x"', ""]


@pytest.mark.parametrize(
    ("nodes", "edges", "expected"),
    [
        ("name\ttype\tknd\nA\tmolecule\tdrug\n", "", ["nodes.tsv", "`knd`", "did you mean `kind`"]),
        ("name\ttype\nA\tmolecul\n", "", ["nodes.tsv, line 2", "`molecul`", "did you mean `molecule`"]),
        ("name\nA\n", "", ["nodes.tsv", "`type` is missing"]),
        ("name\ttype\tname\nA\tmolecule\tB\n", "", ["`name` occurs twice"]),
        ("name\ttype\nA\tmolecule\tx\n", "", ["line 2", "3 cells", "remove"]),
        ('name\ttype\nA\t"molecule\n', "", ["nodes.tsv", "not a tab-separated table"]),
        (
            "name\ttype\tlaw\nA\tmolecule\tmass_action\n",
            "",
            ["line 2", "`law` = `mass_action`", "not an attribute of `molecule`"],
        ),
        (
            "name\ttype\treversible\nr\treaction\tmaybe\n",
            "",
            ["line 2", "`reversible`", "`true` or `false`", "`maybe`"],
        ),
        (
            "name\ttype\nA\tmolecule\nP\tpathway\n",
            "source\trelation\ttarget\tweight\nA\tmember\tP\theavy\n",
            ["edges.tsv, line 2", "`weight` must be a number", "`heavy`", "leave it empty (= 1.0)"],
        ),
        (
            "name\ttype\nA\tmolecule\nP\tpathway\n",
            "source\trelation\ttarget\nA\tmembers\tP\n",
            ["edges.tsv, line 2", "unknown relation `members`", "did you mean `member`"],
        ),
        (
            "name\ttype\nA\tmolecule\nr\treaction\n",
            "source\trelation\ttarget\tstoichiometry\nA\treactant\tr\t1.5\nr\tproduct\tA\t\n",
            ["line 2", "`stoichiometry` must be a whole number", "`1.5`"],
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_file_line_and_remedy(
    tmp_path: Path, nodes: str, edges: str, expected: list[str]
) -> None:
    found = problems(folder(tmp_path, nodes, edges))
    assert any(all(part in sentence for part in expected) for sentence in found), found


def test_problems_of_all_files_come_in_one_error(tmp_path: Path) -> None:
    nodes = "name\ttype\tknd\nA\tmolecule\t\nA\tmolecule\t\nC\tcomplex\t\n"
    edges = "source\trelation\ttarget\nX\tencodes\tA\n"
    parameters = "parameterId\trole\tunit\tnominalValue\nKd_1\tKd\tuM\t-1\n"
    found = problems(folder(tmp_path, nodes, edges, parameters, CARD.replace("facts", "")))
    for part in (
        "`knd`",
        "name `A` is used 2 times",
        "`C` has no subunits",
        "`X` is not in",
        "Kd",
        "`licence`",
    ):
        assert any(part in sentence for sentence in found), part


def test_newer_formats_are_refused_before_their_tables_are_read(tmp_path: Path) -> None:
    card = CARD.replace("format_version = 1", f"format_version = {FORMAT_VERSION + 1}")
    [sentence] = problems(folder(tmp_path, "nothing", card=card))
    assert "newer" in sentence and "upgrade" in sentence


def test_missing_folders_and_files_are_named(tmp_path: Path) -> None:
    assert "neither a file or folder nor a name" in problems(tmp_path / "no_such")[0]
    assert "`card.toml` and `nodes.tsv` not found" in problems(tmp_path)[0]
    assert "give the folder" in problems(folder(tmp_path, "name\ttype\n") / "nodes.tsv")[0]
    (tmp_path / "card.toml").write_text("name = ")
    assert "not a TOML file" in problems(tmp_path)[0]


def test_a_folder_is_replaced_only_on_request_and_keeps_other_files(
    tmp_path: Path, small_graph: Graph
) -> None:
    path = write_graph(small_graph, tmp_path / "new" / "small")
    (path / "README.md").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write_graph(random_graph(1), path)
    assert read_graph(path).equals(small_graph)
    write_graph(random_graph(1), path, overwrite=True)
    assert read_graph(path).name == "random1"
    assert (path / "README.md").read_text() == "mine"


def test_nothing_is_written_of_an_inconsistent_graph(tmp_path: Path, small_graph: Graph) -> None:
    small_graph.edges["subunit"].loc[0, "stoichiometry"] = -1
    with pytest.raises(GraphError, match="positive whole number; got -1"):
        write_graph(small_graph, tmp_path / "small")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_is_found_by_its_name(
    tmp_path: Path, small_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multiscale.content.root", lambda: tmp_path)
    write_graph(small_graph, tmp_path / "graphs" / "small")
    assert read_graph("small").equals(small_graph)
    assert "did you mean `small`" in problems(Path("smal"))[0]


def test_every_graph_that_ships_is_consistent_and_documented() -> None:
    for path in sorted((Path(__file__).parents[1] / "graphs").glob("*/")):
        graph = read_graph(path)
        assert graph.name == path.name and graph.card["licence"]


def test_description_counts_what_is_there(small_graph: Graph) -> None:
    assert small_graph.summary() == "8 molecule, 3 complex, 1 pathway; 6 subunit, 2 member, 4 encodes"
    text = describe(small_graph)
    assert (
        "3 energy, 1 loss, 1 confinement" in text
        and "contact (contact)" in text
        and small_graph.hash() in text
    )


def test_node_types_are_found_by_name(small_graph: Graph) -> None:
    assert [small_graph.node_type(name) for name in ("A", "A:B", "signal")] == [
        "molecule",
        "complex",
        "pathway",
    ]
    with pytest.raises(GraphError, match="did you mean `signal`"):
        small_graph.node_type("signals")


def test_tables_in_memory_name_the_wrong_row() -> None:
    nodes = {"complex": pd.DataFrame({"statistical_factor": ["half"]}, index=["AB"])}
    with pytest.raises(GraphError, match="`AB`: `statistical_factor` must be a number; got `half`"):
        Graph.from_tables("wrong", nodes)
    with pytest.raises(GraphError, match="unknown node type `gene`"):
        Graph.from_tables("wrong", {"gene": pd.DataFrame(index=["A"])})
    with pytest.raises(GraphError, match="unknown column `stoich`; did you mean `stoichiometry`"):
        edges = {"subunit": pd.DataFrame({"source": ["A"], "target": ["B"], "stoich": [1]})}
        Graph.from_tables("wrong", {}, edges)
