"""Node types, relations, parameter columns and roles: the only place where they are listed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from multiscale.graph.laws import LAWS

__all__ = [
    "CARD_KEYS",
    "COMPARTMENT_KEYS",
    "CONCENTRATIONS",
    "ENERGY_ROLES",
    "FORMAT_VERSION",
    "GEOMETRIES",
    "LAWS",
    "MODEL_UNITS",
    "NODE_TYPES",
    "PAIR_GEOMETRIES",
    "PARAMETER_COLUMNS",
    "PRIORS",
    "RELATIONS",
    "ROLES",
    "SPECIES",
    "Column",
    "NodeType",
    "Relation",
]

FORMAT_VERSION = 1
"""Version of the folder format; newer ones are refused, older ones are read."""

Value = str | float | int | bool


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: header.
        dtype: `text`, `number` (float64), `integer` (int64) or `flag` (bool).
        default: what an empty cell means.
        meaning: a few words for the documentation.
        choices: allowed values; empty = any.
        same_as: column whose value an empty cell takes instead of `default`.
    """

    name: str
    dtype: Literal["text", "number", "integer", "flag"]
    default: Value
    meaning: str
    choices: tuple[Value, ...] = ()
    same_as: str = ""


@dataclass(frozen=True)
class NodeType:
    """A kind of node and its attributes."""

    meaning: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Relation:
    """A kind of edge: which types it may join, its attributes, and those that tell parallel edges apart.

    Args:
        meaning: a few words for the documentation.
        sources: node types an edge may start from.
        targets: node types an edge may end in.
        columns: attributes.
        key: attributes that, with source and target, must be unique.
    """

    meaning: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()


def _text(
    name: str, meaning: str, default: str = "", choices: tuple[str, ...] = (), same_as: str = ""
) -> Column:
    return Column(name, "text", default, meaning, choices, same_as)


SPECIES = ("molecule", "complex")
"""Node types that have a concentration."""

_KINDS = ("gene", "transcript", "protein", "metabolite", "drug", "antibody", "peptide", "other")
_COMPARTMENT = _text("compartment", "a compartment of card.toml; empty = the whole cell")
_COUNTED_IN = _text("compartment", "where the flux is counted; empty = that of its reactants and products")
_START = (
    _text("initial", "concentration at time 0: a number in µM, or a parameter; empty = 0"),
    Column("constant", "flag", False, "an input: reactions read it and do not change it"),
)
_CITATION = (
    _text("label", "shown in figures"),
    _text("note", "anything a reader should know"),
    _text("reference", "author, year, journal"),
    _text("doi", "digital object identifier"),
)
_EDGE_NOTES = (_text("note", "anything a reader should know"), _text("reference", "author, year, journal"))
_STOICHIOMETRY = Column("stoichiometry", "integer", 1, "how many, at least 1")
_WEIGHT = Column("weight", "number", 1.0, "strength, not negative")

NODE_TYPES: dict[str, NodeType] = {
    "molecule": NodeType(
        "gene, transcript, protein, protein form, metabolite, drug or antibody in its free reference form",
        (
            _text("kind", "what it is", default="protein", choices=_KINDS),
            _text("identifier", "symbol or accession that data use; empty = the name", same_as="name"),
            _COMPARTMENT,
            *_START,
            *_CITATION,
        ),
    ),
    "complex": NodeType(
        "several molecules bound together, or another state of one molecule",
        (
            _COMPARTMENT,
            Column("statistical_factor", "number", 1.0, "ω: distinct arrangements over symmetry number"),
            _text("energy", "energy terms, `term*2;other`, rows of parameters.tsv of an energy role"),
            _text("orphan", "parameter of role loss: loss rate relative to the free form; empty = 1"),
            _text("evidence", "measured, obligate, inferred..."),
            *_START,
            *_CITATION,
        ),
    ),
    "reaction": NodeType(
        "one elementary or lumped process",
        (
            _text("law", "rate law", default="mass_action", choices=tuple(LAWS)),
            Column("reversible", "flag", False, "whether it also runs backwards"),
            Column("fast", "flag", False, "kept at equilibrium inside slower kinetics"),
            Column("source_or_sink", "flag", False, "declared to make or destroy mass"),
            _text("k_f", "parameter with the forward rate constant"),
            _text("k_r", "parameter with the backward rate constant; empty = from the energies"),
            _text("constants", "further constants of the law, `name=parameter;other=parameter`"),
            _text("formula", "amount per time as the equations of an imported model state it"),
            _COUNTED_IN,
            *_CITATION,
        ),
    ),
    "pathway": NodeType(
        "a named set of molecules, complexes or fluxes",
        (_text("identifier", "accession in a pathway database"), *_CITATION),
    ),
    "cell": NodeType(
        "a cell, cell type, cell line or sample; one template cell in a prior network", _CITATION
    ),
}

