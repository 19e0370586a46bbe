"""What decides the numbers of a run, in a form that can be compared: settings, graph, data, versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from multiscale.config import Config
from multiscale.data import CountMatrix, MeasurementTable
from multiscale.fit.train import device_of
from multiscale.model import Problem
from multiscale.version import __version__

__all__ = ["LATER", "asked", "differences", "fingerprint"]

LATER = ("controls.rewirings",)
"""Settings that may grow in a run that is finished: what is there stays valid."""

FREE = ("controls.workers",)
"""Settings that change no number."""


def fingerprint(config: Config, problem: Problem) -> dict[str, Any]:
    """All that decides the numbers of a run, by name; content of files instead of their paths.

    Args:
        config: the checked configuration.
        problem: the problem that was made from it.
    """
    idle = ("solver.",) if config.regime == "equilibrium" else ()
    settings = {
        key: value
        for key, value in _flat(config.model_dump(mode="json"))
        if key not in (*LATER, *FREE) and not _is_path(key) and not key.startswith(idle)
    }
    data, done = problem.data, problem.data.contexts.interventions
    content = {f"data of {name}": _digest_assay(assay) for name, assay in data.assays.items()}
    return {
        "version of multiscale": __version__,
        "device": str(device_of(config.fit.accelerator)),
        "content of the graph": problem.graph.hash(),
        "contexts": _digest(data.contexts.table),
        **({"interventions": _digest(done.table)} if len(done) else {}),
        **content,
        **settings,
    }


def asked(config: Config) -> dict[str, Any]:
    """The settings that may grow later."""
    return {key: value for key, value in _flat(config.model_dump(mode="json")) if key in LATER}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Phrases on every key that differs, such as "`fit.starts` was 32, is 16"."""
    keys = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    return [_phrase(key, before.get(key), now.get(key)) for key in keys]


def _phrase(key: str, before: Any, now: Any) -> str:
    digests = all(value is None or (isinstance(value, str) and len(value) == 64) for value in (before, now))
    return f"`{key}` differs" if digests else f"`{key}` was {before!r}, is {now!r}"


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted keys."""
    if not isinstance(value, Mapping):
        yield key, value
        return
    for name, item in value.items():
        yield from _flat(item, f"{key}.{name}" if key else str(name))


def _is_path(key: str) -> bool:
    table = key.startswith("data.tables.") and key.endswith(".path")
    files = ("anndata", "cells", "contexts", "interventions")
    return table or key == "graph" or key in [f"data.{name}" for name in files]


def _digest_assay(assay: CountMatrix | MeasurementTable) -> str:
    if isinstance(assay, MeasurementTable):
        return _digest(assay.entries)
    values = assay.values
    names = pd.DataFrame({"feature": assay.features})
    mask = () if assay.mask is None else (assay.mask,)
    return _digest(assay.rows, names, values.indptr, values.indices, values.data, *mask)


def _digest(*parts: pd.DataFrame | np.ndarray) -> str:
    """SHA-256 over tables (as text with all digits) and arrays."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.to_csv().encode() if isinstance(part, pd.DataFrame) else part.tobytes())
        digest.update(b"\0")
    return digest.hexdigest()
