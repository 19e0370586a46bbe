"""A row for the wild type that is added to a scan which does not list it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from variant_tables import FITNESS, PROTEIN, SCAN, WILD, write

from multiscale.assays.fitness import Fitness
from multiscale.config import ReadingsSection
from multiscale.errors import AssayError, FormatError
from multiscale.formats.variants import Holdout, read_readings
from multiscale.runs.readings import read_section, rows_to_fit

DOUBLES = SCAN.replace("MKVT,0.0,training,0,a\n", "")


def test_the_wild_type_is_added_with_the_label_of_fitted_rows(tmp_path: Path) -> None:
    given = {"value": 0.0}
    readings = read_readings(
        write(tmp_path, DOUBLES), FITNESS, sequence=PROTEIN, split="set", wild_type=given
    )
    assert readings.sequences["protein"].labels() == ["K11A", "T13S", "wt"]
    assert readings.arrays["value"].tolist() == [-1.5, 0.25, 0.0]
    assert readings.split is not None and readings.split.tolist() == ["training", "test", "training"]
    assert readings.rows.index.tolist() == [2, 3, 0] and readings.provenance["rows_in_file"] == 2
    other = {**given, "split": "test"}
    again = read_readings(write(tmp_path, DOUBLES), FITNESS, sequence=PROTEIN, split="set", wild_type=other)
    assert again.split is not None and again.split.tolist()[-1] == "test"


def test_a_draw_of_held_out_rows_is_that_of_the_file_alone(tmp_path: Path) -> None:
    rows = "".join(f"MKV{letter},1.0,x,0,a\n" for letter in "ACDEFGHI")
    path, options = (
        write(tmp_path, SCAN.splitlines()[0] + "\n" + rows),
        {"sequence": PROTEIN, "holdout": Holdout(0.5)},
    )
    without = read_readings(path, FITNESS, **options).split
    added = read_readings(path, FITNESS, wild_type={"value": 0.0}, **options).split
    assert added is not None and without is not None
    assert added.tolist() == [*without.tolist(), "training"]


def test_other_columns_of_the_added_row_are_blank_and_refused_where_they_are_needed(tmp_path: Path) -> None:
    path, grouped = write(tmp_path, DOUBLES), Fitness(species="folded", of="protein", group="batch")
    said = r"^scan\.csv, line 0 \(added wild type\): variant `MKVT`: `batch` is blank"
    with pytest.raises(AssayError, match=said):
        read_readings(path, grouped, sequence=PROTEIN, wild_type={"value": 0.0})
    done = read_readings(path, grouped, sequence=PROTEIN, wild_type={"value": 0.0, "batch": "a"})
    assert len(done) == 3
    with pytest.raises(FormatError, match=r"no column `fitnes` \(`wild_type`\)"):
        read_readings(path, FITNESS, sequence=PROTEIN, wild_type={"fitnes": 0.0})
    with pytest.raises(FormatError, match="`protein` has no wild type"):
        read_readings(path, FITNESS, sequence=replace(PROTEIN, reference=""), wild_type={"value": 0.0})


@pytest.mark.parametrize(("notation", "text"), [("mutations", "K11A"), ("hgvs", "p.Lys11Ala")])
def test_the_wild_type_is_written_as_the_others_are(tmp_path: Path, notation, text: str) -> None:
    path = write(tmp_path, f"sequence,value\n{text},-1\n")
    column = replace(PROTEIN, notation=notation)
    readings = read_readings(path, FITNESS, sequence=column, wild_type={"value": 0.0})
    assert readings.sequences["protein"].labels() == ["K11A", "wt"]


def test_rows_to_predict_get_no_wild_type_and_own_names_of_columns_are_known(tmp_path: Path) -> None:
    path = write(tmp_path, DOUBLES.replace("value", "score"))
    named = replace(FITNESS, columns={"value": "score"})
    assert np.isnan(read_readings(path, named, sequence=PROTEIN, measured=False).arrays["value"]).all()
    asked = read_readings(path, named, sequence=PROTEIN, measured=False, wild_type={"value": 0.0})
    assert len(asked) == 2
    assert read_readings(path, named, sequence=PROTEIN, wild_type={"value": 9.0}).arrays["value"][2] == 9.0


def test_a_section_of_a_configuration_adds_it_among_the_fitted_rows(tmp_path: Path) -> None:
    path = write(tmp_path, DOUBLES.replace("training", "fit").replace("test", "check"))
    section = ReadingsSection(
        path=str(path),
        instrument="fitness",
        species="folded",  # pyright: ignore[reportCallIssue]
        of="protein",  # pyright: ignore[reportCallIssue]
        sequence={"molecule": "protein", "column": "sequence", "reference": WILD},  # pyright: ignore[reportArgumentType]
        split="set",
        fitted=["check"],
        wild_type={"value": 0.0},
    )
    fitted, rest = rows_to_fit(section, read_section("scan", section))
    assert fitted.sequences["protein"].labels() == ["T4S", "wt"] and rest is not None and len(rest) == 1
