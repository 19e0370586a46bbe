"""One energy seen by heats and by fluorescence: intervals of each alone and of both, checked by simulation.

`python experiments/joint_energy/run.py [--replicates 100] [--out runs/joint_energy] [--overwrite]` fits the
tables of this folder (config.toml) and prints the table of the README; `--tables` draws those tables anew.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import multiscale as ms
from multiscale.assays.heat import injection_conditions
from multiscale.config import Config, read_config
from multiscale.data import Readings
from multiscale.errors import MultiscaleError
from multiscale.formats.tables import write_table
from multiscale.model.molecular import MolecularModel, MolecularProblem
from multiscale.runs.molecular import run_molecular
from multiscale.runs.molecular_problem import molecular_problem

HERE = Path(__file__).parent
TRUTH = {
    "heats": {"bind": -8.22, "enthalpy": -12.33, "offset": -4.67, "noise": np.log(0.21)},
    "fluorescence": {"bind": -8.22, "baseline": 1.0, "amplitude": -0.5, "noise": np.log(0.03)},
}
"""kcal/mol, µcal, 1: of heats as fitted to a published titration; of fluorescence assumed. See README."""

CELL_VOLUME, CELL, SYRINGE, VOLUMES = 1.3861, 8.0, 96.0, [8.0] * 30
"""mL, µM, µM, µL: a quarter of the published concentrations."""

TOTALS = np.repeat(np.geomspace(0.05, 25.0, 16), 2)  # µM of ligand to 0.5 µM of receptor, in duplicate
KINDS = {"heats alone": ["heats"], "fluorescence alone": ["fluorescence"], "both": ["heats", "fluorescence"]}
QUICK = {"starts": 1, "adam_steps": 0, "max_steps": 40}  # two parameters decide, and the loss has one minimum
QUANTITIES = {"ΔG": "bind", "ΔH": "heats_enthalpy_all"}


def main() -> None:
    """Fit the tables, simulate replicates, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/joint_energy"))
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--tables", action="store_true")
    try:
        run(parser.parse_args())
    except MultiscaleError as error:
        parser.exit(2, f"{error}\n")


def run(given: argparse.Namespace) -> None:
    """What the arguments say."""
    began = time.perf_counter()
    config = read_config(HERE / "config.toml")
    if given.tables:
        write_tables(config)
    run_molecular(
        config, given.out, resume=given.out.is_dir() and not given.overwrite, overwrite=given.overwrite
    )
    problem = molecular_problem(config).problem
    here = intervals(config, problem, problem.readings)
    found = [
        intervals(config, problem, drawn(problem, seed), **QUICK) for seed in range(1, given.replicates + 1)
    ]
    show(here, pd.concat(found), given.replicates)
    print(f"{given.replicates} replicates, {time.perf_counter() - began:.0f} s")


def drawn(problem: MolecularProblem, seed: int) -> dict[str, Readings]:
    """The same rows with values drawn at the true energies."""
    model, generator, result = MolecularModel(problem), torch.Generator().manual_seed(seed), {}
    for name, part in model.instruments.items():
        u = torch.tensor([TRUTH[name][scalar] for scalar in part.scalars], dtype=torch.float64)
        values = part.draw(u.expand(1, part.rows, -1), generator)[0].numpy()
        old = problem.readings[name]
        result[name] = replace(old, arrays=old.arrays | {"value": values})
    return result


def intervals(
    config: Config, problem: MolecularProblem, readings: dict[str, Readings], **options: int
) -> pd.DataFrame:
    """90 % intervals of ΔG and ΔH from each instrument alone and from both."""
    rows = []
    for kind, names in KINDS.items():
        chosen = MolecularProblem(problem.graph, [readings[n] for n in names], temperature=config.temperature)
        result = ms.fit(chosen, **(config.fit_options | options), progress=False)
        table = result.parameters.set_index("parameterId")
        for quantity, name in QUANTITIES.items():
            if name in table.index:
                row = {key: table.at[name, key] for key in ("nominalValue", "lower", "upper")}
                rows.append({"kind": kind, "quantity": quantity, **row})
    return pd.DataFrame(rows)


def show(here: pd.DataFrame, found: pd.DataFrame, replicates: int) -> None:
    """Print the table of the README."""
    print("| readings | quantity | estimate (90 % interval) | mean width | bias | coverage ± sd |")
    print("|---|---|---|---|---|---|")
    for row in here.to_dict("records"):
        part = found[(found["kind"] == row["kind"]) & (found["quantity"] == row["quantity"])]
        truth = TRUTH["heats"]["bind" if row["quantity"] == "ΔG" else "enthalpy"]
        share = ((part["lower"] <= truth) & (truth <= part["upper"])).mean()
        error, width = np.sqrt(share * (1 - share) / replicates), (part["upper"] - part["lower"]).mean()
        estimate = f"{row['nominalValue']:.3f} ({row['lower']:.3f} to {row['upper']:.3f})"
        print(
            f"| {row['kind']} | {row['quantity']} | {estimate} | {width:.3f}"
            f" | {(part['nominalValue'] - truth).mean():+.3f} | {100 * share:.0f} ± {100 * error:.0f} % |"
        )


def write_tables(config: Config) -> None:
    """Draw both tables of this folder (seed 0)."""
    names = {"receptor": "receptor_uM", "ligand": "ligand_uM"}
    names |= {f"{name}@previous": column.replace("_uM", "_before_uM") for name, column in names.items()}
    heats = injection_conditions(CELL_VOLUME, {"receptor": CELL}, {"ligand": SYRINGE}, VOLUMES)
    fluorescence = pd.DataFrame({"receptor_uM": 0.5, "ligand_uM": TOTALS})
    tables = {"heats": heats.rename(columns=names), "fluorescence": fluorescence}
    for name, table in tables.items():
        write_table(table.assign(value=0.0), HERE / f"{name}.tsv")
    for name, part in drawn(molecular_problem(config).problem, 0).items():
        write_table(tables[name].assign(value=part.arrays["value"].round(4)), HERE / f"{name}.tsv")


if __name__ == "__main__":
    main()
