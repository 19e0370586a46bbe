"""Files that released versions wrote are read for ever; each release adds a folder under tests/archive/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from multiscale.formats import Network, cx2, cyjs, graphml, hetero, tables, weights

ARCHIVE = Path(__file__).with_name("archive")
RELEASES = sorted(path.name for path in ARCHIVE.iterdir())

READERS: dict[str, Callable[[Path], Network]] = {
    "graphml": graphml.read,
    "cx2": cx2.read,
    "cyjs": cyjs.read,
    "safetensors": lambda path: hetero.from_hetero(hetero.read(path)),
}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("suffix", READERS)
def test_a_network_of_an_older_release_is_read(release: str, suffix: str) -> None:
    network = READERS[suffix](ARCHIVE / release / f"network.{suffix}")
    assert network.graph.species == ["A.rna", "A", "B µ<", "A:B"]
    assert network.graph.edges["subunit"]["stoichiometry"].tolist() == [2, 1]
    assert network.graph.parameters.loc["g_AB", "nominalValue"] == -9.0
    assert network.values["complex"].loc["A:B", "g_kcal_per_mol"] == -9.25
    assert network.meta == {"seed": 1}


@pytest.mark.parametrize("release", RELEASES)
def test_a_model_of_an_older_release_is_read(release: str) -> None:
    model = weights.load(ARCHIVE / release / "model")
    assert model.arrays["theta"].tolist() == [[0.5, -1.25]]
    assert model.tables["parameters"]["value"].tolist() == [-9.25]


@pytest.mark.parametrize("release", RELEASES)
def test_parameters_of_an_older_release_are_read(release: str) -> None:
    table = tables.read_parameters(ARCHIVE / release / "parameters.tsv")
    assert table["parameterId"].tolist() == ["g_AB"]
    assert table[["nominalValue", "fittedValue", "lower"]].to_numpy().tolist() == [[-9.0, -9.25, -9.5]]
