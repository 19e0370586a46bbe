"""One table of parameters, packed to `theta` of shape (start, parameter), with priors.

A block holds the parameters of one kind (energies, translation factors, ...). Inside `theta` every value
is shifted and scaled to order one, so that one optimiser suits all blocks. A value with bounds is a quantile
of its truncated prior, found from a standard normal coordinate: inside `theta` all priors are normal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtr, ndtri
from scipy.stats import truncnorm
from torch import Tensor

__all__ = ["Block", "ParameterTable", "petab_id"]

_SCALES = {"ln": "log", "lin": "lin"}


def petab_id(name: str) -> str:
    """Turn a name into a PEtab identifier: letters, digits and underscores, not starting with a digit.

    >>> petab_id("translation HLA-DRA")
    'translation_HLA_DRA'
    """
    cleaned = re.sub(r"\W+", "_", name).strip("_")
    return cleaned if cleaned and not cleaned[0].isdigit() else f"p_{cleaned}"


@dataclass(frozen=True, kw_only=True)
class Block:
    """Parameters of one kind, on the scale on which their prior is normal.

    Args:
        name: name of the block.
        labels: one label per parameter, in the order of the flattened `shape`.
        mean: prior mean, length of `labels`, on the block's scale.
        sd: prior standard deviation; infinite where the prior is flat.
        shape: shape of the unpacked value, () parameters being its product; default one axis.
        scale: `lin`, or `ln` when the values are natural logarithms of the quantity.
        unit: unit of the quantity (not of its logarithm), of all or one per parameter.
        lower: lower bounds on the block's scale (all or none finite).
        upper: upper bounds.
        center: where starts are drawn around; default the prior mean.
        width: standard deviation of the starts and length scale of the optimiser; default the prior's.
        role: what the parameters are, in one word, for tables.
        notes: one note per parameter (reference, assumption), or empty.
        ids: PEtab identifiers; default made from name and label.
        per_context: whether the first axis of `shape` is the context, and the values of a context touch only
            measurements of that context.
    """

    name: str
    labels: Sequence[str]
    mean: np.ndarray
    sd: np.ndarray
    shape: tuple[int, ...] = ()
    scale: str = "lin"
    unit: str | Sequence[str] = "1"
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    center: np.ndarray | None = None
    width: np.ndarray | None = None
    role: str = ""
    notes: Sequence[str] = ()
    ids: Sequence[str] = ()
    per_context: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def identifiers(self) -> list[str]:
        """PEtab identifiers, one per parameter."""
        return list(self.ids) or [petab_id(f"{self.name} {label}") for label in self.labels]

    @property
    def bounded(self) -> bool:
        """Whether both bounds are finite (they are for all parameters of a block or for none)."""
        return self.lower is not None and self.upper is not None

    def prior_sd(self) -> np.ndarray:
        """Standard deviation of the prior on the block's scale, with its bounds."""
        sd = np.asarray(self.sd, dtype=float)
        if self.lower is None or self.upper is None:
            return sd
        mean = np.asarray(self.mean, dtype=float)
        return truncnorm.std((self.lower - mean) / sd, (self.upper - mean) / sd, loc=mean, scale=sd)

    def start_center(self) -> np.ndarray:
        """Centre of the distribution of starts."""
        return np.asarray(self.mean if self.center is None else self.center, dtype=float)

    def start_width(self) -> np.ndarray:
        """Standard deviation of the distribution of starts."""
        return np.asarray(self.sd if self.width is None else self.width, dtype=float)


