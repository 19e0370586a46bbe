"""A graph of states as index arrays: molecules, those held constant, species, energy terms and roles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multiscale.errors import GraphError
from multiscale.graph import Graph, check, energy_matrix, formula

__all__ = ["COEFFICIENTS", "Layout"]

COEFFICIENTS = ("energy", "entropy", "heat_capacity", "m_value")
"""Roles of the terms of an energy; `state.coefficients` says how each depends on the conditions."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Index arrays of a graph read in vessels: a molecule has a total, or a free concentration held constant.

    Args:
        molecules: names.
        complexes: names of complexes, which are also the states of one molecule.
        counts: A, molecules in every species, shape (molecule, species); free molecules come first.
        statistical_factor: ω of every species.
        clamped: molecules held at a free concentration, shape (molecule,).
        initial: total or free concentration that the graph states, µM, NaN where it states none, shape
            (molecule,).
        terms: names of the energy terms.
        roles: role of every term.
        term_counts: E, how often a term occurs in a species, shape (species, term).
    """

    molecules: list[str]
    complexes: list[str]
    counts: np.ndarray
    statistical_factor: np.ndarray
    clamped: np.ndarray
    initial: np.ndarray
    terms: list[str]
    roles: list[str]
    term_counts: np.ndarray

    @property
    def species(self) -> list[str]:
        """Free molecules, then complexes."""
        return self.molecules + self.complexes

    @property
    def separable(self) -> bool:
        """Whether no species joins two molecules of limited amount: each has its own partition function."""
        return bool((self.counts[~self.clamped].sum(0) <= 1).all())

    @classmethod
    def from_graph(cls, graph: Graph) -> Layout:
        """Work out the arrays.

        Raises:
            GraphError: the graph is inconsistent, an imported model, has complexes between cells, complexes
                without energy, or concentrations that would have to be estimated.
        """
        check(graph)
        problems = list(_problems(graph))
        if problems:
            raise GraphError(problems, graph.name)
        molecules, complexes = list(graph.molecules), list(graph.complexes)
        matrix, terms = energy_matrix(graph)
        nodes = graph.nodes["molecule"]
        factor = graph.nodes["complex"]["statistical_factor"].to_numpy(float)
        return cls(
            molecules=molecules,
            complexes=complexes,
            counts=np.hstack([np.eye(len(molecules)), formula(graph).astype(float)]),
            statistical_factor=np.concatenate([np.ones(len(molecules)), factor]),
            clamped=nodes["constant"].to_numpy(bool),
            initial=np.array([_concentration(graph, text) for text in nodes["initial"]], dtype=float),
            terms=terms,
            roles=[str(graph.parameters.at[name, "role"]) for name in terms],
            term_counts=matrix,
        )


def _problems(graph: Graph) -> list[str]:
    """What this kind of problem cannot hold."""
    if graph.equations is not None:
        return ["is an imported model with equations of its own; fit it as a PEtab problem."]
    nodes, subunits = graph.nodes, graph.edges["subunit"]
    problems = [
        f"nodes.tsv: complex `{name}` has no `energy`; name its terms."
        for name in nodes["complex"].index[nodes["complex"]["energy"] == ""]
    ]
    problems += [
        f"edges.tsv: complex `{name}` lies between two cells; readings are made in one vessel."
        for name in subunits.loc[subunits["side"] != "", "target"].unique()
    ]
    estimated = set(graph.parameters.index[graph.parameters["estimate"].astype(int) == 1])
    for name, text in nodes["molecule"]["initial"].items():
        if text in estimated:
            problems.append(
                f"nodes.tsv: molecule `{name}`: `initial` is the parameter `{text}`, which is estimated; "
                "state a number, or set its `estimate` to 0."
            )
    return problems


def _concentration(graph: Graph, text: str) -> float:
    """A stated concentration, µM, NaN where there is none."""
    if text in graph.parameters.index:
        return float(graph.parameters["nominalValue"].astype(float)[text])
    return float(text) if text else np.nan
