"""What a model was fitted to, so that other cells are read alike: features, batches, conditions, kinds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
import pandas as pd

from multiscale.assays.channels import Channel, make_channel
from multiscale.data.cells.cells import Cells, Codes, Modality
from multiscale.data.cells.labels import ONE
from multiscale.data.cells.modality import totals
from multiscale.data.cells.source import InMemory
from multiscale.data.match import shorten
from multiscale.errors import DataError, FormatError, nearest

__all__ = ["Registered", "Registry"]

FORMAT_VERSION = 1

PLACES = tuple(field.name for field in fields(Channel))
"""Options that say where readings lie, which may differ between data."""

logger = logging.getLogger("multiscale")


@dataclass(frozen=True)
class Registered:
    """What is kept of one modality.

    Args:
        kind: of its channel.
        options: of its channel, as JSON holds them.
        features: names in their order.
        size_mean: readings that a cell of size 1 has.
        size_features: number of features that sizes were added up over.
        size_factor: where sizes come from.
    """

    kind: str
    options: Mapping[str, Any]
    features: tuple[str, ...]
    size_mean: float
    size_features: int
    size_factor: str


@dataclass(frozen=True)
class Registry:
    """What a model was fitted to.

    Args:
        modalities: by name.
        batches: names in their order.
        conditions: names in their order.
        versions: of the packages that read the data.
    """

    modalities: Mapping[str, Registered]
    batches: tuple[str, ...]
    conditions: tuple[str, ...]
    versions: Mapping[str, str]

    @classmethod
    def of(cls, cells: Cells) -> Registry:
        """Note what these cells are."""
        return cls(
            {name: _registered(part) for name, part in cells.modalities.items()},
            cells.batch.names,
            cells.condition.names,
            {name: found for name in ("anndata", "mudata") if (found := _version(name))},
        )

    def to_json(self) -> dict[str, Any]:
        """The same in words that JSON can hold."""
        return {"format_version": FORMAT_VERSION, **_plain(asdict(self))}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Registry:
        """Read what `to_json` gave.

        Raises:
            FormatError: it is of another version, or a key is missing.
        """
        if document.get("format_version") != FORMAT_VERSION:
            got = document.get("format_version")
            raise FormatError(f"registry: `format_version` must be {FORMAT_VERSION}; got {got}.")
        try:
            modalities = {
                name: Registered(**{**part, "features": tuple(part["features"])})
                for name, part in document["modalities"].items()
            }
            names = tuple(document["batches"]), tuple(document["conditions"])
            return cls(modalities, *names, dict(document["versions"]))
        except (KeyError, TypeError) as error:
            raise FormatError(f"registry: {error} is missing or unknown; save the model again.") from None

    def fit(self, cells: Cells, *, new_batches: Literal["refuse", "mean"] = "refuse") -> Cells:
        """Bring other cells into the form of those the model was fitted to.

        Features are brought into order and surplus ones left out; sizes are relative to the same mean. A
        modality that is missing measured none of the cells.

        Args:
            cells: other cells.
            new_batches: `refuse` batches that were not there; or number them after those that were: what is
                calibrated per batch is then the mean over those.

        Raises:
            DataError: a feature is missing, a modality is of another kind, or a batch or condition is new.
        """
        if new_batches not in ("refuse", "mean"):
            raise DataError(f"`new_batches` must be `refuse` or `mean`; got `{new_batches}`.")
        extra = [name for name in cells.modalities if name not in self.modalities]
        if extra:
            logger.warning("modalities that the model does not know are left out: %s.", shorten(extra))
        modalities = {
            name: _fitted(known, cells.modalities[name], cells)
            if name in cells.modalities
            else _nothing(name, known, len(cells))
            for name, known in self.modalities.items()
        }
        measured = np.any([part.rows >= 0 for part in modalities.values()], axis=0)
        if not measured.all():
            cell = cells.obs.index[int((~measured).argmax())]
            raise DataError(f"no modality that the model knows measured cell `{cell}`; drop such cells.")
        return replace(
            cells,
            modalities=modalities,
            batch=_renumbered(cells, cells.batch, self.batches, "batch", new_batches == "mean"),
            condition=_renumbered(cells, cells.condition, self.conditions, "condition", False),
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _plain(value: Any) -> Any:
    """Lists and dictionaries alone, as JSON gives them back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _options(channel: Channel) -> dict[str, Any]:
    return {field.name: _plain(getattr(channel, field.name)) for field in fields(channel)}


