"""Which rate law a formula is: found by structure, confirmed by numbers.

Formula and law are ratios of polynomials in the species. Term by term, the coefficients of the law are
products of powers of its constants, those of the formula of the parameters of the model, so that the
logarithms of the constants solve linear equations. A law is recognised if every constant is one
parameter, or a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np

from multiscale.equations.expression import Expression, number, ordered, symbol, symbols_of
from multiscale.equations.functions import FUNCTIONS
from multiscale.equations.model import Equations
from multiscale.formats.sbml.coefficients import AGREE, MARK, Solution, solution_of
from multiscale.formats.sbml.rational import Rational, Unlike, rational
from multiscale.graph.equation_view import count, modifiers_of, totals
from multiscale.graph.laws import LAWS
from multiscale.graph.rates import Need, Reaction, needs_of
from multiscale.model.kinetics.law_formulas import flux_formula

__all__ = ["Recognised", "recognise", "steady_names"]

_POINTS = 4  # random points at which formula and law must agree

_LAWS = (
    *("mass_action", "michaelis_menten", "competitive_inhibition", "uncompetitive_inhibition"),
    *("noncompetitive_inhibition", "reversible_michaelis_menten", "transport", "hill", "modular", "promoter"),
)


@dataclass(frozen=True)
class Recognised:
    """A rate law that a reaction of a model has.

    Args:
        law: a name in `multiscale.graph.laws.LAWS`.
        reversible: whether it runs both ways.
        constants: parameter, or number, by name of the constant as in the column `constants`.
        modifiers: species by role.
        compartments: that multiply the law in the flux, as amount per time asks for.
    """

    law: str
    reversible: bool
    constants: dict[str, str | float]
    modifiers: dict[str, list[str]]
    compartments: tuple[str, ...]


def recognise(equations: Equations, name: str) -> Recognised | None:
    """Find the rate law of a reaction, None if it is none of the list.

    Args:
        equations: of a model.
        name: of the reaction.

    >>> from multiscale.equations.model import *
    >>> k, A = symbol("k"), symbol("A")
    >>> side = (Participant("A", number(1)),)
    >>> one = {"k": Parameter(2.0)}
    >>> e = Equations({"c": Compartment(1.0)}, {"A": Species("c")}, one, {"r": Process(k * A, side)})
    >>> recognise(e, "r").law
    'mass_action'
    """
    process = equations.processes[name]
    sides = [totals(side) for side in (process.reactants, process.products)]
    whole = [all(count(n) == n for n in side.values()) for side in sides]
    if process.flux is None or not whole[0]:
        return None
    reactants, products = ({s: count(n) for s, n in side.items()} for side in sides)
    try:
        form = rational(process.flux, steady_names(equations))
    except Unlike:
        return None
    modifiers = modifiers_of(equations, process)
    read = symbols_of([process.flux])
    modifiers = [m for m in modifiers if m in read]
    for candidate in _candidates(name, reactants, products, modifiers):
        if (
            candidate.reversible and not whole[1]
        ):  # a law that runs backwards reads the stoichiometry of products
            continue
        found = _Match(equations, candidate, process.flux, form).recognised()
        if found is not None:
            return found
    return None


def steady_names(equations: Equations) -> set[str]:
    """Names that a law may read: species, and parameters and compartments that nothing changes."""
    changed = {*equations.assignments, *equations.rates}
    changed |= {name for event in equations.events for name in event.assignments}
    quantities = {**equations.parameters, **equations.compartments}
    fixed = {name for name in quantities if name not in changed}
    return fixed | equations.species.keys()


def _candidates(
    name: str, reactants: dict[str, int], products: dict[str, int], modifiers: list[str]
) -> Iterator[Reaction]:
    """Laws with roles of the modifiers, simple ones first."""
    for law in _LAWS:
        for roles in _roles(law, modifiers):
            for reversible in (False, True):
                forward_only = law not in (
                    "mass_action",
                    "reversible_michaelis_menten",
                    "transport",
                    "modular",
                )
                if reversible == (not forward_only) or law == "mass_action":
                    reaction = Reaction(name, law, reversible, False, {}, reactants, products, roles)
                    if _fits(reaction):
                        yield reaction


def _roles(law: str, modifiers: list[str]) -> Iterator[dict[str, list[str]]]:
    """Ways in which the modifiers may take the roles that a law has."""
    allowed = ("activator", "inhibitor") if law in ("hill", "promoter") else ("catalyst", "inhibitor")
    if law == "mass_action":
        yield {"catalyst": modifiers, "inhibitor": [], "activator": []}
    elif len(modifiers) <= 4:
        for n in range(len(modifiers) + 1):
            for chosen in combinations(modifiers, n):
                rest = [m for m in modifiers if m not in chosen]
                yield {"catalyst": [], "inhibitor": [], "activator": []} | {
                    allowed[0]: [*chosen],
                    allowed[1]: rest,
                }


def _fits(reaction: Reaction) -> bool:
    """Whether a law can read so many species."""
    form = LAWS[reaction.law]
    counts = {role: len(names) for role, names in reaction.modifiers.items()}
    ranges = [
        (sum(reaction.reactants.values()), form.reactants),
        (sum(reaction.products.values()), form.products),
    ]
    ranges += [(n, form.modifiers.get(role, (0, 0))) for role, n in counts.items()]
    together = sum(reaction.reactants.values()) + counts["inhibitor"] + counts["activator"]
    return all(low <= n <= high for n, (low, high) in [*ranges, (together, form.together)])


class _Match:
    """Compares the flux of a reaction with a law."""

    def __init__(self, equations: Equations, reaction: Reaction, flux: Expression, form: Rational) -> None:
        self.equations, self.reaction, self.flux, self.form = equations, reaction, flux, form
        self.needs = needs_of(reaction)

    def recognised(self) -> Recognised | None:
        """The law with its constants, None if the flux is not that law."""
        for exponent in self._exponents():
            for alpha in self._defaults():
                constants = self._symbols(exponent) | alpha
                solved = self._solved(constants)
                if solved is not None and self._confirmed(constants, solved):
                    return self._result(constants, solved)
        return None

    def _exponents(self) -> list[Expression | None]:
        """What a Hill exponent may be: every exponent in the flux."""
        if self.reaction.law != "hill":
            return [None]
        found = [node.arguments[1] for node in ordered([self.flux]) if node.function == "^"]
        named = [
            e for e in dict.fromkeys(found) if e.name in self.equations.parameters or e.value is not None
        ]
        powers = {n for p in (self.form.above, self.form.below) for m in p for _, n in m}
        return [*named, *(number(float(n)) for n in sorted(powers) if n > 1)]

    def _defaults(self) -> list[dict[tuple[str, str], Expression]]:
        """Constants that have a default, first with it, then without."""
        optional = [n for n in self.needs if not math.isnan(n.constant.default)]
        fixed = {(n.constant.name, n.species): number(n.constant.default) for n in optional}
        return [fixed, {}] if fixed else [{}]

    def _symbols(self, exponent: Expression | None) -> dict[tuple[str, str], Expression]:
        found = {(n.constant.name, n.species): symbol(MARK + n.names[-1]) for n in self.needs}
        return found if exponent is None else found | {("n", ""): exponent}

    def _solved(self, constants: Mapping[tuple[str, str], Expression]) -> Solution | None:
        """Constants as products of powers of the parameters."""
        law = flux_formula(self.reaction, constants)
        try:
            form = rational(law, symbols_of([law]))
        except Unlike:
            return None
        return solution_of(self.form, form, self.equations.species)

    def _value(self, need: Need, solution: Solution) -> str | float | None:
        """A parameter or a number that a constant is, None if it is more than that.

        A rate constant may come with compartments, which turn concentrations into amounts.
        """
        name = MARK + need.names[-1]
        atom = next((a for a in solution if a == name or a.startswith(f"{name}^")), name)
        exponent = atom.removeprefix(name)
        powers, size = solution[atom]
        places = self.equations.compartments if need.constant.kind == "rate" else {}
        rest = [(a, n) for a, n in powers if a not in places]
        if not rest:
            return self._literal(size) if not exponent else None
        (found, power), *others = rest
        if others or power != 1 or abs(size - 1.0) > AGREE or not found.endswith(exponent):
            return None
        base = found.removesuffix(exponent) if exponent else found
        if base in self.equations.parameters:
            return base
        return float(base) if _is_number(base) else None

    def _literal(self, value: float) -> float:
        """The number of the formula that a value is but for rounding."""
        written = [node.value for node in ordered([self.flux]) if node.value is not None]
        return next((n for n in written if abs(n - value) <= AGREE * abs(value)), value)

    def _values(
        self, constants: Mapping[tuple[str, str], Expression], solution: Solution
    ) -> dict[str, str | float] | None:
        found: dict[str, str | float] = {}
        for need in self.needs:
            given = constants[need.constant.name, need.species]
            if given.value is not None:
                value: str | float | None = given.value
                if value == need.constant.default:
                    continue
            elif given.name is not None and not given.name.startswith(MARK):
                value = given.name
            else:
                value = self._value(need, solution)
            if value is None:
                return None
            found[need.names[-1]] = value
        return found

    def _confirmed(self, constants: Mapping[tuple[str, str], Expression], solution: Solution) -> bool:
        """Whether flux and law agree at random points, up to compartments that multiply the rate."""
        values = self._values(constants, solution)
        if values is None:
            return False
        named = {
            key: symbol(v) if isinstance(v, str) else number(v)
            for key, v in self._by_key(values, constants).items()
        }
        law = flux_formula(self.reaction, named)
        for place in self._places(solution):
            law = law * symbol(place[0]) ** float(place[1])
        names = sorted(symbols_of([law, self.flux]))
        rng = np.random.default_rng(0)
        for point in np.exp(rng.uniform(-1.0, 1.0, (_POINTS, len(names)))):
            where = dict(zip(names, point.tolist(), strict=True))
            a, b = (_value_at(e, where) for e in (law, self.flux))
            scale = max(abs(a), abs(b))
            if not (math.isfinite(scale) and abs(a - b) <= AGREE * max(scale, 1e-6)):
                return False
        return True

    def _by_key(
        self, values: Mapping[str, str | float], constants: Mapping[tuple[str, str], Expression]
    ) -> dict[tuple[str, str], str | float]:
        found: dict[tuple[str, str], str | float] = {}
        for need in self.needs:
            key = need.constant.name, need.species
            fixed = constants[key].value
            found[key] = values[need.names[-1]] if need.names[-1] in values else float(fixed or 0.0)
        return found

    def _places(self, solution: Solution) -> list[tuple[str, Fraction]]:
        """Compartments that multiply the first rate constant."""
        rate = next(n for n in self.needs if n.constant.kind == "rate")
        powers, _ = solution[MARK + rate.names[-1]]
        return [(a, n) for a, n in powers if a in self.equations.compartments]

    def _result(self, constants: Mapping[tuple[str, str], Expression], solution: Solution) -> Recognised:
        values = self._values(constants, solution) or {}
        places = tuple(name for name, power in self._places(solution) if power == 1)
        r = self.reaction
        return Recognised(r.law, r.reversible, values, r.modifiers, places)


def _value_at(expression: Expression, where: Mapping[str, float]) -> float:
    found: dict[int, float] = {}
    for node in ordered([expression]):
        if node.value is not None:
            found[id(node)] = node.value
        elif node.name is not None:
            found[id(node)] = where[node.name]
        else:
            found[id(node)] = FUNCTIONS[node.function].value(*(found[id(a)] for a in node.arguments))
    return found[id(expression)]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
