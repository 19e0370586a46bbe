"""Reading PEtab problems: against PEtab's own library, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import petab.v1
import petab.v2
import pytest
from petab_problems import MODEL, TABLES_1, TABLES_2, write_1, write_2

from multiscale.equations.expression import number, symbol
from multiscale.equations.formula import parse
from multiscale.errors import FormatError
from multiscale.formats.petab import PetabProblem, Phase, read_petab


def suite(shared: Path, version: str) -> list[Path]:
    """Problems of the test suite and, of version 1, of the benchmark collection."""
    folder = shared / "conformance" / "petab_test_suite" / f"{version}.0.0" / "sbml"
    files = sorted(folder.glob("*/_*.yaml"))
    benchmark = (shared / "conformance" / "petab_benchmark").glob("*/*.yaml")
    return [f for f in files if "solution" not in f.name] + (sorted(benchmark) if version == "v1" else [])


def parameter_vectors(problem: PetabProblem) -> list[list[float]]:
    parameters = problem.parameters.values()
    return [[getattr(p, name) for p in parameters] for name in ("lower", "upper", "nominal")]


@pytest.mark.filterwarnings("ignore")
def test_problems_of_version_1_hold_what_the_petab_library_reads(shared: Path):
    for path in suite(shared, "v1"):
        ours, theirs = read_petab(path), petab.v1.Problem.from_yaml(str(path))
        assert list(ours.parameters) == theirs.x_ids
        assert ours.estimated == theirs.x_free_ids
        np.testing.assert_array_equal(parameter_vectors(ours), [theirs.lb, theirs.ub, theirs.x_nominal])
        table = theirs.measurement_df
        assert table is not None
        assert [m.value for m in ours.measurements] == table["measurement"].tolist()
        assert [m.time for m in ours.measurements] == table["time"].astype(float).tolist()
        before = table.get("preequilibrationConditionId", table["observableId"].map(lambda _: math.nan))
        keys = [
            f"{first}+{then}" if isinstance(first, str) else then
            for first, then in zip(before, table["simulationConditionId"], strict=True)
        ]
        assert [m.experiment for m in ours.measurements] == keys


@pytest.mark.filterwarnings("ignore")
def test_problems_of_version_2_hold_what_the_petab_library_reads(shared: Path):
    for path in suite(shared, "v2"):
        ours, theirs = read_petab(path), petab.v2.Problem.from_yaml(str(path))
        assert list(ours.parameters) == theirs.x_ids
        assert ours.estimated == theirs.x_free_ids
        bounds = [[math.nan if x is None else x for x in side] for side in (theirs.lb, theirs.ub)]
        np.testing.assert_array_equal(parameter_vectors(ours), [*bounds, theirs.x_nominal])
        assert [m.value for m in ours.measurements] == [m.measurement for m in theirs.measurements]
        assert [m.experiment for m in ours.measurements] == [
            m.experiment_id or "" for m in theirs.measurements
        ]
        for experiment in theirs.experiments:
            times = [period.time for period in experiment.sorted_periods]
            assert [phase.time for phase in ours.experiments[experiment.id]][: len(times)] == times


def test_nan_keeps_a_species_but_returns_a_parameter_to_the_model(tmp_path: Path):
    lines = [*TABLES_1["conditions"][:1], "rest 0.3 0.5", "dose NaN NaN", "plain NaN 1"]
    rest, dose = read_petab(write_1(tmp_path, conditions=lines)).experiments["rest+dose"]
    assert (rest.time, dose.time) == (-math.inf, 0.0)
    assert rest.changes == {"k1": number(0.3), "A": number(0.5)}
    assert dose.changes == {"k1": number(0.8)}


def test_an_observable_in_its_own_noise_is_put_in_place(tmp_path: Path):
    problem = read_petab(write_1(tmp_path))
    assert problem.observables["a"].noise is parse("0.1*A + sigma*k2")
    assert (problem.observables["a"].distribution, problem.observables["a"].scale) == ("laplace", "log10")


def test_overrides_are_numbers_and_parameters_in_order(tmp_path: Path):
    first, second, third = read_petab(write_1(tmp_path)).measurements
    assert (first.overrides, first.noise_overrides) == ((number(2),), (symbol("sigma"),))
    assert (second.overrides, second.noise_overrides) == ((symbol("offset"),), (number(0.3),))
    assert (third.time, third.overrides) == (math.inf, ())


def test_conditions_at_one_time_are_joined_and_phases_sorted(tmp_path: Path):
    slow, doses = read_petab(write_2(tmp_path)).experiments["e"]
    assert slow == Phase(5.0, {"k1": parse("k2/2"), "cell": number(2)}, ("slow",))
    assert doses == Phase(20.0, {"A": parse("A+1"), "B": parse("2*A")}, ("dose", "more"))


def test_an_experiment_that_ends_at_rest_goes_on_at_time_zero(tmp_path: Path):
    rest, after = read_petab(write_2(tmp_path)).experiments["r"]
    assert (rest.time, after) == (-math.inf, Phase(0.0))


def test_the_mapping_table_names_a_local_parameter(tmp_path: Path):
    problem = read_petab(write_2(tmp_path))
    assert "back" in problem.equations.parameters
    assert problem.equations.processes["turn"].flux is parse("cell*(k1*A - back*B)")


def test_version_2_gives_all_parameters_priors_when_one_has(tmp_path: Path):
    parameters = read_petab(write_2(tmp_path)).parameters
    uniform, given = parameters["back"].prior, parameters["k2"].prior
    assert uniform is not None and given is not None
    assert (uniform.kind, uniform.parameters) == ("uniform", (0.1, 2.0))
    assert (given.kind, given.lower, given.upper) == ("log-normal", 0.01, 10.0)
    assert parameters["sigma"].prior is None


def test_several_files_make_one_table(tmp_path: Path):
    path = write_1(tmp_path)
    header, *rows = TABLES_1["measurements"]
    write_1(tmp_path, measurements=[header, *rows[:1]], more=[header, *rows[1:]])
    path.write_text(path.read_text().replace("[measurements.tsv]", "[measurements.tsv, more.tsv]"))
    assert [m.row for m in read_petab(path).measurements] == [0, 1, 2]


WRONG_1 = {
    "unknown column": (
        "parameters",
        0,
        "nominalValue",
        "nominal",
        "`sigma` is not estimated; it needs a finite value",
    ),
    "missing column": (
        "observables",
        0,
        "noiseFormula",
        "noise",
        "column `noiseFormula` of the observable table",
    ),
    "double id": ("parameters", 2, "offset", "k2", "line 3, column `parameterId`: `k2` occurs twice"),
    "no bound": (
        "parameters",
        1,
        "10",
        "-",
        "line 2, column `upperBound`: `k2` is to be estimated and has no",
    ),
    "bounds": ("parameters", 1, "0.01", "11", r"column `lowerBound`: 11.0 is above the upper bound 10.0"),
    "log bound": ("parameters", 1, "0.01", "0", "0.0 has no value on the scale `log10`"),
    "scale": ("parameters", 1, "log10", "log2", "unknown `log2`; did you mean `log"),
    "estimate": ("parameters", 1, "1", "yes", "must be 0 or 1"),
    "number": ("parameters", 3, "0.5", "O.5", "must be a number; got `O.5`"),
    "unused": ("parameters", 2, "offset", "offst", "unknown name `offset`; did you mean `offst`?"),
    "rule": ("parameters", 2, "offset", "sum", "the model changes or computes `sum`"),
    "both": ("conditions", 0, "k1", "k2", "conditions set `k2`; keep it either here or there"),
    "target": ("conditions", 0, "k1", "k_1", "has `k_1`; did you mean `k1`?"),
    "rule target": ("conditions", 0, "k1", "sum", "a rule of the model computes `sum`"),
    "condition value": (
        "conditions",
        1,
        "0.3",
        "k2*2",
        "must be a number or the name of a parameter; got `k2",
    ),
    "condition name": ("conditions", 1, "0.3", "k3", "unknown name `k3`"),
    "formula": ("observables", 1, "noiseParameter1_b", "noiseParameter1_b*", "must have a value"),
    "gap": ("observables", 1, "noiseParameter1_b", "noiseParameter2_b", "must count from 1; got [2]"),
    "circle": ("observables", 2, "A", "a+A", "is defined by itself: `a` → `a`"),
    "distribution": ("observables", 2, "laplace", "cauchy", "unknown `cauchy`; Known: `laplace`, `normal`"),
    "observable": ("measurements", 1, "b", "bb", "unknown observable `bb`; did you mean `b`?"),
    "condition": ("measurements", 1, "dose", "does", "unknown condition `does`; did you mean `dose`?"),
    "before": ("measurements", 1, "rest", "nest", "unknown condition `nest`; did you mean `rest`?"),
    "negative": ("measurements", 1, "0", "-1", "column `time`: must not be negative; got -1.0"),
    "no time": ("measurements", 1, "0", "-", "column `time`: is empty; give a number"),
    "nan": ("measurements", 1, "0.1", "nan", "column `measurement`: is empty; give a number"),
    "infinite": ("measurements", 1, "0.1", "inf", "column `measurement`: must be finite; got inf"),
    "not positive": ("measurements", 3, "0.7", "-0.7", "-0.7 has no value on the scale `log10`"),
    "count": ("measurements", 1, "2", "2;3", "2 values for 1 placeholders: observableParameter1_b"),
    "override": ("measurements", 1, "sigma", "sigme", "unknown parameter `sigme`; did you mean `sigma`?"),
    "override formula": (
        "measurements",
        1,
        "sigma",
        "sigma*2",
        "must be a number or the name of a parameter",
    ),
}


@pytest.mark.parametrize("case", WRONG_1)
def test_version_1_refuses(case: str, tmp_path: Path):
    table, line, old, new, message = WRONG_1[case]
    with pytest.raises(FormatError) as error:
        read_petab(write_1(tmp_path, **{table: _altered(TABLES_1[table], line, old, new)}))
    assert message in str(error.value)


WRONG_2 = {
    "estimate": ("parameters", 1, "true", "1", "must be true or false; got `1`"),
    "prior": ("parameters", 1, "log-normal", "lognormal", "unknown `lognormal`; did you mean `log-normal`?"),
    "prior numbers": ("parameters", 1, "-0.5;1", "-0.5", "`-0.5` gives no prior: `log-normal` needs 2"),
    "prior sign": ("parameters", 1, "-0.5;1", "-0.5;-1", "the scale of `log-normal` must be positive"),
    "prior ends": ("parameters", 1, "log-normal", "log-uniform", "of log-uniform also positive"),
    "twice": ("conditions", 4, "cell", "k1", "`slow` sets `k1` twice; remove one"),
    "two at once": ("conditions", 3, "B", "A", "`A` is set by two conditions at time 20.0"),
    "first reads state": ("conditions", 1, "k2/2", "A/2", "its formulas may read only parameters of the"),
    "target": ("conditions", 2, "A", "AA", "has `AA`; did you mean `A`?"),
    "no target": ("conditions", 2, "A", "turn", "`turn` is no compartment, species or parameter"),
    "time": ("experiments", 1, "20", "inf", "must be finite or -inf; got inf"),
    "condition": ("experiments", 1, "dose", "doze", "unknown condition `doze`; did you mean `dose`?"),
    "early": ("measurements", 1, "20", "2", "2.0 is before `e` starts, at 5.0"),
    "experiment": ("measurements", 1, "e", "f", "unknown experiment `f`"),
    "other placeholders": ("observables", 2, "a+b2", "a+b", "unknown name `factor`"),
    "alias": (
        "mapping",
        1,
        "turn.back",
        "turn.bak",
        "the model has no `turn.bak`; did you mean `turn.back`?",
    ),
    "alias taken": ("mapping", 1, "back", "k1", "the model has another `k1`"),
}


@pytest.mark.parametrize("case", WRONG_2)
def test_version_2_refuses(case: str, tmp_path: Path):
    table, line, old, new, message = WRONG_2[case]
    with pytest.raises(FormatError) as error:
        read_petab(write_2(tmp_path, **{table: _altered(TABLES_2[table], line, old, new)}))
    assert message in str(error.value)


def test_one_error_lists_all_problems_of_all_files(tmp_path: Path):
    path = write_1(
        tmp_path,
        parameters=_altered(TABLES_1["parameters"], 1, "10", "-"),
        measurements=_altered(TABLES_1["measurements"], 1, "0", "-1"),
    )
    path.write_text(path.read_text().replace("conditions.tsv", "condition.tsv"))
    with pytest.raises(FormatError) as error:
        read_petab(path)
    for sentence in (
        "file `condition.tsv` not found",
        "line 2, column `upperBound`",
        "line 2, column `time`",
    ):
        assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format_version: 1", "format_version: 3", "`format_version` must be 1 or 2; got `3`"),
        ("format_version: 1", "format_version: [1", "not a YAML file"),
        ("[model.xml]", "[model.xml, model.xml]", "2 models; only problems with one model are supported"),
        ("[model.xml]", "[https://example.org/model.xml]", "is an address; download the file"),
        (
            "parameter_file: parameters.tsv",
            "parameter_file: 3",
            "must be a file name or a list of them; got 3",
        ),
        ("parameter_file: parameters.tsv", "x: y", "`parameter_file` is missing"),
        (
            "problems:",
            "extensions: {sciml: {version: 1.0.0, required: true}}\nproblems:",
            "`sciml` is not supp",
        ),
        ("- sbml", "- {}\n- sbml", "`problems` must list one problem; got 2"),
    ],
)
def test_a_wrong_yaml_file_is_refused(old: str, new: str, message: str, tmp_path: Path):
    path = write_1(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(FormatError, match=message.replace("[", r"\[").replace("`", ".")):
        read_petab(path)


def test_a_model_that_is_no_sbml_is_one_of_the_problems(tmp_path: Path):
    path = write_1(tmp_path)
    (tmp_path / "model.xml").write_text(MODEL.replace("<model", "<modl"))
    with pytest.raises(FormatError, match=r"model\.xml"):
        read_petab(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("language: sbml", "language: bngl", "`language` of `m` must be `sbml`; got `bngl`"),
        (
            "model_files:",
            "model_file: x\nmodel_files:",
            "unknown key `model_file`; did you mean `model_files`",
        ),
        ("  m:", "  n: {location: model.xml, language: sbml}\n  m:", "must name one model; got 2"),
    ],
)
def test_what_version_2_allows_and_this_does_not_is_refused_by_name(
    old: str, new: str, message: str, tmp_path: Path
):
    path = write_2(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(FormatError, match=message.replace("`", ".")):
        read_petab(path)


def _altered(lines: list[str], line: int, old: str, new: str) -> list[str]:
    """Replace the first cell of a line that equals `old`."""
    cells = lines[line].split()
    cells[cells.index(old)] = new
    return [*lines[:line], " ".join(cells), *lines[line + 1 :]]
