"""Features learned from readings across other entities, mixtures, kernels of aligned sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reading_rows import make_readings

from multiscale.assays import BindingEnergy, Fitness
from multiscale.data import Readings
from multiscale.encoders import Features, FeatureSource, Product, make_encoder
from multiscale.encoders.bound_sources import OTHERS
from multiscale.encoders.items import Item
from multiscale.encoders.kernels import Aligned
from multiscale.encoders.profiles import profile_covariance
from multiscale.encoders.residues import RESIDUES, residue_kernel
from multiscale.errors import ConfigError, DataError

TEXTS = {"a": "AVYK", "b": "AVFD", "c": "GKVY", "d": "GKDW", "e": "LLDE", "z": "AVYK"}


def pairs(energies: np.ndarray, names: str = "abcde") -> Readings:
    """Readings of energies, shape (drug, receptor), one row per pair that is not NaN."""
    drug, receptor = np.nonzero(np.isfinite(energies))
    kinds = {"drug": [names[i] for i in drug], "receptor": [f"r{j}" for j in receptor]}
    rows = make_readings(columns={"text": [TEXTS[n] for n in kinds["drug"]]}, entities=kinds)
    y = energies[drug, receptor]
    return replace(rows, instrument=BindingEnergy(complex="c"), arrays={"y": y, "censoring": 0 * drug})


def scan(columns: int, missing: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Energies of five entities, of which a and b, c and d are alike, and their true covariance."""
    random = np.random.default_rng(seed)
    true = np.eye(5) + 0.5
    true[0, 1] = true[1, 0] = true[2, 3] = true[3, 2] = 1.4
    y = np.linalg.cholesky(true) @ random.normal(size=(5, columns)) + random.normal(size=(5, 1)) - 8.0
    y = y + 0.3 * random.normal(size=y.shape)
    return np.where(random.random(y.shape) < missing, np.nan, y), true


def test_the_covariance_of_entities_is_found_in_spite_of_gaps() -> None:
    y, true = scan(1500)
    found = profile_covariance(y, np.eye(5), 5.0)
    off = ~np.eye(5, dtype=bool)
    assert np.abs(found - true)[off].max() < 0.12
    assert np.abs(found - true).max() < 0.2  # what an entity has alone may pass for noise


def test_strength_draws_the_covariance_to_the_prior() -> None:
    y, _ = scan(30)
    prior = np.eye(5)
    prior[0, 4] = prior[4, 0] = 0.9  # wrong
    weak, strong = (profile_covariance(y, prior, strength) for strength in (1.0, 1e6))
    apart = [s[0, 4] - s[0, 2] for s in (weak, strong)]
    assert apart[0] < 0.4 * apart[1]
    assert apart[1] / (strong[0, 0] - strong[0, 2]) == pytest.approx(0.9, abs=1e-3)


def test_profiles_make_entities_alike_that_were_measured_alike() -> None:
    source = FeatureSource(entity="drug", kind="profile", across="receptor").bind([pairs(scan(300)[0])])
    found = source.features(pairs(np.zeros((5, 1))))[0]
    gram = found @ found.T
    assert np.abs(found.mean(0)).max() < 1e-12 and np.trace(gram) == pytest.approx(5.0)
    assert gram[0, 1] > 0.3 > max(gram[0, 2:]) and gram[2, 3] > 0.3 > gram[2, 4]


def test_entities_without_readings_stand_where_the_prior_puts_them() -> None:
    spectrum = FeatureSource(entity="drug", kind="spectrum", column="text", k=1)
    options = {"entity": "drug", "kind": "profile", "across": "receptor", "rank": 3}
    rows = make_readings(columns={"text": [TEXTS["z"], TEXTS["a"]]}, entities={"drug": ["z", "a"]})
    bound = FeatureSource(**options, prior=spectrum).bind([pairs(scan(60)[0])])
    found, entity = bound.features(rows)  # z is a by its sequence
    assert np.allclose(found[entity[0]], found[entity[1]], atol=1e-9) and np.abs(found).max() > 0.1
    alone, entity = FeatureSource(**options).bind([pairs(scan(60)[0])]).features(rows)
    assert np.abs(alone[entity[0]]).max() == 0 < np.abs(alone[entity[1]]).max()


def test_features_of_fitted_entities_are_those_of_fitted_readings_only() -> None:
    y, _ = scan(60)
    bound = FeatureSource(entity="drug", kind="profile", across="receptor").bind([pairs(y)])
    assert np.array_equal(bound.features(pairs(y))[0], bound.features(pairs(-y))[0])
    encoder = Features(terms=["bind"], source=FeatureSource(entity="drug", kind="profile", across="receptor"))
    assert encoder.bind([pairs(y)]).families[0].labels[0] == "component 1"


def test_readings_that_are_no_energies_have_no_profile() -> None:
    rows = replace(pairs(scan(5)[0]), instrument=Fitness(species="c", of="drug"))
    with pytest.raises(DataError, match="`profile` of `drug` across `receptor`: no fitted reading is an"):
        FeatureSource(entity="drug", kind="profile", across="receptor").bind([rows])


