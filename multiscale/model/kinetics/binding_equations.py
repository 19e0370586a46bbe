"""A binding equilibrium as reversible mass action, whose rates are placeholders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from multiscale.equations.expression import number, symbol
from multiscale.equations.model import Compartment, Equations, Participant, Process
from multiscale.errors import GraphError
from multiscale.graph import Graph
from multiscale.graph.pairs import compositions
from multiscale.model.kinetics.law_formulas import product
from multiscale.model.kinetics.lowering import CELL, UNITS, Lowering, power_unit

__all__ = ["K_ON", "binding_equations"]

K_ON = 1.0
"""Forward rate constant of placeholders, 1/(µM s): proteins associate with rate constants of the order of
10⁶ 1/(M s) (Northrup and Erickson, Proc. Natl. Acad. Sci. USA 89:3338, 1992, doi 10.1073/pnas.89.8.3338).
Reactions of n molecules take the same number in 1/(µMⁿ⁻¹ s), an assumption. No equilibrium depends on it."""

Composition = tuple[tuple[str, int], ...]


def binding_equations(
    graph: Graph,
    values: Mapping[str, float] | None,
    temperature: float,
    *,
    initial: Mapping[str, float] | None = None,
    k_on: float | None = None,
) -> Equations:
    """Turn the complexes of a graph into reversible reactions with k_off = k_on/K, K from the energies.

    A complex is made of two species where two of the graph are all of it, else of several at once. What it
    settles at is the binding equilibrium of the library: concentrations in the volume of the whole cell,
    in which binding inside a compartment is closer by the share of its volume. Complexes between cells are
    left out; how fast anything settles means nothing.

    Args:
        graph: a checked graph without reactions.
        values, temperature, initial, k_on: see `graph_equations`.

    Raises:
        GraphError: there are no complexes within cells, or one has no energy.
        DataError: a parameter has no value.
    """
    parts = {target: part for (target, side), part in compositions(graph).items() if side == ""}
    if not parts:
        raise GraphError("has no reactions, and no complexes within cells; add some.", graph.name)
    touched = {name for part in parts.values() for name in part} | parts.keys()
    species = [name for name in graph.species if name in touched]
    place = CELL
    while place in touched:
        place += "_compartment"
    volume = float(graph.card.get("cell", {}).get("volume_fL", 1.0))
    names = {name: f"binding of {name}" for name in parts}
    lowering = Lowering(graph, values or {}, temperature, [place, *species, *names.values()])
    pools = lowering.species(dict.fromkeys(species, place), initial or {})
    share = _volume_shares(graph)
    steps = _steps(parts)
    rate = K_ON if k_on is None else k_on
    processes = {}
    for name, reactants in steps.items():
        processes[names[name]] = _process(
            name, reactants, place, lowering, rate, _crowding(name, reactants, parts, share)
        )
    return lowering.equations({place: Compartment(volume, unit=UNITS["volume"])}, pools, processes)


def _process(
    name: str, reactants: Mapping[str, int], place: str, lowering: Lowering, k_on: float, crowding: float
) -> Process:
    """Formation of one complex."""
    order = sum(reactants.values())
    change = {name: 1.0} | {s: -float(n) for s, n in reactants.items()}
    forward = lowering.placeholder(k_on, order)
    K = lowering.derived(f"K of {name}", lowering.equilibrium(change, crowding), power_unit("uM", 1 - order))
    k_off = lowering.derived(f"k_off of {name}", forward / K, "1/s")
    flux = forward * product(reactants) - k_off * symbol(name)
    return Process(
        flux=symbol(place) * flux,
        reactants=tuple(Participant(s, number(n)) for s, n in reactants.items()),
        products=(Participant(name, number(1)),),
        reversible=True,
    )


def _steps(parts: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
    """What every complex is made of: two species if possible, the larger as large as can be."""
    known = {_key(parts[name]): name for name in reversed(list(parts))}
    known |= {((m, 1),): m for part in parts.values() for m in part}
    by_molecule: dict[str, list[str]] = {}
    for name, part in parts.items():
        for molecule in part:
            by_molecule.setdefault(molecule, []).append(name)
    steps: dict[str, Mapping[str, int]] = {}
    for name, part in parts.items():
        inside = dict.fromkeys(other for molecule in part for other in by_molecule[molecule])
        halves = max(_halves(name, inside, parts, known), default=None)
        steps[name] = Counter(halves[1:]) if halves else _pieces(name, inside, parts)
    return steps


def _halves(
    name: str, inside: Iterable[str], parts: Mapping[str, Mapping[str, int]], known: Mapping[Composition, str]
) -> Iterator[tuple[int, str, str]]:
    """Pairs of species that together are a complex, with the size of the first."""
    whole = Counter(parts[name])
    for other in inside:
        part = Counter(parts[other])
        rest = known.get(_key(whole - part)) if part.total() > 1 and part < whole else None
        if rest is not None:
            yield part.total(), other, rest
    if whole.total() == 2:
        first, second = whole.elements()
        yield 1, first, second


def _pieces(name: str, inside: Iterable[str], parts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Species that together are a complex: large ones first, each as often as it fits, then molecules."""
    rest, pieces = Counter(parts[name]), Counter[str]()
    for other in sorted(inside, key=lambda one: -sum(parts[one].values())):
        part = Counter(parts[other])
        while part.total() > 1 and part <= rest and other != name:
            rest, pieces = rest - part, pieces + Counter([other])
    return dict(pieces + rest)


def _key(part: Mapping[str, int]) -> Composition:
    return tuple(sorted(part.items()))


def _volume_shares(graph: Graph) -> dict[str, float]:
    """Share of the cell in which every complex lies."""
    share = {name: float(c.get("volume_fraction", 1.0)) for name, c in graph.compartments.items()}
    return {str(name): share.get(str(c), 1.0) for name, c in graph.nodes["complex"]["compartment"].items()}


def _crowding(
    name: str,
    reactants: Mapping[str, int],
    parts: Mapping[str, Mapping[str, int]],
    share: Mapping[str, float],
) -> float:
    """Factor of K in the whole cell: every complex of n subunits in a share φ of it counts φ^(1−n)."""

    def weight(species: str) -> float:
        return share[species] ** (1 - sum(parts[species].values())) if species in parts else 1.0

    found = weight(name)
    for species, n in reactants.items():
        found /= weight(species) ** n
    return found
