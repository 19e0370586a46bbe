"""What `multiscale simulate` does: texts of the command line to a table, a plot and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiscale import atomic
from multiscale.errors import ConfigError, OutputError
from multiscale.formats import load
from multiscale.model.simulate import Trajectory, simulate
from multiscale.report import plots

__all__ = ["Request", "failure", "read_times", "run", "summary"]


@dataclass(frozen=True)
class Request:
    """A simulation as the command line states it.

    Args:
        graph: name or folder.
        times: see `read_times`; empty for a steady state.
        set: `NAME=VALUE`, or several values with commas between.
        initial: the same, for species whose name is also that of a parameter.
        doses: `NAME=VALUE@TIME`, added.
        clamps: `NAME=VALUE@TIME`, set from then on; constant species only.
        steady: whether the steady state is asked for.
        temperature: K.
        rtol: relative tolerance.
        atol: absolute tolerance, µM.
    """

    graph: str
    times: str
    set: Sequence[str] = ()
    initial: Sequence[str] = ()
    doses: Sequence[str] = ()
    clamps: Sequence[str] = ()
    steady: bool = False
    temperature: float = 310.15
    rtol: float = 1e-6
    atol: float = 1e-9


def run(request: Request, out: Path, plot: Path | None, overwrite: bool) -> Trajectory:
    """Simulate, and write the table and the plot; contexts that failed have empty cells after that time.

    Raises:
        MultiscaleError: something is wrong with the request or an output exists; nothing is written.
    """
    _check_suffixes(out, plot)
    for path in filter(None, (out, plot)):
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists; choose another name or add --overwrite.")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: the folder `{path.parent}` does not exist; make it first.")
    trajectory = _simulate(request)
    table = trajectory.frame()
    with atomic.replace(out) as temporary:
        table.to_csv(temporary, index=False, sep="\t" if out.suffix == ".tsv" else ",")
    if plot is not None:
        _draw(table, plot)
    return trajectory


def summary(trajectory: Trajectory, out: Path, plot: Path | None) -> dict[str, Any]:
    """Machine-readable account of a simulation."""
    eigenvalue = trajectory.eigenvalue
    return {
        "file": str(out),
        "plot": None if plot is None else str(plot),
        "contexts": trajectory.contexts.to_dict("list"),
        "times": len(trajectory.times) if eigenvalue is None else None,
        "species": trajectory.species,
        "status": [status.name for status in trajectory.status],
        "solved": trajectory.solved,
        "eigenvalue": None if eigenvalue is None else eigenvalue.tolist(),
    }


def failure(trajectory: Trajectory) -> str:
    """Sentence on the contexts that were not solved, '' where all were."""
    failed = [i for i, status in enumerate(trajectory.status) if not status.solved]
    if not failed:
        return ""
    first, count = failed[0], len(trajectory.status)
    row = trajectory.contexts.iloc[first].to_dict() if len(trajectory.contexts.columns) else {}
    which = ", ".join(f"{name} = {value:g}" for name, value in row.items())
    where = f" at {which}" if which else ""
    several = f" ({len(failed)} of {count} contexts failed)" if count > 1 else ""
    return f"the simulation failed{where}: {trajectory.status[first].text}{several}."


def read_times(text: str) -> np.ndarray:
    """Read times: `start:stop:count`, `log:start:stop:count`, or numbers with commas between, in s.

    Raises:
        ConfigError: the text has another form.

    >>> read_times("0:100:5").tolist(), read_times("log:1:100:3").tolist(), read_times("0,2.5").tolist()
    ([0.0, 25.0, 50.0, 75.0, 100.0], [1.0, 10.0, 100.0], [0.0, 2.5])
    """
    wrong = ConfigError(
        f"`--times` = `{text}` must be start:stop:count, log:start:stop:count or numbers with commas between,"
        " in s, such as 0:100:201."
    )
    parts = text.removeprefix("log:").split(":")
    if len(parts) == 1 and parts[0] == text:
        return np.array(_floats(text, wrong))
    if len(parts) != 3 or not parts[2].strip().isdigit() or int(parts[2]) < 2:
        raise wrong
    start, stop = (_floats(part, wrong)[0] for part in parts[:2])
    if not (np.isfinite(stop) and start < stop) or (text.startswith("log:") and start <= 0):
        raise wrong
    space = np.geomspace if text.startswith("log:") else np.linspace
    return space(start, stop, int(parts[2]))


def _simulate(request: Request) -> Trajectory:
    if request.steady == bool(request.times):
        raise ConfigError("give either `--times` (such as 0:100:201) or `--steady`.")
    times = None if request.steady else read_times(request.times)
    return simulate(
        load(request.graph),
        times,
        set=_assignments(request.set, "--set"),
        initial=_assignments(request.initial, "--initial"),
        regime="steady_state" if request.steady else "time_course",
        doses=[_dose("--dose", text) for text in request.doses],
        clamps=[_dose("--clamp", text) for text in request.clamps],
        temperature=request.temperature,
        rtol=request.rtol,
        atol=request.atol,
    )


def _assignments(texts: Sequence[str], option: str) -> dict[str, float | list[float]]:
    """`NAME=VALUE` as numbers; a name may hold `=` itself."""
    found: dict[str, float | list[float]] = {}
    for text in texts:
        name, equal, values = text.rpartition("=")
        wrong = ConfigError(
            f"`{option} {text}` must be NAME=VALUE, or NAME=VALUE,VALUE,... for a scan, with numbers."
        )
        if not (name and equal):
            raise wrong
        if name in found:
            raise ConfigError(f"`{option}` gives `{name}` twice; give it once, with commas between values.")
        numbers = _floats(values, wrong)
        found[name] = numbers if "," in values else numbers[0]
    return found


def _dose(option: str, text: str) -> tuple[str, float, float]:
    wrong = ConfigError(f"`{option} {text}` must be NAME=VALUE@TIME, with µM and s, such as L=0.5@100.")
    name, equal, rest = text.rpartition("=")
    value, at, time = rest.partition("@")
    if not (name and equal and at):
        raise wrong
    return name, _floats(value, wrong)[0], _floats(time, wrong)[0]


def _floats(text: str, wrong: ConfigError) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise wrong from None


def _check_suffixes(out: Path, plot: Path | None) -> None:
    if out.suffix not in (".csv", ".tsv"):
        raise ConfigError(f"`--out {out}` must end in .csv or .tsv.")
    if plot is not None and plot.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"`--plot {plot}` must end in .png, .svg or .pdf.")


def _draw(table: pd.DataFrame, path: Path) -> None:
    """Write the picture; the figure is closed again."""
    import matplotlib.pyplot as plt

    if not np.isfinite(table.to_numpy(float)).all(axis=1).any() or (len(table) < 2):
        raise OutputError(f"{path}: there is nothing to draw, for one row makes no line; drop `--plot`.")
    figure, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    plots.trajectory(table, ax)
    with atomic.replace(path) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)
