"""Checks of rate laws: constants and their units, the species a law reads, starts, fast reactions."""

from __future__ import annotations

import math
from collections.abc import Iterator

from multiscale.errors import nearest
from multiscale.graph.graph import Graph
from multiscale.graph.laws import KIND_ROLES, LAWS, read_constants
from multiscale.graph.rates import Need, Reaction, needs_of, reactions_of
from multiscale.graph.schema import CONCENTRATIONS, MODEL_UNITS
from multiscale.graph.volumes import volume_problems

__all__ = ["rate_problems", "rate_unit", "start_problems"]


def rate_problems(graph: Graph) -> Iterator[str]:
    """Sentences on everything wrong with the laws of reactions that can be read."""
    unreadable = list(_unreadable(graph))
    yield from unreadable
    if unreadable:
        return
    reactions = [reaction for reaction in reactions_of(graph) if reaction.law in LAWS]
    without = _without_energy(graph)
    for reaction in reactions:
        yield from _direction(reaction)
        yield from _species(reaction)
        needs = needs_of(reaction)
        yield from _names(reaction, needs)
        for need in needs:
            yield from _constant(graph, reaction, need)
        yield from _energies(reaction, needs, without)
    if graph.equations is None:
        yield from (
            f"nodes.tsv: reaction `{r.name}` has the law `formula`, but no equations are there; name a law."
            for r in reactions
            if r.law == "formula"
        )
        yield from volume_problems(graph, reactions)


def start_problems(graph: Graph) -> Iterator[str]:
    """Initial concentrations are numbers in µM or parameters of that role."""
    roles = graph.parameters["role"].to_dict()
    known = [str(name) for name, role in roles.items() if role == "concentration"]
    own_units = graph.card.get("units") == MODEL_UNITS
    for kind in ("molecule", "complex"):
        for name, text in graph.nodes[kind]["initial"].items():
            number = _number(text)
            if not text or text in known or 0 <= number < math.inf or (own_units and math.isfinite(number)):
                continue
            what = f"nodes.tsv: `{name}`: `initial` = `{text}`"
            if math.isnan(number):
                yield f"{what} is not a number or a parameter of role concentration; {nearest(text, known)}"
            else:
                yield f"{what} must be zero or positive and finite, in µM; correct it."


def rate_unit(order: int) -> str:
    """Unit of a rate constant that so many concentrations multiply, so that the flux is in µM/s.

    >>> rate_unit(1), rate_unit(2)
    ('1/s', '1/(uM*s)')
    """
    if order < 2:
        return "1/s" if order else "uM/s"
    return "1/(uM*s)" if order == 2 else f"1/(uM^{order - 1}*s)"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _unreadable(graph: Graph) -> Iterator[str]:
    for name, text in graph.nodes["reaction"]["constants"].items():
        try:
            read_constants(text)
        except ValueError as error:
            yield (
                f"nodes.tsv: reaction `{name}`: `constants` = `{text}`: {error}; write"
                " `name=parameter` with `;` between."
            )


def _direction(reaction: Reaction) -> Iterator[str]:
    """Backward constants and equilibrium only of reversible reactions; laws that have no backward flux."""
    where, form = f"nodes.tsv: reaction `{reaction.name}`", LAWS[reaction.law]
    if "k_r" in reaction.constants and not reaction.reversible:
        yield f"{where} is not reversible but has a `k_r`; remove one of the two."
    if reaction.reversible and form.direction == "forward":
        yield f"{where} is reversible, but `{reaction.law}` runs in one direction; {_other_laws('both')}"
    if not reaction.reversible and form.direction == "both":
        yield f"{where} is not reversible, but `{reaction.law}` runs in both directions; set `reversible`."
    if reaction.fast and not (reaction.reversible and reaction.law == "mass_action"):
        yield (
            f"{where} is `fast`, but only a reversible mass-action reaction has an equilibrium; set"
            " `reversible`, or leave `fast` empty."
        )


def _other_laws(direction: str) -> str:
    laws = ", ".join(f"`{name}`" for name, form in LAWS.items() if form.direction in (direction, "either"))
    return f"leave `reversible` empty or take one of {laws}."


