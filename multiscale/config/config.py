"""The TOML file of a fit, checked before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError, model_validator

from multiscale.config.cells import CellsSection, ModelSection
from multiscale.config.readings import EncoderSection, ReadingsSection
from multiscale.config.section import AssaySection, Section, TableSection
from multiscale.errors import ConfigError, nearest

__all__ = [
    "CELLS_ONLY",
    "CELL_FILES",
    "FILES",
    "OPTION_FILES",
    "READINGS_ONLY",
    "SEARCH_ONLY",
    "Config",
    "Controls",
    "DataSection",
    "Fit",
    "Holdout",
    "SolverSection",
    "Uncertainty",
    "read_config",
    "with_paths",
]

FORMAT_VERSION = 1

READINGS_STARTS = 8
"""Starting points of a fit to readings, if not stated."""

OF_CELLS = {"fit": {"max_epochs": 200, "batch_size": 512}, "controls": {"rewirings": 0}}
"""Settings of fits of single cells, if not stated."""

PATH, SECTION = "<path>", "<section>"
"""Which of its two forms `data.cells` has; users never see these words."""


def _form(given: Any) -> str:
    """Tell a path from a section."""
    return PATH if isinstance(given, str) else SECTION


class DataSection(Section):
    """What is measured: `[data]`."""

    anndata: str | None = Field(
        default=None,
        description="path of an .h5ad file, or scanpy:<name> of scanpy.datasets; none = tables alone",
    )
    groupby: str | None = Field(
        default=None, description="obs column whose categories become contexts; none = one per cell"
    )
    pairs: bool = Field(default=False, description="also form a context for every ordered pair of groups")
    cells: (
        Annotated[Annotated[str, Tag(PATH)] | Annotated[CellsSection, Tag(SECTION)], Discriminator(_form)]
        | None
    ) = Field(
        default=None,
        description="table with volume_fL and surface_um2 per context; or [data.cells]: single cells",
    )
    contexts: str | None = Field(
        default=None,
        description="table of contexts: `context`, and what is known of them: volume_fL, preequilibrate",
    )
    interventions: str | None = Field(default=None, description="table of what was done to the contexts")
    assays: dict[str, AssaySection] = Field(default_factory=dict)
    tables: dict[str, TableSection] = Field(default_factory=dict)
    readings: dict[str, ReadingsSection] = Field(default_factory=dict)


class SolverSection(Section):
    """How time courses are integrated: `[solver]`."""

    rtol: float = Field(default=1e-6, gt=0, lt=1, description="relative tolerance of a step")
    atol: float = Field(
        default=1e-9, gt=0, allow_inf_nan=False, description="absolute tolerance, uM: what is not resolved"
    )
    max_steps: int = Field(default=100_000, ge=1, description="most steps per context")


READINGS_ONLY = ("method", "batch_size", "max_epochs")
"""Settings of `[fit]` that fits of contexts do not have."""

CELLS_ONLY = ("learning_rate", "graph_rate", "kl_warmup", "patience", "validation", "members", "precision")
"""Settings of `[fit]` that only fits of single cells have."""

SEARCH_ONLY = ("starts", "adam_steps", "max_steps", "method")
"""Settings of `[fit]` that fits of single cells do not have."""


class Fit(Section):
    """How it is fitted: `[fit]`."""

    starts: int = Field(
        default=32, ge=1, le=100_000, description="starting points; 8 for readings if not stated"
    )
    seed: int = Field(default=0, ge=0)
    adam_steps: int = Field(default=100, ge=0)
    max_steps: int = Field(default=300, ge=0, description="most quasi-Newton steps per start")
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int = Field(
        default=1, ge=1, description="CPU threads of PyTorch; more pay only for large problems"
    )
    method: Literal["auto", "newton", "minibatch"] = Field(
        default="auto", description="of fits to readings: exact curvature, or parts of the rows in turn"
    )
    batch_size: int = Field(
        default=4096, ge=1, description="rows per step of minibatch; cells per step, 512 if not stated"
    )
    max_epochs: int = Field(
        default=100, ge=1, description="most passes over all rows, or over all cells, 200 if not stated"
    )
    learning_rate: float = Field(
        default=2e-3, gt=0, allow_inf_nan=False, description="of cells: rate of the encoder networks"
    )
    graph_rate: float = Field(
        default=2e-2, gt=0, allow_inf_nan=False, description="of cells: rate of everything else"
    )
    kl_warmup: float | None = Field(
        default=None, ge=0, description="of cells: epochs until the KL counts in full; none = 20, or a third"
    )
    patience: int = Field(
        default=20, ge=1, description="of cells: epochs without gain after which training ends"
    )
    validation: float = Field(
        default=0.1, ge=0, lt=1, description="of cells: share set aside to judge training"
    )
    members: int = Field(
        default=1,
        ge=1,
        description="of cells: fits to reweighted cells, for intervals of what all cells share; they want a "
        "patience of 100",
    )
    precision: Literal["64", "32", "bf16-mixed"] = Field(
        default="32", description="of cells: numbers of networks; physics is always in 64 bits"
    )


class Holdout(Section):
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


class Controls(Section):
    """Controls on the same split and budget: `[controls]`."""

    rewirings: int = Field(
        default=100,
        ge=0,
        le=100_000,
        description="number of degree-preserving rewirings of the graph; more can be added to a finished "
        "run; of single cells 0 if not stated",
    )
    without_graph: bool = Field(
        default=True, description="of cells: whether a control without a graph is fitted to the same cells"
    )
    workers: int = Field(
        default=0, ge=0, description="processes that share the controls; 0 = one per core; changes no result"
    )


class Uncertainty(Section):
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


class Config(Section):
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
    priors_from: list[str] = Field(
        default=[],
        description="runs or parameter tables whose estimates become priors of parameters of the same name",
    )
    data: DataSection
    encoders: dict[str, EncoderSection] = Field(default_factory=dict)
    model: ModelSection = Field(default_factory=ModelSection)
    solver: SolverSection = Field(default_factory=SolverSection)
    fit: Fit = Field(default_factory=Fit)
    holdout: Holdout | None = None
    controls: Controls = Field(default_factory=Controls)
    uncertainty: Uncertainty = Field(default_factory=Uncertainty)

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, given: Any) -> Any:
        """Starts and steps depend on what is fitted: rows of a scan determine much, so fewer starts do."""
        data = given.get("data", {}) if isinstance(given, dict) else None
        if not isinstance(data, dict):
            return given
        usual: dict[str, dict[str, Any]] = {}
        if data.get("readings"):
            usual = {"fit": {"starts": READINGS_STARTS}}
        elif data.get("cells") and not isinstance(data["cells"], str):
            usual = OF_CELLS
        parts = {name: given.get(name, {}) for name in usual}
        stated = {name: usual[name] | part for name, part in parts.items() if isinstance(part, dict)}
        return given | stated

    @property
    def fit_options(self) -> dict[str, Any]:
        """Options of `[fit]` that this kind of problem has: arguments of `fit`."""
        left = SEARCH_ONLY if self.cells else CELLS_ONLY if self.molecular else (*READINGS_ONLY, *CELLS_ONLY)
        return self.fit.model_dump(exclude=set(left))

    @property
    def molecular(self) -> bool:
        """Whether it fits readings of the molecular scale."""
        return bool(self.data.readings)

    @property
    def cells(self) -> CellsSection | None:
        """Single cells that it fits; None if it fits something else."""
        return self.data.cells if isinstance(self.data.cells, CellsSection) else None


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

    return with_paths(config, near)


FILES = ("anndata", "cells", "contexts", "interventions")
"""Keys of `[data]` that name a file."""

CELL_FILES = ("anndata", "mudata", "interventions")
"""Keys of `[data.cells]` that name a file."""

OPTION_FILES = ("table", "path")
"""Options of encoders that name a file."""


def with_paths(config: Config, change: Callable[[str], str]) -> Config:
    """The same configuration with every path changed."""
    data = config.data
    tables, readings = (
        {name: part.model_copy(update={"path": change(part.path)}) for name, part in parts.items()}
        for parts in (data.tables, data.readings)
    )
    files: dict[str, Any] = {
        name: change(value) for name in FILES for value in [getattr(data, name)] if isinstance(value, str)
    }
    if config.cells is not None:
        named = {name: value for name in CELL_FILES if (value := getattr(config.cells, name))}
        changed = {name: change(value) for name, value in named.items()}
        files["cells"] = config.cells.model_copy(update=changed)
    encoders = {
        name: EncoderSection.model_validate(_option_files(part.model_dump(), change))
        for name, part in config.encoders.items()
    }
    return config.model_copy(
        update={
            "graph": change(config.graph),
            "priors_from": [change(name) for name in config.priors_from],
            "data": data.model_copy(update={**files, "tables": tables, "readings": readings}),
            "encoders": encoders,
        }
    )


def _option_files(options: Any, change: Callable[[str], str]) -> Any:
    """Options of an encoder, nested as they are, with paths changed."""
    if isinstance(options, list):
        return [_option_files(item, change) for item in options]
    if not isinstance(options, dict):
        return options
    return {
        key: change(value) if key in OPTION_FILES and isinstance(value, str) else _option_files(value, change)
        for key, value in options.items()
    }


def _sentence(error: Any) -> str:
    """One pydantic error as a sentence with key, value and remedy."""
    key = ".".join(str(part) for part in error["loc"] if part not in (PATH, SECTION))
    if error["type"] == "extra_forbidden":
        return f"unknown key `{key}`; {nearest(str(error['loc'][-1]), _known_keys(error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"key `{key}` is missing."
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"`{key}` = {error['input']!r}: {said[0].lower()}{said[1:]}."


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
