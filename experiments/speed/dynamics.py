"""Time courses of reaction networks: `time_course` beside libRoadRunner and diffrax, in one run.

    python experiments/speed/dynamics.py [--quick] [--json] [--networks mapk] [--rtol 1e-6 | --error 1e-5]

Every row is one tool, task and batch size; the rows of a network take turns on one core, so that other work
on the machine slows all of them alike. All tools get the same tolerances, or, with `--error`, each the
loosest one that reaches this error; errors are measured against a reference that is 10⁶ times tighter, so
that speed is compared at known accuracy. A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
if hasattr(os, "sched_setaffinity"):  # Linux: whatever a tool starts stays on one core
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np
import torch
from networks import Network, mapk_cascade, oregonator, perturbed, random_network, robertson
from peers import INSTALL, Diffrax, RoadRunner
from reference import Truth

from multiscale.passing.reactions import Reactions
from multiscale.physics.mass_action import mass_action
from multiscale.solver.time_course import time_course

NETWORKS = {
    "robertson": robertson,
    "oregonator": oregonator,
    "mapk": mapk_cascade,
    "random100": random_network,
    "random1000": lambda: random_network(1000, 3000),
}
LARGE = 500  # species, from which on a reference and diffrax take many minutes
LADDER = 10.0 ** np.arange(-3, -10.5, -0.5)  # relative tolerances tried for a given error


class Ours:
    """`time_course` with its adjoint gradient."""

    name = "ours"

    def __init__(self, network: Network) -> None:
        size = len(network.x0)
        rows = [
            (mass_action(len(reactants)), [size + 1 + r, *reactants], change)
            for r, (reactants, change) in enumerate(zip(network.reactants, network.change, strict=True))
        ]
        self.network, self.system = network, Reactions.build(size, len(network.k), rows)
        self.x0, self.times = torch.tensor(network.x0), torch.tensor(network.times)

    def tolerance(self, rtol: float) -> None:
        """Set rtol and, in proportion, atol."""
        self.rtol, self.atol = rtol, self.network.absolute(rtol)

    def prepare(self, k: np.ndarray, gradient: bool) -> None:
        """Whatever a first call does: symbolic analysis, compilation."""
        (self.gradient if gradient else self.value)(k[:1])

    def value(self, k: np.ndarray) -> np.ndarray:
        """Concentrations at the output times, (system, time, species)."""
        return self._solve(torch.tensor(k)).x.numpy()

    def gradient(self, k: np.ndarray) -> np.ndarray:
        """Derivative of Σ x², (system, reaction)."""
        constants = torch.tensor(k, requires_grad=True)
        return torch.autograd.grad(self._solve(constants).x.square().sum(), constants)[0].numpy()

    def steps(self, k: np.ndarray) -> int:
        """Number of steps, rejected ones included."""
        course = self._solve(torch.tensor(k[None]))
        return int(course.steps + course.rejected)

    def _solve(self, k: torch.Tensor):
        x0 = self.x0.expand(len(k), -1)
        course = time_course(self.system, x0, k, self.times, rtol=self.rtol, atol=self.atol)
        if not course.solved.all():
            raise RuntimeError(f"{int((~course.solved).sum())} of {len(k)} systems failed")
        return course


@dataclass
class Row:
    """One line of the table; times in ms per system."""

    network: str
    tool: str
    task: str
    batch: int
    rtol: float
    ready_s: float
    steps: int | None = None
    error: float | None = None
    seconds: list[float] = field(default_factory=list)
    ours_over_this: float = float("nan")

    @property
    def ms(self) -> np.ndarray:
        """Milliseconds per system of every run but the first, unless it is the only one."""
        return 1e3 / self.batch * np.array(self.seconds[1:] or self.seconds)


def built(network: Network) -> tuple[list, list[str]]:
    """Every tool with its seconds of construction, and notes on what was left out."""
    found, notes = [], []
    for kind in (Ours, RoadRunner, Diffrax):
        if kind is Diffrax and len(network.x0) > LARGE:
            notes.append(f"{network.name}: diffrax left out, it takes minutes per system.")
            continue
        begin = time.perf_counter()
        try:
            found.append((kind(network), time.perf_counter() - begin))
        except ImportError as missing:
            notes.append(f"{kind.name} left out, {missing}; to install the peers: {INSTALL}")
    return found, notes


def loosest(tool, k: np.ndarray, truth: Truth, target: float) -> float:
    """The loosest relative tolerance whose error is small enough, and set it."""
    for rtol in LADDER.tolist():
        tool.tolerance(rtol)
        try:
            reached = truth.value_error(tool.value(k))
        except RuntimeError:  # at this tolerance the tool does not come to an end
            continue
        if reached is not None and reached <= target:
            return rtol
    raise ValueError(f"`--error` must be one that {tool.name} reaches on {truth.network.name}; got {target}")


def tool_rows(
    tool, building: float, constants: np.ndarray, truth: Truth, options
) -> list[tuple[Row, Callable]]:
    """Rows of one tool without times, each with the call to be timed."""
    name, rtol, rows = truth.network.name, options.rtol, []
    tool.tolerance(rtol)
    quick = options.quick and tool.name == Diffrax.name  # which compiles for every batch size
    for gradient in (False, True) if tool.gradient else (False,):
        for k in (constants[:1],) if quick else (constants[:1], constants):
            begin = time.perf_counter()
            tool.prepare(k, gradient)
            ready = building + time.perf_counter() - begin
            if options.error and truth.x and not rows:
                rtol = loosest(tool, k, truth, options.error)
            row = Row(name, tool.name, "value and gradient" if gradient else "value", len(k), rtol, ready)
            if not rows:
                row.steps = tool.steps(k[0])
            rows.append((row, lambda k=k, call=tool.gradient if gradient else tool.value: call(k)))
    return rows


def alternate(rows: list[tuple[Row, Callable]], repeats: int, budget: float) -> list[np.ndarray]:
    """Time rows in turns and return their last results; a row that has used up its seconds sits out."""
    results: list[np.ndarray] = [np.empty(0)] * len(rows)
    for _ in range(repeats):
        for i, (row, call) in enumerate(rows):
            if sum(row.seconds) < budget:
                begin = time.perf_counter()
                results[i] = call()
                row.seconds.append(time.perf_counter() - begin)
    best = {(row.task, row.batch): row.ms.min() for row, _ in rows if row.tool == Ours.name}
    for row, _ in rows:
        row.ours_over_this = best[row.task, row.batch] / row.ms.min()
    return results


def measure_network(network: Network, options) -> tuple[list[Row], list[str]]:
    """Rows of one network, and notes."""
    many, repeats, budget = (8, 3, 1.0) if options.quick else (64, 10, 4.0)
    constants = perturbed(network, 8 if len(network.x0) > LARGE else many)
    truth = Truth(network, [], None) if len(network.x0) > LARGE else Truth.of(network, constants)
    tools, notes = built(network)
    rows = [row for tool, building in tools for row in tool_rows(tool, building, constants, truth, options)]
    for (row, _), found in zip(rows, alternate(rows, repeats, budget), strict=True):
        is_value = row.task == "value"
        row.error = truth.value_error(found) if is_value else truth.gradient_error(found, constants)
        failed = row.batch - int(np.isfinite(found.reshape(row.batch, -1)).all(1).sum())
        if failed:
            notes.append(
                f"{row.network}: {row.tool}, {row.task}: {failed} of {row.batch} systems without result."
            )
    return [row for row, _ in rows], notes


def table(measured: dict[Network, list[Row]], notes: list[str]) -> str:
    """The numbers as text."""
    lines = [
        f"{'':39}{'ms per system, one core':^30}{'ours ÷':>10}{'':>22}{'ready':>8}",
        f"{'tool':14}{'task':19}{'batch':>6}{'best':>10}{'median':>10}{'worst':>10}{'this':>10}"
        f"{'rtol':>8}{'error':>8}{'steps':>6}{'in s':>8}",
    ]
    for network, rows in measured.items():
        sizes = f"{len(network.x0)} species, {len(network.k)} reactions, {len(network.times)} times"
        lines += ["", f"{network.name}: {sizes}; atol = {network.absolute(1.0):.0e} rtol"]
        lines += [line(row) for row in rows]
    return "\n".join([*lines, "", *dict.fromkeys(notes)]).rstrip()


def line(row: Row) -> str:
    """One line of the table."""
    times = "".join(f"{ms:10.3f}" for ms in (row.ms.min(), np.median(row.ms), row.ms.max()))
    ratio = f"{row.ours_over_this:10.3f}" if row.tool != Ours.name else " " * 10
    reached = "" if row.error is None else f"{row.error:.0e}"
    found = f"{row.rtol:8.0e}{reached:>8}{row.steps or '':>6}{row.ready_s:8.1f}"
    return f"{row.tool:14}{row.task:19}{row.batch:6}{times}{ratio}{found}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="small batches, fewer networks and repeats")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("--rtol", type=float, default=1e-6, help="relative tolerance; atol is in proportion")
    parser.add_argument("--error", type=float, help="instead of one rtol: what every tool reaches")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = ["robertson", "mapk", "random100"] if options.quick else list(NETWORKS)[:4]
    measured: dict[Network, list[Row]] = {}
    notes: list[str] = []
    for name in options.networks or chosen:
        network = NETWORKS[name]()
        measured[network], more = measure_network(network, options)
        notes += more
    rows = [asdict(row) | {"ms": row.ms.tolist()} for rows in measured.values() for row in rows]
    print(json.dumps({"rows": rows, "notes": notes}, indent=2) if options.json else table(measured, notes))


if __name__ == "__main__":
    main()
