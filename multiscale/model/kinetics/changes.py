"""What contexts change: amounts, given or parameters, that replace, increase or multiply values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["OPERATIONS", "Amount", "Amounts", "Change", "Slot"]

OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "set": lambda before, amount: amount,
    "add": lambda before, amount: before + amount,
    "fold": lambda before, amount: before * amount,
    "remove": lambda before, amount: before * (1 - amount),
}
"""What an amount does to a value."""


@dataclass(frozen=True)
class Amount:
    """A number, or a parameter times a factor that turns its unit into the one that is needed."""

    factor: float
    parameter: str = ""


class Amounts:
    """Several amounts as one tensor.

    Args:
        amounts: one per entry.
        device: of the tensor.
    """

    def __init__(self, amounts: Sequence[Amount], device: torch.device) -> None:
        self.parameters = list(dict.fromkeys(amount.parameter for amount in amounts if amount.parameter))
        column = {"": 0} | {name: i for i, name in enumerate(self.parameters, start=1)}
        self._column = torch.tensor([column[amount.parameter] for amount in amounts], device=device)
        factors = [amount.factor for amount in amounts]
        self._factor = torch.tensor(factors, dtype=torch.float64, device=device)

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """Amounts for values of shape (start, 1), shape (start, entry)."""
        columns = [torch.ones_like(self._factor[:1])[None], *(values[name] for name in self.parameters)]
        starts = max(len(part) for part in columns)
        table = torch.cat([part.expand(starts, 1) for part in columns], 1)
        return table[:, self._column] * self._factor


class Change:
    """One operation on one quantity in some contexts.

    Args:
        operation: a name in `OPERATIONS`.
        contexts: positions of the contexts, distinct.
        amounts: one per context.
        device: where values are.
    """

    def __init__(
        self, operation: str, contexts: Sequence[int], amounts: Sequence[Amount], device: torch.device
    ) -> None:
        self._operation = OPERATIONS[operation]
        self._contexts = torch.tensor(contexts, dtype=torch.int64, device=device)
        self._amounts = Amounts(amounts, device)

    def __call__(self, before: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Values of all contexts after it, (start, context).

        Args:
            before: values of all contexts, (start, context).
            values: parameters, each (start, 1).
        """
        changed = self._operation(before[:, self._contexts], self._amounts(values))
        starts = max(len(before), len(changed))
        before = before.expand(starts, -1)
        return before.index_copy(1, self._contexts, changed.expand(starts, -1))


class Slot:
    """An event that every context has at most once: at its time, a species is set or increased.

    Args:
        species: its position.
        add: whether the amount is added to what is there, else replaces it.
        rows: per context with the event its position, the time (s), and the amount; None = back to the value
            at the start.
        contexts: number of contexts.
        device: where values are.
    """

    def __init__(
        self,
        species: int,
        add: bool,
        rows: Mapping[int, tuple[float, Amount | None]],
        contexts: int,
        device: torch.device,
    ) -> None:
        self.species, self.add = species, add
        time, back = np.full(contexts, np.inf), np.zeros(contexts, dtype=bool)
        for context, (moment, amount) in rows.items():
            time[context], back[context] = moment, amount is None
        self.time: Tensor = torch.as_tensor(time, device=device)
        self._back: Tensor = torch.as_tensor(back, device=device)
        given = [rows[c][1] if c in rows else None for c in range(contexts)]
        self._amounts = Amounts([amount or Amount(0.0) for amount in given], device)

    def amount(self, start: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Amounts of all contexts, (start, context); `start` are concentrations to go back to."""
        return torch.where(self._back, start, self._amounts(values))
