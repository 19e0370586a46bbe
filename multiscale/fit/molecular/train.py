"""The steps of a molecular fit: networks, search, widths of priors and noise."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from multiscale.errors import DataError
from multiscale.fit.checkpoint import Checkpoint
from multiscale.fit.curvature import LARGEST
from multiscale.fit.molecular import minibatch
from multiscale.fit.molecular.descent import descend
from multiscale.fit.molecular.evidence import Settled, needs_settling, settle
from multiscale.fit.molecular.posterior import MolecularPosterior
from multiscale.fit.molecular.result import MolecularResult
from multiscale.fit.molecular.search import search
from multiscale.fit.molecular.settling import settle_by_draws
from multiscale.fit.optimise import LIMIT, Optimum
from multiscale.fit.trace import Trace
from multiscale.fit.train import Bar, device_of, finished, limit_threads, summary
from multiscale.model.molecular import MolecularModel, MolecularProblem

__all__ = ["METHODS", "fit_molecular"]

log = logging.getLogger("multiscale")

METHODS = ("auto", "newton", "minibatch")

TITLE = "fit"

MANY = 500_000
"""Most parameters for which `auto` takes Newton's method; a step then takes seconds per 100,000 rows."""


def fit_molecular(
    problem: MolecularProblem,
    *,
    accelerator: str,
    threads: int,
    progress: bool,
    checkpoint: Checkpoint | None,
    save_every_s: float,
    **options: Any,
) -> MolecularResult:
    """Fit a molecular problem; see `fit.fit` for the arguments."""
    began = time.perf_counter()
    device = device_of(accelerator)
    done = finished(TITLE, checkpoint, device)
    with (
        limit_threads(threads),
        Bar(TITLE, options["adam_steps"] + 3 * options["max_steps"], progress) as tick,
    ):
        steps = _Steps(problem, device, options, checkpoint, save_every_s, tick)
        optimum = steps.run() if done is None else steps.again(done)
    level = logging.INFO if progress else logging.DEBUG
    seconds = time.perf_counter() - began
    log.log(level, "fit: %d starts in %.1f s, %s", options["starts"], seconds, summary(optimum))
    settings = options | {"device": str(device), "threads": threads, "unsupported": steps.unsupported}
    return MolecularResult(problem, steps.model, optimum, settings)


