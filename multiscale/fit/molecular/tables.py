"""Tables of a molecular fit, and what it leaves open in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm

from multiscale.fit.identify import sentences, undetermined
from multiscale.fit.laplace import LEVEL, source_of
from multiscale.fit.molecular.pairs import combinations
from multiscale.fit.molecular.predict import predict, scores

if TYPE_CHECKING:
    from multiscale.fit.molecular.intervals import Uncertainty
    from multiscale.fit.molecular.result import MolecularResult
    from multiscale.fit.molecular.samples import SampledUncertainty

__all__ = [
    "calibration",
    "energies",
    "parameters",
    "predictions",
    "scores_of",
    "sentences_of",
    "starts",
    "undetermined_values",
]

SHOWN = 5_000
"""Most rows of every readings in the table of predictions, drawn at random."""

REACH = float(norm.ppf(0.5 + LEVEL / 2))
"""Half a 90 % interval of a normal distribution, in standard deviations."""

GRID = 60  # points of a calibration curve


def parameters(result: MolecularResult) -> pd.DataFrame:
    """PEtab parameter table of the best start, beside priors and intervals."""
    table = result.model.parameters.frame(result.theta[0])
    table = table.assign(priorMean=result.model.parameters.frame()["nominalValue"])
    known = result.uncertainty
    return table if known is None else pd.concat([table, known.laplace.frame()], axis=1)


def energies(result: MolecularResult) -> pd.DataFrame:
    """Energy of everything that encoders name (mutations), per term, kcal/mol.

    Returns:
        columns encoder, family, term, label, estimate, sd, prior_sd, lower, upper (90 %), determinedBy, note
        (what alone is determined, if it is a combination, or that no row has it), partner, combination,
        combination_sd.
    """
    known = result.uncertainty
    parts = [_family(result, *key) for key in _named(result)]
    if not parts:
        return pd.DataFrame(columns=["encoder", "family", "term", "label", "estimate"])
    table = pd.concat(parts, ignore_index=True)
    position = table.pop("position").to_numpy()
    shift = table.pop("shift").to_numpy()
    flat = np.append(result.flat[0].detach().cpu().numpy(), 0.0)
    table["estimate"] = flat[position] + flat[shift]
    if known is None:
        return table.assign(note=_notes(table))
    table = table.assign(**_spread(result, known, position, shift))
    table["lower"], table["upper"] = (table["estimate"] + sign * REACH * table["sd"] for sign in (-1, 1))
    source = source_of(table["sd"].to_numpy() / table["prior_sd"].to_numpy())
    table["determinedBy"] = np.where(table["seen"], source, "prior")  # of others the data tell the mean alone
    table = pd.concat([table, combinations(table, position, known.entries)], axis=1)
    return table.assign(note=_notes(table)).drop(columns="seen")


def _spread(
    result: MolecularResult, known: Uncertainty | SampledUncertainty, position: np.ndarray, shift: np.ndarray
) -> dict[str, np.ndarray]:
    """Posterior and prior sds of weights with what is added to all of their family; shift −1 = nothing."""
    i, j = (torch.as_tensor(np.where(at < 0, result.model.parameters.size, at)) for at in (position, shift))
    variance = (known.entries(i, i) + known.entries(j, j) + 2 * known.entries(i, j)).cpu().numpy()
    prior = np.append(result.model.parameters.prior_sd, 0.0)
    return {"sd": np.sqrt(np.maximum(variance, 0.0)), "prior_sd": np.hypot(prior[position], prior[shift])}


def _named(result: MolecularResult):
    """Encoder, family and term whose weights are energies of something."""
    for encoder, bound in result.problem.bound.items():
        for family in bound.families:
            if family.energies:
                for term in result.problem.encoders[encoder].terms:
                    yield encoder, family, term


def _family(result: MolecularResult, encoder: str, family, term: str) -> pd.DataFrame:
    slices = result.model.parameters.slices()
    where, shift = slices[f"{encoder} {family.name} {term}"], -1
    if family.shift:
        shift = slices[f"{encoder} {family.shift} {term}"].start
    seen = np.ones(len(family.labels), dtype=bool) if family.seen is None else np.asarray(family.seen)
    return pd.DataFrame(
        {
            "encoder": encoder,
            "family": family.name,
            "term": term,
            "label": list(family.labels),
            "position": np.arange(where.start, where.stop),
            "shift": shift,
            "seen": seen,
        }
    )


def _notes(table: pd.DataFrame) -> list[str]:
    """What a reader must know of an energy, '' if nothing."""
    if "combination" not in table:
        return ["" if seen else "no fitted row has it" for seen in table["seen"]]
    reach = table["combination_sd"] * REACH
    return [
        "no fitted row has it"
        if not seen
        else f"only {combination} is determined (±{end:.2g})"
        if combination
        else "left to the prior"
        if source == "prior"
        else ""
        for seen, combination, end, source in zip(
            table["seen"], table["combination"], reach, table["determinedBy"], strict=True
        )
    ]


def predictions(result: MolecularResult) -> pd.DataFrame:
    """Some fitted rows of every readings, at most 5,000, beside the fit, in the instrument's unit."""
    found = []
    for name, part in result.model.instruments.items():
        rows = _some(part.rows, SHOWN)
        readings = part.readings.take(rows)
        chosen = result.model.row_model(readings)
        said = predict(chosen, result.flat, result.uncertainty, seed=int(result.settings.get("seed", 0)))
        table = said.frame(pd.DataFrame(index=readings.rows.index))
        table.insert(0, "readings", name)
        table.insert(1, "line", readings.rows.index)
        table.insert(2, "unit", readings.instrument.unit)
        found.append(table)
    return pd.concat(found, ignore_index=True)