RELATIONS: dict[str, Relation] = {
    "reactant": Relation("is consumed by", SPECIES, ("reaction",), (_STOICHIOMETRY, *_EDGE_NOTES)),
    "product": Relation("makes", ("reaction",), SPECIES, (_STOICHIOMETRY, *_EDGE_NOTES)),
    "modifier": Relation(
        "changes the rate of",
        SPECIES,
        ("reaction",),
        (_text("role", "how", "catalyst", ("catalyst", "inhibitor", "activator")), *_EDGE_NOTES),
        key=("role",),
    ),
    "subunit": Relation(
        "is a subunit of",
        ("molecule",),
        ("complex",),
        (_STOICHIOMETRY, _text("side", "cell it comes from", "", ("", "sender", "receiver")), *_EDGE_NOTES),
        key=("side",),
    ),
    "member": Relation(
        "belongs to",
        ("molecule", "complex", "reaction"),
        ("pathway",),
        (Column("sign", "integer", 1, "effect on the pathway", (-1, 1)), _WEIGHT, *_EDGE_NOTES),
    ),
    "drives": Relation(
        "drives a phenotype of",
        ("pathway",),
        ("cell",),
        (
            _text("phenotype", "growth, viability, cell-cycle phase..."),
            Column("sign", "integer", 1, "expected effect, 0 = unknown", (-1, 0, 1)),
            *_EDGE_NOTES,
        ),
        key=("phenotype",),
    ),
    "encodes": Relation("encodes", ("molecule",), ("molecule",), _EDGE_NOTES),
    "neighbor": Relation("is near", ("cell",), ("cell",), (_WEIGHT, *_EDGE_NOTES)),
}

CONCENTRATIONS = ("fM", "pM", "nM", "uM", "µM", "mM", "M")
"""Units of concentration."""

_PER_TIME = ("1/s", "1/(uM*s)", "1/(uM^2*s)", "1/(uM^3*s)", "uM/s")
ROLES: dict[str, tuple[str, ...]] = {
    "energy": ("kcal/mol",),
    "entropy": ("kcal/(mol*K)",),
    "heat_capacity": ("kcal/(mol*K)",),
    "m_value": ("kcal/(mol*M)",),
    "Kd": CONCENTRATIONS,
    "Km": CONCENTRATIONS,
    "Ki": CONCENTRATIONS,
    "concentration": CONCENTRATIONS,
    "k_on": ("1/(uM*s)",),
    "k_off": ("1/s",),
    "k_cat": ("1/s",),
    "rate_constant": _PER_TIME,
    "K_eq": ("1", "uM", "uM^2", "1/uM", "1/uM^2"),
    "exponent": ("1",),
    "ratio": ("1",),
    "efficacy": ("1",),
    "loss": ("1",),
    "confinement": ("nm",),
    "translation": ("1",),
    "weight": ("1",),
    "model": (),
}
"""What a parameter is, and the units it may have; a number of an imported model (`model`) may have any."""

ENERGY_ROLES = ("energy", "entropy", "heat_capacity", "m_value")
"""Roles of the terms of an energy; all but the first depend on temperature or denaturant of a reading."""

PRIORS = (
    "uniform",
    "normal",
    "laplace",
    "logNormal",
    "logLaplace",
    "parameterScaleUniform",
    "parameterScaleNormal",
    "parameterScaleLaplace",
)
"""Prior types of PEtab 1."""

PARAMETER_COLUMNS: tuple[Column, ...] = (
    _text("parameterName", "for people"),
    _text("parameterScale", "scale of the estimate", "lin", ("lin", "log", "log10")),
    Column("lowerBound", "number", -math.inf, "lowest value"),
    Column("upperBound", "number", math.inf, "highest value"),
    Column("nominalValue", "number", math.nan, "best guess or published value"),
    Column("estimate", "integer", 1, "1 = fitted, 0 = kept at the nominal value", (0, 1)),
    _text("objectivePriorType", "prior; empty = uniform between the bounds", "", ("", *PRIORS)),
    _text("objectivePriorParameters", "two numbers, `mean;sd` for normal"),
    _text("unit", "unit that fits the role", "1"),
    _text("role", "what it is", "", tuple(ROLES)),
    *_CITATION[2:],
    _CITATION[1],
)
"""Columns of parameters.tsv beside `parameterId`: those of PEtab, then unit, role, origin and note."""

GEOMETRIES = ("volume", "membrane", "contact", "soluble")
"""Shapes of compartments."""

PAIR_GEOMETRIES = ("contact", "soluble")
"""Compartments in which two cells meet."""

COMPARTMENT_KEYS: dict[str, type | tuple[type, ...]] = {
    "geometry": str,
    "volume_fraction": (int, float),
    "volume_fL": (int, float),
    "confinement": str,
    "label": str,
    "note": str,
    "reference": str,
}
"""Keys of [compartments.<name>] in card.toml."""

MODEL_UNITS = "model"
"""Value of `units` in card.toml: all numbers are in the units of the model that the graph came from."""

CARD_KEYS: dict[str, type | tuple[type, ...]] = {
    "format_version": int,
    "name": str,
    "title": str,
    "licence": str,
    "description": str,
    "organism": str,
    "sources": list,
    "compartments": dict,
    "cell": dict,
    "units": str,
}
"""Keys of card.toml."""