class ParameterTable:
    """All parameters of a model: packs values to `theta` and back, evaluates priors, writes the PEtab table.

    Args:
        blocks: blocks with distinct names.
        device: device on which `theta` lives.
    """

    def __init__(self, blocks: Sequence[Block], device: torch.device | None = None) -> None:
        names = [block.name for block in blocks]
        if len(set(names)) != len(names):
            raise ValueError(f"`blocks` must have distinct names; got {names}.")
        self.blocks = tuple(blocks)
        self.device = device or torch.device("cpu")
        self._center = self._joined(_internal(block, block.start_center()) for block in blocks)
        self._width = self._joined(_internal_width(block) for block in blocks)
        self._mean = self._joined(np.zeros(len(b)) if b.bounded else b.mean for b in blocks)
        self._sd = self._joined(np.ones(len(b)) if b.bounded else b.sd for b in blocks)
        self._ln_normalisation = self._joined(_ln_normalisation(block) for block in blocks)

    def _joined(self, parts: Iterable[np.ndarray]) -> Tensor:
        flat = np.concatenate([np.asarray(part, dtype=float).ravel() for part in parts] or [np.zeros(0)])
        return torch.as_tensor(flat, dtype=torch.float64, device=self.device)

    def __getitem__(self, name: str) -> Block:
        """The block of a name."""
        return next(block for block in self.blocks if block.name == name)

    def __contains__(self, name: str) -> bool:
        """Whether there is a block of a name."""
        return any(block.name == name for block in self.blocks)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(len(block) for block in self.blocks)

    @property
    def names(self) -> list[str]:
        """Names of all parameters, `block label`, in the order of `theta`."""
        return [f"{block.name} {label}" for block in self.blocks for label in block.labels]

    def slices(self) -> dict[str, slice]:
        """Where each block lies in `theta`."""
        ends = np.cumsum([len(block) for block in self.blocks])
        return {b.name: slice(int(end) - len(b), int(end)) for b, end in zip(self.blocks, ends, strict=True)}

    @property
    def identifiers(self) -> list[str]:
        """PEtab identifiers of all parameters, in the order of `theta`."""
        return [name for block in self.blocks for name in block.identifiers]

    @property
    def prior_sd(self) -> np.ndarray:
        """Standard deviations of all priors on their blocks' scales, shape (parameter,)."""
        return np.concatenate([block.prior_sd() for block in self.blocks])

    def local(self) -> list[Tensor]:
        """Positions of the parameters of contexts, per block, shape (context, parameter of one context)."""
        where = self.slices()
        return [
            torch.arange(where[b.name].start, where[b.name].stop, device=self.device).reshape(b.shape[0], -1)
            for b in self.blocks
            if b.per_context
        ]

    def sample(self, starts: int, generator: torch.Generator, spread: float = 1.0) -> Tensor:
        """Draw starting points.

        Args:
            starts: how many.
            generator: random numbers (CPU), so that the global state is untouched.
            spread: factor on each block's width.

        Returns:
            theta, shape (start, parameter).
        """
        noise = torch.randn(starts, self.size, generator=generator, dtype=torch.float64)
        return (spread * noise).to(self.device)

    def flat(self, theta: Tensor) -> Tensor:
        """Values of all parameters on their blocks' scales, shape (start, parameter)."""
        internal = self._center + self._width * theta
        parts = [_bounded(block, internal[:, where]) for block, where in self._located()]
        return torch.cat(parts, dim=1) if parts else internal

    def unpack(self, theta: Tensor) -> dict[str, Tensor]:
        """Values per block, each of shape (start, *block shape), on the block's scale."""
        values = self.flat(theta)
        return {
            block.name: values[:, where].reshape(-1, *(block.shape or (len(block),)))
            for block, where in self._located()
        }

    def log_prior(self, theta: Tensor) -> Tensor:
        """Log density of the priors including normalisation, shape (start,).

        Densities are those of values on their blocks' scales; of a bounded value it is that of its standard
        normal coordinate, which has no bounds.
        """
        return self.log_priors(theta).sum(1)

    def log_priors(self, theta: Tensor) -> Tensor:
        """Log density of every prior, see `log_prior`; zero for flat ones, shape (start, parameter)."""
        z = (self._center + self._width * theta - self._mean) / self._sd
        return -0.5 * z * z + self._ln_normalisation

    def prior_precision(self, theta: Tensor) -> Tensor:
        """Second derivatives of −log prior by theta, which has no mixed ones, at one start, (parameter,)."""
        leaf = theta.detach().clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(-self.log_prior(leaf).sum(), leaf, create_graph=True)
        (curvature,) = torch.autograd.grad(gradient.sum(), leaf)
        return curvature[0]

    def pack(self, values: Mapping[str, np.ndarray]) -> Tensor:
        """Inverse of `unpack` for one start: values on the blocks' scales, shape (1, parameter)."""
        parts = [
            _internal(block, np.asarray(values[block.name], dtype=float).ravel()) for block in self.blocks
        ]
        internal = torch.as_tensor(np.concatenate(parts), dtype=torch.float64, device=self.device)
        return ((internal - self._center) / self._width)[None]

    def frame(self, theta: Tensor | None = None) -> pd.DataFrame:
        """PEtab parameter table, with the values of one start (shape (parameter,)) as `nominalValue`."""
        values = None if theta is None else self.flat(theta[None])[0].detach().cpu().numpy()
        tables = [
            _frame(block, None if values is None else values[where]) for block, where in self._located()
        ]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def _located(self) -> list[tuple[Block, slice]]:
        where = self.slices()
        return [(block, where[block.name]) for block in self.blocks]


