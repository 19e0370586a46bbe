"""Reactions as a system of differential equations: the messages N v(x) and their exact derivatives.

Everything a law may read lies in one vector y = [x, t, p] of concentrations, time and constants. A law
gathers its slots z from y, so each derivative of N v is the same gather and scatter around a derivative of
the law.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multiscale.passing.messages import Group, change, fluxes
from multiscale.physics.law import Law

__all__ = ["Reactions"]

Row = tuple[Law, Sequence[int], Mapping[int, float | int]]


@dataclass(frozen=True, eq=False)
class Reactions:
    """dx/dt = N v(t, x, p), a `solver.System`.

    Args:
        size: number of species.
        parameters: number of constants.
        groups: reactions by law; slots are positions in y = [x, t, p].
        reactions: number of reactions.
        edges: reaction → species, shape (2, edge).
        coefficient: net stoichiometry per edge, with ratios of volumes, shape (edge,).
        pattern: row and column of the entries of ∂f/∂x, shape (2, nonzero).
        entries: for every (edge, slot) that adds to ∂f/∂x, the edge, the position of the slot among all slots
            and the entry, shape (3, contribution).
        place: where each reaction lies among those of all groups, shape (reaction,); None = in that order.
        autonomous: whether no reaction reads the time.
    """

    size: int
    parameters: int
    groups: tuple[Group, ...]
    reactions: int
    edges: Tensor
    coefficient: Tensor
    pattern: Tensor
    entries: Tensor
    place: Tensor | None
    autonomous: bool

    @classmethod
    def build(cls, size: int, parameters: int, rows: Sequence[Row]) -> Reactions:
        """Group reactions by law and work out the pattern of the Jacobian.

        Args:
            size: number of species.
            parameters: number of constants.
            rows: per reaction its law, the positions in y = [x, t, p] that the law reads, and the species
                that it changes, with coefficients.

        >>> from multiscale.physics.mass_action import mass_action
        >>> decay = Reactions.build(1, 1, [(mass_action(1), [2, 0], {0: -1.0})])  # y = [x, t, k]
        >>> at = torch.tensor([3.0, 0.0, 2.0], dtype=torch.float64)
        >>> fluxes(at, decay.groups).tolist()
        [6.0]
        """
        laws = list(dict.fromkeys(law for law, _, _ in rows))
        groups = tuple(
            _group(law, [(i, row[1]) for i, row in enumerate(rows) if row[0] is law]) for law in laws
        )
        edges = [(i, species, c) for i, row in enumerate(rows) for species, c in row[2].items() if c != 0]
        pattern, entries = _pattern(size, groups, [(i, species) for i, species, _ in edges])
        return cls(
            size,
            parameters,
            groups,
            len(rows),
            _index([(i, species) for i, species, _ in edges], 2),
            torch.tensor([c for _, _, c in edges], dtype=torch.float64),
            pattern,
            entries,
            _place(groups),
            all(size not in slots for _, slots, _ in rows),
        )

    def to(self, device: torch.device | str) -> Reactions:
        """The same reactions with their index arrays on another device."""
        groups = tuple(
            replace(g, slots=g.slots.to(device), reactions=g.reactions.to(device)) for g in self.groups
        )
        arrays = ("edges", "coefficient", "pattern", "entries")
        place = None if self.place is None else self.place.to(device)
        moved = {name: getattr(self, name).to(device) for name in arrays}
        return replace(self, groups=groups, place=place, **moved)

    def fluxes(self, at) -> Tensor:
        """Flux of every reaction, v, shape (..., reaction)."""
        return fluxes(_quantities(at), self.groups, self.place)

    def rate(self, at) -> Tensor:
        """N v, shape (..., size)."""
        return self._change(self.fluxes(at))

    def jacobian(self, at) -> Tensor:
        """∂(N v)/∂x on the pattern, shape (..., nonzero)."""
        y = _quantities(at)
        slopes = [group.law.gradient(y[..., group.slots]).flatten(-2) for group in self.groups]
        edge, slot, entry = self.entries
        values = self.coefficient[edge] * torch.cat(slopes, -1)[..., slot]
        empty = values.new_zeros(*values.shape[:-1], self.pattern.shape[1])
        return empty.index_add(-1, entry, values)

    def push(self, at, along) -> Tensor:
        """N (∂v/∂y · direction), shape (..., size)."""
        y, a = _quantities(at), _quantities(along)
        return self._change(
            self._collect(lambda g: (g.law.gradient(y[..., g.slots]) * a[..., g.slots]).sum(-1))
        )

    def pull(self, at, u: Tensor):
        """Gradient of u · N v by t, x and p."""
        y = _quantities(at)
        return self._spread(at, u, lambda g: g.law.gradient(y[..., g.slots]))

    def push2(self, at, a, b) -> Tensor:
        """N (∂²v/∂y² [a, b]), shape (..., size)."""
        y, first, second = _quantities(at), _quantities(a), _quantities(b)

        def bend(g: Group) -> Tensor:
            curved = g.law.curvature(*torch.broadcast_tensors(y[..., g.slots], first[..., g.slots]))
            return (curved * second[..., g.slots]).sum(-1)

        return self._change(self._collect(bend))

    def pull2(self, at, u: Tensor, along):
        """Gradient of u · push(at, along) by t, x and p."""
        y, a = _quantities(at), _quantities(along)
        return self._spread(
            at, u, lambda g: g.law.curvature(*torch.broadcast_tensors(y[..., g.slots], a[..., g.slots]))
        )

    def _change(self, flux: Tensor) -> Tensor:
        return change(flux, self.coefficient, self.edges, self.size)

    def _collect(self, value) -> Tensor:
        """One number per reaction from one tensor per group, (..., reaction)."""
        parts = torch.cat([value(group) for group in self.groups], -1)
        return parts if self.place is None else parts.index_select(-1, self.place)

    def _spread(self, at, u: Tensor, slopes):
        """Send u back along the edges, through the slopes of the laws, onto y."""
        reaction, species = self.edges
        weight = self.coefficient * u[..., species]
        weight = weight.new_zeros(*weight.shape[:-1], self.reactions).index_add(-1, reaction, weight)
        total = None
        for group in self.groups:
            message = (weight[..., group.reactions].unsqueeze(-1) * slopes(group)).flatten(-2)
            if total is None:
                total = message.new_zeros(*message.shape[:-1], self.size + 1 + self.parameters)
            total = total.index_add(-1, group.slots.flatten(), message)
        if total is None:
            total = _quantities(at) * 0.0
        return type(at)(*_parts(total, self.size))


def _quantities(at) -> Tensor:
    """y = [x, t, p], shape (..., size + 1 + parameter)."""
    parts = (at.x, at.t.unsqueeze(-1), at.p)
    if not at.x.shape[:-1] == at.t.shape == at.p.shape[:-1]:
        shape = torch.broadcast_shapes(at.t.shape, at.x.shape[:-1], at.p.shape[:-1])
        parts = tuple(part.expand(*shape, part.shape[-1]) for part in parts)
    return torch.cat(parts, -1)


def _parts(y: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Time, state and constants of y."""
    return y[..., size], y[..., :size], y[..., size + 1 :]


