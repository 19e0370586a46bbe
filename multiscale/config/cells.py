"""Sections on single cells."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from multiscale.config.section import Section

__all__ = ["CellAssay", "CellHoldout", "CellsSection", "ModelSection"]


class CellAssay(Section):
    """One modality: `[data.cells.assays.<name>]`; further keys are options of its channel."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str = Field(description="name of the channel, such as transcripts, surface_proteins or cytometry")
    features: str | list[str] | None = Field(
        default=None,
        description="features that are fitted: names, or a true/false column of var, to which those of the "
        "graph are added; none = all",
    )


class CellHoldout(Section):
    """Readings that are hidden from the fit and its controls, to judge them: `[data.cells.holdout]`."""

    fraction: float = Field(default=0.1, ge=0, lt=1, description="share that is hidden; 0 = nothing")
    seed: int = Field(default=0, ge=0)
    modalities: list[str] | None = Field(
        default=None, min_length=1, description="modalities of which readings are hidden; none = all"
    )
    by: Literal["entry", "cell"] = Field(
        default="entry", description="single readings, or all readings of a modality in a cell"
    )


class CellsSection(Section):
    """Single cells: `[data.cells]`."""

    anndata: str | None = Field(
        default=None, description="path of an .h5ad or .zarr, or scanpy:<name> of scanpy.datasets"
    )
    mudata: str | None = Field(default=None, description="path of an .h5mu or .zarr, instead of `anndata`")
    assays: dict[str, CellAssay] = Field(
        default_factory=dict,
        description="modalities by name, of mudata by its names; none = transcripts, and surface proteins if "
        "they lie where they usually do",
    )
    batch_key: str | None = Field(
        default=None, description="obs column: calibrations differ between its labels"
    )
    condition_key: str | None = Field(default=None, description="obs column: what was done to a cell")
    interventions: str | None = Field(
        default=None, description="table of what the conditions are, physically"
    )
    neighbours_key: str | None = Field(default=None, description="key of obsp with affinities between cells")
    size_factor_key: str | None = Field(
        default=None, description="obs column with sizes of cells; none = their total counts"
    )
    where: dict[str, Any] = Field(
        default_factory=dict, description="cells that are kept, by value, or list of values, of an obs column"
    )
    groupby: str | None = Field(
        default=None, description="obs column whose groups the report compares; the fit does not see it"
    )
    holdout: CellHoldout = Field(default_factory=CellHoldout)

    @model_validator(mode="after")
    def _one_source(self) -> CellsSection:
        if (self.anndata is None) == (self.mudata is None):
            raise ValueError("give either `anndata` or `mudata`")
        return self


class ModelSection(Section):
    """What a cell is made of: `[model]`, of fits of single cells."""

    latent: int = Field(default=10, ge=1, description="dimensions of the latent state of a cell")
    amortised: bool | None = Field(
        default=None, description="whether encoder networks give posteriors; none = from 2,000 cells on"
    )
    hidden: int = Field(default=128, ge=1, description="width of the encoder networks")
    layers: int = Field(default=2, ge=1, description="their hidden layers")
    priors: dict[str, float] = Field(
        default_factory=dict,
        description="standard deviations of priors, such as loading_sd, link_sd, decoder_sd, batch_sd",
    )
