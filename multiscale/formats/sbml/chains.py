"""Rules that read one another: libsbml looks for circles in time that grows with the cube of a chain."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import libsbml

from multiscale.errors import FormatError

__all__ = ["without_chains"]

_MOST_LINKS = 100
"""Formulas that read what another one computes; with three times as many the search takes seconds."""


def without_chains(document: libsbml.SBMLDocument, where: str) -> libsbml.SBMLDocument:
    """Document for libsbml's checks: itself, or a copy in which long chains of rules are cut.

    In the copy, formulas of assignment rules and initial assignments have a number where they would read each
    other.

    Args:
        document: with a model.
        where: file, for messages.

    Raises:
        FormatError: there are many rules, and some read themselves through others.
    """
    model = document.getModel()
    computed = {name for name, _ in _formulas(model)}
    links = {name: list(_links(formula, computed)) for name, formula in _formulas(model)}
    if sum(map(len, links.values())) <= _MOST_LINKS:
        return document
    _refuse_circles({name: {node.getName() for node in nodes} for name, nodes in links.items()}, where)
    copy = document.clone()
    for _, formula in _formulas(copy.getModel()):
        for node in list(_links(formula, computed)):
            node.setValue(1)
    return copy


def _formulas(model: libsbml.Model | None) -> Iterator[tuple[str, libsbml.ASTNode]]:
    """Everything that a formula determines, with the formula."""
    if model is None:
        return
    for start in model.getListOfInitialAssignments():
        if start.isSetMath():
            yield start.getSymbol(), start.getMath()
    for rule in model.getListOfRules():
        if rule.isAssignment() and rule.isSetMath():
            yield rule.getVariable(), rule.getMath()


def _links(formula: libsbml.ASTNode, computed: Collection[str]) -> Iterator[libsbml.ASTNode]:
    """Parts of a formula that name what a formula determines."""
    waiting = [formula]
    while waiting:
        node = waiting.pop()
        if node.getType() == libsbml.AST_NAME and node.getName() in computed:
            yield node
        waiting.extend(node.getChild(i) for i in range(node.getNumChildren()))


def _refuse_circles(reads: dict[str, set[str]], where: str) -> None:
    """Take away what reads nothing that is left, until nothing is left."""
    readers: dict[str, list[str]] = {}
    for name, others in reads.items():
        for other in others:
            readers.setdefault(other, []).append(name)
    free = [name for name, others in reads.items() if not others]
    while free:
        done = free.pop()
        del reads[done]
        for name in readers.get(done, ()):
            reads[name].discard(done)
            if not reads[name]:
                free.append(name)
    if reads:
        name = min(reads)
        other = min(reads[name])
        raise FormatError(f"{where}: the rule of `{name}` reads itself, through `{other}`; break the circle.")
