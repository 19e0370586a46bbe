"""Couplings of positions, alone or by what the new residues are like."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reading_rows import make_readings, sequences

from multiscale.encoders import Pairwise
from multiscale.encoders.residues import RESIDUES, residue_features, residue_kernel
from multiscale.errors import ConfigError, DataError

OPTIONS = {"terms": ["bind"], "molecule": "protein"}
TEXTS = ["ACD", "GCE", "WCK", "GFD", "GFE"]


def covariance(bound, texts: list[str]) -> np.ndarray:
    """Of the energies of rows, under the prior."""
    rows, total = make_readings(protein=sequences(texts, "ACD")), 0.0
    for family, design in zip(bound.families, bound.designs(rows), strict=True):
        x = design.forward(torch.eye(len(family.labels), dtype=torch.float64)).T.numpy()
        total = total + family.sd**2 * x @ x.T
    return np.asarray(total)


def test_a_pair_of_positions_has_one_energy_whatever_the_letters() -> None:
    fitted = make_readings(protein=sequences(TEXTS, "ACD", first=24))
    bound = Pairwise(**OPTIONS, by="positions").bind([fitted])
    assert list(bound.families[0].labels) == ["A24:C25", "A24:D26", "C25:D26"]
    weights = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    assert bound.designs(fitted)[0].forward(weights).tolist() == [0.0, 10.0, 10.0, 1.0, 111.0]
    free = make_readings(protein=sequences(TEXTS, None))
    with pytest.raises(ConfigError, match="needs a wild type of `protein`"):
        Pairwise(**OPTIONS, by="positions").bind([free])


@pytest.mark.parametrize("rank", [4, 19])
def test_couplings_by_properties_have_the_covariance_of_their_gaussian_process(rank: int) -> None:
    fitted = make_readings(protein=sequences(TEXTS, "ACD"))
    options = Pairwise(**OPTIONS, by="properties", rank=rank, sds={"constant": 0.2, "one": 0.5, "both": 0.3})
    found = covariance(options.bind([fitted]), ["GCE", "WCK", "GFD", "ACE", "LCR"])
    phi = residue_features(rank)
    k = phi @ phi.T
    place = [[RESIDUES.index(letter) for letter in pair] for pair in ("GE", "WK", "LR")]
    a, b = (k[np.ix_([p[i] for p in place], [p[i] for p in place])] for i in (0, 1))
    expected = 0.04 + 0.25 * (a + b) + 0.09 * a * b
    assert np.allclose(found[np.ix_([0, 1, 4], [0, 1, 4])], expected, atol=1e-12)  # L1R3 was not fitted
    assert np.abs(found[2, [0, 1, 3, 4]]).max() == 0 and found[3, 3] == 0  # other positions; one mutation


def test_features_of_residues_are_those_of_the_centred_kernel() -> None:
    centring = np.eye(20) - 0.05
    whole = centring @ residue_kernel() @ centring
    phi = residue_features(19)
    assert np.allclose(phi @ phi.T, whole * 20 / np.trace(whole), atol=1e-12)
    few = residue_features(5)
    assert np.abs(few.sum(0)).max() < 1e-12 and np.square(few).sum() == pytest.approx(20)
    share = np.linalg.eigvalsh(whole)[::-1][:5].sum() / np.trace(whole)
    assert np.allclose(few, phi[:, :5] / np.sqrt(share), atol=1e-12)


def test_sds_are_learned_unless_they_are_given() -> None:
    fitted = make_readings(protein=sequences(TEXTS, "ACD"))
    families = Pairwise(**OPTIONS, by="properties").bind([fitted]).families
    assert [(f.name, f.learned, len(f.labels)) for f in families] == [
        ("constant", True, 3),
        ("one", True, 30),
        ("both", True, 75),
    ]
    assert len({label for f in families for label in f.labels}) == 108
    given = Pairwise(**OPTIONS, by="properties", sds={"one": 0.3}).bind([fitted]).families
    assert [(f.sd, f.learned) for f in given] == [(1.0, False), (0.3, False), (1.0, False)]
    assert Pairwise(**OPTIONS).prior == (1.0, False)


def test_a_stop_has_no_properties() -> None:
    stops = make_readings(protein=sequences(["ACD", "GC*"], "ACD", "protein*"))
    bound = Pairwise(**OPTIONS, by="properties").bind([stops])
    with pytest.raises(DataError, match=r"^rows, line 3: variant `A1G:D3\*`: `\*` is no residue"):
        bound.designs(stops)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "position"}, "did you mean `positions`"),
        ({"rank": 20}, "`rank` must be 1 to 19"),
        ({"sds": {"one": 0.3}}, "`sds` are of"),
        ({"by": "properties", "sds": {"ones": 0.3}}, "did you mean `one`"),
        ({"by": "properties", "sds": {"one": 0.0}}, "`one` must be a positive number"),
    ],
)
def test_wrong_options_of_couplings_are_refused(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Pairwise(**OPTIONS, **options)
