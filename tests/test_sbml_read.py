"""Reading SBML: what a file says becomes equations; what cannot be read is refused with its place."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from multiscale.equations import Equations, parse
from multiscale.equations.expression import TIME, number, symbol
from multiscale.errors import FormatError
from multiscale.formats.sbml.read import read_equations

MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML">{}</math>'


def sbml(content: str, *, level: int = 3, version: int = 2, attributes: str = "") -> str:
    """Text of a model."""
    core = "/core" if level == 3 else ""
    space = f"http://www.sbml.org/sbml/level{level}/version{version}{core}"
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return (
        f'{head}<sbml xmlns="{space}" level="{level}" version="{version}" {attributes}>\n{content}\n</sbml>'
    )


def with_formula(formula: str, *, before: str = "") -> str:
    """Model in which an assignment rule gives `y` by a formula over `x`."""
    parameters = "".join(f'<parameter id="{name}" value="2" constant="false"/>' for name in "xyz")
    rule = f'<assignmentRule variable="y">{MATH.format(formula)}</assignmentRule>'
    return sbml(
        f'<model id="m">{before}<listOfParameters>{parameters}</listOfParameters>'
        f"<listOfRules>{rule}</listOfRules></model>"
    )


def function(name: str, body: str, arguments: str = "x") -> str:
    """Function definition."""
    bvars = "".join(f"<bvar><ci>{argument}</ci></bvar>" for argument in arguments)
    math = MATH.format(f"<lambda>{bvars}{body}</lambda>")
    return f'<functionDefinition id="{name}">{math}</functionDefinition>'


def assigned(formula: str, *functions: str):
    """Expression of a formula in MathML."""
    before = (
        f"<listOfFunctionDefinitions>{''.join(functions)}</listOfFunctionDefinitions>" if functions else ""
    )
    return read_equations(with_formula(formula, before=before)).assignments["y"]


def refused(text: str | Path) -> str:
    """Message of the refusal: one line."""
    with pytest.raises(FormatError) as caught:
        read_equations(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


REACTION = sbml(
    """<model id="m" conversionFactor="f" substanceUnits="mmol" extentUnits="mole" timeUnits="second">
    <listOfUnitDefinitions><unitDefinition id="mmol"><listOfUnits>
      <unit kind="mole" exponent="1" scale="-3" multiplier="1"/></listOfUnits></unitDefinition>
    </listOfUnitDefinitions>
    <listOfCompartments>
      <compartment id="cell" size="2" spatialDimensions="3" constant="true"/></listOfCompartments>
    <listOfSpecies>
      <species id="A" compartment="cell" initialConcentration="3" hasOnlySubstanceUnits="false"
        boundaryCondition="false" constant="false"/>
      <species id="B" compartment="cell" initialAmount="4" hasOnlySubstanceUnits="true"
        boundaryCondition="true" constant="false" conversionFactor="g"/></listOfSpecies>
    <listOfParameters><parameter id="f" value="5" constant="true"/>
      <parameter id="g" value="6" constant="true"/>
      <parameter id="k" value="7" constant="true"/></listOfParameters>
    <listOfReactions><reaction id="r" reversible="false">
      <listOfReactants>
        <speciesReference id="n" species="A" stoichiometry="2" constant="false"/></listOfReactants>
      <listOfProducts><speciesReference species="B" stoichiometry="1" constant="true"/></listOfProducts>
      <kineticLaw>"""
    + MATH.format("<apply><times/><ci>k</ci><ci>A</ci></apply>")
    + """<listOfLocalParameters><localParameter id="k" value="8"/></listOfLocalParameters></kineticLaw>
    </reaction></listOfReactions></model>"""
)


@pytest.fixture(scope="module")
def reaction() -> Equations:
    """Equations of a reaction."""
    return read_equations(REACTION)


def test_species_start_as_amount_or_concentration_and_keep_what_their_name_means(reaction: Equations) -> None:
    a, b = reaction.species["A"], reaction.species["B"]
    assert (a.start, a.start_is_amount, a.only_amount, a.boundary) == (3.0, False, False, False)
    assert (b.start, b.start_is_amount, b.only_amount, b.boundary) == (4.0, True, True, True)


def test_conversion_factor_of_a_species_comes_before_that_of_the_model(reaction: Equations) -> None:
    assert [species.conversion for species in reaction.species.values()] == ["f", "g"]


def test_local_parameter_hides_the_one_of_the_model(reaction: Equations) -> None:
    assert reaction.processes["r"].flux is symbol("r.k") * symbol("A")
    assert (reaction.parameters["r.k"].value, reaction.parameters["k"].value) == (8.0, 7.0)


def test_stoichiometries_keep_their_names(reaction: Equations) -> None:
    (reactant,), (product,) = reaction.processes["r"].reactants, reaction.processes["r"].products
    assert (reactant.name, reactant.stoichiometry, reactant.constant) == ("n", number(2), False)
    assert (product.name, product.stoichiometry, product.constant) == ("", number(1), True)


def test_units_are_read_as_text(reaction: Equations) -> None:
    assert reaction.units == {"substance": "0.001*mole", "time": "second", "extent": "mole"}


@pytest.mark.parametrize(
    ("mathml", "infix"),
    [
        ("<apply><minus/><ci>x</ci></apply>", "-x"),
        ("<apply><plus/><ci>x</ci><ci>z</ci><cn>1</cn></apply>", "x + z + 1"),
        ("<apply><root/><ci>x</ci></apply>", "sqrt(x)"),
        ("<apply><root/><degree><cn>3</cn></degree><ci>x</ci></apply>", "x^(1/3)"),
        ("<apply><log/><ci>x</ci></apply>", "ln(x) / ln(10)"),
        ("<apply><log/><logbase><cn>2</cn></logbase><ci>x</ci></apply>", "ln(x) / ln(2)"),
        ("<apply><lt/><ci>x</ci><ci>z</ci><cn>3</cn></apply>", "x < z && z < 3"),
        ("<apply><geq/><ci>x</ci><ci>z</ci></apply>", "x >= z"),
        ("<apply><max/><ci>x</ci><ci>z</ci></apply>", "max(x, z)"),
        ("<cn type='e-notation'>2<sep/>-3</cn>", "0.002"),
        ("<cn type='rational'>1<sep/>4</cn>", "0.25"),
        ("<infinity/>", "inf"),
        ("<apply><power/><ci>x</ci><exponentiale/></apply>", "x^exponentiale"),
        ("<apply><times/><pi/><ci>x</ci></apply>", "pi * x"),
        ("<piecewise><piece><cn>1</cn><true/></piece><otherwise><ci>x</ci></otherwise></piecewise>", "1"),
        (
            "<piecewise><piece><ci>x</ci><apply><gt/><ci>x</ci><cn>1</cn></apply></piece></piecewise>",
            "piecewise(x, x > 1)",
        ),
    ],
)
def test_mathml_says_the_same_as_infix(mathml: str, infix: str) -> None:
    assert assigned(mathml) is parse(infix)


def test_time_is_no_symbol_even_beside_a_quantity_of_that_name() -> None:
    csymbol = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time">x</csymbol>'
    assert assigned(f"<apply><plus/><ci>x</ci>{csymbol}</apply>") is symbol("x") + TIME


def test_avogadro_has_the_value_of_the_specification() -> None:
    csymbol = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/avogadro">N</csymbol>'
    assert assigned(csymbol).value == 6.02214179e23


def test_rate_of_a_quantity_is_a_symbol() -> None:
    csymbol = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/rateOf">d</csymbol>'
    assert assigned(f"<apply>{csymbol}<ci>x</ci></apply>") is symbol("rateOf:x")


def test_functions_are_written_out_whatever_their_order() -> None:
    twice = function("twice", "<apply><times/><cn>2</cn><ci>x</ci></apply>")
    swap = function("swap", "<apply><minus/><ci>z</ci><apply><ci>twice</ci><ci>x</ci></apply></apply>", "xz")
    found = assigned("<apply><ci>swap</ci><ci>z</ci><ci>x</ci></apply>", swap, twice)
    assert found is symbol("x") - number(2) * symbol("z")


def test_what_has_no_formula_says_nothing() -> None:
    text = sbml(
        '<model id="m"><listOfParameters><parameter id="p" value="3" constant="false"/></listOfParameters>'
        '<listOfInitialAssignments><initialAssignment symbol="p"/></listOfInitialAssignments>'
        '<listOfRules><rateRule variable="p"/><algebraicRule/></listOfRules>'
        '<listOfEvents><event useValuesFromTriggerTime="true">'
        '<trigger initialValue="true" persistent="true"/>'
        "</event></listOfEvents></model>"
    )
    found = read_equations(text)
    assert (found.starts, found.rates, found.events) == ({}, {}, ())


def test_event_keeps_delay_priority_and_flags() -> None:
    trigger = MATH.format("<apply><gt/><ci>p</ci><cn>1</cn></apply>")
    text = sbml(
        '<model id="m"><listOfParameters><parameter id="p" value="3" constant="false"/></listOfParameters>'
        '<listOfEvents><event useValuesFromTriggerTime="false">'
        '<trigger initialValue="false" persistent="false">'
        f"{trigger}</trigger><priority>{MATH.format('<cn>5</cn>')}</priority>"
        f"<delay>{MATH.format('<cn>6</cn>')}</delay><listOfEventAssignments>"
        f'<eventAssignment variable="p">{MATH.format("<cn>7</cn>")}</eventAssignment>'
        "</listOfEventAssignments></event></listOfEvents></model>"
    )
    (event,) = read_equations(text).events
    assert (event.delay, event.priority, event.assignments["p"]) == (number(6), number(5), number(7))
    assert not (event.persistent or event.initially_true or event.values_from_trigger)


def test_level_2_has_its_own_defaults_and_stoichiometries_by_formula() -> None:
    text = sbml(
        '<model id="m"><listOfCompartments><compartment id="c" size="1"/></listOfCompartments><listOfSpecies>'
        '<species id="A" compartment="c" initialAmount="1"/></listOfSpecies>'
        '<listOfReactions><reaction id="r">'
        '<listOfProducts><speciesReference species="A"><stoichiometryMath>'
        f"{MATH.format('<apply><times/><cn>2</cn><ci>A</ci></apply>')}"
        "</stoichiometryMath></speciesReference></listOfProducts>"
        f"<kineticLaw>{MATH.format('<cn>1</cn>')}</kineticLaw></reaction></listOfReactions></model>",
        level=2,
        version=4,
    )
    found = read_equations(text)
    assert found.processes["r"].products[0].stoichiometry is number(2) * symbol("A")
    assert (found.compartments["c"].constant, found.compartments["c"].dimensions) == (True, 3.0)
    assert found.units["substance"] == "mole"


def test_level_1_is_read_by_its_infix_formulas() -> None:
    text = sbml(
        '<model name="m"><listOfCompartments><compartment name="c"/></listOfCompartments><listOfSpecies>'
        '<species name="A" compartment="c" initialAmount="1"/></listOfSpecies><listOfReactions>'
        '<reaction name="r"><listOfReactants><speciesReference species="A"/></listOfReactants>'
        '<kineticLaw formula="k * A"><listOfParameters><parameter name="k" value="2"/></listOfParameters>'
        "</kineticLaw></reaction></listOfReactions></model>",
        level=1,
        version=2,
    )
    found = read_equations(text.replace("level1/version2", "level1"))
    assert found.processes["r"].flux is symbol("r.k") * symbol("A")
    assert found.compartments["c"].size == 1.0


COMP = 'xmlns:comp="http://www.sbml.org/sbml/level3/version1/comp/version1" comp:required="true"'


SUBMODEL = '<comp:listOfSubmodels><comp:submodel comp:id="A" comp:modelRef="{}"/></comp:listOfSubmodels>'


def inner(source: str) -> str:
    """Model with a submodel `A` of an external definition."""
    return sbml(
        f'<model id="m">{SUBMODEL.format("E")}'
        "</model><comp:listOfExternalModelDefinitions>"
        f'<comp:externalModelDefinition comp:id="E" comp:source="{source}"/>'
        "</comp:listOfExternalModelDefinitions>",
        attributes=COMP,
    )


def test_submodels_in_files_of_the_folder_are_written_out(tmp_path: Path) -> None:
    (tmp_path / "part.xml").write_text(with_formula("<ci>x</ci>"))
    (tmp_path / "model.xml").write_text(inner("part.xml"))
    found = read_equations(tmp_path / "model.xml")
    assert found.assignments == {"A__y": symbol("A__x")}
    assert read_equations(inner("part.xml"), resolve=tmp_path).assignments == found.assignments


@pytest.mark.parametrize(
    "source", ["../part.xml", "/etc/passwd", "http://localhost/part.xml", "a/../../part.xml"]
)
def test_submodels_outside_the_folder_are_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "part.xml").write_text(with_formula("<ci>x</ci>"))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.xml").write_text(inner(source))
    assert "must be a file in the folder of the model" in refused(folder / "model.xml")


def test_submodels_whose_file_is_missing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text(inner("part.xml"))
    assert "line 3: `source` of external model definition `E` must be a file" in refused(
        tmp_path / "model.xml"
    )


def test_submodels_that_multiply_without_end_are_refused() -> None:
    definitions = "".join(
        f'<comp:modelDefinition id="M{i}"><comp:listOfSubmodels>'
        f'<comp:submodel comp:id="A" comp:modelRef="M{i + 1}"/>'
        f'<comp:submodel comp:id="B" comp:modelRef="M{i + 1}"/>'
        "</comp:listOfSubmodels></comp:modelDefinition>"
        for i in range(30)
    )
    last = '<comp:modelDefinition id="M30"/>'
    text = sbml(
        f'<model id="m">{SUBMODEL.format("M0")}'
        f"</model><comp:listOfModelDefinitions>{definitions}{last}</comp:listOfModelDefinitions>",
        attributes=COMP,
    )
    assert "instances of submodels" in refused(text)
    assert "contains itself" in refused(text.replace('modelRef="M1"', 'modelRef="M0"'))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<sbml", "line 1, column 1: not well-formed XML"),
        ("<a/>", "is no SBML"),
        (sbml("<model id='m'>"), "line 4, column 3: not well-formed XML"),
        (sbml("<model id='m'/>").replace("level3", "level4"), "`xmlns` are none that SBML has"),
        (sbml("<model id='m'/>").replace('version="2"', 'version="1"'), "`xmlns` are none that SBML has"),
        (sbml("<model id='m'/>").replace("UTF-8", "latin-1"), "`encoding` must be UTF-8"),
        (
            sbml("<model id='m'><notes>" + "<a>" * 1000 + "</a>" * 1000 + "</notes></model>"),
            "nested more than",
        ),
        (with_formula("<apply><sin/>" * 5000 + "<cn>1</cn>" + "</apply>" * 5000), "nested more than"),
        (with_formula("<cn>1e999</cn>"), "line 3: `cn` must be a finite number; got '1e999'"),
        (with_formula("<cn type='e-notation'>1<sep/>99999999999999999999</cn>"), "must be a finite number"),
        (with_formula("<cn>one</cn>"), "`cn` must hold a number; got 'one'"),
        (with_formula("<cn base='16'>10</cn>"), "`base` of `cn` must be 10"),
        (
            with_formula("<ci>q</ci>"),
            "line 3: A <ci> element in this context must refer to a model component: The formula 'q'",
        ),
        (with_formula("<apply><divide/><ci>x</ci></apply>"), "must hold 2 arguments after `divide`; got 1"),
        (with_formula("<apply><ci>f</ci></apply>"), "uses 'f' which is not a function definition id"),
        (with_formula("<interval><ci>x</ci></interval>"), "`interval` in MathML is not supported"),
        (
            with_formula("<ci>x</ci>").replace('id="z" value="2"', 'id="z" value="1e400"'),
            "`value` of `parameter`",
        ),
        (with_formula("<ci>x</ci>").replace('id="z"', 'id="x"'), "line 3: Duplicate"),
    ],
)
def test_bad_input_is_one_error_that_names_the_place(text: str, words: str) -> None:
    assert words in refused(text)


def test_document_types_are_refused_before_entities_expand() -> None:
    bomb = '<!DOCTYPE sbml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
    text = sbml("<model id='m' name='&b;'/>").replace("<sbml", f"{bomb}<sbml")
    assert "line 2: has a document type (DOCTYPE)" in refused(text)


def test_functions_that_call_themselves_or_grow_without_end_are_refused() -> None:
    def call(name: str, n: int) -> str:
        return f"<apply><ci>{name}</ci><apply><plus/><ci>x</ci><cn>{n}</cn></apply></apply>"

    def twice(i: int) -> str:
        return f"<apply><times/>{call(f'f{i + 1}', 1)}{call(f'f{i + 1}', 2)}</apply>"

    last = function("f30", "<ci>x</ci>")
    functions = [function(f"f{i}", twice(i)) for i in range(30)]
    before = f"<listOfFunctionDefinitions>{''.join(functions)}{last}</listOfFunctionDefinitions>"
    text = with_formula("<apply><ci>f0</ci><ci>x</ci></apply>", before=before)
    assert "operations with those it calls" in refused(text)
    assert "calls itself" in refused(text.replace("<ci>f30</ci>", "<ci>f0</ci>"))


def test_file_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.xml"
    path.write_bytes(sbml('<model id="m" name="\xfc"/>').encode("latin-1"))
    assert "must be UTF-8; got 0xfc at byte" in refused(path)
    assert "no such file" in refused(tmp_path / "missing.xml")


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (
            'xmlns:x="http://example.org/new" x:required="true"',
            "requires the package 'http://example.org/new'",
        ),
        (
            'xmlns:d="http://www.sbml.org/sbml/level3/version1/distrib/version1" d:required="true"',
            "requires the package",
        ),
    ],
)
def test_required_packages_are_refused_by_name(attributes: str, words: str) -> None:
    assert words in refused(sbml('<model id="m"/>', attributes=attributes))


def test_algebraic_rules_and_delays_are_refused_by_name() -> None:
    algebraic = with_formula("<ci>x</ci>").replace('assignmentRule variable="y"', "algebraicRule")
    assert "algebraic rule is not supported" in refused(algebraic.replace("assignmentRule", "algebraicRule"))
    csymbol = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/delay">d</csymbol>'
    delayed = with_formula(f"<apply>{csymbol}<ci>x</ci><cn>1</cn></apply>")
    assert "rule of `y`: the delay of a quantity" in refused(delayed)


def test_published_models_are_read(shared: Path) -> None:
    folders = sorted((shared / "conformance/petab_benchmark").glob("*/model_*.xml"))
    sizes = {path.parent.name: read_equations(path) for path in folders}
    counts = {name: (len(found.species), len(found.processes)) for name, found in sizes.items()}
    assert counts["Lucarelli_CellSystems2018"] == (33, 57)
    assert counts["Boehm_JProteomeRes2014"] == (8, 9)
    assert all(math.isfinite(s.start or 0.0) for found in sizes.values() for s in found.species.values())
