"""Units of SBML as text: `1e-09*mole`, `mole*litre^-1*second^-1`, `60*second`."""

from __future__ import annotations

import libsbml

__all__ = ["unit_named", "unit_text", "units_by_role"]

_BUILT_IN = {
    "substance": "mole",
    "time": "second",
    "volume": "litre",
    "area": "metre^2",
    "length": "metre",
}
"""What these mean in Levels 1 and 2 where a model does not define them (Level 2 Version 4, section 4.4.3)."""


def unit_text(definition: libsbml.UnitDefinition) -> str:
    """Text of a unit, Π (multiplier · 10^scale · kind)^exponent, as a factor (left out where 1) and powers.

    Nothing is ever converted by it. A unit that has no such text (a factor beyond floating point, a
    fractional exponent) counts as not stated.
    """
    factor, parts = 1.0, []
    for unit in definition.getListOfUnits():
        exponent, kind = unit.getExponentAsDouble(), libsbml.UnitKind_toString(unit.getKind())
        if not float(exponent).is_integer():
            return ""
        try:
            factor *= (unit.getMultiplier() * 10.0 ** unit.getScale()) ** exponent
        except (OverflowError, ZeroDivisionError):
            return ""
        if kind != "dimensionless":
            parts.append(kind if exponent == 1.0 else f"{kind}^{exponent:.0f}")
    number = [f"{factor:.15g}"] if factor != 1.0 else []
    return "*".join(number + parts) or "dimensionless"


def unit_named(model: libsbml.Model, name: str) -> str:
    """Text of a unit that is used by name: a definition, a built-in one of Levels 1 and 2, or a base unit."""
    definition = model.getUnitDefinition(name) if name else None
    if definition is not None:
        return unit_text(definition)
    if model.getLevel() < 3 and name in _BUILT_IN:
        return _BUILT_IN[name]
    return name


def units_by_role(model: libsbml.Model) -> dict[str, str]:
    """Units of the whole model by role, those that it states."""
    if model.getLevel() < 3:
        roles = {role: unit_named(model, role) for role in _BUILT_IN}
        return {**roles, "extent": roles["substance"]}
    stated = {
        "substance": model.getSubstanceUnits(),
        "time": model.getTimeUnits(),
        "extent": model.getExtentUnits(),
        "volume": model.getVolumeUnits(),
        "area": model.getAreaUnits(),
        "length": model.getLengthUnits(),
    }
    return {role: unit_named(model, name) for role, name in stated.items() if name}
