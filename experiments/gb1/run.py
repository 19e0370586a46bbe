"""Folding and binding energies of GB1 from one scan of double mutants.

    python experiments/gb1/run.py [--out runs/gb1] [--overwrite]       fits, prints the table of the README
    python experiments/gb1/run.py --predict FILE [--out runs/gb1]      predicts rows of FILE with that fit

The first writes the folder of the run and in it `ddg.tsv`: ΔΔG of folding of every single mutation, with
90 % intervals. The second writes `predictions.tsv` there. Data are read from the folder that
MULTISCALE_DATA names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from multiscale.config import read_config
from multiscale.errors import MultiscaleError
from multiscale.formats.tables import write_table
from multiscale.runs.folder import is_run
from multiscale.runs.molecular import run_molecular
from multiscale.runs.prediction import predict_to_file

HERE = Path(__file__).parent
ENCODER, FOLD, BIND = "mutations", "fold", "bind"
"""Of config.toml and of the graph."""


def main() -> None:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--predict", type=Path, help="table in the layout of the scan")
    parser.add_argument("--out", type=Path, default=Path("runs/gb1"), help="folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="fit again")
    given = parser.parse_args()
    try:
        summary = fit(given.out, given.overwrite)
        if given.predict is not None:
            print(predict_to_file(given.out, given.predict, given.out / "predictions.tsv", overwrite=True))
        else:
            print(table(given.out, summary))
    except MultiscaleError as error:
        parser.exit(2, f"{error}\n")


def fit(out: Path, overwrite: bool) -> dict:
    """Fit, or take the finished run of the folder, and write `ddg.tsv` beside it."""
    resume = is_run(out) and not overwrite
    summary = run_molecular(read_config(HERE / "config.toml"), out, resume=resume, overwrite=overwrite)
    energies = pd.read_csv(out / "energies.tsv", sep="\t")
    folding = energies[(energies["encoder"] == ENCODER) & (energies["term"] == FOLD)]
    columns = {"label": "mutation", "estimate": "ddG_fold", "lower": "lower", "upper": "upper"}
    more = ["determinedBy", "note"]
    write_table(folding[[*columns, *more]].rename(columns=columns), out / "ddg.tsv")
    return summary


def table(out: Path, summary: dict) -> str:
    """What the README shows."""
    validation = summary["readings"]["enrichment"]["validation"]
    energies = pd.read_csv(out / "energies.tsv", sep="\t")
    lines = [
        f"validation rows                          {validation['n']:.0f}",
        f"R2, squared correlation                  {validation['r2']:.4f}",
        f"R2, 1 - residual / total squares         {validation['determination']:.4f}",
        f"RMSE, log2 enrichment                    {validation['rmse']:.3f}",
        f"90 % intervals that hold the measurement {validation['coverage_90']:.3f}",
        f"seconds, reading to report               {summary['seconds']:.0f}",
    ]
    for term in (FOLD, BIND):
        rows = energies[(energies["encoder"] == ENCODER) & (energies["term"] == term)]
        counts = rows["determinedBy"].value_counts().to_dict()
        lines.append(
            f"{term}: determined by {counts}, median width {(rows['upper'] - rows['lower']).median():.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
