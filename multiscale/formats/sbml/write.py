"""Equations and graphs as SBML Level 3 Version 2 files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiscale import atomic
from multiscale.equations.model import Equations
from multiscale.errors import FormatError, OutputError
from multiscale.formats.sbml.annotations import Mark
from multiscale.formats.sbml.elements import Writer
from multiscale.formats.sbml.graph_marks import graph_marks, model_mark
from multiscale.graph import Graph, energy_matrix
from multiscale.model.kinetics.equations import graph_equations
from multiscale.model.kinetics.system import TEMPERATURE

__all__ = ["equations_to_sbml", "graph_to_sbml", "write", "write_sbml"]

_NOTHING: Mapping[str, Mark] = {}


def equations_to_sbml(
    equations: Equations, name: str, *, mark: Mark | None = None, marks: Mapping[str, Mark] = _NOTHING
) -> str:
    """Write equations as SBML Level 3 Version 2 core.

    Names that are no identifiers (letters, digits, `_`) become ones (`sbml_identifiers`); the attribute
    `name` then holds the name itself. Units are stated where SBML has a word for them.

    Args:
        equations: what to write.
        name: of the model.

    Other args:
        mark: notes and annotation of the model.
        marks: of compartments, species, parameters and reactions, by name.

    Raises:
        FormatError: a formula reads an unknown name or needs a function that SBML lacks, or libsbml finds
            errors in the document.

    >>> from multiscale.equations.model import Parameter
    >>> text = equations_to_sbml(Equations(parameters={"k": Parameter(2.0)}), "one")
    >>> 'id="k" value="2" constant="true"' in text
    True
    """
    text = Writer(equations, marks).document(name, mark or Mark())
    _validate(text, name)
    return text


def write_sbml(
    model: Graph | Equations,
    path: str | Path,
    overwrite: bool = False,
    *,
    values: Mapping[str, float] | None = None,
    initial: Mapping[str, float] | None = None,
    temperature: float = TEMPERATURE,
    k_on: float | None = None,
) -> Path:
    """Write a model as SBML Level 3 Version 2, atomically.

    A graph with reactions is written with its rate laws as formulas and its nominal values; an imported
    graph with its own equations; a graph without reactions as reversible binding whose rates are
    placeholders, which notes and annotation say.

    Args:
        model: graph or equations.
        path: file to write, .xml or .sbml.
        overwrite: whether to replace a file that exists.

    Other args:
        values, initial, temperature, k_on: of a graph, see `graph_equations`.

    Returns:
        the path.

    Raises:
        OutputError: the file exists, or its folder does not.
        GraphError, DataError: the graph cannot be simulated; see `graph_equations`.
        FormatError: see `equations_to_sbml`.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; choose another name or set `overwrite`.")
    if isinstance(model, Equations):
        text = equations_to_sbml(model, path.stem)
    else:
        text = graph_to_sbml(model, values=values, initial=initial, temperature=temperature, k_on=k_on)
    with atomic.replace(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def graph_to_sbml(
    graph: Graph,
    *,
    values: Mapping[str, float] | None = None,
    initial: Mapping[str, float] | None = None,
    temperature: float = TEMPERATURE,
    k_on: float | None = None,
) -> str:
    """Text of a graph as SBML, with what the graph says of its nodes as annotation; see `write_sbml`."""
    equations = graph_equations(graph, values, temperature, initial=initial, k_on=k_on)
    mark = model_mark(graph, equations, temperature, k_on)
    return equations_to_sbml(equations, graph.name, mark=mark, marks=graph_marks(graph, equations, k_on))


def write(
    graph: Graph,
    path: str | Path,
    values: Mapping[str, pd.DataFrame] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a graph with learned values as SBML, atomically: fitted parameters in place of nominal ones.

    Args:
        graph: the graph.
        path: file to write.
        values: `values["parameter"]` has the fitted `nominalValue` by parameterId. Of a graph without
            reactions, `mean_concentration_uM` of the species is where its binding starts.
        meta: settings of the fit, of which `temperature_K` is read.

    Raises:
        FormatError: the energies of complexes are not those of the parameters: a network corrects them.
        GraphError, DataError: see `graph_equations`.
    """
    values, kelvin = values or {}, float((meta or {}).get("temperature_K", TEMPERATURE))
    fitted = values["parameter"]["nominalValue"] if "parameter" in values else pd.Series(dtype=float)
    numbers = {str(n): float(v) for n, v in fitted.dropna().items() if n in graph.parameters.index}
    _refuse_corrected(graph, values, numbers)
    start = None
    if not len(graph.nodes["reaction"]):  # species that bind nothing are in the fit, but not in the model
        binding = graph_equations(graph, numbers, kelvin).species
        start = {name: mean for name, mean in _means(values).items() if name in binding}
    text = graph_to_sbml(graph, values=numbers, initial=start, temperature=kelvin)
    with atomic.replace(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _refuse_corrected(graph: Graph, values: Mapping[str, pd.DataFrame], numbers: Mapping[str, float]) -> None:
    """Energies that a network has learned are in no parameter, so that formulas would miss them."""
    table = values.get("complex", pd.DataFrame())
    if "parameter" not in values or "g_kcal_per_mol" not in table:
        return
    counts, terms = energy_matrix(graph)
    nominal = graph.parameters["nominalValue"]
    g = counts @ np.array([numbers.get(term, nominal[term]) for term in terms])
    own = pd.Series(g, index=graph.species).reindex(table.index)
    off = (table["g_kcal_per_mol"] - own).abs()
    if (off > 1e-6).any():
        raise FormatError(
            f"the energy of `{off.idxmax()}` is {off.max():.3g} kcal/mol off the sum of its terms, because a"
            " network corrects it in every context; SBML holds no such network: export another format."
        )


def _means(values: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Mean concentrations of species, where a fit gives them."""
    column = "mean_concentration_uM"
    tables = [values[kind] for kind in ("molecule", "complex") if column in values.get(kind, {})]
    return {str(n): float(v) for table in tables for n, v in table[column].dropna().items()}


def _validate(text: str, name: str) -> None:
    """Let libsbml look for errors; units are only warnings to it, and are left to the reader."""
    import libsbml

    document = libsbml.readSBMLFromString(text)
    document.setConsistencyChecks(libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, False)
    document.setConsistencyChecks(libsbml.LIBSBML_CAT_MODELING_PRACTICE, False)
    document.checkConsistency()
    errors = (document.getError(i) for i in range(document.getNumErrors()))
    found = [error for error in errors if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR]
    if found:
        said = " ".join(found[0].getMessage().split())
        more = f" And {len(found) - 1} more." if len(found) > 1 else ""
        raise FormatError(f"`{name}` cannot be written as SBML: {said}{more}")
