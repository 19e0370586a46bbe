"""Where features of entities (drugs, receptors, peptides...) come from: options, tables, what was learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from multiscale.data import Readings
from multiscale.encoders.bound_sources import BoundEntities, BoundSource
from multiscale.encoders.items import EntityTable
from multiscale.encoders.mixtures import BoundMixture
from multiscale.encoders.profiles import BoundProfile
from multiscale.errors import ConfigError, nearest

__all__ = ["SOURCES", "BoundSource", "FeatureSource"]

SOURCES = {
    "identity": "one weight per fitted entity; others have none, so that they stay at the mean of the prior",
    "onehot": "letters of aligned sequences",
    "spectrum": "words of k letters of sequences, as components of their kernel",
    "morgan": "Morgan fingerprints of SMILES, as components of their Tanimoto kernel; needs `chem`",
    "aligned": "aligned sequences, as components of a kernel of like residues at like positions",
    "table": "numeric columns in standard deviations",
    "profile": "what fitted readings say of it across entities of another kind, as components",
    "mixture": "several of these together",
}
"""Kinds of feature sources, with their meaning."""
_WITHOUT_CELLS = ("identity", "profile", "mixture")


@dataclass(frozen=True, kw_only=True)
class FeatureSource:
    """What is known of the entities of one kind.

    Args:
        entity: kind of entity, as in the readings.
        kind: one of `SOURCES`.
        table: path of a table with one row per entity; None if the columns stand in the readings.
        key: column of the table with names of entities; its first if None.
        column: with the sequence or SMILES, or the numeric columns; all columns but `key` of a table if None.
        rank: components of largest variance that are kept; all if None.
        k: letters of a word of `spectrum`.
        radius: bonds around an atom of `morgan`.
        bits: length of the fingerprint of `morgan`.
        weights: of `aligned`: of every position; all alike if None.
        overall: of `aligned`: share of the likeness of whole sequences, in net charge and count of
            hydrophobic residues, 0 to 1.
        across: of `profile`: the other kind of entity.
        prior: of `profile`: features, of the same entities, that say who is alike before any reading, and
            what is known of entities without readings; each like itself alone if None.
        strength: of `profile`: as how many other entities the prior counts; as there are fitted entities if
            None.
        parts: of `mixture`: sources of the same entities.
        shares: of `mixture`: of the variance of a typical entity, in proportion; equal if None.
        missing: entities without a sequence, SMILES or number: `refuse` them, or give them the `mean` of the
            features of the fitted ones.
        unseen: what of an entity that was not fitted does not follow from the fitted ones: `mean` takes it
            for zero, `prior` for as uncertain as the prior says, which widens its intervals.
    """

    entity: str
    kind: str
    table: str | Path | None = None
    key: str | None = None
    column: str | Sequence[str] | None = None
    rank: int | None = None
    k: int = 3
    radius: int = 2
    bits: int = 2048
    missing: Literal["refuse", "mean"] = "refuse"
    weights: Sequence[float] | None = None
    overall: float = 0.0
    across: str | None = None
    prior: FeatureSource | None = None
    strength: float | None = None
    parts: Sequence[FeatureSource] = ()
    shares: Sequence[float] | None = None
    unseen: Literal["mean", "prior"] = "mean"

    def __post_init__(self) -> None:
        """Check the options."""
        if self.kind not in SOURCES:
            raise ConfigError(f"`kind` of features is `{self.kind}`; {nearest(self.kind, SOURCES)}")
        if self.missing not in ("refuse", "mean"):
            raise ConfigError(f"`missing` must be `refuse` or `mean`; got {self.missing!r}.")
        if self.unseen not in ("mean", "prior"):
            raise ConfigError(f"`unseen` must be `mean` or `prior`; got {self.unseen!r}.")
        for name, value in {"rank": self.rank, "radius": self.radius, "bits": self.bits}.items():
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"`{name}` must be a positive whole number; got {value!r}.")
        if self.kind not in _WITHOUT_CELLS and self.table is None and self.column is None:
            raise ConfigError(f"features `{self.kind}` of `{self.entity}` need a `column`, or a `table`.")
        self._check_profile()
        self._check_mixture()

    @property
    def columns(self) -> list[str] | None:
        """Names of the columns; None if all of the table are meant."""
        if self.column is None:
            return None
        return [self.column] if isinstance(self.column, str) else list(self.column)

    def reads(self, readings: Readings) -> bool:
        """Whether rows are about such entities."""
        return self.entity in readings.entities

    def open(self) -> EntityTable | None:
        """Read the table, if there is one.

        Raises:
            ConfigError: it has several columns and one of them must be chosen.
            DataError: a column is missing, or an entity occurs twice.
        """
        if self.table is None or self.kind in _WITHOUT_CELLS:
            return None
        table = EntityTable(Path(self.table), self.key, self.columns)
        if self.kind != "table" and len(table.columns) != 1:
            raise ConfigError(f"`column` must name one of {', '.join(table.columns)} in {table.file}.")
        return table

    def bind(self, readings: Sequence[Readings]) -> BoundSource:
        """Learn features from the entities of fitted rows; `profile` also from what was measured."""
        if self.kind == "profile":
            prior = None if self.prior is None else self.prior.bind(readings)
            return BoundProfile(self, prior, readings)
        if self.kind == "mixture":
            shares = [1.0] * len(self.parts) if self.shares is None else self.shares
            kinds = [part.kind for part in self.parts]
            return BoundMixture(kinds, [part.bind(readings) for part in self.parts], shares)
        return BoundEntities(self, readings)

    def _check_profile(self) -> None:
        """Refuse options of a profile that are missing or wrong."""
        if self.kind == "profile" and not self.across:
            raise ConfigError("features `profile` need the other kind of entity: `across`.")
        if self.across == self.entity:
            raise ConfigError(f"`across` must be another kind than `{self.entity}`.")
        if self.strength is not None and not 0 < self.strength < float("inf"):
            raise ConfigError(f"`strength` must be a positive number; got {self.strength!r}.")
        self._check_same([] if self.prior is None else [self.prior], "prior")

    def _check_mixture(self) -> None:
        """Refuse parts, shares and weights that are none, or do not fit together."""
        if not 0 <= self.overall < 1:
            raise ConfigError(f"`overall` must be at least 0 and below 1; got {self.overall!r}.")
        if self.weights is not None and not (
            all(0 <= weight < float("inf") for weight in self.weights) and sum(self.weights) > 0
        ):
            raise ConfigError(f"`weights` must be numbers of at least 0, not all 0; got {self.weights!r}.")
        if (self.kind == "mixture") != bool(self.parts):
            raise ConfigError("`parts` must list the features of a `mixture`, and of nothing else.")
        if self.shares is not None and not (
            len(self.shares) == len(self.parts) and all(0 < share < float("inf") for share in self.shares)
        ):
            raise ConfigError(f"`shares` must be a positive number per part; got {self.shares!r}.")
        self._check_same(self.parts, "parts")

    def _check_same(self, sources: Sequence[FeatureSource], option: str) -> None:
        """Refuse features of another kind of entity."""
        for source in sources:
            if source.entity != self.entity:
                raise ConfigError(f"`{option}` must be features of `{self.entity}`; got `{source.entity}`.")
