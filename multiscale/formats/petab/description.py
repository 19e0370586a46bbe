"""The YAML file of a PEtab problem, read as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from multiscale.errors import FormatError

__all__ = ["is_file", "read_yaml"]

_YAML_BYTES = 1 << 20  # a problem of thousands of files needs less than 1 MiB
_YAML_DEPTH = 20  # files of PEtab are nested 5 deep
_UNREADABLE = (OSError, yaml.YAMLError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What PyYAML raises; the last four for scalars such as a date that does not exist."""


def is_file(path: Path) -> bool:
    """Whether a file is there; not if its name is longer than any file's."""
    try:
        return path.is_file()
    except OSError:
        return False


class _Loader(yaml.SafeLoader):
    """Loads plain data, without what lets a small file grow or nest without end."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Read a value; refuses aliases and deep nesting."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refusal("aliases (`*`) are not read; write out what they stand for", event)
        if self.depth > _YAML_DEPTH:
            raise _refusal(f"values are nested more than {_YAML_DEPTH} deep", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _refusal(message: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=event.start_mark)


def read_yaml(path: Path) -> dict[str, Any]:
    """Content of a YAML file.

    Raises:
        FormatError: there is no such file, it is larger than 1 MiB, no YAML, or no mapping.
    """
    if not is_file(path):
        raise FormatError(f"{path}: no such file; give the YAML file of a PEtab problem.")
    if path.stat().st_size > _YAML_BYTES:
        raise FormatError(
            f"{path}: {path.stat().st_size} bytes are too many for a PEtab problem; at most 1 MiB."
        )
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)
    except _UNREADABLE as error:
        said = " ".join(str(error).split())[:400]
        raise FormatError(f"{path}: not a YAML file: {said}; correct it.") from None
    if not isinstance(content, dict):
        raise FormatError(f"{path}: must be a mapping with `format_version`; got {type(content).__name__}.")
    return {str(key): value for key, value in content.items()}
