"""Names as identifiers that SBML allows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["identifiers", "is_identifier"]

_SID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_identifier(name: str) -> bool:
    """Whether a name is an identifier (SId): letters, digits and `_`, not beginning with a digit."""
    return _SID.fullmatch(name) is not None


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Identifier of every name: itself if it is one, else with `_` for what is not allowed.

    Names that would get the same identifier are numbered.

    >>> identifiers(["K-PP", "2", "K_PP", "µ"])
    {'K-PP': 'K_PP_2', '2': '_2', 'K_PP': 'K_PP', 'µ': 'u'}
    """
    names = list(dict.fromkeys(names))
    found = {name: name for name in names if is_identifier(name)}
    used = set(found.values())
    for name in names:
        if name not in found:
            found[name] = _fresh(_cleaned(name), used)
            used.add(found[name])
    return {name: found[name] for name in names}


def _cleaned(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.replace("µ", "u").replace("μ", "u"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    text = re.sub(r"[^A-Za-z0-9_]+", "_", plain)
    return text if is_identifier(text) else f"_{text}"


def _fresh(name: str, used: set[str]) -> str:
    count, found = 1, name
    while found in used:
        count += 1
        found = f"{name}_{count}"
    return found
