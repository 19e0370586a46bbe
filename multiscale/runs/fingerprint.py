"""What decides the numbers of a run, in a form that can be compared: settings, graph, data, versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiscale.config import CELL_FILES, CELLS_ONLY, FILES, OPTION_FILES, READINGS_ONLY, SEARCH_ONLY, Config
from multiscale.content import find
from multiscale.data import CountMatrix, MeasurementTable, Readings
from multiscale.data.cells import Cells, Modality
from multiscale.fit.train import device_of
from multiscale.graph import Graph
from multiscale.model import Problem
from multiscale.version import __version__

__all__ = [
    "LATER",
    "asked",
    "cell_fingerprint",
    "differences",
    "fingerprint",
    "molecular_fingerprint",
]

LATER = ("controls.rewirings",)
"""Settings that may grow in a run that is finished: what is there stays valid."""

FREE = ("controls.workers",)
"""Settings that change no number."""

NOT_OF_CELLS = ("model.", "controls.without_graph", *(f"fit.{name}" for name in CELLS_ONLY))
"""What decides nothing but fits of single cells."""

LOOKED_AT = 256
"""Cells whose readings are compared; of the others sizes are, so that no file is read twice."""


def fingerprint(config: Config, problem: Problem) -> dict[str, Any]:
    """All that decides the numbers of a run, by name; content of files instead of their paths.

    Args:
        config: the checked configuration.
        problem: the problem that was made from it.
    """
    idle = [f"fit.{name}" for name in READINGS_ONLY]
    idle += ["solver."] if config.regime == "equilibrium" else []
    settings = _settings(config, (*idle, *NOT_OF_CELLS))
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


def molecular_fingerprint(config: Config, graph: Graph, readings: Mapping[str, Readings]) -> dict[str, Any]:
    """The same of a fit to readings.

    Args:
        config: the checked configuration.
        graph: with the priors that it was fitted with.
        readings: by name, the fitted rows and the others.
    """
    return {
        "version of multiscale": __version__,
        "device": str(device_of(config.fit.accelerator)),
        "content of the graph": graph.hash(),
        **{f"readings {name}": _digest_readings(part) for name, part in readings.items()},
        **{f"file of `encoders.{key}`": _digest_file(path) for key, path in _option_paths(config)},
        **_settings(config, ("solver.", "controls.", "uncertainty.", *NOT_OF_CELLS)),
    }


def cell_fingerprint(config: Config, graph: Graph, cells: Cells) -> dict[str, Any]:
    """The same of a fit of single cells; of cells on disk the file is not read again.

    Args:
        config: the checked configuration.
        graph: with the priors that it was fitted with.
        cells: with what is hidden.
    """
    idle = ("solver.", "uncertainty.", *(f"fit.{name}" for name in SEARCH_ONLY))
    labels = [*cells.batch.names, *cells.condition.names]
    return {
        "version of multiscale": __version__,
        "device": str(device_of(config.fit.accelerator)),
        "content of the graph": graph.hash(),
        "cells": _digest(
            cells.obs.index.to_frame(), cells.batch.codes, cells.condition.codes, np.array(labels)
        ),
        **({"interventions": _digest(cells.interventions.table)} if len(cells.interventions) else {}),
        **{f"readings {name}": _digest_modality(part) for name, part in cells.modalities.items()},
        **_settings(config, idle),
    }


def _settings(config: Config, idle: tuple[str, ...]) -> dict[str, Any]:
    """Settings that decide numbers, as dotted keys, without paths."""
    return {
        key: value
        for key, value in _flat(config.model_dump(mode="json"))
        if key not in (*LATER, *FREE) and not _is_path(key) and not key.startswith(idle)
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
    table = key.startswith(("data.tables.", "data.readings.")) and key.endswith(".path")
    cells = key in tuple(f"data.cells.{name}" for name in CELL_FILES)
    option = key.startswith("encoders.") and key.split(".")[-1] in OPTION_FILES
    return table or option or cells or key in ("graph", "priors_from", *(f"data.{name}" for name in FILES))


def _option_paths(config: Config) -> Iterator[tuple[str, str]]:
    """Files that options of encoders name."""
    sections = {name: part.model_dump(mode="json") for name, part in config.encoders.items()}
    for key, value in _flat(sections):
        if key.split(".")[-1] in OPTION_FILES and isinstance(value, str):
            yield key, value


def _digest_file(name: str) -> str:
    return hashlib.sha256(Path(find("datasets", name)).read_bytes()).hexdigest()


def _digest_readings(readings: Readings) -> str:
    """Numbers, sequences, entities and conditions of all rows."""
    parts = {**readings.arrays, **readings.conditions}
    parts |= {f"sequence of {name}": part.codes for name, part in readings.sequences.items()}
    parts |= {f"entity {name}": part.codes for name, part in readings.entities.items()}
    digest = hashlib.sha256()
    for name in sorted(parts):
        array = np.ascontiguousarray(parts[name])
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    names = [name for kind in sorted(readings.entities) for name in readings.entities[kind].names]
    labels = [] if readings.split is None else readings.split.tolist()
    digest.update("\0".join([*names, *map(str, labels)]).encode())
    return digest.hexdigest()


def _digest_modality(part: Modality) -> str:
    """Features, sizes, rows, what is hidden, and the readings of some cells."""
    some = np.linspace(0, len(part.rows) - 1, min(LOOKED_AT, len(part.rows))).astype(np.int64)
    hidden = () if part.hidden is None else (part.hidden.indptr, part.hidden.indices)
    names = pd.DataFrame({"feature": part.features})
    return _digest(names, part.rows, part.size, part.values(some), *hidden)


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
