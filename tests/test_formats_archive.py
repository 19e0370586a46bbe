"""Files that released versions wrote are read for ever; each release adds a folder under tests/archive/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from multiscale.formats import Network, cx2, graphml, weights

ARCHIVE = Path(__file__).with_name("archive")
RELEASES = sorted(path.name for path in ARCHIVE.iterdir())


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(("suffix", "read"), [("graphml", graphml.read), ("cx2", cx2.read)])
def test_a_network_of_an_older_release_is_read(
    release: str, suffix: str, read: Callable[..., Network]
) -> None:
    network = read(ARCHIVE / release / f"network.{suffix}")
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
