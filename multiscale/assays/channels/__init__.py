"""Channels: how modalities of single cells read signals, with which noise."""

from multiscale.assays.channels.channel import CellUnknown, Channel, Summary
from multiscale.assays.channels.cytometry import Cytometry
from multiscale.assays.channels.labels import Labels
from multiscale.assays.channels.registry import CHANNELS, make_channel
from multiscale.assays.channels.summary import summarise
from multiscale.assays.channels.surface_proteins import SurfaceProteins
from multiscale.assays.channels.transcripts import Transcripts

__all__ = [
    "CHANNELS",
    "CellUnknown",
    "Channel",
    "Cytometry",
    "Labels",
    "Summary",
    "SurfaceProteins",
    "Transcripts",
    "make_channel",
    "summarise",
]
