"""The synthetic atlas: what is written is what the world draws, and the world draws what it says."""

from __future__ import annotations

import importlib
import json
import sys
import tomllib
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
import zarr
from scipy import sparse, stats

import multiscale as ms
from multiscale.data.cells import Loader
from multiscale.errors import OutputError

FOLDER = Path(__file__).parents[1] / "experiments" / "atlas_scale"


def content(path: Path) -> np.ndarray:
    """An array on disk."""
    return np.asarray(zarr.open_array(path, mode="r")[...])


def rows(data: anndata.AnnData, first: int, after: int) -> np.ndarray:
    """Counts of some cells."""
    assert isinstance(data.X, sparse.csr_matrix)
    return data.X[first:after].toarray()


@pytest.fixture(scope="module")
def modules():
    """The modules of the experiment, which is no package."""
    sys.path.insert(0, str(FOLDER))
    try:
        return {name: importlib.import_module(name) for name in ("world", "make_atlas", "vae", "run")}
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def config():
    whole = tomllib.loads((FOLDER / "config.toml").read_text(encoding="utf-8"))
    return whole | {"cells": 300, "block": 64, "genes": 120, "proteins": 20}


@pytest.fixture(scope="module")
def folder(modules, config, tmp_path_factory):
    out = tmp_path_factory.mktemp("atlas") / "small"
    modules["make_atlas"].make_atlas(config, out, threads=2)
    return out


@pytest.fixture(scope="module")
def world(modules, config):
    return modules["world"].make_world(config)


def test_anndata_reads_what_was_written(folder, world, config):
    data = anndata.read_zarr(folder / "atlas.zarr")
    first = world.block(0, config["block"])
    assert data.shape == (300, 120) and data.obs_names.is_unique
    np.testing.assert_array_equal(rows(data, 0, 64), first.counts.toarray())
    np.testing.assert_array_equal(data.obsm["protein_expression"][:64], first.proteins)
    assert list(data.uns["protein_names"]) == world.protein_names
    assert data.obs["batch"].cat.codes[:64].tolist() == first.batch.tolist()


def test_the_rest_of_the_cells_are_those_of_the_last_block(folder, world):
    data = anndata.read_zarr(folder / "atlas.zarr")
    last = world.block(4, 300 - 4 * 64)
    np.testing.assert_array_equal(rows(data, 256, 300), last.counts.toarray())


def test_threads_change_nothing(modules, folder, config, tmp_path):
    modules["make_atlas"].make_atlas(config, tmp_path / "one", threads=1)
    files = [path / "atlas.zarr" for path in (tmp_path / "one", folder)]
    for name in ("X/data", "X/indices", "X/indptr", "obsm/protein_expression", "obsm/state"):
        one, two = (content(file / name) for file in files)
        np.testing.assert_array_equal(one, two)


def test_cells_of_the_file_are_read_without_loading_them(folder):
    cells = ms.from_anndata(folder / "atlas.zarr", batch_key="batch")
    assert len(cells) == 300 and cells.batch.names[0] == "batch_00"
    assert all(part.source.on_disk for part in cells.modalities.values())
    assert cells.modalities["protein"].features[0] == "M00"


def test_the_network_has_the_promised_size(folder):
    graph = ms.read_graph(folder / "graph")
    assert len(graph.edges["encodes"]) == 60 and len(graph.complexes) == 40
    assert len(set(graph.complexes)) == 40


def test_values_that_do_not_fill_a_chunk_wait_for_more(modules, tmp_path, monkeypatch):
    monkeypatch.setattr(modules["make_atlas"], "CHUNK", 10)
    array = modules["make_atlas"].Growing(zarr.open_group(tmp_path, mode="w", zarr_format=2), "a", np.int32)
    for begin, after in ((0, 7), (7, 23), (23, 24)):
        array.append(np.arange(begin, after))
    assert content(tmp_path / "a").tolist() == list(range(20))
    array.close()
    assert content(tmp_path / "a").tolist() == list(range(24))


def test_a_folder_with_content_is_left_alone(modules, folder, config):
    with pytest.raises(OutputError, match="not empty"):
        modules["make_atlas"].make_atlas(config, folder)


def test_copies_at_the_surface_obey_mass_action(world):
    z = np.random.default_rng(0).standard_normal((5, 10))
    surface = world.surface(z)
    kept = [i for i in range(60) if not world.at_surface[i, i]]
    total = np.exp(np.log(world.truth["copies"]) + z @ world.truth["loadings"].T)
    assert len(kept) == 20 and (surface[:, kept] < total[:, kept]).all()
    np.testing.assert_allclose(surface[:, 20:], total[:, 20:], rtol=1e-9)  # never inside


