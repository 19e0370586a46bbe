"""What a fit says in words and numbers: metrics, what is not determined, and the report page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from multiscale.fit.holdout import Evaluation, paired_bootstrap

if TYPE_CHECKING:
    from multiscale.fit.result import Result

__all__ = ["headline", "metrics", "undetermined", "write_report"]

PRIMARY = "heldout"
"""The split whose errors decide what the first line says."""

UNMOVED = 0.05
"""Prior standard deviations within which a parameter counts as left at its prior."""


def metrics(result: Result, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Machine-readable summary of a fit and its held-out errors."""
    optimum = result.optimum
    best = optimum.best
    return {
        "format_version": 1,
        "headline": headline(evaluations),
        "loss": float(optimum.loss[best]),
        "terms": result.terms(),
        "starts": len(optimum.loss),
        "starts_within_2_of_best": int((optimum.loss <= optimum.loss[best] + 2).sum()),
        "reasons": pd.Series(optimum.reasons).value_counts().to_dict(),
        "matched": {name: str(found) for name, found in result.problem.matches.items()},
        "not_determined": undetermined(result),
        "held_out": {name: _scores(evaluation) for name, evaluation in evaluations.items()},
        **{key: value for key, value in result.metadata().items() if key != "format_version"},
    }


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    """Errors, and differences to the fitted model with 95 % intervals over molecules."""
    table = evaluation.table
    touched = table[table["touched_by_graph"]]
    unit = ["molecule", "context"]
    scores: dict[str, Any] = {
        "held_out_together": list(evaluation.unit),
        "entries": len(table),
        "entries_touched_by_graph": len(touched),
        "blocks": len(table[unit].drop_duplicates()),
        "blocks_touched_by_graph": len(touched[unit].drop_duplicates()),
        "molecules_touched_by_graph": sorted(set(touched["molecule"])),
        "rmse": evaluation.scores().to_dict(orient="index"),
        "fitted_minus": {
            other: {name: _difference(part, other) for name, part in (("touched", touched), ("all", table))}
            for other in evaluation.models
            if other != "fitted"
        },
        "unit": f"{evaluation.scale}; differences of RMSE with 95 % bootstrap intervals over molecules",
    }
    if evaluation.rewired:
        fitted = evaluation.scores().loc["fitted", "touched"]
        scores["rewired_rmse_touched"] = evaluation.rewired
        scores["rewirings_beaten"] = int((np.array(evaluation.rewired) > fitted).sum())
    return scores


def _difference(table: pd.DataFrame, other: str) -> dict[str, float]:
    if table.empty:
        return {}
    value, lower, upper = paired_bootstrap(table, "fitted", other)
    return {"difference": value, "lower": lower, "upper": upper}


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
    """The graph helps only if the interval excludes zero and it beats 95 % of the rewired graphs."""
    if upper < 0 and beaten >= 0.95 * rewirings:
        return "The graph helps"
    return "The graph does not help here"


def undetermined(result: Result) -> list[str]:
    """Sentences on combinations that the data leave open, from the structure of the problem."""
    sentences = []
    for term in result.problem.tables:
        offsets = {offset.name for offset in term.table.assay.offsets(term.entries)}
        if "scale" in offsets and (term.entries["readout"] != "delta_g").all():
            sentences.append(
                f"`{term.name}`: only the product of a molecule's translation factor and the scale of its "
                "instrument is determined; how it splits between the two is set by their priors."
            )
    flagged = result.energies.query("evidence != 'measured'")["complex"].tolist()
    if flagged:
        sentences.append(
            f"{len(flagged)} complexes have no measured affinity; their energies start from an assumed prior "
            f"and move only as far as abundances ask: {', '.join(flagged)}."
        )
    sentences += _unmoved(result)
    return sentences


def _unmoved(result: Result) -> list[str]:
    """Parameters of the graph that stayed at their prior."""
    unmoved: list[str] = []
    for role in ("energy", "loss", "confinement"):
        if role in result.model.parameters:
            block = result.model.parameters[role]
            moved = (result.state.values[role][0].cpu().numpy() - block.mean) / block.sd
            unmoved += [name for name, z in zip(block.labels, moved, strict=True) if abs(z) < UNMOVED]
    if not unmoved:
        return []
    return [f"{len(unmoved)} parameters of the graph stayed at their prior: {', '.join(unmoved)}."]


def write_report(
    result: Result,
    path: Path,
    evaluations: Mapping[str, Evaluation],
    title: str = "",
    question: str = "",
) -> None:
    """Write the report: findings in sentences, network, energies, held-out errors, what is not determined."""
    from multiscale.report import html

    graph, optimum = result.graph, result.optimum
    verdict, _, facts = headline(evaluations).partition(": ")
    paragraphs = [text for text in (facts[:1].upper() + facts[1:], question) if text]
    paragraphs += [
        f"{len(optimum.loss)} starts were fitted jointly to "
        f"{', '.join(f'{name} ({found})' for name, found in result.problem.matches.items())}. "
        f"{int((optimum.loss <= optimum.loss.min() + 2).sum())} of them ended within 2 of the best negative "
        f"log posterior, {float(optimum.loss.min()):.2f}.",
        *undetermined(result),
    ]
    html.write_page(
        path,
        title=title or f"multiscale: {graph.name}",
        headline=verdict.rstrip(".") + ".",
        paragraphs=paragraphs,
        figures=_figures(result, evaluations),
        tables=_tables(result, evaluations),
        footer=result.metadata(),
    )


def _figures(result: Result, evaluations: Mapping[str, Evaluation]) -> list[tuple[str, Any]]:
    from multiscale.report import plots

    figures = []
    for evaluation in evaluations.values():
        if len(evaluation.table):
            caption = f"Error of every model, held out by {_spell(evaluation)} ({evaluation.scale})"
            figures.append((caption, plots.errors(evaluation.table, evaluation.models).figure))
    figures += [
        ("The network, coloured by what was learned", plots.network(result).figure),
        ("Energies of complexes", plots.energies(result.energies_with_priors()).figure),
        ("Negative log posterior of every start", plots.waterfall(result.optimum.loss.cpu().numpy()).figure),
    ]
    for evaluation in evaluations.values():
        if len(evaluation.table):
            caption = f"Predicted against measured, held out by {_spell(evaluation)} ({evaluation.scale})"
            figures.append((caption, plots.heldout(evaluation.table, evaluation.models).figure))
    return figures


def _spell(evaluation: Evaluation) -> str:
    """What was held out together, in words."""
    words = {"target": "molecule", "context": "cell type or context"}
    return " and ".join(words.get(part, part) for part in evaluation.unit)


def _tables(result: Result, evaluations: Mapping[str, Evaluation]) -> list[tuple[str, pd.DataFrame]]:
    tables = []
    for evaluation in evaluations.values():
        scores = evaluation.scores().rename_axis("model").reset_index()
        caption = f"Root mean square error ({evaluation.scale}), held out by {_spell(evaluation)}"
        tables.append((caption, scores))
    tables.append(("Energies of complexes (kcal/mol, standard state 1 M)", result.energies))
    if result.pair_state is not None:
        pairs = result.pair_state.frame().sort_values("occupancy", ascending=False)
        tables.append(("Complexes between cells: the 30 highest occupancies of a receiver", pairs.head(30)))
    if result.problem.network.pathways:
        activities = result.activities().rename_axis("context").reset_index()
        tables.append(("Pathway activity: signed sum of ln fold changes of its members", activities))
    return tables
