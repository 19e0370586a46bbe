from __future__ import annotations

import re

import pytest

from multiscale.data import match
from multiscale.errors import DataError


def test_matches_keep_the_order_of_the_graph_and_count_names_once() -> None:
    found = match(["c", "a", "b", "a"], ["a", "x", "c", "x"])
    assert (found.matched, found.only_graph, found.only_data) == (("c", "a"), ("b",), ("x",))
    assert (
        str(found)
        == "2 of 3 identifiers of the graph are in the data; not in the data: `b`; not in the graph: `x`"
    )


def test_upper_and_lower_case_are_distinguished() -> None:
    assert match(["Egfr", "MYC"], ["EGFR", "MYC"]).matched == ("MYC",)


@pytest.mark.parametrize(
    ("graph", "data", "message"),
    [
        (["Egfr", "Myc"], ["EGFR", "MYC"], "2 would match if case were ignored"),
        (["EGFR", "MYC"], ["ENSG00000146648", "ENSG00000136997"], "Ensembl identifiers in the data only"),
        (["ENSMUSG00000020122"], ["EGFR"], "Ensembl identifiers in the graph only"),
        (["EGFR"], ["P00533"], "Use the same identifiers in var_names"),
        (["EGFR"], [], "data have none"),
        (
            ["g1", "g2", "g3", "g4", "g5", "g6"],
            ["x"],
            "graph has `g1`, `g2`, `g3`, `g4`, `g5`, ... (6); data have `x`",
        ),
    ],
)
def test_nothing_in_common_is_refused_with_the_likely_reason(
    graph: list[str], data: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        match(graph, data)
