"""Whether a saved fit is one of this problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from multiscale.data.cells.registry import Registry
from multiscale.errors import FormatError
from multiscale.model.cells import CellProblem

__all__ = ["check_same", "shape_of"]

OPTIONS = ("regime", "temperature", "latent", "hidden", "layers", "amortised", "smooth")
EARLIER = {"smooth": 0.0}  # options that earlier versions lacked


def shape_of(problem: CellProblem) -> dict[str, Any]:
    """Options of a problem that a saved fit of it must share, in words that JSON can hold."""
    cells = None if problem.amortised else len(problem.cells)
    return {name: getattr(problem, name) for name in OPTIONS} | {"cells": cells}


def check_same(folder: str | Path, meta: Mapping[str, Any], problem: CellProblem) -> None:
    """Refuse a saved fit of another problem.

    Args:
        folder: for messages.
        meta: of the saved fit.
        problem: what was fitted, as the user says.

    Raises:
        FormatError: names what differs.
    """
    for what, saved, given in _pairs(meta, problem):
        if saved != given:
            raise FormatError(
                f"{folder}: the saved fit has another `{what}` than `problem`; give what was fitted."
            )


def _pairs(meta: Mapping[str, Any], problem: CellProblem) -> Iterator[tuple[str, Any, Any]]:
    """What is compared: what was saved, what is given."""
    graph = problem.graph
    yield "graph_hash", meta.get("graph_hash"), None if graph is None else graph.hash()
    was = meta.get("problem", {})
    for name, value in shape_of(problem).items():
        yield name, was.get(name, EARLIER.get(name)), value
    theirs, ours = Registry.from_json(meta.get("registry", {})), Registry.of(problem.cells)
    yield "batches", theirs.batches, ours.batches
    yield "conditions", theirs.conditions, ours.conditions
    yield "modalities", list(theirs.modalities), list(ours.modalities)
    for name, part in ours.modalities.items():
        yield f"channel of {name}", theirs.modalities[name].kind, part.kind
        yield f"features of {name}", theirs.modalities[name].features, part.features
