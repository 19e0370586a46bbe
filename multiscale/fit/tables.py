"""Tables of a fit: values, what they were before, and 90 % intervals where they were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from multiscale.fit.propagate import Intervals, bound_fraction, context_sizes
from multiscale.units import Kd_from_delta_g

if TYPE_CHECKING:
    from multiscale.fit.result import Result

__all__ = [
    "complexes",
    "concentrations",
    "energies",
    "pairs",
    "parameters",
    "pathways",
    "predictions",
    "starts",
]


SCALES = {"ln_K2D": "ln (molecules per µm²)"}
"""Scale of a readout that is not that of its assay."""


def parameters(result: Result) -> pd.DataFrame:
    """PEtab parameter table of the best start, beside priors, spread over starts and intervals."""
    table = result.model.parameters.frame(result.theta[0])
    prior = result.model.parameters.frame()["nominalValue"]
    table = table.assign(priorMean=prior, spreadOverStarts=_spread(result))
    return table if result.laplace is None else pd.concat([table, result.laplace.frame()], axis=1)


def _spread(result: Result) -> np.ndarray:
    """Standard deviation over the starts whose loss is within 2 of the best, on the parameter's scale."""
    loss = result.optimum.loss
    values = result.model.parameters.flat(result.optimum.theta[loss <= loss.min() + 2.0])
    return values.std(0, unbiased=False).cpu().numpy()


def energies(result: Result) -> pd.DataFrame:
    """Energy of every complex: g (from free subunits), its prior, and for two subunits its Kd."""
    network = result.problem.network
    names = _with_energy(result)
    rows = [network.all_species.index(name) for name in names]
    g = result.state.g[0].cpu().numpy()[rows]
    table = pd.DataFrame({"complex": names, "g_kcal_per_mol": g})
    ends = _ends(result, "g", rows)
    table = table.assign(**dict(zip(("lower", "upper"), ends, strict=True))) if ends else table
    table = table.assign(**_energy_prior(result, rows))
    table["subunits"] = result.model.subunits[rows].cpu().numpy().astype(int)
    for column, values in zip(("Kd_uM", "Kd_lower_uM", "Kd_upper_uM"), (g, *(ends or ())), strict=False):
        kd = [Kd_from_delta_g(v, result.problem.temperature) for v in values]
        two = np.array(kd) / np.asarray(network.statistical_factor)[rows]
        table[column] = np.where(table["subunits"] == 2, two, np.nan)
    table["between_cells"] = table["complex"].isin(network.pair_complexes)
    return table.assign(evidence=result.graph.nodes["complex"].loc[names, "evidence"].to_numpy())


def _with_energy(result: Result) -> list[str]:
    """Complexes that have an energy: at equilibrium all, else those for which the graph names one."""
    network = result.problem.network
    names = network.complexes + network.pair_complexes
    if result.problem.dynamics is None or result.problem.energy_network is not None:
        return names
    stated = {network.all_species[row] for row in np.nonzero(network.term_counts)[0].tolist()}
    return [name for name in names if name in stated]


def _energy_prior(result: Result, rows: list[int]) -> dict[str, np.ndarray]:
    """Prior mean and sd of the energies of some species."""
    network = result.problem.network
    prior = result.model.parameters.frame().set_index("parameterId")["objectivePriorParameters"]
    given = np.array([text.split(";") for text in prior.reindex(network.terms).fillna("0;0")], dtype=float)
    given = given.reshape(len(network.terms), 2)
    counts = network.term_counts[rows]
    return {"prior_mean": counts @ given[:, 0], "prior_sd": np.sqrt((counts**2) @ given[:, 1] ** 2)}


def complexes(result: Result) -> pd.DataFrame:
    """Which complexes form where: concentration, and the fraction of the scarcest subunit that is bound."""
    network = result.problem.network
    columns = [network.species.index(name) for name in network.complexes]
    with torch.no_grad():
        bound = bound_fraction(result.model, result.state)[0].cpu().numpy()
    values = result.state.ln_x[0].exp().cpu().numpy()[:, columns]
    table = _tidy(result.contexts, network.complexes, "complex", concentration_uM=values)
    if (ends := _ends(result, "ln_x")) is not None:
        table = table.assign(
            lower=np.exp(ends[0][:, columns]).ravel(), upper=np.exp(ends[1][:, columns]).ravel()
        )
    table = table.assign(bound_fraction=bound.ravel())
    if (ends := _ends(result, "bound")) is not None:
        table = table.assign(bound_lower=ends[0].ravel(), bound_upper=ends[1].ravel())
    return table