class _Steps:
    """One fit, each step of which is kept in the checkpoint.

    Args:
        problem: what is asked.
        device: where to compute.
        options: starts, seed, adam_steps, max_steps, method, batch_size, max_epochs.
        checkpoint: None keeps nothing.
        save_every_s: least time between two saves, s.
        tick: told the step and the loss.
    """

    def __init__(
        self,
        problem: MolecularProblem,
        device: torch.device,
        options: Mapping[str, Any],
        checkpoint: Checkpoint | None,
        save_every_s: float,
        tick: Bar,
    ) -> None:
        self.problem, self.device, self.options, self.tick = problem, device, options, tick
        self.checkpoint, self.save_every_s = checkpoint, save_every_s
        self.model, self.unsupported = MolecularModel(problem, device), []

    def run(self) -> Optimum:
        """All steps."""
        networks = minibatch.live_networks(self.model)
        optimum = self._with_networks(networks) if networks else self._search()
        if not optimum.loss.isfinite().any():
            raise DataError("no start reached a finite posterior; check the priors and the readings.")
        if not self._by_batches and needs_settling(self.model):
            optimum = self._settle(optimum)
        self._keep(optimum, networks)
        return optimum

    def again(self, done: Optimum) -> Optimum:
        """What an earlier process found."""
        assert self.checkpoint is not None
        saved = self.checkpoint.get(TITLE + "-model")
        if saved is not None:
            self.unsupported = list(saved.meta["unsupported"])
            networks = minibatch.live_networks(self.model)
            if networks:
                self._load(networks, {name: torch.as_tensor(a) for name, a in saved.arrays.items()})
            self.model = self.model.with_widths(saved.meta["widths"])
        return done

    @property
    def _by_batches(self) -> bool:
        method = self.options["method"]
        return method == "minibatch" or (method == "auto" and self.model.parameters.size > MANY)

    def _search(self) -> Optimum:
        chosen = {name: self.options[name] for name in ("starts", "seed", "adam_steps", "max_steps")}
        kept = {"checkpoint": self.checkpoint, "save_every_s": self.save_every_s}
        if not self._by_batches:
            return search(self.model, **chosen, **kept, tick=self.tick)
        found = search(self.model, **chosen, **kept, tick=self.tick, exact=False)
        schedule = minibatch.Schedule(
            self.options["max_epochs"], self.options["batch_size"], seed=self.options["seed"]
        )
        theta = minibatch.train(self.model, found.theta[found.best][None], [], schedule, self.tick)
        return self._replaced(found, self._where(theta))

    def _with_networks(self, networks: list[minibatch.Live]) -> Optimum:
        """Fit with untrained networks, train them with everything else, hold them and fit again."""
        saved = None if self.checkpoint is None else self.checkpoint.get(f"{TITLE}.networks")
        if saved is None:
            first = search(
                self.model,
                starts=self.options["starts"],
                seed=self.options["seed"],
                adam_steps=self.options["adam_steps"],
                max_steps=self.options["max_steps"],
                tick=self.tick,
                exact=False,
            )
            theta = minibatch.train(
                self.model, first.theta[first.best][None], networks, self._schedule(), self.tick
            )
            if self.checkpoint is not None:
                self.checkpoint.put(f"{TITLE}.networks", {"theta": theta, **_weights(networks)})
        else:
            arrays = {name: torch.as_tensor(a, device=self.device) for name, a in saved.arrays.items()}
            theta = arrays.pop("theta")
            self._load(networks, arrays)
        self.model = MolecularModel(self.problem, self.device)  # with the features that were learned
        return descend(
            MolecularPosterior(self.model), theta, max_steps=self.options["max_steps"], progress=self.tick
        )[0]

    def _schedule(self) -> minibatch.Schedule:
        """What the first encoder with a network says."""
        bound = next(n for n, b in self.problem.bound.items() if getattr(b, "module", None) is not None)
        encoder: Any = self.problem.encoders[bound]
        return minibatch.Schedule(
            min(encoder.epochs, self.options["max_epochs"]),
            encoder.batch_size,
            network_rate=encoder.learning_rate,
            weight_decay=encoder.weight_decay,
            patience=encoder.patience,
            seed=self.options["seed"],
        )

    def _settle(self, optimum: Optimum) -> Optimum:
        trace = Trace(self.checkpoint, f"{TITLE}.settle", None, self.device, self.save_every_s)
        theta = optimum.theta[optimum.best][None]
        method = settle_by_draws if self.model.parameters.size > LARGEST else settle
        settled = method(self.model, theta, max_steps=self.options["max_steps"], tick=self.tick, trace=trace)
        self.model, self.unsupported = settled.model, settled.unsupported
        return self._replaced(optimum, settled.optimum, settled)

    def _where(self, theta: Tensor) -> Optimum:
        """A point that is no certain minimum, as the end of a search."""
        leaf = theta.detach().requires_grad_(True)
        loss = MolecularPosterior(self.model)(leaf)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        code = torch.full((1,), LIMIT, device=self.device)
        return Optimum(theta, loss.detach(), gradient.abs().amax(1), code, torch.zeros_like(code))

    def _replaced(self, optimum: Optimum, best: Optimum, settled: Settled | None = None) -> Optimum:
        """The best start moved to where it ended; it stays the best."""
        start, values = optimum.best, {k: v.clone() for k, v in vars(optimum).items() if v is not None}
        for name in ("theta", "gradient", "reason"):
            values[name][start] = getattr(best, name)[0]
        values["steps"][start] += best.steps[0]
        posterior = MolecularPosterior(self.model)
        with torch.no_grad():
            values["loss"] = torch.cat([posterior(theta[None]) for theta in values["theta"]]).nan_to_num(
                nan=torch.inf
            )
        evidence = torch.full_like(values["loss"], -torch.inf)
        evidence[start] = settled.evidence[-1] if settled and settled.evidence else 0.0
        values["evidence"] = evidence
        if settled is not None:
            values["used"] = torch.zeros_like(values["theta"])
            values["used"][start] = settled.used
        return Optimum(**values)

    def _keep(self, optimum: Optimum, networks: list[minibatch.Live]) -> None:
        if self.checkpoint is None:
            return
        meta = {"widths": self.model.widths, "unsupported": self.unsupported}
        self.checkpoint.put(f"{TITLE}-model", _weights(networks), meta)
        self.checkpoint.put(TITLE, {k: v for k, v in vars(optimum).items() if v is not None})
        self.checkpoint.drop(f"{TITLE}.")

    def _load(self, networks: list[minibatch.Live], arrays: Mapping[str, Tensor]) -> None:
        """Give networks the weights of an earlier process, and the model their features."""
        for i, network in enumerate(networks):
            prefix = f"{i} "
            network.module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            )
        self.model = MolecularModel(self.problem, self.device)


def _weights(networks: list[minibatch.Live]) -> dict[str, Tensor]:
    """Weights of all networks by number and name."""
    return {
        f"{i} {k}": v for i, network in enumerate(networks) for k, v in network.module.state_dict().items()
    }