def test_a_mixture_has_the_sum_of_the_kernels() -> None:
    rows = pairs(scan(3, missing=0.0)[0])
    alone = FeatureSource(entity="drug", kind="identity")
    words = FeatureSource(entity="drug", kind="spectrum", column="text", k=1)
    mixed = FeatureSource(entity="drug", kind="mixture", parts=[alone, words], shares=[1, 3])
    features = mixed.bind([rows]).features(rows)[0]
    k = words.bind([rows]).features(rows)[0]
    assert np.allclose(features @ features.T, 0.25 * np.eye(5) + 0.75 * k @ k.T, atol=1e-12)
    assert mixed.bind([rows]).labels[4:6] == ["identity: e", "spectrum: component 1"]


@pytest.mark.parametrize("overall", [0.0, 0.4])
def test_aligned_sequences_are_as_alike_as_their_residues(overall: float) -> None:
    kernel = Aligned([3.0, 1.0], overall)
    words = kernel.describe([Item(n, (t,), n) for n, t in {"a": "IK", "b": "VD", "c": "-K"}.items()])
    found, residues = kernel.between(words, words), residue_kernel()
    alike = [0.5 * residues[RESIDUES.index(x), RESIDUES.index(y)] for x, y in ("IV", "KD")]
    whole = [np.exp(-(2.0**2) / 2), np.exp(-1.0 / 2)]  # charge 1 and -1; one hydrophobic residue or none
    expected = [(3 * alike[0] + alike[1]) / 4, 0.25]
    mixed = [(1 - overall) * e + overall * w for e, w in zip(expected, whole, strict=True)]
    assert found[0, 1:].tolist() == pytest.approx(mixed) and np.allclose(np.diag(found), 1.0)
    with pytest.raises(DataError, match="`d` needs a sequence of 2 letters; got `IKK`"):
        kernel.describe([Item("d", ("IKK",), "d")])


def test_tables_within_tables_become_features() -> None:
    words = {"kind": "aligned", "column": "text", "overall": 0.2}
    prior = {"kind": "mixture", "parts": [words, {"kind": "identity"}], "shares": [0.7, 0.3]}
    left = {"entity": "drug", "kind": "profile", "across": "receptor", "prior": prior, "strength": 10}
    right = {"entity": "receptor", "kind": "identity"}
    made = make_encoder("product", {"terms": ["bind"], "left": left, "right": right})
    assert isinstance(made, Product) and made.left.prior is not None
    assert [part.kind for part in made.left.prior.parts] == ["aligned", "identity"]
    assert made.left.prior.parts[1].entity == "drug"
    rows = pairs(scan(20)[0])
    assert made.bind([rows]).designs(rows)[0].weights == 4 * 20
    wrong = {**left, "prior": {"kind": "mixture", "parts": [{"kind": "identity", "shere": 1}]}}
    with pytest.raises(
        ConfigError, match="`parts` of `prior` of `left` of encoder `product`: unknown option"
    ):
        make_encoder("product", {"terms": ["bind"], "left": wrong, "right": right})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "profile"}, "need the other kind of entity"),
        ({"kind": "profile", "across": "drug"}, "another kind than `drug`"),
        ({"kind": "profile", "across": "receptor", "strength": 0.0}, "`strength` must be a positive"),
        ({"kind": "mixture"}, "`parts` must list"),
        ({"kind": "aligned", "column": "text", "overall": 1.0}, "`overall` must be at least 0 and below 1"),
        ({"kind": "aligned", "column": "text", "weights": [0.0]}, "`weights` must be numbers"),
    ],
)
def test_wrong_options_of_features_are_refused(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FeatureSource(entity="drug", **options)
    other = FeatureSource(entity="receptor", kind="identity")
    with pytest.raises(ConfigError, match="`parts` must be features of `drug`; got `receptor`"):
        FeatureSource(entity="drug", kind="mixture", parts=[other])


@pytest.mark.parametrize("kind", ["identity", "spectrum", "profile", "mixture"])
def test_entities_that_were_not_fitted_are_as_uncertain_as_the_prior(kind: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "identity": {},
        "spectrum": {"column": "text", "k": 1},
        "profile": {"across": "receptor"},
        "mixture": {"parts": [FeatureSource(entity="drug", kind="identity", unseen="prior")]},
    }
    fitted = pairs(scan(60)[0], "abcde")
    new = make_readings(columns={"text": ["MMMM"]}, entities={"drug": ["new"]})
    own: dict[str, Any] = {} if kind == "mixture" else {"unseen": "prior"}
    source = FeatureSource(entity="drug", kind=kind, **options[kind], **own).bind([fitted])
    assert source.labels[-1].endswith(OTHERS)
    found, known = source.features(new)[0], source.features(fitted)[0]
    assert found.shape[1] == known.shape[1] == len(source.labels) and not known[:, -1].any()
    plain = FeatureSource(entity="drug", kind="spectrum", column="text", k=1).bind([fitted])
    scale = getattr(getattr(plain, "map", None), "scale", 1.0) if kind == "spectrum" else 1.0
    assert found[0, -1] == pytest.approx(scale)  # it shares no word with the others
