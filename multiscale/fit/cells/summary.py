"""Everything that a report shows of a fit of single cells, as plain tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from multiscale.errors import DataError, nearest
from multiscale.fit.cells.controls import compare_fits
from multiscale.fit.cells.training import ACTIVE
from multiscale.formats import Network
from multiscale.graph import Graph
from multiscale.model.sums import read_sum
from multiscale.report.cell_words import headline, sentences
from multiscale.report.findings import Findings

if TYPE_CHECKING:
    from multiscale.fit.cells.result import CellResult

__all__ = ["CHECKED", "findings", "network", "report_tables", "undetermined"]

CHECKED = 500
"""Cells whose readings are drawn anew for checks."""

FEATURES = 24
"""Features of every modality that are checked: those that read the graph first, then those that vary most."""


def findings(
    result: CellResult,
    controls: Mapping[str, CellResult] | None = None,
    groupby: str | None = None,
    title: str = "",
    question: str = "",
) -> Findings:
    """Everything that a report says of a fit; see `CellResult.findings`."""
    tables = report_tables(result, controls or {}, groupby)
    name = "no graph" if result.graph is None else result.graph.name
    return Findings(
        title=title or name,
        question=question,
        headline=headline(tables),
        sentences=sentences(tables),
        undetermined=undetermined(result),
        network=network(result),
        tables=tables,
        meta=result.metadata(),
    )


def report_tables(
    result: CellResult, controls: Mapping[str, CellResult], groupby: str | None = None
) -> dict[str, pd.DataFrame]:
    """Tables of a report, those that have a row.

    Args:
        result: the fit.
        controls: fits of the same cells by name; that without a graph is called `without graph`.
        groupby: column of obs whose groups are compared.

    Returns:
        what `CellResult.tables` gives, and `comparison` (`compare_fits`), `units` (latent dimensions),
        `reads_graph`, `checks` (measured and drawn readings of some cells), `groups`.
    """
    found = {name.replace(" ", "_"): table for name, table in result.tables().items()}
    found["comparison"] = compare_fits(result, controls)
    found["units"] = units(result)
    found["reads_graph"] = reads_graph(result)
    found["checks"] = checks(result)
    found["groups"] = pd.DataFrame() if groupby is None else groups(result, groupby)
    return {name: table for name, table in found.items() if len(table)}


def units(result: CellResult) -> pd.DataFrame:
    """Latent dimensions: variance of posterior means over cells, mean variance, KL (nats per cell)."""
    mean, sd = result.latent, result.latent_sd
    kl = 0.5 * (mean**2 + sd**2 - 1) - np.log(sd)
    spread = mean.var(ddof=0)
    return pd.DataFrame(
        {
            "dimension": mean.columns,
            "variance_of_means": spread.to_numpy(),
            "mean_variance": (sd**2).mean().to_numpy(),
            "KL": kl.mean().to_numpy(),
            "active": (spread > ACTIVE).to_numpy(),
        }
    )


def reads_graph(result: CellResult) -> pd.DataFrame:
    """Features that read the graph: `modality`, `feature`, `reads`, `node`."""
    rows, molecules = [], result.problem.molecules
    for name, part in result.problem.readings.items():
        features = result.problem.cells.modalities[name].features
        if part.linked is not None:
            for position, weight in zip(part.linked.position, part.linked.weight, strict=True):
                node = " + ".join(molecules[i] for i in np.flatnonzero(weight))
                rows.append((name, features[position], "transcript", node))
        if part.physical is not None:
            of = part.physical
            pairs = zip(of.position, of.names, strict=True)
            rows += [(name, features[position], of.kind, node) for position, node in pairs]
    return pd.DataFrame(rows, columns=pd.Index(["modality", "feature", "reads", "node"]))


def checks(result: CellResult) -> pd.DataFrame:
    """Readings of some cells beside readings that the model draws for them; see `CellResult.compare`."""
    cells, seed = result.problem.cells, int(result.settings.get("seed", 0))
    chosen = np.random.default_rng((seed, 3)).choice(len(cells), min(CHECKED, len(cells)), replace=False)
    names = [str(name) for name in cells.obs.index[np.sort(chosen)]]
    table = result.compare(contexts=names)
    keep = table["observed"].notna()
    for name, part in cells.modalities.items():
        wanted = {part.features[i] for i in _checked(result, name)}
        keep &= (table["modality"] != name) | table["feature"].isin(wanted)
    return table[keep].reset_index(drop=True)


def _checked(result: CellResult, name: str) -> np.ndarray:
    """Positions of the features that are checked."""
    found, part = [], result.problem.readings[name]
    for reader in (part.physical, part.linked):
        found += [] if reader is None else list(reader.position)
    summary = result.problem.summary(name)
    weight = summary.cells[:, None] * np.isfinite(summary.variance)
    spread = (weight * np.nan_to_num(summary.variance)).sum(0) / np.maximum(weight.sum(0), 1)
    found += list(np.argsort(-spread, kind="stable"))
    return np.array(list(dict.fromkeys(int(i) for i in found))[:FEATURES], dtype=np.int64)


def groups(result: CellResult, groupby: str) -> pd.DataFrame:
    """Means over the cells of every group.

    Returns:
        columns `group`, `cells`, `kind` (molecule: copies per cell; complex: µM; pathway: activity), `name`,
        `mean`.

    Raises:
        DataError: obs has no such column.
    """
    obs = result.problem.cells.obs
    if groupby not in obs:
        raise DataError(f"`groupby`: obs has no column `{groupby}`; {nearest(groupby, map(str, obs))}")
    labels = pd.Series(obs[groupby].astype(str).to_numpy(), index=obs.index, name="group")
    count, parts = labels.value_counts(), []
    kinds = {"molecule": result.totals, "complex": result.complexes, "pathway": result.pathways}
    for kind, table in kinds.items():
        if table.shape[1]:
            means = table.groupby(labels).mean().rename_axis(columns="name").reset_index()
            parts.append(means.melt("group", var_name="name", value_name="mean").assign(kind=kind))
    if not parts:
        return pd.DataFrame()
    found = pd.concat(parts, ignore_index=True)
    found["cells"] = found["group"].map(count)
    return found[["group", "cells", "kind", "name", "mean"]]


def network(result: CellResult) -> Network:
    """The graph with means over all cells; an empty one for a control without."""
    if result.graph is None:
        return Network(Graph.from_tables("no graph", {}), {}, result.metadata())
    copies, levels = result.totals.mean(), result.complexes.mean()
    values = {
        "molecule": pd.DataFrame({"mean_copies_per_cell": copies}),
        "complex": pd.DataFrame({"mean_concentration_uM": levels}),
    }
    pathways = result.pathways
    values["pathway"] = pd.DataFrame({"activity_range": pathways.max() - pathways.min()})
    kept = {name: table for name, table in values.items() if len(table)}
    return Network(result.graph, kept, result.metadata())


def undetermined(result: CellResult) -> list[str]:
    """Sentences on what these cells leave open."""
    said, found = [], units(result)
    idle = int((~found["active"]).sum())
    if idle:
        said.append(f"{idle} of {len(found)} latent dimensions are not in use: readings say nothing of them.")
    read = _molecules_read(result)
    blind = [name for name in result.problem.molecules if name not in read]
    if blind:
        some = ", ".join(f"`{name}`" for name in blind[:5]) + (", ..." if len(blind) > 5 else "")
        said.append(
            f"{len(blind)} of {len(result.problem.molecules)} molecules are read by no feature, so that only "
            f"their partners and priors say how many there are: {some}."
        )
    failed = int(result.totals.isna().any(axis=1).sum()) if result.totals.shape[1] else 0
    if failed:
        said.append(
            f"The network of {failed} of {len(result.totals)} cells was not solved; they have no state."
        )
    return said


def _molecules_read(result: CellResult) -> set[str]:
    """Molecules that a feature reads, itself or in a species."""
    problem, found = result.problem, set()
    if problem.physics is None:
        return found
    species = problem.physics.species
    made = {name: set(np.flatnonzero(row)) for name, row in zip(species, problem.composition, strict=True)}
    for part in problem.readings.values():
        if part.linked is not None:
            found |= {problem.molecules[i] for i in np.flatnonzero(part.linked.weight.any(axis=0))}
        for name in [] if part.physical is None else part.physical.names:
            terms = [] if name in problem.physics.counted else read_sum(name, species)
            found |= {name, *(problem.molecules[i] for term in terms for i in made[term])}
    return found
