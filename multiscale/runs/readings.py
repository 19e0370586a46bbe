"""From `[data.readings.<name>]` of a TOML to readings: rows to fit, others, and rows of another file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multiscale.assays.instruments import INSTRUMENTS, make_instrument
from multiscale.config import Condition, ReadingsSection, SequenceSection
from multiscale.content import find
from multiscale.data import Readings, Sequences
from multiscale.errors import ConfigError, MultiscaleError, nearest
from multiscale.formats.variants import Holdout, SequenceColumn, read_readings
from multiscale.formats.variants.file import read_variant_table

__all__ = ["labels_to_fit", "options_of", "read_section", "rows_to_fit", "rows_to_predict"]

FITTED = ("training",)
"""Labels that are fitted where nothing else is said."""


def read_section(name: str, section: ReadingsSection) -> Readings:
    """Read all rows of a section.

    Raises:
        ConfigError: a key is wrong.
        FormatError, DataError, AssayError: the file is; each names file and line.
    """
    _check(name, section)
    holdout = section.holdout
    return read_readings(
        find("datasets", section.path),
        _instrument(name, section),
        name=name,
        format=section.format,  # pyright: ignore[reportArgumentType]
        sequence=[_sequence(part, part.reference) for part in section.sequence],
        entities=section.entities,
        conditions={key: _condition(given) for key, given in section.conditions.items()},
        split=section.split,
        holdout=None if holdout is None else Holdout(holdout.fraction, holdout.seed, tuple(holdout.by)),
        where=section.where,
        duplicates=section.duplicates,
        wild_type=_wild_type(section),
    )


def rows_to_predict(file: str | Path, section: ReadingsSection, fitted: Readings) -> Readings:
    """Read rows in the layout of a file that was fitted; measurements are not needed and ignored.

    Args:
        file: the table; a filter of `where` acts where it has the column, unless that was measured.
        section: how the fitted file was read.
        fitted: its rows: wild type and instrument are theirs.

    Raises:
        FormatError, DataError, AssayError: see `read_section`.
    """
    measured = {fitted.instrument.columns.get(name, name) for name in fitted.instrument.measured}
    columns = set(read_variant_table(file).columns) - measured
    return read_readings(
        file,
        fitted.instrument,
        name=fitted.name,
        format=section.format,  # pyright: ignore[reportArgumentType]
        sequence=[_sequence(part, _reference(fitted.sequences[part.molecule])) for part in section.sequence],
        entities=section.entities,
        conditions={key: _condition(given) for key, given in section.conditions.items()},
        where={column: value for column, value in section.where.items() if column in columns},
        measured=False,
    )


def rows_to_fit(section: ReadingsSection, readings: Readings) -> tuple[Readings, Readings | None]:
    """Tell the rows that are fitted from those that are predicted, None where there are none.

    Raises:
        DataError: `fitted` names a label that no row has.
    """
    if readings.split is None:
        return readings, None
    labels = labels_to_fit(section)
    fitted, rest = readings.where(*labels), ~np.isin(readings.split, labels)
    return fitted, readings.take(rest) if rest.any() else None


def labels_to_fit(section: ReadingsSection) -> tuple[str, ...]:
    """Labels whose rows are fitted; of rows without labels, the word for them."""
    return tuple(section.fitted or FITTED)


def options_of(
    where: str, kind: str, kinds: Mapping[str, type], options: Mapping[str, Any], own: Sequence[str]
) -> None:
    """Refuse options that an instrument or encoder does not have, and those that it lacks.

    Args:
        where: section of the TOML, for messages.
        kind: name in `kinds`.
        kinds: dataclasses by name.
        options: given for it.
        own: keys of the section itself, which may be meant.

    Raises:
        ConfigError: see above.
    """
    if kind not in kinds:
        raise ConfigError(f"[{where}]: `{kind}` is unknown; {nearest(kind, kinds)}")
    fields = {field.name: field for field in dataclasses.fields(kinds[kind])}
    for option in options:
        if option not in fields:
            raise ConfigError(
                f"[{where}]: unknown key `{option}`, which is no option of `{kind}` either; "
                + nearest(option, [*fields, *own])
            )
    for name, field in fields.items():
        missing = dataclasses.MISSING
        if (
            field.init
            and field.default is missing
            and field.default_factory is missing
            and name not in options
        ):
            raise ConfigError(f"[{where}]: key `{name}` is missing, which `{kind}` needs.")


def _instrument(name: str, section: ReadingsSection) -> Any:
    """The instrument; errors say where in the TOML its options stand."""
    where, options = f"data.readings.{name}", dict(section.model_extra or {})
    options_of(where, section.instrument, INSTRUMENTS, options, list(ReadingsSection.model_fields))
    try:
        return make_instrument(section.instrument, options)
    except (MultiscaleError, TypeError) as error:
        raise ConfigError(f"[{where}]: {error}") from None


def _check(name: str, section: ReadingsSection) -> None:
    """Keys that do not fit together."""
    if section.split and section.holdout:
        raise ConfigError(f"[data.readings.{name}]: `split` and `holdout` exclude each other; give one.")
    if section.fitted and not (section.split or section.holdout):
        raise ConfigError(
            f"[data.readings.{name}]: `fitted` = {section.fitted} needs labels; give `split` or `holdout`."
        )


def _wild_type(section: ReadingsSection) -> dict[str, float | str] | None:
    """Cells of a row that is added; it is fitted unless they say otherwise."""
    if section.wild_type is None or not section.split or not section.fitted:
        return section.wild_type
    label = {} if section.split in section.wild_type else {"split": section.fitted[0]}
    return {**label, **section.wild_type}


def _sequence(section: SequenceSection, reference: str | None) -> SequenceColumn:
    return dataclasses.replace(SequenceColumn(**section.model_dump()), reference=reference)


def _reference(sequences: Sequences) -> str:
    """Letters of the wild type, '' if there is none."""
    if sequences.reference is None:
        return ""
    return "".join(sequences.alphabet[code] for code in sequences.reference)


def _condition(given: Condition) -> Any:
    """A number, a column, or either with its unit."""
    source = given.value if given.column is None else given.column
    assert source is not None
    return source if given.unit is None else (source, given.unit)
