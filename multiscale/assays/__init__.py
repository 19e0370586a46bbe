"""Assays: how a measurement reads the state, with which calibration and which noise. No data."""

from multiscale.assays.affinity import Affinity
from multiscale.assays.assay import Assay, Noise, Offset
from multiscale.assays.binding_energy import BindingEnergy
from multiscale.assays.bins import Bins, information
from multiscale.assays.channels import Channel, Cytometry, Labels, SurfaceProteins, Transcripts
from multiscale.assays.concentration import Concentration
from multiscale.assays.copies import Copies
from multiscale.assays.count_likelihood import CountLikelihood
from multiscale.assays.counts import Counts
from multiscale.assays.fitness import Fitness
from multiscale.assays.heat import Heat, injection_conditions
from multiscale.assays.instrument import Instrument, Quantity, Unknown
from multiscale.assays.instruments import INSTRUMENTS, make_instrument
from multiscale.assays.intensity import LogNormal
from multiscale.assays.melt import Melt
from multiscale.assays.registry import ASSAYS, make_assay
from multiscale.assays.selection_counts import SelectionCounts
from multiscale.assays.titration import Anisotropy, Titration

__all__ = [
    "ASSAYS",
    "INSTRUMENTS",
    "Affinity",
    "Anisotropy",
    "Assay",
    "BindingEnergy",
    "Bins",
    "Channel",
    "Concentration",
    "Copies",
    "CountLikelihood",
    "Counts",
    "Cytometry",
    "Fitness",
    "Heat",
    "Instrument",
    "Labels",
    "LogNormal",
    "Melt",
    "Noise",
    "Offset",
    "Quantity",
    "SelectionCounts",
    "SurfaceProteins",
    "Titration",
    "Transcripts",
    "Unknown",
    "information",
    "injection_conditions",
    "make_assay",
    "make_instrument",
]
