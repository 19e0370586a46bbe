"""Evidence downstream of receptors: whether the receiver expresses their targets more than other groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from multiscale.data.match import match
from multiscale.errors import DataError
from multiscale.fit.communication.binding import Binding, Unit
from multiscale.fit.communication.groups import Expression
from multiscale.graph import Graph, pair_units

__all__ = ["Downstream", "targets_of_graph"]


@dataclass(frozen=True, eq=False)
class Downstream:
    """Score of the targets of every receptor, in every group.

    s = Σ_k w_k (m_k − m_k,others) / σ_k / Σ_k |w_k|, with m the mean of ln(1 + normalised counts) of target k
    over the cells of the group and over all other cells, and σ its standard deviation over all cells: the
    weighted mean shift in standard deviations. Targets that encode the receptor itself are left out.

    Args:
        receptors: names of those that have targets.
        genes: targets of any receptor that vary in the data.
        weights: w / σ / Σ|w|, shape (gene, receptor).
        values: ln(1 + normalised counts), shape (cell, gene).
        sizes: cells of every group, shape (group,).
        used: targets of every receptor that enter.
    """

    receptors: list[str]
    genes: list[str]
    weights: np.ndarray
    values: sparse.csr_array
    sizes: np.ndarray
    used: dict[str, list[str]]

    @classmethod
    def of(cls, targets: pd.DataFrame, binding: Binding, expression: Expression) -> Downstream:
        """Match a table of targets with receptors and data.

        Args:
            targets: columns `receptor` (name of a receptor, or of a subunit or its gene), `target` (feature
                of the data) and, if wanted, `weight` (signed; 1 where there is none).
            binding: whose receptors are asked for.
            expression: of the cells.

        Raises:
            DataError: a column is missing, a weight is no number, or nothing matches.
        """
        table = _checked(targets)
        if len(table):
            match(table["target"], expression.genes)
        rows = [_rows_of(unit, table, binding) for unit in binding.units("receiver")]
        every = pd.concat(rows, ignore_index=True)
        if len(table) and every.empty:
            match((unit.name for unit in binding.units("receiver")), table["receptor"])
        every = every.loc[every["target"].isin(expression.genes)]
        genes = list(dict.fromkeys(every["target"]))
        values = expression.log(expression.of([[gene] for gene in genes]))
        return cls._weighted(every, genes, values, expression.sizes)

    @classmethod
    def _weighted(
        cls, rows: pd.DataFrame, genes: list[str], values: sparse.csr_array, sizes: np.ndarray
    ) -> Downstream:
        """Weights in units of standard deviations; genes that do not vary are left out."""
        mean = np.asarray(values.mean(axis=0)).ravel()
        square = np.asarray((values * values).mean(axis=0)).ravel()
        sd = dict(zip(genes, np.sqrt(np.maximum(square - mean**2, 0.0)), strict=True))
        rows = rows.loc[[bool(sd[gene] > 1e-6) for gene in rows["target"]]]
        receptors = list(dict.fromkeys(rows["receptor"]))
        weights = np.zeros((len(genes), len(receptors)))
        for receptor, gene, weight in rows.itertuples(index=False, name=None):
            weights[genes.index(gene), receptors.index(receptor)] += weight
        total = np.abs(weights).sum(0)
        scale = np.array([sd[gene] if sd[gene] > 1e-6 else 1.0 for gene in genes])
        used = {r: list(rows["target"][rows["receptor"] == r]) for r in receptors}
        return cls(receptors, genes, weights / total / scale[:, None], values, sizes, used)

    def score(self, means: np.ndarray) -> np.ndarray:
        """Scores of shape (labelling, group, receptor), from means of shape (labelling, group, gene)."""
        sums = means * self.sizes[:, None]
        others = (sums.sum(1, keepdims=True) - sums) / (self.sizes.sum() - self.sizes)[:, None]
        return (means - others) @ self.weights


def targets_of_graph(graph: Graph, binding: Binding) -> pd.DataFrame:
    """Table of targets from the pathways of a graph: the other members of those that a receptor is in.

    A receptor is in a pathway if it, one of its subunits, or a complex that it forms with a ligand is. Of
    complexes between cells only the receiver's molecules count. Signs and weights are those of the edges.

    Returns:
        Columns `receptor`, `target`, `weight`; empty where the graph has no pathways.
    """
    members = _pathway_molecules(graph, binding)
    genes = dict(zip(binding.network.molecules, _genes(graph, binding), strict=True))
    links = binding.table.groupby("receptor_complex")["complex"].agg(set)
    found = []
    for unit in binding.units("receiver"):
        names = {unit.name, *unit.molecules, *links[unit.name]}
        for species, molecules in members.values():
            if names & species:
                found += [
                    (unit.name, gene, weight)
                    for molecule, weight in molecules.items()
                    if molecule not in unit.molecules
                    for gene in genes[molecule]
                ]
    table = pd.DataFrame(found, columns=pd.Index(["receptor", "target", "weight"]))
    return table.groupby(["receptor", "target"], sort=False)[["weight"]].mean().reset_index()


def _genes(graph: Graph, binding: Binding) -> list[list[str]]:
    """Identifiers of the transcripts of every molecule of the network."""
    network, names = binding.network, graph.nodes["molecule"]["identifier"]
    return [
        [network.identifiers[t] for t in np.flatnonzero(row)] or [str(names[molecule])]
        for molecule, row in zip(network.molecules, network.encodes, strict=True)
    ]


def _pathway_molecules(graph: Graph, binding: Binding) -> dict[str, tuple[set[str], dict[str, float]]]:
    """Members of every pathway, and the molecules of the receiver that they are made of, with weights."""
    between = pair_units(graph)
    received = between.loc[between["side"] == "receiver"].set_index("complex")["unit"].to_dict()
    found: dict[str, tuple[set[str], dict[str, float]]] = {}
    edges = graph.edges["member"]
    columns = (edges[name].tolist() for name in ("source", "target", "sign", "weight"))
    for source, pathway, sign, weight in zip(*columns, strict=True):
        species, molecules = found.setdefault(pathway, (set(), {}))
        species.add(source)
        inside = received.get(source, source)
        if inside in binding.network.species:  # a flux or a transcript is no member that data show here
            for molecule in binding.members(inside):
                molecules.setdefault(molecule, float(sign) * float(weight))
    return found


def _checked(targets: pd.DataFrame) -> pd.DataFrame:
    """Columns receptor, target, weight."""
    missing = [name for name in ("receptor", "target") if name not in targets]
    if missing:
        raise DataError(
            f"`targets` needs columns `receptor` and `target` (and may have `weight`); it lacks"
            f" `{missing[0]}`, got {', '.join(f'`{name}`' for name in targets.columns)}."
        )
    weight = targets["weight"] if "weight" in targets else pd.Series(1.0, targets.index)
    values = pd.to_numeric(weight, errors="coerce")
    bad = targets.index[~np.isfinite(values.to_numpy(float)) | (values == 0)]
    if len(bad):
        raise DataError(
            f"`targets`: row {bad[0]}: `weight` must be a number other than zero; got {weight[bad[0]]}."
        )
    names = targets[["receptor", "target"]].astype(str)
    return names.assign(weight=values.astype(float)).drop_duplicates(["receptor", "target"])


def _rows_of(unit: Unit, table: pd.DataFrame, binding: Binding) -> pd.DataFrame:
    """Targets of one receptor, by its name, its subunits or their genes; without its own genes."""
    genes = {
        g for m, gs in zip(binding.molecules, binding.genes, strict=True) if m in unit.molecules for g in gs
    }
    mine = table["receptor"].isin({unit.name, *unit.molecules, *genes}) & ~table["target"].isin(genes)
    rows = table.loc[mine].drop_duplicates("target")
    return rows.assign(receptor=unit.name)
