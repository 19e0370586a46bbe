"""The parameter table of both versions of PEtab."""

from __future__ import annotations

from collections.abc import Mapping

from multiscale.errors import FormatError
from multiscale.formats.petab.priors import SCALES, Prior, unscaled
from multiscale.formats.petab.problem import PetabParameter, PetabProblem
from multiscale.formats.petab.version_1 import PRIOR_KINDS
from multiscale.formats.petab.write_tables import Cells, number_text

__all__ = ["parameter_rows"]

_NAMES_1 = {kind: name for name, kind in PRIOR_KINDS.items() if not name.startswith("parameterScale")}
_NAMES_1_SCALED = {kind: name for name, kind in PRIOR_KINDS.items() if name.startswith("parameterScale")}
_PRIOR_COLUMNS = (
    "objectivePriorType",
    "objectivePriorParameters",
    "initializationPriorType",
    "initializationPriorParameters",
    "priorDistribution",
    "priorParameters",
)


def parameter_rows(
    problem: PetabProblem, version: int, values: Mapping[str, float] | None = None
) -> list[Cells]:
    """Rows of the parameter table.

    Args:
        problem: with the parameters.
        version: of PEtab.
        values: in place of nominal values, on the linear scale.

    Raises:
        FormatError: the version has no name for a prior.
    """
    row = _row_1 if version == 1 else _row_2
    given = values or {}
    rows = [row(p, given.get(name, p.nominal)) for name, p in problem.parameters.items()]
    empty = [name for name in _PRIOR_COLUMNS if not any(row.get(name) for row in rows)]
    return [{name: cell for name, cell in row.items() if name not in empty} for row in rows]


def _row_1(parameter: PetabParameter, value: float) -> Cells:
    objective, start = _prior_1(parameter, parameter.prior), _prior_1(parameter, parameter.start_prior)
    return {
        "parameterId": parameter.name,
        "parameterScale": parameter.scale,
        "lowerBound": number_text(parameter.lower),
        "upperBound": number_text(parameter.upper),
        "nominalValue": number_text(value),
        "estimate": str(int(parameter.estimate)),
        "objectivePriorType": objective[0],
        "objectivePriorParameters": objective[1],
        "initializationPriorType": start[0],
        "initializationPriorParameters": start[1],
    }


def _prior_1(parameter: PetabParameter, prior: Prior | None) -> tuple[str, str]:
    """Type and parameters in the words of version 1, which says nothing about where priors are cut off."""
    if prior is None:
        return "", ""
    on_scale = prior.scale != "lin" or (parameter.scale == "lin" and prior.kind not in _NAMES_1)
    names = _NAMES_1_SCALED if on_scale else _NAMES_1
    if prior.kind not in names or (on_scale and prior.scale != parameter.scale):
        raise FormatError(
            f"parameter `{parameter.name}`: PEtab version 1 has no prior `{prior.kind}` on the scale"
            f" `{prior.scale}`; write version 2."
        )
    return names[prior.kind], ";".join(number_text(number) for number in prior.parameters)


def _row_2(parameter: PetabParameter, value: float) -> Cells:
    kind, numbers = _prior_2(parameter)
    return {
        "parameterId": parameter.name,
        "lowerBound": number_text(parameter.lower),
        "upperBound": number_text(parameter.upper),
        "nominalValue": number_text(value),
        "estimate": "true" if parameter.estimate else "false",
        "priorDistribution": kind,
        "priorParameters": ";".join(number_text(number) for number in numbers),
    }


def _prior_2(parameter: PetabParameter) -> tuple[str, tuple[float, ...]]:
    """Distribution in the words of version 2: of the parameter itself, whatever scale it was stated on."""
    prior = parameter.prior
    if prior is None:
        return "", ()
    base = SCALES[prior.scale]
    if not base:
        return prior.kind, prior.parameters
    if prior.kind == "uniform":
        return "log-uniform", tuple(float(unscaled(end, prior.scale)) for end in prior.parameters)
    location, width = prior.parameters  # of log10 θ; those of ln θ are ln 10 times as large
    return f"log-{prior.kind}", (location * base, width * base)
