"""The same question to `ms.Problem`: a few cells as contexts, the totals of each fitted with all the rest.

With as many totals as readings the noise cannot be fitted too (its sd would go to zero), so it is stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from population import Population, is_inhibited
from torch import Tensor

import multiscale as ms
from multiscale.data import MeasurementTable, cell_contexts, from_measurements
from multiscale.fit.train import train
from multiscale.graph.rates import reactions_of

__all__ = ["fit_cells", "problem"]


def problem(
    graph: ms.Graph, config: Mapping[str, Any], cells: Sequence[np.ndarray], used: Sequence[int]
) -> ms.Problem:
    """Cells of some conditions as contexts at steady state.

    Args:
        graph: the network.
        config: content of config.toml.
        cells: ln readings of every condition, (cell, marker).
        used: positions of the conditions.
    """
    chosen, rng = config["single_cells"], np.random.default_rng(config["seed"])
    species = list(config["readouts"].values())
    readings, changes = [], []
    for position in used:
        name, condition = list(config["conditions"].items())[position]
        done = [("set", given, "1") for given in condition["inputs"]]
        slow = [reaction.name for reaction in reactions_of(graph) if is_inhibited(reaction, condition)]
        done += [("inhibit", reaction, condition["efficacy"]) for reaction in slow]
        values = cells[position]
        for i in rng.choice(len(values), chosen["cells"], replace=False):
            context = f"{name} {i}"
            changes += [(context, *row) for row in done]
            marks = np.exp(values[i]).tolist()
            readings += [(context, name, repr(mark)) for name, mark in zip(species, marks, strict=True)]
    mean, sd = config["priors"]["scale"]
    assay = ms.assays.Concentration(scale_mean=mean, scale_sd=sd)
    table = pd.DataFrame(readings, columns=["context", "target", "value"]).assign(sd=str(chosen["noise"]))
    contexts = cell_contexts(dict.fromkeys(table["context"]))
    columns = ["context", "kind", "target", "value"]
    contexts = contexts.with_interventions(pd.DataFrame(changes, columns=columns))
    measured = MeasurementTable("flow", assay, assay.prepare(table, where="flow"))
    data, priors = from_measurements(measured, contexts=contexts), ms.Priors(abundance_sd=chosen["total"])
    return ms.Problem(graph, data, regime="steady_state", priors=priors)


def fit_cells(
    population: Population,
    graph: ms.Graph,
    config: Mapping[str, Any],
    cells: Sequence[np.ndarray],
    left_out: int,
) -> dict[str, Tensor]:
    """Fit the cells of all other conditions; parameters of the population by block, each (1, number)."""
    chosen = config["single_cells"]
    model, optimum = train(
        problem(graph, config, cells, [i for i in range(len(cells)) if i != left_out]),
        starts=1,
        seed=config["seed"],
        adam_steps=chosen["adam_steps"],
        max_steps=chosen["steps"],
        accelerator="cpu",
        progress=False,
    )
    found = model.parameters.unpack(optimum.theta)
    named = {
        label.removeprefix("all|"): value
        for block in model.parameters.blocks
        if block.name != "abundance"
        for label, value in zip(block.labels, found[block.name][0], strict=True)
    }
    named |= {marker: named[species] for marker, species in config["readouts"].items()}
    parameters = population.parameters
    values = parameters.unpack(torch.zeros(1, parameters.size, dtype=torch.float64))
    for name in ("rate", "efficacy", "scale"):
        for i, label in enumerate(parameters[name].labels):
            values[name][0, i] = named.get(label, values[name][0, i])  # what no cell tells stays at its prior
    for name in ("total", "noise"):
        values[name] = torch.full_like(values[name], float(np.log(chosen[name])))
    values["shift"] = torch.tensor([[-torch.inf]], dtype=torch.float64)  # the problem has none
    return values
