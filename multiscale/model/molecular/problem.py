"""Graph, readings and encoders joined and checked: what is asked of the molecular scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from multiscale.assays import Quantity
from multiscale.data import Readings
from multiscale.encoders.encoder import Bound, Encoder
from multiscale.errors import DataError, nearest
from multiscale.graph import Graph
from multiscale.model.molecular.layout import Layout
from multiscale.model.molecular.state import PREVIOUS
from multiscale.model.sums import read_sum

__all__ = ["MolecularProblem"]

CONDITIONS = ("temperature", "denaturant")


class MolecularProblem:
    """A graph of states and complexes, readings of it, and encoders: how energies depend on what was read.

    Every row of the readings is a vessel of its own, with its variant, ligands and temperature; rows share
    energies, calibrations and noise.

    Args:
        graph: molecules, and their states and complexes with energies.
        readings: one or several.
        encoders: by name.
        temperature: of rows that state none, and T₀ of the energies, K.

    Raises:
        GraphError: the graph is inconsistent.
        DataError: a name in readings or encoders is not in the graph, or a concentration is missing.
    """

    def __init__(
        self,
        graph: Graph,
        readings: Readings | Sequence[Readings],
        encoders: Mapping[str, Encoder] | None = None,
        *,
        temperature: float = 310.15,
    ) -> None:
        if not 200 < temperature < 400:
            raise DataError(f"`temperature` must lie between 200 and 400, in K; got {temperature}.")
        given = [readings] if isinstance(readings, Readings) else list(readings)
        self.graph, self.temperature = graph, temperature
        self.layout = Layout.from_graph(graph)
        self.readings = {part.name: part for part in given}
        if not given or len(self.readings) < len(given):
            raise DataError("`readings` must be at least one, with distinct names.")
        for part in given:
            self.check(part)
        self.encoders = dict(encoders or {})
        self.bound: dict[str, Bound] = {name: self._bind(name, e) for name, e in self.encoders.items()}

    def reads(self, encoder: str, readings: Readings) -> bool:
        """Whether an encoder applies to these readings."""
        options = self.encoders[encoder]
        return (not options.readings or readings.name in options.readings) and options.reads(readings)

    def with_readings(self, readings: Sequence[Readings]) -> MolecularProblem:
        """The same question with other readings, to which the encoders are bound anew."""
        return MolecularProblem(self.graph, readings, self.encoders, temperature=self.temperature)

    def check(self, readings: Readings) -> None:
        """Refuse readings that do not fit the graph.

        Raises:
            DataError: see the class.
        """
        for sentence in self._problems(readings):
            raise DataError(f"readings `{readings.name}`: {sentence}")

    def _problems(self, readings: Readings) -> Iterator[str]:
        layout = self.layout
        known = [*layout.molecules, *CONDITIONS]
        for name, values in readings.conditions.items():
            if name.removesuffix(PREVIOUS) not in known:
                others = " or ".join(CONDITIONS)
                yield f"condition `{name}` is neither a molecule nor {others}; {nearest(name, known)}"
            elif not (np.isfinite(values).all() and (np.asarray(values) >= 0).all()):
                yield f"condition `{name}` must be finite and not negative; got {np.min(values):g}."
            elif name == "temperature" and not (values > 200).all():
                yield f"condition `temperature` must be in K, above 200; got {np.min(values):g}."
        for quantity in readings.instrument.quantities():
            yield from self._quantity(quantity, readings)

    def _quantity(self, quantity: Quantity, readings: Readings) -> Iterator[str]:
        layout = self.layout
        names = layout.complexes if quantity.kind == "energy" else layout.species
        try:
            found = read_sum(quantity.species, names)
        except DataError as error:
            yield f"reads {error}"
            return
        if quantity.kind == "fraction":
            limited = [m for m, held in zip(layout.molecules, layout.clamped, strict=True) if not held]
            if quantity.of not in limited:
                hint = nearest(quantity.of, limited)
                yield f"`of` = `{quantity.of}` is no molecule of limited amount; {hint}"
                return
            row = layout.counts[layout.molecules.index(quantity.of)]
            outside = [name for name in found if not row[layout.species.index(name)]]
            if outside:
                yield f"`{outside[0]}` holds no `{quantity.of}`, whose fraction is read; correct one of them."
        if quantity.kind == "energy" or (quantity.kind == "fraction" and layout.separable):
            yield from self._amounts(readings, layout.clamped if quantity.kind == "fraction" else None)
        else:
            yield from self._amounts(readings, np.ones(len(layout.molecules), dtype=bool))

    def _amounts(self, readings: Readings, needed: np.ndarray | None) -> Iterator[str]:
        """Molecules whose amount is needed and nowhere stated."""
        layout = self.layout
        for i, name in enumerate(layout.molecules):
            if needed is None or not needed[i] or name in readings.conditions:
                continue
            if np.isnan(layout.initial[i]):
                yield (
                    f"the concentration of `{name}` is needed; state it as condition `{name}`, or as "
                    "`initial` in the graph's nodes.tsv."
                )

    def _bind(self, name: str, encoder: Encoder) -> Bound:
        known = self.layout.terms
        for term in encoder.terms:
            if term not in known:
                raise DataError(
                    f"encoder `{name}`: `{term}` is no energy term of the graph; {nearest(term, known)}"
                )
        if not encoder.terms:
            raise DataError(f"encoder `{name}`: `terms` is empty; the graph has {', '.join(known)}.")
        for part in encoder.readings:
            if part not in self.readings:
                raise DataError(
                    f"encoder `{name}`: there are no readings `{part}`; {nearest(part, self.readings)}"
                )
        chosen = [
            part for part in self.readings.values() if (not encoder.readings or part.name in encoder.readings)
        ]
        chosen = [part for part in chosen if encoder.reads(part)]
        if not chosen:
            raise DataError(
                f"encoder `{name}` reads none of the readings {', '.join(self.readings)}; check its options."
            )
        return encoder.bind(chosen)
