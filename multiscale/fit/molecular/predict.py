"""What a fit says of rows: expected measurements, their intervals, and those of new measurements.

The scalars of a row are normal with mean X w and covariance X C Xᵀ; draws of them go through the physics and
the instrument, so that intervals are those of the measurement itself, however curved its calibration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch import Generator, Tensor

from multiscale.fit.laplace import LEVEL
from multiscale.fit.molecular.intervals import Uncertainty, normal_points
from multiscale.fit.molecular.samples import SampledUncertainty
from multiscale.model.molecular import RowModel

__all__ = ["DRAWS", "Prediction", "predict", "scores"]

Known = Uncertainty | SampledUncertainty

DRAWS = 200
"""Draws per row for intervals, unless the caller says otherwise."""

CHUNK = 400_000
"""Rows times draws that are worked on at once, which bounds the memory."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Numbers per row, each (row,), in the instrument's unit.

    Args:
        predicted: expected measurement at the mode of the posterior.
        fit_lower: lower end of its 90 % interval, without noise; NaN where there are no intervals.
        fit_upper: upper end.
        lower: lower end of the 90 % interval of a new measurement, noise included.
        upper: upper end.
        observed: measured value, NaN where there is none.
        log_density: of the measurement, nats, with all values uncertain; at the mode where there are no
            intervals.
    """

    predicted: np.ndarray
    fit_lower: np.ndarray
    fit_upper: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    observed: np.ndarray
    log_density: np.ndarray

    def frame(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Beside the columns that identify the rows; without measurements there are none of `observed`."""
        columns = {
            name: getattr(self, name) for name in ("predicted", "lower", "upper", "fit_lower", "fit_upper")
        }
        if np.isfinite(self.observed).any():
            columns["observed"] = self.observed
        own = rows[[name for name in rows if name not in columns]]
        return own.assign(**columns)


def predict(
    part: RowModel, flat: Tensor, known: Known | None, draws: int = DRAWS, seed: int = 0
) -> Prediction:
    """Predict rows.

    Args:
        part: the rows under the model.
        flat: values of all parameters at the mode, shape (1, parameter).
        known: how well they are known; None for no intervals.
        draws: per row; every row gets the same ones, so that differences between rows are smooth.
        seed: of the draws.
    """
    generator = Generator(device=flat.device).manual_seed(seed)
    points = normal_points(draws, len(part.parts), seed, flat.device)
    with torch.no_grad():
        found = [_piece(part, flat, known, points, generator, rows) for rows in _pieces(part, len(points))]
    predicted, *others = (torch.cat(columns).cpu().numpy() for columns in zip(*found, strict=True))
    fit_lower, fit_upper, lower, upper, density = others
    observed = np.asarray(part.instrument.observed(part.readings.arrays), dtype=float)
    return Prediction(predicted, fit_lower, fit_upper, lower, upper, observed, density)


def _pieces(part: RowModel, draws: int) -> Iterator[Tensor]:
    step = max(1, CHUNK // draws)
    device = next(iter(part.arrays.values())).device
    for start in range(0, part.rows, step):
        yield torch.arange(start, min(start + step, part.rows), device=device)


def _piece(
    part: RowModel, flat: Tensor, known: Known | None, points: Tensor, generator: Generator, rows: Tensor
) -> tuple[Tensor, ...]:
    """Predicted, ends of the fit, ends of a new measurement, log density of some rows."""
    mean = part.scalars_of(flat, rows)
    predicted = part.expected(mean, rows)[0]
    if known is None:
        none = torch.full_like(predicted, torch.nan)
        return predicted, none, none, none, none, part.log_density(mean, rows)[0]
    u = mean + _spread(known.of_rows(part, rows), points)
    arrays, readouts, values = part.inputs(u, rows)
    instrument = part.instrument
    fitted = _ends(instrument.expected(arrays, readouts, values))
    new = _ends(instrument.draw(arrays, readouts, values, generator))
    density = instrument.log_density(arrays, readouts, values).logsumexp(0) - np.log(len(points))
    return predicted, *fitted, *new, density


def _spread(covariance: Tensor, points: Tensor) -> Tensor:
    """Deviations with a covariance, (draw, row, scalar), from standard normal points."""
    values, vectors = torch.linalg.eigh(
        covariance
    )  # a Cholesky factor may not exist: scalars can be exactly tied
    root = vectors * values.clamp(min=0.0).sqrt()[..., None, :]
    return torch.einsum("ks,rts->krt", points, root)


def _ends(draws: Tensor) -> tuple[Tensor, Tensor]:
    """Ends of the central interval over draws, each (row,)."""
    tails = draws.new_tensor([0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    lower, upper = torch.quantile(draws.nan_to_num(nan=torch.inf), tails, dim=0)
    return lower, upper


def scores(prediction: Prediction) -> dict[str, float]:
    """How well rows were predicted.

    Returns:
        n (rows with a measured value), r2 (squared Pearson correlation), determination (1 − SSE/SST),
        spearman, rmse (unit of the instrument), coverage_90 (share of measurements within the interval of a
        new one), log_density (mean over all rows, nats).
    """
    seen = np.isfinite(prediction.observed) & np.isfinite(prediction.predicted)
    y, x = prediction.observed[seen], prediction.predicted[seen]
    result = {"n": float(len(y)), "log_density": float(np.mean(prediction.log_density))}
    if len(y) < 3 or np.ptp(y) == 0 or np.ptp(x) == 0:
        return result
    lower, upper = prediction.lower[seen], prediction.upper[seen]
    covered = float(np.mean((y >= lower) & (y <= upper))) if np.isfinite(lower).any() else float("nan")
    return result | {
        "r2": float(np.corrcoef(x, y)[0, 1]) ** 2,
        "determination": 1.0 - float(((y - x) ** 2).sum() / ((y - y.mean()) ** 2).sum()),
        "spearman": float(np.corrcoef(rankdata(x), rankdata(y))[0, 1]),
        "rmse": float(np.sqrt(np.mean((y - x) ** 2))),
        "coverage_90": covered,
    }
