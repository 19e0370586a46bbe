"""From a checked configuration to its molecular problem: graph, readings and encoders are read and joined."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multiscale.config import Config, Controls, SolverSection, Uncertainty
from multiscale.content import find
from multiscale.data import Readings
from multiscale.encoders.encoder import Encoder
from multiscale.encoders.registry import ENCODERS, make_encoder
from multiscale.errors import ConfigError, DataError, MultiscaleError
from multiscale.graph import Graph, read_graph
from multiscale.model.molecular import MolecularModel, MolecularProblem
from multiscale.runs.priors import graph_with_priors
from multiscale.runs.readings import options_of, read_section, rows_to_fit

__all__ = ["Asked", "molecular_problem"]

log = logging.getLogger("multiscale")

NAME = re.compile(r"\w[\w-]*")

UNUSED = {"solver": SolverSection(), "controls": Controls(), "uncertainty": Uncertainty()}
"""Sections without use, as they are where nobody states them."""


@dataclass(frozen=True)
class Asked:
    """What a configuration asks.

    Args:
        problem: graph, rows to fit, encoders.
        rest: rows that are predicted instead, by name of the readings.
    """

    problem: MolecularProblem
    rest: dict[str, Readings]

    @property
    def all_readings(self) -> dict[str, Readings]:
        """Fitted rows by name of the readings, and the others as `NAME, not fitted`."""
        return {**self.problem.readings, **{f"{name}, not fitted": part for name, part in self.rest.items()}}


def molecular_problem(config: Config, graph: Graph | None = None, *, check_rest: bool = True) -> Asked:
    """Read what a configuration names and check that it fits together.

    Args:
        config: with readings.
        graph: with its priors; None reads it.
        check_rest: whether to make sure that the rows which are not fitted can be predicted.

    Raises:
        MultiscaleError: something is wrong; the message names the key, or file and line.
    """
    _check_sections(config)
    graph = graph_with_priors(read_graph(config.graph), config.priors_from) if graph is None else graph
    encoders = {name: _encoder(name, part.model_dump()) for name, part in config.encoders.items()}
    fitted, rest = {}, {}
    for name, section in config.data.readings.items():
        fitted[name], kept = rows_to_fit(section, read_section(name, section))
        if kept is not None:
            rest[name] = kept
    problem = MolecularProblem(graph, list(fitted.values()), encoders, temperature=config.temperature)
    _describe(fitted, rest)
    if check_rest:
        _check_rest(problem, rest)
    return Asked(problem, rest)


def _check_sections(config: Config) -> None:
    """Refuse sections that fits to readings have no use for."""
    data = config.data
    idle = [
        f"data.{name}" for name in ("anndata", "groupby", "pairs", "cells", "contexts") if getattr(data, name)
    ]
    idle += [f"data.{name}" for name in ("interventions", "assays", "tables") if getattr(data, name)]
    idle += ["holdout"] if config.holdout is not None else []
    idle += ["regime"] if config.regime != "equilibrium" else []
    idle += [name for name, usual in UNUSED.items() if getattr(config, name) != usual]
    if idle:
        hint = " Rows are held out by `split` or `holdout` of readings." if idle[0] == "holdout" else ""
        raise ConfigError(
            f"`{idle[0]}` has no meaning beside [data.readings], whose rows are vessels and not cells; remove"
            f" it.{hint}"
        )
    for name in (*data.readings, *config.encoders):
        if not NAME.fullmatch(name):
            raise ConfigError(f"`{name}` must be letters, digits, `_` and `-`, for files are named after it.")


def _encoder(name: str, options: dict[str, Any]) -> Encoder:
    """An encoder; errors say where in the TOML its options stand."""
    where, kind = f"encoders.{name}", options.pop("type")
    options_of(where, kind, ENCODERS, options, ["type"])
    try:
        return make_encoder(kind, _with_files(options))
    except (MultiscaleError, TypeError) as error:
        raise ConfigError(f"[{where}]: {error}") from None


def _with_files(options: Any) -> Any:
    """Options with names of tables resolved to their files."""
    if isinstance(options, list):
        return [_with_files(item) for item in options]
    if not isinstance(options, dict):
        return options
    return {
        key: str(find("datasets", value)) if key == "table" and isinstance(value, str) else _with_files(value)
        for key, value in options.items()
    }


def _describe(fitted: Mapping[str, Readings], rest: Mapping[str, Readings]) -> None:
    for name, part in fitted.items():
        kept = f", {len(rest[name])} rows to predict" if name in rest else ""
        log.info("readings `%s`: %s rows to fit%s.", name, len(part), kept)


def _check_rest(problem: MolecularProblem, rest: Mapping[str, Readings]) -> None:
    """Refuse rows that could not be predicted before hours are spent on the fit."""
    if not rest:
        return
    model = MolecularModel(problem)
    for name, part in rest.items():
        try:
            model.row_model(part)
        except DataError as error:
            raise DataError(f"rows of `{name}` that are not fitted: {error}") from None
