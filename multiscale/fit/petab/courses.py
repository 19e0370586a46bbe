"""The simulations of some starts: runs made from the plan, and what the solver returns put in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from multiscale.fit.petab.mapping import Mapped
from multiscale.fit.petab.plan import Plan, Stage, Template
from multiscale.solver.hybrid.compiled import Compiled, compile_system
from multiscale.solver.hybrid.runs import Outcome, Period, Reset, Run, simulate
from multiscale.solver.status import Status

__all__ = ["Course", "Courses", "Tolerances"]

MEMORY = 64_000_000  # numbers in the sensitivities of starts that are simulated together: half a GB


@dataclass(frozen=True)
class Tolerances:
    """Options of the solver.

    Args:
        rtol, atol: of the integration.
        max_steps: per run between two stops.
        threads: None = one per core.
        control_sensitivities: whether errors of sensitivities bound the steps too, where there are any.
    """

    rtol: float = 1e-10
    atol: float = 1e-12
    max_steps: int = 100_000
    threads: int | None = None
    control_sensitivities: bool = True


@dataclass(frozen=True)
class Course:
    """Simulations of one start.

    Args:
        x: states at all points, shape (point, n).
        s: their derivatives by the unknowns of each simulation, shape (point, n, q); q = 0 without.
        status: the worst of all simulations.
        message: what went wrong first, and in which experiments; '' = nothing.
    """

    x: np.ndarray
    s: np.ndarray
    status: Status
    message: str


class Courses:
    """Simulates the templates of a plan.

    Args:
        plan: what there is to simulate.
        tolerances: options of the solver.
    """

    def __init__(self, plan: Plan, tolerances: Tolerances) -> None:
        self.plan = plan
        self.tolerances = tolerances
        self.compiled: Compiled = compile_system(plan.flat.system)
        self.width = max((len(template.columns) for template in plan.templates), default=0)
        self._resets = {id(j): Reset(j.targets, j.reset) for j in _jumps(plan)}

    def of(self, mapped: Mapped, derivatives: bool) -> Iterator[Course]:
        """Yield the simulations of every start, as many at once as memory allows.

        Args:
            mapped: numbers of all starts.
            derivatives: whether to compute sensitivities.
        """
        starts, size = len(mapped.values), self._at_once(derivatives)
        for first in range(0, starts, size):
            yield from self._together(mapped, range(first, min(first + size, starts)), derivatives)

    def _at_once(self, derivatives: bool) -> int:
        system = self.plan.flat.system
        q = self.width if derivatives else 0
        one = self.plan.points * len(system.states) * (1 + q)
        one += sum(len(t.stages) for t in self.plan.templates) * (
            len(system.parameters) + len(system.active) * q
        )
        return max(1, MEMORY // max(1, one))

    def _together(self, mapped: Mapped, starts: range, derivatives: bool) -> list[Course]:
        """Simulate some starts in one call of the solver."""
        if not self.plan.flat.system.states:
            return [self._still() for _ in starts]
        runs: list[Run] = []
        where: dict[tuple[int, int], int] = {}
        for k, template in enumerate(self.plan.templates):
            for start in starts:
                if start > starts[0] and not len(template.columns):
                    where[k, start] = where[k, starts[0]]  # no unknown enters: all starts share it
                    continue
                where[k, start] = len(runs)
                runs.append(self._run(template, mapped, start, derivatives))
        options = self.tolerances
        outcomes = simulate(
            self.compiled,
            runs,
            rtol=options.rtol,
            atol=options.atol,
            max_steps=options.max_steps,
            threads=options.threads,
            sensitivities=derivatives,
            control_sensitivities=options.control_sensitivities and derivatives,
        )
        count = len(self.plan.templates)
        return [self._course([outcomes[where[k, start]] for k in range(count)]) for start in starts]

    def _run(self, template: Template, mapped: Mapped, start: int, derivatives: bool) -> Run:
        """Run of one template with the numbers of one start."""
        return Run(
            tuple(self._period(stage, template, mapped, start, derivatives) for stage in template.stages)
        )

    def _period(
        self, stage: Stage, template: Template, mapped: Mapped, start: int, derivatives: bool
    ) -> Period:
        active = len(self.plan.flat.system.active)
        dp = np.zeros((active, self.width if derivatives else 0))
        if derivatives:
            entries, rows, columns = stage.entries
            dp[rows, columns] = mapped.slopes[start, entries]
        resets = () if stage.jump is None else (self._resets[id(stage.jump)],)
        return Period(stage.start, mapped.values[start, stage.formulas], dp, resets, stage.times)

    def _course(self, outcomes: Sequence[Outcome]) -> Course:
        """Put the outcomes of the templates one after the other."""
        worst = max(range(len(outcomes)), key=lambda k: outcomes[k].status, default=None)
        if worst is None:
            return self._still()
        x = np.concatenate([part for outcome in outcomes for part in outcome.x])
        s = np.concatenate([part for outcome in outcomes for part in outcome.S])
        status = Status(outcomes[worst].status)
        return Course(x, s, status, "" if status.solved else self._message(worst, outcomes[worst]))

    def _message(self, number: int, outcome: Outcome) -> str:
        names = [f"`{name}`" for name in self.plan.templates[number].experiments]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return f"experiment {shown}: {outcome.message or Status(outcome.status).text}"

    def _still(self) -> Course:
        """Simulations of a model in which nothing changes."""
        nothing = np.zeros((self.plan.points, 0))
        return Course(nothing, np.zeros((self.plan.points, 0, self.width)), Status.CONVERGED, "")


def _jumps(plan: Plan) -> list:
    return [stage.jump for template in plan.templates for stage in template.stages if stage.jump is not None]
