"""Which features of a modality read the graph, and what of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from multiscale.data import Match
from multiscale.data.cells import Modality
from multiscale.data.match import shorten
from multiscale.errors import DataError, nearest
from multiscale.graph import Graph
from multiscale.model.cells.physics import CellPhysics
from multiscale.model.sums import read_sum

__all__ = ["GraphNames", "Linked", "Reading", "Readout", "read_nothing", "reading"]

log = logging.getLogger("multiscale")

SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Linked:
    """Transcripts of molecules of the graph.

    Args:
        position: of the features in their modality, shape (feature,).
        weight: share of each molecule in what a transcript reads, shape (feature, molecule); rows sum to 1.
    """

    position: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Readout:
    """Features that read one kind of physical quantity.

    Args:
        kind: `surface` or `total` (copies), `species` (µM).
        position: of the features in their modality, shape (feature,).
        names: molecule, species or sum of species that each reads.
    """

    kind: str
    position: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """What the features of one modality read.

    Args:
        modality: its name.
        linked: transcripts of molecules of the graph, or None.
        physical: what is read of the physical state, or None.
        decoded: positions of those that a decoder explains from the latent state alone, shape (feature,).
        match: which names agree.
    """

    modality: str
    linked: Linked | None
    physical: Readout | None
    decoded: np.ndarray
    match: Match

    @property
    def reads_graph(self) -> bool:
        """Whether any feature does."""
        return self.linked is not None or self.physical is not None


@dataclass(frozen=True)
class GraphNames:
    """Names by which features may call what a graph has.

    Args:
        molecules: with a total per cell, in the order of the physics.
        species: in the order of the physics.
        encoded: name or identifier of a transcript → the molecules that it encodes.
        named: name or identifier of a molecule → the molecules that have it.
        visible: molecules with a form on a membrane.
    """

    molecules: list[str]
    species: list[str]
    encoded: dict[str, list[str]]
    named: dict[str, list[str]]
    visible: set[str]

    @classmethod
    def of(cls, graph: Graph, physics: CellPhysics) -> GraphNames:
        """Collect the names of a checked graph and its physics."""
        nodes, edges = graph.nodes["molecule"], graph.edges["encodes"]
        encoded: dict[str, list[str]] = {}
        for source, target in zip(edges["source"], edges["target"], strict=True):
            if target in physics.counted:
                _add(encoded, (source, str(nodes.at[source, "identifier"])), target)
        named: dict[str, list[str]] = {}
        for name in physics.counted:
            _add(named, (name, str(nodes.at[name, "identifier"])), name)
        seen = zip(physics.counted, physics.inventory.visible, strict=True)
        visible = {name for name, flag in seen if flag}
        return cls(list(physics.molecules), list(physics.species), encoded, named, visible)

    @property
    def everything(self) -> list[str]:
        """All names, for messages."""
        return list(dict.fromkeys([*self.named, *self.encoded, *self.species]))


def reading(modality: Modality, names: GraphNames) -> Reading:
    """Find what every feature of a modality reads.

    A transcript reads the loadings of the molecules that it encodes, or of those that have its name or
    identifier. Copies on the surface and totals are those of the molecule of that name or identifier, or
    encoded by a transcript of it. A concentration is that of the species of that name, or of the free form of
    the molecule of that identifier. `targets` may name sums of species. What fits nothing is left to the
    decoder.

    Args:
        modality: features and channel.
        names: of the graph.

    Raises:
        DataError: `targets` names a feature or a part of the graph that is not there, or a feature could read
            several molecules.
    """
    channel, features = modality.channel, modality.features
    for feature in channel.targets:
        if feature not in features:
            hint = nearest(feature, features)
            raise DataError(f"`targets` of `{modality.name}`: no feature is called `{feature}`; {hint}")
    if not channel.reads:
        return read_nothing(modality)
    if channel.reads == "transcript":
        return _transcripts(modality, names)
    found = [_quantity(modality, feature, names) for feature in features]
    position = np.array([i for i, name in enumerate(found) if name], dtype=np.int64)
    physical = Readout(channel.reads, position, tuple(name for name in found if name))
    _say_missing(modality, position)
    return _joined(modality, None, physical if len(position) else None)


def read_nothing(modality: Modality) -> Reading:
    """Reading of a modality of which a graph explains nothing."""
    return _joined(modality, None, None)


def _add(table: dict[str, list[str]], keys: Iterable[str], name: str) -> None:
    for key in dict.fromkeys(keys):
        if key and name not in table.setdefault(key, []):
            table[key].append(name)


def _transcripts(modality: Modality, names: GraphNames) -> Reading:
    """Transcripts of molecules that have a total per cell."""
    position, rows = [], []
    for i, feature in enumerate(modality.features):
        label = modality.channel.targets.get(feature, feature)
        molecules = names.encoded.get(label) or names.named.get(label, [])
        weight = np.array([float(name in molecules) for name in names.molecules])
        if weight.any():
            position.append(i)
            rows.append(weight / weight.sum())
        elif not molecules and feature in modality.channel.targets:
            raise DataError(_unknown(modality, label, names))
    linked = Linked(np.array(position, dtype=np.int64), np.array(rows)) if position else None
    return _joined(modality, linked, None)


def _quantity(modality: Modality, feature: str, names: GraphNames) -> str:
    """What of the state a feature reads: a molecule, a species or a sum; '' where the graph has none."""
    label, stated = modality.channel.targets.get(feature, feature), feature in modality.channel.targets
    copies = modality.channel.reads != "species"
    molecules = names.named.get(label) or (names.encoded.get(label, []) if copies else [])
    if label in molecules or (label in names.species and not molecules):
        found = label
    elif len(molecules) == 1:
        found = molecules[0]
    elif molecules:
        raise DataError(
            f"`{modality.name}`: `{label}` stands for {len(molecules)} molecules; say which it reads:"
            f' `targets={{"{feature}": "{molecules[0]}"}}`, or a sum such as `{" + ".join(molecules[:2])}`.'
        )
    elif stated:
        found = _sum(modality, label, names)
    else:
        return ""
    if modality.channel.reads == "surface" and found in names.molecules and found not in names.visible:
        log.warning(
            "%s: the graph has no form of `%s` in a compartment of geometry `membrane`; `%s` reads its total",
            *(modality.name, found, feature),
        )
    return found


def _sum(modality: Modality, text: str, names: GraphNames) -> str:
    """A sum of species, checked."""
    try:
        read_sum(text, names.species)
    except DataError as error:
        raise DataError(f"`targets` of `{modality.name}`: {error}") from None
    return text


def _unknown(modality: Modality, label: str, names: GraphNames) -> str:
    return f"`targets` of `{modality.name}`: the graph has no `{label}`; {nearest(label, names.everything)}"


def _say_missing(modality: Modality, position: np.ndarray) -> None:
    """Warn of proteins and markers that the graph lacks."""
    unread = [name for i, name in enumerate(modality.features) if i not in set(position.tolist())]
    if unread:
        log.warning(
            "%s: %d of %d features have no node in the graph and are left to the decoder: %s",
            *(modality.name, len(unread), len(modality.features), shorten(unread, SHOWN)),
        )


def _joined(modality: Modality, linked: Linked | None, physical: Readout | None) -> Reading:
    """The reading: what is neither linked nor physical is decoded."""
    parts = [part.position for part in (linked, physical) if part is not None]
    read = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
    decoded = np.setdiff1d(np.arange(len(modality.features)), read)
    named = [tuple(modality.features[i] for i in np.sort(where)) for where in (read, decoded)]
    return Reading(modality.name, linked, physical, decoded, Match(named[0], (), named[1]))
