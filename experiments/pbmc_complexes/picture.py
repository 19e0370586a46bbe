"""Draw the picture of the README from the output of a run: the network, coloured by learned energies.

Usage: python experiments/pbmc_complexes/picture.py runs/demo docs/demo.png
"""

import sys
from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")

import multiscale as ms


def main(run: Path, picture: Path) -> None:
    """Read the tables of `run` and write `picture`."""
    energies = pd.read_csv(run / "energies.tsv", sep="\t").set_index("complex")[["g_kcal_per_mol"]]
    activity = pd.read_csv(run / "pathways.tsv", sep="\t").groupby("pathway")["activity"]
    pathways = (activity.max() - activity.min()).to_frame("activity_range")
    ax = ms.pl.network(ms.read_graph("pbmc_surface"), {"complex": energies, "pathway": pathways})
    ax.figure.savefig(picture, dpi=90, facecolor="white")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
