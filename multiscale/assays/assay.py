"""What a table assay is: a readout of the state, a calibration of offsets, and a noise model.

The model evaluates  y ~ CensoredNormal(exp(Σ factors) · readout(state) + Σ offsets, sd);  an assay says which
readout, which factors (most have none), which offsets, which noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from torch import Tensor

from multiscale.assays.noise import censored_normal

__all__ = ["Assay", "Noise", "Offset", "keys", "noise_keys"]


@dataclass(frozen=True, eq=False)
class Offset:
    """One unknown shift of the location per distinct key, with a normal prior N(mean, sd²).

    Args:
        name: of the calibration, such as `scale`; the parameter of a key is called `<assay>.<name>.<key>`.
        keys: key of every entry, in the order of the entries; empty text means that the entry is not shifted.
        mean: prior mean, in the unit of y.
        sd: prior standard deviation, in the unit of y.
    """

    name: str
    keys: pd.Series
    mean: float
    sd: float


@dataclass(frozen=True, eq=False)
class Noise:
    """One unknown standard deviation per distinct key, with a log-normal prior.

    An entry with a given `sd` uses that instead.

    Args:
        name: of the noise parameter.
        keys: key of every entry; empty text where the entry carries its own `sd`.
        median: prior median of the standard deviation, in the unit of y.
        ln_sd: standard deviation of its ln.
    """

    name: str
    keys: pd.Series
    median: float
    ln_sd: float


class Assay(ABC):
    """An assay whose measurements are rows of a tidy table.

    Subclasses are frozen dataclasses of options, `reads` names the readouts of the state that they use,
    `scale` the unit in which y is fitted, and
    `columns` says what every column of their table means.
    """

    reads: ClassVar[tuple[str, ...]]
    scale: ClassVar[str]
    columns: ClassVar[dict[str, str]]

    @abstractmethod
    def prepare(self, table: pd.DataFrame, where: str = "table") -> pd.DataFrame:
        """Check a tidy table and convert it to entries.

        Args:
            table: one measurement per row, columns as in `columns`; its index is named in error messages.
            where: file name, for error messages.

        Returns:
            one row per measurement, index `entry`, with at least the columns `context` (empty if none),
            `target` (identifier of what is measured), `readout`, `y` (in the unit in which noise is normal),
            `censoring` (0 exact, -1 the truth is at most y, +1 at least y), `sd` (NaN = fitted), and the
            columns that the offsets need.

        Raises:
            AssayError: a column or value is wrong; the message names file, row, column, value and remedy.
        """

    @abstractmethod
    def offsets(self, entries: pd.DataFrame) -> list[Offset]:
        """Say which unknown shifts the location of each entry carries.

        Args:
            entries: as returned by `prepare`, or some of its rows.
        """

    def factors(self, entries: pd.DataFrame) -> list[Offset]:
        """Say which unknown factors multiply the readout of each entry, as shifts of their logarithms.

        Args:
            entries: as returned by `prepare`, or some of its rows.
        """
        return []

    @abstractmethod
    def noise(self, entries: pd.DataFrame) -> Noise:
        """Say which entries share a fitted standard deviation.

        Args:
            entries: as returned by `prepare`, or some of its rows.
        """

    def log_prob(self, y: Tensor, location: Tensor, sd: Tensor, censoring: Tensor) -> Tensor:
        """Log density of every entry: normal, or its tail where the entry is censored.

        Args:
            y: measured values, shape (entry,).
            location: readout plus offsets, in the unit of y, shape (..., entry).
            sd: positive, broadcastable to `location`.
            censoring: 0, -1 or +1, shape (entry,).

        Returns:
            shape of `location`.
        """
        return censored_normal(y, location, sd, censoring)


def keys(entries: pd.DataFrame, column: str) -> pd.Series:
    """Keys of offsets: the cells of a column, as text.

    >>> keys(pd.DataFrame({"source": ["a", "b"]}), "source").tolist()
    ['a', 'b']
    """
    return pd.Series(entries[column].to_numpy(), index=entries.index, dtype=object)


def noise_keys(entries: pd.DataFrame, column: str) -> pd.Series:
    """Keys of noise: the cells of a column, empty where the entry carries its own `sd`.

    >>> noise_keys(pd.DataFrame({"source": ["a", "b"], "sd": [0.1, float("nan")]}), "source").tolist()
    ['', 'b']
    """
    return keys(entries, column).where(np.isnan(entries["sd"].to_numpy(dtype=float)), "")
