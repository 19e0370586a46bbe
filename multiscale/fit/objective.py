"""The joint negative log posterior of all measurements, per start."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from multiscale.model import Model

__all__ = ["Posterior"]


class Posterior:
    """−(Σ log density of all measurements + log prior) for each start.

    Keeps the equilibria or states at rest of the last call as warm starts of the next.

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
        self._warm: Tensor | None = None

    @property
    def twice_differentiable(self) -> bool:
        """Whether autograd gives second derivatives."""
        return self.model.twice_differentiable

    @property
    def precise(self) -> Posterior:
        """The same loss, accurate enough for differences of its gradients."""
        return (
            self
            if self.twice_differentiable
            else Posterior(self.model.precise, self.weights, self.without, self.used)
        )

    def __call__(self, theta: Tensor, rows: Tensor) -> Tensor:
        """Loss of some rows; infinite, with a gradient of zero, where a context was not solved.

        Args:
            theta: shape (row, parameter).
            rows: positions of these rows among all starts, shape (row,).
        """
        warm = None if self._warm is None else self._warm[rows]
        inside = theta.view_as(theta)
        if inside.requires_grad:
            # A failed context may hold infinite constants, whose derivatives are no numbers.
            inside.register_hook(lambda gradient: torch.where(state.solved[:, None], gradient, 0.0))
        state = self.model.state(inside, start=warm)
        self._remember(state.warm, rows)
        terms = self.terms(inside, state, rows)
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
        """What is remembered between calls: warm starts."""
        return {} if self._warm is None else {"warm": self._warm}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what `state` gave."""
        self._warm = state.get("warm")

    def _remember(self, warm: Tensor, rows: Tensor) -> None:
        if self._warm is None:
            self._warm = warm.clone()
        else:
            good = torch.isfinite(warm).all(-1).all(-1)
            self._warm[rows[good]] = warm[good]
