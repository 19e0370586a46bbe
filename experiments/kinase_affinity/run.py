"""Dissociation constants of kinase inhibitors: unseen pairs, unseen kinases, unseen drugs.

    python experiments/kinase_affinity/run.py [--out runs/kinase_affinity] [--overwrite]
        fits, prints the table of the README
    python experiments/kinase_affinity/run.py --predict FILE [--out runs/kinase_affinity]
        predicts rows of FILE with that fit

The first fits all rows (or takes the finished run of the folder), then once per fold and split, and writes
`splits.tsv`. The second writes `predictions.tsv`. Needs RDKit (`pip install -e ".[chem]"`).
Data are read from the folder that MULTISCALE_DATA names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from multiscale.assays.limited import limited
from multiscale.config import read_config
from multiscale.errors import MultiscaleError
from multiscale.fit.molecular.folds import Split, compare_on_folds
from multiscale.formats.tables import write_table
from multiscale.runs.folder import is_run
from multiscale.runs.molecular import run_molecular
from multiscale.runs.molecular_problem import molecular_problem
from multiscale.runs.prediction import predict

HERE = Path(__file__).parent
READINGS, LIMIT = "competition", 10_000.0  # nM
SIDES = {"drug": "drugs", "kinase": "kinases"}  # kinds of entities and their encoders


def main() -> None:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--predict", type=Path, help="table in the layout of affinities.tsv.gz")
    parser.add_argument("--out", type=Path, default=Path("runs/kinase_affinity"), help="folder of the run")
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
        problem = molecular_problem(config).problem
        options = config.fit_options | {"progress": False}
        rows = splits(problem.readings[READINGS].rows)
        table = compare_on_folds(problem, READINGS, rows, LIMIT, SIDES, reported, **options)
    except MultiscaleError as error:
        parser.exit(2, f"{error}\n")
    write_table(table, given.out / "splits.tsv")
    print(table.to_string(index=False, float_format="%.3f", na_rep=""))
    print(f"fit to all rows: {summary['seconds']:.0f} s")


def reported(table: pd.DataFrame) -> pd.DataFrame:
    """Expected readings and their intervals, nM: no binding is reported as the limit."""
    return limited(table, LIMIT).rename(columns={"unlimited": "latent_Kd_nM", "beyond": "no_binding"})


def splits(rows: pd.DataFrame) -> dict[str, Split]:
    """Keys whose rows are held out together, number of folds, and the folds that are judged."""
    # settings were chosen on fold 0; mutants and phosphorylated forms of a kinase are held out together
    gene = rows["kinase"].str.replace(r"\(.*|p$", "", regex=True)
    return {
        "random pairs": Split(rows.index.tolist(), 5, (1,)),
        "unseen kinases": Split(gene.tolist(), 5, (1, 2)),
        "unseen drugs": Split(rows["pubchem_cid"].tolist(), 5, (1, 2)),
    }


if __name__ == "__main__":
    main()
