"""Checks of how nodes and edges fit together: names, ends of edges, complexes, complexes between cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from multiscale.errors import nearest
from multiscale.graph.graph import Graph
from multiscale.graph.pairs import matched_units, pair_complexes
from multiscale.graph.schema import ENERGY_ROLES, PAIR_GEOMETRIES, RELATIONS
from multiscale.graph.stoichiometry import energy_terms

__all__ = ["complex_problems", "edge_problems", "name_problems", "pair_problems"]

_HINTS = 20  # nearest names are looked up for so many problems of a kind: it takes long among many names


def name_problems(graph: Graph) -> Iterator[str]:
    """Node names: one node each, and nothing that other tables use as a separator."""
    kinds = [(name, kind) for kind, table in graph.nodes.items() for name in table.index]
    for name, count in Counter(name for name, _ in kinds).items():
        if count > 1:
            listed = ", ".join(kind for other, kind in kinds if other == name)
            yield f"nodes.tsv: name `{name}` is used {count} times ({listed}); rename all but one."
        if not isinstance(name, str) or not name or name != name.strip() or set(name) & set(";\t\n\r"):
            yield (
                f"nodes.tsv: name {name!r} must be text, not empty, without `;`, tab, line break or space at"
                " its ends; rename it."
            )


def edge_problems(graph: Graph) -> Iterator[str]:
    """Ends of edges: existing nodes of the right type, no edge twice."""
    kinds = {str(name): kind for kind, table in graph.nodes.items() for name in table.index}
    hint = _hints()
    for relation, rule in RELATIONS.items():
        table = graph.edges[relation]
        ends = list(zip(table["source"].tolist(), table["target"].tolist(), strict=True))
        for source, target in ends:
            edge = f"edges.tsv: `{source}` {relation} `{target}`"
            for end, name, allowed in (("source", source, rule.sources), ("target", target, rule.targets)):
                if name not in kinds:
                    fitting = [other for other, kind in kinds.items() if kind in allowed]
                    yield f"{edge}: {end} `{name}` is not in nodes.tsv; {hint(str(name), fitting)}"
                elif kinds[name] not in allowed:
                    wanted = " or ".join(allowed)
                    yield f"{edge}: {end} must be a {wanted}; `{name}` is a {kinds[name]}. Correct the edge."
            if relation == "encodes" and source == target:
                yield f"{edge}: it encodes itself; remove that edge or add a transcript."
        for i, repeated in enumerate(table.duplicated(["source", "target", *rule.key]).tolist()):
            if repeated:
                yield f"edges.tsv: `{ends[i][0]}` {relation} `{ends[i][1]}` occurs twice; keep one edge."


def complex_problems(graph: Graph) -> Iterator[str]:
    """Complexes have subunits and energy terms; the parameters they name exist."""
    table, roles = graph.nodes["complex"], graph.parameters["role"].to_dict()
    built = set(graph.edges["subunit"]["target"])
    reacting = {*graph.edges["reactant"]["source"], *graph.edges["product"]["target"]}
    hint = _hints()
    for name, energy, orphan in zip(table.index, table["energy"], table["orphan"], strict=True):
        if name not in built:
            yield f"nodes.tsv: complex `{name}` has no subunits; add `subunit` edges or remove it."
        if not energy.strip() and name not in reacting:  # rate constants may say all of a complex that reacts
            yield f"nodes.tsv: complex `{name}` has no energy term; name one of parameters.tsv in `energy`."
        try:
            terms = energy_terms(energy)
        except ValueError as error:
            yield f"nodes.tsv: complex `{name}`: `energy` = `{energy}`: {error}; separate terms by `;`."
            continue
        named = [(ENERGY_ROLES, term) for term in terms] + [(("loss",), orphan)] * bool(orphan)
        for fitting, parameter in named:
            if roles.get(parameter) not in fitting:
                known = [str(other) for other, its in roles.items() if its in fitting]
                yield (
                    f"nodes.tsv: complex `{name}`: `{parameter}` is not a parameter of role {fitting[0]};"
                    f" {hint(parameter, known)}"
                )


def pair_problems(graph: Graph) -> Iterator[str]:
    """Pair complexes: both sides are species of a cell, and each of these is in one pair compartment."""
    edges, table = graph.edges["subunit"], graph.nodes["complex"]
    without_side = set(edges.loc[edges["side"] == "", "target"])
    compartment = dict(zip(table.index.tolist(), table["compartment"].tolist(), strict=True))
    for name in pair_complexes(graph):
        if name in without_side:
            yield f"edges.tsv: pair complex `{name}` has subunits without a side; give all of them one."
        geometry = graph.compartments.get(compartment[name], {}).get("geometry", "none")
        if geometry not in PAIR_GEOMETRIES:
            yield (
                f"nodes.tsv: pair complex `{name}` must lie in a compartment of geometry contact or soluble;"
                f" got `{compartment[name]}` ({geometry})."
            )
    rows, problems = matched_units(graph)
    yield from problems
    places: dict[str, dict[str, str]] = {}
    for name, _, unit, _ in rows:
        places.setdefault(unit, {})[compartment[name]] = name
    for unit, where in places.items():
        if len(where) > 1:
            listed = ", ".join(f"`{place}` ({name})" for place, name in where.items())
            yield f"nodes.tsv: `{unit}` meets other cells in several compartments: {listed}; put them in one."


def _hints() -> Callable[[str, Sequence[str]], str]:
    """A `nearest` that gives up after a number of calls."""
    left = _HINTS

    def hint(name: str, known: Sequence[str]) -> str:
        nonlocal left
        left -= 1
        return nearest(name, known) if left >= 0 else "add it or correct the name."

    return hint
