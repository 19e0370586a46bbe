"""What the data do not determine, in words: parameters left to their priors, and pairs that act together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

from multiscale.fit.laplace import LEVEL, Approximation
from multiscale.model.parameters import ParameterTable

__all__ = ["sentences", "undetermined"]

TOGETHER = 0.5
"""A combination counts as determined if its sd is below this fraction of the smaller sd of its two parts."""

WORDS = {("ln", 1): "product", ("ln", -1): "ratio", ("lin", 1): "sum", ("lin", -1): "difference"}
"""What the sum or difference of two values on their blocks' scale is."""


def undetermined(approximation: Approximation, among: np.ndarray | None = None) -> pd.DataFrame:
    """Every parameter that the data alone do not determine, with the combination that they do determine.

    Two parameters of the same scale belong together if their posteriors are so correlated that the sum or the
    difference of their values is known at least twice as well as either of them.

    Args:
        approximation: of the posterior.
        among: positions of the parameters that are looked at; all if None.

    Returns:
        columns parameterId, name, kind, label, partner (name, or empty), combination (product, ratio, sum,
        difference, or empty), sd, prior_sd, combination_sd (all on the parameter's scale), determinedBy.
    """
    table = _parameters(approximation)
    open_ = (table["determinedBy"] != "data").to_numpy()
    loose = np.flatnonzero(open_ if among is None else open_ & np.isin(np.arange(len(table)), among))
    if not len(loose):
        return table.iloc[:0].assign(partner="", combination="", combination_sd=np.nan)
    slopes = approximation.slopes().cpu().numpy()[loose]
    index = approximation.theta.new_tensor(loose).long()
    covariance = approximation.covariance_of(index).cpu().numpy() * np.outer(slopes, slopes)
    partner, sign, combined = _partners(covariance, table["scale"].to_numpy()[loose])
    chosen = table.iloc[loose].reset_index(drop=True)
    has = partner >= 0
    return chosen.assign(
        partner=np.where(has, chosen["name"].to_numpy()[partner], ""),
        partner_kind=np.where(has, chosen["kind"].to_numpy()[partner], ""),
        partner_label=np.where(has, chosen["label"].to_numpy()[partner], ""),
        combination=[
            WORDS[scale, int(s)] if there else ""
            for scale, s, there in zip(chosen["scale"], sign, has, strict=True)
        ],
        combination_sd=np.where(has, combined, np.nan),
    )


def _parameters(approximation: Approximation) -> pd.DataFrame:
    """Name, kind and label of every parameter beside what is known of it."""
    parameters: ParameterTable = approximation.parameters
    frame = approximation.frame()[["sd", "priorSd", "determinedBy"]].rename(columns={"priorSd": "prior_sd"})
    rows = [
        (identifier, f"{block.name} {label}", _kind(block), label, block.scale)
        for block in parameters.blocks
        for identifier, label in zip(block.identifiers, block.labels, strict=True)
    ]
    names = pd.DataFrame(rows, columns=["parameterId", "name", "kind", "label", "scale"])
    return pd.concat([names, frame], axis=1)


def _kind(block) -> str:
    """What a block holds, in words: its role, or its own name where the role is shared by several assays."""
    return block.name if block.role in ("", "calibration", "noise") else block.role


def _partners(covariance: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best partner of every parameter (−1 if none), sign, and sd of the combination."""
    variance = covariance.diagonal()
    smaller = np.minimum(variance[:, None], variance)
    same = scale[:, None] == scale
    signs = np.sign(-covariance)  # the combination in which the errors cancel
    combined = variance[:, None] + variance + 2 * signs * covariance
    ratio = np.where(same & ~np.eye(len(variance), dtype=bool), combined / smaller, np.inf)
    best = ratio.argmin(1)
    rows = np.arange(len(best))
    together = ratio[rows, best] < TOGETHER**2
    sd = np.sqrt(np.maximum(combined[rows, best], 0.0))  # rounding may leave −1e-17 of a perfect cancellation
    return np.where(together, best, -1), signs[rows, best], sd


def sentences(table: pd.DataFrame) -> list[str]:
    """Say in words what `undetermined` lists, most telling first."""
    if table.empty:
        return []
    pairs = table[table["combination"] != ""]
    said = [_pair_sentence(*key, part) for key, part in _groups(pairs)]
    alone = table[(table["combination"] == "") & (table["determinedBy"] == "prior")]
    said += [_prior_sentence(str(kind), part) for kind, part in alone.groupby("kind", sort=False)]
    return said


def _groups(pairs: pd.DataFrame) -> list[tuple[tuple[str, str, str], pd.DataFrame]]:
    """Pairs of the same two kinds and the same combination, each pair once."""
    ordered = pairs.assign(
        first=np.minimum(pairs["name"], pairs["partner"]), second=np.maximum(pairs["name"], pairs["partner"])
    ).drop_duplicates(["first", "second"])
    swapped = ordered["partner_kind"] < ordered["kind"]
    ordered.loc[swapped, ["kind", "partner_kind", "label", "partner_label"]] = ordered.loc[
        swapped, ["partner_kind", "kind", "partner_label", "label"]
    ].to_numpy()
    return list(ordered.groupby(["combination", "kind", "partner_kind"], sort=False))  # pyright: ignore[reportReturnType]


def _pair_sentence(combination: str, kind: str, partner: str, part: pd.DataFrame) -> str:
    names = [_of(a, b) for a, b in zip(part["label"], part["partner_label"], strict=True)]
    reach = norm.ppf(0.5 + LEVEL / 2) * part["combination_sd"].median()
    if combination in ("product", "ratio"):
        known = f"typically to a factor of {np.exp(reach):.2g}"
    else:
        known = f"typically to ±{reach:.2g}"
    both = f"two values of {kind}" if kind == partner else f"{kind} and {partner}"
    return (
        f"Only the {combination} of {both} is determined ({known}), not each alone, for {_list(names)}; how "
        "it splits is set by the priors."
    )


def _of(label: str, partner: str) -> str:
    """One name for a pair: the label that the other contains, or both."""
    short, long = sorted((label, partner), key=len)
    return short if short in long else f"{label} with {partner}"


def _prior_sentence(kind: str, part: pd.DataFrame) -> str:
    noun = "1 value" if len(part) == 1 else f"{len(part)} values"
    return f"The data hardly move {noun} of {kind} from the prior: {_list(part['label'].tolist())}."


def _list(names: list[str], most: int = 8) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
