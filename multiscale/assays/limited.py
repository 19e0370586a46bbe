"""Predicted affinities as an assay would report them that reads no further than a limit."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

from multiscale.errors import AssayError

__all__ = ["limited"]

WIDTH = 2 * float(norm.ppf(0.95))  # of a 90 % interval, in sds


def limited(predictions: pd.DataFrame, limit: float) -> pd.DataFrame:
    """Expected readings, and their intervals, of an assay that reports `limit` for whatever lies beyond.

    A new ln value x is taken as normal, with the 5 % and 95 % quantiles that the table states. With t =
    (ln limit − mean)/sd, E min(x, ln limit) = mean Φ(t) + ln limit (1 − Φ(t)) − sd φ(t).

    Args:
        predictions: with `predicted`, `lower` and `upper` of values without limit, such as Kd.
        limit: in the same unit.

    Returns:
        the table with `predicted` = exp E min(x, ln limit), ends of intervals at most the limit, and new
        columns `unlimited` (what was predicted without limit) and `beyond` (the probability of a value
        beyond it).

    Raises:
        AssayError: the limit is not positive.

    Source: Tobin 1958, doi:10.2307/1907382.

    >>> table = pd.DataFrame({"predicted": [10.0, 1.0], "lower": [1.0, 0.5], "upper": [100.0, 2.0]})
    >>> limited(table, 10.0).round(2).values.tolist()  # first: exp(ln 10 − 0.4 sd), sd = ln(100)/3.29 = 1.4
    [[5.72, 1.0, 10.0, 10.0, 0.5], [1.0, 0.5, 2.0, 1.0, 0.0]]
    """
    if not limit > 0:
        raise AssayError(f"`limit` must be positive, in the unit of the values; got {limit!r}.")
    values = predictions[["predicted", "lower", "upper"]].to_numpy(dtype=float)
    low, high = np.log(values[:, 1]), np.log(values[:, 2])
    mean, sd, end = (low + high) / 2, (high - low) / WIDTH, np.log(limit)
    t = (end - mean) / sd
    within = norm.cdf(t)
    reading = mean * within + end * (1.0 - within) - sd * norm.pdf(t)
    return predictions.assign(
        predicted=np.minimum(np.exp(reading), limit),
        lower=np.minimum(values[:, 1], limit),
        upper=np.minimum(values[:, 2], limit),
        unlimited=values[:, 0],
        beyond=1.0 - within,
    )
