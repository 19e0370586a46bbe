"""The TOML file of a fit, checked before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from multiscale.errors import ConfigError, nearest

__all__ = [
    "Condition",
    "Config",
    "Controls",
    "DataSection",
    "EncoderSection",
    "Fit",
    "Holdout",
    "HoldoutRows",
    "ReadingsSection",
    "SequenceSection",
    "SolverSection",
    "TableSection",
    "Uncertainty",
    "read_config",
    "with_paths",
]

FORMAT_VERSION = 1

READINGS_STARTS = 8
"""Starting points of a fit to readings, if not stated."""


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


class SequenceSection(_Section):
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


class HoldoutRows(_Section):
    """Rows drawn to be predicted instead of fitted: `holdout` of readings."""

    fraction: float = Field(gt=0, lt=1, description="share of the rows, or of the groups")
    seed: int = Field(default=0, ge=0)
    by: list[str] = Field(default=[], description="columns whose equal rows are held out together")


class Condition(_Section):
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


class ReadingsSection(_Section):
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


class EncoderSection(_Section):
    """How energies depend on what was measured: `[encoders.<name>]`; further keys are its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str = Field(description="name of the encoder, such as additive or pairwise")


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
    readings: dict[str, ReadingsSection] = Field(default_factory=dict)


class SolverSection(_Section):
    """How time courses are integrated: `[solver]`."""

    rtol: float = Field(default=1e-6, gt=0, lt=1, description="relative tolerance of a step")
    atol: float = Field(
        default=1e-9, gt=0, allow_inf_nan=False, description="absolute tolerance, uM: what is not resolved"
    )
    max_steps: int = Field(default=100_000, ge=1, description="most steps per context")


class Fit(_Section):
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
    batch_size: int = Field(default=4096, ge=1, description="rows per step of minibatch")
    max_epochs: int = Field(default=100, ge=1, description="most passes of minibatch over all rows")


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
    priors_from: list[str] = Field(
        default=[],
        description="runs or parameter tables whose estimates become priors of parameters of the same name",
    )
    data: DataSection
    encoders: dict[str, EncoderSection] = Field(default_factory=dict)
    solver: SolverSection = Field(default_factory=SolverSection)
    fit: Fit = Field(default_factory=Fit)
    holdout: Holdout | None = None
    controls: Controls = Field(default_factory=Controls)
    uncertainty: Uncertainty = Field(default_factory=Uncertainty)

    @model_validator(mode="before")
    @classmethod
    def _starts_of_readings(cls, given: Any) -> Any:
        """Rows of a scan are many and determine much: fewer starts do."""
        data, fit = (given.get(key, {}) if isinstance(given, dict) else None for key in ("data", "fit"))
        if not (isinstance(data, dict) and isinstance(fit, dict) and data.get("readings")):
            return given
        return given | {"fit": {"starts": READINGS_STARTS} | fit}

    @property
    def molecular(self) -> bool:
        """Whether it fits readings of the molecular scale."""
        return bool(self.data.readings)


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

OPTION_FILES = ("table", "path")
"""Options of encoders that name a file."""


def with_paths(config: Config, change: Callable[[str], str]) -> Config:
    """The same configuration with every path changed."""
    data = config.data
    tables, readings = (
        {name: part.model_copy(update={"path": change(part.path)}) for name, part in parts.items()}
        for parts in (data.tables, data.readings)
    )
    files = {name: value and change(value) for name in FILES for value in [getattr(data, name)]}
    encoders = {
        name: EncoderSection.model_validate(_option_files(part.model_dump(), change))
        for name, part in config.encoders.items()
    }
    return config.model_copy(
        update={
            "graph": change(config.graph),
            "priors_from": [change(name) for name in config.priors_from],
            "data": data.model_copy(update=files | {"tables": tables, "readings": readings}),
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
    key = ".".join(str(part) for part in error["loc"])
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
