"""Cross-validation of molecular problems: every row is predicted by a fit that never saw its group."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from multiscale.errors import DataError
from multiscale.fit.api import fit
from multiscale.fit.molecular.baselines import baselines, bounded_scores
from multiscale.model.molecular import MolecularProblem

__all__ = ["Split", "compare_on_folds", "cross_validate", "fold_of"]


def fold_of(keys: Sequence[object], folds: int, seed: int = 0) -> np.ndarray:
    """Draw the fold of every row; rows of equal key share one.

    Args:
        keys: of the rows, such as the receptor that a row is about.
        folds: how many, as even in numbers of keys as can be.
        seed: of the draw.

    Returns:
        0 to folds − 1, shape (row,).

    Raises:
        DataError: there are fewer different keys than folds.

    >>> sorted(fold_of(["a", "b", "a", "b"], 2)[:2].tolist())
    [0, 1]
    """
    codes, known = pd.factorize(np.asarray(keys, dtype=object), sort=True)
    if not 1 < folds <= len(known):
        raise DataError(f"`folds` must be 2 to {len(known)}, the number of different keys; got {folds}.")
    drawn = np.random.default_rng(seed).permutation(len(known)) % folds
    return drawn[codes]


def cross_validate(
    problem: MolecularProblem,
    name: str,
    fold: np.ndarray,
    *,
    only: Sequence[int] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Fit without each fold of some readings in turn, and predict it.

    Encoders get to know the fitted rows alone; all other readings are fitted every time.

    Args:
        problem: with all rows.
        name: of the readings that are parted.
        fold: of every row of them.
        only: folds to predict; None for all.
        options: of `fit`.

    Returns:
        predictions as `MolecularResult.predict` gives them, in the order of the rows, with a column `fold`;
        rows of no wanted fold are left out.

    Raises:
        DataError: there are no such readings, or not as many folds as rows.
    """
    parts = problem.readings
    if name not in parts or len(fold) != len(parts[name]):
        raise DataError(f"`fold` must say for every row of one of {', '.join(parts)} where it belongs.")
    tables = []
    for number in np.unique(fold) if only is None else only:
        held = fold == number
        fitted = [part.take(~held) if key == name else part for key, part in parts.items()]
        result = fit(problem.with_readings(fitted), **options)
        table = result.predict(parts[name].take(held))
        tables.append(table.assign(fold=number, row=np.flatnonzero(held)))
    return pd.concat(tables).sort_values("row").drop(columns="row")


@dataclass(frozen=True)
class Split:
    """How rows of a table are parted.

    Args:
        keys: of the rows; rows of equal key are held out together.
        folds: how many.
        judged: folds that are predicted; the others only help to fit.
    """

    keys: Sequence[object]
    folds: int
    judged: Sequence[int]


def compare_on_folds(
    problem: MolecularProblem,
    name: str,
    splits: Mapping[str, Split],
    limit: float,
    sides: Mapping[str, str],
    reported: Callable[[pd.DataFrame], pd.DataFrame],
    **options: Any,
) -> pd.DataFrame:
    """Scores of a model of pairs and of `baselines` on the same folds of every split, in log10 of affinities.

    Args:
        problem: with all rows.
        name: of the readings of affinities.
        splits: by name.
        limit: up to which the assay sees binding; readings beyond it stand as the limit.
        sides: kind of entity → its encoder, `Features` by a mixture whose first part says who is near whom.
        reported: expected readings from a table of predictions, see `limited`.
        options: of `fit`.

    Returns:
        `split`, `rows`, `model`, the scores of `bounded_scores` and `seconds` per fold.
    """
    readings, bound, found = problem.readings[name], dict[str, Any](problem.bound), []
    beyond = readings.arrays["censoring"] > 0
    y = np.log10(np.where(beyond, limit, readings.instrument.observed(readings.arrays)))
    near = {kind: bound[own].source.parts[0].features(readings) for kind, own in sides.items()}
    for title, split in splits.items():
        fold, began = fold_of(split.keys, split.folds, seed=1), time.perf_counter()
        held = np.isin(fold, split.judged)
        table = reported(cross_validate(problem, name, fold, only=split.judged, **options))
        seconds = (time.perf_counter() - began) / len(split.judged)
        own = {"split": title, "rows": int(held.sum())}
        for model, guess in baselines(y, near, fold, split.judged).items():
            found.append(own | {"model": model} | bounded_scores(y[held], guess[held], beyond[held]))
        guess, lower, upper = (np.log10(table[key].to_numpy()) for key in ("predicted", "lower", "upper"))
        scores = bounded_scores(y[held], guess, beyond[held], lower, upper)
        found.append(own | {"model": "this model"} | scores | {"seconds": seconds})
    return pd.DataFrame(found)
