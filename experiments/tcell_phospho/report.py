"""What a study found, as tables in Markdown; what decides comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from judge import BASELINES, bootstrap, crps, wasserstein

__all__ = ["GRAPH", "HELD", "NONE", "REWIRED", "SEEN", "everything", "markdown", "report", "scores"]

GRAPH, NONE, REWIRED, SEEN = "graph", "no graph", "rewired ", "the cells themselves"
HELD = ", target held"
NUMBERS = ["crps", "wasserstein", "error_of_median"]

Cells = Sequence[np.ndarray]


def scores(seen: Cells, drawn: Cells, targets: pd.DataFrame) -> pd.DataFrame:
    """One row per condition and marker.

    Args:
        seen: ln readings of every condition, (cell, marker).
        drawn: the prediction, (draw, marker).
        targets: whether a reagent of the condition acts on the marker, (condition, marker).
    """
    rows = []
    for condition, measured, predicted in zip(targets.index, seen, drawn, strict=True):
        for marker, y, x in zip(targets.columns, measured.T, predicted.T, strict=True):
            error = np.median(x) - np.median(y)
            found = (crps(x, y).mean(), wasserstein(x, y), error)
            rows.append((condition, marker, bool(targets.at[condition, marker]), *found))
    return pd.DataFrame(rows, columns=["condition", "marker", "target", *NUMBERS])


def everything(seen: Cells, drawn: Mapping[str, Cells], targets: pd.DataFrame) -> pd.DataFrame:
    """Scores of all methods; a target that was held at its readings has none."""
    parts = []
    for name, part in drawn.items():
        found = scores(seen, part, targets).assign(method=name)
        if name.endswith(HELD):
            found.loc[found["target"], NUMBERS] = np.nan
        parts.append(found)
    return pd.concat(parts, ignore_index=True)


def report(seen: Cells, drawn: Mapping[str, Cells], targets: pd.DataFrame, samples: int, seed: int) -> str:
    """Headline and tables.

    Args:
        seen: see `scores`.
        drawn: predictions of every method.
        targets: see `scores`.
        samples: of the bootstrap.
        seed: of the bootstrap.
    """
    table = everything(seen, drawn, targets)
    rewired = table[table["method"].str.startswith(REWIRED)]
    kept = [name for name in drawn if not name.startswith(REWIRED)]
    per_cell = {name: _per_cell(seen, drawn[name]) for name in kept}
    rng = np.random.default_rng(seed)
    others = [name for name in kept if name != GRAPH and not name.endswith(HELD)]
    ranges = {n: bootstrap(per_cell[GRAPH], per_cell[n], samples, rng) for n in others}
    means = table.groupby("method")["crps"].mean()
    best = str(means[[NONE, *BASELINES]].idxmin())
    middle = f"rewired, median of {rewired['method'].nunique()}"
    centre = rewired.groupby(["condition", "marker", "target"], sort=False)[NUMBERS].median().reset_index()
    shown = pd.concat([table[table["method"].isin(kept)], centre.assign(method=middle)])
    names = [*kept[:-1], middle, kept[-1]]
    parts = [_headline(means, best, ranges[best]), _methods(shown, names, ranges)]
    narrow = [name for name in names if not name.endswith(HELD)]
    for key in ("condition", "marker"):
        parts.append(markdown(shown.pivot_table("crps", key, "method", sort=False)[narrow].reset_index()))
    parts.append([f"CRPS of the graph minus that of {best}, per condition left out and marker:"])
    grids = [
        table[table["method"] == name].pivot(index="condition", columns="marker", values="crps")
        for name in (GRAPH, best)
    ]
    gap = (grids[0] - grids[1]).loc[targets.index, targets.columns]
    parts.append(markdown(gap.reset_index(), "+.2f"))
    return "\n\n".join("\n".join(part) for part in parts)


def _headline(means: pd.Series, best: str, interval: tuple[float, float]) -> list[str]:
    """Whether the graph helps: whether its difference to the best without it has an interval below zero."""
    low, high = interval
    verdict = "helps" if high < 0 else "does not help" if low < 0 else "predicts worse"
    wrong = means[means.index.str.startswith(REWIRED)]
    return [
        f"The graph {verdict}: CRPS {means[GRAPH]:.3f}, best without it {means[best]:.3f} ({best}),",
        f"difference {means[GRAPH] - means[best]:+.3f} (95 % {low:+.3f} to {high:+.3f}).",
        f"It predicts better than {int((wrong > means[GRAPH]).sum())} of {len(wrong)} rewired graphs"
        f" ({wrong.min():.3f} to {wrong.max():.3f}).",
    ]


def _methods(table: pd.DataFrame, names: list[str], ranges: Mapping[str, tuple[float, float]]) -> list[str]:
    """Means of all scores, and the interval of graph minus method."""
    rows = []
    for name in names:
        part = table[table["method"] == name]
        interval = "{:+.3f} to {:+.3f}".format(*ranges[name]) if name in ranges else ""
        rows.append(
            {
                "method": name,
                "CRPS": np.nan if name.endswith(HELD) else part["crps"].mean(),
                "graph minus it, 95 %": interval,
                "CRPS without targets": part.loc[~part["target"], "crps"].mean(),
                "1-Wasserstein": part["wasserstein"].mean(skipna=False),
                "error of median": part["error_of_median"].abs().mean(skipna=False),
            }
        )
    return markdown(pd.DataFrame(rows), ".3f")


def _per_cell(seen: Cells, drawn: Cells) -> list[np.ndarray]:
    """Mean score over markers of every cell, per condition."""
    pairs = zip(seen, drawn, strict=True)
    return [np.mean([crps(x, y) for x, y in zip(b.T, a.T, strict=True)], 0) for a, b in pairs]


def markdown(table: pd.DataFrame, style: str = ".2f") -> list[str]:
    """Lines of a table."""
    rows = [[str(name) for name in table.columns], ["---"] * table.shape[1]]
    for row in table.itertuples(index=False):
        rows.append([_text(value, style) for value in row])
    return [f"| {' | '.join(row)} |" for row in rows]


def _text(value: object, style: str) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if np.isnan(value) else f"{value:{style}}"
