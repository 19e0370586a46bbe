"""The differentiable model of the molecular scale: theta → scalars of every row → state → log density.

Every row is a function of a few scalars (energy terms, calibrations, noise), each linear in the parameters.
What couples rows is linear and sparse, what is nonlinear is small: gradients, curvature and intervals of a
million rows follow from that.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

import numpy as np
import torch
from torch import Generator, Tensor

from multiscale.assays import Unknown
from multiscale.data import Readings
from multiscale.encoders.design import Design, Indexed
from multiscale.encoders.encoder import Weights
from multiscale.errors import DataError, nearest
from multiscale.model.blocks import graph_block
from multiscale.model.molecular.layout import COEFFICIENTS
from multiscale.model.molecular.problem import MolecularProblem
from multiscale.model.molecular.state import PREVIOUS, Chemistry, Conditions, Reader
from multiscale.model.parameters import Block, ParameterTable

__all__ = ["MolecularModel", "RowModel"]

NEAR = 0.1
"""Spread of the starts of encoders' weights, in prior sds: a fit begins near the unchanged molecule."""


class MolecularModel:
    """Likelihood and priors of a molecular problem as functions of `theta`.

    Args:
        problem: the checked problem.
        device: where to compute.
        widths: prior sds of encoders' weights by block name, where they were learned, kcal/mol.
    """

    def __init__(
        self,
        problem: MolecularProblem,
        device: str | torch.device = "cpu",
        widths: Mapping[str, float] | None = None,
    ) -> None:
        self.problem, self.device, self.widths = problem, torch.device(device), dict(widths or {})
        self._unknowns = {
            name: part.instrument.unknowns(part.arrays) for name, part in problem.readings.items()
        }
        self.parameters = ParameterTable(self._blocks(), self.device)
        self.chemistry = Chemistry(problem.layout, problem.temperature, self.device)
        self.instruments = {name: self.row_model(part) for name, part in problem.readings.items()}

    def with_widths(self, widths: Mapping[str, float]) -> MolecularModel:
        """The same model with other prior sds; theta means the same."""
        other = copy(self)  # rows know nothing of priors
        other.widths = {**self.widths, **widths}
        other.parameters = ParameterTable(other._blocks(), self.device)
        return other

    def row_model(self, readings: Readings) -> RowModel:
        """The model of these rows, the fitted ones or others of readings of the same name.

        Raises:
            DataError: the rows do not fit the graph, or hold what encoders or calibrations do not know.
        """
        if readings is not self.problem.readings.get(readings.name):
            self.problem.check(readings)
        return RowModel(self, readings)

    @property
    def learned(self) -> dict[str, slice]:
        """Blocks whose prior sd is learned, and where they lie in theta."""
        where = self.parameters.slices()
        return {
            block: where[block]
            for name, bound in self.problem.bound.items()
            for family in bound.families
            for term in self.problem.encoders[name].terms
            for block in [_block_name(name, family.name, term)]
            if family.learned and block in where
        }

    @property
    def spread(self) -> Tensor:
        """Factor on every parameter's width where starts are drawn, shape (parameter,)."""
        encoded = {
            _block_name(name, family.name, term)
            for name, bound in self.problem.bound.items()
            for family in bound.families
            for term in self.problem.encoders[name].terms
        }
        parts = [np.full(len(b), NEAR if b.name in encoded else 1.0) for b in self.parameters.blocks]
        return torch.as_tensor(np.concatenate(parts), device=self.device)

    def _blocks(self) -> list[Block]:
        blocks = [
            graph_block(self.problem.graph, role, "lin", set(self.problem.layout.terms))
            for role in COEFFICIENTS
        ]
        found = [block for block in blocks if block is not None]
        for name, bound in self.problem.bound.items():
            found += [
                self._weights(name, family, term)
                for family in bound.families
                for term in self.problem.encoders[name].terms
            ]
        for name, unknowns in self._unknowns.items():
            found += [_calibration(name, unknown) for unknown in unknowns]
        return [block for block in found if len(block)]

    def _weights(self, encoder: str, family: Weights, term: str) -> Block:
        name, count = _block_name(encoder, family.name, term), len(family.labels)
        return Block(
            name=name,
            labels=list(family.labels),
            mean=np.full(count, family.mean),
            sd=np.full(count, self.widths.get(name, family.sd)),
            width=np.full(count, family.sd),
            unit="kcal/mol",
            role="energy",
        )


