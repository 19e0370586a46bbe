"""Look through the text of an XML file before any other program reads it: size, depth, numbers, packages.

libsbml takes memory in proportion to the elements and descends by recursion, so that a small file could
exhaust either; and it reads a number that is too large as infinity. All of this is refused here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from xml.parsers import expat

from multiscale.errors import FormatError
from multiscale.formats.sbml.grammar import Formula

__all__ = ["DEEPEST", "LARGEST", "MOST_ELEMENTS", "scan"]

LARGEST = 200_000_000
"""Characters of a file."""

MOST_ELEMENTS = 2_000_000
"""Elements of a file: libsbml needs about 1 kB for each."""

DEEPEST = 250
"""Nesting of elements, and of brackets in formulas; at four times this libsbml can exhaust a stack."""

_SPACE = "http://www.sbml.org/sbml/level"
_VERSIONS = {
    **{("1", version): f"{_SPACE}1" for version in "12"},
    ("2", "1"): f"{_SPACE}2",
    **{("2", version): f"{_SPACE}2/version{version}" for version in "2345"},
    **{("3", version): f"{_SPACE}3/version{version}/core" for version in "12"},
}
"""Namespace of every level and version; libsbml ends the process where they disagree."""
READ_PACKAGES = ("comp", "l3v2extendedmath")
"""Packages that a model may require: their content is read."""

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$", re.ASCII)
_NOT_FINITE = ("INF", "-INF", "NaN")
_TRUTHS = ("true", "false", "1", "0")
_IDENTIFIER = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_]*\s*$")
_NUMBERS_IN_FORMULA = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_NUMERIC = frozenset(
    (
        *("value", "size", "volume", "initialAmount", "initialConcentration", "stoichiometry", "denominator"),
        *("multiplier", "exponent", "scale", "offset", "spatialDimensions"),
    )
)
_BOOLEAN = frozenset(
    (
        *("constant", "boundaryCondition", "hasOnlySubstanceUnits", "reversible", "fast", "persistent"),
        *("initialValue", "useValuesFromTriggerTime"),
    )
)


def scan(text: str, where: str) -> None:
    """Check the text of an SBML file.

    Args:
        text: of the file.
        where: its name in messages.

    Raises:
        FormatError: it is no XML, no SBML, has a document type (which could define entities that expand
            without end), is too large or nested too deeply, has a number that no float holds, or requires a
            package that is not read.

    >>> scan('<sbml xmlns="http://www.sbml.org/sbml/level2" level="2" version="1"><model>', "a.xml")
    Traceback (most recent call last):
    multiscale.errors.FormatError: a.xml: line 1, column 76: not well-formed XML: no element found.
    """
    if len(text) > LARGEST:
        raise FormatError(f"{where}: has {len(text)} characters; at most {LARGEST} are read.")
    _Scan(where).run(text)


class _Scan:
    def __init__(self, where: str) -> None:
        self.where = where
        self.depth = self.elements = 0
        self.content: list[str] | None = None
        self.formula: Formula | None = None
        self.kind = self.space = ""
        self.parser = parser = expat.ParserCreate("UTF-8", namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self.doctype
        parser.XmlDeclHandler = self.declaration
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.characters

    def run(self, text: str) -> None:
        try:
            self.parser.Parse(text.encode(), True)
        except expat.ExpatError as error:
            message = expat.ErrorString(error.code)
            place = f"line {error.lineno}, column {error.offset + 1}"
            raise FormatError(f"{self.where}: {place}: not well-formed XML: {message}.") from None

    def refuse(self, message: str) -> None:
        raise FormatError(f"{self.where}: line {self.parser.CurrentLineNumber}: {message}")

    def doctype(self, *_: object) -> None:
        self.refuse("has a document type (DOCTYPE), which SBML does not allow; remove it.")

    def declaration(self, _: str, encoding: str | None, __: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf8"):
            self.refuse(f"`encoding` must be UTF-8; got {encoding[:40]!r}.")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self.depth += 1
        self.elements += 1
        if self.depth > DEEPEST:
            self.refuse(f"elements are nested more than {DEEPEST} deep.")
        if self.elements > MOST_ELEMENTS:
            self.refuse(f"has more than {MOST_ELEMENTS} elements.")
        space, _, name = tag.rpartition(" ")
        if self.depth == 1:
            self.root(space, name, attributes)
        if name == "math" and self.formula is None:
            self.formula = Formula(self.refuse)
        if self.formula is not None:
            self.formula.start(name, attributes)
        if name == "cn":
            self.number_begins(attributes)
        elif name == "sep" and self.content is not None:
            self.content.append("|")
        else:
            self.attributes(space, name, attributes)

    def root(self, space: str, name: str, attributes: Mapping[str, str]) -> None:
        self.space = space
        if name != "sbml":
            self.refuse(f"is no SBML: its outermost element is `{name[:60]}`, not `sbml`.")
        stated = (attributes.get("level", "").strip(), attributes.get("version", "").strip())
        if _VERSIONS.get(stated) != space:
            self.refuse(
                f"`level`, `version` and `xmlns` are none that SBML has; got {stated} and {space[:80]!r}."
            )
        for key, value in attributes.items():
            package, _, attribute = key.rpartition(" ")
            needed = attribute == "required" and value.strip() in ("true", "1")
            if needed and not any(f"/{known}/" in package for known in READ_PACKAGES):
                self.refuse(f"requires the package {package[:80]!r}, which is not supported.")

    def attributes(self, space: str, name: str, attributes: Mapping[str, str]) -> None:
        if space != self.space:  # of notes, annotations and packages
            return
        for key, value in attributes.items():
            wanted = _wanted(key, value)
            if wanted:
                named = f"`{name}` {attributes['id'][:40]!r}" if "id" in attributes else f"`{name}`"
                self.refuse(f"`{key}` of {named} must be {wanted}; got {value[:40]!r}.")
            if key == "formula":
                self.infix(value)

    def infix(self, text: str) -> None:
        depth = 0
        for character in text:
            depth += (character == "(") - (character == ")")
            if depth > DEEPEST:
                self.refuse(f"brackets of a formula are nested more than {DEEPEST} deep.")
        for found in _NUMBERS_IN_FORMULA.findall(text):
            if math.isinf(float(found)):
                self.refuse(f"a number of a formula is too large: {found[:40]!r}.")

    def number_begins(self, attributes: Mapping[str, str]) -> None:
        if attributes.get("base", "10").strip() != "10":
            self.refuse(f"`base` of `cn` must be 10; got {attributes['base'][:40]!r}.")
        self.content, self.kind = [], attributes.get("type", "real").strip()

    def characters(self, text: str) -> None:
        if self.content is not None:
            self.content.append(text)

    def end(self, tag: str) -> None:
        self.depth -= 1
        if self.formula is not None:
            self.formula.end()
            if self.formula.done:
                self.formula = None
        if self.content is not None and tag.endswith("cn"):
            text, self.content = "".join(self.content), None
            self.number_ends(text)

    def number_ends(self, text: str) -> None:
        parts = text.split("|")
        if len(parts) != (2 if self.kind in ("e-notation", "rational") else 1):
            self.refuse(f"`cn` of type {self.kind[:40]!r} cannot be {text.strip()[:40]!r}.")
        if not all(_NUMBER.match(part) for part in parts):
            self.refuse(f"`cn` must hold a number; got {text.strip()[:40]!r}.")
        joined = "e".join(part.strip() for part in parts) if self.kind == "e-notation" else parts[0]
        if not _NUMBER.match(joined) or math.isinf(float(joined)):
            self.refuse(f"`cn` must be a finite number; got {text.strip()[:40]!r}.")


def _wanted(key: str, value: str) -> str:
    """What the value of an attribute should be, '' if it is."""
    if key in _NUMERIC and value.strip() not in _NOT_FINITE:
        if not _NUMBER.match(value):
            return "a number (or INF, -INF, NaN)"
        return "a number below 1.8e308" if math.isinf(float(value)) else ""
    if key in _BOOLEAN and value.strip() not in _TRUTHS:
        return "true or false"
    if key == "id" and not _IDENTIFIER.match(value):
        return "letters, digits and `_`, the first no digit"
    return ""
