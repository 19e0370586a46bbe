"""Reaction systems that solvers are tested on: what `Reactions.build` makes of mass-action reactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from multiscale.passing.reactions import Reactions
from multiscale.physics.mass_action import mass_action

FLOAT = torch.float64


class Case(NamedTuple):
    """A system with initial state (1, size), constants (1, parameter) and times."""

    system: Reactions
    x0: Tensor
    p: Tensor
    times: Tensor


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=FLOAT)


def mass_action_system(
    size: int, rows: Sequence[tuple[Sequence[int], Mapping[int, float]]], extra: int = 0
) -> Reactions:
    """One rate constant per reaction, in order, then `extra` constants that no reaction reads.

    Reactants are positions of species; −1 stands for time.
    """
    where = {-1: size}
    laws = [
        (mass_action(len(reactants)), [size + 1 + r, *(where.get(s, s) for s in reactants)], change)
        for r, (reactants, change) in enumerate(rows)
    ]
    return Reactions.build(size, len(rows) + extra, laws)


def robertson(extra: int = 0) -> Case:
    """Robertson 1966; problem ROBER of the Test Set for IVP Solvers (Mazzia and Magherini 2008)."""
    rows = [((0,), {0: -1, 1: 1}), ((1, 1), {1: -1, 2: 1}), ((1, 2), {1: -1, 0: 1})]
    p = torch.cat([vector(0.04, 3e7, 1e4), torch.zeros(extra, dtype=FLOAT)])
    return Case(mass_action_system(3, rows, extra), vector(1, 0, 0)[None], p[None], vector(0.4, 4, 40, 400))


ROBERTSON_END = vector(0.2083340149701255e-07, 0.8333360770334713e-13, 0.9999999791665050)
"""At t = 1e11: Mazzia and Magherini 2008, Test Set for Initial Value Problem Solvers, release 2.4."""


def oregonator() -> Case:
    """Field and Noyes 1974, doi 10.1063/1.1681288, scaled: problem OREGO of the same test set."""
    s, w, q = 77.27, 0.161, 8.375e-6
    rows = [
        ((1,), {0: 1}),
        ((0, 1), {0: -1}),
        ((0,), {0: 1}),
        ((0, 0), {0: -1}),
        ((2,), {1: 1}),
        ((1,), {1: -1}),
        ((0, 1), {1: -1}),
        ((0,), {2: 1}),
        ((2,), {2: -1}),
    ]
    p = vector(s, s, s, s * q, 1 / s, 1 / s, 1 / s, w, w)
    return Case(mass_action_system(3, rows), vector(1, 2, 3)[None], p[None], vector(10, 100, 200, 360))


OREGONATOR_END = vector(0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3)
"""At t = 360: the same source."""


def cascade() -> Case:
    """The three-stage cascade of Huang and Ferrell 1996, doi 10.1073/pnas.93.19.10078, 22 species."""
    names = ["E1", "E2", "Pase2", "Pase3", "K3", "K3p", "K2", "K2p", "K2pp", "K1", "K1p", "K1pp"]
    start = {"E1": 3e-5, "E2": 3e-4, "Pase2": 3e-4, "Pase3": 0.12, "K3": 0.003, "K2": 1.2, "K1": 1.2}
    steps = [
        ("E1", "K3", "K3p"),
        ("E2", "K3p", "K3"),
        ("K3p", "K2", "K2p"),
        ("Pase2", "K2p", "K2"),
        ("K3p", "K2p", "K2pp"),
        ("Pase2", "K2pp", "K2p"),
        ("K2pp", "K1", "K1p"),
        ("Pase3", "K1p", "K1"),
        ("K2pp", "K1p", "K1pp"),
        ("Pase3", "K1pp", "K1p"),
    ]
    rows, constants = [], []
    size = len(names) + len(steps)
    for number, (enzyme, substrate, product) in enumerate(steps):
        e, s, q, c = names.index(enzyme), names.index(substrate), names.index(product), len(names) + number
        rows += [((e, s), {e: -1, s: -1, c: 1}), ((c,), {c: -1, e: 1, s: 1}), ((c,), {c: -1, e: 1, q: 1})]
        constants += [1000.0, 150.0, 150.0]
    x0 = torch.tensor([start.get(name, 0.0) for name in names] + [0.0] * len(steps), dtype=FLOAT)
    return Case(mass_action_system(size, rows), x0[None], vector(*constants)[None], vector(1, 10, 50, 100))


def random_network(seed: int, size: int = 8, reactions: int = 16) -> Case:
    """Random reactions of order 0 to 2 that keep the number of molecules or lose some; one flux grows."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[tuple[int, ...], dict[int, float]]] = [((), {0: 1}), ((-1,), {1: 1})]
    for _ in range(reactions):
        order = int(rng.integers(1, 3))
        reactants = tuple(int(s) for s in rng.integers(0, size, order))
        products = [int(s) for s in rng.integers(0, size, int(rng.integers(1, order + 1)))]
        change: dict[int, float] = {}
        for species, sign in [(s, -1) for s in reactants] + [(s, 1) for s in products]:
            change[species] = change.get(species, 0) + sign
        rows.append((reactants, change))
    k = 10 ** rng.uniform(-2, 2, len(rows))
    x0, p = (torch.tensor(value, dtype=FLOAT)[None] for value in (rng.uniform(0, 1, size), k))
    return Case(mass_action_system(size, rows), x0, p, vector(0.01, 0.1, 1.0, 5.0))
