"""A factor C of an easy matrix C Cᵀ near the Hessian, in whose coordinates C⁻¹ H C⁻ᵀ is near the identity.

All weights of the largest families count as coupled only to the same label in other terms (small blocks D).
The other parameters (energies of the graph, calibrations, noise, small families) have their dense block A.
Where H is sparse, the coupling B between both is kept, too: then C Cᵀ = [[D, Bᵀ], [B, A]], which is H itself
if no two weights of large families meet in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from multiscale.fit.molecular.linear import on_device
from multiscale.fit.molecular.operator import Curvature
from multiscale.model.parameters import Block, ParameterTable

__all__ = ["Groups", "Preconditioner", "precondition"]

SMALL = 2000
"""Most parameters of the dense block."""

PRODUCTS = 400_000_000  # most pairs of small parameters coupled by a weight that are eliminated


@dataclass(frozen=True, eq=False)
class Groups:
    """How parameters are split.

    Args:
        small: blocks of the dense part.
        large: families of the rest, each the blocks of its terms.
    """

    small: list[slice]
    large: list[list[slice]]

    @classmethod
    def of(cls, parameters: ParameterTable) -> Groups:
        """Smallest blocks first into the dense part; what is left, family by family."""
        where, small, families, total = parameters.slices(), [], {}, 0
        for block in sorted(parameters.blocks, key=len):
            total += len(block)
            if total <= SMALL:
                small.append(where[block.name])
            else:
                families.setdefault(_family(block), []).append(where[block.name])
        return cls(sorted(small, key=lambda s: s.start), list(families.values()))


def _family(block: Block) -> tuple[str, int, str, str]:
    """What blocks of the same labels in several terms share."""
    return block.name.rsplit(" ", 1)[0], len(block), block.labels[0], block.labels[-1]


@dataclass(frozen=True, eq=False)
class _Coupled:
    """Weights of one family: position, (label, term), inverse D⁻¹ of their blocks, R Rᵀ = D⁻¹."""

    index: Tensor
    inverse: Tensor
    root: Tensor


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """C and what follows from it.

    Args:
        large: blocks of weights of large families.
        small: positions of the others.
        factor: Cholesky factor of their block, the large weights eliminated.
        coupling: B and Bᵀ, (small, parameter) and (parameter, small); None where they count as zero.
    """

    large: list[_Coupled]
    small: Tensor
    factor: Tensor
    coupling: tuple[Tensor, Tensor] | None

    def lower(self, v: Tensor) -> Tensor:
        """C⁻¹ v, (parameter, column)."""
        found, alone = torch.empty_like(v), torch.zeros_like(v)
        for part in self.large:
            found[part.index] = torch.einsum("lut,luk->ltk", part.root, v[part.index])
            alone[part.index] = torch.einsum("ltu,luk->ltk", part.root, found[part.index])
        rest = v[self.small] if self.coupling is None else v[self.small] - self.coupling[0] @ alone
        found[self.small] = torch.linalg.solve_triangular(self.factor, rest, upper=False)
        return found

    def upper(self, y: Tensor) -> Tensor:
        """C⁻ᵀ y, (parameter, column)."""
        found = torch.empty_like(y)
        found[self.small] = torch.linalg.solve_triangular(self.factor.T, y[self.small], upper=True)
        back = None if self.coupling is None else self.coupling[1] @ found[self.small]
        for part in self.large:
            own = y[part.index]
            if back is not None:
                own = own - torch.einsum("lut,luk->ltk", part.root, back[part.index])
            found[part.index] = torch.einsum("ltu,luk->ltk", part.root, own)
        return found

    @property
    def ln_determinant(self) -> float:
        """ln |C Cᵀ|."""
        found = 2 * float(self.factor.diagonal().log().sum())
        return found - sum(2 * float(p.root.diagonal(dim1=1, dim2=2).log().sum()) for p in self.large)


def precondition(curvature: Curvature, groups: Groups) -> Preconditioner:
    """Factor what is easy; what is not positive definite is taken from the convexified Hessian."""
    found = _factored(curvature, groups)
    if found is None:
        convex = curvature.convexified()
        found = _factored(convex, groups) or _diagonal(convex)
    return found


def _diagonal(curvature: Curvature) -> Preconditioner:
    """The diagonal alone, where rounding leaves nothing else positive definite."""
    index = torch.arange(curvature.size, device=curvature.slope.device)[:, None]
    root = curvature.diagonal.rsqrt()[:, None, None]
    none = index[:0, 0]
    return Preconditioner([_Coupled(index, root**2, root)], none, root.new_zeros(0, 0), None)


def _factored(curvature: Curvature, groups: Groups) -> Preconditioner | None:
    """With the coupling if it can be eliminated, else without; None if a block is not positive definite."""
    large = []
    for family in groups.large:
        part = _coupled(curvature, family)
        if part is None:
            return None
        large.append(part)
    device = curvature.slope.device
    small = torch.cat([torch.arange(b.start, b.stop, device=device) for b in groups.small])
    dense = curvature.block(groups.small)
    B = _coupling(curvature, small, large)
    if B is not None:
        factor, failed = torch.linalg.cholesky_ex(dense - _eliminated(B, large))
        if not failed:
            return Preconditioner(
                large, small, factor, (on_device(B, device), on_device(B.T.tocsr(), device))
            )
    factor, failed = torch.linalg.cholesky_ex(dense)
    return None if failed else Preconditioner(large, small, factor, None)


def _coupled(curvature: Curvature, family: Sequence[slice]) -> _Coupled | None:
    """Blocks of one family by label."""
    blocks = curvature.slope.new_empty(family[0].stop - family[0].start, len(family), len(family))
    for a, one in enumerate(family):
        blocks[:, a, a] = curvature.diagonal[one]
        for b, other in enumerate(family[:a]):
            blocks[:, a, b] = blocks[:, b, a] = curvature.between(one, other)
    factor, failed = torch.linalg.cholesky_ex(blocks)
    if failed.any():
        return None
    index = torch.stack([torch.arange(w.start, w.stop, device=blocks.device) for w in family], 1)
    eye = torch.eye(len(family), dtype=blocks.dtype, device=blocks.device).expand_as(blocks)
    root = torch.linalg.solve_triangular(factor, eye, upper=False).mT.contiguous()  # R = L⁻ᵀ
    return _Coupled(index, root @ root.mT, root)


def _coupling(curvature: Curvature, small: Tensor, large: Sequence[_Coupled]) -> sparse.csr_matrix | None:
    """Small parameters' lines of a sparse H, without their own block; None if they take long to eliminate."""
    if not curvature.landscape.summed or not large:
        return None
    at, own = small.cpu().numpy(), np.zeros(curvature.size)
    for part in large:
        own[part.index.cpu().numpy()] = 1.0
    lines = (curvature.matrix[at] @ sparse.diags(own)).tocsr()
    lines.eliminate_zeros()
    each = np.bincount(lines.indices, minlength=curvature.size).astype(float)
    return sparse.csr_matrix(lines) if (each**2).sum() <= PRODUCTS else None


def _eliminated(B: sparse.csr_matrix, large: Sequence[_Coupled]) -> Tensor:
    """B D⁻¹ Bᵀ, dense."""
    values, lines, columns = [], [], []
    for part in large:
        index, inverse = part.index.cpu().numpy(), part.inverse.cpu().numpy()
        terms = index.shape[1]
        values.append(inverse.ravel())
        lines.append(np.repeat(index, terms, axis=1).ravel())
        columns.append(np.tile(index, terms).ravel())
    entries = np.concatenate(values), (np.concatenate(lines), np.concatenate(columns))
    size = B.get_shape()[1]
    D = sparse.csr_matrix(entries, shape=(size, size))
    found = (B @ (D @ B.T)).toarray()
    return torch.as_tensor(found, device=large[0].index.device)
