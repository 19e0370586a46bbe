"""Design tables of MoCHI: which assays a model joins, and the graph of states that their transformations
mean.

A transformation is a fraction of a molecule in some states; the states and their energies make one graph
for all phenotypes:

- TwoStateFractionFolded (F): 1/(1 + e^F), states unfolded, folded;
- ThreeStateFractionBound (F, B): 1/(1 + e^B (1 + e^F)), also bound;
- FourStateFractionBound (F, B, A): e^(−F−B)/(1 + e^(−F) + e^(−F−B) + e^(−F−A)), also bound in another way.

Energies are over kT; the ligand is at 1 M, so that B is the apparent energy at the concentration of the
assay.

Source: MoCHI, Genome Biology 25:303 (2024), doi:10.1186/s13059-024-03444-y, and its transformation.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from multiscale.errors import FormatError, nearest
from multiscale.formats.variants.file import read_variant_table
from multiscale.graph import Graph, check
from multiscale.graph.priors import Identifiers, assumed_energy

__all__ = ["TRANSFORMATIONS", "ModelDesign", "Phenotype", "graph_from_model_design", "read_model_design"]

TRANSFORMATIONS = {"TwoStateFractionFolded": 1, "ThreeStateFractionBound": 2, "FourStateFractionBound": 3}
"""Transformations that are equilibria of states, with the number of their traits: fold, binding, other
binding."""

_CURVES = ("Linear", "ReLU", "SiLU", "Sigmoid", "SumOfSigmoids")
_ONE_MOLAR = 1e6  # µM
_COLUMNS = ("phenotype", "transformation", "trait", "file")
_OPTIONAL = ("weight",)


@dataclass(frozen=True)
class Phenotype:
    """One assay of a design.

    Args:
        name: of the assay.
        transformation: of `TRANSFORMATIONS`.
        traits: names of its energies.
        file: table of fitness, as the design states it.
    """

    name: str
    transformation: str
    traits: tuple[str, ...]
    file: str = ""

    @property
    def fold(self) -> str:
        """Trait of the fold."""
        return self.traits[0]

    @property
    def bindings(self) -> tuple[str, ...]:
        """Traits of binding, the first is read."""
        return self.traits[1:]


@dataclass(frozen=True)
class ModelDesign:
    """Assays that share traits.

    Args:
        phenotypes: the assays.
        where: file name.
    """

    phenotypes: tuple[Phenotype, ...]
    where: str = "design"

    @property
    def traits(self) -> tuple[str, ...]:
        """All traits, in order of appearance."""
        return tuple(dict.fromkeys(trait for part in self.phenotypes for trait in part.traits))

    def reading(self, phenotype: str, molecule: str = "protein", ligand: str = "ligand") -> dict[str, Any]:
        """What an instrument of a phenotype reads: `species`, `of`, and the `conditions` of its rows.

        Args:
            phenotype: its name.
            molecule: as given to `graph_from_model_design`.
            ligand: likewise.

        Raises:
            FormatError: there is no such phenotype.

        >>> design = ModelDesign((Phenotype("a", "TwoStateFractionFolded", ("F",)),))
        >>> design.reading("a")
        {'species': 'folded', 'of': 'protein', 'conditions': {}}
        """
        found = {part.name: part for part in self.phenotypes}
        if phenotype not in found:
            raise FormatError(f"{self.where}: no phenotype `{phenotype}`; {nearest(phenotype, found)}")
        part, names, every = found[phenotype], _bound_names(self), _ligands(self, ligand)
        present = {every[trait] for trait in part.bindings}
        conditions = {name: _ONE_MOLAR if name in present else 0.0 for name in dict.fromkeys(every.values())}
        species = names[part.bindings[0]] if part.bindings else "folded"
        return {"species": species, "of": molecule, "conditions": conditions}


def read_model_design(path: str | Path) -> ModelDesign:
    """Read a design table: columns phenotype, transformation, trait (separated by commas) and file.

    Raises:
        FormatError: a column is missing or unknown, a phenotype is repeated, or a transformation is
            unknown, is no equilibrium of states, or has another number of traits.
    """
    where, table = Path(path).name, read_variant_table(path, None)
    for column in map(str, table.columns):
        if column not in _COLUMNS + _OPTIONAL:
            raise FormatError(f"{where}: unknown column `{column}`; {nearest(column, _COLUMNS + _OPTIONAL)}")
    missing = [column for column in _COLUMNS[:3] if column not in table]
    if missing:
        raise FormatError(f"{where}: column `{missing[0]}` is missing; got {', '.join(table.columns)}.")
    table = table.reindex(columns=[*_COLUMNS, *_OPTIONAL]).fillna("")
    phenotypes = [_phenotype(row, f"{where}, line {line}") for line, row in table.iterrows()]
    names = [part.name for part in phenotypes]
    for line, name in zip(table.index, names, strict=True):
        if names.count(name) > 1:
            raise FormatError(f"{where}, line {line}: phenotype `{name}` is repeated; name each once.")
    return ModelDesign(tuple(phenotypes), where)


def graph_from_model_design(
    design: ModelDesign, *, molecule: str = "protein", ligand: str = "ligand", prior_sd: float = 3.0
) -> Graph:
    """Graph of the states of a molecule: unfolded (the free form), folded, and bound in one or several ways.

    Every binding trait has a ligand of its own (`ligand`, or `ligand_<trait>` if there are several), held
    at 1 M, and a complex (`bound`, or `bound_<trait>`); every trait is one energy of the same name in lower
    case, with a normal prior around 0.

    Args:
        design: of `read_model_design`.
        molecule: name of the molecule.
        ligand: name of the ligand.
        prior_sd: standard deviation of the prior of the wild type's energies, kcal/mol.

    Raises:
        FormatError: phenotypes have different traits of the fold, or one is that here and binding there.

    >>> binding = Phenotype("b", "ThreeStateFractionBound", ("Fold", "Bind"))
    >>> graph = graph_from_model_design(ModelDesign((binding,)))
    >>> graph.nodes["complex"]["energy"].to_dict()
    {'folded': 'fold', 'bound': 'fold;bind'}
    """
    fold = _fold(design)
    ids = Identifiers()
    terms = {trait: ids.new(trait.lower()) for trait in design.traits}
    bound, ligands = _bound_names(design), _ligands(design, ligand)
    energies = {"folded": terms[fold]}
    energies |= {name: f"{terms[fold]};{terms[trait]}" for trait, name in bound.items()}
    links = [{"source": molecule, "target": name} for name in energies]
    links += [{"source": ligands[trait], "target": name} for trait, name in bound.items()]
    rows = [
        assumed_energy(term, 0.0, prior_sd, f"energy of the wild type, trait {trait}")
        for trait, term in terms.items()
    ]
    graph = Graph.from_tables(
        "states",
        {"molecule": _molecules(molecule, ligands), "complex": _complexes(energies)},
        {"subunit": pd.DataFrame(links)},
        pd.DataFrame(rows),
    )
    check(graph)
    return graph


def _phenotype(row: pd.Series, where: str) -> Phenotype:
    """One row of the table."""
    name, transformation = (str(row[column]).strip() for column in _COLUMNS[:2])
    traits = tuple(trait.strip() for trait in str(row["trait"]).split(",") if trait.strip())
    if not name:
        raise FormatError(f"{where}: `phenotype` is blank; name it.")
    if transformation in _CURVES:
        raise FormatError(
            f"{where}: phenotype `{name}`: `{transformation}` is a curve, not an equilibrium of states; "
            f"choose one of {', '.join(TRANSFORMATIONS)}, or calibrate an instrument (`monotone`)."
        )
    if transformation not in TRANSFORMATIONS:
        hint = nearest(transformation, TRANSFORMATIONS)
        raise FormatError(f"{where}: phenotype `{name}`: unknown transformation `{transformation}`; {hint}")
    if len(set(traits)) != len(traits) or len(traits) != TRANSFORMATIONS[transformation]:
        raise FormatError(
            f"{where}: phenotype `{name}`: {transformation} has {TRANSFORMATIONS[transformation]} distinct "
            f"traits; got {', '.join(traits) or 'none'}."
        )
    if row["weight"] not in ("", "1", "1.0"):
        said = f"weight {row['weight']}: readings are weighted by their noise; remove it"
        raise FormatError(f"{where}: phenotype `{name}`: {said}.")
    return Phenotype(name, transformation, traits, str(row["file"]).strip())


def _fold(design: ModelDesign) -> str:
    """The trait of the fold, the same in all phenotypes."""
    found = {part.fold: part.name for part in design.phenotypes}
    if len(found) > 1:
        said = ", ".join(f"{trait} ({name})" for trait, name in found.items())
        raise FormatError(
            f"{design.where}: one molecule folds with one trait; got {said}; make one graph each."
        )
    fold = next(iter(found))
    for part in design.phenotypes:
        if fold in part.bindings:
            raise FormatError(
                f"{design.where}: `{fold}` is that of the fold, and of binding in `{part.name}`; rename one."
            )
    return fold


def _bindings(design: ModelDesign) -> list[str]:
    """Traits of binding, in order of appearance."""
    return list(dict.fromkeys(trait for part in design.phenotypes for trait in part.bindings))


def _bound_names(design: ModelDesign) -> dict[str, str]:
    """Name of the complex of every binding trait."""
    traits = _bindings(design)
    return {trait: "bound" if len(traits) == 1 else f"bound_{trait.lower()}" for trait in traits}


def _ligands(design: ModelDesign, ligand: str) -> dict[str, str]:
    """Name of the ligand of every binding trait."""
    traits = _bindings(design)
    return {trait: ligand if len(traits) == 1 else f"{ligand}_{trait.lower()}" for trait in traits}


def _molecules(molecule: str, ligands: Mapping[str, str]) -> pd.DataFrame:
    """The molecule, and ligands held at 1 M."""
    rows = [{"name": molecule, "note": "the free form is unfolded"}]
    note = "1 M: energies of binding are apparent ones at the concentration of the assay"
    rows += [
        {"name": name, "kind": "other", "initial": f"{_ONE_MOLAR:g}", "constant": "true", "note": note}
        for name in ligands.values()
    ]
    return pd.DataFrame(rows).fillna("")


def _complexes(energies: Mapping[str, str]) -> pd.DataFrame:
    """The states."""
    return pd.DataFrame({"name": list(energies), "energy": list(energies.values())})
