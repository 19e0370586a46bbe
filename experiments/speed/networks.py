"""Reaction networks of mass action that the speed of solvers is measured on, as plain data.

The flux of reaction r is v_r = k_r · Π x_s over its reactants s, and dx/dt = N v with N from `change`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Network", "mapk_cascade", "oregonator", "perturbed", "random_network", "robertson"]


@dataclass(frozen=True, eq=False)
class Network:
    """One initial value problem.

    Args:
        name: for the table.
        k: rate constants, shape (reaction,).
        reactants: per reaction the species whose concentrations are multiplied; twice for a square.
        change: per reaction the net coefficient of every species that it changes.
        x0: initial concentrations, shape (species,).
        times: output times, ascending, shape (time,).
        atol: absolute tolerance that goes with a relative tolerance of 1e-6.
        spread: a batch perturbs log10 k by up to this much.
    """

    name: str
    k: np.ndarray
    reactants: list[tuple[int, ...]]
    change: list[dict[int, float]]
    x0: np.ndarray
    times: np.ndarray
    atol: float = 1e-8
    spread: float = 0.5

    def absolute(self, rtol: float) -> float:
        """Absolute tolerance that goes with a relative one."""
        return self.atol * rtol / 1e-6

    @property
    def stoichiometry(self) -> np.ndarray:
        """N, shape (species, reaction)."""
        matrix = np.zeros((len(self.x0), len(self.k)))
        for r, change in enumerate(self.change):
            for species, coefficient in change.items():
                matrix[species, r] = coefficient
        return matrix


def perturbed(network: Network, systems: int, seed: int = 1) -> np.ndarray:
    """Rate constants of a batch, shape (system, reaction); the first system has the published ones."""
    shift = np.random.default_rng(seed).uniform(-network.spread, network.spread, (systems, len(network.k)))
    shift[0] = 0.0
    return network.k * 10**shift


def robertson() -> Network:
    """Robertson's autocatalytic reaction: A → B, 2 B → B + C, B + C → A + C, up to t = 1e11.

    Source: Robertson 1966; problem ROBER of Hairer & Wanner 1996, Solving Ordinary Differential Equations II,
    section IV.10, and of the Test Set for IVP Solvers (Mazzia & Magherini 2008).
    """
    return Network(
        "Robertson",
        np.array([0.04, 3e7, 1e4]),
        [(0,), (1, 1), (1, 2)],
        [{0: -1, 1: 1}, {1: -1, 2: 1}, {0: 1, 1: -1}],
        np.array([1.0, 0.0, 0.0]),
        np.append(0.4 * 10.0 ** np.arange(12), 1e11),
        atol=1e-14,  # B falls to 1e-13
    )


def oregonator() -> Network:
    """Belousov's oscillating reaction reduced to three species, over one period, t = 360.

    dx/dt = s (y − x y + x − q x²), dy/dt = (z − y − x y) / s, dz/dt = w (x − z), with s = 77.27, w = 0.161
    and q = 8.375e-6, written as the five reactions of Field & Noyes.

    Source: Field & Noyes 1974, doi:10.1063/1.1681288; problem OREGO of Hairer & Wanner 1996, section IV.10,
    and of the Test Set for IVP Solvers (Mazzia & Magherini 2008).
    """
    s, w, q = 77.27, 0.161, 8.375e-6
    return Network(
        "Oregonator",
        np.array([s, s, s, s * q, w]),
        [(1,), (0, 1), (0,), (0, 0), (2,)],
        [{0: 1, 1: -1 / s**2}, {0: -1, 1: -1 / s**2}, {0: 1, 2: w / s}, {0: -1}, {1: 1 / (s * w), 2: -1}],
        np.array([1.0, 2.0, 3.0]),
        30.0 * np.arange(1, 13),
        spread=0.1,  # with more, most systems of a batch do not oscillate
    )


def mapk_cascade() -> Network:
    """Three kinases in a row, each phosphorylated by the one before: ten times E + S ⇌ ES → E + P.

    Concentrations in µM; association 1000 per µM and unit of time, dissociation and catalysis 150.

    Source: Huang & Ferrell 1996, doi:10.1073/pnas.93.19.10078; constants of BioModels BIOMD0000000009.
    """
    names = ["E1", "E2", "KKK", "KKKp", "KK", "KKp", "KKpp", "K", "Kp", "Kpp", "KKPase", "KPase"]
    start = {"E1": 3e-5, "E2": 3e-4, "KKK": 3e-3, "KK": 1.2, "K": 1.2, "KKPase": 3e-4, "KPase": 0.12}
    steps = "E1 KKK KKKp,E2 KKKp KKK,KKKp KK KKp,KKPase KKp KK,KKKp KKp KKpp,KKPase KKpp KKp,"
    steps += "KKpp K Kp,KPase Kp K,KKpp Kp Kpp,KPase Kpp Kp"
    k, reactants, change = [], [], []
    for i, step in enumerate(steps.split(",")):
        enzyme, substrate, product = (names.index(name) for name in step.split())
        bound = len(names) + i
        k += [1000.0, 150.0, 150.0]
        reactants += [(enzyme, substrate), (bound,), (bound,)]
        change += [
            {enzyme: -1, substrate: -1, bound: 1},
            {enzyme: 1, substrate: 1, bound: -1},
            {enzyme: 1, product: 1, bound: -1},
        ]
    x0 = np.array([start.get(name, 0.0) for name in names] + [0.0] * 10)
    return Network("MAPK cascade", np.array(k), reactants, change, x0, np.geomspace(0.1, 100, 20), atol=1e-10)


def random_network(species: int = 100, reactions: int = 200, seed: int = 0) -> Network:
    """A random network of monomers A, B (60 %, mass 1) and dimers D (40 %, mass 2) that conserves mass.

    15 % A → A', 15 % D → D', 25 % A + B → D, 25 % D → A + B, 20 % A + D → A' + D'; every species is a
    reactant at least once; log10 k uniform in −3 to 3 and x0 in 0 to 1.
    """
    generator = np.random.default_rng(seed)
    monomers = round(0.6 * species)
    counts = [round(part * reactions) for part in (0.15, 0.15, 0.25, 0.25, 0.20)]
    kinds = [("m", "m"), ("d", "d"), ("mm", "d"), ("d", "mm"), ("md", "md")]
    sides = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
    ranges = {"m": (0, monomers), "d": (monomers, species)}
    pools = {
        letter: _each_once(generator, *ranges[letter], sum(left.count(letter) for left, _ in sides))
        for letter in "md"
    }
    reactants, change = [], []
    for left, right in sides:
        before = [pools[letter].pop() for letter in left]
        after = [_other(generator, *ranges[letter], before) for letter in right]
        net = dict.fromkeys(before + after, 0)
        for i, sign in [(i, -1) for i in before] + [(i, 1) for i in after]:
            net[i] += sign
        reactants.append(tuple(before))
        change.append(net)
    return Network(
        f"random {species}",
        10 ** generator.uniform(-3, 3, len(sides)),
        reactants,
        change,
        generator.uniform(0, 1, species),
        np.geomspace(0.1, 100, 20),
    )


def _each_once(generator: np.random.Generator, first: int, end: int, size: int) -> list[int]:
    """Numbers from `first` to `end`, each at least once, in random order."""
    drawn = np.concatenate([np.arange(first, end), generator.integers(first, end, size - (end - first))])
    return generator.permutation(drawn).tolist()


def _other(generator: np.random.Generator, first: int, end: int, not_these: list[int]) -> int:
    """A species that the reaction does not use up."""
    while True:
        drawn = int(generator.integers(first, end))
        if drawn not in not_these:
            return drawn
