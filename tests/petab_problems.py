"""A small PEtab problem of version 1 and 2 as files, which tests alter cell by cell."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MODEL", "TABLES_1", "TABLES_2", "write_1", "write_2"]

MODEL = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2">
<model id="conversion"><listOfCompartments>
<compartment id="cell" spatialDimensions="3" size="1" constant="true"/></listOfCompartments><listOfSpecies>
<species id="A" compartment="cell" initialConcentration="2" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false"/>
<species id="B" compartment="cell" initialConcentration="0" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false"/></listOfSpecies><listOfParameters>
<parameter id="k1" value="0.8" constant="true"/><parameter id="k2" value="0.6" constant="true"/>
<parameter id="sum" constant="false"/></listOfParameters><listOfRules>
<assignmentRule variable="sum"><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><plus/><ci>A</ci><ci>B</ci>
</apply></math></assignmentRule></listOfRules><listOfReactions>
<reaction id="turn" reversible="true"><listOfReactants>
<speciesReference species="A" stoichiometry="1" constant="true"/></listOfReactants><listOfProducts>
<speciesReference species="B" stoichiometry="1" constant="true"/></listOfProducts><kineticLaw>
<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>cell</ci><apply><minus/>
<apply><times/><ci>k1</ci><ci>A</ci></apply><apply><times/><ci>back</ci><ci>B</ci></apply></apply></apply></math>
<listOfLocalParameters><localParameter id="back" value="0.3"/></listOfLocalParameters></kineticLaw></reaction>
</listOfReactions></model></sbml>
"""
"""A ⇌ B with k1 and a local parameter `back`; `sum` = A + B by a rule, k2 in no reaction."""

TABLES_1 = {
    "parameters": [
        "parameterId parameterScale lowerBound upperBound nominalValue estimate",
        "k2 log10 0.01 10 0.6 1",
        "offset lin -1 1 0.1 1",
        "sigma log 0.1 2 0.5 0",
    ],
    "conditions": ["conditionId k1 A", "rest 0.3 0.5", "dose 0.8 NaN", "plain NaN 1"],
    "observables": [
        "observableId observableFormula noiseFormula noiseDistribution observableTransformation",
        "b observableParameter1_b*B+offset noiseParameter1_b normal lin",
        "a A 0.1*a+sigma*k2 laplace log10",
    ],
    "measurements": [
        "observableId preequilibrationConditionId simulationConditionId time measurement observableParameters"
        " noiseParameters",
        "b rest dose 0 0.1 2 sigma",
        "b rest dose 1.5 0.2 offset 0.3",
        "a - plain inf 0.7 - -",
    ],
}
TABLES_2 = {
    "parameters": [
        "parameterId lowerBound upperBound nominalValue estimate priorDistribution priorParameters",
        "k2 0.01 10 0.6 true log-normal -0.5;1",
        "back 0.1 2 0.3 true - -",
        "sigma - - 0.5 false - -",
    ],
    "conditions": [
        "conditionId targetId targetValue",
        "slow k1 k2/2",
        "dose A A+1",
        "more B 2*A",
        "slow cell 2",
    ],
    "experiments": ["experimentId time conditionId", "e 20 dose", "e 5 slow", "e 20 more", "r -inf slow"],
    "observables": [
        "observableId observableFormula noiseFormula noiseDistribution observablePlaceholders"
        " noisePlaceholders",
        "b factor*B s normal factor s",
        "both a+b2 sigma log-laplace - -",
        "a A a*sigma normal - -",
        "b2 B+back sigma normal - -",
    ],
    "measurements": [
        "observableId experimentId time measurement observableParameters noiseParameters",
        "b e 20 0.1 2 sigma",
        "both - 3 0.7 - -",
        "a r inf 0.4 - -",
    ],
    "mapping": ["petabEntityId modelEntityId name", "back turn.back rate", "slow - a_condition"],
}


def write_1(folder: Path, **lines: list[str]) -> Path:
    """Write the problem of version 1 with some tables replaced; `-` is an empty cell, `~` a blank.

    Returns:
        Path of the YAML file.
    """
    _write(folder, TABLES_1 | lines)
    text = "format_version: 1\nparameter_file: parameters.tsv\nproblems:\n- sbml_files: [model.xml]\n"
    text += "".join(f"  {noun}_files: [{noun}s.tsv]\n" for noun in ("condition", "observable", "measurement"))
    (folder / "problem.yaml").write_text(text)
    return folder / "problem.yaml"


def write_2(folder: Path, **lines: list[str]) -> Path:
    """Write the problem of version 2 with some tables replaced, see `write_1`."""
    _write(folder, TABLES_2 | lines)
    text = "format_version: 2.0.0\nmodel_files:\n  m: {location: model.xml, language: sbml}\n"
    text += "".join(f"{noun.removesuffix('s')}_files: [{noun}.tsv]\n" for noun in TABLES_2)
    (folder / "problem.yaml").write_text(text)
    return folder / "problem.yaml"


def _write(folder: Path, tables: dict[str, list[str]]) -> None:
    (folder / "model.xml").write_text(MODEL)
    for noun, lines in tables.items():
        rows = [[cell.replace("~", " ") if cell != "-" else "" for cell in line.split()] for line in lines]
        (folder / f"{noun}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
