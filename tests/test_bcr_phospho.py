"""The experiment on cross-linked B-cell receptors: its samples, its splits, and the shares of edges."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import multiscale as ms

FOLDER = Path(__file__).parents[1] / "experiments" / "bcr_phospho"
NAMES = ("study", "report", "edges", "run")


@pytest.fixture(scope="module")
def modules():
    """The modules of the experiment, which is no package."""
    before = {name: sys.modules.pop(name, None) for name in NAMES}
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(FOLDER))
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


@pytest.fixture(scope="module")
def study(modules):
    if "MULTISCALE_DATA" not in os.environ:
        pytest.skip("MULTISCALE_DATA does not name a folder with data/cytof_bcr/")
    return modules["study"].Study.read({"study": {"cells": 20, "scored": 50}})


def test_every_split_leaves_every_group_out_once(study):
    folds = list(study.folds())
    assert [fold.split for fold in folds] == ["donor"] * 4 + ["group"] * 8 + ["condition"] * 2
    for split in ("donor", "group", "condition"):
        held = [group for fold in folds if fold.split == split for group in fold.held]
        assert sorted(held) == sorted(study.groups)


def test_cells_that_are_left_out_are_not_fitted(study):
    for fold in study.folds():
        seen = set(study.obs.loc[study.training(fold, 0)].itertuples(index=False, name=None))
        assert seen == set(study.groups) - set(fold.held)


def test_cross_linking_phosphorylates_S6_in_B_cells_of_every_donor(study):
    b_cells = study.seen["CD20"] > np.arcsinh(2)
    means = study.seen[b_cells].groupby([study.obs["donor"], study.obs["condition"]])["pS6"].mean().unstack()
    assert (means["BCRXL"] > means["Ref"] + 1).all()


def test_baselines_are_scored_on_every_group(study, modules):
    fold = next(study.folds())
    table = modules["study"].baselines(study, fold, 0)
    assert len(table) == 10 and table["energy_distance"].between(0, 20).all()
    assert table[study.state].notna().all(axis=None)


def test_shares_of_reactions_follow_from_mass_action(modules):
    graph = ms.read_graph("bcr_signalling")
    free = graph.parameters.index[graph.parameters["estimate"] == 1]
    ln_k = pd.Series(np.log(2.0), index=free)
    x = pd.Series(0.5, index=[*graph.nodes["molecule"].index, *graph.nodes["complex"].index])
    fluxes, catalysed = modules["edges"]._fluxes(graph, ln_k, x)
    assert len(catalysed) == 38
    assert fluxes["Mek activates Erk", "Erk"] == pytest.approx(1.0)  # 2 × 0.5
    assert fluxes["Erk modification", "Erk"] == pytest.approx(2.0)  # basal
    assert fluxes["Erk modification", "Erk*"] == pytest.approx(1.0)  # the unit of time
    assert catalysed["Lyn inhibits Akt", "Akt*"] == ("k_Lyn_Akt", "Akt*")


def test_an_edge_is_judged_by_its_whole_interval(modules):
    judge = modules["edges"]._verdict
    assert [judge(0.1, 0.9, 0.05), judge(0.0, 0.04, 0.05), judge(0.01, 0.4, 0.05)] == [
        "acts",
        "silent",
        "open",
    ]
