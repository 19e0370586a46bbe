from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from multiscale.data.matrix import Matrix
from multiscale.data.recover import Recovered, common_target, counts_of

TOTAL = 3000


def matrix(natural: np.ndarray, base: float = np.e, dtype: type = np.float32) -> Matrix:
    """A log1p-normalised matrix in the precision in which it would be stored."""
    logs = (np.log1p(natural) / np.log(base)).astype(dtype).astype(float)
    cells, features = (
        pd.Index([f"{axis}{i}" for i in range(n)]) for axis, n in zip("cg", logs.shape, strict=True)
    )
    return Matrix("X", sparse.csr_array(logs), cells, features, base)


def draw(seed: int, cells: int = 6, features: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Counts and total counts of cells of different sizes, of which the features are a part."""
    random = np.random.default_rng(seed)
    counts = random.poisson(random.gamma(0.4, 6.0, features) * random.uniform(0.5, 2.0, (cells, 1)))
    counts[:, 0] = 1
    return counts, (counts.sum(1) + random.integers(0, TOTAL, cells)).astype(float)


def found(counts: Recovered | None) -> Recovered:
    assert counts is not None
    return counts


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), target=st.sampled_from([1e4, 1e6]), base=st.sampled_from([np.e, 2.0]))
def test_counts_come_back_from_float32_logarithms(seed: int, target: float, base: float) -> None:
    counts, size = draw(seed)
    result = found(counts_of(matrix(counts / size[:, None] * target, base), size, None, True))
    np.testing.assert_array_equal(result.counts.toarray(), counts)
    assert (result.recovered, result.target_sum) == (True, target)


def test_the_median_size_is_a_usual_target() -> None:
    counts, size = draw(1)
    result = found(counts_of(matrix(counts / size[:, None] * np.median(size)), size, None, True))
    np.testing.assert_array_equal(result.counts.toarray(), counts)
    assert result.target_sum == np.median(size)


def test_a_whole_transcriptome_tells_its_target() -> None:
    counts, _ = draw(2)
    size = counts.sum(1).astype(float)
    normal = matrix(counts / size[:, None] * 7777.0)
    result = found(counts_of(normal, size, None, True))
    np.testing.assert_array_equal(result.counts.toarray(), counts)
    assert result.target_sum == pytest.approx(7777.0, rel=1e-5)


def test_sums_that_differ_tell_no_target() -> None:
    assert common_target(sparse.csr_array(np.array([[1.0, 3.0], [2.0, 2.5]]))) is None


def test_the_smallest_value_of_a_cell_is_one_count_if_sizes_are_unknown() -> None:
    counts, size = draw(3)
    result = found(counts_of(matrix(counts / size[:, None] * 1e4), None, None, True))
    np.testing.assert_array_equal(result.counts.toarray(), counts)
    assert result.target_sum is None


def test_cells_with_few_values_do_not_tell_what_one_count_is() -> None:
    counts, size = draw(4, features=15)
    assert counts_of(matrix(counts / size[:, None] * 1e4), None, None, True) is None


def test_a_wrong_target_is_not_taken_for_the_right_one() -> None:
    counts, size = draw(5)
    assert counts_of(matrix(counts / size[:, None] * 1e4), size, 1234.0, True) is None


def test_twice_the_usual_target_does_not_double_the_counts() -> None:
    counts, size = draw(6)
    result = found(counts_of(matrix(counts / size[:, None] * 2e4), size, None, True))
    np.testing.assert_array_equal(result.counts.toarray(), counts)


def test_values_are_not_rounded_to_nothing() -> None:
    counts, size = draw(7)
    counts = counts.astype(float)
    counts[0, 0] = 0.05
    assert counts_of(matrix(counts / size[:, None] * 1e4), size, 1e4, True) is None


def test_integers_are_counts_as_they_are() -> None:
    counts, _ = draw(8)
    plain = Matrix("X", sparse.csr_array(counts.astype(float)), pd.Index([]), pd.Index([]), np.e)
    result = found(counts_of(plain, None, None, False))
    np.testing.assert_array_equal(result.counts.toarray(), counts)
    assert (result.recovered, result.max_deviation) == (False, 0.0)
