"""How far values that neither graph nor channels state may lie from where they are expected."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from multiscale.errors import ConfigError

__all__ = ["CellPriors"]


@dataclass(frozen=True, kw_only=True)
class CellPriors:
    """Standard deviations of normal priors, on natural-log scales; modelling assumptions.

    Args:
        loading_sd: by how much ln total of a molecule differs between cells because of all latent dimensions
            together; each of k loadings has loading_sd / √k.
        link_sd: the same of the difference between a transcript's loadings and those of the molecules that it
            encodes: the only link between message and abundance.
        decoder_sd: the same of features that read no graph.
        total_sd: of a molecule's mean ln total around what the physics starts from.
        scale_sd: of a feature's scale (or baseline) around what is typical of its modality.
        batch_sd: of shifts of a batch, of totals and of features.
        head_sd: of further numbers that a decoder gives, such as ln odds of being background.

    Raises:
        ConfigError: one is not positive and finite.
    """

    loading_sd: float = 1.0
    link_sd: float = 0.3
    decoder_sd: float = 1.0
    total_sd: float = 2.0
    scale_sd: float = 3.0
    batch_sd: float = 0.3
    head_sd: float = 2.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name, value in dataclasses.asdict(self).items():
            if not (isinstance(value, float | int) and math.isfinite(value) and value > 0):
                raise ConfigError(f"`{name}` must be positive and finite; got {value!r}.")
