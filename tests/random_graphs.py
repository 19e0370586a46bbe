"""Random consistent graphs with every node type and relation, for tests of reading and conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from multiscale.graph import Graph

__all__ = ["random_graph"]


def random_graph(seed: int, molecules: int = 8, note: str = "") -> Graph:
    """Make a graph that passes all checks.

    Args:
        seed: of the random numbers.
        molecules: how many there are; complexes, reactions and pathways grow with them. At least 4.
        note: text that goes into tables and card.
    """
    rng = np.random.default_rng(seed)
    names = [f"M{i}" for i in range(molecules)]
    complexes, subunits = _complexes(rng, names, note)
    parameters = _parameters(rng, complexes, note)
    reactions = pd.DataFrame(
        {
            "name": ["meet", "make", "turn"],
            "law": ["mass_action", "mass_action", "michaelis_menten"],
            "reversible": [True, False, False],
            "fast": [True, False, False],
            "source_or_sink": [False, True, False],
            "k_f": ["k", "", ""],
            "constants": ["", "", "V_max=v;Km=K"],
            "compartment": ["membrane", "", ""],
        }
    )
    pathways = pd.DataFrame({"name": ["p 1", "p/2"], "identifier": ["R-1", ""], "label": note})
    member_ends = rng.choice(names, size=molecules, replace=False)
    edges = {
        "subunit": subunits,
        "reactant": pd.DataFrame(
            {"source": names[::2][:2], "target": ["meet", "turn"], "stoichiometry": [2, 1]}
        ),
        "product": pd.DataFrame(
            {"source": ["make", "meet", "turn"], "target": [names[1], "C0", names[3]], "note": note}
        ),
        "modifier": pd.DataFrame(
            {"source": [names[1], "C0"], "target": "make", "role": ["catalyst", "inhibitor"]}
        ),
        "member": pd.DataFrame(
            {
                "source": [*member_ends, "C0", "meet"],
                "target": rng.choice(pathways["name"], size=molecules + 2),
                "sign": rng.choice([-1, 1], size=molecules + 2),
                "weight": rng.exponential(size=molecules + 2),
            }
        ),
        "drives": pd.DataFrame(
            {"source": "p 1", "target": "cell 1", "phenotype": ["growth", "death"], "sign": [1, 0]}
        ),
        "encodes": pd.DataFrame({"source": names[0], "target": names[1:3]}),
        "neighbor": pd.DataFrame({"source": ["cell 1"], "target": ["cell 2"], "weight": rng.random()}),
    }
    nodes = {
        "molecule": pd.DataFrame(
            {
                "name": names,
                "kind": rng.choice(["gene", "drug"], size=molecules),
                "initial": ["0.25", "x", *[""] * (molecules - 2)],
                "constant": [False, True, *[False] * (molecules - 2)],
                "note": note,
            }
        ),
        "complex": complexes,
        "reaction": reactions,
        "pathway": pathways,
        "cell": pd.DataFrame({"name": ["cell 1", "cell 2"]}),
    }
    return Graph.from_tables(f"random{seed}", nodes, edges, parameters, _card(rng, note))


def _complexes(rng: np.random.Generator, names: list[str], note: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A dimer C0 of the first molecule, complexes of random molecules, and one between two cells."""
    subunits = [{"source": names[0], "target": "C0", "stoichiometry": 2, "side": ""}]
    for i in range(1, len(names)):
        chosen = rng.choice(names[1:-1], size=2, replace=False)
        numbers = rng.integers(1, 4, size=2)
        pair = zip(chosen, numbers, strict=True)
        subunits += [{"source": m, "target": f"C{i}", "stoichiometry": n, "side": ""} for m, n in pair]
    subunits += [
        {"source": names[-1], "target": "pair", "stoichiometry": 3, "side": "sender"},
        {"source": names[0], "target": "pair", "stoichiometry": 2, "side": "receiver"},
    ]
    ids = [f"C{i}" for i in range(len(names))] + ["pair"]
    table = pd.DataFrame(
        {
            "name": ids,
            "compartment": rng.choice(["", "membrane"], size=len(ids)),
            "statistical_factor": rng.choice([0.5, 1.0, 3.0], size=len(ids)),
            "energy": [f"g{i};shared*{rng.integers(1, 4)}" for i in range(len(ids))],
            "orphan": rng.choice(["", "rho"], size=len(ids)),
            "note": note,
        }
    )
    table.loc[len(ids) - 1, "compartment"] = "contact"
    return table, pd.DataFrame(subunits)


def _parameters(rng: np.random.Generator, complexes: pd.DataFrame, note: str) -> pd.DataFrame:
    energies = [f"g{i}" for i in range(len(complexes))] + ["shared"]
    table = pd.DataFrame({"parameterId": [*energies, "rho", "h", "k", "v", "K", "x"]})
    roles = ["loss", "confinement", "rate_constant", "rate_constant", "Km", "concentration"]
    table["role"] = ["energy"] * len(energies) + roles
    table["unit"] = ["kcal/mol"] * len(energies) + ["1", "nm", "1/(uM*s)", "uM/s", "nM", "µM"]
    rates = [1e-7 * rng.random(), 0.5, 20.0, 1.5]
    table["nominalValue"] = [*rng.normal(size=len(energies)), 0.25, 3.0, *rates]
    table["objectivePriorType"], table["objectivePriorParameters"] = "normal", "0;1"
    return table.assign(note=note)


def _card(rng: np.random.Generator, note: str) -> dict[str, Any]:
    return {
        "title": f"random {note}",
        "licence": "CC0-1.0 OR MIT",
        "sources": [{"title": note, "year": 2020, "pages": [1, 2]}, {"doi": "10.1/x", "checked": True}],
        "cell": {"volume_fL": 200.0},
        "compartments": {
            "membrane": {"geometry": "membrane", "volume_fraction": float(rng.uniform(0.1, 1.0))},
            "contact": {"geometry": "contact", "confinement": "h"},
            "soluble": {"geometry": "soluble", "volume_fL": 1e3, "note": note},
        },
    }
