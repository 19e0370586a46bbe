"""Sections on readings of the molecular scale."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from multiscale.config.section import Section

__all__ = ["Condition", "EncoderSection", "HoldoutRows", "ReadingsSection", "SequenceSection"]


class SequenceSection(Section):
    """Which column holds the sequence of a molecule: `sequence` of readings."""

    molecule: str = Field(description="molecule of the graph")
    column: str = Field(description="column with sequences, or with changes of the wild type")
    alphabet: str = Field(default="protein", description="protein, protein*, protein-, dna, rna, or letters")
    reference: str | None = Field(
        default=None,
        description='sequence of the wild type; "" = there is none; not stated = the row that is marked',
    )
    reference_where: dict[str, Any] | None = Field(
        default=None, description="value of a column that marks the wild type, such as { WT = true }"
    )
    first: int = Field(default=1, description="number of the first residue")
    notation: Literal["sequence", "hgvs", "mutations"] = Field(
        default="sequence", description="whole sequences, HGVS (p.Ala24Gly), or A24G:T30P"
    )


class HoldoutRows(Section):
    """Rows drawn to be predicted instead of fitted: `holdout` of readings."""

    fraction: float = Field(gt=0, lt=1, description="share of the rows, or of the groups")
    seed: int = Field(default=0, ge=0)
    by: list[str] = Field(default=[], description="columns whose equal rows are held out together")


class Condition(Section):
    """What a row was measured under: a number, or a column: `conditions` of readings."""

    value: float | None = Field(default=None, description="the same for all rows")
    column: str | None = Field(default=None, description="column with a number per row")
    unit: str | None = Field(
        default=None,
        description="none = that in which the column's name ends; of a value µM, K or M (denaturant)",
    )


def _condition(given: Any) -> Any:
    """`0.5`, `"column"` or `{ column = "...", unit = "nM" }` as a section."""
    if isinstance(given, str):
        return {"column": given}
    if isinstance(given, int | float) and not isinstance(given, bool):
        return {"value": given}
    if isinstance(given, dict) and (given.get("value") is None) == (given.get("column") is None):
        raise ValueError("must be a number, the name of a column, or { column = ..., unit = ... }")
    return given


def _listed(given: Any) -> Any:
    """One section in place of a list of one."""
    return [given] if isinstance(given, dict) else given


class ReadingsSection(Section):
    """Readings of the molecular scale, one vessel per row: `[data.readings.<name>]`.

    Further keys are options of the instrument.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    path: str = Field(description="table: a path, or a path below the folder that MULTISCALE_DATA names")
    instrument: str = Field(description="name of the instrument, such as fitness, affinity or titration")
    format: str = Field(default="table", description="layout of the file: table, dimsum or mavedb")
    sequence: Annotated[
        list[SequenceSection],
        BeforeValidator(_listed, json_schema_input_type=SequenceSection | list[SequenceSection]),
    ] = Field(default=[], description="columns with sequences of molecules, one or a list")
    entities: dict[str, str] = Field(
        default_factory=dict, description="column by kind of entity, such as drug or receptor"
    )
    conditions: dict[
        str, Annotated[Condition, BeforeValidator(_condition, json_schema_input_type=float | str | Condition)]
    ] = Field(
        default_factory=dict,
        description="by molecule (µM), temperature (K), denaturant (M): number, column, or column with unit",
    )
    split: str | None = Field(default=None, description="column with labels such as training and validation")
    holdout: HoldoutRows | None = Field(default=None, description="draws rows with label test instead")
    fitted: list[str] | None = Field(
        default=None,
        min_length=1,
        description='labels that are fitted, the others are predicted; none = ["training"], if there are any',
    )
    where: dict[str, Any] = Field(
        default_factory=dict, description="rows that are kept, by value of a column"
    )
    duplicates: Literal["keep", "refuse", "mean"] = Field(
        default="keep", description="rows of the same variant under the same conditions"
    )
    wild_type: dict[str, float | str] | None = Field(
        default=None, description="cells of a row added for the wild type, by column; none = no such row"
    )


class EncoderSection(Section):
    """How energies depend on what was measured: `[encoders.<name>]`; further keys are its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str = Field(description="name of the encoder, such as additive or pairwise")
