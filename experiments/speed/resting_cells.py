"""Steady states of single cells: milliseconds per batch, from their own start and from an earlier state.

    python experiments/speed/resting_cells.py [--cells 64 192] [--repeats 12]

Cells of the B-cell signalling network, half of them stimulated, with totals and constants drawn about their
priors; the earlier state is that of totals that differ by 10 %. One thread, processor time, medians.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import multiscale as ms
from multiscale.data import Interventions
from multiscale.model.cells import CellPhysics, make_physics

SPREAD, CHANGE = 0.7, 0.1
"""Sd of ln totals between cells, and of what changes between two solves."""


def network() -> CellPhysics:
    """The network at rest and stimulated."""
    rows = pd.DataFrame({"context": ["rest", "on"], "kind": "set", "target": "BCRXL", "value": [0.0, 1.0]})
    return make_physics(ms.read_graph("bcr_signalling"), "steady_state", ["rest", "on"], Interventions(rows))


def milliseconds(
    physics: CellPhysics, cells: int, repeats: int, generator: torch.Generator
) -> dict[str, float]:
    """Medians of solves and of the gradient."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    theta = (0.5 * normal(1, physics.parameters.size)).requires_grad_()
    condition, found = torch.arange(cells) % 2, {"cold": [], "warm": [], "gradient": []}
    for _ in range(repeats):
        ln_total = SPREAD * normal(cells, len(physics.molecules))
        near = physics(theta, ln_total + CHANGE * normal(*ln_total.shape), condition).warm
        for name, start in (("cold", None), ("warm", near)):
            began = time.process_time()
            state = physics(theta, ln_total, condition, start)
            found[name].append(time.process_time() - began)
        began = time.process_time()
        state.ln_x.sum().backward()
        found["gradient"].append(time.process_time() - began)
    return {name: 1e3 * float(np.median(values)) for name, values in found.items()}


def main() -> None:
    """Print a row per size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[64, 192])
    parser.add_argument("--repeats", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    physics, generator = network(), torch.Generator().manual_seed(0)
    print("| cells | from their start, ms | from an earlier state, ms | gradient, ms |\n|---|---|---|---|")
    for cells in given.cells:
        took = milliseconds(physics, cells, given.repeats, generator)
        print(f"| {cells} | {took['cold']:.0f} | {took['warm']:.0f} | {took['gradient']:.0f} |")


if __name__ == "__main__":
    main()
