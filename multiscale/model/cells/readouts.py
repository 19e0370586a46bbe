"""What modalities read of the state of cells: concentrations and copies of nodes and of sums of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from multiscale.errors import DataError, nearest
from multiscale.model.cells.inventory import Inventory
from multiscale.model.cells.state import CellState
from multiscale.model.sums import read_sum

__all__ = ["READS", "Readouts"]

READS = {
    "species": "concentration of a species or a sum of species, in their compartments, µM",
    "total": "copies of a molecule in all its forms, or of a sum of species",
    "surface": "copies of a molecule on membranes in all its forms, or of a sum of species there",
}
"""What may be read of a state, with its meaning."""


class Readouts:
    """Reads some quantities of cells.

    Args:
        inventory: of the physics that makes the states.
        names: of molecules or complexes, or sums of them such as `A + 2*B`. For `total` and `surface` a
            molecule alone means all its forms; in a sum, and for `species`, its name means its free form.
        reads: a name in `READS`.
        strict: refuse `surface` of what never lies on a membrane; else its total is read.

    Attributes:
        names: as given.
        index: columns that each one reads, shape (name, term): positions of molecules, then, after them, of
            species; of species alone where `reads` is `species`.
        ln_count: ln of how often each is counted, −inf where there is no such term, same shape.

    Raises:
        DataError: `reads` or a name is unknown, a name is nowhere on a membrane, or copies are read where the
            volume of the cells is not known.
    """

    def __init__(
        self, inventory: Inventory, names: Sequence[str], reads: str, *, strict: bool = True
    ) -> None:
        if reads not in READS:
            raise DataError(f"`reads` is `{reads}`; {nearest(reads, READS)}")
        if reads != "species" and names and bool(inventory.ln_per_cell.isnan().any()):
            raise DataError(
                f"`{names[0]}`: copies are read ({reads}), but the volume of the cells is not known; add"
                " `volume_fL` under [cell] in the graph's card.toml, or to the covariates of conditions."
            )
        self.names, self.reads, self._inventory = tuple(names), reads, inventory
        terms = [_terms(name, reads, inventory, strict) for name in names]
        device, most = inventory.ln_per_cell.device, max((len(part) for part in terms), default=1)
        rows = [[*part, *[(0, 0.0)] * (most - len(part))] for part in terms]
        counts = torch.tensor([[count for _, count in row] for row in rows], dtype=torch.float64)
        self.index = torch.tensor([[column for column, _ in row] for row in rows], dtype=torch.int64)
        self.index = self.index.reshape(-1, most).to(device)
        self.ln_count = counts.reshape(-1, most).log().to(device)
        self._sums = reads == "species" or bool((self.index >= 2 * len(inventory.molecules)).any())

    def __call__(self, state: CellState, condition: Tensor) -> Tensor:
        """Logarithms of what is read, ln µM or ln copies, shape (cell, name); −inf where there is none.

        Args:
            state: of some cells.
            condition: of every cell, (cell,).
        """
        parts = self._table(state, condition)[:, self.index] + self.ln_count
        if self.index.shape[1] == 1:
            return parts[..., 0]
        shift = parts.detach().amax(-1, keepdim=True)
        shift = torch.where(shift.isfinite(), shift, 0.0)
        sums = (parts - shift).exp().sum(-1)
        present = sums > 0
        return torch.where(present, torch.where(present, sums, 1.0).log() + shift[..., 0], -torch.inf)

    def _table(self, state: CellState, condition: Tensor) -> Tensor:
        """All that may be read, (cell, quantity)."""
        if self.reads == "species":
            return state.ln_x
        molecules = [state.ln_total, state.ln_surface]
        if not self._sums:
            return torch.cat(molecules, 1)
        return torch.cat([*molecules, self._inventory.copies(state.ln_x, condition)], 1)


def _terms(name: str, reads: str, inventory: Inventory, strict: bool) -> list[tuple[int, float]]:
    """Columns that a name reads, and how often each is counted."""
    molecules, species = inventory.molecules, inventory.species
    if reads != "species" and name in molecules:
        column = molecules.index(name)
        if reads == "total" or not (inventory.visible[column] or strict):
            return [(column, 1.0)]
        if not inventory.visible[column]:
            raise DataError(_hidden(name, name))
        return [(len(molecules) + column, 1.0)]
    first = 0 if reads == "species" else 2 * len(molecules)
    found = read_sum(name, species)
    for part in found:
        if reads == "surface" and strict and not inventory.on_membrane[species.index(part)]:
            raise DataError(_hidden(part, name))
    return [(first + species.index(part), count) for part, count in found.items()]


def _hidden(part: str, name: str) -> str:
    where = f"`{part}`" if part == name else f"`{part}` in `{name}`"
    return (
        f"{where} is read on the surface, but the graph never puts it on a membrane; give it, or a complex"
        ' of it, a compartment of geometry = "membrane", or read another node (`targets`).'
    )
