"""Rate laws of a graph as formulas over names, for formats that state equations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

from multiscale.equations.expression import ONE, Expression, symbol, total
from multiscale.graph.rates import Reaction

__all__ = ["Constants", "flux_formula", "product"]

Constants = Mapping[tuple[str, str], Expression]  # by name of the constant and species it belongs to


def flux_formula(reaction: Reaction, constants: Constants) -> Expression:
    """Flux of a reaction, concentration per time, over the names of species.

    Args:
        reaction: with one of `multiscale.graph.laws.LAWS`.
        constants: value of every constant of the law, by its name and the species it belongs to ('' = the
            reaction); concentrations among them in the unit of the species.

    Source: the equations of `multiscale.graph.laws.LAWS`.

    >>> reaction = Reaction("bind", "mass_action", True, False, {}, {"A": 2}, {"AA": 1}, {"catalyst": []})
    >>> flux_formula(reaction, {("k_f", ""): symbol("k"), ("k_r", ""): symbol("l")})
    k * (A * A) - l * AA
    """
    return _FORMULAS[reaction.law](reaction, constants)


def product(side: Mapping[str, int], catalysts: Iterable[str] = ()) -> Expression:
    """Concentrations of species to the power of their stoichiometry, and of catalysts; 1 for none."""
    factors = [symbol(name) ** n for name, n in side.items()]
    return _times(factors + [symbol(name) for name in catalysts])


def _mass_action(r: Reaction, c: Constants) -> Expression:
    forward = c["k_f", ""] * product(r.reactants, r.modifiers["catalyst"])
    if not r.reversible:
        return forward
    return forward - c["k_r", ""] * product(r.products, r.modifiers["catalyst"])


def _transport(r: Reaction, c: Constants) -> Expression:
    return c["k", ""] * (product(r.reactants) - product(r.products) / c["K", ""])


def _michaelis_menten(r: Reaction, c: Constants) -> Expression:
    S = product(r.reactants)
    return _turnover(r, c) * S / (c["Km", ""] + S)


def _reversible(r: Reaction, c: Constants) -> Expression:
    S, P = product(r.reactants), product(r.products)
    below = ONE + S / c["K_s", ""] + P / c["K_p", ""]
    return _turnover(r, c) * (S - P / c["K_eq", ""]) / c["K_s", ""] / below


def _competitive(r: Reaction, c: Constants) -> Expression:
    S = product(r.reactants)
    return _turnover(r, c) * S / (c["Km", ""] * _inhibited(r, c["K_i", ""]) + S)


def _noncompetitive(r: Reaction, c: Constants) -> Expression:
    S, K_i = product(r.reactants), c["K_i", ""]
    below = c["Km", ""] * _inhibited(r, K_i) + S * _inhibited(r, c["alpha", ""] * K_i)
    return _turnover(r, c) * S / below


def _uncompetitive(r: Reaction, c: Constants) -> Expression:
    S = product(r.reactants)
    return _turnover(r, c) * S / (c["Km", ""] + S * _inhibited(r, c["K_i", ""]))


def _modular(r: Reaction, c: Constants) -> Expression:
    K_s, _ = (_times([c["Km", s] ** n for s, n in side.items()]) for side in (r.reactants, r.products))
    bound, released = (
        _times([(ONE + symbol(s) / c["Km", s]) ** n for s, n in side.items()])
        for side in (r.reactants, r.products)
    )
    driven = product(r.reactants) - product(r.products) / c["K_eq", ""]
    return _turnover(r, c) * driven / (K_s * (bound + released - ONE))


def _hill(r: Reaction, c: Constants) -> Expression:
    inhibitor = r.modifiers["inhibitor"]
    (x,) = (symbol(name) for name in [*r.reactants, *r.modifiers["activator"], *inhibitor])
    x_n, K_n = x ** c["n", ""], c["K", ""] ** c["n", ""]
    return c["k", ""] * (K_n if inhibitor else x_n) / (K_n + x_n)


def _promoter(r: Reaction, c: Constants) -> Expression:
    """Any set of factors may be bound; the cooperativity counts once for every factor after the first."""
    activators, inhibitors = r.modifiers["activator"], r.modifiers["inhibitor"]
    factors = [*activators, *inhibitors]

    def weight(state: Iterable[str]) -> Expression:
        bound = [symbol(s) / c["K", s] for s in state]
        return _times(bound) * c["cooperativity", ""] ** max(len(bound) - 1, 0)

    states = [s for n in range(len(factors) + 1) for s in combinations(factors, n)]
    return c["k", ""] * weight(activators) / total(weight(state) for state in states)


def _turnover(r: Reaction, c: Constants) -> Expression:
    """k_cat E, or V_max where no enzyme is modelled."""
    catalysts = r.modifiers["catalyst"]
    return c["k_cat", ""] * symbol(catalysts[0]) if catalysts else c["k_cat", ""]


def _inhibited(r: Reaction, K_i: Expression) -> Expression:
    return ONE + symbol(r.modifiers["inhibitor"][0]) / K_i


def _times(factors: Iterable[Expression]) -> Expression:
    result = ONE
    for factor in factors:
        result = result * factor
    return result


_FORMULAS: dict[str, Callable[[Reaction, Constants], Expression]] = {
    "mass_action": _mass_action,
    "transport": _transport,
    "michaelis_menten": _michaelis_menten,
    "reversible_michaelis_menten": _reversible,
    "competitive_inhibition": _competitive,
    "noncompetitive_inhibition": _noncompetitive,
    "uncompetitive_inhibition": _uncompetitive,
    "modular": _modular,
    "hill": _hill,
    "promoter": _promoter,
}