def _species(reaction: Reaction) -> Iterator[str]:
    """Numbers of reactants, products and modifiers that the law can read.

    A mass-action reaction without rate constants is a drawing: it may name modifiers of any role.
    """
    form = LAWS[reaction.law]
    if reaction.law == "mass_action" and not reaction.constants:
        return
    found = {"reactants": sum(reaction.reactants.values()), "products": sum(reaction.products.values())}
    allowed = {"reactants": form.reactants, "products": form.products}
    for role, names in reaction.modifiers.items():
        found[f"modifiers of role {role}"] = len(names)
        allowed[f"modifiers of role {role}"] = form.modifiers.get(role, (0, 0))
    regulators = [*reaction.modifiers["inhibitor"], *reaction.modifiers["activator"]]
    found["reactants, inhibitors and activators"] = found["reactants"] + len(regulators)
    allowed["reactants, inhibitors and activators"] = form.together
    for what, number in found.items():
        low, high = allowed[what]
        if not low <= number <= high:
            wanted = (
                f"{low:g}"
                if low == high
                else f"{low:g} or more"
                if high == math.inf
                else f"{low:g} to {high:g}"
            )
            yield (
                f"edges.tsv: reaction `{reaction.name}` has {number} {what}, but `{reaction.law}` reads"
                f" {wanted}; correct its edges or name another law."
            )


def _names(reaction: Reaction, needs: list[Need]) -> Iterator[str]:
    """Names of constants that the law does not have, or that were given twice."""
    where = f"nodes.tsv: reaction `{reaction.name}`"
    known = [name for need in needs for name in need.names]
    for name in reaction.constants:
        if name not in known and not (name == "k_r" and not reaction.reversible):
            yield f"{where}: `{reaction.law}` has no constant `{name}`; {nearest(name, known)}"
    for need in needs:
        twice = [name for name in need.names if name in reaction.constants]
        if len(twice) > 1:
            yield f"{where}: `{twice[0]}` and `{twice[1]}` are the same constant; remove one."


def _constant(graph: Graph, reaction: Reaction, need: Need) -> Iterator[str]:
    """The parameter of a constant is there, and has the role and unit that the law needs."""
    parameter, name, kind = need.given(reaction), need.names[0], need.constant.kind
    where = f"nodes.tsv: reaction `{reaction.name}`"
    if not parameter:
        if need.constant.needed:
            yield f"{where}: `{reaction.law}` needs `{name}`; add `{name}=parameter` to `constants`."
        return
    roles = KIND_ROLES[kind]
    own = ("model",) if graph.card.get("units") == MODEL_UNITS else ()
    if parameter not in graph.parameters.index or graph.parameters.at[parameter, "role"] not in roles + own:
        known = [str(p) for p, role in graph.parameters["role"].items() if role in roles]
        yield (
            f"{where}: `{name}` = `{parameter}` is not a parameter of role {', '.join(roles)};"
            f" {nearest(parameter, known)}"
        )
        return
    unit, units = str(graph.parameters.at[parameter, "unit"]), _units(reaction, need)
    if unit not in units and graph.card.get("units") != MODEL_UNITS:
        wanted = units[0] if len(units) == 1 else "a concentration"
        yield (
            f"parameters.tsv: `{parameter}` has unit `{unit}`, but as `{name}` of the {reaction.law}"
            f" reaction `{reaction.name}` it needs `{wanted}`; convert it or correct the reactants."
        )


def _units(reaction: Reaction, need: Need) -> tuple[str, ...]:
    """Units that a constant may have."""
    kind = need.constant.kind
    if kind == "rate":
        return (rate_unit(reaction.order(need.constant.order)),)
    if kind == "equilibrium":
        return (equilibrium_unit(sum(reaction.change.values())),)
    return CONCENTRATIONS if kind == "concentration" else ("1",)


def equilibrium_unit(power: int) -> str:
    """Unit of an equilibrium constant of so many products more than reactants.

    >>> equilibrium_unit(0), equilibrium_unit(-1), equilibrium_unit(2)
    ('1', '1/uM', 'uM^2')
    """
    if power == 0:
        return "1"
    unit = "uM" if abs(power) == 1 else f"uM^{abs(power)}"
    return unit if power > 0 else f"1/{unit}"


def _without_energy(graph: Graph) -> set[str]:
    """Complexes whose energy is not stated."""
    table = graph.nodes["complex"]
    return {str(name) for name, text in table["energy"].items() if not text.strip()}


def _energies(reaction: Reaction, needs: list[Need], without: set[str]) -> Iterator[str]:
    """What follows from the energies needs those of all complexes that change."""
    missing = [name for name in reaction.change if name in without]
    both = reaction.fast  # then k_f and k_r give the equilibrium together or not at all
    for need in needs:
        if (need.constant.from_energy or both) and not need.given(reaction) and missing:
            yield (
                f"nodes.tsv: reaction `{reaction.name}`: `{need.names[0]}` is empty, so it follows from the"
                f" energies, but complex `{missing[0]}` has none; state one of them."
            )
