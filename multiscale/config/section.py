"""What all sections of a TOML share, and sections of measurements of cells."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AssaySection", "Section", "TableSection"]


class Section(BaseModel):
    """A section: unknown keys are refused, values stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TableSection(Section):
    """One table of measurements: `[data.tables.<name>]`; further keys are options of the assay."""

    model_config = ConfigDict(extra="allow", frozen=True)
    path: str = Field(description="TSV or CSV file: a path, or a path below datasets/")
    assay: str = Field(description="name of the assay that produced the table")


class AssaySection(Section):
    """One assay of the AnnData: `[data.assays.<name>]`; further keys are options of the assay."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str = Field(description="name of the assay")
