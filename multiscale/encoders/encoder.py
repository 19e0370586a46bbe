"""What an encoder is: features of a row (sequence, drug, receptor...) → changes of named energy terms.

Bound to the readings of a problem, an encoder is a set of families of weights with normal priors and, for any
rows, a design per family. Its energies are added to those that the graph states: term t of row i is θ_t +
Σ_families X_i · w_t.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from multiscale.data import Readings
from multiscale.encoders.design import Design
from multiscale.errors import ConfigError

__all__ = ["Bound", "Encoder", "Weights"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Weights:
    """A family of weights, the same for every energy term of the encoder.

    Args:
        name: of the family, such as `single` or `pair`; unique within the encoder.
        labels: name of every weight, such as `A24G`.
        sd: of the normal prior of every weight, kcal/mol; the start of the search where it is learned.
        learned: whether the common sd of the family is learned from the data (per term).
        seen: whether any fitted row has the weight, shape (weight,); an unseen one stays at its prior.
        shift: family of one weight that is added to the energy of every label of this one, such as the mean
            of all mutations; '' if none.
        energies: whether a weight is itself an energy in kcal/mol of something that its label names.
        mean: of the normal prior of every weight, kcal/mol.
    """

    name: str
    labels: Sequence[str]
    sd: float
    learned: bool = False
    seen: np.ndarray | None = None
    energies: bool = False
    shift: str = ""
    mean: float = 0.0


class Bound(ABC):
    """An encoder that knows the readings that are fitted."""

    families: tuple[Weights, ...]
    gauge: str = ""
    """What was fixed so that weights mean something, in a sentence for the report; '' if nothing."""

    @abstractmethod
    def designs(self, readings: Readings) -> list[Design]:
        """One design per family for these rows, the fitted ones or others.

        Raises:
            DataError: a row lacks what the encoder reads, or holds what it cannot know (an unseen mutation),
                named by file, line and variant.
        """


@dataclass(frozen=True, kw_only=True)
class Encoder(ABC):
    """Options of an encoder. Subclasses are frozen dataclasses.

    Args:
        terms: energy terms of the graph that it changes (parameterId of role energy).
        prior_sd: sd of the normal prior of a weight, kcal/mol; a number, or `learned`.
    """

    terms: Sequence[str]
    prior_sd: float | str = 1.0
    readings: Sequence[str] = field(default_factory=tuple)
    """Names of the readings it applies to; () = all that have what it reads."""

    def __post_init__(self) -> None:
        """Check the options that all encoders share.

        Raises:
            ConfigError: there is no term, or `prior_sd` is neither a positive number nor `learned`.
        """
        if isinstance(self.terms, str) or not self.terms:
            raise ConfigError(f"`terms` must list at least one energy term of the graph; got {self.terms!r}.")
        number = isinstance(self.prior_sd, int | float) and not isinstance(self.prior_sd, bool)
        if not (number and 0 < float(self.prior_sd) < float("inf")) and self.prior_sd != "learned":
            raise ConfigError(
                f'`prior_sd` must be a positive number, kcal/mol, or "learned"; got {self.prior_sd!r}.'
            )

    @property
    def prior(self) -> tuple[float, bool]:
        """Prior sd of a weight, kcal/mol, and whether it is learned; a learned one starts at 1 kcal/mol."""
        return (1.0, True) if self.prior_sd == "learned" else (float(self.prior_sd), False)

    @abstractmethod
    def reads(self, readings: Readings) -> bool:
        """Whether these readings hold what the encoder needs."""

    @abstractmethod
    def bind(self, readings: Sequence[Readings]) -> Bound:
        """Get to know the readings that will be fitted (those for which `reads` is true)."""
