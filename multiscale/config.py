"""The TOML file of a fit, checked before anything runs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from multiscale.errors import ConfigError, nearest

__all__ = [
    "Config",
    "Controls",
    "DataSection",
    "Fit",
    "Holdout",
    "SolverSection",
    "TableSection",
    "Uncertainty",
    "read_config",
]

FORMAT_VERSION = 1


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableSection(_Section):
    """One table of measurements: `[data.tables.<name>]`; further keys are options of the assay."""

    model_config = ConfigDict(extra="allow", frozen=True)
    path: str = Field(description="TSV or CSV file: a path, or a path below datasets/")
    assay: str = Field(description="name of the assay that produced the table")


class AssaySection(_Section):
    """One assay of the AnnData: `[data.assays.<name>]`; further keys are options of the assay."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str = Field(description="name of the assay")


class DataSection(_Section):
    """What is measured: `[data]`."""

    anndata: str | None = Field(
        default=None,
        description="path of an .h5ad file, or scanpy:<name> of scanpy.datasets; none = tables alone",
    )
    groupby: str | None = Field(
        default=None, description="obs column whose categories become contexts; none = one per cell"
    )
    pairs: bool = Field(default=False, description="also form a context for every ordered pair of groups")
    cells: str | None = Field(default=None, description="table with volume_fL and surface_um2 per context")
    contexts: str | None = Field(
        default=None,
        description="table of contexts: `context`, and what is known of them: volume_fL, preequilibrate",
    )
    interventions: str | None = Field(default=None, description="table of what was done to the contexts")
    assays: dict[str, AssaySection] = Field(default_factory=dict)
    tables: dict[str, TableSection] = Field(default_factory=dict)


class SolverSection(_Section):
    """How time courses are integrated: `[solver]`."""

    rtol: float = Field(default=1e-6, gt=0, lt=1, description="relative tolerance of a step")
    atol: float = Field(
        default=1e-9, gt=0, allow_inf_nan=False, description="absolute tolerance, uM: what is not resolved"
    )
    max_steps: int = Field(default=100_000, ge=1, description="most steps per context")


class Fit(_Section):
    """How it is fitted: `[fit]`."""

    starts: int = Field(default=32, ge=1, le=100_000)
    seed: int = Field(default=0, ge=0)
    adam_steps: int = Field(default=100, ge=0)
    max_steps: int = Field(default=300, ge=0, description="most quasi-Newton steps per start")
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int = Field(
        default=1, ge=1, description="CPU threads of PyTorch; more pay only for large problems"
    )


class Holdout(_Section):
    """What is held out to judge the fit: `[holdout]`."""

    table: str = Field(description="name of the table that is held out in parts")
    splits: list[Literal["block", "molecule", "context"]] = Field(
        default=["block", "molecule"],
        min_length=1,
        description="what is held out together: a molecule in a context (block), a molecule, or a context; "
        "the first split decides whether the graph helped",
    )
    folds: int = Field(default=5, ge=2)
    starts: int = Field(default=2, ge=1, description="starts per fold, for the model and all its controls")
    seed: int = Field(default=0, ge=0)


class Controls(_Section):
    """Controls on the same split and budget: `[controls]`."""

    rewirings: int = Field(
        default=100,
        ge=0,
        le=100_000,
        description="number of degree-preserving rewirings of the graph; more can be added to a finished run",
    )
    workers: int = Field(
        default=0, ge=0, description="processes that share the controls; 0 = one per core; changes no result"
    )


class Uncertainty(_Section):
    """How sure the fit is: `[uncertainty]`. All intervals are 90 % intervals."""

    draws: int = Field(
        default=1000, ge=0, description="draws from the posterior that intervals rest on; 0 = no intervals"
    )
    profiles: list[str] = Field(
        default=[], description="parameters (parameterId) whose profile likelihood is computed"
    )
    audit: bool = Field(
        default=True, description="whether every assay is left out once, to see what it determined"
    )


class Config(_Section):
    """A fit: graph, data, fit, what is held out, controls, uncertainty."""

    format_version: int = Field(default=FORMAT_VERSION, ge=1)
    title: str = ""
    question: str = Field(default="", description="what is asked, in a sentence, for the report")
    graph: str = Field(description="name below graphs/, or path of a folder")
    regime: Literal["equilibrium", "steady_state", "time_course"] = Field(
        default="equilibrium",
        description="equilibrium of binding, or steady states or time courses of the graph's reactions",
    )
    temperature: float = Field(default=310.15, gt=200, lt=400, description="K")
    data: DataSection
    solver: SolverSection = Field(default_factory=SolverSection)
    fit: Fit = Field(default_factory=Fit)
    holdout: Holdout | None = None
    controls: Controls = Field(default_factory=Controls)
    uncertainty: Uncertainty = Field(default_factory=Uncertainty)


def read_config(path: str | Path) -> Config:
    """Read and check a TOML file.

    Args:
        path: the file; paths in it are relative to its folder, else to the working folder or the content.

    Raises:
        ConfigError: the file is missing, is not TOML, or has a wrong key or value; names file, key, value and
            remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; give the path of a fit's TOML.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from None
    version = content.get("format_version", FORMAT_VERSION)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ConfigError(
            f"{path}: `format_version` {version} is newer than {FORMAT_VERSION}, the newest that this "
            "version of multiscale reads; upgrade multiscale."
        )
    try:
        return _anchored(Config.model_validate(content), path.parent)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(_sentence(e) for e in error.errors())) from None


def _anchored(config: Config, folder: Path) -> Config:
    """Take paths relative to the folder of the TOML where something of that name lies there."""

    def near(name: str) -> str:
        return str(folder / name) if (folder / name).exists() else name

    data = config.data
    tables = {k: t.model_copy(update={"path": near(t.path)}) for k, t in data.tables.items()}
    names = ("anndata", "cells", "contexts", "interventions")
    files = {name: value and near(value) for name in names for value in [getattr(data, name)]}
    files |= {"tables": tables}
    return config.model_copy(update={"graph": near(config.graph), "data": data.model_copy(update=files)})


def _sentence(error: Any) -> str:
    """One pydantic error as a sentence with key, value and remedy."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key `{key}`; {nearest(str(error['loc'][-1]), _known_keys(error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"key `{key}` is missing."
    return f"`{key}` = {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}."


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """Field names of the section at a location."""
    section: type[BaseModel] = Config
    for part in location:
        field = section.model_fields.get(str(part))
        if field is None:
            continue
        section = next((c for c in _models(field.annotation)), section)
    return list(section.model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Section classes inside a type annotation (optional and dictionary values included)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]
