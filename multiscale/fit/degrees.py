"""Noise from the readings that the fit leaves over, as in restricted maximum likelihood.

At the joint mode a noise sd is too small: parameters that are fitted to n readings use up k of them, and the
sd of what remains is that of n − k readings taken for n. If the parameters can follow every reading (k → n),
the joint mode lets the sd collapse. Integrating the other parameters out (Laplace) multiplies the density of
ln σ by σᵏ, with k = Σ over the readings of −∂²ln p/∂location² · variance of the location; k is found by
iteration.

Source: Patterson & Thompson 1971, doi:10.1093/biomet/58.3.545 (the linear case, in which this is exact);
MacKay 1992, doi:10.1162/neco.1992.4.3.415 (k as the number of well-determined parameters).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from multiscale.model import Model
from multiscale.model.readings import TableReading

__all__ = ["used_degrees"]


def used_degrees(
    model: Model, theta: Tensor, precision: Tensor, weights: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Readings that the other parameters use up, per noise parameter, zero elsewhere, shape (1, parameter).

    Args:
        model: the model.
        theta: mode, shape (1, parameter).
        precision: Hessian of the loss there, shape (parameter, parameter).
        weights: 0 for readings that were held out, per table, shape (1, entry); see `Posterior`.
    """
    readings = [reading for reading in model.readings.values() if reading.noise_block is not None]
    covariance = _conditional(model, precision, [str(reading.noise_block) for reading in readings])
    used = torch.zeros_like(theta)
    for reading in readings:
        where = model.parameters.slices()[str(reading.noise_block)]
        used[0, where] = _used(model, reading, theta, covariance, (weights or {}).get(reading.term.name))
    return used


def _conditional(model: Model, precision: Tensor, noise: list[str]) -> Tensor:
    """Covariance of all other parameters for given noise; zero rows and columns for the noise itself."""
    free = torch.ones(len(precision), dtype=torch.bool, device=precision.device)
    for name in noise:
        free[model.parameters.slices()[name]] = False
    index = free.nonzero()[:, 0]
    covariance = torch.zeros_like(precision)
    factor = torch.linalg.cholesky(precision[index][:, index])
    covariance[index[:, None], index] = torch.cholesky_inverse(factor)
    return covariance


def _used(
    model: Model, reading: TableReading, theta: Tensor, covariance: Tensor, weight: Tensor | None
) -> Tensor:
    slope, location, sd = _slopes(model, reading, theta)
    leaf = location.clone().requires_grad_(True)
    log_prob = reading.term.table.assay.log_prob(reading.y, leaf, sd, reading.censoring)
    (first,) = torch.autograd.grad(log_prob.sum(), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), leaf)  # entries are independent of each other
    used = -second * torch.einsum("ei,ij,ej->e", slope, covariance, slope)
    used = used if weight is None else used * weight[0]
    block = model.parameters[str(reading.noise_block)]
    index = torch.full_like(reading.censoring, -1) if reading.noise_index is None else reading.noise_index
    fitted = (index >= 0) & reading.given_sd.isnan()
    return used.new_zeros(len(block)).index_add(0, index[fitted], used[fitted])


def _slopes(model: Model, reading: TableReading, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Derivative of every location by theta, (entry, parameter), the locations and sds, each (entry,)."""
    leaf = theta.detach().expand(len(reading.y), -1).clone().requires_grad_(True)  # one row per entry
    state = model.state(leaf)
    location = reading.location(state).diagonal()
    (slope,) = torch.autograd.grad(location.sum(), leaf)
    return slope, location.detach(), reading.noise(state).diagonal().detach()
