"""One epoch over an atlas on disk: memory and cells per second, with the network, without, and of a VAE.

    python experiments/atlas_scale/run.py                                       # a million cells
    python experiments/atlas_scale/run.py --cells 20000 --processes 1           # a small atlas
    python experiments/atlas_scale/run.py --quick                               # 4,096 cells

The atlas is made where it is absent. Every row of the table is a program of its own, so that its peak memory
is its own; programs of several processes are started by `torch.distributed.run` with one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODELS = {"graph": "network", "none": "no network", "vae": "VAE"}
LIMIT = 4.0
"""GiB that a process may take."""

QUICK = 4096


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--atlas", type=Path, help="folder of make_atlas.py; default data/atlas_<cells>")
    parser.add_argument("--cells", type=int, help="instead of the number in config.toml")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} cells")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--layers", type=int, default=1, help="hidden layers of all encoders")
    parser.add_argument("--worker", choices=MODELS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Make the atlas, run every model, print the table."""
    asked = arguments(given)
    if asked.worker:
        work(asked)
        return
    config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    count = asked.cells or (QUICK if asked.quick else config["cells"])
    atlas = asked.atlas or Path("data") / f"atlas_{count}"
    if not atlas.exists():
        made = [sys.executable, str(HERE / "make_atlas.py"), "--out", str(atlas), "--cells", str(count)]
        subprocess.run(made, check=True)
    found = {
        (model, number): launched(asked, atlas, model, number)
        for number in asked.processes
        for model in asked.models
    }
    print(table(found))
    peak = max(row["peak_GiB"] for row in found.values())
    print(f"\nLargest process: {peak:.2f} GiB, {'below' if peak < LIMIT else 'NOT below'} {LIMIT:g} GiB.")


def launched(asked: argparse.Namespace, atlas: Path, model: str, processes: int) -> dict[str, float]:
    """What an epoch of a model took, the slowest and largest of its processes."""
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    options = ["--atlas", atlas, "--batch-size", asked.batch_size, "--layers", asked.layers]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *(several if processes > 1 else []), HERE / "run.py", *options]
        command += ["--worker", model, "--out", folder]
        subprocess.run([str(part) for part in command], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        said = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(Path(folder).iterdir())]
    return {name: max(row[name] for row in said) for name in said[0]}


def work(asked: argparse.Namespace) -> None:
    """One process of one model: fit for an epoch, and write what it took."""
    import torch

    import multiscale as ms

    torch.set_num_threads(1)
    began = time.perf_counter()
    tags = ms.assays.SurfaceProteins(obsm_key="protein_expression", names="protein_names")
    assays = {"rna": ms.assays.Transcripts(), "protein": tags}
    cells = ms.from_anndata(asked.atlas / "atlas.zarr", assays=assays, batch_key="batch")
    if asked.worker == "vae":
        fitted, seconds = epoch_of_vae(cells, asked)
    else:
        graph = ms.read_graph(asked.atlas / "graph") if asked.worker == "graph" else None
        problem = ms.CellProblem(graph, cells, latent=10, amortised=True, layers=asked.layers)
        # Few watched cells: they are no training, and the VAE has none.
        result = ms.fit(
            problem,
            max_epochs=1,
            batch_size=asked.batch_size,
            validation=0.01,
            accelerator="cpu",
            progress=False,
        )
        fitted, seconds = round(0.99 * len(cells)), float(result.history["seconds"].iloc[0])
    before = time.perf_counter() - began - seconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    took = {"cells": fitted, "epoch_s": seconds, "before_s": before, "peak_GiB": peak}
    (asked.out / f"{os.environ.get('RANK', '0')}.json").write_text(json.dumps(took), encoding="utf-8")


def epoch_of_vae(cells, asked: argparse.Namespace) -> tuple[int, float]:
    """How many cells an epoch of the VAE has, and its seconds."""
    import torch
    from vae import VAE, train_epoch

    from multiscale.data.cells import Loader

    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        torch.distributed.init_process_group("gloo")
    torch.manual_seed(0)  # the same first weights in every process
    genes, proteins = (len(cells.modalities[name].features) for name in ("rna", "protein"))
    model = VAE(genes, proteins, len(cells.batch.names), layers=asked.layers)
    loader = Loader(cells, batch_size=asked.batch_size, rank=rank, world=world)
    torch.manual_seed(rank)
    began = time.perf_counter()
    train_epoch(model, loader)
    seconds = time.perf_counter() - began
    if world > 1:
        torch.distributed.destroy_process_group()
    return len(cells), seconds


def table(found: dict[tuple[str, int], dict[str, float]]) -> str:
    """Rows of Markdown: model, processes, cells per second, its ratio to the VAE, and memory."""
    lines = ["| model | processes | cells | before, s | epoch, s | cells/s | of the VAE | peak GiB each |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for (model, number), row in found.items():
        speed = row["cells"] / row["epoch_s"]
        peer = found.get(("vae", number))
        ratio = "" if peer is None else f"{speed * peer['epoch_s'] / peer['cells']:.2f}"
        parts = [MODELS[model], number, f"{row['cells']:,}", f"{row['before_s']:.1f}"]
        parts += [f"{row['epoch_s']:.1f}", f"{speed:,.0f}", ratio, f"{row['peak_GiB']:.2f}"]
        lines.append(f"| {' | '.join(map(str, parts))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
