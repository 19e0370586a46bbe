"""Binding equilibrium of many systems at once: concentrations of all species from weights and totals.

The formula falls apart into blocks, sets of molecules joined by complexes. Molecules that form one species
only are solved in closed form, every other block by the damped Newton method of `dual_newton`, on the CPU by
its compiled twin, `equilibrium_kernel`. Gradients follow from the implicit-function theorem: with
v = ∂L/∂ln x, u = ∂L/∂λ and H = A diag(x) Aᵀ,

    H μ = A v + u,   ∂L/∂T = μ,   ∂L/∂ln w = v − x ∘ Aᵀμ,

so they cost one factorisation, however many steps the solution took.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from multiscale.solver.dual_newton import RULES, factorise, is_feasible, newton, substitute
from multiscale.solver.status import Status

if TYPE_CHECKING:
    from multiscale.solver.equilibrium_kernel import Layout

__all__ = ["Equilibrium", "equilibrium"]

_SYSTEMS_PER_THREAD = 256  # fewer are solved sooner than a thread starts


class Equilibrium(NamedTuple):
    """Result of `equilibrium`; leading dimensions are those of the batch."""

    x: Tensor
    """Concentrations in the caller's unit, shape (..., species)."""
    ln_x: Tensor
    """Their logarithm, −inf for species that contain a molecule of total zero."""
    multipliers: Tensor
    """λ, shape (..., molecule): ln of the free concentration where the free form has weight 1."""
    status: Tensor
    """Numbers of `Status`, shape (...)."""

    @property
    def solved(self) -> Tensor:
        """Which systems have a solution, shape (...)."""
        return self.status <= Status.ROUNDING


def equilibrium(
    formula: ArrayLike | Tensor,
    ln_weight: ArrayLike | Tensor,
    totals: ArrayLike | Tensor,
    *,
    start: Tensor | None = None,
    max_steps: int = 100,
    compiled: bool | None = None,
) -> Equilibrium:
    """Concentrations at which all binding is in equilibrium and every molecule is accounted for.

    ln x_j = ln w_j + Σ_m A_mj λ_m and T_m = Σ_j A_mj x_j, to a relative error of 1e-13 in T (or the rounding
    error of the exponents, if larger). Free forms have w = 1; a complex formed with dissociation constant Kd
    has w = 1/Kd, in the caller's unit.

    Args:
        formula: A, subunits of each molecule in each species, integers ≥ 0, shape (molecule, species). Free
            forms are columns too; a molecule may lack one if complexes alone can hold its total.
        ln_weight: ln w, finite float64, shape (..., species), in powers of the unit of `totals`.
        totals: T ≥ 0, finite float64, any one unit, shape (..., molecule). Leading dimensions broadcast.
            Where T = 0, the molecule and its complexes vanish (x = 0, ln x = −inf).
        start: `multipliers` of a nearby problem, shape (..., molecule); ignored where they are far off.
        max_steps: Newton steps granted to each system, at least 1.
        compiled: True for the compiled twin, False for the PyTorch definition; by default the twin on CPUs.

    Returns:
        `Equilibrium`. A system without a solution keeps the finite values of its last step beside its status:
        they do not balance. Gradients flow into `ln_weight` and `totals`, one-sided at totals of zero;
        infinite logarithms and systems without a solution pass none on.

    Raises:
        ValueError: an argument has a wrong shape or type, is not finite, or is negative.

    Source: definition (convex dual of mass action).

    One µM of each partner and Kd = 0.5 µM: half of each is bound, since 0.5 · 0.5 / 0.5 = 0.5.

    >>> result = equilibrium([[1, 0, 1], [0, 1, 1]], [0.0, 0.0, -math.log(0.5)], [1.0, 1.0])
    >>> [round(value, 12) for value in result.x.tolist()], Status(int(result.status)).text
    ([0.5, 0.5, 0.5], 'converged')
    """
    counts = _checked_formula(formula)
    weight = _checked("ln_weight", ln_weight, "species", counts.shape[1])
    total = _checked("totals", totals, "molecule", counts.shape[0])
    if bool((total < 0).any()):
        raise ValueError(f"`totals` must not be negative; got {float(total.min())}. Correct or drop it.")
    begin = _checked_start(start, counts.shape[0], total)
    if max_steps < 1:
        raise ValueError(f"`max_steps` must be at least 1; got {max_steps}.")
    if compiled and weight.device.type != "cpu":
        raise ValueError(f"`compiled` is for the CPU; `ln_weight` is on {weight.device}. Leave it out.")
    parts = _parts(counts.shape, counts.tobytes(), weight.device)
    batch = torch.broadcast_shapes(*(part.shape[:-1] for part in (weight, total, begin)))
    flat = [part.expand((*batch, -1)).reshape(-1, part.shape[-1]) for part in (weight, total, begin)]
    twin = weight.device.type == "cpu" if compiled is None else compiled
    results = _Solve.apply(*flat, parts, max_steps, twin)
    return Equilibrium(*(part.reshape((*batch, *part.shape[1:])) for part in results))


