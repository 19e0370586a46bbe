"""What was learned of variants, for other programs: AnnData (variants × features) and tables position ×
residue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from multiscale import atomic
from multiscale.data.sequences import letters_of
from multiscale.errors import FormatError, nearest
from multiscale.formats.tables import write_table

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["energy_positions", "variants_anndata", "write_energy_positions"]

_MUTATION = re.compile(r"([^\s\d])(\d+)([^\s\d])")
_INTERVAL = ("lower", "upper")


def variants_anndata(
    energies: pd.DataFrame,
    readings: Mapping[str, pd.DataFrame] | None = None,
    *,
    units: Mapping[str, str] | None = None,
) -> AnnData:
    """Variants × features: energies and readings, with their intervals as layers.

    Args:
        energies: one row per variant and term: `variant` (`A24G`, `A24G:T30P`, `wt`), `term`, `value`, and
            if known `lower`, `upper`, kcal/mol.
        readings: per name a table, one row per variant: `variant`, and some of `measured`, `predicted`,
            `lower`, `upper` (of what is predicted).
        units: of readings, by name.

    Returns:
        X: feature `term` = value; `NAME measured`, `NAME predicted`; NaN where there is none. Layers
            `lower` and `upper`. obs:
        number of mutations and, of single ones, position and residues. var: what a feature is, and its unit.

    Raises:
        FormatError: a column is missing, or a variant is repeated.

    >>> row = {"variant": "A1G", "term": "fold", "value": 1.0, "lower": 0.5, "upper": 1.5}
    >>> table = pd.DataFrame([row])
    >>> data = variants_anndata(table)
    >>> data.X.tolist(), data.layers["upper"].tolist(), data.obs["position"].tolist()
    ([[1.0]], [[1.5]], [1])
    """
    import anndata

    parts = [_energy_features(energies)]
    parts += [
        _reading_features(name, table, (units or {}).get(name, ""))
        for name, table in (readings or {}).items()
    ]
    whole = pd.concat(parts, ignore_index=True)
    variants, features = whole["variant"].unique(), whole.drop_duplicates("feature").set_index("feature")
    layers = {
        column: whole.pivot(index="variant", columns="feature", values=column)
        .reindex(index=variants, columns=features.index)
        .to_numpy(dtype=np.float64)
        for column in ("value", *_INTERVAL)
    }
    return anndata.AnnData(
        layers.pop("value"),
        obs=_variant_table(variants),
        var=features[["kind", "unit"]].rename_axis(None),
        layers=layers,
    )


def energy_positions(
    energies: pd.DataFrame, term: str, *, value: str = "value", alphabet: str = "protein"
) -> pd.DataFrame:
    """Energies of single mutations as a table position × residue; 0 at the residue of the wild type.

    Args:
        energies: see `variants_anndata`; other variants than single mutations are left out.
        term: which energy.
        value: `value`, `lower` or `upper`.
        alphabet: its letters are the columns.

    Returns:
        column `wild_type`, then one per letter, NaN where nothing is known; index `position`. Bounds of an
        interval are 0 too at the wild type, to which energies are relative.

    Raises:
        FormatError: there is no such term or column, or a position has two wild types.
    """
    _need(energies, ("variant", "term", value), "energies")
    terms = energies["term"].astype(str)
    if term not in set(terms):
        raise FormatError(f"`energies` has no term `{term}`; {nearest(term, terms)}")
    rows = energies[(terms == term).to_numpy()]
    found = rows["variant"].astype(str).str.extract(rf"^{_MUTATION.pattern}$")
    found = found.assign(value=rows[value].to_numpy(dtype=np.float64)).dropna(subset=[0])
    found[1] = found[1].astype(int)
    wild = found.groupby(1)[0].agg(["first", "nunique"])
    if (wild["nunique"] > 1).any():
        position = wild.index[wild["nunique"] > 1][0]
        raise FormatError(f"`energies`: position {position} has two residues of the wild type; correct one.")
    table = found.pivot(index=1, columns=2, values="value").reindex(columns=list(letters_of(alphabet)))
    for position, letter in wild["first"].items():
        if letter in table:
            table.loc[position, letter] = 0.0
    table.insert(0, "wild_type", wild["first"])
    return table.rename_axis(index="position", columns=None)


def write_energy_positions(
    energies: pd.DataFrame, path: str | Path, *, alphabet: str = "protein", overwrite: bool = False
) -> None:
    """Write a folder of tables position × residue, atomically: `TERM.tsv`, and `TERM_lower.tsv`,
    `TERM_upper.tsv` if known.

    Args:
        energies: see `variants_anndata`.
        path: the folder.
        alphabet: its letters are the columns.
        overwrite: whether the folder may hold files already.

    Raises:
        FormatError: see `energy_positions`.
        OutputError: the folder holds files already.
    """
    _need(energies, ("variant", "term", "value"), "energies")
    with atomic.folder(path, overwrite) as folder:
        for term in energies["term"].astype(str).unique():
            for column in ("value", *_INTERVAL):
                if column not in energies:
                    continue
                table = energy_positions(energies, term, value=column, alphabet=alphabet)
                suffix = "" if column == "value" else f"_{column}"
                write_table(table.reset_index(), folder / f"{_file_name(term)}{suffix}.tsv")


def _energy_features(energies: pd.DataFrame) -> pd.DataFrame:
    """Rows variant, feature, value, lower, upper, kind, unit of energies."""
    _need(energies, ("variant", "term", "value"), "energies")
    table = energies.rename(columns={"term": "feature"}).assign(kind="energy", unit="kcal/mol")
    return _unique(table, "energies")


def _reading_features(name: str, table: pd.DataFrame, unit: str) -> pd.DataFrame:
    """The same of readings; intervals are those of the prediction."""
    _need(table, ("variant",), f"readings `{name}`")
    parts = []
    for kind in ("measured", "predicted"):
        if kind in table:
            part = table.assign(feature=f"{name} {kind}", value=table[kind], kind=kind, unit=unit)
            drop = [] if kind == "predicted" else [column for column in _INTERVAL if column in part]
            parts.append(part.drop(columns=drop))
    if not parts:
        raise FormatError(
            f"readings `{name}`: neither `measured` nor `predicted`; got {', '.join(table.columns)}."
        )
    return _unique(pd.concat(parts, ignore_index=True), f"readings `{name}`")


def _unique(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """Rows with all columns, each variant once per feature."""
    twice = table.duplicated(["variant", "feature"]).to_numpy()
    if twice.any():
        row = table[twice].iloc[0]
        raise FormatError(
            f"{what}: variant `{row['variant']}` has `{row['feature']}` twice; give one row each."
        )
    table = table.reindex(columns=["variant", "feature", "value", *_INTERVAL, "kind", "unit"])
    return table.astype({"variant": str, "feature": str, "value": float, "lower": float, "upper": float})


def _variant_table(variants: np.ndarray) -> pd.DataFrame:
    """Number of mutations; position and residues of single ones (0 and '' of others)."""
    matches = [_MUTATION.fullmatch(variant) for variant in variants]
    return pd.DataFrame(
        {
            "mutations": [0 if variant == "wt" else variant.count(":") + 1 for variant in variants],
            "position": [int(match.group(2)) if match else 0 for match in matches],
            "wild_type": [match.group(1) if match else "" for match in matches],
            "residue": [match.group(3) if match else "" for match in matches],
        },
        index=pd.Index(variants.astype(str)),
    )


def _need(table: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        known = [str(column) for column in table.columns]
        raise FormatError(f"{what}: column `{missing[0]}` is missing; {nearest(missing[0], known)}")


def _file_name(term: str) -> str:
    """A term as the name of a file."""
    return re.sub(r"[^\w.-]+", "_", term)
