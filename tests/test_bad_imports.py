"""Bad SBML and PEtab files: one error that says where, what and what to do; no crash, hang or bomb."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from petab_problems import MODEL, TABLES_1, TABLES_2, write_1, write_2

from multiscale.equations.flatten import flatten
from multiscale.errors import FormatError
from multiscale.fit.petab.objective import Objective
from multiscale.formats.petab import Prior, read_petab
from multiscale.formats.sbml.read import read_equations
from multiscale.model.imported import simulate_equations
from multiscale.solver.status import Status

SPACE = "http://www.sbml.org/sbml/level3/version2/core"
TIME = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol>'
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def math_of(content: str) -> str:
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML">{content}</math>'


def apply(operator: str, *arguments: str) -> str:
    return f"<apply><{operator}/>{''.join(arguments)}</apply>"


def model(rules: dict[str, str], kind: str = "assignmentRule", events: str = "") -> str:
    """Text of a model in which rules give parameters."""
    parameters = "".join(f'<parameter id="{name}" value="1" constant="false"/>' for name in rules)
    lines = "".join(f'<{kind} variable="{name}">{math_of(rule)}</{kind}>' for name, rule in rules.items())
    return (
        f'<sbml xmlns="{SPACE}" level="3" version="2"><model id="m"><listOfParameters>{parameters}'
        f"</listOfParameters><listOfRules>{lines}</listOfRules>{events}</model></sbml>"
    )


def refusal(path: Path | str) -> str:
    """Message of the refusal of a model, or of a problem."""
    with pytest.raises(FormatError) as caught:
        read_petab(path) if str(path).endswith("yaml") else read_equations(path)
    return str(caught.value)


def altered(lines: list[str], line: int, old: str, new: str) -> list[str]:
    assert old in lines[line]
    return [*lines[:line], lines[line].replace(old, new, 1), *lines[line + 1 :]]


# SBML


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no element found"),
        (b"\0" * 100, "not well-formed XML"),
        (b"\x1f\x8b\x08\x00", "must be UTF-8"),
        (MODEL.encode("utf-16"), "must be UTF-8; got 0xff at byte 0"),
        (MODEL.replace("UTF-8", "ISO-8859-1").encode(), "`encoding` must be UTF-8; got 'ISO-8859-1'"),
        (MODEL[:700].encode(), "unclosed token"),
        (MODEL.replace('id="k1"', 'id="k\0"').encode(), "not well-formed"),
        (
            MODEL.replace("<model", "<?x?><model").replace("sbml/level3", "sbml/level7").encode(),
            "`level`, `version` and `xmlns`",
        ),
        (MODEL.replace('size="1"', 'size="&big;"').encode(), "undefined entity"),
        (
            MODEL.replace('size="1"', 'size="1e999999"').encode(),
            "`size` of `compartment` 'cell' must be a number be",
        ),
        (
            MODEL.replace('size="1"', 'size="9^9^9^9"').encode(),
            "'cell' must be a number (or INF, -INF, NaN); got '9^9",
        ),
        (MODEL.replace('size="1"', 'size="\u0663"').encode(), "must be a number"),
        (MODEL.replace('constant="true"', 'constant="ja"').encode(), "must be true or false; got 'ja'"),
        (
            MODEL.replace('id="k2"', 'id="2 k"').encode(),
            "must be letters, digits and `_`, the first no digit; got",
        ),
        (MODEL.replace('id="k2"', 'id="k1"').encode(), "line 9: Duplicate"),
        (
            MODEL.replace('compartment="cell"', 'compartment="c"').encode(),
            "the compartment 'c' which is not defined",
        ),
    ],
)
def test_file_that_is_no_model_is_refused_with_its_place(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.xml"
    path.write_bytes(content)
    assert words in refusal(path)
    assert refusal(path).startswith(str(path))


def test_external_entities_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("42")
    doctype = f'<!DOCTYPE sbml [<!ENTITY secret SYSTEM "{(tmp_path / "secret").as_uri()}">]><sbml'
    assert "DOCTYPE" in refusal(MODEL.replace("<sbml", doctype).replace('size="1"', 'size="&secret;"'))


def test_notes_and_annotations_may_say_what_they_like() -> None:
    notes = (
        '<annotation><x:y xmlns:x="http://x.org" value="about 1e999" id="2 k" constant="ja"/></annotation>'
    )
    assert set(
        read_equations(MODEL.replace('<model id="conversion">', f'<model id="m">{notes}')).species
    ) == {"A", "B"}


def test_path_of_a_folder_and_one_that_is_too_long_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path)
    assert "no such file" in refusal("x" * 5000)


@pytest.mark.parametrize("operator", ["max", "xor", "plus"])
def test_elements_with_endless_parts_are_refused_before_the_stack_ends(operator: str) -> None:
    formula = f"<apply><{operator}/>{'<cn>1</cn>' * 200_000}</apply>"
    assert "`apply` in MathML has more than" in refusal(model({"x": formula}))


def test_deep_formulas_are_refused_and_allowed_ones_are_computed() -> None:
    def nested(depth: int) -> str:
        return model({"x": "<apply><abs/>" * depth + "<cn>-2</cn>" + "</apply>" * depth})

    assert read_equations(nested(200)).assignments["x"].value == 2.0
    assert "nested more than" in refusal(nested(100_000))


def test_chain_of_a_thousand_rules_is_read_and_ordered() -> None:
    rules = {f"v{i}": apply("plus", f"<ci>v{i + 1}</ci>", "<cn>1</cn>") for i in range(1000)}
    found = read_equations(model(rules | {"v1000": TIME}))
    assert simulate_equations(found, [0.0, 2.0], ["v0"])["v0"].tolist() == [1000.0, 1002.0]


@pytest.mark.parametrize("length", [1, 2, 500])
def test_circle_of_rules_is_refused_however_long(length: int) -> None:
    text = model({f"v{i}": f"<ci>v{(i + 1) % length}</ci>" for i in range(length)})
    with pytest.raises(FormatError, match=r"circle|[Cc]ircular"):
        flatten(read_equations(text))


@pytest.mark.parametrize(
    "formula",
    [
        apply(
            "power", "<cn>9</cn>", apply("power", "<cn>9</cn>", apply("power", "<cn>9</cn>", "<cn>9</cn>"))
        ),
        apply("factorial", '<cn type="e-notation">1<sep/>308</cn>'),
        apply("divide", "<cn>1</cn>", "<cn>0</cn>"),
        "<notanumber/>",
    ],
)
def test_rate_without_a_finite_value_is_a_status_and_no_exception(formula: str) -> None:
    course = simulate_equations(read_equations(model({"x": formula}, "rateRule")), [0.0, 1.0], ["x"])
    assert course.attrs["status"] == Status.NOT_FINITE
    assert course["x"][0] == 1.0 and math.isnan(course["x"][1])


def test_conditions_that_switch_all_the_time_end_with_a_status() -> None:
    wave = apply("gt", apply("sin", apply("times", "<cn>1000000</cn>", TIME)), "<cn>0</cn>")
    rate = f"<piecewise><piece><cn>1</cn>{wave}</piece><otherwise><cn>0</cn></otherwise></piecewise>"
    course = simulate_equations(
        read_equations(model({"x": rate}, "rateRule")), [0.0, 1e6], ["x"], max_steps=200
    )
    assert course.attrs["status"] == Status.TOO_MANY_STEPS


# PEtab


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB + "format_version: *i\n", "aliases"),
        (BOMB + "format_version: 1\nproblems: *i\n", "line 2"),
        ("&a\nformat_version: 1\nproblems: *a\n", "aliases"),
        ("format_version: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("[" * 100_000, "nested more than 20 deep"),
        ("{a: " * 10_000, "nested more than 20 deep"),
        ("format_version: " + "9" * 5000, "not a YAML file"),
        ("format_version: 2001-99-99", "month must be in 1..12"),
        ("format_version: !!bool maybe", "not a YAML file"),
        ("format_version: !!timestamp x", "not a YAML file"),
        ("format_version: 1\0", "special characters are not allowed"),
        ("format_version: 0.9", "must be 1 or 2; got `0.9`"),
        ("- 1", "must be a mapping"),
        ("", "must be a mapping"),
    ],
)
def test_yaml_that_is_no_problem_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "problem.yaml"
    path.write_text(content)
    assert words in refusal(path)
    assert refusal(path).startswith(f"{path}: ")
    assert len(refusal(path)) < 1000


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../observables.tsv", "is outside of the folder"),
        ("/etc/passwd", "is outside of the folder"),
        ("a/../../observables.tsv", "is outside of the folder"),
        ("file:///etc/passwd", "is an address"),
        (".", "not found"),
        ("a" * 5000, "not found"),
        ("'a\\0b'", "not found"),
    ],
)
def test_path_that_leads_nowhere_or_away_is_one_problem(
    tmp_path: Path, version: int, name: str, words: str
) -> None:
    path = (write_1 if version == 1 else write_2)(tmp_path)
    path.write_text(path.read_text().replace("observables.tsv", name.replace("'", '"')))
    assert words in refusal(path)
    assert "problems" not in refusal(path)


@pytest.mark.parametrize("write", [write_1, write_2])
@pytest.mark.parametrize("noun", ["parameters", "conditions", "observables"])
@pytest.mark.parametrize("content", ["", "\n\n", "wrong\tcolumns\n1\t2\n", None])
def test_table_that_cannot_be_read_makes_nothing_else_unknown(
    tmp_path: Path, write, noun: str, content
) -> None:
    path = write(tmp_path)
    table = tmp_path / f"{noun}.tsv"
    table.unlink() if content is None else table.write_text(content)
    assert f"{noun}.tsv" in refusal(path)
    assert "unknown" not in refusal(path)


@pytest.mark.parametrize(
    "content", ["conditionId\tk1\nd\xf6se\t1\n".encode("latin-1"), "conditionId\n".encode("utf-16")]
)
def test_table_in_another_encoding_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = write_1(tmp_path)
    (tmp_path / "conditions.tsv").write_bytes(content)
    assert "conditions.tsv: not a tab-separated table in UTF-8" in refusal(path)


@pytest.mark.parametrize(("write", "tables"), [(write_1, TABLES_1), (write_2, TABLES_2)])
def test_problem_without_measurements_is_refused(tmp_path: Path, write, tables: dict[str, list[str]]) -> None:
    path = write(tmp_path, measurements=tables["measurements"][:1])
    assert "no table has a row; add measurements" in refusal(path)


def test_tables_that_are_exchanged_are_refused_by_their_columns(tmp_path: Path) -> None:
    path = write_1(tmp_path)
    path.write_text(path.read_text().replace("observables.tsv", "conditions.tsv"))
    assert "conditions.tsv: column `observableFormula` of the observable table is missing" in refusal(path)


@pytest.mark.parametrize(
    ("noun", "line", "old", "new", "words"),
    [
        ("measurements", 1, " 0 0.1", " 1e999 0.1", "line 2, column `time`: must be a number; got `1e999`"),
        ("measurements", 1, " 0 0.1", " -1 0.1", "column `time`: must not be negative"),
        ("measurements", 1, " 0 0.1", " 0 1e999", "column `measurement`: must be a number"),
        ("measurements", 1, " 0 0.1", " 0 inf", "column `measurement`: must be finite"),
        ("measurements", 1, " 0 0.1", " 0 \u0663", "column `measurement`: must be a number"),
        ("conditions", 1, "0.3", "1e999", "column `k1`: must be a number or the name of a parameter"),
        ("parameters", 1, "0.6", "inf", "column `nominalValue`: must be finite; got inf"),
        ("parameters", 1, "0.01 10", "10 0.01", "10.0 is above the upper bound 0.01"),
        ("parameters", 1, "0.01 10", "- -", "`k2` is to be estimated and has no bound"),
        ("parameters", 1, "0.6 1", "0.6 2", "column `estimate`: must be 0 or 1; got `2`"),
        ("observables", 1, "r1_b*B", f"r{'9' * 5000}_b*B", "unknown name"),
    ],
)
def test_cell_that_cannot_be_is_refused_with_its_place(tmp_path, noun, line, old, new, words) -> None:
    path = write_1(tmp_path, **{noun: altered(TABLES_1[noun], line, old, new)})
    assert words in refusal(path)
    assert refusal(path).startswith(f"{path}: ")


def test_prior_far_away_from_the_bounds_is_refused(tmp_path: Path) -> None:
    rows = altered(TABLES_2["parameters"], 1, "log-normal -0.5;1", "normal 1e300;1e-300")
    assert "gives no probability to the bounds" in refusal(write_2(tmp_path, parameters=rows))
    with pytest.raises(ValueError, match="no probability"):
        Prior("laplace", (1e300, 1e-300), "lin", 0.0, 1.0)


def test_endless_problems_of_a_table_end_after_a_hundred(tmp_path: Path) -> None:
    path = write_1(tmp_path, measurements=[TABLES_1["measurements"][0], *["b rest dose 0 x 2 sigma"] * 5000])
    assert "at least 100 problems" in refusal(path)
    columns = " ".join(f"c{i}" for i in range(20_000))
    wide = [
        f"conditionId {columns}",
        "rest " + "1 " * 20_000,
        "dose " + "1 " * 20_000,
        "plain " + "1 " * 20_000,
    ]
    assert "at least 100 problems" in refusal(write_1(tmp_path, conditions=wide))


@pytest.mark.parametrize(("old", "new"), [("0.1 2 sigma", "0.1 2 -1"), ("0.1 2 sigma", "1e308 2 1e-308")])
def test_measurement_without_a_density_fails_the_start_and_is_named(
    tmp_path: Path, old: str, new: str
) -> None:
    objective = Objective(
        read_petab(write_1(tmp_path, measurements=altered(TABLES_1["measurements"], 1, old, new)))
    )
    found = objective.value(objective.nominal)
    assert np.isneginf(found.llh[0])
    assert "measurement 1 of `b` at time 0" in found.message[0]
