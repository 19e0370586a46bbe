"""Folding and binding energies of GB1 from one scan of double mutants.

    python experiments/gb1/run.py [--out runs/gb1] [--overwrite]       fits, prints the table of the README
    python experiments/gb1/run.py --compare [--out runs/gb1]           fits simpler models too, prints theirs
    python experiments/gb1/run.py --predict FILE [--out runs/gb1]      predicts rows of FILE with that fit

The first writes the folder of the run and in it `ddg.tsv`: ΔΔG of folding of every single mutation, with
90 % intervals. The last writes `predictions.tsv` there. Data are read from the folder that
MULTISCALE_DATA names.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.preprocessing import OneHotEncoder

from multiscale.config import Config, read_config
from multiscale.content import find
from multiscale.errors import MultiscaleError
from multiscale.formats.tables import write_table
from multiscale.runs.folder import is_run
from multiscale.runs.molecular import run_molecular
from multiscale.runs.prediction import predict_to_file

HERE = Path(__file__).parent
READINGS, FOLDING, BINDING, FOLD, BIND = "enrichment", "folding", "binding", "fold", "bind"
"""Names in config.toml, and energies of the graph."""

PENALTIES = (0.1, 1.0, 10.0, 100.0)
"""Of the straight lines, per squared weight."""


def main() -> None:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--predict", type=Path, help="table in the layout of the scan")
    parser.add_argument("--out", type=Path, default=Path("runs/gb1"), help="folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="fit again")
    parser.add_argument("--compare", action="store_true", help="fit simpler models beside it")
    given = parser.parse_args()
    try:
        summary = fit(given.out, given.overwrite)
        if given.predict is not None:
            print(predict_to_file(given.out, given.predict, given.out / "predictions.tsv", overwrite=True))
        elif given.compare:
            print(comparison(given.out, summary, given.overwrite))
        else:
            print(table(given.out, summary))
    except MultiscaleError as error:
        parser.exit(2, f"{error}\n")


def fit(out: Path, overwrite: bool) -> dict:
    """Fit, or take the finished run of the folder, and write `ddg.tsv` beside it."""
    resume = is_run(out) and not overwrite
    summary = run_molecular(read_config(HERE / "config.toml"), out, resume=resume, overwrite=overwrite)
    energies = pd.read_csv(out / "energies.tsv", sep="\t")
    folding = energies[energies["encoder"] == FOLDING]
    columns = {"label": "mutation", "estimate": "ddG_fold", "lower": "lower", "upper": "upper"}
    more = ["determinedBy", "note"]
    write_table(folding[[*columns, *more]].rename(columns=columns), out / "ddg.tsv")
    return summary


def table(out: Path, summary: dict) -> str:
    """What the README shows."""
    validation = summary["readings"][READINGS]["validation"]
    energies = pd.read_csv(out / "energies.tsv", sep="\t")
    lines = [
        f"validation rows                          {validation['n']:.0f}",
        f"R2, squared correlation                  {validation['r2']:.4f}",
        f"R2, 1 - residual / total squares         {validation['determination']:.4f}",
        f"RMSE, log2 enrichment                    {validation['rmse']:.3f}",
        f"90 % intervals that hold the measurement {validation['coverage_90']:.3f}",
        f"seconds, reading to report               {summary['seconds']:.0f}",
    ]
    wild = pd.read_csv(out / "parameters.tsv", sep="\t", index_col="parameterId")
    for encoder, term in ((FOLDING, FOLD), (BINDING, BIND)):
        rows, own = energies[energies["encoder"] == encoder], wild.loc[term]
        value = f"{own['nominalValue']:.2f} ({own['lower']:.2f} to {own['upper']:.2f}) kcal/mol"
        lines.append(f"{term} of the wild type: {value}")
        counts = rows["determinedBy"].value_counts().to_dict()
        lines.append(
            f"{term}: determined by {counts}, median width {(rows['upper'] - rows['lower']).median():.2f}"
        )
    return "\n".join(lines)


def comparison(out: Path, summary: dict, overwrite: bool) -> str:
    """Scores on the validation rows of this model, of simpler ones, and of straight lines."""
    config, found = read_config(HERE / "config.toml"), {"as in config.toml": summary}
    for name, simpler in simpler_models(config).items():
        folder = out.with_name(f"{out.name}_{name.replace(' ', '_').replace(',', '')}")
        resume = is_run(folder) and not overwrite
        found[name] = run_molecular(simpler, folder, resume=resume, overwrite=overwrite)
    rows = [
        {"model": name} | one["readings"][READINGS]["validation"] | {"seconds": one["seconds"]}
        for name, one in found.items()
    ]
    rows.append({"model": "straight lines"} | straight_lines(config))
    columns = ["model", "n", "r2", "determination", "rmse", "coverage_90", "seconds"]
    return pd.DataFrame(rows)[columns].to_string(index=False, float_format="%.4g", na_rep="")


def simpler_models(config: Config) -> dict[str, Config]:
    """Without couplings, and without a folded state that does not bind."""
    additive = {name: config.encoders[name] for name in (FOLDING, BINDING)}
    readings = config.data.readings[READINGS].model_dump()
    two = config.model_dump() | {
        "graph": "folding",
        "data": {"readings": {READINGS: readings | {"species": "folded"}}},
        "encoders": {FOLDING: config.encoders[FOLDING].model_dump()},
    }
    return {
        "three states, no couplings": config.model_copy(update={"encoders": additive}),
        "two states, no couplings": Config.model_validate(two),
    }


def straight_lines(config: Config) -> dict[str, float]:
    """Every mutation adds to y itself: ridge regression, its penalty chosen on a tenth of the fitted rows."""
    section = config.data.readings[READINGS]
    rows = pd.read_csv(find("datasets", section.path))
    codes = np.array([list(x) for x in rows["x"]])
    seen = OneHotEncoder(handle_unknown="ignore").fit(codes[rows["set"] == "training"])
    x, y, training = seen.transform(codes), rows["y"].to_numpy(), (rows["set"] == "training").to_numpy()
    part = training & (np.random.default_rng(1).random(len(y)) < 0.1)
    judged = ~training & (rows["set"] == "validation").to_numpy()

    def lines(penalty: float, fitted: np.ndarray, held: np.ndarray) -> np.ndarray:
        return Ridge(penalty, solver="sparse_cg").fit(x[fitted], y[fitted]).predict(x[held])

    began = time.perf_counter()
    best = min(
        PENALTIES, key=lambda penalty: np.square(lines(penalty, training & ~part, part) - y[part]).sum()
    )
    guess = lines(best, training, judged)
    residual, own = guess - y[judged], y[judged] - y[judged].mean()
    return {
        "n": float(judged.sum()),
        "r2": float(np.corrcoef(guess, y[judged])[0, 1] ** 2),
        "determination": float(1 - np.square(residual).sum() / np.square(own).sum()),
        "rmse": float(np.sqrt(np.square(residual).mean())),
        "seconds": time.perf_counter() - began,
    }


if __name__ == "__main__":
    main()
