"""A graph as index arrays: what the model needs of its tables, worked out once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiscale.errors import GraphError
from multiscale.graph import Graph, energy_matrix, pair_units, refuse_conditional_energies

__all__ = ["Network", "PairNetwork"]


@dataclass(frozen=True)
class PairNetwork:
    """Complexes that form between two cells in one compartment, in terms of the species that meet there.

    Args:
        compartment: name of the compartment.
        geometry: `contact` (membranes) or `soluble`.
        volume_fL: volume of a soluble compartment per pair of cells, fL; NaN in a contact.
        confinement: name of the parameter with the confinement length of a contact, or ''.
        units: species name and side of every unit, columns `unit`, `side`.
        complexes: names of the pair complexes.
        formula: units per complex, shape (unit, unit + complex): free units first.
    """

    compartment: str
    geometry: str
    volume_fL: float
    confinement: str
    units: pd.DataFrame
    complexes: list[str]
    formula: np.ndarray


@dataclass(frozen=True)
class Network:
    """Index arrays of a graph whose contexts are cells or groups of cells.

    Args:
        transcripts: molecules that encode others; `identifiers` are their names in data.
        molecules: all other molecules, the ones that are supplied and bind.
        complexes: complexes that form within a cell.
        encodes: transcripts per molecule, 0 or 1, shape (molecule, transcript).
        formula: subunits per species, free forms first, shape (molecule, species).
        statistical_factor: ω per species (within-cell species, then pair complexes).
        terms: names of the energy terms.
        term_counts: terms per species, within-cell species, then pair complexes, shape (all species, term).
        losses: name of the loss parameter per within-cell species, '' = 1.
        crowding: ln of the fraction of the cell volume that each species' compartment occupies.
        surface: whether each within-cell species lies on a membrane.
        pathways: names of the pathways.
        pathway_weights: sign times weight, shape (pathway, all species).
        pairs: one entry per compartment in which pair complexes form.
    """

    transcripts: list[str]
    identifiers: list[str]
    molecules: list[str]
    complexes: list[str]
    encodes: np.ndarray
    formula: np.ndarray
    statistical_factor: np.ndarray
    terms: list[str]
    term_counts: np.ndarray
    losses: list[str]
    crowding: np.ndarray
    surface: np.ndarray
    pathways: list[str]
    pathway_weights: np.ndarray
    pairs: tuple[PairNetwork, ...]

    @property
    def species(self) -> list[str]:
        """Species within a cell: molecules, then complexes."""
        return self.molecules + self.complexes

    @property
    def pair_complexes(self) -> list[str]:
        """Complexes between two cells, over all compartments."""
        return [name for pair in self.pairs for name in pair.complexes]

    @property
    def all_species(self) -> list[str]:
        """Species within a cell, then complexes between cells: the order of energies."""
        return self.species + self.pair_complexes

    @property
    def influenced(self) -> list[str]:
        """Molecules whose totals depend on their partners: subunits of a complex lost at a rate of its own.

        Where all complexes of a molecule are lost as fast as its free form, its total is its supply, whatever
        binds.
        """
        losing = self.formula @ np.array([name != "" for name in self.losses]) > 0
        return [name for name, flag in zip(self.molecules, losing, strict=True) if flag]

    @classmethod
    def from_graph(cls, graph: Graph) -> Network:
        """Work out the arrays of a checked graph.

        Raises:
            GraphError: it is an imported model, whose equations no regime of the library holds; or an energy
                has a term that depends on temperature or denaturant, which a cell does not have of its own.
        """
        if graph.equations is not None:
            raise GraphError(
                "is an imported model with equations of its own; fit it as a PEtab problem.", graph.name
            )
        refuse_conditional_energies(graph)
        encodes = graph.edges["encodes"]
        sources, nodes = set(encodes["source"]), graph.nodes["molecule"]
        transcripts = [name for name in nodes.index if name in sources]
        molecules = [name for name in nodes.index if name not in sources]
        subunits = graph.edges["subunit"]
        between = set(subunits.loc[subunits["side"] != "", "target"])
        complexes = [name for name in graph.nodes["complex"].index if name not in between]
        pairs = tuple(_pair_networks(graph))
        species = molecules + complexes
        everything = species + [name for pair in pairs for name in pair.complexes]
        counts, terms = energy_matrix(graph)
        rows = {name: row for row, name in enumerate(graph.species)}
        attributes = pd.concat([graph.nodes["molecule"], graph.nodes["complex"]]).reindex(everything)
        within = attributes.loc[species]
        return cls(
            transcripts=transcripts,
            identifiers=nodes.loc[transcripts, "identifier"].tolist(),
            molecules=molecules,
            complexes=complexes,
            encodes=_incidence(encodes, molecules, transcripts, by=("target", "source")),
            formula=_formula(subunits, molecules, complexes),
            statistical_factor=attributes["statistical_factor"].fillna(1.0).to_numpy(float),
            terms=list(terms),
            term_counts=np.asarray(counts, dtype=float)[[rows[name] for name in everything]],
            losses=within["orphan"].fillna("").tolist(),
            crowding=_ln_volume_fraction(graph, within),
            surface=_on_membrane(graph, within),
            pathways=graph.nodes["pathway"].index.tolist(),
            pathway_weights=_members(graph, everything),
            pairs=pairs,
        )


def _incidence(edges: pd.DataFrame, rows: list[str], columns: list[str], by: tuple[str, str]) -> np.ndarray:
    """Dense 0/1 matrix of an edge table."""
    matrix = np.zeros((len(rows), len(columns)))
    row, column = ({name: i for i, name in enumerate(names)} for names in (rows, columns))
    for a, b in zip(edges[by[0]], edges[by[1]], strict=True):
        if a in row and b in column:
            matrix[row[a], column[b]] = 1.0
    return matrix


def _formula(subunits: pd.DataFrame, molecules: list[str], complexes: list[str]) -> np.ndarray:
    """Subunits per species, free forms first."""
    row = {name: i for i, name in enumerate(molecules)}
    column = {name: i + len(molecules) for i, name in enumerate(complexes)}
    matrix = np.zeros((len(molecules), len(molecules) + len(complexes)), dtype=np.int64)
    matrix[:, : len(molecules)] = np.eye(len(molecules), dtype=np.int64)
    columns = (subunits[name].tolist() for name in ("source", "target", "stoichiometry"))
    for source, target, count in zip(*columns, strict=True):
        if target in column:
            if source not in row:
                raise GraphError(f"`{source}` encodes a molecule and cannot be a subunit of `{target}`.")
            matrix[row[source], column[target]] += int(count)
    return matrix


def _ln_volume_fraction(graph: Graph, species: pd.DataFrame) -> np.ndarray:
    fractions = {name: float(c.get("volume_fraction", 1.0)) for name, c in graph.compartments.items()}
    return np.log([fractions.get(name, 1.0) for name in species["compartment"]])


def _on_membrane(graph: Graph, species: pd.DataFrame) -> np.ndarray:
    membranes = {name for name, c in graph.compartments.items() if c.get("geometry") == "membrane"}
    return species["compartment"].isin(membranes).to_numpy()


def _members(graph: Graph, species: list[str]) -> np.ndarray:
    """Signed weights of species in pathways."""
    row = {name: i for i, name in enumerate(graph.nodes["pathway"].index)}
    column = {name: i for i, name in enumerate(species)}
    matrix = np.zeros((len(row), len(column)))
    edges = graph.edges["member"]
    columns = (edges[name].tolist() for name in ("source", "target", "sign", "weight"))
    for source, target, sign, weight in zip(*columns, strict=True):
        if source in column:
            matrix[row[target], column[source]] += float(sign) * float(weight)
    return matrix


def _pair_networks(graph: Graph) -> list[PairNetwork]:
    """Group the pair complexes by compartment; each becomes a small binding network of its units."""
    table = pair_units(graph)
    if table.empty:
        return []
    table = table.assign(compartment=table["complex"].map(graph.nodes["complex"]["compartment"]))
    return [_pair_network(graph, str(name), part) for name, part in table.groupby("compartment", sort=False)]


def _pair_network(graph: Graph, compartment: str, table: pd.DataFrame) -> PairNetwork:
    units = table[["unit", "side"]].drop_duplicates().reset_index(drop=True)
    complexes = list(dict.fromkeys(table["complex"]))
    row = {(u, s): i for i, (u, s) in enumerate(zip(units["unit"], units["side"], strict=True))}
    column = {name: len(units) + i for i, name in enumerate(complexes)}
    formula = np.eye(len(units), len(units) + len(complexes), dtype=np.int64)
    columns = (table[name].tolist() for name in ("unit", "side", "complex", "count"))
    for unit, side, name, count in zip(*columns, strict=True):
        formula[row[unit, side], column[name]] = int(count)
    card = graph.compartments[compartment]
    return PairNetwork(
        compartment=compartment,
        geometry=str(card["geometry"]),
        volume_fL=float(card.get("volume_fL", np.nan)),
        confinement=str(card.get("confinement", "")),
        units=units,
        complexes=complexes,
        formula=formula,
    )
