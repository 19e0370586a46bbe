"""Formulas over the names of a model written out over states, parameters and time, each name once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from multiscale.equations.definitions import Definitions, base
from multiscale.equations.expression import Expression, substitute, symbols_of
from multiscale.errors import FormatError

__all__ = ["Inliner"]


class Inliner:
    """Replaces names by what they stand for; follows chains of definitions of any length without recursion.

    Args:
        definitions: what the names stand for.
    """

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._done: dict[str, Expression] = {}

    def __call__(self, formulas: Iterable[Expression]) -> list[Expression]:
        """Write formulas out.

        Raises:
            FormatError: a name is unknown, or its definition leads back to itself.
        """
        formulas = list(formulas)
        self._settle(symbols_of(formulas))
        return substitute(formulas, self._meaning)

    def _meaning(self, part: Expression) -> Expression | None:
        return None if part.name is None else self._done.get(part.name)

    def _settle(self, names: Iterable[str]) -> None:
        """Write out the definitions of names and of all that they read, depth first."""
        for name in sorted(names):
            path: dict[str, tuple[Expression, Iterator[str]]] = {}
            self._enter(name, path)
            while path:
                current, (definition, rest) = next(reversed(path.items()))
                following = next(rest, None)
                if following is not None:
                    self._enter(following, path)
                else:
                    self._done[current] = substitute([definition], self._meaning)[0]
                    del path[current]

    def _enter(self, name: str, path: dict[str, tuple[Expression, Iterator[str]]]) -> None:
        if base(name) or name in self._done:
            return
        if name in path:
            raise FormatError(_cycle([*path], name))
        definition = self._definitions[name]
        path[name] = (definition, iter(sorted(symbols_of([definition]))))


def _cycle(path: Sequence[str], name: str) -> str:
    """Sentence about definitions that lead back to themselves."""
    names = [entry.rpartition(":")[2] for entry in [*path[path.index(name) :], name]]
    steps = " -> ".join(f"`{entry}`" for i, entry in enumerate(names) if i == 0 or entry != names[i - 1])
    return f"rules and initial assignments must not lead back to themselves; got {steps}; break this circle"
