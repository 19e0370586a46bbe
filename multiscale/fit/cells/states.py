"""Latent and physical states of cells, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from multiscale.data.cells import CellBatch
from multiscale.fit.cells.predict import CHUNK, Reader
from multiscale.fit.cells.training import ACTIVE
from multiscale.fit.cells.worlds import World
from multiscale.model.cells import CellModel
from multiscale.model.network import Network

__all__ = ["CellStates", "active_units", "loadings", "states"]


@dataclass(frozen=True)
class CellStates:
    """States of some cells at the means of their posteriors, one row per cell, NaN where not solved.

    Args:
        latent: posterior means of z, (cell, latent).
        latent_sd: posterior standard deviations, same shape.
        totals: copies per cell of every molecule in all its forms, (cell, molecule).
        surface: copies on membranes, 0 where it has no such form, same shape.
        concentrations: of species in their compartments, µM, (cell, species).
        pathways: Σ_i sign_i w_i ln x_i (µM), (cell, pathway); see `CellResult.pathways` for the reference.
    """

    latent: pd.DataFrame
    latent_sd: pd.DataFrame
    totals: pd.DataFrame
    surface: pd.DataFrame
    concentrations: pd.DataFrame
    pathways: pd.DataFrame


def states(reader: Reader, there: World, size: int = CHUNK) -> Iterator[CellStates]:
    """States of cells, some at a time.

    Args:
        reader: which cells.
        there: physics in which they are.
        size: cells at a time.
    """
    network = None if there.physics is None else Network.from_graph(reader.model.problem.graph)  # pyright: ignore[reportArgumentType]
    for where, batch in reader.chunks(size):
        with torch.no_grad():
            mean, ln_sd = reader.model.encode(batch)
            parts = _physical(there, network, mean, batch)
        latent = [f"z{i + 1}" for i in range(mean.shape[1])]
        index = reader.names[where]
        tables = {"latent": (mean, latent), "latent_sd": (ln_sd.exp(), latent), **parts}
        yield CellStates(
            **{
                name: pd.DataFrame(values.cpu().numpy().astype(float), index=index, columns=pd.Index(columns))
                for name, (values, columns) in tables.items()
            }
        )


def _physical(
    there: World, network: Network | None, z: Tensor, batch: CellBatch
) -> dict[str, tuple[Tensor, list[str]]]:
    """Values and columns of the physical tables; no columns without a graph."""
    state = there.state(z, batch)
    if state is None or there.physics is None or network is None:
        nothing = (z.new_zeros(len(z), 0), [])
        return dict.fromkeys(("totals", "surface", "concentrations", "pathways"), nothing)

    def known(values: Tensor) -> Tensor:
        return torch.where(state.solved[:, None], values, torch.nan)

    physics, within = there.physics, len(network.species)
    weight = torch.as_tensor(network.pathway_weights[:, :within], dtype=torch.float64, device=z.device)
    members = torch.where(weight != 0, weight, 0.0)
    order = [physics.species.index(name) for name in network.species]
    return {
        "totals": (known(state.ln_total.exp()), list(physics.counted)),
        "surface": (known(state.ln_surface.exp()), list(physics.counted)),
        "concentrations": (known(state.ln_x.exp()), list(physics.species)),
        "pathways": (known(_pooled(state.ln_x[:, order], members)), list(network.pathways)),
    }


def _pooled(ln_x: Tensor, weight: Tensor) -> Tensor:
    """Σ_i w_i ln x_i over members alone, so that a species that is absent is −inf only where it counts."""
    absent = torch.isinf(ln_x)
    pooled = torch.where(absent, 0.0, ln_x) @ weight.T
    lost = absent.to(weight.dtype) @ weight.T
    return torch.where(lost != 0, -torch.inf * lost.sign(), pooled)


def active_units(latent: pd.DataFrame) -> int:
    """Latent dimensions in which posterior means vary by more than 0.01 over cells."""
    return int((latent.var(ddof=0) > ACTIVE).sum())


def loadings(model: CellModel) -> dict[str, pd.DataFrame]:
    """How much ln signal of every feature changes per unit of z around 0, (feature, latent), by modality.

    Exact for what a decoder explains, whose ln signal is linear in z; of features that read the graph it is
    the difference over ±½ under the condition and batch that most cells have.
    """
    size, problem = model.problem.latent, model.problem
    step = 0.5 * torch.eye(size, dtype=model.dtype, device=model.graph_theta.device)
    z = torch.cat([step, -step])
    typical = {
        name: int(np.bincount(codes.codes).argmax())
        for name, codes in (("batch", problem.cells.batch), ("condition", problem.cells.condition))
    }
    codes = {
        name: torch.full((2 * size,), code, dtype=torch.int64, device=z.device)
        for name, code in typical.items()
    }
    index = torch.arange(2 * size, device=z.device)
    batch = CellBatch(index, {}, {}, {}, {}, codes["batch"], codes["condition"], 2 * size)
    with torch.no_grad():
        signals = model.signals(z, model.state(z, batch), batch)
    return {
        name: pd.DataFrame(
            (ln_signal[:size] - ln_signal[size:]).T.double().cpu().numpy(),
            index=pd.Index(problem.cells.modalities[name].features),
            columns=pd.Index([f"z{i + 1}" for i in range(size)]),
        )
        for name, (ln_signal, _) in signals.items()
    }
