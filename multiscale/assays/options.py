"""Types and ranges of assay options, checked when an assay is made."""

from __future__ import annotations

import math

from multiscale.errors import AssayError

__all__ = ["finite", "flag", "positive", "text_or_none"]


def positive(assay: str, unit: str, **options: float) -> None:
    """Check that options are positive finite numbers.

    Args:
        assay: name of the assay class.
        unit: unit of all of them.
        options: name and value.

    Raises:
        AssayError: one is not.
    """
    for name, value in options.items():
        if not (is_number(value) and value > 0):
            raise AssayError(f"`{name}` of {assay} must be a positive number, in {unit}; got {value!r}.")


def finite(assay: str, unit: str, **options: float) -> None:
    """Check that options are finite numbers.

    Raises:
        AssayError: one is not.
    """
    for name, value in options.items():
        if not is_number(value):
            raise AssayError(f"`{name}` of {assay} must be a finite number, in {unit}; got {value!r}.")


def flag(assay: str, **options: object) -> None:
    """Check that options are true or false.

    Raises:
        AssayError: one is not.
    """
    for name, value in options.items():
        if not isinstance(value, bool):
            raise AssayError(f"`{name}` of {assay} must be true or false; got {value!r}.")


def text_or_none(assay: str, **options: object) -> None:
    """Check that options are names, or not given.

    Raises:
        AssayError: one is not.
    """
    for name, value in options.items():
        if not (value is None or (isinstance(value, str) and value)):
            raise AssayError(f"`{name}` of {assay} must be a name; got {value!r}.")


def is_number(value: object) -> bool:
    """Say whether a value is a finite int or float (not a truth value)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
