"""Small tables of variants and the instruments that read them, for tests of readings."""

from __future__ import annotations

from pathlib import Path

from multiscale.assays.fitness import Fitness
from multiscale.formats.variants import SequenceColumn

WILD = "MKVT"
FITNESS = Fitness(species="folded", of="protein")
PROTEIN = SequenceColumn("protein", "sequence", reference=WILD, first=10)
SCAN = """sequence,value,set,dose_nM,batch
MKVT,0.0,training,0,a
MAVT,-1.5,training,10,a
MKVS,0.25,test,10,b
"""


def write(folder: Path, text: str, name: str = "scan.csv") -> Path:
    """A file with this text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
