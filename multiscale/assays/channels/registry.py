"""Channels by the names that configuration files use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from multiscale.assays.channels.channel import Channel
from multiscale.assays.channels.cytometry import Cytometry
from multiscale.assays.channels.labels import Labels
from multiscale.assays.channels.surface_proteins import SurfaceProteins
from multiscale.assays.channels.transcripts import Transcripts
from multiscale.errors import AssayError, nearest

__all__ = ["CHANNELS", "make_channel"]

CHANNELS: dict[str, type[Channel]] = {
    channel.kind: channel for channel in (Transcripts, SurfaceProteins, Cytometry, Labels)
}


def make_channel(kind: str, options: Mapping[str, object] | None = None) -> Channel:
    """Make a channel from its name and options, as read from a configuration file.

    Args:
        kind: a name in `CHANNELS`.
        options: option names and values of that channel.

    Raises:
        AssayError: the name or an option is unknown (nearest known ones are suggested), or a value is out of
            range.

    >>> make_channel("cytometry", {"cofactor": 150.0}).reads
    'species'
    """
    if kind not in CHANNELS:
        raise AssayError(f"`{kind}` is not a channel; {nearest(kind, CHANNELS)}")
    channel = CHANNELS[kind]
    known = [field.name for field in dataclasses.fields(channel)]
    for option in options or {}:
        if option not in known:
            raise AssayError(f"`{option}` is not an option of the channel `{kind}`; {nearest(option, known)}")
    return channel(**dict(options or {}))  # pyright: ignore[reportArgumentType]
