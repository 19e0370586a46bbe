"""The only definition of what travels along an edge: gather from source, apply the law, scatter to target.

Every message takes node values of shape (..., node) and an edge list of shape (2, edge) of positions (source,
target); edges are shared by all leading axes (start, context) and never copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from multiscale.physics.law import Law
from multiscale.physics.scales import phenotype_rate, supply

__all__ = ["Group", "bind", "change", "drive", "fluxes", "pool", "total", "translate", "weighted"]


@dataclass(frozen=True, eq=False)
class Group:
    """Reactions that share one law: a step costs one gather, one call and one scatter per law.

    Args:
        law: their rate law.
        slots: where each reaction finds what the law reads, positions among all quantities, (reaction, slot).
        reactions: their positions among all reactions, (reaction,).
    """

    law: Law
    slots: Tensor
    reactions: Tensor


def fluxes(quantities: Tensor, groups: Sequence[Group], place: Tensor | None = None) -> Tensor:
    """Species, time and constants set the flux of every reaction: v = law(quantities of the reaction).

    Args:
        quantities: all that laws may read (concentrations, time, constants), shape (..., quantity).
        groups: the reactions, by law; every reaction lies in one group.
        place: where each reaction lies among those of all groups, shape (reaction,); None = in that order.

    Returns:
        v, shape (..., reaction).

    Source: definition.
    """
    parts = [group.law.rate(quantities[..., group.slots]) for group in groups]
    joined = torch.cat(parts, -1) if parts else quantities[..., :0]
    return joined if place is None else joined.index_select(-1, place)


def change(flux: Tensor, coefficient: Tensor, edges: Tensor, species: int) -> Tensor:
    """Reactions change species: dx_s/dt = Σ_r c_sr v_r, that is N v.

    Args:
        flux: v, shape (..., reaction).
        coefficient: c per edge: net stoichiometry, times the volume in which v is counted over that of the
            species, shape (edge,).
        edges: reaction → species, shape (2, edge).
        species: number of species.

    Returns:
        shape (..., species).

    Source: definition.
    """
    return _sum(flux, coefficient, edges, species)


def weighted(value: Tensor, weight: Tensor) -> Tensor:
    """What travels along an edge that carries a number: that number times the value of its source.

    The message of all sums here: stoichiometry times flux, subunits times concentration, weight times ln.
    """
    return weight * value


def _sum(values: Tensor, weight: Tensor, edges: Tensor, targets: int) -> Tensor:
    """Weighted messages summed at their targets, shape (..., target)."""
    source, target = edges
    message = weighted(values[..., source], weight)
    return message.new_zeros(*message.shape[:-1], targets).index_add(-1, target, message)


def translate(ln_transcript: Tensor, ln_translation: Tensor, edges: Tensor) -> Tensor:
    """Transcripts supply the molecules they encode: s_m = Σ_(r encodes m) t_m R_r.

    Args:
        ln_transcript: ln R, shape (..., transcript).
        ln_translation: ln t, shape (..., molecule).
        edges: transcript → molecule, shape (2, edge).

    Returns:
        ln s, shape (..., molecule); −inf for a molecule that nothing encodes.

    Source: definition; several transcripts of one molecule add up.
    """
    source, target = edges
    message = supply(ln_translation[..., target], ln_transcript[..., source])
    index = target.expand_as(message)
    empty = torch.zeros(
        (*message.shape[:-1], ln_translation.shape[-1]), dtype=message.dtype, device=message.device
    )
    peak = (empty - torch.inf).scatter_reduce(-1, index, message.detach(), "amax")
    total = empty.scatter_add(-1, index, (message - peak.gather(-1, index)).exp())
    return total.log() + torch.where(total > 0, peak, empty)


def pool(ln_members: Tensor, weight: Tensor, edges: Tensor, pathways: int) -> Tensor:
    """Members set the activity of pathways: a_p = Σ_i sign_i w_i ln(x_i / x_i,ref).

    Args:
        ln_members: ln(x/x_ref), shape (..., species).
        weight: sign_i · w_i per edge, shape (edge,).
        edges: species → pathway, shape (2, edge).
        pathways: number of pathways.

    Returns:
        activity, shape (..., pathway).

    Source: definition (physics.scales.pathway_activity).
    """
    return _sum(ln_members, weight, edges, pathways)


def bind(ln_free: Tensor, ln_weight: Tensor, subunits: Tensor, edges: Tensor) -> Tensor:
    """Free molecules set the complexes that they form: ln x_j = ln w_j + Σ_m A_mj ln x_m.

    Args:
        ln_free: ln of free concentrations (µM), −inf for a molecule that is absent, shape (..., molecule).
        ln_weight: ln w of `physics.energy.ln_weight`, shape (..., complex).
        subunits: A per edge, at least 1, shape (edge,).
        edges: molecule → complex, shape (2, edge).

    Returns:
        ln x in ln µM, shape (..., complex); −inf where a subunit is absent.

    Source: definition (mass action).
    """
    source, target = edges
    message = weighted(ln_free[..., source], subunits)
    shape = torch.broadcast_shapes(ln_free.shape[:-1], ln_weight.shape[:-1])
    start = ln_weight.expand(*shape, ln_weight.shape[-1])
    return start.index_add(-1, target, message.expand(*shape, message.shape[-1]))


def total(free: Tensor, bound: Tensor, subunits: Tensor, edges: Tensor) -> Tensor:
    """Complexes count towards the molecules that they hold: T_m = x_m + Σ_j A_mj x_j.

    Args:
        free: x of molecules, µM, shape (..., molecule).
        bound: x of complexes, µM, shape (..., complex).
        subunits: A per edge, shape (edge,).
        edges: complex → molecule, shape (2, edge).

    Returns:
        T in µM, shape (..., molecule).

    Source: definition.
    """
    source, target = edges
    return free.index_add(-1, target, weighted(bound[..., source], subunits))


def drive(activity: Tensor, base: Tensor, weight: Tensor, edges: Tensor, bound: float | Tensor) -> Tensor:
    """Pathways drive one phenotype of cells: μ_c = μ₀ + b · tanh(Σ_p β_p a_p / b).

    Args:
        activity: a, shape (..., pathway).
        base: μ₀, 1/s, shape (..., cell).
        weight: β per edge, 1/s: sign times a weight that is not negative, shape (edge,).
        edges: pathway → cell, of one phenotype, shape (2, edge).
        bound: b > 0, the largest change of the rate, 1/s.

    Returns:
        μ, 1/s, shape (..., cell).

    Source: definition (physics.scales.phenotype_rate).
    """
    return phenotype_rate(base, _sum(activity, weight, edges, base.shape[-1]), bound)
