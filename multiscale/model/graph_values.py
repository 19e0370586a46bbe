"""Values of the graph's parameters: the free ones from blocks, the fixed ones from the table."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.graph import Graph
from multiscale.model.parameters import ParameterTable

__all__ = ["GraphValues", "LinearValues"]


class GraphValues:
    """Gathers the graph's parameters of one role in a given order; fixed ones and '' (zero) are constants."""

    def __init__(self, graph: Graph, role: str, names: list[str], device: torch.device) -> None:
        table = graph.parameters
        table = table[table["role"] == role]
        free = [str(name) for name in table.index[table["estimate"].astype(int) == 1]]
        position = {name: i for i, name in enumerate(free)}
        self.block = role if free else None
        index = [position.get(name, -1) for name in names]
        self.index = torch.as_tensor(index, dtype=torch.int64, device=device)
        fixed = [0.0 if name in position or not name else _scaled(table, name) for name in names]
        self.fixed = torch.as_tensor(fixed, dtype=torch.float64, device=device)

    def __call__(self, values: dict[str, Tensor]) -> Tensor:
        """Values on the block's scale, (start, name)."""
        if self.block is None:
            starts = next((len(value) for value in values.values()), 1)
            return self.fixed.expand(starts, -1)
        gathered = values[self.block][:, self.index.clamp(min=0)]
        return torch.where(self.index >= 0, gathered, self.fixed)


def _scaled(table: pd.DataFrame, name: str) -> float:
    value = float(table["nominalValue"][name])
    return value if table["parameterScale"][name] == "lin" else float(np.log(value))


class LinearValues:
    """Values of parameters by name, in their units: of free ones from the blocks, of others the nominal one.

    Args:
        graph: whose parameters they are.
        names: of the parameters that are needed.
        parameters: with a block per role that has free ones among them.
    """

    def __init__(self, graph: Graph, names: Iterable[str], parameters: ParameterTable) -> None:
        table = graph.parameters
        free, nominal = table["estimate"].to_dict(), table["nominalValue"].to_dict()
        roles = table["role"].to_dict()
        self._free: dict[str, tuple[str, int, bool]] = {}
        self._fixed: dict[str, Tensor] = {}
        for name in dict.fromkeys(names):
            if free[name] == 1:
                block = parameters[str(roles[name])]
                self._free[name] = block.name, list(block.ids).index(name), block.scale == "ln"
            else:
                self._fixed[name] = torch.full(
                    (1, 1), float(nominal[name]), dtype=torch.float64, device=parameters.device
                )

    def __call__(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Values of all needed parameters, each of shape (start, 1), or (1, 1) if it is fixed."""
        found = dict(self._fixed)
        for name, (block, column, logarithmic) in self._free.items():
            value = values[block][:, column, None]
            found[name] = value.exp() if logarithmic else value
        return found
