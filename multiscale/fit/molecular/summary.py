"""Everything that a report shows of a molecular fit, with rows that were not fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from multiscale.data import Readings
from multiscale.formats import Network
from multiscale.report.findings import Findings
from multiscale.report.molecular_words import headline, sentences

if TYPE_CHECKING:
    from multiscale.fit.molecular.result import MolecularResult

__all__ = ["findings"]

FITTED, HELD_OUT = "fitted", "held out"
"""Labels of rows that state none."""

_BINS = {"observed": "observed_mean", "sd": "observed_sd"}  # of calibrations, as the report names them


def findings(
    result: MolecularResult, others: Sequence[Readings] = (), title: str = "", question: str = ""
) -> Findings:
    """Everything that a report says of a fit.

    Args:
        result: the fit.
        others: measured rows that were not fitted, to judge it.
        title: of the page; default the name of the graph.
        question: what was asked.
    """
    tables = result.tables()
    metrics = [tables.pop("scores").assign(split=FITTED)]
    shown = [tables["readings"].assign(split=FITTED)]
    for rest in others:
        for label, part in _by_label(rest).items():
            metrics.append(pd.DataFrame([{"readings": rest.name, "split": label, **result.evaluate(part)}]))
            shown.append(result.predict(part).assign(readings=rest.name, split=label))
    tables["calibration"] = tables["calibration"].rename(columns=_BINS)
    tables["metrics"] = pd.concat(metrics, ignore_index=True)
    tables["readings"] = pd.concat(shown, ignore_index=True).reindex(columns=shown[0].columns)
    return Findings(
        title=title or result.graph.name,
        question=question,
        headline=headline(tables),
        sentences=sentences(tables),
        undetermined=result.undetermined(),
        network=Network(result.graph, {}, result.metadata()),
        tables=tables,
        meta=result.metadata(),
    )


def _by_label(readings: Readings) -> dict[str, Readings]:
    """Rows by their label."""
    if readings.split is None:
        return {HELD_OUT: readings}
    return {str(label): readings.where(label) for label in np.unique(readings.split)}
