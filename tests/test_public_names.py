"""Public names change on purpose: they are listed in public_names.txt, and adding one means adding a line."""

from __future__ import annotations

import re
from pathlib import Path

import multiscale

SNAPSHOT = Path(__file__).with_name("public_names.txt")


def test_public_names_are_those_of_the_snapshot() -> None:
    assert sorted(multiscale.__all__) == SNAPSHOT.read_text(encoding="utf-8").split()


def test_every_public_name_is_there_and_documented() -> None:
    nameless = [name for name in multiscale.__all__ if getattr(multiscale, name).__doc__ in (None, "")]
    assert nameless == []


def test_completion_offers_the_public_names() -> None:
    assert set(multiscale.__all__) <= set(dir(multiscale))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(multiscale, "no_such_name")


def test_the_api_page_lists_every_public_name() -> None:
    page = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`(\w+)", page))
    assert set(multiscale.__all__) <= words
