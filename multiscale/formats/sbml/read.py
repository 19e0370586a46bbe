"""SBML Levels 1 to 3 as equations: everything of the core but algebraic rules, delays and fast reactions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import libsbml

from multiscale.equations.expression import Expression, number
from multiscale.equations.model import (
    Compartment,
    Equations,
    Event,
    Parameter,
    Participant,
    Process,
    Species,
)
from multiscale.formats.sbml.document import open_model
from multiscale.formats.sbml.features import refuse_unsupported
from multiscale.formats.sbml.functions import functions_of
from multiscale.formats.sbml.mathematics import Scope, expression
from multiscale.formats.sbml.units import unit_named, units_by_role

Mathematical = (
    libsbml.InitialAssignment
    | libsbml.Rule
    | libsbml.KineticLaw
    | libsbml.StoichiometryMath
    | libsbml.Trigger
    | libsbml.Delay
    | libsbml.Priority
    | libsbml.EventAssignment
)
"""Elements of a model that have a formula."""

__all__ = ["equations_of", "read_equations"]


def read_equations(source: str | Path, *, resolve: str | Path | None = None) -> Equations:
    """Read the equations of an SBML model.

    Submodels (package `comp`) are written out by libsbml's converter, calls of functions replaced by what the
    functions say. A local parameter becomes `reaction.parameter`. Numbers are taken as they stand: SBML never
    converts units. What has no formula says nothing, as in Level 3 Version 2.

    Args:
        source: a file, or the text of one (anything with a `<` in it).
        resolve: folder in which files with external model definitions lie; None = that of the file.

    Raises:
        FormatError: the file is missing or invalid, or has a feature that is not supported (algebraic rules,
            `delay`, fast reactions, flux balance, required packages other than `comp`).
    """
    document, model, where = open_model(source, Path(resolve) if resolve is not None else None)
    found = equations_of(model, where)
    del document  # it owns the model
    return found


def equations_of(model: libsbml.Model, where: str) -> Equations:
    """Equations of a model that libsbml has checked.

    Args:
        model: without submodels.
        where: file, for messages.

    Raises:
        FormatError: it has a feature that is not supported.
    """
    refuse_unsupported(model, where)
    return _Reader(model, where).equations()


class _Reader:
    """Reads one model, with everything that formulas may name at hand."""

    def __init__(self, model: libsbml.Model, where: str) -> None:
        self.model = model
        self.where = where
        self.functions = functions_of(model, where)
        self.known = frozenset(_names(model))

    def equations(self) -> Equations:
        model = self.model
        rules = [rule for rule in model.getListOfRules() if rule.isSetMath() and not rule.isAlgebraic()]
        found = Equations(
            compartments={c.getId(): self.compartment(c) for c in model.getListOfCompartments()},
            species={s.getId(): self.species(s) for s in model.getListOfSpecies()},
            parameters=self.parameters(),
            processes={r.getId(): self.process(r) for r in model.getListOfReactions()},
            starts={
                start.getSymbol(): self.formula(start, f"initial assignment of `{start.getSymbol()}`")
                for start in model.getListOfInitialAssignments()
                if start.isSetMath()
            },
            assignments={rule.getVariable(): self.rule(rule) for rule in rules if rule.isAssignment()},
            rates={rule.getVariable(): self.rule(rule) for rule in rules if rule.isRate()},
            events=tuple(self.events()),
            units=units_by_role(model),
        )
        return found

    def at(self, element: libsbml.SBase, what: str) -> str:
        """Where an element is, for messages."""
        return f"{self.where}: line {element.getLine()}: {what}"

    def formula(self, element: Mathematical, what: str, local: Mapping[str, str] | None = None) -> Expression:
        """Formula of an element that has one."""
        scope = Scope(self.at(element, what), self.known, self.functions.call, local or {})
        return expression(element.getMath(), scope)

    def rule(self, rule: libsbml.Rule) -> Expression:
        return self.formula(rule, f"rule of `{rule.getVariable()}`")

    def compartment(self, compartment: libsbml.Compartment) -> Compartment:
        dimensions = compartment.getSpatialDimensionsAsDouble()
        unit = compartment.getUnits()
        if not unit:
            unit = {3.0: "volume", 2.0: "area", 1.0: "length"}.get(dimensions, "")
            text = units_by_role(self.model).get(unit, "")
        else:
            text = unit_named(self.model, unit)
        return Compartment(
            size=compartment.getSize() if compartment.isSetSize() else None,
            constant=compartment.getConstant(),
            dimensions=3.0 if math.isnan(dimensions) else dimensions,
            unit=text,
        )

    def species(self, species: libsbml.Species) -> Species:
        start = None
        if species.isSetInitialAmount():
            start = species.getInitialAmount()
        elif species.isSetInitialConcentration():
            start = species.getInitialConcentration()
        unit = species.getSubstanceUnits()
        return Species(
            compartment=species.getCompartment(),
            start=start,
            start_is_amount=not species.isSetInitialConcentration(),
            only_amount=species.getHasOnlySubstanceUnits(),
            boundary=species.getBoundaryCondition(),
            constant=species.getConstant(),
            conversion=species.getConversionFactor() or self.model.getConversionFactor(),
            unit=unit_named(self.model, unit) if unit else units_by_role(self.model).get("substance", ""),
        )

    def parameters(self) -> dict[str, Parameter]:
        """Parameters of the model, then those of kinetic laws."""
        found = {p.getId(): self.parameter(p) for p in self.model.getListOfParameters()}
        for reaction in self.model.getListOfReactions():
            for parameter in _local(reaction):
                found[f"{reaction.getId()}.{parameter.getId()}"] = self.parameter(parameter)
        return found

    def parameter(self, parameter: libsbml.Parameter) -> Parameter:
        return Parameter(
            value=parameter.getValue() if parameter.isSetValue() else None,
            constant=parameter.getConstant(),
            unit=unit_named(self.model, parameter.getUnits()),
        )

    def process(self, reaction: libsbml.Reaction) -> Process:
        name, law = reaction.getId(), reaction.getKineticLaw()
        flux = None
        if law is not None and law.isSetMath():
            local = {p.getId(): f"{name}.{p.getId()}" for p in _local(reaction)}
            flux = self.formula(law, f"kinetic law of reaction `{name}`", local)
        return Process(
            flux=flux,
            reactants=self.participants(reaction.getListOfReactants(), name),
            products=self.participants(reaction.getListOfProducts(), name),
            modifiers=tuple(modifier.getSpecies() for modifier in reaction.getListOfModifiers()),
            reversible=reaction.getReversible(),
        )

    def participants(
        self, references: Iterable[libsbml.SpeciesReference], reaction: str
    ) -> tuple[Participant, ...]:
        return tuple(self.participant(reference, reaction) for reference in references)

    def participant(self, reference: libsbml.SpeciesReference, reaction: str) -> Participant:
        what = f"stoichiometry of `{reference.getSpecies()}` in reaction `{reaction}`"
        mathematics = reference.getStoichiometryMath()
        if mathematics is not None and mathematics.isSetMath():
            value = self.formula(mathematics, what)
            return Participant(reference.getSpecies(), value, reference.getId(), constant=False)
        return Participant(
            species=reference.getSpecies(),
            stoichiometry=number(reference.getStoichiometry() / reference.getDenominator()),
            name=reference.getId(),
            constant=reference.getConstant() if self.model.getLevel() > 2 else True,
        )

    def events(self) -> Iterable[Event]:
        """Events that have a trigger; without one they never happen."""
        for count, event in enumerate(self.model.getListOfEvents(), start=1):
            trigger = event.getTrigger()
            if trigger is not None and trigger.isSetMath():
                yield self.event(event, event.getId() or f"event.{count}")

    def event(self, event: libsbml.Event, name: str) -> Event:
        trigger = event.getTrigger()
        late = self.model.getLevel() > 2
        return Event(
            name=name,
            trigger=self.formula(trigger, f"trigger of event `{name}`"),
            assignments={
                change.getVariable(): self.formula(
                    change, f"assignment of `{change.getVariable()}` in event `{name}`"
                )
                for change in event.getListOfEventAssignments()
                if change.isSetMath()
            },
            delay=self.optional(event.getDelay(), f"delay of event `{name}`"),
            priority=self.optional(event.getPriority(), f"priority of event `{name}`"),
            persistent=trigger.getPersistent() if late else True,
            initially_true=trigger.getInitialValue() if late else True,
            values_from_trigger=event.getUseValuesFromTriggerTime(),
        )

    def optional(self, element: Mathematical | None, what: str) -> Expression | None:
        return self.formula(element, what) if element is not None and element.isSetMath() else None


def _local(reaction: libsbml.Reaction) -> Sequence[libsbml.Parameter]:
    """Parameters of a kinetic law."""
    law = reaction.getKineticLaw()
    if law is None:
        return []
    return list(law.getListOfLocalParameters() if law.getLevel() > 2 else law.getListOfParameters())


def _names(model: libsbml.Model) -> Iterable[str]:
    """Everything that a formula may name."""
    lists = (
        model.getListOfCompartments(),
        model.getListOfSpecies(),
        model.getListOfParameters(),
        model.getListOfReactions(),
    )
    for elements in lists:
        for element in elements:
            yield element.getId()
    for reaction in model.getListOfReactions():
        for reference in (*reaction.getListOfReactants(), *reaction.getListOfProducts()):
            if reference.getId():
                yield reference.getId()
