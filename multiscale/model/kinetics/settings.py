"""Values that a simulation runs with: those of the graph, and what is set in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.errors import DataError, nearest
from multiscale.graph import Graph
from multiscale.model.kinetics.system import Kinetics

__all__ = ["Settings", "Values", "read_settings"]

Values = float | Sequence[float] | np.ndarray | Tensor


@dataclass(frozen=True)
class Settings:
    """Parameters and starts of one or several contexts.

    Args:
        parameters: value by parameterId, shape () or (context,).
        starts: concentration at time 0 by species, where it is set, µM, shape () or (context,).
        contexts: one row per context, one column per quantity that varies.
    """

    parameters: dict[str, Tensor]
    starts: dict[str, Tensor]
    contexts: pd.DataFrame

    def start(self, kinetics: Kinetics) -> Tensor:
        """Concentrations at time 0, µM, shape (context, species)."""
        x0 = kinetics.initial(self.parameters).expand(len(self.contexts), -1).clone()
        for name, value in self.starts.items():
            x0[:, kinetics.species.index(name)] = value
        return x0


def read_settings(
    graph: Graph, kinetics: Kinetics, values: Mapping[str, Values], initial: Mapping[str, Values]
) -> Settings:
    """Take nominal values, and replace those that are set.

    Args:
        graph: whose parameters have nominal values.
        kinetics: of the graph.
        values: by parameterId or species.
        initial: by species.

    Raises:
        DataError: a name is unknown or means two things, a value is missing or not a number, or scans differ
            in length.
    """
    parameters: dict[str, Tensor] = {}
    starts: dict[str, Tensor] = {}
    for name, value in values.items():
        is_species = _is_species(name, graph, kinetics)
        (starts if is_species else parameters)[name] = _numbers(
            name, value, is_species or _positive(graph, name)
        )
    for name, value in initial.items():
        if name not in kinetics.species:
            known = nearest(name, kinetics.species)
            raise DataError(f"`initial` of `{name}`: no reaction touches such a species; {known}")
        starts[name] = _numbers(name, value, True)
    contexts = _contexts({**parameters, **{f"{name} at start": value for name, value in starts.items()}})
    return Settings(_nominal(graph, kinetics, {*parameters}, {*starts}) | parameters, starts, contexts)


def _is_species(name: str, graph: Graph, kinetics: Kinetics) -> bool:
    """Whether a name means a species, else a parameter that the kinetics read."""
    known = name in kinetics.species, name in kinetics.parameters
    if all(known):
        raise DataError(
            f"`{name}` is a species and a parameter; give the concentration at time 0 with `initial`"
            " (--initial), and rename one of them to set the parameter."
        )
    if not any(known):
        idle = name in graph.parameters.index or name in graph.species
        why = "no reaction reads it" if idle else "there is no such parameter or species"
        raise DataError(
            f"`{name}` cannot be set: {why}; {nearest(name, kinetics.parameters + kinetics.species)}"
        )
    return known[0]


def _positive(graph: Graph, name: str) -> bool:
    return graph.parameters.at[name, "role"] != "energy"


def _numbers(name: str, value: Values, positive: bool) -> Tensor:
    """One number or several, as float64 of shape () or (context,)."""
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(f"`{name}` must be a number, or several for a scan; got {value!r}.") from None
    if numbers.ndim > 1 or numbers.numel() == 0:
        raise DataError(
            f"`{name}` must be a number, or several for a scan; got shape {tuple(numbers.shape)}."
        )
    bad = numbers[~numbers.isfinite() | (positive & (numbers < 0))]
    if len(bad.flatten()):
        wanted = "finite and not negative" if positive else "finite"
        raise DataError(f"`{name}` must be {wanted}; got {float(bad.flatten()[0]):g}.")
    return numbers


def _contexts(settings: Mapping[str, Tensor]) -> pd.DataFrame:
    """One row per context; scans vary together."""
    scans = {name: value for name, value in settings.items() if value.ndim}
    lengths = {len(value) for value in scans.values()}
    if len(lengths) > 1:
        listed = ", ".join(f"`{name}` {len(value)}" for name, value in scans.items())
        raise DataError(f"scans vary together and must have the same length; got {listed} values.")
    columns = {name: value.numpy() for name, value in scans.items()}
    return pd.DataFrame(columns, index=pd.RangeIndex(lengths.pop() if lengths else 1))


def _nominal(graph: Graph, kinetics: Kinetics, given: set[str], started: set[str]) -> dict[str, Tensor]:
    """Nominal values of what the kinetics read; only starts that are set may lack theirs."""
    values = graph.parameters["nominalValue"].astype(float).to_dict()
    idle = kinetics.start_parameters(started)
    missing = [n for n in kinetics.parameters if np.isnan(values[n]) and n not in given and n not in idle]
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing[:12]) + (", ..." if len(missing) > 12 else "")
        raise DataError(
            f"no nominalValue of {listed}; add it to parameters.tsv, or set it (--set NAME=VALUE)."
        )
    return {name: torch.tensor(values[name], dtype=torch.float64) for name in kinetics.parameters}
