"""Named exceptions: what a user can do wrong, said in one message with the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AssayError",
    "ConfigError",
    "DataError",
    "FormatError",
    "GraphError",
    "MultiscaleError",
    "OutputError",
    "nearest",
]


class MultiscaleError(ValueError):
    """Base of all errors that input can cause; the command line prints it as one line and exits with 2."""


class ConfigError(MultiscaleError):
    """A configuration file or option is wrong."""


class GraphError(MultiscaleError):
    """A graph is inconsistent; `problems` lists all that was found, one sentence each, `where` is its name.

    Args:
        problems: sentences, each naming the file or node, the value and the remedy.
        where: name or path of the graph.
    """

    def __init__(self, problems: str | Iterable[str], where: str = "") -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        self.where = where or "graph"
        head = f"{where}: " if where else ""
        count = len(self.problems)
        body = self.problems[0] if count == 1 else f"{count} problems:\n  " + "\n  ".join(self.problems)
        super().__init__(head + body)


class DataError(MultiscaleError):
    """Measurements or contexts are wrong or do not fit the graph."""


class AssayError(MultiscaleError):
    """An assay got an option or a measurement it cannot read."""


class FormatError(MultiscaleError):
    """A file cannot be read or written in the format asked for."""


class OutputError(MultiscaleError):
    """An output folder or file cannot be written without losing something."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names are meant, for the end of an error message.

    >>> nearest("subunits", ["subunit", "member"])
    'did you mean `subunit`? Known: `member`, `subunit`.'
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean `{close[0]}`? " if close else ""
    shown = ", ".join(f"`{item}`" for item in names[:12]) + (", ..." if len(names) > 12 else "")
    return f"{hint}Known: {shown or 'none'}."
