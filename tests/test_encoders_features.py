"""Features of entities and products of them: scale, kernels, entities that were not fitted, errors."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reading_rows import make_readings

from multiscale.encoders import Features, FeatureSource, Pairs, Product
from multiscale.encoders.feature_maps import KernelFeatures
from multiscale.encoders.items import Item
from multiscale.encoders.kernels import Morgan, Spectrum
from multiscale.errors import ConfigError, DataError

TERMS = ["bind"]
PEPTIDES = {"a": "AAVY", "b": "AAVF", "c": "GKVY", "d": "GKDY", "e": "AKDY"}
needs_rdkit = pytest.mark.skipif(importlib.util.find_spec("rdkit") is None, reason="RDKit is not installed")


def rows(names: str, texts: dict[str, str] | None = None):
    """Rows about entities, with the text of each in a column."""
    known = texts or PEPTIDES
    return make_readings(columns={"text": [known[n] for n in names]}, entities={"peptide": list(names)})


def matrix(kind: str, fitted: str = "abcd", others: str = "abcd", **options: Any) -> np.ndarray:
    """Features of some entities after fitting others, in alphabetic order."""
    source = FeatureSource(entity="peptide", kind=kind, column="text", **options).bind([rows(fitted)])
    return source.features(rows(others))[0]


@pytest.mark.parametrize("kind", ["onehot", "spectrum"])
@pytest.mark.parametrize("rank", [None, 2])
def test_features_are_centred_and_a_typical_entity_has_prior_variance_one(
    kind: str, rank: int | None
) -> None:
    features = matrix(kind, k=2, rank=rank)
    assert np.abs(features.mean(0)).max() < 1e-12
    assert np.square(features).sum(1).mean() == pytest.approx(1.0, abs=1e-12)
    assert rank is None or features.shape == (4, rank)


def test_kernel_features_reproduce_the_centred_kernel() -> None:
    items = [Item(name, (PEPTIDES[name],), name) for name in "abcd"]
    kernel = Spectrum(2)
    words = kernel.describe(items)
    centring = np.eye(4) - 0.25
    centred = centring @ kernel.between(words, words) @ centring
    features = KernelFeatures(items, None, kernel)(items)
    assert np.allclose(features @ features.T, centred * 4 / centred.trace(), atol=1e-12)


def test_an_entity_that_was_not_fitted_is_projected_exactly_where_its_words_are_spanned() -> None:
    texts = {"a": "AC", "b": "CA", "c": "ACA"}  # words AC; CA; AC and CA: c lies between a and b
    source = FeatureSource(entity="peptide", kind="spectrum", column="text", k=2).bind([rows("ab", texts)])
    found = source.features(rows("abc", texts))[0]
    assert np.allclose(found @ found.T, [[1, -1, 0], [-1, 1, 0], [0, 0, 0]], atol=1e-12)


def test_the_same_entity_has_the_same_features_whatever_rows_it_comes_with() -> None:
    for kind in ("onehot", "spectrum"):
        alone, together = matrix(kind, others="e", k=2), matrix(kind, others="abcde", k=2)
        assert np.allclose(alone[0], together[4], atol=1e-12)


def test_letters_that_never_vary_have_no_weight() -> None:
    texts = {"a": "AVY", "b": "AKY", "c": "ADY"}
    source = FeatureSource(entity="peptide", kind="onehot", column="text").bind([rows("abc", texts)])
    assert source.labels == ["2D", "2K", "2V"]


def test_identity_gives_every_fitted_entity_a_weight_and_others_none() -> None:
    source = FeatureSource(entity="peptide", kind="identity")
    bound = Features(terms=TERMS, source=source).bind([rows("bab")])
    weights = torch.tensor([1.0, 2.0], dtype=torch.float64)  # a, b
    assert list(bound.families[0].labels) == ["a", "b"]
    assert bound.designs(rows("cab"))[0].forward(weights).tolist() == [0.0, 1.0, 2.0]
    assert bound.families[0].learned and bound.families[0].sd == 1.0 and bound.families[0].energies


def test_numbers_are_read_from_a_table_in_standard_deviations(tmp_path: Path) -> None:
    path = tmp_path / "peptides.tsv"
    path.write_text("name\tmass\tcharge\tfixed\na\t1\t0\t7\nb\t3\t0\t7\nc\t9\t6\t7\n")
    source = FeatureSource(entity="peptide", kind="table", table=path).bind([rows("ab")])
    assert source.labels == ["mass"]  # charge and fixed are the same in a and b
    features, entity = source.features(rows("cab"))
    assert features[:, 0].tolist() == [-1.0, 1.0, 7.0] and entity.tolist() == [2, 0, 1]


def test_constant_columns_and_equal_entities_are_seen_through_rounding(tmp_path: Path) -> None:
    path = tmp_path / "peptides.tsv"
    path.write_text("name\tmass\tfixed\na\t1\t0.1\nb\t3\t0.1\nc\t9\t0.1\n")  # np.std of 0.1 is not 0
    assert FeatureSource(entity="peptide", kind="table", table=path).bind([rows("abc")]).labels == ["mass"]
    with pytest.raises(DataError, match="all 3 entities have the same features"):
        equal = {"a": "ACCA", "b": "ACCA", "c": "ACCA"}
        FeatureSource(entity="peptide", kind="spectrum", column="text", k=2).bind([rows("abc", equal)])


def test_what_is_wrong_with_an_entity_is_said_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "peptides.csv"
    path.write_text("name,mass\na,1\nb,heavy\n")
    source = FeatureSource(entity="peptide", kind="table", table=path)
    with pytest.raises(DataError, match=r"peptides\.csv, line 3: `b` needs a finite number in `mass`"):
        source.bind([rows("ab")])
    with pytest.raises(DataError, match=r"rows, line 4: peptide `c` has no `mass` in peptides\.csv"):
        source.bind([rows("aac")])
    path.write_text("name,mass\na,1\na,2\n")
    with pytest.raises(DataError, match=r"peptides\.csv, line 3: `a` occurs twice"):
        source.bind([rows("a")])
    path.write_text("name,mass\na,1\n")
    with pytest.raises(DataError, match=r"no column `weight`; Known: `mass`, `name`"):
        FeatureSource(entity="peptide", kind="table", table=path, column="weight").bind([rows("a")])


def test_tables_may_be_compressed(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "peptides.tsv.gz"
    path.write_bytes(gzip.compress(b"name\tseq\na\tAC\nb\tCA\n"))
    source = FeatureSource(entity="peptide", kind="onehot", table=path, column="seq").bind([rows("ab")])
    assert source.labels == ["1A", "1C", "2A", "2C"]


def test_unequal_lengths_and_two_sequences_of_one_entity_are_refused() -> None:
    source = FeatureSource(entity="peptide", kind="onehot", column="text")
    with pytest.raises(DataError, match=r"rows, line 3: `b` has a sequence of 2 letters, others of 4"):
        source.bind([rows("ab", {"a": "AAVY", "b": "AA"})])
    twice = make_readings(columns={"text": ["AA", "AC"]}, entities={"peptide": ["a", "a"]})
    with pytest.raises(DataError, match=r"rows, line 3: `a` has another `text` here than before; got `AC`"):
        source.bind([twice])
    with pytest.raises(DataError, match="all 1 entities have the same features"):
        source.bind([rows("a")])


def test_wrong_options_of_features_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean `onehot`"):
        FeatureSource(entity="peptide", kind="one_hot", column="text")
    with pytest.raises(ConfigError, match="need a `column`, or a `table`"):
        FeatureSource(entity="peptide", kind="spectrum")
    with pytest.raises(ConfigError, match="`rank` must be a positive whole number; got 0"):
        FeatureSource(entity="peptide", kind="onehot", column="text", rank=0)


def test_entities_of_which_nothing_is_known_may_sit_at_the_mean() -> None:
    texts = {"a": "AAVY", "b": "AAVF", "c": "", "d": "GKDY"}
    strict = FeatureSource(entity="peptide", kind="onehot", column="text")
    with pytest.raises(DataError, match="rows, line 4: peptide `c` has no `text`; fill it in"):
        strict.bind([rows("abcd", texts)])
    source = FeatureSource(entity="peptide", kind="onehot", column="text", missing="mean").bind(
        [rows("abcd", texts)]
    )
    features = source.features(rows("abcd", texts))[0]
    assert np.abs(features[2]).max() == 0 and np.square(features).sum() == pytest.approx(3.0)
    with pytest.raises(DataError, match="nothing is known of any `peptide`; fill in text"):
        FeatureSource(entity="peptide", kind="onehot", column="text", missing="mean").bind([rows("c", texts)])


def test_a_column_must_be_chosen_where_a_table_has_several(tmp_path: Path) -> None:
    path = tmp_path / "peptides.tsv"
    path.write_text("name\tsequence\tnote\na\tAC\tx\n")
    with pytest.raises(ConfigError, match=r"`column` must name one of sequence, note in peptides\.tsv"):
        FeatureSource(entity="peptide", kind="onehot", table=path).bind([rows("a")])


def pair_rows(names: str):
    """Rows about all pairs of a peptide and a drug."""
    pairs = [(a, b) for a in names for b in "xyz"]
    return make_readings(
        columns={"text": [PEPTIDES[a] for a, _ in pairs]},
        entities={"peptide": [a for a, _ in pairs], "drug": [b for _, b in pairs]},
    )


def test_a_product_is_linear_in_its_weights_and_equals_its_columns() -> None:
    left = FeatureSource(entity="peptide", kind="onehot", column="text")
    right = FeatureSource(entity="drug", kind="identity")
    readings = pair_rows("abcd")
    bound = Product(terms=TERMS, left=left, right=right).bind([readings])
    design = bound.designs(readings)[0]
    assert isinstance(design, Pairs) and design.weights == len(bound.families[0].labels)
    weights = torch.randn(
        2, 3, design.weights, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    index, factors = design.columns()
    expected = (weights[..., index] * factors).sum(-1)
    assert torch.allclose(design.forward(weights), expected, atol=1e-12)
    few = torch.tensor([7, 2])  # fewer rows than pairs of entities: the other way to multiply
    assert torch.allclose(design.take(few).forward(weights), expected[..., few], atol=1e-12)


def test_the_covariance_of_a_product_is_the_product_of_the_kernels() -> None:
    left = FeatureSource(entity="peptide", kind="spectrum", column="text", k=2)
    right = FeatureSource(entity="drug", kind="identity")
    readings = pair_rows("abc")
    design = Product(terms=TERMS, left=left, right=right).bind([readings]).designs(readings)[0]
    _, factors = design.columns()
    assert factors is not None
    features = matrix("spectrum", "abc", "abc", k=2)
    assert np.allclose(factors @ factors.T, np.kron(features @ features.T, np.eye(3)), atol=1e-12)


def test_gradients_of_a_product_reach_its_weights() -> None:
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randn(n, 2, dtype=torch.float64, generator=generator) for n in (3, 4))
    design = Pairs(left, right, torch.tensor([0, 2, 2]), torch.tensor([1, 3, 0]))
    weights = torch.randn(4, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(design.forward, (weights,))


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rdkit", None)
    monkeypatch.setitem(__import__("sys").modules, "rdkit.Chem", None)
    with pytest.raises(ConfigError, match="install the extra `chem`"):
        Morgan(2, 2048)


@needs_rdkit
def test_tanimoto_similarity_equals_that_of_rdkit() -> None:
    from rdkit import Chem, DataStructs  # pyright: ignore[reportMissingImports]
    from rdkit.Chem import rdFingerprintGenerator  # pyright: ignore[reportMissingImports]

    smiles = {"ethanol": "CCO", "propanol": "CCCO", "benzene": "c1ccccc1", "phenol": "c1ccccc1O"}
    kernel = Morgan(2, 2048)
    prints = kernel.describe([Item(name, (text,), name) for name, text in smiles.items()])
    maker = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    theirs = [maker.GetFingerprint(Chem.MolFromSmiles(text)) for text in smiles.values()]
    expected = [DataStructs.BulkTanimotoSimilarity(one, theirs) for one in theirs]
    assert np.allclose(kernel.between(prints, prints), expected, atol=1e-15)


@needs_rdkit
def test_a_wrong_smiles_is_refused_by_name_and_line() -> None:
    source = FeatureSource(entity="peptide", kind="morgan", column="text")
    with pytest.raises(DataError, match=r"rows, line 3: `b` has no valid SMILES; got `C1CC`"):
        source.bind([rows("ab", {"a": "CCO", "b": "C1CC"})])
