"""What a fit says in words: whether the graph helped, what was learned and how sure, what stays open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from multiscale.fit import identify, tables
from multiscale.fit.evaluation import Evaluation, inside, paired_bootstrap
from multiscale.fit.laplace import LEVEL

if TYPE_CHECKING:
    from multiscale.fit.result import Result

__all__ = ["headline", "learned", "not_determined"]

PRIMARY = "heldout"
"""The split whose errors decide what the first line says."""

BEATEN = 0.95
"""Part of the rewired graphs that the real one must predict better than, to count as more than a shape."""

ENOUGH = 100
"""Rewired graphs from which on the part that is beaten is known to a few per cent."""

OPEN = 0.5
"""Width of the interval of an occupancy above which it counts as open."""


def headline(evaluations: Mapping[str, Evaluation]) -> str:
    """First line of the report: whether the graph helped to predict what was held out."""
    evaluation = evaluations.get(PRIMARY)
    if evaluation is None:
        return "Nothing was held out, so this fit does not say whether the graph helps."
    touched = evaluation.table[evaluation.table["touched_by_graph"]]
    if touched.empty:
        return (
            "The graph touches none of the held-out measurements, so this fit does not say whether it helps."
        )
    value, lower, upper = paired_bootstrap(touched, "fitted", "no_graph")
    errors = evaluation.scores()["touched"]
    count = len(touched[["molecule", "context"]].drop_duplicates())
    rewired = np.array(evaluation.rewired)
    beaten = int((rewired > errors["fitted"]).sum())
    controls = f"; it predicts better than {beaten} of {len(rewired)} rewired graphs" if len(rewired) else ""
    controls += " (too few to be sure; 100 are usual)" if 0 < len(rewired) < ENOUGH else ""
    facts = (
        f"on the {count} held-out blocks that it can influence ({len(touched)} measurements), the root mean "
        f"square error ({evaluation.scale}) is {errors['fitted']:.2f} with the graph and "
        f"{errors['no_graph']:.2f} without (difference {value:+.2f}, 95 % interval {lower:+.2f} to "
        f"{upper:+.2f} over molecules){controls}."
    )
    simple = errors.drop(["fitted", "no_graph"])
    if simple.min() < errors["fitted"]:
        facts += f" A simpler model is better: `{simple.idxmin()}` with {simple.min():.2f}."
    facts = facts.replace(" -", " −")
    return f"{_verdict(upper, beaten, len(rewired))}: {facts}"


def _verdict(upper: float, beaten: int, rewirings: int) -> str:
    """The graph helps only if it beats 95 % of the rewired graphs and the interval excludes zero."""
    if beaten < BEATEN * rewirings:
        return "The graph adds nothing here"
    if upper >= 0:
        return "The graph does not clearly help here"
    return "The graph helps"


def learned(result: Result, evaluations: Mapping[str, Evaluation]) -> list[str]:
    """Sentences on what was learned and how sure it is, most important first."""
    said = [_energies(result), _formed(result), _talk(result), _coverage(result, evaluations)]
    return [sentence for sentence in (*said, _determined(result), _agreement(result)) if sentence]


def _energies(result: Result, most: int = 3) -> str:
    """The energies that the data pinned down best, before and after: unmeasured ones if there are any."""
    table = result.energies
    if "lower" not in table or table.empty:
        return ""
    unmeasured = table[table["evidence"] != "measured"]
    table, which = (unmeasured, " without a measured affinity") if len(unmeasured) else (table, "")
    width = (table["upper"] - table["lower"]) / table["prior_sd"].where(table["prior_sd"] > 0)
    best = table.loc[width.dropna().sort_values(kind="stable").index[:most]]
    columns = ["complex", "g_kcal_per_mol", "lower", "upper", "prior_mean", "prior_sd"]
    said = [
        f"`{name}` {_signed(g)} ({_signed(lower)} to {_signed(upper)}; before {_signed(mean)} ± {sd:.1f})"
        for name, g, lower, upper, mean, sd in best[columns].itertuples(index=False)
    ]
    return (
        f"Of {len(table)} complexes{which}, the data narrow these energies most (kcal/mol, {_percent(LEVEL)} "
        f"interval): {'; '.join(said)}."
    )


def _formed(result: Result) -> str:
    """The complex within cells of which most is surely formed, and the one of which least is."""
    table = tables.complexes(result)
    if "bound_lower" not in table or table.empty:
        return ""
    rows = table.to_dict("records")
    ends = rows[int(table["bound_lower"].argmax())], rows[int(table["bound_upper"].argmin())]
    said = [
        f"`{row['complex']}` in `{row['context']}` ({_percent(row['bound_fraction'])} of its scarcest "
        f"subunit, {_percent(row['bound_lower'])} to {_percent(row['bound_upper'])})"
        for row in ends
    ]
    return f"Most surely formed is {said[0]}; most surely not, {said[1]}."


def _talk(result: Result) -> str:
    """The contact between cells that is known best, or that none is."""
    table = tables.pairs(result)
    if table is None or "occupancy_lower" not in table or table.empty:
        return ""
    row = table.to_dict("records")[int(table["occupancy_lower"].argmax())]
    lower, upper = row["occupancy_lower"], row["occupancy_upper"]
    known = upper - lower < OPEN
    return (
        f"{'The surest contact' if known else 'No contact between cells is pinned down; the surest'} is "
        f"`{row['complex']}` from `{row['sender']}` to `{row['receiver']}`: {_percent(row['occupancy'])} of "
        f"the receiver's molecules are in it ({_percent(lower)} to {_percent(upper)})."
    )


def _determined(result: Result) -> str:
    if result.laplace is None:
        return "No intervals could be computed for this fit."
    source = result.parameters["determinedBy"].value_counts()
    return (
        f"Of {len(result.parameters)} parameters the data determine {source.get('data', 0)} (their posterior "
        f"is at most half as wide as their prior), {source.get('prior', 0)} stay as wide as their prior, and "
        f"{source.get('both', 0)} lie between; together that is "
        f"{result.laplace.effective_parameters():.0f} determined directions."
    )


def _coverage(result: Result, evaluations: Mapping[str, Evaluation]) -> str:
    """How many measurements lie inside their interval: those fitted, and those held out."""
    said = []
    table = result.predictions
    if "lower" in table:
        exact = table[(table["censoring"] == 0) & (table["readout"] != "transcript")]
        said.append(f"{_percent(inside(exact))} of the {len(exact)} fitted values")
    for evaluation in evaluations.values():
        if "lower" in evaluation.table:
            count = len(evaluation.table)
            said.append(f"{_percent(inside(evaluation.table))} of {count} held out by {_spell(evaluation)}")
    return f"{_percent(LEVEL)} intervals of single measurements hold {', '.join(said)}." if said else ""


def _agreement(result: Result) -> str:
    loss = result.optimum.loss
    best = float(loss[result.optimum.best])
    near = int((loss <= best + 2).sum())
    said = f"{near} of {len(loss)} starts ended within 2 of the best negative log posterior, {best:.2f}"
    return (
        f"Only {said}: others may be better still, so try more starts."
        if near == 1 < len(loss)
        else f"{said}."
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _signed(value: Any) -> str:
    return f"{value:.1f}".replace("-", "−")


def _spell(evaluation: Evaluation) -> str:
    """What was held out together, in words."""
    words = {"target": "molecule", "context": "context"}
    return " × ".join(words.get(part, part) for part in evaluation.unit)


def not_determined(result: Result) -> list[str]:
    """Sentences on what these data leave open."""
    said = [] if result.laplace is None else identify.sentences(identify.undetermined(result.laplace))
    flagged = result.energies.query("evidence != 'measured'")["complex"].tolist()
    if flagged:
        said.append(
            f"{len(flagged)} complexes have no measured affinity; their energies start from an assumed prior "
            f"and move only as far as abundances ask: {', '.join(flagged)}."
        )
    return said
