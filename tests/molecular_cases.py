"""Small graphs of states and an instrument without calibration, for tests of the molecular scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from multiscale.assays import Instrument, Quantity, Unknown
from multiscale.assays.noise import normal
from multiscale.data import Readings, Sequences
from multiscale.graph import Graph


@dataclass(frozen=True, kw_only=True)
class Direct(Instrument):
    """Reads one quantity as it is, with noise of sd 1."""

    quantity: Quantity
    measured: ClassVar[Mapping[str, str]] = {"value": "the quantity"}

    @property
    def unit(self) -> str:
        return "1"

    def quantities(self) -> tuple[Quantity, ...]:
        return (self.quantity,)

    def prepare(self, table: pd.DataFrame, where: str, *, measured: bool = True) -> dict[str, np.ndarray]:
        return {"y": table["value"].to_numpy(float)}

    def unknowns(self, arrays: dict[str, np.ndarray]) -> list[Unknown]:
        return []

    def log_density(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        return normal(arrays["y"], readouts[..., 0], torch.ones((), dtype=torch.float64))

    def expected(
        self, arrays: Mapping[str, Tensor], readouts: Tensor, values: Mapping[str, Tensor]
    ) -> Tensor:
        return readouts[..., 0]

    def draw(
        self,
        arrays: Mapping[str, Tensor],
        readouts: Tensor,
        values: Mapping[str, Tensor],
        generator: Generator,
    ) -> Tensor:
        return readouts[..., 0] + torch.randn(readouts.shape[:-1], generator=generator, dtype=torch.float64)

    def observed(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        return arrays["y"]


def graph_of(
    molecules: Mapping[str, float | None],
    complexes: Mapping[str, tuple[str, str]],
    energies: Mapping[str, Any],
) -> Graph:
    """A graph of states.

    Args:
        molecules: name → concentration; with a trailing `!` in the name it is held constant.
        complexes: name → subunits such as `A;A;B`, and energy text.
        energies: name → mean, or (mean, sd, role).
    """
    nodes = {
        "molecule": pd.DataFrame(
            {
                "name": [name.rstrip("!") for name in molecules],
                "constant": [name.endswith("!") for name in molecules],
                "initial": ["" if value is None else repr(value) for value in molecules.values()],
            }
        ),
        "complex": pd.DataFrame({"name": list(complexes), "energy": [e for _, e in complexes.values()]}),
    }
    parts = [(name, m) for name, (subunits, _) in complexes.items() for m in subunits.split(";")]
    edges = (
        pd.DataFrame(parts, columns=["target", "source"]).value_counts().rename("stoichiometry").reset_index()
    )
    rows = []
    for name, given in energies.items():
        mean, sd, role = given if isinstance(given, tuple) else (given, 3.0, "energy")
        unit = {
            "energy": "kcal/mol",
            "m_value": "kcal/(mol*M)",
            "entropy": "kcal/(mol*K)",
            "heat_capacity": "kcal/(mol*K)",
        }[role]
        rows.append(
            {
                "parameterId": name,
                "nominalValue": mean,
                "objectivePriorType": "parameterScaleNormal",
                "objectivePriorParameters": f"{mean};{sd}",
                "unit": unit,
                "role": role,
            }
        )
    return Graph.from_tables("states", nodes, {"subunit": edges}, pd.DataFrame(rows))


def three_states(ligand: float = 1e6) -> Graph:
    """Unfolded (free reference), folded, bound; the ligand is held constant."""
    return graph_of(
        {"protein": None, "ligand!": ligand},
        {"folded": ("protein", "fold"), "bound": ("protein;ligand", "fold;bind")},
        {"fold": -1.0, "bind": -2.0},
    )


def readings_of(
    quantity: Quantity,
    rows: int = 1,
    name: str = "signal",
    sequences: Sequences | None = None,
    **conditions: Any,
) -> Readings:
    """Readings of one quantity, all measured as zero."""
    return Readings(
        name,
        Direct(quantity=quantity),
        pd.DataFrame(index=pd.RangeIndex(2, rows + 2, name="line")),
        {"y": np.zeros(rows)},
        sequences={} if sequences is None else {"protein": sequences},
        conditions={
            key.replace("_previous", "@previous"): np.broadcast_to(np.asarray(v, float), rows)
            for key, v in conditions.items()
        },
    )
