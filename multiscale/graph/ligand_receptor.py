"""Graphs from tables of ligands and receptors, either of which may be a complex of several proteins."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from multiscale.errors import GraphError, nearest
from multiscale.graph.check import check
from multiscale.graph.graph import Graph
from multiscale.graph.priors import Identifiers, assumed_energy, assumed_positive

__all__ = ["graph_from_ligand_receptor"]

log = logging.getLogger("multiscale")

_COLUMNS = (
    ("ligand_complex", "receptor_complex"),
    ("ligand", "receptor"),
    ("source_genesymbol", "target_genesymbol"),
    ("source", "target"),
)
_ASSEMBLY = (-12.0, 3.0)  # kcal/mol per contact: Kd about 2 nM, within a factor of 160
_BINDING = (-9.0, 3.0)  # kcal/mol: Kd about 0.25 µM, within a factor of 160; known pairs span pM to 100 µM
_CONFINEMENT = (3.0, 3.0)  # nm, factor: membrane contacts

Parts = Mapping[str, int]
Side = tuple[str, str]


def graph_from_ligand_receptor(
    table: pd.DataFrame,
    name: str = "ligand_receptor",
    *,
    complexes: Mapping[str, Parts] | None = None,
    secreted: Collection[str] = (),
    resource: str | None = None,
    soluble_volume_fL: float = 1000.0,
) -> Graph:
    """Make a graph of a table with one ligand–receptor pair per row.

    Every pair becomes a complex between a sender (ligand) and a receiver (receptor), with the energy terms of
    the two and one of its own. A ligand or receptor of several proteins becomes a complex within the cell,
    with one assembly energy per contact. All energies have broad priors that are flagged as assumed: replace
    them where Kd are known.

    Args:
        table: columns ligand_complex and receptor_complex (LIANA), ligand and receptor, source_genesymbol and
            target_genesymbol (OmniPath; accessions in source and target decide what is a complex), or source
            and target.
        name: name of the graph.
        complexes: subunits of named complexes; other names such as `A1_B1` are split at underscores
            where every part starts with a letter (`C4_2` is one gene).
        secreted: ligands (or all their subunits) that act from solution.
        resource: keep only rows with this value in column `resource`.
        soluble_volume_fL: volume into which secreted ligands dilute, per pair of cells, fL; an assumption to
            replace.

    Returns:
        A checked graph with compartments `contact` and `soluble`. A secreted ligand lies in `contact` where
        its receptors, or ligands linked to it by shared receptors, also meet ligands on membranes, because
        each species meets other cells in one compartment only; such complexes say so in their note.

    Raises:
        GraphError: no columns of ligands and receptors, no rows, or an empty name.

    >>> graph = graph_from_ligand_receptor(pd.DataFrame({"ligand": ["L"], "receptor": ["R1_R2"]}))
    >>> graph.species
    ['L', 'R1', 'R2', 'R1_R2', 'L:R1_R2']
    """
    pairs = _pairs(table, resource, name)
    parts = _Parts(dict(complexes or {}))
    species = _Species()
    bound = list(dict.fromkeys((species.add(*parts.of(*a)), species.add(*parts.of(*b))) for a, b in pairs))
    soluble = {unit for unit in species.units if _is_secreted(unit, species.units[unit], secreted)}
    places = _places(bound, soluble)
    for ligand, receptor in bound:
        species.bind(
            ligand, receptor, places[ligand], moved=ligand in soluble and places[ligand] == "contact"
        )
    moved = sum(1 for ligand, _ in bound if ligand in soluble and places[ligand] == "contact")
    if moved:
        log.warning(
            "graph `%s`: %d pairs of secreted ligands lie in `contact` (shared receptors).", name, moved
        )
    graph = species.graph(name, soluble_volume_fL)
    check(graph)
    return graph


@dataclass(frozen=True)
class _Parts:
    """What a name in a table is made of."""

    complexes: Mapping[str, Parts]

    def of(self, name: str, accession: str) -> tuple[str, dict[str, int]]:
        """Name and its subunits; a molecule is its own only subunit."""
        if name in self.complexes:
            return name, dict(self.complexes[name])
        words = name.split("_")
        whole = "_" not in accession if accession else not all(word[:1].isalpha() for word in words)
        return name, {name: 1} if whole else dict(Counter(words))


@dataclass
class _Species:
    """Molecules, complexes and parameters as they are collected."""

    units: dict[str, Parts] = field(default_factory=dict)
    energy: dict[str, str] = field(default_factory=dict)
    known: dict[tuple[tuple[str, int], ...], str] = field(default_factory=dict)
    ids: Identifiers = field(default_factory=Identifiers)
    complexes: list[dict[str, Any]] = field(default_factory=list)
    subunits: list[dict[str, Any]] = field(default_factory=list)
    parameters: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, parts: Parts) -> str:
        """Name of the species with these subunits, which is new only where no other has them."""
        key = tuple(sorted(parts.items()))
        if key not in self.known:
            alone = list(parts.items()) == [(next(iter(parts)), 1)]
            self.known[key] = next(iter(parts)) if alone else name
            self.units[self.known[key]] = parts
            self.energy[self.known[key]] = "" if alone else self._assemble(name, parts)
        return self.known[key]

    def _assemble(self, name: str, parts: Parts) -> str:
        """Add a complex within the cell and give its energy."""
        term, contacts = self.ids.new("g", name), sum(parts.values()) - 1
        self.parameters.append(assumed_energy(term, *_ASSEMBLY, f"assembly of {name}, per contact"))
        energy = f"{term}*{contacts}" if contacts > 1 else term
        self.complexes.append({"name": name, "energy": energy, "evidence": "obligate"})
        self.subunits += [
            {"source": m, "target": name, "stoichiometry": n, "side": ""} for m, n in parts.items()
        ]
        return energy

    def bind(self, ligand: str, receptor: str, place: str, moved: bool) -> None:
        """Add the complex between two cells."""
        name, term = f"{ligand}:{receptor}", self.ids.new("g", ligand, receptor)
        self.parameters.append(assumed_energy(term, *_BINDING, f"{ligand} binds {receptor}, no measured Kd"))
        energy = ";".join(part for part in (self.energy[ligand], self.energy[receptor], term) if part)
        note = (
            "secreted ligand at a contact: linked by shared receptors to ligands on membranes"
            if moved
            else ""
        )
        row = {"name": name, "energy": energy, "evidence": "inferred", "compartment": place, "note": note}
        self.complexes.append(row)
        for unit, side in ((ligand, "sender"), (receptor, "receiver")):
            self.subunits += [
                {"source": m, "target": name, "stoichiometry": n, "side": side}
                for m, n in self.units[unit].items()
            ]

    def graph(self, name: str, soluble_volume_fL: float) -> Graph:
        """All of it as a graph."""
        molecules = list(dict.fromkeys(m for parts in self.units.values() for m in parts))
        length = assumed_positive(
            self.ids.new("confinement"), *_CONFINEMENT, "confinement", "nm", "confinement length of contacts"
        )
        soluble = {"geometry": "soluble", "volume_fL": soluble_volume_fL, "note": "assumed volume"}
        contact = {"geometry": "contact", "confinement": length["parameterId"]}
        return Graph.from_tables(
            name,
            {"molecule": pd.DataFrame({"name": molecules}), "complex": pd.DataFrame(self.complexes)},
            {"subunit": pd.DataFrame(self.subunits)},
            pd.DataFrame([*self.parameters, length]),
            {"compartments": {"contact": contact, "soluble": soluble}},
        )


def _pairs(table: pd.DataFrame, resource: str | None, name: str) -> list[tuple[Side, Side]]:
    """Ligand and receptor of every row, each with its accession ('' where there is none)."""
    if resource is not None:
        known = table["resource"].unique().tolist() if "resource" in table.columns else []
        if resource not in known:
            raise GraphError(
                f"`resource` = `{resource}` is not in the table; {nearest(resource, known)}", name
            )
        table = table.loc[table["resource"] == resource]
    columns = next((pair for pair in _COLUMNS if set(pair) <= set(table.columns)), None)
    if columns is None or table.empty:
        raise GraphError(
            "a table of ligands and receptors needs rows, and columns `ligand` and `receptor` (or those of"
            f" LIANA or OmniPath); got {len(table)} rows with {', '.join(f'`{c}`' for c in table.columns)}.",
            name,
        )
    sides = []
    for column, accession in zip(columns, ("source", "target"), strict=True):
        names = table[column].fillna("").astype(str).str.strip()
        if (names == "").any():
            raise GraphError(f"row {names.eq('').idxmax()}: `{column}` is empty; name a molecule.", name)
        codes = (
            table[accession].astype(str) if columns[0] == "source_genesymbol" and accession in table else None
        )
        sides.append(list(zip(names, codes if codes is not None else [""] * len(names), strict=True)))
    return list(zip(*sides, strict=True))


def _is_secreted(name: str, parts: Parts, secreted: Collection[str]) -> bool:
    return name in secreted or all(molecule in secreted for molecule in parts)


def _places(bound: Iterable[tuple[str, str]], soluble: set[str]) -> dict[str, str]:
    """Compartment of every unit: `soluble` where all ligands linked by shared partners are secreted."""
    import networkx as nx

    links = nx.Graph(list(bound))
    ligands = {ligand for ligand, _ in bound}
    places: dict[str, str] = {}
    for linked in nx.connected_components(links):
        place = "soluble" if linked & ligands <= soluble else "contact"
        places |= dict.fromkeys(linked, place)
    return places
