"""PDZ3: abundance and binding fitted together, each alone, and with other plateaus; predictions of rows.

`python experiments/psd95_pdz3/run.py [--out runs/psd95_pdz3] [--overwrite]` prints the tables of the README.
`... --predict FILE [--readings abundance|binding]` writes predictions.tsv into --out; without --readings the
name of the file decides, and rows of a file whose name says neither are predicted as both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from multiscale.config import Config, ReadingsSection, read_config
from multiscale.content import find
from multiscale.errors import MultiscaleError
from multiscale.formats.tables import read_table, write_table
from multiscale.runs.molecular import run_molecular
from multiscale.runs.prediction import predict

READINGS = ("abundance", "binding")
WIDER = 0.05  # both plateaus further out, in units of fitness
TERMS = {"fold": "ΔΔG_fold", "bind": "ΔΔG_bind"}


def main() -> None:
    """Fit, or predict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predict", type=Path)
    parser.add_argument("--readings", choices=READINGS)
    parser.add_argument("--out", type=Path, default=Path("runs/psd95_pdz3"))
    parser.add_argument("--overwrite", action="store_true")
    given = parser.parse_args()
    try:
        run(given)
    except MultiscaleError as error:
        parser.exit(2, f"{error}\n")


def run(given: argparse.Namespace) -> None:
    """What the arguments say."""
    began, config = time.perf_counter(), read_config(Path(__file__).parent / "config.toml")
    fit(config, given.out, given.overwrite)
    if given.predict:
        said = [given.readings] if given.readings else [n for n in READINGS if n in given.predict.name]
        table = predictions(config, given.out, given.predict, said or READINGS)
        write_table(table, given.out / "predictions.tsv")
        print(f"{len(table)} rows: {given.out / 'predictions.tsv'}")
        return
    folders = {"joint": given.out}
    for name, variant in variants(config).items():
        folders[name] = given.out.with_name(f"{given.out.name}_{name.replace(' ', '_')}")
        fit(variant, folders[name], given.overwrite)
    show(folders)
    print(f"\n{time.perf_counter() - began:.0f} s")


def fit(config: Config, out: Path, overwrite: bool) -> None:
    """Fit into a folder, or take what it holds."""
    run_molecular(config, out, resume=out.is_dir() and not overwrite, overwrite=overwrite)


def variants(config: Config) -> dict[str, Config]:
    """Each assay alone, and both with plateaus further out."""
    own = config.data.readings
    chosen = {f"{name} alone": {name: own[name]} for name in READINGS}
    chosen["wider plateaus"] = {name: wider(part) for name, part in own.items()}
    return {
        name: config.model_copy(update={"data": config.data.model_copy(update={"readings": readings})})
        for name, readings in chosen.items()
    }


def wider(section: ReadingsSection) -> ReadingsSection:
    """The same readings with plateaus further out."""
    given = section.model_dump()
    (low, low_sd), (high, high_sd) = given["floor"], given["top"]
    plateaus = {"floor": [low - WIDER, low_sd], "top": [high + WIDER, high_sd]}
    return ReadingsSection.model_validate(given | plateaus)


def predictions(config: Config, run: Path, file: Path, names: Sequence[str]) -> pd.DataFrame:
    """Rows of a file with predicted fitness and 90 % intervals."""
    tables = [
        with_stops(predict(run, file, name), file, config.data.readings[name].path).assign(readings=name)
        for name in names
    ]
    found = pd.concat(tables, ignore_index=True).drop(columns=["fit_lower", "fit_upper"])
    return found.drop(columns="readings") if len(names) == 1 else found


def with_stops(table: pd.DataFrame, file: Path, fitted: str) -> pd.DataFrame:
    """Add rows with a stop, which the fit leaves out: mean and 90 % range of those in the fitted file."""
    rows = pd.read_csv(file, sep=" ")
    if not {"STOP", "indel"} <= set(rows):
        return table
    stop, known = rows["STOP"].eq(True), pd.read_csv(find("datasets", fitted), sep=" ")
    fitness = known.loc[known["STOP"].eq(True), "fitness"]
    (lower, upper), own = fitness.quantile([0.05, 0.95]), [c for c in table if c in rows]
    added = rows.loc[stop, own].assign(predicted=fitness.mean(), lower=lower, upper=upper)
    table = table.set_axis(rows.index[~stop & ~rows["indel"].eq(True)])
    return pd.concat([table, added]).sort_index()


def show(folders: dict[str, Path]) -> None:
    """Print the tables of the README."""
    head("fit", "held-out doubles of", "n", "R²", "squared correlation", "coverage of 90 % intervals")
    for name, folder in folders.items():
        for readings in READINGS:
            file = folder / f"predictions_{readings}.tsv"
            if file.is_file():
                print(f"| {name} | {readings} | {scores(read_table(file))} |")
    head("fit", "energy", "determined by data", "median width of 90 % interval", "wild type, kcal/mol")
    for name, folder in folders.items():
        energies = read_table(folder / "energies.tsv")
        wild = read_table(folder / "parameters.tsv").set_index("parameterId")
        for term, label in TERMS.items():
            part, own = energies[energies["term"] == term], wild.loc[term]
            known, width = (part["determinedBy"] == "data").sum(), (part["upper"] - part["lower"]).median()
            said = f"{own['nominalValue']:.2f} ({own['lower']:.2f} to {own['upper']:.2f})"
            print(f"| {name} | {label} | {known} of {len(part)} | {width:.2f} kcal/mol | {said} |")


def head(*names: str) -> None:
    """Print the head of a table."""
    print("\n| " + " | ".join(names) + " |\n|" + "---|" * len(names))


def scores(table: pd.DataFrame) -> str:
    """R², squared correlation and coverage of rows with two mutations."""
    rows = table[table["Nham_aa"] == 2]
    y, x = rows["observed"], rows["predicted"]
    inside = (rows["lower"] <= y) & (y <= rows["upper"])
    share = 1 - ((y - x) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    return f"{len(rows)} | {share:.3f} | {np.corrcoef(x, y)[0, 1] ** 2:.3f} | {100 * inside.mean():.1f} %"


if __name__ == "__main__":
    main()
