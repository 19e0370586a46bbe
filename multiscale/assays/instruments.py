"""Instruments of the molecular scale by the names that configuration files use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from multiscale.assays.binding_energy import BindingEnergy
from multiscale.assays.bins import Bins
from multiscale.assays.fitness import Fitness
from multiscale.assays.heat import Heat
from multiscale.assays.instrument import Instrument
from multiscale.assays.melt import Melt
from multiscale.assays.selection_counts import SelectionCounts
from multiscale.assays.titration import Anisotropy, Titration
from multiscale.errors import AssayError, nearest

__all__ = ["INSTRUMENTS", "make_instrument"]

INSTRUMENTS: dict[str, type[Instrument]] = {
    "affinity": BindingEnergy,
    "anisotropy": Anisotropy,
    "fitness": Fitness,
    "itc": Heat,
    "melt": Melt,
    "selection_counts": SelectionCounts,
    "sortseq": Bins,
    "titration": Titration,
}


def make_instrument(kind: str, options: Mapping[str, object] | None = None) -> Instrument:
    """Make an instrument from its name and options, as read from a configuration file.

    Args:
        kind: a name in `INSTRUMENTS`.
        options: option names and values of that instrument.

    Raises:
        AssayError: the name or an option is unknown (nearest known ones are suggested), an option is missing,
            or a value is out of range.

    >>> make_instrument("fitness", {"species": "folded", "of": "protein"}).quantities()
    (Quantity(kind='fraction', species='folded', of='protein'),)
    """
    if kind not in INSTRUMENTS:
        raise AssayError(f"`{kind}` is not an instrument; {nearest(kind, INSTRUMENTS)}")
    instrument, given = INSTRUMENTS[kind], dict(options or {})
    fields = [field for field in dataclasses.fields(instrument) if field.init]
    known = [field.name for field in fields]
    for option in given:
        if option not in known:
            raise AssayError(
                f"`{option}` is not an option of the instrument `{kind}`; {nearest(option, known)}"
            )
    for field in fields:
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in given:
            raise AssayError(f"the instrument `{kind}` needs the option `{field.name}`; state it.")
    return instrument(**given)  # pyright: ignore[reportArgumentType]
