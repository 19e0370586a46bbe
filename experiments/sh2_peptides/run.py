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
READINGS, LIMIT = "polarisation", 20.0  # µM
SIDES = {"domain": "domains", "peptide": "peptides"}  # kinds of entities and their encoders


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
    """Expected readings, µM, no binding as the limit; upper ends stay, as binders above it are reported."""
    names = {"unlimited": "latent_Kd_uM", "beyond": "no_binding"}
    return limited(table, LIMIT).assign(upper=table["upper"]).rename(columns=names)


def splits(rows: pd.DataFrame) -> dict[str, Split]:
    """Keys whose rows are held out together, number of folds, and the folds that are judged."""
    name = rows["domain"].str.removeprefix("GST-")  # some domains were made twice, with different tags
    return {
        "unseen receptors": Split(rows["gene_name"].tolist(), 3, range(3)),
        "unseen domains": Split(name.tolist(), 5, range(5)),
    }


if __name__ == "__main__":
    main()
