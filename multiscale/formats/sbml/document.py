"""SBML documents: text to libsbml's objects, checked, with submodels written out, without the network."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import libsbml

from multiscale.errors import FormatError
from multiscale.formats.sbml.chains import without_chains
from multiscale.formats.sbml.functions import functions_of
from multiscale.formats.sbml.scan import LARGEST, scan
from multiscale.formats.sbml.submodels import check_submodels

__all__ = ["open_model"]

_CHECKS = (
    libsbml.LIBSBML_CAT_GENERAL_CONSISTENCY,
    libsbml.LIBSBML_CAT_IDENTIFIER_CONSISTENCY,
    libsbml.LIBSBML_CAT_MATHML_CONSISTENCY,
    libsbml.LIBSBML_CAT_OVERDETERMINED_MODEL,
)
"""Not units, which change no value and cost more than everything else, nor good practice."""

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


def open_model(
    source: str | Path, resolve: Path | None = None
) -> tuple[libsbml.SBMLDocument, libsbml.Model, str]:
    """Open a model.

    Args:
        source: a file, or the text of one (anything with a `<` in it).
        resolve: folder in which the files of external model definitions lie; None = that of the file, and no
            external definitions in a text.

    Returns:
        The document (which must live as long as the model), its model, and its name in messages.

    Raises:
        FormatError: the file is missing, is no valid SBML, or needs something that is not supported.
    """
    text, where, folder = _text(source, resolve)
    document = _parsed(text, where)
    _check_definitions(document, where, folder, ())
    if folder is not None:
        document.setLocationURI((folder.resolve() / "model.xml").as_uri())
    if _has_submodels(document):
        _flatten(document, where)
    _check_consistency(document, where)
    if document.getLevel() == 1:
        _convert_level_1(document, where)
    return document, _model(document, where), where


def _convert_level_1(document: libsbml.SBMLDocument, where: str) -> None:
    """Turn Level 1 into Level 2, with the volumes that only Level 1 takes for granted."""
    for compartment in _model(document, where).getListOfCompartments():
        compartment.setVolume(compartment.getVolume())
    if not document.setLevelAndVersion(2, 4, False):
        raise FormatError(f"{where}: Level 1 cannot be converted to Level 2: {_errors(document)}")


def _text(source: str | Path, resolve: Path | None) -> tuple[str, str, Path | None]:
    """Text, name in messages, and folder of external definitions."""
    if isinstance(source, str) and ("<" in source or "\n" in source):
        return source.removeprefix("\ufeff"), "SBML text", resolve
    path = Path(source)
    return _read(path), str(path), resolve or path.parent


def _read(path: Path) -> str:
    try:
        found = path.is_file()
    except OSError:  # a name that is too long
        found = False
    if not found:
        raise FormatError(f"{str(path)[:200]}: no such file; give the path of an SBML file.")
    if path.stat().st_size > 4 * LARGEST:  # a character has at most 4 bytes
        raise FormatError(f"{path}: has {path.stat().st_size} bytes; at most {LARGEST} characters are read.")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}: must be UTF-8; got {error.object[error.start]:#04x} at byte {error.start}."
        ) from None


def _parsed(text: str, where: str) -> libsbml.SBMLDocument:
    scan(text, where)
    head = "" if text.startswith("<?xml") else _DECLARATION  # libsbml would put it on a line of its own
    document = libsbml.readSBMLFromString(head + text)
    _refuse_errors(document, where)
    _model(document, where)
    return document


def _model(document: libsbml.SBMLDocument, where: str) -> libsbml.Model:
    model = document.getModel()
    if model is None:
        raise FormatError(f"{where}: has no `model`.")
    return model


def _check_definitions(
    document: libsbml.SBMLDocument, where: str, folder: Path | None, above: Collection[Path]
) -> int:
    """Check everything that libsbml would expand or open by itself; how many instances of models it makes."""
    functions_of(_model(document, where), where)
    plugin = document.getPlugin("comp")
    if plugin is None:
        return 1
    for definition in plugin.getListOfModelDefinitions():
        functions_of(definition, where)
    sizes: dict[str, int] = {}
    for external in plugin.getListOfExternalModelDefinitions():
        path = _external(external, where, folder)
        if path in above:
            raise FormatError(f"{where}: external model definitions include one another: {path.name}.")
        inner = _parsed(_read(path), str(path))
        sizes[external.getId()] = _check_definitions(inner, str(path), path.parent, (*above, path))
    return check_submodels(document, sizes, where)


def _external(definition: libsbml.ExternalModelDefinition, where: str, folder: Path | None) -> Path:
    """File of an external model definition: inside the folder, by a plain relative name."""
    source = definition.getSource()
    place = (
        f"{where}: line {definition.getLine()}: `source` of external model definition `{definition.getId()}`"
    )
    if folder is None:
        raise FormatError(f"{place} needs a folder; read the model from its file, or pass `resolve`.")
    root = folder.resolve()
    path = (root / source).resolve()
    plain = re.fullmatch(r"(?:\./)?[\w.][\w. /-]*", source) is not None
    if not plain or not path.is_relative_to(root):
        raise FormatError(f"{place} must be a file in the folder of the model; got {source[:80]!r}.")
    if not path.is_file():
        raise FormatError(f"{place} must be a file; there is no {source[:80]!r}.")
    return path


def _has_submodels(document: libsbml.SBMLDocument) -> bool:
    return document.getPlugin("comp") is not None


def _flatten(document: libsbml.SBMLDocument, where: str) -> None:
    """Write out the submodels, with libsbml's converter."""
    properties = libsbml.ConversionProperties()
    properties.addOption("flatten comp", True)
    properties.addOption("performValidation", True)
    properties.addOption("leavePorts", False)
    properties.addOption("abortIfUnflattenable", "requiredOnly")
    if document.convert(properties) != libsbml.LIBSBML_OPERATION_SUCCESS:
        raise FormatError(f"{where}: submodels cannot be written out: {_errors(document)}")


def _check_consistency(document: libsbml.SBMLDocument, where: str) -> None:
    document.getErrorLog().clearLog()
    document = without_chains(document, where)
    for category in range(
        libsbml.LIBSBML_CAT_GENERAL_CONSISTENCY, libsbml.LIBSBML_CAT_RATE_RULE_CONVERSION + 1
    ):
        document.setConsistencyChecks(category, category in _CHECKS)
    document.checkConsistency()
    _refuse_errors(document, where)


def _refuse_errors(document: libsbml.SBMLDocument, where: str) -> None:
    if _severe(document):
        raise FormatError(f"{where}: {_errors(document)}")


def _severe(document: libsbml.SBMLDocument) -> int:
    severities = (libsbml.LIBSBML_SEV_ERROR, libsbml.LIBSBML_SEV_FATAL)
    return sum(document.getNumErrors(severity) for severity in severities)


def _errors(document: libsbml.SBMLDocument) -> str:
    """The first error in words, and how many more there are."""
    count = _severe(document)
    for severity in (libsbml.LIBSBML_SEV_FATAL, libsbml.LIBSBML_SEV_ERROR):
        if document.getNumErrors(severity):
            error = document.getErrorLog().getErrorWithSeverity(0, severity)
            more = f" ({count - 1} more)" if count > 1 else ""
            general, _, special = error.getMessage().partition("\nReference: ")
            message = " ".join((special.partition("\n")[2].strip() or general).split())
            return f"line {error.getLine()}: {error.getShortMessage()}: {message[:400]}{more}"
    return "libsbml gives no reason."
