"""The cells, the splits, and what one fit predicts of the groups of cells that it has not seen."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

import multiscale as ms
from multiscale.assays import Cytometry
from multiscale.data import Interventions
from multiscale.data.cells import Cells
from multiscale.fit.cells import CellResult
from multiscale.fit.cells.condition_baselines import GROUP_METHODS, predict_group
from multiscale.fit.cells.scores import compare, subsample, wasserstein
from multiscale.fit.checkpoint import Checkpoint

__all__ = ["GRAPH", "NONE", "OTHERS", "REWIRED", "SPLITS", "Fold", "Study", "baselines", "fit", "scored"]

HERE = Path(__file__).parent
GRAPH, NONE, REWIRED, OTHERS = "graph", "no graph", "rewired ", "graph, cells of others"
SPLITS = ("donor", "group", "condition")
TOTALS = ["energy_distance", "mmd", "wasserstein"]

Group = tuple[str, str]
"""Condition and donor."""


@dataclass(frozen=True)
class Fold:
    """Groups of cells that a model does not see.

    Args:
        split: `donor` (all of one donor), `group` (one condition of one donor) or `condition` (of all).
        name: of the fold.
        held: its groups.
    """

    split: str
    name: str
    held: tuple[Group, ...]


@dataclass(frozen=True)
class Study:
    """Intensities of cells with their samples.

    Args:
        config: content of config.toml.
        intensities: (cell, marker).
        obs: columns `condition` and `donor`, one row per cell.
        state: markers of signalling; the others tell kinds of cells.
    """

    config: dict[str, Any]
    intensities: pd.DataFrame
    obs: pd.DataFrame
    state: list[str]

    @classmethod
    def read(cls, changes: Mapping[str, Mapping[str, Any]] | None = None) -> Study:
        """Read config.toml, with changes, and the data that it names."""
        config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
        for name, values in (changes or {}).items():
            config[name] |= values
        if "MULTISCALE_DATA" not in os.environ:
            raise SystemExit("set MULTISCALE_DATA to the folder that holds data/cytof_bcr/; see README.md.")
        cells, samples, panel = (
            pd.read_csv(Path(os.environ["MULTISCALE_DATA"]) / config[key])
            for key in ("cells", "samples", "panel")
        )
        number = cells.pop("frame").str.removeprefix("V").astype(int).to_numpy() - 1
        of = samples.iloc[number]
        names = pd.Index([f"cell{i}" for i in range(len(cells))])
        obs = pd.DataFrame({"condition": of["condition"].array, "donor": of["patient_id"].array}, index=names)
        antigen = panel.set_index("fcs_colname")["antigen"]
        cells = cells.set_axis(antigen[cells.columns], axis=1).set_axis(names)
        return cls(config, cells, obs, panel.loc[panel["marker_class"] == "state", "antigen"].tolist())

    @property
    def seen(self) -> pd.DataFrame:
        """asinh(I/c), the scale on which cells are compared."""
        return np.arcsinh(self.intensities / self.config["cofactor"])

    @property
    def groups(self) -> list[Group]:
        """All conditions of all donors."""
        return [(c, str(d)) for d in self.obs["donor"].unique() for c in self.config["conditions"]]

    def folds(self, splits: tuple[str, ...] = SPLITS) -> Iterator[Fold]:
        """What is left out in turn."""
        keys = {
            "donor": lambda group: group[1],
            "group": lambda group: f"{group[1]} {group[0]}",
            "condition": lambda group: group[0],
        }
        for split in splits:
            for name in dict.fromkeys(map(keys[split], self.groups)):
                yield Fold(split, name, tuple(g for g in self.groups if keys[split](g) == name))

    def names(self, groups: list[Group], most: int, seed: int) -> list[str]:
        """Names of some cells of every group."""
        found = []
        for k, (condition, donor) in enumerate(groups):
            own = self.obs.index[(self.obs["condition"] == condition) & (self.obs["donor"] == donor)]
            found += own[np.random.default_rng((seed, k)).permutation(len(own))[:most]].tolist()
        return found

    def training(self, fold: Fold | None, seed: int) -> list[str]:
        """Names of cells that are fitted when a fold, or none, is left out."""
        kept = [group for group in self.groups if fold is None or group not in fold.held]
        return self.names(kept, self.config["study"]["cells"], seed)

    def cells(self, names: list[str]) -> Cells:
        """Cells as the model takes them: donors are batches, the stimulus sets the input."""
        markers = pd.read_csv(HERE.parents[1] / self.config["markers"], sep="\t")
        channel = Cytometry(
            cofactor=self.config["cofactor"],
            targets=dict(zip(markers["marker"], markers["target"], strict=True)),
        )
        obs = self.obs.loc[names]
        doses = {c: v for c, v in self.config["conditions"].items() if c in set(obs["condition"])}
        table = pd.DataFrame({"context": list(doses), "value": list(doses.values())})
        adata = anndata.AnnData(self.intensities.loc[names].astype(np.float32), obs=obs)
        return ms.from_anndata(
            adata,
            assays={"cytometry": channel},
            batch_key="donor",
            condition_key="condition",
            interventions=Interventions(table.assign(kind="set", target=self.config["input"])),
        )

    def network(self, method: str) -> ms.Graph | None:
        """The graph of a method."""
        if method == NONE:
            return None
        graph = ms.read_graph(self.config["graph"])
        if method.startswith(REWIRED):
            return ms.rewire(graph, int(method.removeprefix(REWIRED)), relation="modifier")
        return graph


def fit(study: Study, method: str, names: list[str], seed: int, checkpoint: Checkpoint | None) -> CellResult:
    """Fit some cells."""
    problem = ms.CellProblem(
        study.network(method),
        study.cells(names),
        regime="steady_state",
        amortised=True,
        **study.config["model"],
    )
    options = study.config["fit"] | {"seed": seed, "accelerator": "cpu", "progress": False}
    return ms.fit(problem, **options, checkpoint=checkpoint)


def drawn(
    study: Study, result: CellResult, method: str, fold: Fold, group: Group, count: int
) -> dict[str, pd.DataFrame]:
    """Intensities of new cells of a group, by name of the method.

    A donor never seen is like the others under the same condition. A condition of a donor who was seen under
    another is predicted of the donor's own cells, under the physics of the condition; a model without physics
    has nothing to say about that, and takes the cells of others under that condition, if there are any.
    """
    condition, donor = group
    donors = study.obs.loc[result.problem.cells.obs.index, "donor"]
    own: dict[str, Any] = {"contexts": donors.index[donors == donor].tolist()}
    alike: dict[str, Any] = {"contexts": [condition], "condition": condition, "batch": donor}
    options: dict[str, dict[str, Any]]
    if fold.split == "donor":
        options = {method: alike | {"new_batches": "mean"}}
    elif fold.split == "group":
        options = {NONE: alike} if method == NONE else {method: own | {"condition": condition}}
        options |= {OTHERS: alike} if method == GRAPH else {}
    elif method == NONE:
        options = {NONE: own}
    else:
        dose = {
            "kind": "set",
            "target": study.config["input"],
            "value": study.config["conditions"][condition],
        }
        options = {method: own | {"intervention": pd.DataFrame([dose])}}
    return {name: result.new_cells(count, **given)["cytometry"].dropna() for name, given in options.items()}


def scored(study: Study, fold: Fold, method: str, seed: int, checkpoint: Checkpoint) -> pd.DataFrame:
    """Scores of one fit on the groups that it has not seen."""
    names = study.training(fold, seed)
    result = fit(study, method, names, seed, checkpoint)
    count, rows = study.config["study"]["scored"], []
    for group in fold.held:
        for name, cells in drawn(study, result, method, fold, group, count).items():
            seen = np.arcsinh(cells / study.config["cofactor"])
            rows.append(_judged(study, group, seen, names) | _labels(fold, group, name, seed))
    return pd.DataFrame(rows)


def baselines(study: Study, fold: Fold, seed: int) -> pd.DataFrame:
    """Scores of simple predictions from the same cells."""
    names, count = study.training(fold, seed), study.config["study"]["scored"]
    values, labels = study.seen.loc[names].to_numpy(), study.obs.loc[names]
    doses = pd.DataFrame({"dose": study.config["conditions"]})
    rows = []
    for group in fold.held:
        for method in GROUP_METHODS:
            found = predict_group(method, values, labels, *group, descriptors=doses, count=count, seed=seed)
            cells = pd.DataFrame(found.cells, columns=study.seen.columns)
            rows.append(_judged(study, group, cells, names) | _labels(fold, group, method, seed))
    return pd.DataFrame(rows)


def _labels(fold: Fold, group: Group, method: str, seed: int) -> dict[str, Any]:
    return {
        "split": fold.split, "condition": group[0], "donor": group[1], "method": method, "seed": seed
    }  # fmt: skip


def _judged(study: Study, group: Group, cells: pd.DataFrame, training: list[str]) -> dict[str, float]:
    """Distances of markers of signalling together, and of every marker; in sds of the training cells.

    As many measured as predicted cells are compared; the same measured ones for all methods.
    """
    unit = study.seen.loc[training].std().to_numpy()
    own = study.seen.loc[study.names([group], len(study.obs), 0)]
    measured = own.iloc[: study.config["study"]["scored"]]
    cells = cells[measured.columns]
    together = measured.columns.get_indexer(pd.Index(study.state))
    size = min(len(measured), len(cells))
    one, other = (subsample(part.to_numpy(), size) for part in (measured, cells))
    found = compare(one[:, together], other[:, together], scale=unit[together])
    each = wasserstein(one / unit, other / unit)
    return found | dict(zip(measured.columns, each.tolist(), strict=True))
