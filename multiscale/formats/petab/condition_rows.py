"""Experiments as the conditions of version 1, and as the conditions and experiments of version 2."""

from __future__ import annotations

import math
from collections.abc import Mapping

from multiscale.equations.expression import Expression
from multiscale.errors import FormatError
from multiscale.formats.petab.model import constants
from multiscale.formats.petab.problem import PetabProblem, Phase
from multiscale.formats.petab.write_tables import Cells, formula_text, identifier, new_identifiers

__all__ = ["conditions_of_1", "conditions_of_2"]


class _Names:
    """Gives each set of changes one identifier, and different ones to different sets."""

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, Expression]] = {}

    def of(self, wanted: str, changes: Mapping[str, Expression]) -> str:
        """Identifier of some changes: the wanted one, or that with a number."""
        stem = identifier(wanted)
        name, count = stem, 1
        while self.changes.setdefault(name, dict(changes)) != dict(changes):
            count += 1
            name = f"{stem}_{count}"
        return name


def conditions_of_1(problem: PetabProblem) -> tuple[list[Cells], dict[str, tuple[str, str]]]:
    """Rows of the condition table, and the conditions before and during each experiment.

    Raises:
        FormatError: an experiment has changes after its start, does not start at 0, or sets a quantity to a
            formula.
    """
    names, pairs = _Names(), dict[str, tuple[str, str]]()
    for name, phases in problem.experiments.items():
        before, after = _two_phases(name, phases)
        wanted = after.conditions[0] if after.conditions else name or "condition"
        during = names.of(wanted, _whole(problem, before, after))
        pairs[name] = ("", during)
        if before is not None:
            pairs[name] = (
                names.of("_".join(before.conditions) or f"before_{wanted}", before.changes),
                during,
            )
    targets = sorted({target for changes in names.changes.values() for target in changes})
    rows: list[Cells] = [
        {"conditionId": name} | {target: _value(name, target, changes) for target in targets}
        for name, changes in names.changes.items()
    ]
    return rows, pairs


def _two_phases(name: str, phases: tuple[Phase, ...]) -> tuple[Phase | None, Phase]:
    """The steady state before an experiment, if there is one, and the experiment."""
    before = phases[0] if phases[0].time == -math.inf else None
    later = phases[1:] if before is not None else phases
    if len(later) != 1:
        raise FormatError(
            f"experiment `{name}`: PEtab version 1 has no changes after the start; there is one at"
            f" {later[1].time}. Write version 2."
        )
    if later[0].time != 0.0:
        raise FormatError(
            f"experiment `{name}`: starts at {later[0].time}, those of PEtab version 1 at 0; write version 2."
        )
    return before, later[0]


def _whole(problem: PetabProblem, before: Phase | None, after: Phase) -> dict[str, Expression]:
    """Changes with the parameters that stay as they were before: version 1 returns to those of the model."""
    if before is None:
        return dict(after.changes)
    kept = constants(problem.equations) & set(problem.equations.parameters)
    return {name: value for name, value in before.changes.items() if name in kept} | dict(after.changes)


def _value(name: str, target: str, changes: Mapping[str, Expression]) -> str:
    value = changes.get(target)
    if value is None:
        return "NaN"
    if value.value is None and value.name is None:
        raise FormatError(
            f"condition `{name}` sets `{target}` to {value}; PEtab version 1 has no formulas there."
            " Write version 2."
        )
    return formula_text(value)


def conditions_of_2(problem: PetabProblem) -> tuple[list[Cells], list[Cells], dict[str, str]]:
    """Rows of the condition and of the experiment table, and the names of the experiments there."""
    names, experiments, new = _Names(), list[Cells](), dict[str, str]()
    for name, phases in problem.experiments.items():
        if name == "" and phases == (Phase(0.0),):
            new[name] = ""
            continue
        [new[name]] = new_identifiers([name or "experiment"], new.values())
        for phase in phases:
            condition = ""
            if phase.changes:
                condition = names.of("_".join(phase.conditions) or new[name], phase.changes)
            experiments.append({"experimentId": new[name], "time": str(phase.time), "conditionId": condition})
    conditions: list[Cells] = [
        {"conditionId": name, "targetId": target, "targetValue": formula_text(value)}
        for name, changes in names.changes.items()
        for target, value in changes.items()
    ]
    return conditions, experiments, new
