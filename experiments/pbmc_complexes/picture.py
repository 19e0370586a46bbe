"""Draw the picture of the README from the folder of a run: the network, the controls, and what was learned.

Usage: python experiments/pbmc_complexes/picture.py runs/demo docs/demo.png
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

import multiscale as ms
from multiscale.runs import read_run


def main(run: Path, picture: Path) -> None:
    """Read the tables of `run` and write `picture`."""
    found = read_run(run)
    figure = plt.figure(figsize=(17, 10.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[1.75, 1], height_ratios=[1, 2.1])
    ms.pl.network(found.network.graph, found.network.values, ax=figure.add_subplot(grid[:, 0]))
    ms.pl.controls(
        found.table("heldout"), found.table("controls"), "ln copies", figure.add_subplot(grid[0, 1])
    )
    ms.pl.energies(found.table("energies"), ax=figure.add_subplot(grid[1, 1]))
    figure.savefig(picture, dpi=75, facecolor="white")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
