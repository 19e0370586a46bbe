"""What a checkpoint of an unfinished fit of cells holds, as arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

if TYPE_CHECKING:
    from multiscale.fit.cells.training import Training

__all__ = ["columns", "copied", "put_back", "rows", "state_of"]

HISTORY = "history "
"""Begins the names of the columns of a history in a checkpoint."""


def state_of(training: Training) -> dict[str, Any]:
    """All that decides what comes next: parameters, moments, the best so far, position, starts of solves."""
    found: dict[str, Any] = {f"model {name}": value for name, value in training.model.state_dict().items()}
    found |= {f"best {name}": value for name, value in training.best.items()}
    for name, parameter in zip(training.names, training.parameters, strict=True):
        moments = training.optimiser.state.get(parameter, {})
        found |= {f"adam {key} {name}": value for key, value in moments.items()}
    found |= columns(training.history)
    plateau = training.plateau
    found["position"] = np.array([training.epoch, training.done, training.skipped, plateau.waited])
    found["plateau"] = np.array([plateau.best, plateau.rate, training.seconds])
    found |= training.warm.state("warm") | training.warm_watched.state("warm_watched")
    return found | {"tally": training.tally.sums}


def put_back(training: Training, arrays: Mapping[str, np.ndarray]) -> None:
    """Bring a training to where `state_of` was taken."""
    device = training.processes.device
    training.model.load_state_dict(_named(arrays, "model ", device))
    training.best = _named(arrays, "best ", device)
    for name, parameter in zip(training.names, training.parameters, strict=True):
        keys = [k for k in ("step", "exp_avg", "exp_avg_sq") if f"adam {k} {name}" in arrays]
        where = {"step": "cpu"}
        training.optimiser.state[parameter] = {
            key: torch.as_tensor(arrays[f"adam {key} {name}"].copy(), device=where.get(key, device))
            for key in keys
        }
    training.history = rows(arrays)
    plateau = training.plateau
    training.epoch, training.done, training.skipped, plateau.waited = map(int, arrays["position"])
    plateau.best, plateau.rate, training.seconds = map(float, arrays["plateau"])
    training.tally.sums = torch.as_tensor(arrays["tally"].copy(), device=device)
    training.warm.restore("warm", arrays)
    training.warm_watched.restore("warm_watched", arrays)
    training.set_rates()


def columns(history: list[dict[str, float]]) -> dict[str, np.ndarray]:
    """A history as one array per column; names tell their order, which files do not keep."""
    table = pd.DataFrame(history)
    return {f"{HISTORY}{i:03d} {name}": table[name].to_numpy(float) for i, name in enumerate(table)}


def rows(arrays: Mapping[str, np.ndarray]) -> list[dict[str, float]]:
    """A history from what `columns` gave."""
    found = sorted(name for name in arrays if name.startswith(HISTORY))
    names = [name.removeprefix(HISTORY).partition(" ")[2] for name in found]
    columns = [arrays[name].tolist() for name in found]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def copied(model: torch.nn.Module) -> dict[str, Tensor]:
    """All numbers of a model."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _named(arrays: Mapping[str, np.ndarray], prefix: str, device: torch.device) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): torch.as_tensor(array.copy(), device=device)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