def _ln_normalisation(block: Block) -> np.ndarray:
    """ln of the normalising constant of every prior of a block; flat priors have none."""
    sd = np.ones(len(block)) if block.bounded else np.asarray(block.sd, dtype=float)
    finite = np.isfinite(sd)
    return np.where(finite, -np.log(np.where(finite, sd, 1.0)) - 0.5 * math.log(2 * math.pi), 0.0)


def _internal_width(block: Block) -> np.ndarray:
    """Length scale inside theta; the coordinate of a bounded value has that of its prior already."""
    width = block.start_width()
    return np.ones(len(block)) if block.bounded else np.where(np.isfinite(width), width, 1.0)


def _internal(block: Block, values: np.ndarray) -> np.ndarray:
    """Standard normal coordinate of bounded values, Φ⁻¹ of their quantile; others as they are."""
    if block.lower is None or block.upper is None:
        return values
    if not ((values > block.lower) & (values < block.upper)).all():
        raise ValueError(f"`{block.name}` must lie strictly between its bounds; got {values}.")
    low, high, mass = _ends(block)
    z = (values - block.mean) / block.sd
    below, above = (ndtr(z) - ndtr(low)) / mass, (ndtr(-z) - ndtr(-high)) / mass
    return np.where(below < above, ndtri(below), -ndtri(above))


def _bounded(block: Block, internal: Tensor) -> Tensor:
    """Quantile of the truncated prior, mean + sd · Φ⁻¹(Φ(low) + mass · Φ(u)), from the longer tail."""
    if block.lower is None or block.upper is None:
        return internal
    low, high, mass = _ends(block)
    mean, sd, mass, below, above = (
        torch.as_tensor(part, dtype=internal.dtype, device=internal.device)
        for part in (block.mean, block.sd, mass, ndtr(low), ndtr(-high))
    )
    upper = torch.as_tensor(low > 0, device=internal.device) | (internal > 0)
    upper = upper & torch.as_tensor(high > 0, device=internal.device)
    tail = torch.where(upper, above, below) + mass * torch.special.ndtr(
        torch.where(upper, -internal, internal)
    )
    z = torch.special.ndtri(tail)
    return mean + sd * torch.where(upper, -z, z)


def _ends(block: Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds in prior standard deviations from the mean, and the prior's mass between them."""
    low, high = ((np.asarray(end, dtype=float) - block.mean) / block.sd for end in (block.lower, block.upper))
    mass = np.where(low > 0, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
    return low, high, mass


def _frame(block: Block, values: np.ndarray | None) -> pd.DataFrame:
    linear = np.exp if block.scale == "ln" else np.asarray
    infinite = np.full(len(block), np.inf)
    lower = -infinite if block.lower is None else block.lower
    upper = infinite if block.upper is None else block.upper
    mean, sd = (np.asarray(part, dtype=float).tolist() for part in (block.mean, block.sd))
    frame = pd.DataFrame(
        {
            "parameterId": block.identifiers,
            "parameterName": [f"{block.name} {label}".strip() for label in block.labels],
            "parameterScale": _SCALES[block.scale],
            "lowerBound": linear(lower),
            "upperBound": linear(upper),
            "nominalValue": linear(np.asarray(block.mean if values is None else values, dtype=float)),
            "estimate": 1,
            "objectivePriorType": "parameterScaleNormal",
            "objectivePriorParameters": [f"{m!r};{s!r}" for m, s in zip(mean, sd, strict=True)],
            "unit": block.unit if isinstance(block.unit, str) else list(block.unit),
            "role": block.role or block.name,
            "note": list(block.notes) or [""] * len(block),
        }
    )
    return frame
