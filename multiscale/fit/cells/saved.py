"""Fits of cells in folders: all members of an ensemble in one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from multiscale import formats
from multiscale.fit.cells.same import check_same, shape_of
from multiscale.model.cells import CellModel, CellProblem

if TYPE_CHECKING:
    from multiscale.fit.cells.result import CellResult

__all__ = ["load", "save"]


def save(result: CellResult, folder: str | Path, overwrite: bool) -> None:
    """Write parameters, tables, metadata and the registry; see `CellResult.save`."""
    every = [result, *result.members]
    arrays = {
        f"{_prefix(i)}{name}": value
        for i, one in enumerate(every)
        for name, value in one.model.state_dict().items()
    }
    histories = {_history(i): one.history.reset_index() for i, one in enumerate(every)}
    formats.weights.save(
        Path(folder),
        arrays,
        result.metadata()
        | {"problem": shape_of(result.problem), "registry": result.registry.to_json()}
        | {"members": [dict(member.settings) for member in result.members]},
        tables=histories | {"parameters": result.parameters},
        overwrite=overwrite,
    )


def load(folder: str | Path, problem: CellProblem) -> list[tuple[CellModel, pd.DataFrame, dict[str, Any]]]:
    """Model, history and settings of the fit and of all members; see `CellResult.load`."""
    saved = formats.weights.load(folder)
    check_same(folder, saved.meta, problem)
    found = []
    for i, settings in enumerate([saved.meta["settings"], *saved.meta.get("members", [])]):
        dtype = torch.float64 if settings.get("precision") == "64" else torch.float32
        seed = int(settings.get("seed", 0))
        model = CellModel(problem, dtype=dtype, seed=seed, anchor=seed if i else None)
        own = {n: a for n, a in saved.arrays.items() if n.startswith(_prefix(i))}
        model.load_state_dict({n.removeprefix(_prefix(i)): torch.as_tensor(a) for n, a in own.items()})
        history = saved.tables[_history(i)].astype(float).set_index("epoch")
        found.append((model, history, dict(settings)))
    return found


def _prefix(member: int) -> str:
    """Begins the names of a member's arrays; the blank ends the number."""
    return f"member{member} " if member else "model "


def _history(member: int) -> str:
    return f"history_{member}" if member else "history"
