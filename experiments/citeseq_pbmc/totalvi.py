"""What totalVI says of the antibodies of hidden cells, in the splits of run.py and judged alike.

    python -m venv peer
    peer/bin/pip install -c constraints.txt -e . scvi-tools
    MULTISCALE_DATA=... peer/bin/python experiments/citeseq_pbmc/totalvi.py [--experiment eccite_pbmc]

Cells whose antibodies are hidden are a batch of their own that lacks all proteins, as totalVI's tutorial on
missing proteins does; they are predicted as if they were of their panel's other batch.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scvi
import torch

from multiscale.fit.cells.heldout import judge_hidden, measured, summarise_scores
from multiscale.fit.cells.heldout_trials import HeldOut, Trial
from multiscale.fit.cells.scores import crps

SIZES = (10, 20)
"""Latent dimensions: as many as ours, and totalVI's default."""


def studied(experiment: str, quick: bool) -> tuple[HeldOut, dict[str, Any]]:
    """The study of an experiment, by its own script."""
    path = Path(__file__).parents[1] / experiment / "run.py"
    spec = importlib.util.spec_from_file_location(f"{experiment}_run", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.study(quick)


def predicted(study: HeldOut, hidden: np.ndarray, latent: int, seed: int, quick: bool) -> np.ndarray:
    """Draws of ln(1 + count), shape (draw, cell, protein); those of hidden cells mean something."""
    scvi.settings.seed = seed
    cells, every = study.cells, np.arange(len(study.cells))
    rna, protein = (cells.modalities[name] for name in (study.rna, study.name))
    seen = measured(cells, study.name) & ~hidden
    panel = np.array(cells.batch.names)[cells.batch.codes]
    batch = np.where(hidden.any(1), panel + " hidden", panel)
    adata = anndata.AnnData(rna.values(every).astype(np.float32), obs=pd.DataFrame({"batch": batch}))
    counts = np.where(seen, protein.values(every), 0.0)
    adata.obs_names = cells.obs.index
    adata.obsm["protein"] = pd.DataFrame(counts, adata.obs_names, list(protein.features))
    scvi.model.TOTALVI.setup_anndata(adata, batch_key="batch", protein_expression_obsm_key="protein")
    model = scvi.model.TOTALVI(adata, n_latent=latent)
    model.train(max_epochs=20 if quick else None, accelerator="cpu", enable_progress_bar=False)
    drawn = np.zeros((study.draws, *hidden.shape))
    r = model.module.py_r.detach().exp()
    for name in cells.batch.names:
        rows = np.flatnonzero(hidden.any(1) & (panel == name))
        _, means = model.get_normalized_expression(
            indices=rows,
            transform_batch=name,
            n_samples=study.draws,
            sample_protein_mixing=True,
            include_protein_background=True,
            return_mean=False,
        )
        mean = torch.as_tensor(means).permute(2, 0, 1)
        drawn[:, rows] = torch.poisson(torch.distributions.Gamma(r, r / mean).sample()).log1p().numpy()
    return drawn


def main() -> None:
    """Print a row per size of the latent state."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--experiment", default="citeseq_pbmc", choices=["citeseq_pbmc", "eccite_pbmc"])
    parser.add_argument("--quick", action="store_true", help="few genes and epochs, one split")
    given, began = parser.parse_args(), time.perf_counter()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    study, config = studied(given.experiment, given.quick)
    part = study.cells.modalities[study.name]
    readings = np.log1p(part.values(np.arange(len(study.cells))).astype(np.float64))
    print("| method | rmse | crps | spearman |\n|---|---|---|---|")
    for latent in SIZES:
        tables = []
        for seed in range(config["seeds"]):
            hidden = study.hidden(Trial("totalVI", "cells", seed))
            drawn = predicted(study, hidden, latent, seed, given.quick)
            tables.append(judge_hidden(study.cells, study.name, hidden, drawn.mean(0), crps(drawn, readings)))
        found = summarise_scores(tables)
        row = [f"{found[name]:.3f} ± {found[f'{name} sd']:.3f}" for name in ("rmse", "crps", "spearman")]
        print(f"| totalVI, {latent} dimensions | {' | '.join(row)} |", flush=True)
    print(f"{time.perf_counter() - began:.0f} s, scvi-tools {scvi.__version__}")


if __name__ == "__main__":
    main()
