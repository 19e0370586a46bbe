"""How large a model with submodels becomes when they are written out, found before anything is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import libsbml

from multiscale.errors import FormatError

__all__ = ["check_submodels"]

_MOST_INSTANCES = 10_000


def check_submodels(document: libsbml.SBMLDocument, external: Mapping[str, int], where: str) -> int:
    """Count the instances of models that a document writes out to, itself included.

    Definitions that contain two instances each of the next grow to 2^n.

    Args:
        document: with the package `comp`.
        external: count of every external model definition.
        where: file, for messages.

    Raises:
        FormatError: a model contains itself, or there are more instances than can be written out.
    """
    plugin = document.getPlugin("comp")
    parts = {model.getId(): _parts(model) for model in plugin.getListOfModelDefinitions()}
    parts[""] = _parts(document.getModel())
    sizes = dict(external)
    for name in parts:
        _measure(name, parts, sizes, where)
    return sizes[""]


def _parts(model: libsbml.Model | None) -> list[str]:
    plugin = model.getPlugin("comp") if model is not None else None
    return [] if plugin is None else [submodel.getModelRef() for submodel in plugin.getListOfSubmodels()]


def _measure(name: str, parts: Mapping[str, Sequence[str]], sizes: dict[str, int], where: str) -> None:
    """Fill in how many instances a model has, those inside its submodels included; does not recurse."""
    waiting, open_models = [name], set()
    while waiting:
        current = waiting[-1]
        missing = [part for part in parts.get(current, ()) if part not in sizes]
        if current in sizes:
            waiting.pop()
        elif missing and current in open_models:
            raise FormatError(f"{where}: model definition `{current}` contains itself.")
        elif missing:
            open_models.add(current)
            waiting.extend(dict.fromkeys(missing))
        else:
            sizes[current] = 1 + sum(sizes[part] for part in parts.get(current, ()))
            waiting.pop()
        if sizes.get(current, 0) > _MOST_INSTANCES:
            raise FormatError(f"{where}: has more than {_MOST_INSTANCES} instances of submodels.")