def _checked_formula(formula: ArrayLike | Tensor) -> np.ndarray:
    """The formula as a float64 matrix of non-negative integers without empty rows or columns."""
    matrix = np.asarray(formula.detach().cpu() if isinstance(formula, Tensor) else formula)
    if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
        got = f"{matrix.dtype} of shape {matrix.shape}"
        raise ValueError(f"`formula` must be a numeric matrix (molecule, species); got {got}.")
    counts = np.ascontiguousarray(matrix, dtype=np.float64)
    wrong = np.argwhere(~((counts >= 0) & (counts == np.rint(counts)) & np.isfinite(counts)))
    for m, j in wrong[:1]:
        got = f"{counts[m, j]} for molecule {m} in species {j}"
        raise ValueError(f"`formula` must hold non-negative integers; got {got}. Correct the stoichiometry.")
    for axis, kind, remedy in ((1, "molecule", "Give it a free form"), (0, "species", "List its subunits")):
        for empty in np.flatnonzero(~(counts > 0).any(axis))[:1]:
            raise ValueError(f"`formula` has only zeros for {kind} {empty}. {remedy} or leave it out.")
    return counts


def _checked(name: str, values: ArrayLike | Tensor, axis: str, length: int) -> Tensor:
    """A finite float64 tensor whose last axis has the right length."""
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    if tensor.dtype != torch.float64:
        raise ValueError(f"`{name}` must be float64; got {tensor.dtype}. Convert it with `.double()`.")
    if tensor.ndim == 0 or tensor.shape[-1] != length:
        got = tuple(tensor.shape)
        raise ValueError(f"`{name}` must have shape (..., {axis}) with {length} as in `formula`; got {got}.")
    infinite = ~np.isfinite(tensor.detach().cpu().numpy())
    if infinite.any():
        got = tensor[torch.from_numpy(infinite)][0].item()
        raise ValueError(
            f"`{name}` must be finite; got {got}. To exclude a {axis}, leave it out of `formula`."
        )
    return tensor


def _checked_start(start: Tensor | None, molecules: int, totals: Tensor) -> Tensor:
    """The start without its history; NaN, which is never close, if none is given."""
    if start is None:
        return totals.new_full((molecules,), math.nan)
    if start.dtype != torch.float64 or start.ndim == 0 or start.shape[-1] != molecules:
        got = f"{start.dtype} of shape {tuple(start.shape)}"
        raise ValueError(f"`start` must be `multipliers` of an earlier call, (..., {molecules}); got {got}.")
    return start.detach()


class _Block(NamedTuple):
    """Molecules joined by complexes: their indices, the indices of their species, and their formula."""

    molecules: Tensor
    species: Tensor
    formula: Tensor


