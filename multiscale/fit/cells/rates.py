"""Parameters that training moves, and how fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from multiscale.fit.cells.schedule import CellSettings

if TYPE_CHECKING:
    from multiscale.model.cells import CellModel

__all__ = ["NETWORKS", "culprit", "rate_groups", "trained"]

NETWORKS = "posterior."
"""Begins the names of the parameters of encoder networks, which have a rate of their own."""


def trained(model: torch.nn.Module) -> tuple[list[str], list[torch.nn.Parameter]]:
    """Names and values of what training moves."""
    found = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    return [name for name, _ in found], [value for _, value in found]


def rate_groups(model: CellModel, settings: CellSettings) -> list[dict[str, Any]]:
    """Parameters with their rates: encoder networks, and everything else (free posteriors too)."""
    names, parameters = trained(model)
    network = [model.amortised and name.startswith(NETWORKS) for name in names]
    pairs = list(zip(network, parameters, strict=True))
    groups = [
        {"params": [p for inside, p in pairs if inside], "lr": settings.learning_rate},
        {"params": [p for inside, p in pairs if not inside], "lr": settings.graph_rate},
    ]
    return [group for group in groups if group["params"]]


def culprit(names: list[str], parameters: list[torch.nn.Parameter]) -> str:
    """Which parameters have no finite gradient, in words."""
    odd = [
        name
        for name, value in zip(names, parameters, strict=True)
        if value.grad is not None and not bool(value.grad.isfinite().all())
    ]
    return f"that of `{odd[0]}` is not; check priors and readings." if odd else "check the readings."
