"""The schema and its description agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from multiscale.graph import NODE_TYPES, RELATIONS
from multiscale.graph.schema import CARD_KEYS, COMPARTMENT_KEYS, PARAMETER_COLUMNS, ROLES
from multiscale.graph.tables import DTYPES

PAGE = (Path(__file__).parents[1] / "docs" / "graph.md").read_text(encoding="utf-8")
DOCUMENTED = set(re.findall(r"`\[*([A-Za-z_0-9]+)\]*`", PAGE))


def test_every_type_relation_column_key_and_role_is_documented() -> None:
    attributes = [c.name for kind in (*NODE_TYPES.values(), *RELATIONS.values()) for c in kind.columns]
    parameters = [column.name for column in PARAMETER_COLUMNS]
    names = {*NODE_TYPES, *RELATIONS, *attributes, *parameters, *CARD_KEYS, *COMPARTMENT_KEYS, *ROLES}
    assert names - DOCUMENTED - {"compartments"} == set()


def test_relations_join_known_types() -> None:
    ends = {end for relation in RELATIONS.values() for end in (*relation.sources, *relation.targets)}
    assert ends == set(NODE_TYPES)


@pytest.mark.parametrize("kind", [*NODE_TYPES, *RELATIONS])
def test_defaults_are_allowed_values_of_their_dtype(kind: str) -> None:
    columns = NODE_TYPES[kind].columns if kind in NODE_TYPES else RELATIONS[kind].columns
    python = {"text": str, "number": float, "integer": int, "flag": bool}
    assert python.keys() == DTYPES.keys()
    for column in columns:
        assert type(column.default) is python[column.dtype]
        assert not column.choices or column.default in column.choices


def test_keys_that_tell_parallel_edges_apart_are_attributes() -> None:
    for relation in RELATIONS.values():
        assert set(relation.key) <= {column.name for column in relation.columns}
