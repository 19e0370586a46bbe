"""From an AnnData and a graph to communication between groups of cells."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData

from multiscale.data.match import match, shorten
from multiscale.errors import DataError, nearest
from multiscale.fit.communication.assemble import Inferred
from multiscale.fit.communication.binding import Binding
from multiscale.fit.communication.downstream import Downstream, targets_of_graph
from multiscale.fit.communication.groups import read_expression
from multiscale.fit.communication.null import p_values
from multiscale.fit.communication.pairs import Cells, ComplexStatistics, Pairs, ProductStatistics
from multiscale.fit.communication.table import Communication
from multiscale.graph import Graph
from multiscale.units import MOLECULES_PER_UM_FL

__all__ = ["communication"]

log = logging.getLogger("multiscale")

PROTEINS_PER_FL = 3e6
"""Proteins per fL of a cell, of all kinds together: Milo 2013, doi:10.1002/bies.201300066, 2 to 4 million."""

USUAL_VOLUME_FL = 210.0
"""Volume of a lymphocyte, fL: Segel 1981, doi:10.1182/blood.V57.5.894.894."""

_ENTRIES = 2_000_000
"""Numbers per array that labellings evaluated together may make."""


def communication(
    adata: AnnData,
    graph: Graph,
    *,
    groupby: str,
    layer: str | None = None,
    use_raw: bool | None = None,
    permutations: int = 1000,
    seed: int = 0,
    min_share: float = 0.1,
    min_cells: int = 5,
    volume_fL: float | Mapping[str, float] | None = None,
    surface_um2: float | Mapping[str, float] | None = None,
    Kd_uM: Mapping[str, float] | None = None,
    default_Kd_uM: float | None = None,
    proteins_per_fL: float = PROTEINS_PER_FL,
    targets: pd.DataFrame | None = None,
    complex_permutations: int | None = None,
    temperature: float = 310.15,
    target_sum: float | None = None,
    size_factor_key: str | None = None,
) -> Communication:
    """Complexes of ligands and receptors between groups of cells, with downstream evidence and a null.

    Nothing is fitted. A molecule's copies per cell are f c V: its mean share f of a group's transcripts, c
    proteins per fL, V the volume of the cell. They assemble within the cell and bind between cells by mass
    action with the stoichiometry of the graph, all ligands of the sender and all receptors of the receiver at
    once, so that they compete. Beside the complexes stand product scores, and the shift of each receptor's
    targets in the receiver against the other groups. The null permutes labels among all cells and computes
    everything again.

    Args:
        adata: counts, or log1p of normalised counts; it stays as it is.
        graph: with complexes between a sender and a receiver, as from `graph_from_ligand_receptor`.
        groupby: column of obs with the groups.
        layer: layer to read.
        use_raw: read `adata.raw.X`; None = if there is one and no `layer` is given, as scanpy does.
        permutations: of the labels; 0 = no p values.
        seed: of the permutations.
        min_share: a row needs each subunit of ligand and receptor in at least this share of the cells of its
            group, 0 to 1.
        min_cells: smaller groups are left out.
        volume_fL: of a cell, fL, of all or by group; None = that of the graph's card, else 210 fL, with a
            warning.
        surface_um2: of a cell, µm²; None = that of the graph's card, else a sphere of the volume.
        Kd_uM: measured dissociation constants by complex, µM; they replace the graph's.
        default_Kd_uM: the same for every complex without a source of its energy; None = what the graph
            assumes (graphs made of tables: −9 kcal/mol, 0.46 µM at 310 K).
        proteins_per_fL: c, of all kinds together; one number for all molecules and groups, which sets the
            scale of copies.
        targets: columns `receptor`, `target` and, if wanted, `weight`; None = from the graph's pathways.
        complex_permutations: permutations for which equilibria are solved, the dear part; None = as many as
            `permutations`.
        temperature: K.
        target_sum: total that cells were normalised to; None = found, else 10,000.
        size_factor_key: column of obs with the total counts of cells, for matrices of counts.

    Returns:
        `Communication`; rows of its table by p value of the complexes, then by their number.

    Raises:
        DataError: the data, a group, a number or a name do not fit; says which and the remedy.
        GraphError: the graph is inconsistent or has no complexes between cells.
    """
    solved = permutations if complex_permutations is None else complex_permutations
    _check(permutations, solved, min_share, proteins_per_fL)
    binding = Binding(graph, Kd_uM=Kd_uM, default_Kd_uM=default_Kd_uM, temperature=temperature)
    expression = read_expression(
        adata,
        groupby,
        layer=layer,
        use_raw=use_raw,
        target_sum=target_sum,
        size_factor_key=size_factor_key,
        min_cells=min_cells,
    )
    pairs = _pairs(binding, expression.genes)
    cells = Cells.of(expression, binding.genes)
    volume = _by_group("volume_fL", volume_fL, expression.groups, _usual_volume(graph, volume_fL))
    sphere = (36 * np.pi) ** (1 / 3) * volume ** (2 / 3)
    surface = _by_group(
        "surface_um2", surface_um2, expression.groups, _usual_surface(graph, volume_fL, sphere)
    )
    known = targets_of_graph(graph, binding) if targets is None else targets
    downstream = Downstream.of(known, binding, expression)
    products = ProductStatistics(cells, pairs, downstream)
    uM = proteins_per_fL / MOLECULES_PER_UM_FL
    complexes = ComplexStatistics(cells, pairs, binding, uM, volume, surface)
    numbers = len(expression.groups) ** 2 * len(binding.table) + cells.width + len(downstream.genes)
    at_once = max(1, _ENTRIES // numbers)
    found = Inferred(
        cells=cells,
        pairs=pairs,
        binding=binding,
        products=products,
        complexes=complexes,
        downstream=downstream,
        product_null=p_values(products, expression.labels, permutations, seed, at_once),
        complex_null=p_values(complexes, expression.labels, solved, seed, at_once),
    )
    provenance = {
        **expression.provenance,
        "graph": graph.hash(),
        "permutations": permutations,
        "complex_permutations": solved,
        "seed": seed,
        "min_share": min_share,
        "volume_fL": dict(zip(expression.groups, volume.tolist(), strict=True)),
        "surface_um2": dict(zip(expression.groups, surface.tolist(), strict=True)),
        "proteins_per_fL": proteins_per_fL,
        "temperature": temperature,
        "pairs_without_data": pairs.missing,
    }
    return Communication(found.table(min_share), found.complex_table(), found.downstream_table(), provenance)


def _check(permutations: int, solved: int, min_share: float, proteins_per_fL: float) -> None:
    """Refuse numbers that cannot be meant."""
    for name, value in (("permutations", permutations), ("complex_permutations", solved)):
        if isinstance(value, bool) or int(value) != value or value < 0:
            raise DataError(f"`{name}` must be a whole number, at least 0; got {value}.")
    if not 0 <= min_share <= 1:
        raise DataError(f"`min_share` must lie between 0 and 1; got {min_share}.")
    if not (np.isfinite(proteins_per_fL) and proteins_per_fL > 0):
        raise DataError(f"`proteins_per_fL` must be positive; got {proteins_per_fL}.")


def _pairs(binding: Binding, genes: pd.Index) -> Pairs:
    """Pairs whose subunits are in the data; the others are logged."""
    match((name for names in binding.genes for name in names), genes)
    measured = {
        m for m, names in zip(binding.molecules, binding.genes, strict=True) if genes.isin(names).any()
    }
    pairs = Pairs(binding, measured)
    if len(pairs) == 0:
        raise DataError(
            "no ligand and receptor of the graph have all their subunits in the data; it has"
            f" {shorten(pairs.missing)}."
        )
    if pairs.missing:
        text = "%d pairs of ligand and receptor lack a subunit in the data and are left out: %s."
        log.warning(text, len(pairs.missing), shorten(pairs.missing))
    return pairs


def _usual_volume(graph: Graph, given: object) -> float:
    """Volume of a cell where none is given: of the graph's card, else that of a lymphocyte."""
    stated = graph.card.get("cell", {}).get("volume_fL")
    if given is None and stated is None:
        text = (
            "no volume of a cell is given, nor in the card of graph `%s`: %g fL is assumed, a lymphocyte's."
        )
        log.warning(text, graph.name, USUAL_VOLUME_FL)
    return USUAL_VOLUME_FL if stated is None else float(stated)


def _usual_surface(graph: Graph, volume_given: object, sphere: np.ndarray) -> float | np.ndarray:
    """Surface of a cell where none is given: the card's if the volume is the card's too, else of a sphere."""
    stated = graph.card.get("cell", {}).get("surface_um2")
    return sphere if stated is None or volume_given is not None else float(stated)


def _by_group(
    name: str, given: float | Mapping[str, float] | None, groups: list[str], usual: float | np.ndarray
) -> np.ndarray:
    """A positive number for every group."""
    values = np.broadcast_to(np.asarray(usual, dtype=float), len(groups)).copy()
    if isinstance(given, Mapping):
        for group, value in given.items():
            if group in groups:
                values[groups.index(group)] = value
        missing = [group for group in groups if group not in given]
        if missing:
            raise DataError(f"`{name}` lacks group `{missing[0]}`; {nearest(missing[0], map(str, given))}")
    elif given is not None:
        values[:] = given
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(bad):
        raise DataError(f"`{name}` of group `{groups[bad[0]]}` must be positive; got {values[bad[0]]}.")
    return values
