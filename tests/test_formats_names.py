"""Names and texts with markup, quotes, blanks, line breaks: every format gives them back or refuses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from multiscale import formats
from multiscale.errors import FormatError
from multiscale.formats import Network, cx2, cyjs, graphml, hetero, sif, tables
from multiscale.graph import Graph

READERS: dict[str, Callable[[Path], Network]] = {
    "graphml": graphml.read,
    "cx2": cx2.read,
    "cyjs": cyjs.read,
    "safetensors": lambda path: hetero.from_hetero(hetero.read(path)),
}
ODD = [
    '<script>alert("1")</script>&amp;\'',
    " blanks  within and around ",
    "a\tb",
    "a\nb",
    "a\rb",
    "a\r\nb",
    "µ–Ω 日本 😀",
    "a\u2028b\x85c",
    "a\\nb",
    "a;b,c|d/e",
    "NaN",
    "true",
    "1e3",
    "a\x01b",
    "a\ufffeb",
]
XML_CANNOT = {"a\rb", "a\r\nb", "a\x01b", "a\ufffeb"}
SIF_CANNOT = {ODD[1], "a\tb", "a\nb", "a\rb", "a\r\nb"}


def odd_graph(name: str) -> Graph:
    """A complex of a molecule with an odd name, that name among the notes too."""
    return Graph.from_tables(
        "odd",
        {
            "molecule": pd.DataFrame({"name": [name, "B"], "note": [name, ""]}),
            "complex": pd.DataFrame({"name": ["C"]}),
        },
        {"subunit": pd.DataFrame({"source": [name, "B"], "target": ["C", "C"], "note": [name, ""]})},
        card={"title": name},
    )


def odd_values(name: str) -> dict[str, pd.DataFrame]:
    return {
        "molecule": pd.DataFrame({"level": [1.5], "remark": [name]}, index=[name]),
        "subunit": pd.DataFrame({"share": [0.25], name: [2.0]}, index=[0]),
    }


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_odd_names_come_back_or_are_refused(name: str, suffix: str, tmp_path: Path) -> None:
    path, graph, values = tmp_path / f"n.{suffix}", odd_graph(name), odd_values(name)
    if suffix == "graphml" and name in XML_CANNOT:
        with pytest.raises(FormatError, match="cannot hold the control character"):
            formats.export(graph, path, values, {"seed": name})
        assert not path.exists()
        return
    formats.export(graph, path, values, {"seed": name})
    network = READERS[suffix](path)
    assert network.graph.equals(graph)
    assert network.meta == {"seed": name}
    for kind, table in values.items():
        pd.testing.assert_frame_equal(network.values[kind], table, check_names=False, check_index_type=False)


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_sif_gives_odd_names_back_or_refuses_them(name: str, tmp_path: Path) -> None:
    path = tmp_path / "n.sif"
    if name in SIF_CANNOT:
        with pytest.raises(FormatError, match="SIF cannot hold"):
            formats.export(odd_graph(name), path)
        assert not path.exists()
        return
    formats.export(odd_graph(name), path)
    assert sif.read(path).edges["source"].tolist() == [name, "B"]


def test_sif_without_edges_refuses_a_name_with_a_blank(tmp_path: Path) -> None:
    """Where no line has a tab, readers take blanks for the separator."""
    graph = Graph.from_tables("g", {"molecule": pd.DataFrame({"name": ["a b"]})})
    with pytest.raises(FormatError, match="SIF without edges"):
        formats.export(graph, tmp_path / "n.sif")


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_tables_hold_odd_texts(name: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"complex": [name, "B"], "g": [1 / 3, -2.0]})
    tables.write_table(table, tmp_path / "t.tsv")
    assert tables.read_table(tmp_path / "t.tsv").equals(table)


def test_a_carriage_return_among_the_parameters_is_refused(tmp_path: Path) -> None:
    parameters = {"parameterId": ["g"], "nominalValue": [-1.0], "note": ["a\rb"]}
    graph = Graph.from_tables("g", {}, parameters=pd.DataFrame(parameters))
    with pytest.raises(FormatError, match="carriage return"):
        formats.export(graph, tmp_path / "n.cx2")
