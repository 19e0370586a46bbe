"""Time the exact Hessian of the demo's posterior: all contexts at once, beside one parameter at a time.

Usage: python experiments/speed/curvature.py [--repeats 5]
"""

import argparse
import time
from collections.abc import Callable

import torch

from multiscale.config import read_config
from multiscale.content import find
from multiscale.fit.curvature import hessian
from multiscale.fit.objective import Posterior
from multiscale.fit.optimise import evaluate
from multiscale.model import Model
from multiscale.runs import problem_from_config


def seconds(what: Callable[[], object], repeats: int) -> float:
    """Shortest wall time of several calls, after one that does not count, s."""
    what()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        what()
        times.append(time.perf_counter() - began)
    return min(times)


def main(repeats: int) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    problem, _ = problem_from_config(read_config(find("experiments", "pbmc_complexes/config.toml")))
    model = Model(problem)
    parameters, theta = model.parameters, torch.zeros(1, model.parameters.size, dtype=torch.float64)
    row, local = torch.zeros(1, dtype=torch.int64), parameters.local()
    probes = parameters.size - sum(block.numel() - block.shape[1] for block in local)
    table = {
        "value and gradient": lambda: evaluate(Posterior(model), theta, row),
        f"Hessian, {probes} products": lambda: hessian(Posterior(model), theta, 0, local),
        f"Hessian, {parameters.size} products": lambda: hessian(Posterior(model), theta),
    }
    times = {name: seconds(what, repeats) for name, what in table.items()}
    first = times["value and gradient"]
    for name, value in times.items():
        print(f"{name:30s} {value:8.3f} s  {value / first:7.0f} gradients")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    main(parser.parse_args().repeats)
