"""What a graph says of its nodes beside numbers, as notes and annotations of SBML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from multiscale.equations.model import Equations
from multiscale.formats.sbml.annotations import Mark
from multiscale.graph import Graph
from multiscale.graph.pairs import pair_complexes
from multiscale.model.kinetics.binding_equations import K_ON
from multiscale.model.kinetics.lowering import PLACEHOLDER

__all__ = ["EQUILIBRIUM_ONLY", "graph_marks", "model_mark"]

EQUILIBRIUM_ONLY = "Equilibrium only: rates are placeholders."
_STATED = ("kind", "identifier", "statistical_factor", "energy", "evidence", "law", "constants", "k_f", "k_r")
_SOURCE = (
    "Proteins associate with rate constants of the order of 10⁶ 1/(M s): Northrup and Erickson, Proc. Natl."
    " Acad. Sci. USA 89:3338, 1992, doi 10.1073/pnas.89.8.3338."
)


def model_mark(graph: Graph, equations: Equations, temperature: float, k_on: float | None) -> Mark:
    """Notes and annotation of the model.

    Args:
        graph: what is written.
        equations: that it was turned into.
        temperature: at which energies became constants, K.
        k_on: the rate constant that stands for unknown ones, if it was given.
    """
    content = {"graph": graph.name, "hash": graph.hash()}
    lines = [str(graph.card[key]) for key in ("title", "description") if graph.card.get(key)]
    lines.append(f"Licence: {graph.card.get('licence', '')}.")
    if graph.equations is not None:
        return Mark(tuple(lines), content)
    content["temperature_K"] = f"{temperature:g}"
    if graph.card.get("cell", {}).get("volume_fL") is None and "cell" in equations.compartments:
        lines.append("The volume of the cell is not known: 1 fL, on which no concentration depends.")
    if _binding(graph):
        content["equilibrium_only"] = "true"
        lines += list(_of_equilibrium(graph))
    quick = graph.nodes["reaction"].index[graph.nodes["reaction"]["fast"].to_numpy(bool)]
    if len(quick):
        content["placeholder_rates"] = "; ".join(quick)
        lines.append(f"Rates are placeholders (k_on = {k_on:g}) of: {', '.join(quick)}.")
    return Mark(tuple(lines), content)


def graph_marks(graph: Graph, equations: Equations, k_on: float | None) -> dict[str, Mark]:
    """Notes and annotations of species, parameters and reactions, by name."""
    marks = {
        str(name): _mark({"type": kind, **{str(k): v for k, v in row.items()}})
        for kind in ("molecule", "complex", "reaction")
        for name, row in graph.nodes[kind].to_dict("index").items()
    }
    for name, row in graph.parameters.to_dict("index").items():
        if name in equations.parameters:
            marks[str(name)] = _mark({"role": row["role"], **{str(k): v for k, v in row.items()}})
    if graph.equations is None:
        rate = K_ON if k_on is None else k_on
        given = _SOURCE if k_on is None else "Given by the user."
        order = " Orders above two take the same number in powers of µM."
        for name in equations.parameters:
            if name.startswith(PLACEHOLDER) and name not in graph.parameters.index:
                lines = (EQUILIBRIUM_ONLY, f"{rate:g} stands for an unknown rate. {given}{order}")
                marks[name] = Mark(lines, {"placeholder": "true"})
    if _binding(graph):
        marks |= {name: Mark(content={"equilibrium_only": "true"}) for name in equations.processes}
    return marks


def _binding(graph: Graph) -> bool:
    return graph.equations is None and not len(graph.nodes["reaction"])


def _of_equilibrium(graph: Graph) -> Iterator[str]:
    yield f"{EQUILIBRIUM_ONLY} The steady state is the binding equilibrium; how it is reached means nothing."
    yield "Concentrations are those in the volume of the whole cell."
    between = pair_complexes(graph)
    if between:
        yield f"Complexes between cells are left out: {', '.join(between)}."


def _mark(row: Mapping[str, object]) -> Mark:
    """What one row of a table says."""
    kept = {key: str(row[key]) for key in ("type", "role", *_STATED) if row.get(key) not in (None, "")}
    lines = [str(row[key]) for key in ("label", "note", "reference") if row.get(key)]
    doi = str(row.get("doi") or "")
    return Mark(tuple(lines), kept, (doi,) if doi else ())
