"""Order of the operations of a program: those of one kind together, as far as their arguments allow."""

from __future__ import annotations

from collections.abc import Sequence

from multiscale.equations.expression import Expression

__all__ = ["grouped"]


def grouped(operations: Sequence[Expression]) -> list[Expression]:
    """Reorder operations so that equal functions follow each other, arguments before what uses them.

    The interpreter then decides rarely what to do next, which takes longer than to add two numbers. Of the
    functions that can be computed, the one with the most operations waiting comes first.

    Args:
        operations: each once, arguments before what uses them; arguments that are not among them are known.
    """
    among = {id(node) for node in operations}
    missing = {id(node): len({id(a) for a in node.arguments} & among) for node in operations}
    users: dict[int, list[Expression]] = {place: [] for place in among}
    ready: dict[str, list[Expression]] = {}
    for node in operations:
        for place in dict.fromkeys(id(a) for a in node.arguments if id(a) in among):
            users[place].append(node)
        if not missing[id(node)]:
            ready.setdefault(node.function, []).append(node)
    result: list[Expression] = []
    while ready:
        result += _run(max(ready, key=lambda function: len(ready[function])), ready, users, missing)
    return result


def _run(
    function: str,
    ready: dict[str, list[Expression]],
    users: dict[int, list[Expression]],
    missing: dict[int, int],
) -> list[Expression]:
    """All operations of one function that can be computed now, and those that these make computable."""
    run = ready.pop(function)
    for node in run:  # grows while it is read
        for user in users[id(node)]:
            missing[id(user)] -= 1
            if missing[id(user)] == 0:
                (run if user.function == function else ready.setdefault(user.function, [])).append(user)
    return run
