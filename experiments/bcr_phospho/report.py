"""What the study found, as tables in Markdown; what decides comes first."""

from __future__ import annotations

import numpy as np
import pandas as pd
from study import GRAPH, NONE, OTHERS, REWIRED, SPLITS, TOTALS, Study

from multiscale.fit.cells.condition_baselines import GROUP_METHODS

__all__ = ["report"]

DECIDES = "energy_distance"
KEYS = ["split", "condition", "donor"]
TITLES = {
    "donor": "A donor that was never seen:",
    "group": "A condition of a donor who was seen under the other:",
    "condition": "A condition that was never seen in any donor:",
}


def report(study: Study, scores: pd.DataFrame, edges: pd.DataFrame) -> str:
    """Headlines and tables.

    Args:
        study: what was asked.
        scores: one row per split, group, method and seed.
        edges: one row per edge and seed.
    """
    means = scores.groupby([*KEYS, "method"], sort=False)[[*TOTALS, *study.seen.columns]].mean().reset_index()
    every = {split: (means[means["split"] == split], scores[scores["split"] == split]) for split in SPLITS}
    parts = [_headline(study, *tables, split) for split, tables in every.items()]
    for split, (own, seeds) in every.items():
        parts.append([TITLES[split], "", *_methods(study, own, seeds)])
        parts.append(["1-Wasserstein distance of every marker, in sd:", "", *_markers(study, own)])
    return "\n\n".join("\n".join(part) for part in [*parts, _edges(edges)])


def _headline(study: Study, means: pd.DataFrame, scores: pd.DataFrame, split: str) -> list[str]:
    """Whether the graph helps: whether its difference to the best without it has an interval below zero."""
    table = means.pivot_table(DECIDES, KEYS, "method")
    best = str(table[[NONE, *GROUP_METHODS]].mean().idxmin())
    low, high = _bootstrap(table[GRAPH] - table[best], study.config["study"]["bootstrap"])
    verdict = "helps" if high < 0 else "does not help" if low < 0 else "predicts worse"
    lines = [
        f"{TITLES[split]} the graph {verdict}: energy distance {table[GRAPH].mean():.3f}, best without it "
        f"{table[best].mean():.3f} ({best.replace('_', ' ')}),",
        f"difference {(table[GRAPH] - table[best]).mean():+.3f} (95 % {low:+.3f} to {high:+.3f}).",
    ]
    wrong = table[[name for name in table if str(name).startswith(REWIRED)]].mean()
    if len(wrong):
        seeds = scores.loc[scores["method"].str.startswith(REWIRED), "seed"].unique()
        same = scores[(scores["method"] == GRAPH) & scores["seed"].isin(seeds)][DECIDES].mean()
        lines.append(
            f"With the seed that rewired graphs have ({same:.3f}) it predicts better than "
            f"{int((wrong > same).sum())} of {len(wrong)} of them ({wrong.min():.3f} to {wrong.max():.3f})."
        )
    return lines


def _bootstrap(gaps: pd.Series, samples: int) -> tuple[float, float]:
    """95 % interval of the mean over donors, who are drawn again with both their conditions."""
    own = gaps.groupby("donor").mean().to_numpy()
    drawn = np.random.default_rng(0).integers(len(own), size=(samples, len(own)))
    low, high = np.quantile(own[drawn].mean(1), [0.025, 0.975])
    return float(low), float(high)


def _order(means: pd.DataFrame) -> list[str]:
    present = set(means["method"])
    return [name for name in (GRAPH, OTHERS, NONE, *GROUP_METHODS) if name in present]


def _methods(study: Study, means: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """Means over groups of all scores; the sd is that over seeds of the mean over groups."""
    rows = []
    others = [name for name in study.seen.columns if name not in study.state]
    for name in _order(means):
        own, every = means[means["method"] == name], scores[scores["method"] == name]
        row = {"method": name.replace("_", " "), "energy distance": own[DECIDES].mean()}
        row["sd over seeds"] = every.groupby("seed")[DECIDES].mean().std()
        row |= {c: own[own["condition"] == c][DECIDES].mean() for c in study.config["conditions"]}
        row |= {"MMD²": own["mmd"].mean(), "1-Wasserstein, signalling": own["wasserstein"].mean()}
        rows.append(row | {"1-Wasserstein, other markers": float(own[others].to_numpy().mean())})
    wrong = means[means["method"].str.startswith(REWIRED)]
    if len(wrong):
        each = wrong.groupby("method")
        row = {"method": f"rewired, median of {len(each)}", "energy distance": each[DECIDES].mean().median()}
        for c in study.config["conditions"]:
            own = wrong[wrong["condition"] == c]
            row[c] = own.groupby("method")[DECIDES].mean().median()
        row |= {"MMD²": each["mmd"].mean().median()}
        row |= {"1-Wasserstein, signalling": each["wasserstein"].mean().median()}
        row["1-Wasserstein, other markers"] = each[others].mean().mean(axis=1).median()
        rows.append(row)
    return markdown(pd.DataFrame(rows), ".3f")


def _markers(study: Study, means: pd.DataFrame) -> list[str]:
    """Distance of every marker, mean over groups; markers of signalling first."""
    names = [*study.state, *(name for name in study.seen.columns if name not in study.state)]
    order = _order(means)
    table = means.groupby("method")[names].mean().T[order]
    wrong = means[means["method"].str.startswith(REWIRED)]
    if len(wrong):
        table["rewired, median"] = wrong.groupby("method")[names].mean().median()
    return markdown(table.rename_axis("marker").rename(columns=_plain).reset_index())


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _edges(edges: pd.DataFrame) -> list[str]:
    """One row per edge: the first seed, and in how many of the others the verdict is the same."""
    first = edges[edges["seed"] == edges["seed"].min()].set_index("edge")
    same = {name: (own["verdict"] == own["verdict"].iloc[0]).sum() for name, own in edges.groupby("edge")}
    counts, seeds = first["verdict"].value_counts(), edges["seed"].nunique()
    rows = [
        {
            "edge": name,
            "stated by": row["reference"],
            "k (90 %)": f"{row['k']:.2g} ({row['k_lower']:.2g} to {row['k_upper']:.2g})",
            "prior k": f"{row['prior_k']:.2g}",
            "sd / prior sd": row["sd_ratio"],
            "share (90 %)": f"{row['share']:.2f} ({row['share_lower']:.2f} to {row['share_upper']:.2f})",
            "verdict": row["verdict"],
            f"same in, of {seeds} seeds": str(same[name]),
        }
        for name, row in first.iterrows()
    ]
    said = ", ".join(f"{counts.get(word, 0)} {word}" for word in ("acts", "silent", "open"))
    return [f"Edges of the literature ({said}):", "", *markdown(pd.DataFrame(rows))]


def markdown(table: pd.DataFrame, style: str = ".2f") -> list[str]:
    """Lines of a table."""
    rows = [[str(name) for name in table.columns], ["---"] * table.shape[1]]
    rows += [[_text(value, style) for value in row] for row in table.itertuples(index=False)]
    return [f"| {' | '.join(row)} |" for row in rows]


def _text(value: object, style: str) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if np.isnan(value) else f"{value:{style}}"
