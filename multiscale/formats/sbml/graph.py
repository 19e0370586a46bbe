"""Equations as the graph they are about, and SBML files as graphs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from multiscale.equations.formula import formula
from multiscale.equations.model import Equations, Process
from multiscale.formats.sbml.read import read_equations
from multiscale.formats.sbml.recognise import Recognised, recognise, steady_names
from multiscale.graph import Graph, check
from multiscale.graph.equation_view import modifiers_of, participants, start_text
from multiscale.graph.laws import LAWS
from multiscale.graph.schema import MODEL_UNITS

__all__ = ["equations_to_graph", "read_sbml"]

_ROLES = {
    "concentration": "Km",
    "exponent": "exponent",
    "ratio": "ratio",
    "equilibrium": "K_eq",
    "rate": "rate_constant",
}

Row = dict[str, Any]


def read_sbml(path: str | Path, *, resolve: str | Path | None = None) -> Graph:
    """Read an SBML model as a graph with equations.

    Args:
        path: file, Level 1 to 3.
        resolve: folder of the files that the model refers to; None = that of the file.

    Returns:
        a graph that `simulate` runs by its equations, in the units of the model; see `equations_to_graph`.

    Raises:
        FormatError: the file is missing or invalid, or has a feature that is not supported.
    """
    path = Path(path)
    name = path.name.split(".")[0] or "model"
    return equations_to_graph(read_equations(path, resolve=resolve), name, title=path.name)


def equations_to_graph(equations: Equations, name: str, *, title: str = "") -> Graph:
    """Make the graph of equations: who takes part in which reaction, and by which law.

    Species become molecules of kind `other`; species that no reaction changes are constant. A flux that is a
    rate law of the list becomes that law, with its constants as parameters (numbers in a formula too, under
    a name of their own); any other has the law `formula`. Edges hold whole numbers: a stoichiometry that is
    none, or varies, is 1 there. Rules, events, sizes and units are in the equations, which hold the truth.

    Args:
        equations: of a model.
        name: of the graph.
        title: for its card.

    Raises:
        GraphError: names of the equations cannot be names in a graph.
    """
    laws = {reaction: recognise(equations, reaction) for reaction in equations.processes}
    literals: dict[str, tuple[float, str]] = {}
    rows = [_reaction(equations, n, laws[n], literals) for n in equations.processes]
    card = {
        "title": title or name,
        "units": MODEL_UNITS,
        "compartments": {n: {"geometry": _geometry(c.dimensions)} for n, c in equations.compartments.items()},
    }
    graph = Graph.from_tables(
        name,
        {
            "molecule": _molecules(equations),
            "reaction": pd.DataFrame(rows, columns=None if rows else pd.Index(["name"])),
        },
        _edges(equations, laws),
        _parameters(equations, laws, literals),
        card,
        equations,
    )
    check(graph)
    return graph


def _geometry(dimensions: float) -> str:
    return "membrane" if dimensions == 2 else "volume"


def _molecules(equations: Equations) -> pd.DataFrame:
    rows = [
        {
            "name": name,
            "kind": "other",
            "compartment": s.compartment,
            "initial": start_text(equations, name),
            "constant": s.constant or s.boundary,
        }
        for name, s in equations.species.items()
    ]
    return pd.DataFrame(rows, columns=None if rows else pd.Index(["name"]))


def _reaction(
    equations: Equations, name: str, law: Recognised | None, literals: dict[str, tuple[float, str]]
) -> Row:
    """Row of a reaction; numbers in its law are collected as parameters."""
    process = equations.processes[name]
    row: Row = {
        "name": name,
        "law": "formula",
        "reversible": process.reversible,
        "source_or_sink": not (process.reactants and process.products),
        "formula": "" if process.flux is None else formula(process.flux),
    }
    if law is None:
        return row
    constants = {}
    for constant, value in law.constants.items():
        if not isinstance(value, str):
            own = f"{constant}_of_{name}".replace(":", "_")
            while own in equations.parameters or own in literals:
                own += "_"
            literals[own], value = (value, f"{law.law} {constant}"), own
        constants[constant] = value
    own_columns = {key: constants.pop(key) for key in ("k_f", "k_r") if key in constants}
    further = ";".join(f"{constant}={value}" for constant, value in constants.items())
    return row | {"law": law.law, "reversible": law.reversible, "constants": further} | own_columns


def _edges(equations: Equations, laws: Mapping[str, Recognised | None]) -> dict[str, pd.DataFrame]:
    """Reactants, products and modifiers, with the roles that a recognised law gives."""
    rows: dict[str, list[Row]] = {"reactant": [], "product": [], "modifier": []}
    for name, process in equations.processes.items():
        sides = participants(process)
        rows["reactant"] += [
            {"source": s, "target": name, "stoichiometry": n} for s, n in sides["reactant"].items()
        ]
        rows["product"] += [
            {"source": name, "target": s, "stoichiometry": n} for s, n in sides["product"].items()
        ]
        roles = _roles(equations, process, laws[name])
        rows["modifier"] += [{"source": s, "target": name, "role": role} for s, role in roles.items()]
    return {relation: pd.DataFrame(found) for relation, found in rows.items() if found}


def _roles(equations: Equations, process: Process, law: Recognised | None) -> dict[str, str]:
    known = {s: role for role, names in (law.modifiers if law else {}).items() for s in names}
    return {s: known.get(s, "catalyst") for s in modifiers_of(equations, process)}


def _parameters(
    equations: Equations,
    laws: Mapping[str, Recognised | None],
    literals: Mapping[str, tuple[float, str]],
) -> pd.DataFrame:
    """Numbers of the model that nothing changes, with the role that a law gives them."""
    roles = _constant_roles(laws)
    steady = steady_names(equations)
    rows = [
        {
            "parameterId": name,
            "nominalValue": None if name in equations.starts else p.value,
            "unit": p.unit or "1",
            "role": roles.get(name, "model"),
            "estimate": 0,
        }
        for name, p in equations.parameters.items()
        if name in steady
    ]
    rows += [
        {
            "parameterId": name,
            "nominalValue": value,
            "role": "model",
            "estimate": 0,
            "note": f"a number: {what}",
        }
        for name, (value, what) in literals.items()
    ]
    return pd.DataFrame(rows, columns=None if rows else pd.Index(["parameterId"]))


def _constant_roles(laws: Mapping[str, Recognised | None]) -> dict[str, str]:
    """Role of every parameter that laws name; `model` where they disagree."""
    found: dict[str, set[str]] = {}
    for law in filter(None, laws.values()):
        for constant, value in law.constants.items():
            kind = next(
                c.kind for c in LAWS[law.law].constants if constant.split(":")[0] in (c.name, c.without)
            )
            if isinstance(value, str):
                found.setdefault(value, set()).add(_ROLES[kind])
    return {name: next(iter(roles)) if len(roles) == 1 else "model" for name, roles in found.items()}