class RowModel:
    """Rows of one kind of readings under a model.

    Args:
        model: whose parameters they share.
        readings: the rows.
    """

    def __init__(self, model: MolecularModel, readings: Readings) -> None:
        problem, device = model.problem, model.device
        self.readings, self.rows, self._device = readings, len(readings), device
        self.instrument, self.chemistry = readings.instrument, model.chemistry
        self.arrays = {name: _tensor(array, device) for name, array in readings.arrays.items()}
        layout, given = problem.layout, readings.conditions
        self.reader = Reader(readings.instrument.quantities(), layout, device)
        self.conditions = Conditions.of(layout, given, problem.temperature, device)
        self._before = (
            Conditions.of(layout, given, problem.temperature, device, PREVIOUS)
            if self.reader.previous
            else None
        )
        self._terms = len(layout.terms)
        self._unknowns = [unknown.name for unknown in model._unknowns[readings.name]]
        self.parts = self._term_parts(model) + self._unknown_parts(model)
        self._constant = self._fixed(model)
        names = [name for name, free in zip(layout.terms, self.free, strict=True) if free]
        self.scalars = (*names, *self._unknowns)

    def scalars_of(self, flat: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scalars of every row, (start, row, scalar), linear in the flat values (start, parameter)."""
        columns = []
        for parts in self.parts:
            designs = [(where, design if rows is None else design.take(rows)) for where, design in parts]
            columns.append(torch.stack([design.forward(flat[:, where]) for where, design in designs]).sum(0))
        return torch.stack(columns, -1)

    def readouts(self, u: Tensor, rows: Tensor | None = None) -> Tensor:
        """What the instrument reads of the state, (start, row, quantity)."""
        terms = self.all_terms(u)
        now = self.conditions.take(rows)
        energies = self.chemistry.energies(terms, now)
        ln_x = self.chemistry.ln_x(energies, now) if self.reader.reads_state else None
        before = None
        if self._before is not None:
            then = self._before.take(rows)
            before = self.chemistry.ln_x(self.chemistry.energies(terms, then), then)
        return self.reader(energies, ln_x, before)

    def inputs(
        self, u: Tensor, rows: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
        """What the instrument asks for: its arrays, readouts, and the values of its unknowns."""
        return self._arrays(rows), self.readouts(u, rows), self._values(u)

    def all_terms(self, u: Tensor) -> Tensor:
        """All energy terms of the graph, the fixed ones too, (start, row, term)."""
        fixed = self._constant.expand(*u.shape[:-1], -1)
        return fixed.index_copy(-1, self.free.nonzero()[:, 0], u[..., : self.free_terms])

    @property
    def free_terms(self) -> int:
        """How many scalars are energy terms; they come first."""
        return len(self.scalars) - len(self._unknowns)

    @property
    def closed_form(self) -> bool:
        """Whether readouts have derivatives in closed form; see `derivatives`."""
        kinds = {quantity.kind for quantity in self.reader.quantities}
        return kinds <= {"fraction", "energy"} and self.chemistry.layout.separable

    def log_density(self, u: Tensor, rows: Tensor | None = None) -> Tensor:
        """Log density of every row, (start, row)."""
        return self.density_of(self.readouts(u, rows), u[..., self.free_terms :], rows)

    def density_of(self, readouts: Tensor, unknowns: Tensor, rows: Tensor | None = None) -> Tensor:
        """The same, of given readouts and unknowns of the instrument, (start, row, ...)."""
        values = {name: unknowns[..., i] for i, name in enumerate(self._unknowns)}
        return self.instrument.log_density(self._arrays(rows), readouts, values)

    def expected(self, u: Tensor, rows: Tensor | None = None) -> Tensor:
        """Expected measurement of every row, (start, row)."""
        return self.instrument.expected(self._arrays(rows), self.readouts(u, rows), self._values(u))

    def draw(self, u: Tensor, generator: Generator, rows: Tensor | None = None) -> Tensor:
        """A new measurement of every row, (start, row)."""
        return self.instrument.draw(self._arrays(rows), self.readouts(u, rows), self._values(u), generator)

    def _arrays(self, rows: Tensor | None) -> dict[str, Tensor]:
        return self.arrays if rows is None else {name: array[rows] for name, array in self.arrays.items()}

    def _values(self, u: Tensor) -> dict[str, Tensor]:
        first = self.free_terms
        return {name: u[..., first + i] for i, name in enumerate(self._unknowns)}

    def _term_parts(self, model: MolecularModel) -> list[list[tuple[slice, Design]]]:
        """Per energy term with any parameter: the graph's own, and the encoders'."""
        problem, where = model.problem, model.parameters.slices()
        own = {
            label: where[b.name].start + i
            for b in model.parameters.blocks
            if b.name in COEFFICIENTS
            for i, label in enumerate(b.labels)
        }
        found: list[list[tuple[slice, Design]]] = [
            [(slice(own[term], own[term] + 1), self._common())] if term in own else []
            for term in problem.layout.terms
        ]
        for name, bound in problem.bound.items():
            if not problem.reads(name, self.readings):
                continue
            for family, design in zip(bound.families, bound.designs(self.readings), strict=True):
                for term in problem.encoders[name].terms:
                    block = _block_name(name, family.name, term)
                    if block in where:
                        found[problem.layout.terms.index(term)].append(
                            (where[block], design.to(self._device))
                        )
        self.free = torch.as_tensor([bool(parts) for parts in found], device=self._device)
        return [parts for parts in found if parts]

    def _unknown_parts(self, model: MolecularModel) -> list[list[tuple[slice, Design]]]:
        """Per unknown of the instrument: the value of the row's group."""
        where, found = model.parameters.slices(), []
        fitted = {unknown.name: unknown for unknown in model._unknowns[self.readings.name]}
        for unknown in self.instrument.unknowns(self.readings.arrays):
            known = fitted[unknown.name].labels
            position = np.array([known.index(label) if label in known else -1 for label in unknown.labels])
            if (position < 0).any():
                label = unknown.labels[int(np.argmin(position))]
                raise _unknown_group(self.readings.name, unknown.name, label, known)
            index = torch.as_tensor(position[unknown.codes], device=self._device)[:, None]
            found.append([(where[f"{self.readings.name} {unknown.name}"], Indexed(index, len(known)))])
        return found

    def _common(self) -> Indexed:
        return Indexed(torch.zeros(self.rows, 1, dtype=torch.int64, device=self._device), 1)

    def _fixed(self, model: MolecularModel) -> Tensor:
        """Terms that the graph fixes, kcal/mol; zero where they are estimated."""
        table = model.problem.graph.parameters.loc[model.problem.layout.terms]
        fixed = table["nominalValue"].astype(float).where(table["estimate"].astype(int) != 1, 0.0)
        return torch.as_tensor(fixed.to_numpy(copy=True), device=self._device)


def _unknown_group(readings: str, unknown: str, label: str, known: tuple[str, ...]) -> DataError:
    return DataError(
        f"readings `{readings}`: no fitted row has `{label}`, so that its {unknown} is unknown; "
        + nearest(label, known)
    )


def _block_name(encoder: str, family: str, term: str) -> str:
    return f"{encoder} {family} {term}"


def _calibration(readings: str, unknown: Unknown) -> Block:
    count = len(unknown.labels)

    def every(value: float | None) -> np.ndarray | None:
        return None if value is None else np.full(count, float(value))

    return Block(
        name=f"{readings} {unknown.name}",
        labels=list(unknown.labels),
        mean=np.full(count, float(unknown.mean)),
        sd=np.full(count, float(unknown.sd)),
        center=every(unknown.center),
        width=every(unknown.width),
        scale=unknown.scale,
        unit=unknown.unit,
        role=unknown.role,
    )


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    dtype = torch.float64 if np.issubdtype(array.dtype, np.floating) else torch.int64
    return torch.as_tensor(array, device=device).to(dtype)