@dataclass(frozen=True, eq=False)
class _Parts:
    """A formula taken apart.

    `single` has the molecules that form one species only, these species in the same order, and in place of a
    formula their numbers of subunits. `joined` has all other blocks; `molecules` and `species` list theirs.
    """

    single: _Block
    joined: list[_Block]
    molecules: Tensor
    species: Tensor

    @cached_property
    def layout(self) -> Layout:
        """The joined blocks as the compiled twin wants them."""
        from multiscale.solver.equilibrium_kernel import layout

        return layout([block.formula.numpy() for block in self.joined])


@lru_cache(maxsize=64)
def _parts(shape: tuple[int, int], content: bytes, device: torch.device) -> _Parts:
    """Take a formula apart into the connected components of molecules that share species."""
    from scipy.sparse.csgraph import connected_components

    counts = np.frombuffer(content).reshape(shape)
    number, of_molecule = connected_components(counts @ counts.T, directed=False)
    of_species = of_molecule[counts.argmax(0)]
    every = [(np.flatnonzero(of_molecule == k), np.flatnonzero(of_species == k)) for k in range(number)]
    joined = [(m, s) for m, s in every if len(s) > 1]
    single = [(m, s) for m, s in every if len(s) == 1 and len(m) == 1]
    joined += [(m, s) for m, s in every if len(s) == 1 and len(m) > 1]

    def index(blocks: list[tuple[np.ndarray, np.ndarray]], axis: int) -> Tensor:
        return torch.as_tensor([k for block in blocks for k in block[axis]], dtype=torch.int64, device=device)

    matrix = torch.tensor(counts, device=device)
    pairs = [(index([block], 0), index([block], 1)) for block in joined]
    m, s = index(single, 0), index(single, 1)
    blocks = [_Block(m, s, matrix[m][:, s]) for m, s in pairs]
    return _Parts(_Block(m, s, matrix[m, s]), blocks, index(joined, 0), index(joined, 1))


