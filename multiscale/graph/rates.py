"""Reactions one by one: their law, its constants, and the species around them."""

from __future__ import annotations

from dataclasses import dataclass

from multiscale.graph.graph import Graph
from multiscale.graph.laws import LAWS, Constant, read_constants

__all__ = ["Need", "Reaction", "needs_of", "reactions_of"]


@dataclass(frozen=True)
class Reaction:
    """One row of the reaction table with the species around it, in the order of the edges.

    Args:
        name: of the reaction.
        law: name of its rate law.
        reversible: whether it also runs backwards.
        fast: whether it is kept at equilibrium.
        constants: parameter by name of the constant, `k_f` and `k_r` among them.
        reactants: stoichiometry of every species consumed.
        products: stoichiometry of every species made.
        modifiers: species by role; every role is present.
    """

    name: str
    law: str
    reversible: bool
    fast: bool
    constants: dict[str, str]
    reactants: dict[str, int]
    products: dict[str, int]
    modifiers: dict[str, list[str]]

    @property
    def species(self) -> list[str]:
        """All species that it changes or reads, each once."""
        read = (name for names in self.modifiers.values() for name in names)
        return list(dict.fromkeys((*self.reactants, *self.products, *read)))

    @property
    def change(self) -> dict[str, int]:
        """Net stoichiometry of the species that it changes."""
        net = {s: self.products.get(s, 0) - self.reactants.get(s, 0) for s in self.species}
        return {name: number for name, number in net.items() if number}

    def order(self, which: str) -> int:
        """How many concentrations multiply a rate constant; see `Constant.order`."""
        catalysts = len(self.modifiers["catalyst"])
        found = {
            "forward": catalysts + sum(self.reactants.values()),
            "backward": catalysts + sum(self.products.values()),
            "catalyst": catalysts,
            "one": 1,
            "none": 0,
        }
        return found[which]


@dataclass(frozen=True)
class Need:
    """A constant that a reaction needs.

    Args:
        constant: of the law.
        species: to which it belongs, '' = to the reaction.
        names: under which it may be given, the preferred one first.
    """

    constant: Constant
    species: str
    names: tuple[str, ...]

    def given(self, reaction: Reaction) -> str:
        """Parameter that the reaction names for it, '' = none."""
        return next((reaction.constants[name] for name in self.names if name in reaction.constants), "")


def reactions_of(graph: Graph) -> list[Reaction]:
    """All reactions of a graph, in the order of their table.

    Raises:
        ValueError: the column `constants` of one cannot be read; `check` names it.
    """
    table = graph.nodes["reaction"]
    sides = {
        "reactant": _ends(graph, "reactant", "target", "source"),
        "product": _ends(graph, "product", "source", "target"),
    }
    modifiers = _modifiers(graph)
    roles = ("catalyst", "inhibitor", "activator")
    return [
        Reaction(
            str(name),
            str(row["law"]),
            bool(row["reversible"]),
            bool(row["fast"]),
            {k: str(row[k]) for k in ("k_f", "k_r") if row[k]} | read_constants(str(row["constants"])),
            sides["reactant"].get(str(name), {}),
            sides["product"].get(str(name), {}),
            {role: modifiers.get((str(name), role), []) for role in roles},
        )
        for name, row in zip(table.index, table.to_dict("records"), strict=True)
    ]


def needs_of(reaction: Reaction) -> list[Need]:
    """Constants of the law of a reaction, in its order, with the names they may be given under."""
    places = {"reactant": [*reaction.reactants], "product": [*reaction.products], **reaction.modifiers}
    needs = []
    for constant in LAWS[reaction.law].constants:
        if not constant.per:
            bare = constant.without and not reaction.modifiers["catalyst"]
            needs.append(Need(constant, "", (constant.without if bare else constant.name,)))
            continue
        species = list(dict.fromkeys(s for place in constant.per for s in places[place]))
        short = (constant.name,) if len(species) == 1 else ()
        needs += [Need(constant, s, (*short, f"{constant.name}:{s}")) for s in species]
    return [need for need in needs if reaction.reversible or not need.constant.backward]


def _ends(graph: Graph, relation: str, reaction: str, species: str) -> dict[str, dict[str, int]]:
    """Stoichiometry of the species on one side, by reaction."""
    table = graph.edges[relation]
    found: dict[str, dict[str, int]] = {}
    columns = (table[column].tolist() for column in (reaction, species, "stoichiometry"))
    for name, end, number in zip(*columns, strict=True):
        side = found.setdefault(str(name), {})
        side[str(end)] = side.get(str(end), 0) + int(number)
    return found


def _modifiers(graph: Graph) -> dict[tuple[str, str], list[str]]:
    """Species by reaction and role."""
    table = graph.edges["modifier"]
    found: dict[tuple[str, str], list[str]] = {}
    for source, target, role in zip(table["source"], table["target"], table["role"], strict=True):
        found.setdefault((str(target), str(role)), []).append(str(source))
    return found
