"""What a report is made of: sentences, plain tables and a network, wherever they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from multiscale.formats.exchange import Network

__all__ = ["Findings"]


@dataclass(frozen=True)
class Findings:
    """Everything that the report page of one fit says.

    Args:
        title: what the page is about.
        question: what was asked; '' if nobody said.
        headline: what was found, in one plain sentence, even if it is that nothing was.
        sentences: what was learned and how sure it is, one plain sentence each.
        undetermined: what the data leave open, one plain sentence each.
        network: the graph, values learned about its nodes, and settings.
        tables: tables of a run folder under the stem of their file: `parameters`, `energies`, `complexes`,
            `pairs`, `pathways`, `predictions`, `heldout` (and any `heldout_<split>`), `controls`, `starts`,
            `profiles`, `undetermined`, `information`, `sources`; of readings also `metrics`, `calibration`,
            and `readings` in place of `predictions`. A table that is missing leaves its section out. All
            intervals are 90 %.
        meta: settings, versions, seed, units, nested as they are. `held_out` may give per split what
            `metrics` says of it; of this the page uses `unit` and `held_out_together`.
    """

    title: str
    question: str
    headline: str
    sentences: list[str]
    undetermined: list[str]
    network: Network
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> pd.DataFrame:
        """A table, empty if the run has none of that name."""
        return self.tables.get(name, pd.DataFrame())
