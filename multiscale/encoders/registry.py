"""Encoders by the name that a configuration gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from multiscale.encoders.additive import Additive
from multiscale.encoders.descriptors import Descriptors
from multiscale.encoders.encoder import Encoder
from multiscale.encoders.features import Features
from multiscale.encoders.network import Network
from multiscale.encoders.pairwise import Pairwise
from multiscale.encoders.product import Product
from multiscale.encoders.sources import FeatureSource
from multiscale.errors import ConfigError, nearest

__all__ = ["ENCODERS", "make_encoder"]

ENCODERS: dict[str, type[Encoder]] = {
    "additive": Additive,
    "pairwise": Pairwise,
    "descriptors": Descriptors,
    "features": Features,
    "product": Product,
    "network": Network,
}
"""Encoders of readings by name."""
SOURCE_OPTIONS = {"source", "left", "right"}


def make_encoder(kind: str, options: Mapping[str, Any]) -> Encoder:
    """An encoder from plain options, such as those of a TOML table.

    Args:
        kind: one of `ENCODERS`.
        options: its arguments; feature sources as tables of their own.

    Raises:
        ConfigError: the kind or an option is unknown, missing or wrong; nearest names are suggested.

    >>> make_encoder("additive", {"molecule": "protein", "terms": ["fold"]}).prior
    (1.0, False)
    """
    if kind not in ENCODERS:
        raise ConfigError(f"encoder `type` is `{kind}`; {nearest(kind, ENCODERS)}")
    made: dict[str, Any] = {
        name: _source(f"`{name}` of encoder `{kind}`", value)
        if name in SOURCE_OPTIONS and isinstance(value, Mapping)
        else value
        for name, value in options.items()
    }
    _check(ENCODERS[kind], made, f"encoder `{kind}`")
    for name in SOURCE_OPTIONS & made.keys():
        if not isinstance(made[name], FeatureSource):
            raise ConfigError(
                f"encoder `{kind}`: `{name}` must be a table of options such as"
                f' {{ entity = "drug", kind = "identity" }}; got {made[name]!r}.'
            )
    return ENCODERS[kind](**made)


def _source(where: str, options: Mapping[str, Any]) -> FeatureSource:
    """Features from plain options; those within are of the same entities unless they say so."""
    _check(FeatureSource, options, where)
    made = dict(options)
    if isinstance(made.get("prior"), Mapping):
        made["prior"] = _within(f"`prior` of {where}", made["prior"], options["entity"])
    if isinstance(made.get("parts"), list | tuple):
        made["parts"] = [_within(f"`parts` of {where}", part, options["entity"]) for part in made["parts"]]
    return FeatureSource(**made)


def _within(where: str, options: Any, entity: str) -> FeatureSource:
    """Features within features."""
    if isinstance(options, FeatureSource):
        return options
    if not isinstance(options, Mapping):
        raise ConfigError(f'{where} must be tables such as {{ kind = "identity" }}; got {options!r}.')
    return _source(where, {"entity": entity, **options})


def _check(made: type, options: Mapping[str, object], where: str) -> None:
    """Refuse unknown and missing options of a dataclass."""
    known = {field.name: field for field in fields(made)}
    for name in options:
        if name not in known:
            raise ConfigError(f"{where}: unknown option `{name}`; {nearest(name, known)}")
    for name, field in known.items():
        if field.default is MISSING and field.default_factory is MISSING and name not in options:
            raise ConfigError(f"{where}: `{name}` is missing; got {', '.join(options) or 'no options'}.")
