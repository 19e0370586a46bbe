"""Fitness tables of DiMSum, which MoCHI reads: one row per variant, blanks between columns.

The row of the wild type is marked in `WT`; rows with insertions or deletions (`indel`), and with stops
(`STOP`, `STOP_readthrough`) where the alphabet has no stop, are left out unless `where` asks for them, as
MoCHI does.

Source: Faure et al. 2020, Genome Biology 21:207, doi:10.1186/s13059-020-02091-3.
"""

from multiscale.formats.variants.layout import Layout

__all__ = ["LAYOUT"]

LAYOUT = Layout(
    "dimsum",
    wild_type={"WT": True},
    aligned={"indel": False},
    without_stop={"STOP": False, "STOP_readthrough": False},
    measurements=r"(mean_)?count.*|(fitness|sigma|growthrate)\d*(_.*)?",
)
