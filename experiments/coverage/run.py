"""Do 90 % intervals hold the truth in 90 % of cases? Draw a truth, simulate its data, fit, look; many times.

    python experiments/coverage/run.py [--problem small|CONFIG.toml] [--replicates 40] [--starts 4]
                                       [--workers 2] [--out FOLDER] [--json]

Every replicate draws all parameters from their priors and all measurements from their likelihoods, fits them
and asks for intervals as a user would. `--out` keeps one file per replicate; a second call with the same
folder carries on where the first one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one replicate per process is the better use of a core

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from small import small_problem
from torch import Tensor

import multiscale as ms
from multiscale import atomic
from multiscale.config import read_config
from multiscale.errors import DataError
from multiscale.fit.objective import Posterior
from multiscale.model.synthetic import draw_prior, synthesise
from multiscale.runs.problem import problem_from_config

LEVELS = (0.9, 0.5)
DRAWS = 1000
PRIOR_DRAWS = 400
DETERMINED = 0.5  # posterior sd below this part of the prior's, as for `determinedBy` = data


@dataclass(frozen=True)
class Settings:
    """What a replicate depends on besides its seed."""

    problem: str
    starts: int


@cache
def original(problem: str) -> ms.Problem:
    """The problem whose design is simulated."""
    if problem == "small":
        return small_problem()
    return problem_from_config(read_config(problem))[0]


def replicate(settings: Settings, seed: int) -> dict[str, object]:
    """One truth, its data, its fit and its intervals; says why if one of them fails."""
    began = time.perf_counter()
    try:
        simulation = synthesise(original(settings.problem), seed=seed)
        result = ms.fit(
            simulation.problem, starts=settings.starts, seed=seed, accelerator="cpu", draws=0, progress=False
        )
        if result.laplace is None:
            raise DataError("the fit ended where the posterior has no minimum: no intervals")
        draws, truth = result.laplace.draws(DRAWS, seed=0), simulation.theta
        table = pd.concat([parameters(result, truth, draws), derived(result, truth, draws, settings)])
    except ms.MultiscaleError as error:
        return {"seed": seed, **asdict(settings), "failed": str(error)}
    return {
        "seed": seed,
        **asdict(settings),
        "seconds": time.perf_counter() - began,
        "rise_of_truth": rise(result, simulation.theta),
        "parameters": result.model.parameters.size,
        "near": int((result.optimum.loss <= result.optimum.loss.min() + 2).sum()),
        "table": table.to_dict(orient="list"),
    }


def rise(result: ms.Result, truth: Tensor) -> float:
    """How far the loss of the truth lies above the fit, nats; negative if a better optimum was missed."""
    with torch.no_grad():
        loss = Posterior(result.model)(torch.cat([truth, result.theta]), torch.arange(2))
    return float(loss[0] - loss[1])


def parameters(result: ms.Result, truth: Tensor, draws: Tensor) -> pd.DataFrame:
    """Every parameter: is the truth within the ends that the table of results states?"""
    stated, model = result.parameters, result.model
    linear = torch.as_tensor((stated["parameterScale"] == "log").to_numpy())
    flat = model.parameters.flat(truth)[0]
    true = torch.where(linear, flat.exp(), flat).numpy()
    z = ((truth - draws.mean(0)) / draws.std(0))[0].numpy()
    return pd.DataFrame(
        {
            "group": stated["role"],
            "name": stated["parameterName"],
            "determined": stated["determinedBy"] == "data",
            "z": z,
            "within_90": (stated["lower"] <= true) & (true <= stated["upper"]),
            "within_50": _within(truth[0].numpy(), draws.numpy(), 0.5),
        }
    )


def derived(result: ms.Result, truth: Tensor, draws: Tensor, settings: Settings) -> pd.DataFrame:
    """Quantities that follow from all parameters, by draws from the approximate posterior."""
    true = quantities(result.model, truth)
    drawn = quantities(result.model, draws)
    prior_sd = prior_spread(settings.problem)
    tables = []
    for group, values in drawn.items():
        mean, sd = values.mean(0), values.std(0)
        within = [_within(true[group][0], values, level) for level in LEVELS]
        frame = {"determined": sd <= DETERMINED * prior_sd[group], "z": (true[group][0] - mean) / sd}
        frame |= {f"within_{100 * level:.0f}": inside for level, inside in zip(LEVELS, within, strict=True)}
        tables.append(pd.DataFrame(frame).assign(group=group, name=[f"{group} {i}" for i in range(len(sd))]))
    return pd.concat(tables)


def _within(true: np.ndarray, values: np.ndarray, level: float) -> np.ndarray:
    lower, upper = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return (lower <= true) & (true <= upper)


@cache
def prior_spread(problem: str) -> dict[str, np.ndarray]:
    """Standard deviations of derived quantities under the priors alone."""
    model, generator = ms.Model(original(problem)), np.random.default_rng(0)
    theta = torch.cat([draw_prior(model.parameters, generator) for _ in range(PRIOR_DRAWS)])
    return {group: values.std(0) for group, values in quantities(model, theta).items()}


def quantities(model: ms.Model, theta: Tensor) -> dict[str, np.ndarray]:
    """Derived quantities of every draw whose equilibria were solved, each (draw, quantity)."""
    molecules, network = len(model.problem.network.molecules), model.problem.network
    parts: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for rows in theta.split(100):
            state = model.state(rows)
            found = {
                "energy of a complex": state.g[:, _complexes(network)],
                "ln copies in a context": state.ln_total,
                "ln concentration of a complex": state.ln_x[:, :, molecules:],
            }
            for group, values in found.items():
                parts.setdefault(group, []).append(values[state.solved].flatten(1))
    return {group: torch.cat(values).numpy() for group, values in parts.items()}


def _complexes(network) -> list[int]:
    return [network.all_species.index(name) for name in network.complexes + network.pair_complexes]


def coverage(replicates: list[dict]) -> pd.DataFrame:
    """Share of truths within the intervals, per group, for all values and for those that data determine."""
    tables = [pd.DataFrame(item["table"]).assign(seed=item["seed"]) for item in replicates]
    table = pd.concat(tables, ignore_index=True)
    groups = list(dict.fromkeys(table["group"]))
    chosen = [(group, table[table["group"] == group]) for group in groups]
    rows = []
    for group, part in [*chosen, ("all parameters", table[~table["group"].isin(_derived_groups(table))])]:
        for which, values in (("all", part), ("determined", part[part["determined"]])):
            if len(values):
                rows.append({"group": group, "values": which, **_row(values)})
    return pd.DataFrame(rows)


def _derived_groups(table: pd.DataFrame) -> list[str]:
    return [group for group in set(table["group"]) if group.startswith(("ln ", "energy of"))]


def _row(values: pd.DataFrame) -> dict[str, float]:
    row: dict[str, float] = {"number": len(values)}
    for level in LEVELS:
        name = f"{100 * level:.0f}"
        share, lower, upper = share_with_range(values[f"within_{name}"], values["seed"])
        row |= {f"coverage_{name}": share, f"lower_{name}": lower, f"upper_{name}": upper}
    return row | {"mean_z": values["z"].mean(), "sd_z": values["z"].std(ddof=0)}


def share_with_range(inside: pd.Series, replicate: pd.Series) -> tuple[float, float, float]:
    """Share of truths inside, with a 95 % confidence range.

    Values of one replicate share its data and its truth, so that they count for less than as many independent
    ones: the number is divided by the design effect, and Wilson's range for a binomial share is taken.

    Source: Kish 1965, Survey Sampling, section 5.4 (design effect of clusters); Wilson 1927.
    """
    share, number = inside.mean(), len(inside)
    if not 0 < share < 1:
        effective = float(replicate.nunique())
    else:
        excess = (inside - share).groupby(replicate).sum()
        effective = number / max(1.0, (excess**2).sum() / (number * share * (1 - share)))
    trials = max(1, round(effective))
    found = binomtest(round(share * trials), trials).proportion_ci(method="wilson")
    return share, found.low, found.high


def run(
    settings: Settings, seeds: list[int], workers: int, folder: Path | None
) -> Iterator[dict[str, object]]:
    """Replicates as they finish; those that lie in the folder first."""
    missing = []
    for seed in seeds:
        file = folder / f"{seed:05d}.json" if folder else None
        if file and file.exists():
            yield _stored(file, settings)
        else:
            missing.append(seed)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(replicate, settings, seed) for seed in missing]
        for job in as_completed(jobs):
            found = job.result()
            if folder:
                with atomic.replace(folder / f"{found['seed']:05d}.json") as temporary:
                    temporary.write_text(json.dumps(found, default=float))
            yield found


def _stored(file: Path, settings: Settings) -> dict[str, object]:
    found = json.loads(file.read_text())
    if {name: found[name] for name in asdict(settings)} != asdict(settings):
        raise SystemExit(f"{file} was made with other settings; give another folder to `--out`.")
    return found


def text(table: pd.DataFrame) -> str:
    """The table in Markdown."""
    lines = [
        "| quantity | values | number | coverage of 90 % | coverage of 50 % | mean z | sd of z |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table.itertuples():
        shares = [
            f"{100 * getattr(row, f'coverage_{n}'):.1f} "
            f"({100 * getattr(row, f'lower_{n}'):.0f}–{100 * getattr(row, f'upper_{n}'):.0f})"
            for n in ("90", "50")
        ]
        lines.append(
            f"| {row.group} | {row.values} | {row.number} | {shares[0]} | {shares[1]} | "
            f"{row.mean_z:+.2f} | {row.sd_z:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the coverage table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problem", default="small", help="small, or the TOML file of a fit")
    parser.add_argument("--replicates", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="seed of the first replicate")
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder that keeps replicates")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    seeds = list(range(options.first, options.first + options.replicates))
    finished = []
    for item in run(Settings(options.problem, options.starts), seeds, options.workers, options.out):
        finished.append(item)
        note = item.get("failed") or f"{item['seconds']:.1f} s, truth {item['rise_of_truth']:+.1f} nats"
        print(f"{len(finished)}/{len(seeds)}: seed {item['seed']}, {note}", file=sys.stderr, flush=True)
    report(finished, options.json)


def report(finished: list[dict], as_json: bool) -> None:
    """Print the table, and what happened on the way."""
    good = [item for item in finished if "failed" not in item]
    if not good:
        raise SystemExit("no replicate was fitted; the reasons stand above.")
    table = coverage(good)
    if as_json:
        print(json.dumps({"table": table.to_dict(orient="records"), **summary(good, finished)}, indent=2))
        return
    print(text(table))
    print()
    for name, value in summary(good, finished).items():
        print(f"{name.replace('_', ' ')}: {value}")


def summary(good: list[dict], finished: list[dict]) -> dict[str, object]:
    """How many replicates, how many failed or missed a better optimum, how long one took."""
    above = np.array([item["rise_of_truth"] for item in good])
    return {
        "replicates": len(good),
        "failed": [f"seed {item['seed']}: {item['failed']}" for item in finished if "failed" in item],
        "truth_better_than_fit": int((above < 0).sum()),
        "rise_of_truth_in_nats": f"{above.mean():.1f} ± {above.std():.1f}",
        "half_the_number_of_parameters": good[0]["parameters"] / 2,
        "median_seconds": round(float(np.median([item["seconds"] for item in good])), 1),
    }


if __name__ == "__main__":
    main()