class _Solve(torch.autograd.Function):
    """Equilibrium of flat batches, differentiable in `ln_weight` and `totals`."""

    @staticmethod
    def forward(
        ctx: Any, ln_weight: Tensor, totals: Tensor, start: Tensor, parts: _Parts, max_steps: int, twin: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, ln_x = torch.empty_like(ln_weight), torch.empty_like(ln_weight)
        multipliers, status = torch.empty_like(totals), torch.zeros_like(totals[:, 0], dtype=torch.int64)
        m, s, n = parts.single
        x[:, s] = totals[:, m] / n
        ln_x[:, s] = x[:, s].log()
        multipliers[:, m] = (ln_x[:, s] - ln_weight[:, s]) / n
        if parts.joined:
            solve = _solve_compiled if twin else _solve
            solve(parts, ln_weight, totals, start, max_steps, (x, ln_x, multipliers, status))
            _find_infeasible(parts, totals, status)
        ctx.parts, ctx.twin = parts, twin
        ctx.save_for_backward(ln_weight, totals, x, ln_x, multipliers, status)
        ctx.mark_non_differentiable(status)
        ctx.set_materialize_grads(False)
        return x, ln_x, multipliers, status

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        ln_weight, totals, x, ln_x, multipliers, status = ctx.saved_tensors
        outputs = x, ln_x, multipliers
        adjoint = _adjoint_compiled if ctx.twin and not torch.is_grad_enabled() else _adjoint
        mu, grad_ln_weight = adjoint(ctx.parts, totals, outputs, status, grads[:3])
        if bool((totals == 0).any()):
            solved = (status <= Status.ROUNDING).unsqueeze(-1)
            grad_x = torch.zeros_like(x) if grads[0] is None else torch.where(solved, grads[0], 0.0)
            mu = mu + _adjoint_at_zero(ctx.parts, ln_weight, totals, multipliers, grad_x, mu)
        return grad_ln_weight, mu, None, None, None, None


def _solve(
    parts: _Parts, ln_weight: Tensor, totals: Tensor, start: Tensor, max_steps: int, out: tuple[Tensor, ...]
) -> None:
    """Fill `out` (x, ln x, λ, status) for the joined blocks: the definition."""
    x, ln_x, multipliers, status = out
    for m, s, formula in parts.joined:
        result, ended = newton(formula, ln_weight[:, s], totals[:, m], start[:, m], max_steps)
        absent = totals[:, m] == 0
        exponent = ln_weight[:, s] + result.masked_fill(absent, 0.0) @ formula
        multipliers[:, m] = result
        ln_x[:, s] = exponent.masked_fill(absent.to(formula) @ formula > 0, -math.inf)
        x[:, s] = ln_x[:, s].exp()
        status.copy_(torch.maximum(status, ended))


def _solve_compiled(
    parts: _Parts, ln_weight: Tensor, totals: Tensor, start: Tensor, max_steps: int, out: tuple[Tensor, ...]
) -> None:
    """The same by the compiled twin; systems are independent, so the number of threads changes no bit."""
    from multiscale.solver.equilibrium_kernel import solve_blocks

    m, s = parts.molecules.numpy(), parts.species.numpy()
    ln_w, T = (np.take(part.numpy(), axis, 1) for part, axis in ((ln_weight, s), (totals, m)))
    with np.errstate(divide="ignore"):
        arrays = [ln_w, np.log(T), T, np.take(start.numpy(), m, 1), np.empty_like(ln_w), np.empty_like(ln_w)]
    ended = np.empty((len(totals), len(parts.joined)), np.int64)

    def work(rows: slice) -> None:
        solve_blocks(RULES, parts.layout, max_steps, ended[rows], *(array[rows] for array in arrays))

    _in_threads(work, len(totals))
    x, ln_x, multipliers, status = (part.numpy() for part in out)
    multipliers[:, m], ln_x[:, s], x[:, s] = arrays[3:]
    status[:] = ended.max(1)


def _in_threads(work: Callable[[slice], None], count: int) -> None:
    """Run `work` on slices of `count` systems in as many threads as PyTorch uses."""
    threads = min(torch.get_num_threads(), count // _SYSTEMS_PER_THREAD)
    if threads < 2:
        work(slice(0, count))
        return
    edges = np.linspace(0, count, 4 * threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, map(slice, edges[:-1], edges[1:])))


def _find_infeasible(parts: _Parts, totals: Tensor, status: Tensor) -> None:
    """Tell totals that no concentrations can give from systems that only stopped early."""
    for system in torch.nonzero(status == Status.NOT_CONVERGED).flatten().tolist():
        for m, _, formula in parts.joined:
            if not is_feasible(formula.cpu().numpy(), totals[system, m].cpu().numpy()):
                status[system] = Status.INFEASIBLE


def _adjoint(
    parts: _Parts,
    totals: Tensor,
    outputs: tuple[Tensor, ...],
    status: Tensor,
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor, Tensor]:
    """μ with H μ = A v + u, and v − x ∘ Aᵀμ; differentiable, so that second derivatives exist."""
    x, v, u = _seeds(torch, totals, outputs, status, grads)
    m, s, n = parts.single
    mu = torch.zeros_like(u).index_copy(1, m, _adjoint_single(torch, n, x[:, s], v[:, s], u[:, m]))
    grad = torch.zeros_like(v).index_copy(1, s, -u[:, m] / n)
    for m, s, formula in parts.joined:
        solution = substitute(factorise(formula, x[:, s]), v[:, s] @ formula.T + u[:, m])
        mu = mu.index_copy(1, m, solution)
        grad = grad.index_copy(1, s, v[:, s] - x[:, s] * (solution @ formula))
    return mu, grad


def _adjoint_compiled(
    parts: _Parts,
    totals: Tensor,
    outputs: tuple[Tensor, ...],
    status: Tensor,
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor, Tensor]:
    """The same by the compiled twin, in NumPy."""
    from multiscale.solver.equilibrium_kernel import adjoint_blocks

    values = tuple(part.numpy() for part in outputs)
    seeds = tuple(None if grad is None else grad.numpy() for grad in grads)
    x, v, u = _seeds(np, totals.numpy(), values, status.numpy(), seeds)
    m, s, n = (part.numpy() for part in parts.single)
    mu, grad = np.empty_like(u), np.empty_like(v)
    mu[:, m], grad[:, s] = _adjoint_single(np, n, x[:, s], v[:, s], u[:, m]), -u[:, m] / n
    if parts.joined:
        m, s = parts.molecules.numpy(), parts.species.numpy()
        arrays = np.take(x, s, 1), np.take(v, s, 1), np.take(u, m, 1)
        _in_threads(lambda rows: adjoint_blocks(parts.layout, *(array[rows] for array in arrays)), len(x))
        grad[:, s], mu[:, m] = arrays[1:]
    return torch.from_numpy(mu), torch.from_numpy(grad)


def _seeds(
    xp: Any, totals: Any, outputs: tuple[Any, ...], status: Any, grads: tuple[Any, ...]
) -> tuple[Any, ...]:
    """x, v = ∂L/∂ln x and u = ∂L/∂λ without what passes no gradient on; `xp` is torch or NumPy."""
    x, ln_x, _ = outputs
    solved = (status <= Status.ROUNDING)[:, None]
    grad_x, grad_ln_x, grad_multipliers = (
        xp.zeros_like(value) if grad is None else xp.where(solved, grad, 0.0)
        for grad, value in zip(grads, outputs, strict=True)
    )
    v = x * grad_x + xp.where(xp.isfinite(ln_x), grad_ln_x, 0.0)
    return x, v, xp.where(totals > 0, grad_multipliers, 0.0)


def _adjoint_single(xp: Any, n: Any, x: Any, v: Any, u: Any) -> Any:
    """μ of molecules that form one species of n subunits, where H = n² x."""
    present = x > 0
    return xp.where(present, (n * v + u) / (n * n * xp.where(present, x, 1.0)), 0.0)


def _adjoint_at_zero(
    parts: _Parts, ln_weight: Tensor, totals: Tensor, multipliers: Tensor, grad_x: Tensor, mu: Tensor
) -> Tensor:
    """One-sided gradient in totals that are zero; zeros elsewhere.

    The first molecules to arrive go into the species with the fewest of them and nothing else absent, in
    proportion to z_j = w_j Π_k x_k^A_kj over the molecules k that are present: dx_j/dT_m = z_j / (A_mj Σ z).
    What they bind is missing elsewhere, which costs (Aᵀμ)_j.
    """
    m, s, n = parts.single
    result = torch.zeros_like(mu).index_copy(1, m, torch.where(totals[:, m] == 0, grad_x[:, s] / n, 0.0))
    for m, s, formula in parts.joined:
        absent = totals[:, m] == 0
        sole = absent.to(formula) @ (formula > 0).to(formula) == 1
        possible = absent.unsqueeze(-1) & sole.unsqueeze(-2) & (formula > 0)
        fewest = torch.where(possible, formula, math.inf).amin(-1, keepdim=True)
        first = possible & (formula == fewest)
        ln_z = ln_weight[:, s] + multipliers[:, m].masked_fill(absent, 0.0) @ formula
        otherwise = torch.where(first.any(-1, keepdim=True), -math.inf, 0.0)
        share = torch.where(first, ln_z.unsqueeze(-2), otherwise).softmax(-1) * first / formula.clamp(min=1)
        cost = (grad_x[:, s] - mu[:, m] @ formula).unsqueeze(-2)
        result = result.index_copy(1, m, (share * cost).sum(-1))
    return result
