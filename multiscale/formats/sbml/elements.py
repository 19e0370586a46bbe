"""Elements of an SBML Level 3 Version 2 document, one method per kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

from multiscale.equations.expression import Expression, symbols_of
from multiscale.equations.model import Equations, Event, Participant, Process
from multiscale.formats.sbml.annotations import Mark, mark_xml
from multiscale.formats.sbml.identifiers import identifiers
from multiscale.formats.sbml.write_math import mathml
from multiscale.formats.sbml.write_units import UnitDefinitions

__all__ = ["Writer", "sbml_identifiers"]

_ROLES = ("substance", "time", "extent", "volume", "area", "length")


def sbml_identifiers(equations: Equations) -> dict[str, str]:
    """Identifier in SBML of every name in equations: the name itself where SBML allows it."""
    return identifiers(
        [
            *equations.compartments,
            *equations.species,
            *equations.parameters,
            *equations.processes,
            *(p.name for process in equations.processes.values() for p in _participants(process) if p.name),
            *(event.name for event in equations.events),
        ]
    )


@dataclass
class Writer:
    """Writes the parts of one model.

    Args:
        equations: what to write.
        marks: notes and annotations by name.
        units: filled on the way.
    """

    equations: Equations
    marks: Mapping[str, Mark]
    units: UnitDefinitions = field(default_factory=UnitDefinitions)

    def __post_init__(self) -> None:
        self.names = sbml_identifiers(self.equations)
        self.formulas: list[tuple[str, Expression]] = []  # stoichiometries that a rule gives
        taken = set(self.names.values())
        self.anonymous = (f"stoichiometry_{i}" for i in range(1, 10**9) if f"stoichiometry_{i}" not in taken)

    def document(self, name: str, mark: Mark) -> str:
        """The whole text."""
        e = self.equations
        reactions = [self.process(*item) for item in e.processes.items()]  # before the rules they make
        rules = [self.rule("assignmentRule", self.names[n], f) for n, f in e.assignments.items()]
        rules += [self.rule("assignmentRule", n, f) for n, f in self.formulas]
        rules += [self.rule("rateRule", self.names[n], f) for n, f in e.rates.items()]
        starts = [self.rule("initialAssignment", self.names[n], f) for n, f in e.starts.items()]
        lists = {
            "Compartments": [self.compartment(n) for n in e.compartments],
            "Species": [self.species(n) for n in e.species],
            "Parameters": [self.parameter(n) for n in e.parameters],
            "InitialAssignments": starts,
            "Rules": rules,
            "Reactions": reactions,
            "Events": [self.event(event) for event in e.events],
        }
        roles = "".join(
            f' {role}Units="{found}"'
            for role in _ROLES
            if (found := self.units.reference(e.units.get(role, ""), role))
        )
        content = "".join(_list(f"listOf{kind}", items) for kind, items in lists.items())
        identifier = identifiers([*self.names.values(), f"model {name}"])[f"model {name}"]
        head = f'<model metaid="{identifier}" id="{identifier}" name={quoteattr(name)}{roles}>'
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2">'
            f"{head}{mark_xml(mark, identifier, model=True)}{self.units.xml()}{content}</model></sbml>\n"
        )

    def compartment(self, name: str) -> str:
        """A compartment."""
        found = self.equations.compartments[name]
        unit = self.unit(found.unit, name)
        size, constant = _value("size", found.size), _flag("constant", found.constant)
        return self.element(
            "compartment", name, f'spatialDimensions="{found.dimensions:g}"{size}{unit}{constant}'
        )

    def species(self, name: str) -> str:
        """A species."""
        found = self.equations.species[name]
        start = "initialAmount" if found.start_is_amount else "initialConcentration"
        flags = {
            "hasOnlySubstanceUnits": found.only_amount,
            "boundaryCondition": found.boundary,
            "constant": found.constant,
        }
        conversion = f' conversionFactor="{self.names[found.conversion]}"' if found.conversion else ""
        return self.element(
            "species",
            name,
            f'compartment="{self.names[found.compartment]}"{_value(start, found.start)}'
            f"{self.unit(found.unit, name, 'substanceUnits')}{_flags(flags)}{conversion}",
        )

    def parameter(self, name: str) -> str:
        """A parameter."""
        found = self.equations.parameters[name]
        value, unit = _value("value", found.value), self.unit(found.unit, name)
        return self.element("parameter", name, f"{value}{unit}{_flag('constant', found.constant)}".lstrip())

    def process(self, name: str, process: Process) -> str:
        """A reaction; SBML wants every species that the flux reads beside participants named as modifier."""
        around = {p.species for p in _participants(process)}
        read = symbols_of([process.flux]) if process.flux is not None else set()
        other = [s for s in self.equations.species if s in read and s not in around]
        modifiers = dict.fromkeys([*process.modifiers, *other])
        inside = _list("listOfReactants", [self.participant(p) for p in process.reactants])
        inside += _list("listOfProducts", [self.participant(p) for p in process.products])
        named = [f'<modifierSpeciesReference species="{self.names[s]}"/>' for s in modifiers]
        inside += _list("listOfModifiers", named)
        if process.flux is not None:
            inside += f"<kineticLaw>{self.math(process.flux)}</kineticLaw>"
        return self.element("reaction", name, _flag("reversible", process.reversible).lstrip(), inside)

    def participant(self, found: Participant) -> str:
        """A reactant or product; a formula becomes a rule for its stoichiometry."""
        value, identifier = found.stoichiometry.value, self.names.get(found.name, "")
        constant = found.constant
        if value is None:
            identifier, constant = identifier or next(self.anonymous), False
            self.formulas.append((identifier, found.stoichiometry))
        own = f' id="{identifier}"' if identifier else ""
        named = f" name={quoteattr(found.name)}" if found.name not in ("", identifier) else ""
        number = _value("stoichiometry", value)
        species = self.names[found.species]
        return f'<speciesReference{own}{named} species="{species}"{number}{_flag("constant", constant)}/>'

    def rule(self, kind: str, identifier: str, formula: Expression) -> str:
        """A formula for a quantity: of a rule, an initial assignment or an event."""
        target = "symbol" if kind == "initialAssignment" else "variable"
        return f'<{kind} {target}="{identifier}">{self.math(formula)}</{kind}>'

    def event(self, event: Event) -> str:
        """An event with all its flags."""
        flags = {"initialValue": event.initially_true, "persistent": event.persistent}
        inside = f"<trigger{_flags(flags)}>{self.math(event.trigger, truth=True)}</trigger>"
        if event.priority is not None:
            inside += f"<priority>{self.math(event.priority)}</priority>"
        if event.delay is not None:
            inside += f"<delay>{self.math(event.delay)}</delay>"
        assigned = [self.rule("eventAssignment", self.names[n], f) for n, f in event.assignments.items()]
        inside += _list("listOfEventAssignments", assigned)
        early = _flag("useValuesFromTriggerTime", event.values_from_trigger).lstrip()
        return self.element("event", event.name, early, inside)

    def element(self, kind: str, name: str, attributes: str, inside: str = "") -> str:
        """An element with identifier, name, notes and annotation."""
        identifier, mark = self.names[name], self.marks.get(name, Mark())
        named = f" name={quoteattr(name)}" if name != identifier else ""
        meta = f' metaid="meta_{identifier}"' if mark.dois else ""
        inside = mark_xml(mark, f"meta_{identifier}") + inside
        return f'<{kind}{meta} id="{identifier}"{named} {attributes}>{inside}</{kind}>'

    def math(self, formula: Expression, *, truth: bool = False) -> str:
        """MathML of a formula."""
        return mathml(formula, self.names, truth=truth)

    def unit(self, text: str, name: str, attribute: str = "units") -> str:
        """Attribute with a unit, '' for none."""
        found = self.units.reference(text, f"`{name}`")
        return f' {attribute}="{found}"' if found else ""


def _participants(process: Process) -> tuple[Participant, ...]:
    return process.reactants + process.products


def _list(kind: str, items: Iterable[str]) -> str:
    text = "".join(items)
    return f"<{kind}>{text}</{kind}>" if text else ""


def _value(attribute: str, value: float | None) -> str:
    """A number with all digits; '' where there is none."""
    if value is None:
        return ""
    text = {"nan": "NaN", "inf": "INF", "-inf": "-INF"}.get(
        repr(value), repr(float(value)).removesuffix(".0")
    )
    return f' {attribute}="{text}"'


def _flag(attribute: str, value: bool) -> str:
    return f' {attribute}="{"true" if value else "false"}"'


def _flags(values: Mapping[str, bool]) -> str:
    return "".join(_flag(attribute, value) for attribute, value in values.items())
