"""The schema and its description agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from multiscale.graph import NODE_TYPES, RELATIONS
from multiscale.graph.laws import KIND_ROLES, LAWS
from multiscale.graph.schema import CARD_KEYS, COMPARTMENT_KEYS, PARAMETER_COLUMNS, ROLES
from multiscale.graph.tables import DTYPES
from multiscale.physics.laws import LAWS as PHYSICAL

PAGE = (Path(__file__).parents[1] / "docs" / "graph.md").read_text(encoding="utf-8")
DOCUMENTED = set(re.findall(r"`\[*([A-Za-z_0-9]+)\]*`", PAGE))


def test_every_type_relation_column_key_and_role_is_documented() -> None:
    attributes = [c.name for kind in (*NODE_TYPES.values(), *RELATIONS.values()) for c in kind.columns]
    parameters = [column.name for column in PARAMETER_COLUMNS]
    names = {*NODE_TYPES, *RELATIONS, *attributes, *parameters, *CARD_KEYS, *COMPARTMENT_KEYS, *ROLES}
    assert names - DOCUMENTED - {"compartments"} == set()


def test_every_law_is_documented_with_its_equation_and_constants() -> None:
    for name, form in LAWS.items():
        [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
        assert form.equation in row
        constants = row.rpartition(form.equation)[2]
        for constant in form.constants:
            written = f"`{constant.name}`" if constant.needed else f"[`{constant.name}`]"
            assert written in constants


def test_every_law_has_roles_units_and_a_physical_form() -> None:
    assert LAWS.keys() - {"formula"} <= PHYSICAL.keys()  # whose form the equations of a model give
    assert {role for roles in KIND_ROLES.values() for role in roles} <= ROLES.keys()


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
