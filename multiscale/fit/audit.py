"""Audit of the assays: what each one alone adds to what is known of every parameter."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.errors import DataError
from multiscale.fit.curvature import descend
from multiscale.fit.laplace import laplace
from multiscale.fit.objective import Posterior
from multiscale.fit.train import device_of, limit_threads
from multiscale.model import Model, Problem

__all__ = ["information", "refit_without"]

log = logging.getLogger("multiscale")


def refit_without(
    problem: Problem,
    theta: np.ndarray,
    used: np.ndarray,
    assay: str,
    accelerator: str = "auto",
    threads: int = 1,
) -> dict[str, np.ndarray]:
    """Fit everything but one assay, from the joint optimum on, and approximate that posterior.

    Args:
        problem: the full problem.
        theta: joint optimum, shape (1, parameter).
        used: readings lost to other parameters there, see `Posterior`, shape (1, parameter).
        assay: name of the assay that is left out. Its calibration falls back to its priors.
        accelerator: `auto`, `cpu` or `gpu`.
        threads: CPU threads of PyTorch.

    Returns:
        `value` and `sd` of every parameter on its scale, each (parameter,); sd is NaN, with a warning, where
        that fit finds no minimum.
    """
    model = Model(problem, device_of(accelerator))
    parameters = model.parameters
    posterior = Posterior(model, without=[assay], used=_used_by_others(model, used, assay))
    with limit_threads(threads):
        joint = torch.as_tensor(theta, device=model.device)
        found = descend(posterior, joint, parameters.local(), parameters.prior_precision(joint))
        try:
            sd = laplace(posterior, found.theta).value_sd()
        except DataError as error:
            log.warning("without %s: %s", assay, error)
            sd = np.full(parameters.size, np.nan)
    return {"value": parameters.flat(found.theta)[0].cpu().numpy(), "sd": sd}


def _used_by_others(model: Model, used: np.ndarray, assay: str) -> Tensor:
    """Readings used up in the other assays: the one that is left out has none."""
    kept = torch.as_tensor(used, device=model.device).clone()
    reading = model.readings.get(assay)
    if reading is not None and reading.noise_block is not None:
        kept[:, model.parameters.slices()[reading.noise_block]] = 0.0
    return kept


def information(
    parameters: pd.DataFrame, sd: np.ndarray, without: Mapping[str, Mapping[str, np.ndarray]]
) -> pd.DataFrame:
    """How much every assay tells about every parameter, given all others.

    Args:
        parameters: table of parameters of the joint fit.
        sd: of every parameter at the main mode of the joint fit, on its scale.
        without: per assay, what `refit_without` found.

    Returns:
        columns parameterId, role, assay, information_nats = ½ ln(variance without the assay / variance with
        it) — about zero where other assays or the prior say it too, and negative where the assay contradicts
        them — and shift = (estimate with − without) / sd without.
    """
    logarithmic = (parameters["parameterScale"] == "log").to_numpy()
    nominal = parameters["nominalValue"].to_numpy(float)
    value = np.where(logarithmic, np.log(np.where(logarithmic, nominal, 1.0)), nominal)
    tables = [
        pd.DataFrame(
            {
                "parameterId": parameters["parameterId"],
                "role": parameters["role"],
                "assay": assay,
                "information_nats": np.log(found["sd"] / sd),
                "shift": (value - found["value"]) / found["sd"],
            }
        )
        for assay, found in without.items()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
