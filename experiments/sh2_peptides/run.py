"""Which phosphopeptide binds which SH2 domain: peptides of unseen receptors, unseen domains.

    python experiments/sh2_peptides/run.py [--out runs/sh2_peptides] [--overwrite]
        fits, prints the table of the README
    python experiments/sh2_peptides/run.py --predict FILE [--out runs/sh2_peptides]
        predicts rows of FILE with that fit

The first fits all rows (or takes the finished run of the folder), then once per fold and split, and writes
`splits.tsv`. The second writes `predictions.tsv`. Data are read from the folder that
MULTISCALE_DATA names.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiscale.assays.limited import limited
from multiscale.config import Config, read_config
from multiscale.errors import MultiscaleError
from multiscale.fit.molecular.baselines import baselines, bounded_scores
from multiscale.fit.molecular.folds import cross_validate, fold_of
from multiscale.formats.tables import write_table
from multiscale.runs.folder import is_run
from multiscale.runs.molecular import run_molecular
from multiscale.runs.molecular_problem import molecular_problem
from multiscale.runs.prediction import predict

HERE = Path(__file__).parent
READINGS, LIMIT = "polarisation", 20.0  # µM


def main() -> None:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--predict", type=Path, help="table in the layout of affinities.tsv.gz")
    parser.add_argument("--out", type=Path, default=Path("runs/sh2_peptides"), help="folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="fit again")
    given = parser.parse_args()
    config = read_config(HERE / "config.toml")
    try:
        resume = is_run(given.out) and not given.overwrite
        summary = run_molecular(config, given.out, resume=resume, overwrite=given.overwrite)
        if given.predict is not None:
            table = reported(predict(given.out, given.predict))
            write_table(table, given.out / "predictions.tsv")
            print(f"{len(table)} rows: {given.out / 'predictions.tsv'}")
            return
        table = judge(config)
    except MultiscaleError as error:
        parser.exit(2, f"{error}\n")
    write_table(table, given.out / "splits.tsv")
    print(table.to_string(index=False, float_format="%.3f", na_rep=""))
    print(f"fit to all rows: {summary['seconds']:.0f} s")


def reported(table: pd.DataFrame) -> pd.DataFrame:
    """Expected readings, µM, no binding as the limit; upper ends stay, as binders above it are reported."""
    names = {"unlimited": "latent_Kd_uM", "beyond": "no_binding"}
    return limited(table, LIMIT).assign(upper=table["upper"]).rename(columns=names)


def judge(config: Config) -> pd.DataFrame:
    """Scores of the model and of baselines on the same folds of every split."""
    problem, found = molecular_problem(config).problem, []
    readings = problem.readings[READINGS]
    beyond = readings.arrays["censoring"] > 0
    y = np.log10(np.where(beyond, LIMIT, readings.instrument.observed(readings.arrays)))
    bound: Any = problem.bound
    sides = {kind: bound[f"{kind}s"].source.parts[0].features(readings) for kind in ("domain", "peptide")}
    for split, (keys, folds, judged) in splits(readings.rows).items():
        fold, began = fold_of(keys.tolist(), folds, seed=1), time.perf_counter()
        held = np.isin(fold, judged)
        options = config.fit.model_dump() | {"progress": False}
        table = reported(cross_validate(problem, READINGS, fold, only=judged, **options))
        seconds = (time.perf_counter() - began) / len(judged)
        own = {"split": split, "rows": int(held.sum())}
        for name, guess in baselines(y, sides, fold, judged).items():
            found.append(own | {"model": name} | bounded_scores(y[held], guess[held], beyond[held]))
        guess, lower, upper = (np.log10(table[name].to_numpy()) for name in ("predicted", "lower", "upper"))
        scores = bounded_scores(y[held], guess, beyond[held], lower, upper)
        found.append(own | {"model": "this model"} | scores | {"seconds": seconds})
    return pd.DataFrame(found)


def splits(rows: pd.DataFrame) -> dict[str, tuple[pd.Series, int, tuple[int, ...]]]:
    """Keys whose rows are held out together, number of folds, and the folds that are judged."""
    name = rows["domain"].str.removeprefix("GST-")  # some domains were made twice, with different tags
    return {
        "unseen receptors": (rows["gene_name"], 3, (0, 1, 2)),
        "unseen domains": (name, 5, (0, 1, 2, 3, 4)),
    }


if __name__ == "__main__":
    main()
