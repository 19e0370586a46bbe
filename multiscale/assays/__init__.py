"""Assays: how a measurement reads the state, with which calibration and which noise. No data."""

from multiscale.assays.affinity import Affinity
from multiscale.assays.assay import Assay, Noise, Offset
from multiscale.assays.concentration import Concentration
from multiscale.assays.copies import Copies
from multiscale.assays.count_likelihood import CountLikelihood
from multiscale.assays.counts import Counts
from multiscale.assays.instrument import Instrument, Quantity, Unknown
from multiscale.assays.intensity import LogNormal
from multiscale.assays.registry import ASSAYS, make_assay

__all__ = [
    "ASSAYS",
    "Affinity",
    "Assay",
    "Concentration",
    "Copies",
    "CountLikelihood",
    "Counts",
    "Instrument",
    "LogNormal",
    "Noise",
    "Offset",
    "Quantity",
    "Unknown",
    "make_assay",
]