def _group(law: Law, members: Sequence[tuple[int, Sequence[int]]]) -> Group:
    for reaction, slots in members:
        if len(slots) != len(law.slots):
            raise ValueError(
                f"reaction {reaction}: `{law.name}` reads {len(law.slots)} quantities "
                f"({', '.join(law.slots)}); got {len(slots)}."
            )
    return Group(law, torch.tensor([list(s) for _, s in members]), torch.tensor([i for i, _ in members]))


def _place(groups: Sequence[Group]) -> Tensor | None:
    """Where each reaction lies among those of all groups."""
    order = [reaction for group in groups for reaction in group.reactions.tolist()]
    if order == sorted(order):
        return None
    return torch.tensor(order).argsort()


def _pattern(size: int, groups: Sequence[Group], edges: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Entries of ∂f/∂x and what adds to each."""
    where: dict[int, list[tuple[int, int]]] = {}  # reaction → (position of slot among all slots, species)
    position = 0
    for group in groups:
        for reaction, slots in zip(group.reactions.tolist(), group.slots.tolist(), strict=True):
            where[reaction] = [(position + i, s) for i, s in enumerate(slots) if s < size]
            position += len(slots)
    parts = [
        (e, slot, species, source)
        for e, (r, species) in enumerate(edges)
        for slot, source in where.get(r, ())
    ]
    cells = sorted({(row, column) for _, _, row, column in parts})
    number = {cell: i for i, cell in enumerate(cells)}
    return _index(cells, 2), _index([(e, slot, number[row, column]) for e, slot, row, column in parts], 3)


def _index(rows: Sequence[tuple[int, ...]], width: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, width).T.contiguous()