def _some(rows: int, most: int) -> np.ndarray:
    """Positions of rows drawn without replacement, sorted; all if there are few."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, size=most, replace=False))


def calibration(result: MolecularResult) -> pd.DataFrame:
    """How readings follow what is read: means of rows with a similar readout.

    Returns:
        columns readings, quantity (such as `fraction bound`), readout (a fraction, µM or kcal/mol), expected
        and observed (instrument's unit), sd (of the observed), n; of the first quantity of every instrument.
    """
    return pd.concat([_curve(result, name) for name in result.model.instruments], ignore_index=True)


def _curve(result: MolecularResult, name: str) -> pd.DataFrame:
    part = result.model.instruments[name]
    rows = torch.as_tensor(_some(part.rows, 4 * SHOWN), device=result.model.device)
    with torch.no_grad():
        u = part.scalars_of(result.flat, rows)
        expected, read = (
            part.expected(u, rows)[0].cpu().numpy(),
            part.readouts(u, rows)[0, :, 0].cpu().numpy(),
        )
    quantity = part.instrument.quantities()[0]
    read = read if quantity.kind == "energy" else np.exp(read)
    observed = np.asarray(part.instrument.observed(part.readings.arrays), dtype=float)[rows.cpu().numpy()]
    table = pd.DataFrame({"readout": read, "expected": expected, "observed": observed})
    table["bin"] = pd.qcut(table["readout"].rank(method="first"), min(GRID, len(table)), labels=False)
    grouped = table.groupby("bin")
    means = grouped.mean().assign(sd=grouped["observed"].std(), n=grouped.size()).reset_index(drop=True)
    means.insert(0, "readings", name)
    means.insert(1, "quantity", f"{quantity.kind} {quantity.species}")
    return means


def scores_of(result: MolecularResult) -> pd.DataFrame:
    """How the fitted rows of every readings are predicted; shares within intervals from at most 5,000."""
    rows, shown = [], predictions(result)
    for name, part in result.model.instruments.items():
        found = scores(predict(part, result.flat, None))
        mine = shown[shown["readings"] == name]
        if "coverage_90" in found and mine["lower"].notna().any():
            inside = (mine["observed"] >= mine["lower"]) & (mine["observed"] <= mine["upper"])
            found["coverage_90"] = float(inside[mine["observed"].notna()].mean())
        rows.append({"readings": name, **found, "unit": part.instrument.unit})
    return pd.DataFrame(rows)


def starts(result: MolecularResult) -> pd.DataFrame:
    """Where every start ended and why, best first."""
    optimum = result.optimum
    columns = {name: getattr(optimum, name).cpu().numpy() for name in ("loss", "gradient", "steps")}
    table = pd.DataFrame({"start": np.arange(len(optimum.loss)), **columns, "reason": optimum.reasons})
    return table.sort_values("loss", kind="stable", ignore_index=True)


def undetermined_values(result: MolecularResult) -> pd.DataFrame | None:
    """Values that the data alone do not determine, see `identify.undetermined`."""
    known = result.uncertainty
    if known is None:
        return None
    others = undetermined(known.laplace, among=_plain(result))
    weights = result.energies
    if "determinedBy" not in weights:  # no encoder names energies
        return others
    loose = weights[weights["determinedBy"] != "data"]
    prefix = loose["encoder"] + " " + loose["family"] + " " if len(loose) else loose["label"]
    named = loose.assign(name=prefix + loose["term"] + " " + loose["label"], kind=loose["term"])
    named["partner"] = (prefix + named["partner"] + " " + named["label"]).where(named["partner"] != "", "")
    columns = [
        "name",
        "kind",
        "label",
        "partner",
        "combination",
        "sd",
        "prior_sd",
        "combination_sd",
        "determinedBy",
    ]
    return pd.concat([others, named.reindex(columns=columns)], ignore_index=True)


def _plain(result: MolecularResult) -> np.ndarray:
    """Positions of parameters that are no weights of encoders."""
    of_encoders = {
        f"{name} {family.name} {term}"
        for name, bound in result.problem.bound.items()
        for family in bound.families
        for term in result.problem.encoders[name].terms
    }
    where = result.model.parameters.slices()
    kept = [np.arange(place.start, place.stop) for name, place in where.items() if name not in of_encoders]
    return np.concatenate([*kept, np.zeros(0, dtype=int)]).astype(int)


def sentences_of(result: MolecularResult) -> list[str]:
    """What these data do not determine, and what was fixed so that values mean something."""
    known, said = result.uncertainty, []
    if known is not None:
        said += _about_energies(result.energies)
        said += sentences(undetermined(known.laplace, among=_plain(result)))
    for name, bound in result.problem.bound.items():
        said += [f"Encoder `{name}`: {bound.gauge.rstrip('.')}."] if bound.gauge else []
    for name in result.settings.get("unsupported", ()):
        said.append(
            f"The data do not support `{name}`: the learned width of its prior fell to nothing, and its"
            " weights are zero."
        )
    return said


def _about_energies(table: pd.DataFrame) -> list[str]:
    """Combinations and energies left to the prior, most telling first."""
    if "combination" not in table:
        return []
    said = []
    paired = table[table["combination"] != ""].drop_duplicates(["encoder", "family", "label", "combination"])
    for (encoder, combination), part in paired.groupby(["encoder", "combination"], sort=False):
        reach = 1.645 * part["combination_sd"].median()
        said.append(
            f"Encoder `{encoder}`: only {combination} is determined (typically to ±{reach:.2g} kcal/mol), not"
            f" each alone, for {_list(part['label'].tolist())}; how it splits is set by the priors."
        )
    alone = table[(table["combination"] == "") & (table["determinedBy"] == "prior")]
    for (encoder, term), part in alone.groupby(["encoder", "term"], sort=False):
        said.append(
            f"Encoder `{encoder}`: the data hardly move {len(part)} of {_same(table, encoder, term)} energies"
            f" of `{term}` from their prior: {_list(part['label'].tolist())}."
        )
    return said


def _same(table: pd.DataFrame, encoder: object, term: object) -> int:
    return int(((table["encoder"] == encoder) & (table["term"] == term)).sum())


def _list(names: list[str], most: int = 8) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
