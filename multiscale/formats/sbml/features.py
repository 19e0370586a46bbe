"""What SBML can say and this package does not: refused by name where ignoring it would change a result."""

from __future__ import annotations

import libsbml

from multiscale.errors import FormatError

__all__ = ["refuse_unsupported"]


def refuse_unsupported(model: libsbml.Model, where: str) -> None:
    """Refuse a model with features that change its meaning and are not supported.

    Constraints and units are read over: they change no value.

    Raises:
        FormatError: names the feature, the line and the element.
    """
    for rule in model.getListOfRules():
        if rule.isAlgebraic() and rule.isSetMath():
            raise _refusal(
                where, rule, "an algebraic rule", "solve it for a quantity and use an assignment rule"
            )
    for reaction in model.getListOfReactions():
        if reaction.isSetFast() and reaction.getFast():
            remedy = "give it a large rate constant"
            raise _refusal(where, reaction, f"reaction `{reaction.getId()}` with `fast`", remedy)
    _refuse_other_rate_units(model, where)
    _refuse_flux_balance(model, where)


def _refusal(where: str, element: libsbml.SBase, what: str, remedy: str) -> FormatError:
    return FormatError(f"{where}: line {element.getLine()}: {what} is not supported; {remedy}.")


def _refuse_other_rate_units(model: libsbml.Model, where: str) -> None:
    """Refuse rates in other units than the model's: the first versions have them, and mean a conversion."""
    for reaction in model.getListOfReactions():
        law = reaction.getKineticLaw()
        if law is None or model.getLevel() > 2:
            continue
        pairs = ((law.getTimeUnits(), "time"), (law.getSubstanceUnits(), "substance"))
        for unit, role in pairs:
            if unit and unit != role:
                what = f"`{role}Units` of the law of reaction `{reaction.getId()}`"
                raise _refusal(where, law, what, f"give the law in units of `{role}`")


def _refuse_flux_balance(model: libsbml.Model, where: str) -> None:
    """Refuse models whose fluxes come from linear programming: without laws they would stand still."""
    fluxes = model.getPlugin("fbc")
    lawless = any(not reaction.isSetKineticLaw() for reaction in model.getListOfReactions())
    if fluxes is not None and (lawless or fluxes.getNumObjectives() > 0):
        what = "flux balance models (package `fbc`) are not supported"
        raise FormatError(f"{where}: {what}; give every reaction a kinetic law, and remove objectives.")