def concentrations(result: Result) -> pd.DataFrame | None:
    """Concentrations of the species of a kinetic model, when measured, µM; None at equilibrium."""
    problem = result.problem
    if problem.dynamics is None:
        return None
    species, times = problem.dynamics.kinetics.species, problem.schedule.times
    count = times.shape[1]
    table = pd.DataFrame(
        {
            "context": np.repeat(result.contexts, count * len(species)),
            "time": np.repeat(times.ravel(), len(species)),
            "species": np.tile(species, times.size),
            "concentration_uM": result.state.x[0].cpu().numpy().ravel(),
        }
    )
    if (ends := _ends(result, "x")) is not None:
        table = table.assign(lower=ends[0].ravel(), upper=ends[1].ravel())
    first = np.arange(count) < problem.schedule.count[:, None]  # the last time of a context may be repeated
    table = table[np.repeat(first.ravel(), len(species))].reset_index(drop=True)
    return table if problem.regime == "time_course" else table.drop(columns="time")


def pairs(result: Result) -> pd.DataFrame | None:
    """Who talks to whom: complexes of every sender with every receiver; None without pairs of contexts."""
    if result.pair_state is None:
        return None
    table = result.pair_state.frame()
    ends = _ends(result, "occupancy")
    return (
        table if not ends else table.assign(occupancy_lower=ends[0].ravel(), occupancy_upper=ends[1].ravel())
    )


def pathways(result: Result) -> pd.DataFrame | None:
    """Activity of every pathway in every context or pair, there the receiver's; None without pathways."""
    names = result.problem.network.pathways
    if not names:
        return None
    parts = []
    for quantity, table in (("activity", result.activities()), ("pair_activity", result.pair_activities())):
        if table.empty:
            continue
        part = _tidy([str(name) for name in table.index], names, "pathway", activity=table.to_numpy())
        if (ends := _ends(result, quantity)) is not None:
            part = part.assign(lower=ends[0].ravel(), upper=ends[1].ravel())
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def predictions(result: Result) -> pd.DataFrame:
    """Every fitted measurement beside what the fit says of it, with intervals for a new measurement."""
    tables = [_table_predictions(result, name) for name in result.model.readings]
    tables += [_count_predictions(result, k) for k in range(len(result.model.count_terms))]
    return pd.concat(tables, ignore_index=True)


def _table_predictions(result: Result, name: str) -> pd.DataFrame:
    reading = result.model.readings[name]
    entries = reading.term.entries
    with torch.no_grad():
        location = reading.location(result.state)[0].cpu().numpy()
    table = pd.DataFrame(
        {
            "assay": name,
            "context": entries["context"],
            "target": entries["target"],
            "readout": entries["readout"],
            "scale": entries["readout"].map(SCALES).fillna(reading.term.table.assay.scale),
            "measured": entries["y"],
            "predicted": location,
        }
    )
    if "time" in entries:
        table.insert(2, "time", entries["time"].to_numpy())
    return _with_ends(result, table, f"reading {name}").assign(censoring=entries["censoring"].to_numpy())


def _count_predictions(result: Result, position: int) -> pd.DataFrame:
    """Counts summed over the cells of a context."""
    term, _, transcript = result.model.count_terms[position]
    contexts = result.problem.contexts.index
    group = contexts.get_indexer(pd.Index(term.matrix.rows["context"]))
    counts = np.zeros((len(contexts), len(term.features)))
    np.add.at(counts, group, term.matrix.values.toarray())
    size, _ = context_sizes(result.model, term)
    mean = (result.state.ln_level[0][:, transcript].exp() * size).cpu().numpy()
    table = _tidy(result.contexts, term.features, "target", measured=counts, predicted=mean)
    table.insert(0, "assay", term.name)
    table.insert(3, "readout", "transcript")
    table.insert(4, "scale", "counts in all cells of the context")
    return _with_ends(result, table, f"reading {term.name}").assign(censoring=0)


def starts(result: Result) -> pd.DataFrame:
    """Where every start ended and why, best first."""
    optimum = result.optimum
    columns = {name: getattr(optimum, name).cpu().numpy() for name in ("loss", "gradient", "steps")}
    table = pd.DataFrame({"start": np.arange(len(optimum.loss)), **columns, "reason": optimum.reasons})
    return table.sort_values("loss", kind="stable", ignore_index=True)


def _with_ends(result: Result, table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    ends = _ends(result, quantity)
    return table if ends is None else table.assign(lower=ends[0].ravel(), upper=ends[1].ravel())


def _ends(result: Result, quantity: str, columns: list[int] | None = None) -> tuple[np.ndarray, ...] | None:
    """Lower and upper end of a quantity, None where no intervals were asked for."""
    intervals: Intervals | None = result.intervals
    if intervals is None:
        return None
    ends = intervals.lower[quantity], intervals.upper[quantity]
    return ends if columns is None else tuple(end[columns] for end in ends)


def _tidy(contexts: list[str], names: list[str], column: str, **values: np.ndarray) -> pd.DataFrame:
    """One row per context and name, from arrays of shape (context, name)."""
    table = pd.DataFrame({"context": np.repeat(contexts, len(names)), column: np.tile(names, len(contexts))})
    return table.assign(**{key: array.ravel() for key, array in values.items()})