def test_a_pair_is_bound_as_the_quadratic_says(modules, config):
    network = config["network"] | {"molecules": 2, "complexes": 1, "retained": 1}
    pair = modules["world"].make_world(config | {"network": network})
    per_uM = 602.214076 * 210.0
    a, b = pair.truth["copies"] / per_uM
    Kd = np.exp(-pair.ln_weight[2])
    bound = (a + b + Kd - np.sqrt((a + b + Kd) ** 2 - 4 * a * b)) / 2
    np.testing.assert_allclose(pair.surface(np.zeros((1, 10)))[0] / per_uM, [bound, b], rtol=1e-9)


def test_counts_of_a_gene_have_the_moments_of_a_negative_binomial(world):
    z, batch = np.zeros((20_000, 10)), np.zeros(20_000, dtype=np.int64)
    counts = world._counts(np.random.default_rng(1), z, batch)
    share = np.exp(world.truth["levels"][0])
    mean = 3000 * np.exp(0.35**2 / 2) * share / share.sum()
    spread = np.exp(0.35**2)  # of the depth: E d² / (E d)²
    variance = mean + mean**2 * (spread * (1 + 1 / world.truth["dispersion"]) - 1)
    dense = counts.toarray()
    np.testing.assert_allclose(dense.mean(0), mean, rtol=0.15)
    np.testing.assert_allclose(np.median(dense.var(0) / variance), 1, rtol=0.05)


def test_antibodies_read_background_and_copies(world):
    z = np.repeat(world.truth["means"][:1], 4_000, axis=0)
    batch = np.full(4_000, 2)
    drawn = world._proteins(np.random.default_rng(2), z, batch).mean(0)
    copies = world.surface(z[:1])[0, world.read]
    mean = world.truth["background"][2] + world.truth["scale"][2] * copies
    np.testing.assert_allclose(drawn, mean * np.exp(0.2**2 / 2), rtol=0.06)


def test_an_epoch_of_network_and_of_vae_says_what_it_took(modules, folder, tmp_path):
    for model in ("graph", "vae"):
        out = tmp_path / model
        out.mkdir()
        options = ["--atlas", str(folder), "--batch-size", "64", "--worker", model, "--out", str(out)]
        modules["run"].main(options)
        (file,) = out.iterdir()
        took = json.loads(file.read_text(encoding="utf-8"))
        assert took["cells"] == (297 if model == "graph" else 300)
        assert took["epoch_s"] > 0 and took["before_s"] > 0 and 0.1 < took["peak_GiB"] < 16


def test_the_table_comes_from_programs_of_their_own(modules, folder, capsys, monkeypatch):
    # Here they run within this one: starting them takes most of the time.
    monkeypatch.setattr("subprocess.run", lambda command, **_: modules["run"].main(command[2:]))
    options = ["--atlas", str(folder), "--batch-size", "64", "--processes", "1", "--models", "vae"]
    modules["run"].main(options)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| VAE | 1 | 300 |") and "| 1.00 |" in lines[2]
    assert lines[-1].endswith("below 4 GiB.")


def test_speeds_are_compared_at_the_same_number_of_processes(modules):
    row = {"cells": 100, "epoch_s": 2.0, "before_s": 1.0, "peak_GiB": 0.5}
    found = {("graph", 2): row, ("vae", 1): row, ("vae", 2): row | {"epoch_s": 1.0}}
    lines = modules["run"].table(found).splitlines()
    assert lines[2] == "| network | 2 | 100 | 1.0 | 2.0 | 50 | 0.50 | 0.50 |"


def test_the_counts_of_the_vae_are_negative_binomial(modules):
    y, mean, r = (
        torch.tensor([[0.0, 3.0, 40.0]]),
        torch.tensor([[0.5, 2.0, 30.0]]),
        torch.tensor([1.0, 2.0, 5.0]),
    )
    found = modules["vae"].ln_negative_binomial(y.double(), mean.double(), r.double().log())
    expected = stats.nbinom.logpmf(y, r, r / (r + mean))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_the_vae_learns(modules, folder):
    vae, cells = modules["vae"], ms.from_anndata(folder / "atlas.zarr", batch_key="batch")
    torch.manual_seed(0)
    model, loader = vae.VAE(120, 20, 4), Loader(cells, batch_size=64)
    bounds = [vae.train_epoch(model, loader, 5e-3) for _ in range(4)]
    assert bounds[-1] < bounds[0] - 10.0
