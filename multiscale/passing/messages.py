"""The only definition of what travels along an edge: gather from source, apply the law, scatter to target.

Every message takes node values of shape (..., node) and an edge list of shape (2, edge) of positions (source,
target); edges are shared by all leading axes (start, context) and never copied.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multiscale.physics.scales import supply

__all__ = ["pool", "translate"]


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
    source, target = edges
    message = weight * ln_members[..., source]
    empty = torch.zeros(*message.shape[:-1], pathways, dtype=message.dtype, device=message.device)
    return empty.scatter_add(-1, target.expand_as(message), message)
