"""Readings from tables: rows, sequences, entities, conditions, splits, repeats, and bad input."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from variant_tables import FITNESS, PROTEIN, SCAN, WILD, write

from multiscale.assays.fitness import Fitness
from multiscale.data import Readings
from multiscale.errors import AssayError, DataError, FormatError
from multiscale.formats.variants import Holdout, SequenceColumn, read_readings


def read(folder: Path, text: str = SCAN, **options) -> Readings:
    return read_readings(write(folder, text), FITNESS, **{"sequence": PROTEIN, **options})


def test_rows_have_what_identifies_them_and_the_lines_of_the_file(tmp_path: Path) -> None:
    readings = read(tmp_path, split="set", name="abundance")
    assert readings.name == "abundance" and len(readings) == 3
    assert list(readings.rows.columns) == ["sequence", "set", "dose_nM", "batch"]
    assert readings.rows.index.tolist() == [2, 3, 4] and readings.rows.index.name == "line"
    assert readings.arrays["value"].tolist() == [0.0, -1.5, 0.25]
    assert readings.sequences["protein"].labels() == ["wt", "K11A", "T13S"]
    assert len(readings.where("test")) == 1


@pytest.mark.parametrize(("separator", "suffix"), [(",", "csv"), ("\t", "tsv"), (" ", "txt"), ("\t", "txt")])
def test_separators_follow_the_suffix_or_the_header_and_files_may_be_packed(
    tmp_path: Path, separator: str, suffix: str
) -> None:
    text = SCAN.replace(",", separator)
    plain = read_readings(write(tmp_path, text, f"scan.{suffix}"), FITNESS, sequence=PROTEIN)
    packed = tmp_path / f"packed.{suffix}.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    other = read_readings(packed, FITNESS, sequence=PROTEIN)
    assert (
        plain.sequences["protein"].labels() == other.sequences["protein"].labels() == ["wt", "K11A", "T13S"]
    )
    assert plain.name == "scan"


def test_comments_and_blank_lines_are_counted_as_lines(tmp_path: Path) -> None:
    lines = SCAN.splitlines()
    text = "\n".join(["# from elsewhere", lines[0], lines[1], "", *lines[2:]]) + "\n"
    assert read(tmp_path, text).rows.index.tolist() == [3, 5, 6]


def test_conditions_are_converted_to_the_project_units(tmp_path: Path) -> None:
    conditions = {
        "a": 2.0,
        "b": "dose_nM",
        "c": ("dose_nM", "mM"),
        "d": {"column": "dose_nM", "unit": "pM"},
        "temperature": (25.0, "C"),
        "denaturant": {"value": 500.0, "unit": "mM"},
    }
    found = read(tmp_path, conditions=conditions).conditions
    assert found["a"].tolist() == [2.0, 2.0, 2.0]
    assert found["b"] == pytest.approx([0.0, 0.01, 0.01])
    assert found["c"] == pytest.approx([0.0, 1e4, 1e4])
    assert found["d"] == pytest.approx([0.0, 1e-5, 1e-5])
    assert found["temperature"] == pytest.approx([298.15] * 3)
    assert found["denaturant"] == pytest.approx([0.5] * 3)


def test_entities_are_sorted_names_and_keep_leading_zeros(tmp_path: Path) -> None:
    text = "drug,value\n007,1\n10,2\n007,3\n"
    readings = read(tmp_path, text, sequence=(), entities={"drug": "drug"})
    assert readings.entities["drug"].names == ("007", "10")
    assert readings.entities["drug"].codes.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("where", "lines"),
    [
        ({"batch": "a"}, [2, 3]),
        ({"dose_nM": 10}, [3, 4]),
        ({"batch": ["b", "c"]}, [4]),
        ({"dose_nM": {"min": 1}, "set": {"not": "test"}}, [3]),
    ],
)
def test_rows_are_chosen_by_values_lists_and_ranges(tmp_path: Path, where: dict, lines: list[int]) -> None:
    assert read(tmp_path, where=where).rows.index.tolist() == lines


def test_rows_left_out_are_not_checked(tmp_path: Path) -> None:
    text = SCAN + "MKXX,oops,test,10,c\n"
    with pytest.raises(DataError):
        read(tmp_path, text)
    assert len(read(tmp_path, text, where={"batch": ["a", "b"]})) == 3


def test_a_holdout_is_the_same_for_the_same_seed_and_keeps_groups_together(tmp_path: Path) -> None:
    rows = "".join(f"{drug},{target},1.0\n" for drug in "abcdefghij" for target in "xyz")
    text = "drug,target,value\n" + rows

    def labels(**options) -> np.ndarray:
        split = read(tmp_path, text, sequence=(), holdout=Holdout(0.3, **options)).split
        assert split is not None
        return split

    assert (labels(seed=3) == labels(seed=3)).all() and (labels(seed=3) != labels(seed=4)).any()
    assert (labels(seed=3) == "test").sum() == 9
    by_drug = labels(by=("drug",)).reshape(10, 3)
    assert (by_drug == by_drug[:, :1]).all() and (by_drug[:, 0] == "test").sum() == 3


def test_rows_to_predict_need_neither_measurements_nor_labels(tmp_path: Path) -> None:
    text = "sequence,dose_nM\nMKVT,10\nMKVA,10\n"
    readings = read(tmp_path, text, measured=False, split="set", holdout=None)
    assert np.isnan(readings.arrays["value"]).all() and readings.split is None
    assert readings.sequences["protein"].labels() == ["wt", "T13A"]


def test_the_wild_type_may_be_marked_in_a_row_that_is_left_out(tmp_path: Path) -> None:
    column = SequenceColumn("protein", "sequence", reference_where={"dose_nM": 0})
    readings = read(tmp_path, sequence=column, where={"dose_nM": 10})
    assert readings.sequences["protein"].labels() == ["K2A", "T4S"]


def test_mutations_and_sequences_are_the_same_readings(tmp_path: Path) -> None:
    text = SCAN.replace("MKVT", "wt").replace("MAVT", "K11A").replace("MKVS", "T13S")
    column = SequenceColumn("protein", "sequence", reference=WILD, first=10, notation="mutations")
    assert read(tmp_path, text, sequence=column).sequences["protein"].codes.tolist() == (
        read(tmp_path).sequences["protein"].codes.tolist()
    )


# Bad input: file, line, variant, and what to do.


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("MAV,1,test,10,b", "scan.csv, line 5: variant `MAV`: 3 letters, the wild type has 4"),
        (
            "MABT,1,test,10,b",
            "scan.csv, line 5: variant `MABT`: letter `B` at place 3 is not in the alphabet",
        ),
        (",1,test,10,b", "scan.csv, line 5: `sequence` is blank"),
        ("MAVT,1,,10,b", "scan.csv, line 5: `set` .* is blank"),
        ("MAVT,1,test,ten,b", "scan.csv, line 5: `dose_nM` .* must be a number; got `ten`"),
        ("MAVT,1,test,-1,b", "scan.csv, line 5: condition `ligand` must be not negative; got -0.001"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises((DataError, FormatError), match=message):
        read(tmp_path, SCAN + row + "\n", split="set", conditions={"ligand": "dose_nM"})


def test_a_bad_measurement_is_named_with_its_variant(tmp_path: Path) -> None:
    with pytest.raises(AssayError, match=r"scan.csv, line 5: variant `K11A:T13S`: .*`high`"):
        read(
            tmp_path,
            (SCAN + "MAVS,high,test,10,b\n").replace("sequence", "protein_sequence"),
            sequence=(SequenceColumn("protein", "protein_sequence", reference=WILD, first=10)),
        )


def test_a_negative_count_is_named_with_its_variant(tmp_path: Path) -> None:
    counted = Fitness(species="folded", of="protein", counts=True)
    text = "peptide,value,input_count,selected_count\nMKVT,0,10,4\nMAVT,0,10,-4\n"
    column = SequenceColumn("protein", "peptide", reference=WILD, first=10)
    with pytest.raises(
        AssayError, match=r"scan.csv, line 3: variant `K11A`: `selected_count` must be .*got -4"
    ):
        read_readings(write(tmp_path, text), counted, sequence=column)


def test_an_absent_wild_type_is_said_with_the_ways_to_give_it(tmp_path: Path) -> None:
    column = SequenceColumn("protein", "sequence")
    with pytest.raises(FormatError, match=r"scan.csv: the wild type of `protein` .* is absent; state it"):
        read(tmp_path, sequence=column)
    column = SequenceColumn("protein", "sequence", reference_where={"batch": "none"})
    with pytest.raises(FormatError, match="is absent: no row has batch = none"):
        read(tmp_path, sequence=column)
    column = SequenceColumn("protein", "sequence", reference_where={"batch": "a"})
    with pytest.raises(FormatError, match="line 3: variant `MAVT`: rows with batch = a hold 2 sequences"):
        read(tmp_path, sequence=column)
    assert (
        read(tmp_path, sequence=SequenceColumn("p", "sequence", reference="")).sequences["p"].reference
        is None
    )


def test_a_missing_unit_is_refused_and_not_guessed(tmp_path: Path) -> None:
    text = SCAN.replace("dose_nM", "dose")
    with pytest.raises(FormatError, match=r"the unit of column `dose` is missing; give .column, unit."):
        read(tmp_path, text, conditions={"ligand": "dose"})
    with pytest.raises(FormatError, match=r"condition `ligand` must be in fM.*; got `mg/l`"):
        read(tmp_path, text, conditions={"ligand": ("dose", "mg/l")})


@pytest.mark.parametrize(
    "options",
    [
        {"split": "sett"},
        {"conditions": {"ligand": ("sett", "nM")}},
        {"entities": {"drug": "sett"}},
        {"where": {"sett": 1}},
        {"holdout": Holdout(0.5, by=("sett",))},
        {"sequence": SequenceColumn("protein", "sett", reference=WILD)},
    ],
)
def test_an_unknown_column_is_refused_with_the_nearest_one(tmp_path: Path, options: dict) -> None:
    with pytest.raises(FormatError, match=r"scan.csv: no column `sett` .*did you mean `set`"):
        read(tmp_path, **options)


REPEATED = SCAN + "MAVT,-1.0,training,10,a\n"


def test_repeats_are_readings_of_their_own_unless_conflicts_are_refused(tmp_path: Path) -> None:
    assert len(read(tmp_path, REPEATED)) == 4
    with pytest.raises(
        FormatError, match=r"line 5: variant `K11A` conflicts with line 3: `value` is -1.0, there -1.5"
    ):
        read(tmp_path, REPEATED, duplicates="refuse")


def test_the_same_value_again_and_another_condition_or_batch_are_no_conflict(tmp_path: Path) -> None:
    same = SCAN + "MAVT,-1.5,training,10,a\n"
    assert len(read(tmp_path, same, duplicates="refuse")) == 4
    elsewhere = SCAN + "MAVT,-1.0,training,20,a\n"
    assert len(read(tmp_path, elsewhere, duplicates="refuse", conditions={"l": "dose_nM"})) == 4
    grouped = Fitness(species="folded", of="protein", group="batch")
    path = write(tmp_path, SCAN + "MAVT,-1.0,training,10,b\n")
    assert len(read_readings(path, grouped, sequence=PROTEIN, duplicates="refuse")) == 4


def test_repeats_are_pooled_by_their_stated_errors(tmp_path: Path) -> None:
    text = "sequence,value,sd\nMKVT,0,1\nMAVT,1,1\nMAVT,4,0.5\n"
    stated = Fitness(species="folded", of="protein", sd_column="sd")
    readings = read_readings(write(tmp_path, text), stated, sequence=PROTEIN, duplicates="mean")
    assert readings.arrays["value"] == pytest.approx([0.0, (1 * 1 + 4 * 4) / 5])
    assert readings.arrays["variance"] == pytest.approx([1.0, 1 / 5])
    assert readings.rows.index.tolist() == [2, 3] and readings.sequences["protein"].labels() == ["wt", "K11A"]


def test_repeats_without_errors_are_not_averaged(tmp_path: Path) -> None:
    with pytest.raises(
        FormatError, match=r'duplicates = "mean" loses nothing only for counts alone.*use "keep"'
    ):
        read(tmp_path, REPEATED, duplicates="mean")


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "scan.csv", "is empty"),
        ("a,b\n", "scan.csv", "the table has no row"),
        ("a,a\n1,2\n", "scan.csv", "line 1: column `a` occurs twice"),
        ("a,\n1,2\n", "scan.csv", "line 1: column 2 has no name"),
        ("a,b\n1,2\n1,2,3\n", "scan.csv", "line 3"),
        ("a,b\n1,2\n", "scan.xlsx", "must end in .csv"),
        ("a,b\n1,2\n", "scan.csv.gz", "cannot be unpacked"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, text: str, name: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_readings(write(tmp_path, text, name), FITNESS)
    with pytest.raises(FormatError, match="no such file"):
        read_readings(tmp_path / "absent.csv", FITNESS)


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="did you mean `dimsum`"):
        read(tmp_path, format="dimsun")
    with pytest.raises(FormatError, match="exclude each other"):
        read(tmp_path, split="set", holdout=Holdout(0.5))
    with pytest.raises(FormatError, match="between 0 and 1"):
        Holdout(1.5)
    with pytest.raises(FormatError, match="no row has batch = z"):
        read(tmp_path, where={"batch": "z"})


def test_half_a_million_variants_are_read_whole(shared: Path) -> None:
    wild = "QYKLILNGKTLKGETTTEAVDAATAEKVFKQYANDNGVDGEWTYDDATKTFTVTE"
    scan = Fitness(species="folded", of="protein", columns={"value": "y"})
    path = shared / "data" / "gb1" / "gb1_train_validation.csv.gz"
    readings = read_readings(
        path, scan, sequence=SequenceColumn("protein", "x", reference=wild, first=2), split="set"
    )
    assert len(readings) == 504373 and len(readings.where("validation")) == 26519
    count = (readings.sequences["protein"].mutations() >= 0).sum(1)
    assert (count == readings.rows["dist"]).all()
    assert list(readings.rows.columns) == ["set", "dist", "input_ct", "selected_ct", "x"]
