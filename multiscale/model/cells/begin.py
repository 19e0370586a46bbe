"""Where training begins: latent states by principal components, loadings by regression on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from multiscale.assays.channels import Channel, Summary
from multiscale.data.cells import Modality
from multiscale.model.cells.matching import Reading
from multiscale.model.cells.problem import CellProblem
from multiscale.model.cells.sample import sample_cells, visible_values
from multiscale.model.sums import read_sum

__all__ = ["Beginning", "molecule_loadings", "principal_scores"]

CHUNK = 4096  # cells that are in memory at once
EXTRA, ROUNDS = 8, 4  # of the randomised decomposition: further directions, and products with it
HALF_STEP = 0.5  # of ln signal, for the slope of what an encoder is shown


@dataclass(frozen=True)
class _Shown:
    """What an encoder is shown of one modality: how to make it of order one, and how much it weighs."""

    modality: Modality
    mean: np.ndarray
    sd: np.ndarray

    def __call__(self, cells: np.ndarray) -> np.ndarray:
        """Standardised, 0 where nothing was seen, over √features, shape (cell, feature)."""
        seen = shown(self.modality, cells)
        return np.nan_to_num((seen - self.mean) / self.sd) / np.sqrt(len(self.modality.features))


def shown(modality: Modality, cells: np.ndarray) -> np.ndarray:
    """What an encoder is shown of some cells, NaN where nothing was seen, shape (cell, feature)."""
    values = visible_values(modality, cells)
    blank = np.isnan(values)
    ln_size = torch.as_tensor(np.log(np.where(modality.size[cells] > 0, modality.size[cells], 1.0)))
    seen = modality.channel.seen(torch.as_tensor(np.where(blank, 0.0, values)).double(), ln_size)
    return np.where(blank, np.nan, seen.numpy())


def principal_scores(values: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Leading principal directions and their scores with unit variance, by subspace iteration.

    Args:
        values: centred, shape (cell, feature).
        count: how many; those beyond the rank are 0.
        seed: of the first subspace.

    Returns:
        scores, shape (cell, count), and the directions that give them, values @ directions = scores.

    Source: Halko, Martinsson & Tropp 2011, Finding structure with randomness, SIAM Review 53.

    >>> two = np.array([[1.0, 1.0], [-1.0, -1.0]])
    >>> np.abs(principal_scores(two, 1, 0)[0]).round(6).tolist()
    [[1.0], [1.0]]
    """
    rng = np.random.default_rng(seed)
    basis = values @ rng.normal(size=(values.shape[1], min(count + EXTRA, *values.shape)))
    for _ in range(ROUNDS):
        basis = np.linalg.qr(values @ np.linalg.qr(values.T @ np.linalg.qr(basis)[0])[0])[0]
    _, size, right = np.linalg.svd(basis.T @ values, full_matrices=False)
    kept = min(count, int((size > size[0] * np.finfo(float).eps * max(values.shape)).sum()))
    sign = np.sign(right[np.arange(kept), np.abs(right[:kept]).argmax(1)])
    directions = np.zeros((values.shape[1], count))
    directions[:, :kept] = (right[:kept] * sign[:, None] / size[:kept, None]).T * np.sqrt(len(values))
    return values @ directions, directions


