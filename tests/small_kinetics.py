"""Small graphs with rate constants, written as equations."""

from __future__ import annotations

from typing import Any

import pandas as pd

from multiscale.graph import Graph

UNITS = {0: "uM/s", 1: "1/s", 2: "1/(uM*s)", 3: "1/(uM^2*s)"}
ROLES = {"k": "rate_constant", "K": "Km", "n": "exponent", "g": "energy", "x": "concentration", "q": "K_eq"}


def network(
    reactions: dict[str, str],
    columns: dict[str, dict[str, Any]] | None = None,
    *,
    modifiers: dict[str, dict[str, str]] | None = None,
    values: dict[str, tuple[float, str]] | None = None,
    complexes: dict[str, tuple[str, str]] | None = None,
    species: dict[str, dict[str, Any]] | None = None,
    compartments: dict[str, dict[str, Any]] | None = None,
) -> Graph:
    """A graph of reactions such as `2 A + B -> C`.

    Args:
        reactions: equation by name.
        columns: attributes of reactions.
        modifiers: role by species by reaction.
        values: nominal value and unit of every parameter; the first letter says its role.
        complexes: subunits (`A + 2 B`) and energy by complex; all other species are molecules.
        species: attributes of species.
        compartments: of the card.
    """
    sides = {name: [_side(part) for part in text.split("->")] for name, text in reactions.items()}
    complexes, species, columns = complexes or {}, species or {}, columns or {}
    read = [name for roles in (modifiers or {}).values() for name in roles]
    named = [name for both in sides.values() for side in both for name in side]
    molecules = [name for name in dict.fromkeys([*named, *read]) if name not in complexes]
    inside = {name: _side(parts) for name, (parts, _) in complexes.items()}
    molecules += [m for m in dict.fromkeys(m for side in inside.values() for m in side) if m not in molecules]
    nodes = {
        "molecule": pd.DataFrame([{"name": name, **species.get(name, {})} for name in molecules]),
        "complex": pd.DataFrame(
            [{"name": n, "energy": energy, **species.get(n, {})} for n, (_, energy) in complexes.items()],
            columns=None if complexes else pd.Index(["name"]),
        ),
        "reaction": pd.DataFrame([{"name": name, **columns.get(name, {})} for name in reactions]),
    }
    edges = {
        "reactant": _edges(((s, r, n) for r, (side, _) in sides.items() for s, n in side.items())),
        "product": _edges(((r, s, n) for r, (_, side) in sides.items() for s, n in side.items())),
        "subunit": _edges(((m, c, n) for c, side in inside.items() for m, n in side.items())),
        "modifier": pd.DataFrame(
            [(s, r, role) for r, roles in (modifiers or {}).items() for s, role in roles.items()],
            columns=pd.Index(["source", "target", "role"]),
        ),
    }
    parameters = pd.DataFrame(
        [
            {"parameterId": name, "role": ROLES[name[0]], "unit": unit, "nominalValue": value}
            for name, (value, unit) in (values or {}).items()
        ],
        columns=pd.Index(["parameterId", "role", "unit", "nominalValue"]),
    )
    return Graph.from_tables("kinetic", nodes, edges, parameters, {"compartments": compartments or {}})


def binding(fast: bool, k_on: float = 1.0) -> Graph:
    """An enzyme that binds its substrate, given Kd = 0.4 µM by two rate constants, and turns it over."""
    values = {"k_on": (k_on, "1/(uM*s)"), "k_off": (0.4 * k_on, "1/s"), "k_cat": (0.02, "1/s")}
    return network(
        {"bind": "E + S -> ES", "turn": "ES -> E + P"},
        {"bind": {"k_f": "k_on", "k_r": "k_off", "reversible": True, "fast": fast}, "turn": {"k_f": "k_cat"}},
        values=values,
        complexes={"ES": ("E + S", ""), "P": ("S", "")},
        species={"E": {"initial": "0.5"}, "S": {"initial": "2"}},
    )


def _side(text: str) -> dict[str, int]:
    """Stoichiometry of `2 A + B`."""
    words = [term.split() for term in text.split("+") if term.strip()]
    return {word[-1]: int(word[0]) if len(word) > 1 else 1 for word in words}


def _edges(rows: Any) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=pd.Index(["source", "target", "stoichiometry"]))
