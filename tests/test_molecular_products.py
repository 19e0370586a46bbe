"""Products with stacked designs: equal to products with matrices that are written out."""

import pytest
import torch

from multiscale.encoders.design import Dense, Indexed, Pairs, Weighted
from multiscale.fit.molecular import products
from multiscale.fit.molecular.products import Stacked

ROWS, SIZE = 50, 41


@pytest.fixture
def normal():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def parts(normal):
    """Four scalars with designs of every kind: shared entities, own ones, empty slots, factors."""
    generator = torch.Generator().manual_seed(1)

    def index(top: int, *shape: int):
        return torch.randint(0, top, shape, generator=generator)

    drug, target = index(7, ROWS), index(5, ROWS)
    common = Indexed(torch.zeros(ROWS, 1, dtype=torch.int64), 1)
    pairs = [Pairs(normal(7, 2), normal(5, n), drug, target) for n in (3, 2)]
    return [
        [
            (slice(0, 1), common),
            (slice(1, 9), Indexed(index(9, ROWS, 3) - 1, 8)),
            (slice(9, 12), Dense(normal(7, 3), drug)),
        ],
        [
            (slice(12, 15), Dense(normal(ROWS, 3))),
            (slice(15, 21), pairs[0]),
            (slice(21, 24), Weighted(index(4, ROWS, 2) - 1, normal(ROWS, 2), 3)),
        ],
        [
            (slice(24, 28), pairs[1]),
            (slice(28, 31), Dense(normal(5, 3), target)),
            (slice(31, 34), Dense(normal(7, 3), drug)),
        ],
        [(slice(34, 40), Indexed(index(6, ROWS, 1), 6))],
    ]


@pytest.fixture
def matrix(parts):
    """The same as X, shape (scalar, row, parameter); the last parameter occurs nowhere."""
    X = torch.zeros(len(parts), ROWS, SIZE, dtype=torch.float64)
    for scalar, designs in zip(X, parts, strict=True):
        for where, design in designs:
            scalar[:, where] = design.forward(torch.eye(design.weights, dtype=torch.float64)).T
    return X


@pytest.mark.parametrize("numbers", [1 << 22, 64, 8])
@pytest.mark.parametrize("several", [64, 2])
def test_products_equal_those_with_matrices_written_out(
    parts, matrix, normal, monkeypatch, numbers: int, several: int
):
    monkeypatch.setattr(products, "NUMBERS", numbers)  # whole, in pieces, pairs written out
    monkeypatch.setattr(products, "SEVERAL", several)
    stacked, g, h, C = Stacked(parts, SIZE), normal(3, ROWS, 4), normal(ROWS, 4, 4), normal(SIZE, SIZE)
    h, C = h + h.mT, C @ C.T
    padded = torch.nn.functional.pad(C, (0, 1, 0, 1))
    torch.testing.assert_close(
        stacked.transpose(g), torch.einsum("sra,arp->sp", g, matrix), rtol=1e-11, atol=1e-11
    )
    gram = torch.einsum("rab,arp,brq->pq", h, matrix, matrix)
    torch.testing.assert_close(stacked.gram(h), gram, rtol=1e-11, atol=1e-11)
    variances = torch.einsum("arp,pq,brq->rab", matrix, C, matrix)
    torch.testing.assert_close(stacked.variances(padded), variances, rtol=1e-11, atol=1e-11)


def test_some_rows_are_those_of_all_rows(parts, normal):
    rows, C = torch.tensor([3, 0, 49, 7]), normal(SIZE, SIZE)
    padded = torch.nn.functional.pad(C @ C.T, (0, 1, 0, 1))
    some = Stacked(parts, SIZE, rows).variances(padded)
    torch.testing.assert_close(some, Stacked(parts, SIZE).variances(padded)[rows], rtol=1e-11, atol=1e-11)
