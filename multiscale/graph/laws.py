"""Rate laws a reaction may name: the constants each needs, their dimensions, and the species it reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["KIND_ROLES", "LAWS", "RATE_ROLES", "Constant", "LawForm", "read_constants"]

Kind = Literal["rate", "concentration", "exponent", "ratio", "equilibrium"]
Place = Literal["reactant", "product", "catalyst", "inhibitor", "activator"]
Range = tuple[float, float]

RATE_ROLES = ("k_on", "k_off", "k_cat", "rate_constant")
"""Roles of parameters that are rate constants."""

KIND_ROLES: dict[Kind, tuple[str, ...]] = {
    "rate": RATE_ROLES,
    "concentration": ("Km", "Kd", "Ki", "concentration"),
    "exponent": ("exponent",),
    "ratio": ("ratio",),
    "equilibrium": ("K_eq",),
}
"""Roles that the parameter of a constant may have."""


@dataclass(frozen=True)
class Constant:
    """A constant of a rate law.

    Args:
        name: as in the column `constants`, or the column itself for `k_f` and `k_r`.
        kind: its dimension; that of a rate follows from the order.
        order: concentrations that multiply a rate: `forward` (reactants and catalysts), `backward` (products
            and catalysts), `catalyst` (catalysts only), `one`, or `none`.
        per: one for each species in these places; empty = one for the reaction.
        without: name that it has in a reaction without catalyst, as `V_max` in place of `k_cat`.
        backward: only reversible reactions have it.
        optional: whether a graph without it is complete, though it cannot be simulated.
        from_energy: where it is not given it follows from the energies of the species.
        default: its value where it is not given; NaN = it must be.
    """

    name: str
    kind: Kind
    order: Literal["forward", "backward", "catalyst", "one", "none"] = "none"
    per: tuple[Place, ...] = ()
    without: str = ""
    backward: bool = False
    optional: bool = False
    from_energy: bool = False
    default: float = math.nan

    @property
    def needed(self) -> bool:
        """Whether a graph must name a parameter for it."""
        return not self.optional and not self.from_energy and math.isnan(self.default)


@dataclass(frozen=True)
class LawForm:
    """What a rate law asks of the reaction that names it.

    Args:
        equation: the flux v in µM/s, in words for the documentation.
        constants: what it needs beside concentrations.
        direction: `forward` only, `both` always, or `either`, as the reaction says.
        reactants: how many it may consume, counted with stoichiometry.
        products: how many it may make.
        modifiers: how many species it reads per role; those of roles not named are an error.
        together: how many reactants, inhibitors and activators there may be in all.
    """

    equation: str
    constants: tuple[Constant, ...]
    direction: Literal["forward", "both", "either"] = "forward"
    reactants: Range = (0, math.inf)
    products: Range = (0, math.inf)
    modifiers: Mapping[str, Range] = field(default_factory=dict)
    together: Range = (0, math.inf)


_MANY: Range = (0, math.inf)
_ONE: Range = (1, 1)
_SOME: Range = (1, math.inf)
_ENZYME: dict[str, Range] = {"catalyst": (0, 1)}
_INHIBITED: dict[str, Range] = {**_ENZYME, "inhibitor": _ONE}

_K_CAT = Constant("k_cat", "rate", "catalyst", without="V_max")
_KM, _KI = Constant("Km", "concentration"), Constant("K_i", "concentration")
_K_EQ = Constant("K_eq", "equilibrium", from_energy=True)

LAWS: dict[str, LawForm] = {
    "mass_action": LawForm(
        "k_f · Π reactants · Π catalysts − k_r · Π products · Π catalysts",
        (
            Constant("k_f", "rate", "forward", optional=True),
            Constant("k_r", "rate", "backward", backward=True, optional=True, from_energy=True),
        ),
        "either",
        modifiers={"catalyst": _MANY},
    ),
    "transport": LawForm(
        "k · (x_from − x_to/K)",
        (Constant("k", "rate", "one"), Constant("K", "equilibrium", from_energy=True)),
        "both",
        reactants=_ONE,
        products=_ONE,
    ),
    "michaelis_menten": LawForm("k_cat E S / (Km + S)", (_K_CAT, _KM), reactants=_ONE, modifiers=_ENZYME),
    "reversible_michaelis_menten": LawForm(
        "k_cat E (S − P/K_eq)/K_s / (1 + S/K_s + P/K_p)",
        (_K_CAT, Constant("K_s", "concentration"), Constant("K_p", "concentration"), _K_EQ),
        "both",
        reactants=_ONE,
        products=_ONE,
        modifiers=_ENZYME,
    ),
    "competitive_inhibition": LawForm(
        "k_cat E S / (Km (1 + I/K_i) + S)", (_K_CAT, _KM, _KI), reactants=_ONE, modifiers=_INHIBITED
    ),
    "noncompetitive_inhibition": LawForm(
        "k_cat E S / (Km (1 + I/K_i) + S (1 + I/(alpha K_i)))",
        (_K_CAT, _KM, _KI, Constant("alpha", "ratio", default=1.0)),
        reactants=_ONE,
        modifiers=_INHIBITED,
    ),
    "uncompetitive_inhibition": LawForm(
        "k_cat E S / (Km + S (1 + I/K_i))", (_K_CAT, _KM, _KI), reactants=_ONE, modifiers=_INHIBITED
    ),
    "modular": LawForm(
        "k_cat E Π(s/K_s)^m (1 − Π p^n/(K_eq Π s^m)) / (Π(1 + s/K_s)^m + Π(1 + p/K_p)^n − 1)",
        (_K_CAT, _K_EQ, Constant("Km", "concentration", per=("reactant", "product"))),
        "both",
        reactants=_SOME,
        products=_SOME,
        modifiers=_ENZYME,
    ),
    "hill": LawForm(
        "k xⁿ/(Kⁿ + xⁿ) of an activator or a reactant x, k Kⁿ/(Kⁿ + xⁿ) of an inhibitor x",
        (Constant("k", "rate"), Constant("K", "concentration"), Constant("n", "exponent")),
        reactants=(0, 1),
        modifiers={"activator": (0, 1), "inhibitor": (0, 1)},
        together=_ONE,
    ),
    "promoter": LawForm(
        "k · weight of the state with all activators and no inhibitor bound / weights of all states",
        (
            Constant("k", "rate"),
            Constant("K", "concentration", per=("activator", "inhibitor")),
            Constant("cooperativity", "ratio", default=1.0),
        ),
        reactants=(0, 0),
        modifiers={"activator": (0, 4), "inhibitor": (0, 4)},
        together=(1, 6),
    ),
    "formula": LawForm(
        "what the equations of an imported model say; the column `formula` shows it",
        (),
        "either",
        modifiers={"catalyst": _MANY, "inhibitor": _MANY, "activator": _MANY},
    ),
}
"""Rate laws a reaction may name."""


def read_constants(text: str) -> dict[str, str]:
    """Read `name=parameter;other=parameter`; a name may hold the species it belongs to, as in `Km:ATP`.

    Raises:
        ValueError: the text does not have this form, or a name occurs twice.

    >>> read_constants("k_cat=k_1; Km:ATP=Km_2")
    {'k_cat': 'k_1', 'Km:ATP': 'Km_2'}
    """
    found: dict[str, str] = {}
    for part in text.split(";") if text.strip() else []:
        name, equal, parameter = (piece.strip() for piece in part.rpartition("="))
        if not (name and equal and parameter):
            raise ValueError(f"`{part.strip()}` is not `name=parameter`")
        if name in found:
            raise ValueError(f"`{name}` occurs twice")
        found[name] = parameter
    return found
