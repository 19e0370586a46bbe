"""Tables of concentrations as PEtab observables and measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from multiscale.equations.expression import Expression, number, symbol, total
from multiscale.formats.petab.problem import Measurement, Observable
from multiscale.formats.petab.write_tables import new_identifiers
from multiscale.model.parameters import ParameterTable
from multiscale.model.terms import TableTerm

__all__ = ["GraphReading"]


class GraphReading:
    """Observables and measurements of one table; every sum of species that it reads is an observable.

    Args:
        term: the table.
        parameters: all free ones, with the scales and the noise of the table.
        species: concentrations, in the order of the sums.
        taken: names that observables must not have.
    """

    def __init__(
        self,
        term: TableTerm,
        parameters: ParameterTable,
        species: Sequence[Expression],
        taken: Iterable[str],
    ) -> None:
        self._term, entries, assay = term, term.entries, term.table.assay
        self._logarithmic = assay.scale.startswith("ln ")
        [scale] = [*assay.offsets(entries), *assay.factors(entries)]
        noise = assay.noise(entries)
        self._scale = _identifiers(parameters, f"{term.name} {scale.name}", scale.keys.tolist())
        self._noise = _identifiers(parameters, f"{term.name} {noise.name}", noise.keys.tolist())
        sums, targets = term.sum_of.tolist(), entries["target"].tolist()
        read = {k: str(target) for k, target in zip(sums, targets, strict=True)}
        names = new_identifiers([f"{term.name} {read[k]}" for k in sorted(read)], taken)
        self._names = dict(zip(sorted(read), names, strict=True))
        self.observables = {
            name: self._observable(k, name, read[k], species) for k, name in self._names.items()
        }

    def _observable(self, k: int, name: str, title: str, species: Sequence[Expression]) -> Observable:
        row = self._term.sums[k]
        formula = total(species[i] * float(row[i]) for i in np.flatnonzero(row).tolist())
        scaled = any(self._scale[i] for i in np.flatnonzero(self._term.sum_of == k).tolist())
        scale, noise = symbol(f"scale_of_{name}"), symbol(f"noise_of_{name}")
        return Observable(
            scale * formula if scaled else formula,
            noise,
            (f"scale_of_{name}",) if scaled else (),
            (f"noise_of_{name}",),
            "normal",
            "log" if self._logarithmic else "lin",
            title,
        )

    def measurements(self, experiments: Sequence[str], times: np.ndarray) -> Iterable[Measurement]:
        """Yield the measurements.

        Args:
            experiments: names, by position of the context.
            times: of every entry, s.
        """
        y, sd = (self._term.entries[column].to_numpy(float) for column in ("y", "sd"))
        values = np.exp(y) if self._logarithmic else y
        for i, k in enumerate(self._term.sum_of.tolist()):
            name = self._names[k]
            scale = symbol(self._scale[i]) if self._scale[i] else number(1.0)
            noise = number(float(sd[i])) if np.isfinite(sd[i]) else symbol(self._noise[i])
            yield Measurement(
                name,
                experiments[int(self._term.context[i])],
                float(times[i]),
                float(values[i]),
                (scale,) if self.observables[name].placeholders else (),
                (noise,),
                dataset=self._term.name,
            )


def _identifiers(parameters: ParameterTable, block: str, keys: Sequence[str]) -> list[str]:
    """Identifier of the parameter of every entry, '' for those without one."""
    if block not in parameters:
        return [""] * len(keys)
    names = dict(zip(parameters[block].labels, parameters[block].identifiers, strict=True))
    return [names.get(key, "") for key in keys]
