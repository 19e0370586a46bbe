"""MAVE-NN on the rows of run.py: `python experiments/gb1/peer.py [--epochs 15]`.

Needs an environment with `mavenn` and `tensorflow-cpu`, which are no dependencies of this project. An
additive latent phenotype, a monotone curve and skewed-t noise that depends on the prediction. Prints R2 on
the validation rows.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

BATCH, RATE, PATIENCE, ORDER = 500, 5e-3, 25, 2


def main() -> None:
    """Train and judge."""
    import mavenn  # pyright: ignore[reportMissingImports] (of an environment of its own)

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15)
    given, began = parser.parse_args(), time.perf_counter()
    rows = pd.read_csv(Path(os.environ["MULTISCALE_DATA"]) / "data/gb1/gb1_train_validation.csv.gz")
    fitted, judged = (rows[rows["set"] == label] for label in ("training", "validation"))
    model = mavenn.Model(
        L=len(rows["x"].iloc[0]),
        alphabet="protein",
        gpmap_type="additive",
        regression_type="GE",
        ge_noise_model_type="SkewedT",
        ge_heteroskedasticity_order=ORDER,
    )
    model.set_data(x=fitted["x"].to_numpy(), y=fitted["y"].to_numpy())
    model.fit(
        epochs=given.epochs,
        learning_rate=RATE,
        early_stopping=True,
        early_stopping_patience=PATIENCE,
        batch_size=BATCH,
        verbose=False,
        try_tqdm=False,
    )
    guess = model.x_to_yhat(judged["x"].to_numpy())
    square = np.corrcoef(guess, judged["y"])[0, 1] ** 2
    print(f"MAVE-NN: R2 {square:.4f} of {len(judged)} rows, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
