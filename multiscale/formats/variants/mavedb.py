"""Score tables of MaveDB: variants in HGVS notation, the score in `score`.

Rows before the header that begin with `#` are comments. The table does not hold the target's sequence: give
it as `reference`.
"""

from multiscale.formats.variants.layout import Layout

__all__ = ["LAYOUT"]

LAYOUT = Layout("mavedb", notations={"hgvs_pro": "hgvs"})