def _registered(part: Modality) -> Registered:
    noted = part.provenance
    return Registered(
        part.channel.kind,
        _options(part.channel),
        part.features,
        float(noted.get("size_mean", 1.0)),
        int(noted.get("size_features", len(part.features))),
        str(noted.get("size_factor", "none")),
    )


def _fitted(known: Registered, part: Modality, cells: Cells) -> Modality:
    """One modality with the features and the sizes that the model knows."""
    if part.channel.kind != known.kind:
        raise DataError(f"`{part.name}` is `{part.channel.kind}`; the model was fitted to `{known.kind}`.")
    for option, value in _options(part.channel).items():
        if option not in PLACES and value != known.options.get(option):
            was = known.options.get(option)
            raise DataError(
                f"`{part.name}`: `{option}` is {value}, the model was fitted with {was}; use that."
            )
    _check_features(known, part)
    return _resized(known, part, part.only(known.features))


def _check_features(known: Registered, part: Modality) -> None:
    have = set(part.features)
    missing = [name for name in known.features if name not in have]
    if missing:
        hint = nearest(missing[0], part.features)
        raise DataError(
            f"`{part.name}` lacks features of the model: {shorten(missing)}; for the first {hint}"
        )


def _resized(known: Registered, part: Modality, chosen: Modality) -> Modality:
    """With sizes relative to the mean of the cells that the model was fitted to."""
    noted = _registered(part)
    if (noted.size_factor == "none") != (known.size_factor == "none") or (
        "row sums" in (noted.size_factor, known.size_factor) and noted.size_factor != known.size_factor
    ):
        raise DataError(
            f"`{part.name}`: sizes are from {noted.size_factor}, the model's from {known.size_factor}; "
            "read these cells with the same `size_factor_key`."
        )
    if known.size_factor == "none":
        return chosen
    size = part.size * noted.size_mean
    if known.size_factor == "row sums" and known.size_features != noted.size_features:
        if known.size_features == len(known.features):
            size = _sums(chosen)
        else:
            logger.warning(
                "sizes of `%s` are sums over %d features, those of the model over %d.",
                part.name,
                noted.size_features,
                known.size_features,
            )
    rows = np.where(size > 0, chosen.rows, -1)
    size = np.where(rows >= 0, size / known.size_mean, 1.0)
    facts = {"size_mean": known.size_mean, "size_features": known.size_features}
    return replace(chosen, rows=rows, size=size, provenance={**part.provenance, **facts})


def _sums(part: Modality) -> np.ndarray:
    """Total readings of the chosen features of every cell."""
    names = pd.RangeIndex(part.source.shape[0])
    asked = np.zeros(part.source.shape[0], dtype=bool)
    asked[part.rows[part.rows >= 0]] = True
    found = totals(part.source, part.channel, part.name, part.features, names, asked, part.columns)
    return np.where(part.rows >= 0, found[part.rows], 0.0)


def _nothing(name: str, known: Registered, count: int) -> Modality:
    """A modality that measured none of the cells."""
    logger.warning("`%s` measured none of the cells.", name)
    options = {option: value for option, value in known.options.items() if option not in PLACES}
    if known.options.get("targets"):
        options["targets"] = known.options["targets"]
    return Modality(
        name,
        make_channel(known.kind, options),
        known.features,
        InMemory(np.zeros((0, len(known.features)))),
        np.arange(len(known.features)),
        np.full(count, -1, dtype=np.int64),
        np.ones(count),
        provenance={"matrix": "none", "size_factor": known.size_factor},
    )


def _renumbered(cells: Cells, codes: Codes, known: tuple[str, ...], what: str, may_be_new: bool) -> Codes:
    """The same labels with the numbers that the model knows."""
    used = [codes.names[i] for i in np.unique(codes.codes)]
    new = [name for name in used if name not in known]
    if new and not may_be_new:
        cell = cells.obs.index[int(np.isin(codes.codes, [codes.names.index(name) for name in new]).argmax())]
        remedy = " (or `new_batches='mean'`)" if what == "batch" else ""
        remedy += f"; or give `{what}_key`, the column of obs that says it" if new == [ONE] else ""
        raise DataError(
            f"{what} {shorten(new)} (cell `{cell}`) was not there when the model was fitted; "
            f"{nearest(new[0], known)} Fit again, or rename it{remedy}."
        )
    names = (*known, *new)
    position = {name: i for i, name in enumerate(names)}
    number = np.array([position.get(name, -1) for name in codes.names], dtype=np.int64)
    return Codes(names, number[codes.codes])
