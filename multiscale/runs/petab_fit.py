"""What `multiscale petab --fit` does: a folder with the search, tables, plots and a summary."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from multiscale import atomic
from multiscale.errors import ConfigError, OutputError, nearest
from multiscale.fit.petab.multistart import Settings
from multiscale.fit.petab.objective import Objective
from multiscale.fit.petab.result import SEARCHING, PetabFit, fit_petab
from multiscale.fit.petab.starts import Sampling
from multiscale.fit.trust_region import Ended, Search
from multiscale.formats.petab.read import read_petab
from multiscale.formats.petab.write import write_parameters
from multiscale.runs.lock import lock

__all__ = ["fit_from_command", "fit_to_folder"]

SEARCH = "search.npz"


def fit_to_folder(
    path: Path,
    out: Path,
    settings: Settings,
    *,
    profiles: bool = True,
    solver: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Callable[[Search], None] | None = None,
    profile_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Fit a PEtab problem and write everything about it to a folder.

    The folder holds `search.npz`, the state of the search: a fit that was interrupted goes on from there when
    the command is given again. When it is done: `parameters.tsv` (a PEtab parameter table, the estimates as
    nominal values and the intervals in further columns), `starts.tsv`, `profiles.tsv`, `simulation.tsv`
    (measurements with what the fit says), `waterfall.png`, `parameters.png`, `profiles.png`, `fits.png`,
    `summary.json`.

    Args:
        path: YAML file of the problem.
        out: folder; made if need be.
        settings: starts, seed, tolerances.
        profiles: whether to compute profile intervals.
        solver: options of the objective in place of `SEARCHING`, such as `rtol`.
        overwrite: begin anew where the folder holds a finished fit.
        progress, profile_progress: called while the search and the profiles go on.

    Returns:
        Content of `summary.json`.

    Raises:
        OutputError: the folder holds something else, or a finished fit and `overwrite` is not set.
    """
    problem = read_petab(path)
    _check(out, overwrite)
    out.mkdir(parents=True, exist_ok=True)
    with lock(out / ".lock"):
        objective = Objective(problem, **{**SEARCHING, **(solver or {})})
        result = fit_petab(
            problem,
            settings,
            profiles=profiles,
            checkpoint=out / SEARCH,
            progress=progress,
            profile_progress=profile_progress,
            objective=objective,
        )
        return _write(result, objective, out)


def fit_from_command(
    path: Path,
    out: Path,
    starts: int,
    seed: int,
    sampling: str,
    *,
    profiles: bool,
    solver: Mapping[str, Any],
    overwrite: bool,
) -> dict[str, Any]:
    """`fit_to_folder` with a progress bar on standard error."""
    if sampling not in get_args(Sampling):
        raise ConfigError(f"`--sampling` = `{sampling}`; {nearest(sampling, get_args(Sampling))}")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bars:
        search_bar = bars.add_task("search", total=starts)
        profile_bar = bars.add_task("profiles", total=None, visible=False)

        def progress(search: Search) -> None:
            ended = int((search.ended != Ended.RUNNING).sum())
            best = float(search.at.value.min())
            words = f"search: step {search.iteration}, best objective {best:.4f}, starts ended"
            bars.update(search_bar, completed=ended, description=words)

        def profile_progress(done: int, total: int) -> None:
            words = "profiles: sides finished"
            bars.update(profile_bar, completed=done, total=total, visible=True, description=words)

        return fit_to_folder(
            path,
            out,
            Settings(starts, seed, cast(Sampling, sampling)),
            profiles=profiles,
            solver=solver,
            overwrite=overwrite,
            progress=progress,
            profile_progress=profile_progress,
        )


def _check(out: Path, overwrite: bool) -> None:
    if (out / "summary.json").exists() and not overwrite:
        raise OutputError(f"{out}: holds a finished fit; give another folder or add --overwrite.")
    if out.is_dir() and any(out.iterdir()) and not (out / SEARCH).exists() and not (out / ".lock").exists():
        raise OutputError(f"{out}: the folder is not empty and holds no fit; give another one.")
    if (out / "summary.json").exists():
        for name in (SEARCH, "summary.json"):  # so that an interruption leaves an unfinished fit
            (out / name).unlink(missing_ok=True)


def _write(result: PetabFit, objective: Objective, out: Path) -> dict[str, Any]:
    summary = {"headline": result.headline(), **result.summary()}
    intervals = result.parameters.drop(columns=["scale", "theta"])
    write_parameters(result.problem, out / "parameters.tsv", intervals)
    simulation = objective.simulate(result.parameters["theta"].to_numpy(float))
    simulation["measurement"] = [measurement.value for measurement in result.problem.measurements]
    tables = {"starts": result.starts, "profiles": result.profiles, "simulation": simulation}
    for name, table in tables.items():
        with atomic.replace(out / f"{name}.tsv") as temporary:
            table.to_csv(temporary, sep="\t", index=False)
    _draw(result, objective, simulation, out)
    with atomic.replace(out / "summary.json") as temporary:
        temporary.write_text(json.dumps(_plain(summary), indent=2), encoding="utf-8")
    return summary


def _plain(summary: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON has: not finite ones become null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return plain(summary)


def _draw(result: PetabFit, objective: Objective, simulation: pd.DataFrame, out: Path) -> None:
    import matplotlib.pyplot as plt

    from multiscale.report.drawing import panels
    from multiscale.report.plots import fits, parameters, profile, waterfall

    ends = pd.DataFrame({"lower": objective.lower, "upper": objective.upper}, index=objective.names)
    pictures: dict[str, Callable[[], Any]] = {
        "waterfall": lambda: waterfall(result.starts),
        "parameters": lambda: parameters(result.starts, ends),
        "fits": lambda: fits(simulation),
    }

    def profiles() -> Any:
        names = list(dict.fromkeys(result.profiles["parameterId"]))
        ax, places = panels(None, len(names), (2.4, 2.2), most=5)
        for name, place in zip(names, places, strict=True):
            profile(result.profiles, name, place)
        return ax

    if len(result.profiles):
        pictures["profiles"] = profiles
    for name, picture in pictures.items():
        figure = picture().get_figure(root=True)
        with atomic.replace(out / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=150)
        plt.close(figure)
