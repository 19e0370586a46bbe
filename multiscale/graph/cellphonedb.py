"""The tables of CellPhoneDB: interactions, complexes with stoichiometry, secreted proteins."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from math import gcd
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from multiscale.errors import GraphError
from multiscale.graph.build import read_table

__all__ = ["CellPhoneDB", "read_cellphonedb", "structure_stoichiometry"]

log = logging.getLogger("multiscale")


class CellPhoneDB(NamedTuple):
    """What `graph_from_ligand_receptor` needs of a CellPhoneDB release, in gene symbols.

    Args:
        pairs: columns `ligand` and `receptor`.
        complexes: subunits with stoichiometry per complex.
        secreted: secreted proteins without a transmembrane segment, and secreted complexes.
    """

    pairs: pd.DataFrame
    complexes: dict[str, dict[str, int]]
    secreted: set[str]


def read_cellphonedb(folder: str | Path, ppi_only: bool = True) -> CellPhoneDB:
    """Read `interaction_input`, `complex_input`, `gene_input` and `protein_input` (.csv or .csv.gz).

    Args:
        folder: folder with the four files.
        ppi_only: leave out interactions of small molecules, where a "complex" is the set of enzymes that make
            one.

    Raises:
        GraphError: a file or column is missing.
    """
    genes = _read(folder, "gene_input", ("uniprot", "hgnc_symbol", "gene_name"))
    symbols = dict(zip(genes["uniprot"], genes["hgnc_symbol"].fillna(genes["gene_name"]), strict=True))
    complexes = _read(folder, "complex_input", ("complex_name", "uniprot_1", "secreted", "stoichiometry"))
    proteins = _read(folder, "protein_input", ("uniprot", "secreted", "transmembrane"))
    pairs = _read(folder, "interaction_input", ("partner_a", "partner_b", "is_ppi"))
    kept = pairs.loc[pairs["is_ppi"]] if ppi_only else pairs
    if len(kept) < len(pairs):
        log.info(
            "CellPhoneDB: %d interactions that are not between proteins are left out.", len(pairs) - len(kept)
        )
    content = _subunits(complexes, symbols)
    names = {name: _distinct(name, subunits, symbols) for name, subunits in content.items()}
    called = {**names, **symbols}
    free = proteins.loc[proteins["secreted"] & ~proteins["transmembrane"], "uniprot"].map(symbols).dropna()
    return CellPhoneDB(
        pd.DataFrame(
            {
                side: [called.get(partner, partner) for partner in kept[column]]
                for side, column in (("ligand", "partner_a"), ("receptor", "partner_b"))
            }
        ),
        {names[name]: subunits for name, subunits in content.items()},
        {*free, *(names[name] for name in complexes.loc[complexes["secreted"], "complex_name"])},
    )


def structure_stoichiometry(subunits: Mapping[str, int], structure: str) -> dict[str, int]:
    """Stoichiometry of the subunits of a complex, from the chains of a structure of it.

    The structure may hold the ligand as well and several copies of the whole, so chains that are not subunits
    are left out and the numbers divided by their greatest common divisor. Where a subunit is not in the
    structure, one of each is assumed.

    Args:
        subunits: what the table lists, usually one of each.
        structure: chains separated by `;`.

    >>> structure_stoichiometry({"A": 1, "B": 1}, "A;A;A;A;B;B;L;L")
    {'A': 2, 'B': 1}
    >>> structure_stoichiometry({"A": 1, "B": 1}, "A;A;A;L")
    {'A': 1, 'B': 1}
    """
    chains = Counter(chain for chain in structure.split(";") if chain in subunits)
    if set(chains) != set(subunits):
        return dict(subunits)
    common = gcd(*chains.values())
    return {subunit: chains[subunit] // common for subunit in subunits}


def _subunits(table: pd.DataFrame, symbols: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Subunits with stoichiometry per complex, in gene symbols."""
    columns = [column for column in table.columns if column.startswith("uniprot_")]
    found: dict[str, dict[str, int]] = {}
    for row in table.to_dict("records"):
        subunits = dict(Counter(symbols.get(row[c], row[c]) for c in columns if isinstance(row[c], str)))
        structure = row["stoichiometry"]
        known = isinstance(structure, str)
        found[str(row["complex_name"])] = structure_stoichiometry(subunits, structure) if known else subunits
    return found


def _distinct(name: str, subunits: Mapping[str, int], symbols: Mapping[str, str]) -> str:
    """Name of a complex; those that are also a gene symbol are called by their subunits."""
    return "_".join(subunits) if name in symbols.values() and len(subunits) > 1 else name


def _read(folder: str | Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    files = [Path(folder) / f"{name}{suffix}" for suffix in (".csv", ".csv.gz")]
    path = next((file for file in files if file.is_file()), files[0])
    table = read_table(path)
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise GraphError(f"{path}: column `{missing[0]}` is missing; is it a table of CellPhoneDB version 5?")
    return table
