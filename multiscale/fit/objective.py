"""The joint negative log posterior of all measurements, per start."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from multiscale.model import Model

__all__ = ["Posterior"]


class Posterior:
    """−(Σ log density of all measurements + log prior) for each start.

    Keeps the equilibria of the last call as warm starts of the next.

    Args:
        model: the model.
        weights: per table, 1 for entries that are fitted and 0 for those held out, shape (row, entry), where
            a row is a start of the optimiser.
        without: names of assays that are left out, while their calibrations stay at their priors.
        used: readings that every noise parameter has lost to other parameters, see `degrees`, shape (row,
            parameter); none if None.
    """

    def __init__(
        self,
        model: Model,
        weights: Mapping[str, Tensor] | None = None,
        without: Collection[str] = (),
        used: Tensor | None = None,
    ) -> None:
        self.model, self.without, self.used = model, frozenset(without), used
        self.weights = {name: w.to(model.device) for name, w in (weights or {}).items()}
        self._multipliers: Tensor | None = None

    def __call__(self, theta: Tensor, rows: Tensor) -> Tensor:
        """Loss of some rows; infinite where an equilibrium was not found.

        Args:
            theta: shape (row, parameter).
            rows: positions of these rows among all starts, shape (row,).
        """
        warm = None if self._multipliers is None else self._multipliers[rows]
        state = self.model.state(theta, start=warm)
        self._remember(state.multipliers, rows)
        terms = self.terms(theta, state, rows)
        loss = -torch.stack(list(terms.values())).sum(0)
        return torch.where(state.solved, loss, torch.inf)

    def terms(self, theta: Tensor, state, rows: Tensor) -> dict[str, Tensor]:
        """Log density of every assay and of the priors, each of shape (row,)."""
        terms = {"prior": self.model.parameters.log_prior(theta)}
        terms |= self.model.log_counts(state)
        for name, value in self.model.log_tables(state).items():
            kept = value if name not in self.weights else value * self.weights[name][rows]
            terms[name] = kept.sum(1)
        if self.used is not None:
            terms["used readings"] = (self.used[rows] * self.model.parameters.flat(theta)).sum(1)
        return {name: value for name, value in terms.items() if name not in self.without}

    def state(self) -> dict[str, Tensor]:
        """What is remembered between calls: the equilibria of the last one."""
        return {} if self._multipliers is None else {"multipliers": self._multipliers}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what `state` gave."""
        self._multipliers = state.get("multipliers")

    def _remember(self, multipliers: Tensor, rows: Tensor) -> None:
        if self._multipliers is None:
            self._multipliers = multipliers.clone()
        else:
            good = torch.isfinite(multipliers).all(-1).all(-1)
            self._multipliers[rows[good]] = multipliers[good]
