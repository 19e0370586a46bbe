"""Aligned sequences: codes, mutations and their names, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from multiscale.data import Sequences
from multiscale.errors import DataError


def test_codes_are_places_in_the_alphabet_and_texts_give_the_sequences_back() -> None:
    sequences = Sequences.read(["ACGT", "TTTT"], alphabet="dna")
    assert sequences.codes.dtype == np.int8
    assert sequences.codes.tolist() == [[0, 1, 2, 3], [3, 3, 3, 3]]
    assert sequences.texts() == ["ACGT", "TTTT"]


def test_mutations_index_position_times_letters_plus_letter_and_are_filled_up() -> None:
    sequences = Sequences.read(["AAA", "CAA", "CAG", "TTT"], alphabet="dna", reference="AAA")
    expected = [[-1, -1, -1], [1, -1, -1], [1, 10, -1], [3, 7, 11]]
    assert sequences.mutations().tolist() == expected


def test_labels_are_the_names_of_the_mutations_numbered_from_first() -> None:
    sequences = Sequences.read(["MKV", "AKV", "AKL"], reference="MKV", first=24)
    assert sequences.labels() == ["wt", "M24A", "M24A:V26L"]
    names = sequences.mutation_names()
    assert len(names) == 60 and names.count("") == 3
    assert [names[i] for i in sequences.mutations()[2]] == ["M24A", "V26L"]


def test_mutations_and_names_agree_on_random_sequences() -> None:
    generator = np.random.default_rng(1)
    texts = ["".join(row) for row in generator.choice(list("ACGT"), (50, 7))]
    sequences = Sequences.read(texts, alphabet="dna", reference=texts[0])
    names = sequences.mutation_names()
    for text, row, label in zip(texts, sequences.mutations(), sequences.labels(), strict=True):
        differ = [f"{a}{i + 1}{b}" for i, (a, b) in enumerate(zip(texts[0], text, strict=True)) if a != b]
        assert [names[index] for index in row if index >= 0] == differ
        assert label == (":".join(differ) or "wt")


def test_without_a_wild_type_every_letter_counts_and_the_sequence_is_the_label() -> None:
    sequences = Sequences.read(["AC", "AG"], alphabet="dna", first=5)
    assert sequences.mutations().tolist() == [[0, 5], [0, 6]]
    assert sequences.mutation_names()[:5] == ["5A", "5C", "5G", "5T", "6A"]
    assert sequences.labels() == ["AC", "AG"]


def test_a_stop_that_ends_all_sequences_is_no_position() -> None:
    sequences = Sequences.read(["MK*", "MA*"], reference="MK*")
    assert sequences.length == 2 and sequences.labels() == ["wt", "K2A"]
    assert Sequences.read(["MK*", "M**"], alphabet="protein*", reference="MK*").labels() == ["wt", "K2*"]


def test_own_letters_are_an_alphabet() -> None:
    sequences = Sequences.read(["ADyE"], alphabet="ADEy")
    assert sequences.codes.tolist() == [[0, 1, 3, 2]]
    with pytest.raises(DataError, match="did you mean `protein`"):
        Sequences.read(["A"], alphabet="protien")


def test_rows_are_taken_with_their_wild_type() -> None:
    sequences = Sequences.read(["MK", "MA", "AK"], reference="MK").take(np.array([2]))
    assert sequences.labels() == ["M1A"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["MKV", "MKVA"], r"scan.csv, line 8: variant `MKVA`: 4 letters, the wild type has 3"),
        (["MKV", "MJV"], r"scan.csv, line 8: variant `MJV`: letter `J` at place 2 is not in the alphabet"),
        (["MKV", "M*V"], r"line 8: variant `M\*V`: letter `\*` at place 2"),
        (["MKV", "mKV"], r"line 8: variant `mKV`: letter `m` at place 1"),
        (["MKV", "MéV"], r"line 8: variant `MéV`: letter `é` at place 2"),
    ],
)
def test_a_bad_sequence_is_refused_with_file_line_and_variant(texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Sequences.read(texts, reference="MKV", where="scan.csv", lines=[7, 8])


def test_without_a_wild_type_the_odd_length_is_the_rare_one() -> None:
    with pytest.raises(DataError, match="row 1: variant `AC`: 2 letters, the others have 3"):
        Sequences.read(["AC", "ACG", "TTT"], alphabet="dna")


def test_a_wild_type_outside_the_alphabet_and_an_empty_table_are_refused() -> None:
    with pytest.raises(DataError, match="wild type `MXV`: letter `X`"):
        Sequences.read(["MKV"], reference="MXV")
    with pytest.raises(DataError, match="there is no sequence"):
        Sequences.read([])