class Beginning:
    """Starts of one problem, the same for one seed.

    Args:
        problem: cells and priors.
        seed: of samples and decompositions.

    Attributes:
        seen_mean: per modality, of what encoders are shown, shape (feature,).
        seen_sd: the same of standard deviations, 1 where nothing varies.
        loading: per modality, slopes of ln signal on the latent state, shape (feature, latent).
    """

    def __init__(self, problem: CellProblem, seed: int) -> None:
        parts = problem.cells.modalities
        sample = {name: sample_cells(part, seed) for name, part in parts.items()}
        together = np.unique(np.concatenate(list(sample.values())))
        self._cells = len(problem.cells)
        self._shown: list[_Shown] = []
        self.seen_mean: dict[str, np.ndarray] = {}
        self.seen_sd: dict[str, np.ndarray] = {}
        for name, part in parts.items():
            mean, sd = _moments(shown(part, sample[name]))
            self.seen_mean[name], self.seen_sd[name] = mean, sd
            self._shown.append(_Shown(part, mean, sd))
        values = self._standardised(together)
        scores, self._directions = principal_scores(values, problem.latent, seed)
        ends = np.cumsum([len(part.features) for part in parts.values()])[:-1]
        blocks = np.split(values, ends, axis=1)
        self.loading = {
            name: _loadings(problem, name, scores, block, sd)
            for (name, sd), block in zip(self.seen_sd.items(), blocks, strict=True)
        }

    def scores(self) -> np.ndarray:
        """Latent states of all cells, shape (cell, latent)."""
        chunks = np.array_split(np.arange(self._cells), -(-self._cells // CHUNK))
        return np.concatenate([self._standardised(chunk) @ self._directions for chunk in chunks])

    def _standardised(self, cells: np.ndarray) -> np.ndarray:
        return np.concatenate([part(cells) for part in self._shown], axis=1)


def _moments(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of what was seen; 0 and 1 where nothing was, or nothing varies."""
    there = ~np.isnan(seen)
    count = np.maximum(there.sum(0), 1)
    mean = np.where(there, seen, 0.0).sum(0) / count
    sd = np.sqrt((np.where(there, seen - mean, 0.0) ** 2).sum(0) / count)
    return mean, np.where(sd > 0, sd, 1.0)


def _loadings(
    problem: CellProblem, name: str, scores: np.ndarray, block: np.ndarray, sd: np.ndarray
) -> np.ndarray:
    """Most probable loadings given latent states: W = (d n / v) b / (d² n / v + k / sd²).

    b is the slope of the standardised reading on the scores, v what is left of its variance, d the change of
    the standardised reading per ln signal.
    """
    part, summary = problem.cells.modalities[name], problem.summary(name)
    standard = block * np.sqrt(len(part.features))
    slope = standard.T @ scores / len(scores)
    left = np.maximum((standard**2).mean(0) - (slope**2).sum(1), 0.0)
    steep = _steepness(part.channel, summary) / sd
    precision = left * problem.latent / (len(scores) * problem.priors.decoder_sd**2)
    below = steep**2 + precision
    factor = np.divide(steep, below, out=np.zeros_like(steep), where=below > 0)
    return slope * factor[:, None]


def _steepness(channel: Channel, summary: Summary) -> np.ndarray:
    """Change of what an encoder is shown per ln signal, for a typical cell, shape (feature,)."""
    typical = torch.as_tensor(np.asarray(channel.start(summary), dtype=float))
    ln_signal = torch.stack([typical - HALF_STEP, typical + HALF_STEP])
    heads = ln_signal.new_zeros(*ln_signal.shape, channel.heads)
    values = {
        unknown.name: torch.as_tensor(np.asarray(unknown.start, dtype=float))
        .reshape(-1, len(typical))
        .mean(0)
        for unknown in channel.unknowns(summary)
    }
    size = ln_signal.new_zeros(2)
    low, high = channel.seen(channel.expected(ln_signal, heads, values, size), size)
    return ((high - low) / (2 * HALF_STEP)).numpy()


def molecule_loadings(problem: CellProblem, loading: dict[str, np.ndarray]) -> np.ndarray:
    """Where loadings of molecules begin: means over features that read a molecule, shape (molecule, latent).

    Args:
        problem: graph and cells.
        loading: per modality, shape (feature, latent).
    """
    total = np.zeros((len(problem.molecules), problem.latent))
    count = np.zeros(len(problem.molecules))
    for name, reading in problem.readings.items():
        for position, about in _about(problem, reading):
            total += about.T @ loading[name][position]
            count += about.sum(0)
    return total / np.maximum(count, 1)[:, None]


def _about(problem: CellProblem, reading: Reading) -> list[tuple[np.ndarray, np.ndarray]]:
    """Features, and whether each has to do with a molecule, 0 or 1, shape (feature, molecule)."""
    found = []
    if reading.linked is not None:
        found.append((reading.linked.position, (reading.linked.weight > 0).astype(float)))
    if reading.physical is not None:
        rows = [_subunits(problem, name) for name in reading.physical.names]
        found.append((reading.physical.position, np.array(rows)))
    return found


def _subunits(problem: CellProblem, name: str) -> np.ndarray:
    """Which molecules a quantity is made of, 0 or 1, shape (molecule,)."""
    if name in problem.molecules:
        return np.array([float(name == other) for other in problem.molecules])
    assert problem.physics is not None  # else nothing reads it
    species = problem.physics.species
    parts = [] if name in problem.physics.counted else [species.index(s) for s in read_sum(name, species)]
    return (problem.composition[parts].sum(0) > 0).astype(float)
