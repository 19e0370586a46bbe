"""Counts of transcripts per cell: where they lie in an AnnData, and their negative binomial noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from multiscale.assays.count_likelihood import negative_binomial_matrix
from multiscale.assays.options import flag, positive, text_or_none
from multiscale.errors import AssayError

__all__ = ["Counts"]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Counts with mean size · transcript level and variance μ + μ²/r, one dispersion r per feature.

    Args:
        layer: layer of the AnnData to read; None = X. A named layer is promised to hold counts.
        use_raw: read `adata.raw.X` instead.
        size_factor_key: column of obs with the size of each cell; None = `n_counts`, `total_counts` or
            `nCount_RNA` if there, else the row sums, which is right when the matrix holds the whole
            transcriptome.
        recover: recover counts from a log1p-normalised matrix; None = from X and raw only, False = refuse
            whatever is no count.
        target_sum: total that the cells were normalised to before the logarithm; None = try 10,000 first,
            then what the data say.
        dispersion_median: prior median of r.
        dispersion_ln_sd: prior sd of ln r.
    """

    layer: str | None = None
    use_raw: bool = False
    size_factor_key: str | None = None
    recover: bool | None = None
    target_sum: float | None = None
    dispersion_median: float = 3.0
    dispersion_ln_sd: float = 1.5

    reads: ClassVar[tuple[str, ...]] = ("transcript",)

    def __post_init__(self) -> None:
        """Check the options."""
        text_or_none("Counts", layer=self.layer, size_factor_key=self.size_factor_key)
        flag("Counts", use_raw=self.use_raw, recover=self.may_recover)
        positive(
            "Counts", "1", dispersion_median=self.dispersion_median, dispersion_ln_sd=self.dispersion_ln_sd
        )
        if self.target_sum is not None:
            positive("Counts", "counts", target_sum=self.target_sum)
        if self.layer is not None and self.use_raw:
            raise AssayError("Counts: give `layer` or `use_raw`, not both.")

    @property
    def may_recover(self) -> bool:
        """Whether counts may be recovered: as asked, and by default not from a named layer."""
        return self.layer is None if self.recover is None else self.recover

    def log_prob(
        self,
        counts: Tensor,
        ln_size: Tensor,
        group: Tensor,
        ln_rate: Tensor,
        ln_dispersion: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Log probability per start and feature; see `count_likelihood.negative_binomial_matrix`.

        A fit keeps a `CountLikelihood` instead, which prepares the counts once.
        """
        return negative_binomial_matrix(counts, ln_size, group, ln_rate, ln_dispersion, mask)
