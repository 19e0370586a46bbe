"""From what a row is about to energies: encoders of mutations, entities and species."""

from multiscale.encoders.additive import Additive
from multiscale.encoders.descriptors import Descriptors
from multiscale.encoders.design import Dense, Design, Indexed, Pairs, Weighted
from multiscale.encoders.encoder import Bound, Encoder, Weights
from multiscale.encoders.features import Features
from multiscale.encoders.network import BoundNetwork, Network
from multiscale.encoders.pairwise import Pairwise
from multiscale.encoders.product import Product
from multiscale.encoders.registry import ENCODERS, make_encoder
from multiscale.encoders.sources import SOURCES, FeatureSource

__all__ = [
    "ENCODERS",
    "SOURCES",
    "Additive",
    "Bound",
    "BoundNetwork",
    "Dense",
    "Descriptors",
    "Design",
    "Encoder",
    "FeatureSource",
    "Features",
    "Indexed",
    "Network",
    "Pairs",
    "Pairwise",
    "Product",
    "Weighted",
    "Weights",
    "make_encoder",
]
