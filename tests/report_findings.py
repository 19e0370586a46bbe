"""Findings of a made-up fit, with names that try to break out of wherever they are put."""

from __future__ import annotations

import numpy as np
import pandas as pd

from multiscale.formats.exchange import Network
from multiscale.graph import Graph
from multiscale.report.findings import Findings

MARKUP = "</script><script>alert(1)</script>&$x_1$\"'`é{0}<b>"


def graph() -> Graph:
    """Two subunits of a complex, a gene, a pathway with a long name, a molecule that nothing links."""
    long = "a pathway with a name that is longer than one line"
    molecules = {"name": ["g", "A", MARKUP, "alone"], "identifier": ["GENE", "A", MARKUP, "C"]}
    return Graph.from_tables(
        MARKUP,
        {
            "molecule": pd.DataFrame(molecules),
            "complex": pd.DataFrame({"name": ["A:B"], "note": [MARKUP]}),
            "pathway": pd.DataFrame({"name": [long]}),
        },
        {
            "encodes": pd.DataFrame({"source": ["g"], "target": ["A"]}),
            "subunit": pd.DataFrame({"source": ["A", MARKUP], "target": ["A:B", "A:B"]}),
            "member": pd.DataFrame({"source": ["A:B"], "target": [long], "sign": [-1]}),
        },
    )


def tables() -> dict[str, pd.DataFrame]:
    """Every table of a run, with the columns that the fit writes."""
    return _estimates() | _states() | _judgements()


def _estimates() -> dict[str, pd.DataFrame]:
    name = {"parameterId": [MARKUP, "k"]}
    energies = {
        "complex": ["A:B"],
        "g_kcal_per_mol": -9.0,
        "lower": -9.5,
        "upper": -8.25,
        "prior_mean": -11.0,
    }
    information = {"informationNats": [1.5, 0.0], "determinedBy": ["data", "prior"]}
    said = {
        "role": ["energy", MARKUP],
        "nominalValue": [-9.0, 2.5e-9],
        "lower": -9.5,
        "upper": [-8.25, np.nan],
    }
    profiles = {
        "parameterId": [MARKUP] * 3,
        "value": [0.0, 1.0, 2.0],
        "rise": [2.0, 0.0, 2.0],
        "prior_rise": 0.1,
    }
    return {
        "parameters": pd.DataFrame(name | said | information | {"note": [MARKUP, "two\nlines\tand a tab"]}),
        "energies": pd.DataFrame(energies | {"prior_sd": 2.0, "Kd_uM": 0.5, "evidence": "obligate"}),
        "profiles": pd.DataFrame(profiles),
        "information": pd.DataFrame(
            name | {"assay": [MARKUP, "rna"], "information_nats": [0.5, 0.1], "shift": 0.0}
        ),
        "undetermined": pd.DataFrame(name | {"partner": [MARKUP, ""], "sentence": [MARKUP, "nothing"]}),
    }


def _states() -> dict[str, pd.DataFrame]:
    context = {"context": [MARKUP, "c"]}
    bound = {"bound_fraction": [0.2, 0.9], "bound_lower": 0.1, "bound_upper": 0.95, "concentration_uM": 1.0}
    talk = {
        "sender": [MARKUP, "c"],
        "receiver": ["c", MARKUP],
        "complex": ["A:B", MARKUP],
        "occupancy": [0.4, 0.1],
    }
    return {
        "complexes": pd.DataFrame(context | {"complex": ["A:B", "A:B"]} | bound),
        "pairs": pd.DataFrame(talk | {"occupancy_lower": 0.05, "occupancy_upper": 0.5}),
        "pathways": pd.DataFrame(context | {"pathway": MARKUP, "activity": [-1.0, 2.0]}),
    }


def _judgements() -> dict[str, pd.DataFrame]:
    number = np.arange(40.0)
    ends = {"lower": number - 1.5, "upper": number + 1.5}
    predictions = {
        "assay": MARKUP,
        "context": MARKUP,
        "target": "A",
        "measured": number,
        "predicted": number + 1,
    }
    heldout = {
        "fold": 0,
        "context": "c",
        "molecule": MARKUP,
        "measured": number,
        "touched_by_graph": number < 9,
    }
    models = {"fitted": number + 1, "no_graph": number + 2, MARKUP: number + 3}
    starts = {"start": [1, 2, 3], "loss": [-3.0, -2.5, np.nan], "reason": [MARKUP, "flat", "flat"]}
    return {
        "predictions": pd.DataFrame(predictions | ends | {"censoring": 0, "scale": MARKUP}),
        "heldout": pd.DataFrame(heldout | models | ends),
        "heldout_molecules": pd.DataFrame(heldout | models),
        "controls": pd.DataFrame({"rewiring": [1, 2, 3], "seed": [1, 2, 3], "rmse_touched": [0.5, 1.5, 2.5]}),
        "starts": pd.DataFrame(starts),
        "sources": pd.DataFrame(
            {"name": ["blood"], "licence": ["CC0-1.0"], "url": [f"https://x.org/{MARKUP}"]}
        ),
    }


def findings() -> Findings:
    """Everything that a page can show."""
    values = {"molecule": pd.DataFrame({"copies": [10.0, 1e5]}, index=["A", MARKUP])}
    meta = {MARKUP: {"seed": 1, "name": MARKUP}, "held_out": {"heldout": {"unit": "ln copies; and more"}}}
    return Findings(
        title=MARKUP,
        question=f"Is {MARKUP} right?",
        headline=f"The graph helps: because of {MARKUP}.",
        sentences=[f"`{MARKUP}` was learned."],
        undetermined=[f"Nothing is known of {MARKUP}."],
        network=Network(graph(), values),
        tables=tables(),
        meta=meta,
    )
