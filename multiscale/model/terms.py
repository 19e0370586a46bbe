"""Measurements aligned with a network: which position of the state every entry reads."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiscale.data import CountMatrix, Match, MeasurementTable, match
from multiscale.errors import DataError, nearest
from multiscale.graph import Graph
from multiscale.model.network import Network
from multiscale.model.sums import SPECIES_READOUTS, Readable, read_sums

__all__ = ["PROCESS_READOUTS", "CountTerm", "TableTerm", "count_term", "table_term"]

log = logging.getLogger("multiscale")

MOLECULE_READOUTS = ("total", "surface")
PROCESS_READOUTS = ("delta_g", "ln_K2D")
READOUTS = (*MOLECULE_READOUTS, "transcript", *PROCESS_READOUTS, *SPECIES_READOUTS)


@dataclass(frozen=True)
class CountTerm:
    """Counts of the transcripts that the network has.

    Args:
        matrix: counts of the matched features only.
        transcript: position of each feature's transcript in the network, shape (feature,).
        match: which identifiers matched.
    """

    matrix: CountMatrix
    transcript: np.ndarray
    match: Match

    @property
    def name(self) -> str:
        """Name of the assay."""
        return self.matrix.name

    @property
    def features(self) -> list[str]:
        """Identifiers of the features."""
        return self.matrix.identifiers


@dataclass(frozen=True)
class TableTerm:
    """Entries of one table that the network explains.

    Args:
        table: the measurements.
        entries: the explained ones; `entry` is their row in the full table.
        context: position of each entry's context, −1 for processes, shape (entry,).
        target: position of each entry's molecule or transcript, −1 for processes, shape (entry,).
        process: products minus reactants of entries that read a process, shape (entry, species of all kinds).
        confinement: name of the confinement length of two-dimensional processes, else ''.
        match: which identifiers matched, None for a table of processes.
        sums: distinct combinations of species that entries read, shape (sum, species).
        sum_of: position of the one that each entry reads, −1 for none, shape (entry,).
    """

    table: MeasurementTable
    entries: pd.DataFrame
    context: np.ndarray
    target: np.ndarray
    process: np.ndarray
    confinement: list[str]
    match: Match | None
    sums: np.ndarray
    sum_of: np.ndarray

    @property
    def name(self) -> str:
        """Name of the table."""
        return self.table.name


def count_term(matrix: CountMatrix, network: Network) -> CountTerm:
    """Keep the features that are transcripts of the network.

    Raises:
        DataError: none is.
    """
    found = _match(matrix.name, network.identifiers, matrix.features)
    position = {name: i for i, name in enumerate(network.identifiers)}
    features = list(found.matched)
    return CountTerm(matrix.select(features), np.array([position[name] for name in features]), found)


def table_term(
    table: MeasurementTable,
    graph: Graph,
    network: Network,
    readable: Readable,
    contexts: pd.Index,
    strict: bool = True,
) -> TableTerm:
    """Keep the entries whose molecule and context are known, and find what each reads.

    Args:
        table: the measurements.
        graph: the checked graph.
        network: its arrays.
        readable: species that the state has.
        contexts: names of the contexts that are cells or groups.
        strict: refuse a surface measurement of a molecule that has no form on a membrane, and a concentration
            of a species that is not there; if false the one reads the total, the other is left out.

    Raises:
        DataError: no entry fits, or one reads something that the graph does not have.
    """
    entries = table.entries.reset_index()
    _check_readouts(table, entries)
    processes = entries["readout"].isin(PROCESS_READOUTS)
    sums, sum_of = read_sums(table.name, entries, readable, strict)
    found = _found(table.name, network, readable, entries, sums)
    known = entries["target"].isin(found.matched if found else []) | (sum_of >= 0)
    kept = (processes | (known & _in_contexts(table, entries, contexts))).to_numpy(bool)
    entries, sum_of = entries[kept].reset_index(drop=True), sum_of[kept]
    target = _targets(network, entries)
    hidden = _hidden(network, entries, target)
    if hidden.any():
        entries = _read_totals(table, entries, hidden, strict)
    pairs = {name: pair for pair in network.pairs for name in pair.complexes}
    planar = entries["readout"] == "ln_K2D"
    return TableTerm(
        table=table,
        entries=entries,
        context=contexts.get_indexer(pd.Index(entries["context"])),
        target=target,
        process=_processes(table, graph, network, entries),
        confinement=[
            _confinement(table, name, pairs) if flat else ""
            for name, flat in zip(entries["target"], planar, strict=True)
        ],
        match=found,
        sums=sums,
        sum_of=sum_of,
    )


def _found(
    name: str, network: Network, readable: Readable, entries: pd.DataFrame, sums: np.ndarray
) -> Match | None:
    """Which names of the graph the entries read; None if they all read processes."""
    if entries["readout"].isin(SPECIES_READOUTS).all():
        read = [s for s, some in zip(readable.species, np.any(sums, axis=0).tolist(), strict=True) if some]
        return _match(name, readable.species, read)
    processes = entries["readout"].isin(PROCESS_READOUTS)
    if processes.all():
        return None
    found = _match(name, _readable(network, entries), entries["target"][~processes])
    if found.only_data:
        log.warning("%s: %s", name, found)
    return found


def _match(name: str, graph: Iterable[str], data: Iterable[str]) -> Match:
    """Match identifiers, naming the assay where nothing matches."""
    try:
        return match(graph, data)
    except DataError as error:
        raise DataError(f"`{name}`: {error}") from None


def _check_readouts(table: MeasurementTable, entries: pd.DataFrame) -> None:
    unknown = sorted(set(entries["readout"]) - set(READOUTS))
    if unknown:
        raise DataError(f"`{table.name}`: unknown readout `{unknown[0]}`; {nearest(unknown[0], READOUTS)}")


def _readable(network: Network, entries: pd.DataFrame) -> list[str]:
    """Names that entries may read: molecules, and identifiers of transcripts where a level is read."""
    levels = bool((entries["readout"] == "transcript").any())
    return network.molecules + (network.identifiers if levels else [])


def _in_contexts(table: MeasurementTable, entries: pd.DataFrame, contexts: pd.Index) -> pd.Series:
    here = entries["context"].isin(contexts)
    elsewhere = entries.loc[~here & ~entries["readout"].isin(PROCESS_READOUTS), "context"]
    if len(elsewhere) and not here.any():
        hint = nearest(str(elsewhere.iloc[0]), map(str, contexts))
        raise DataError(
            f"`{table.name}`: no row has a context of the data; got `{elsewhere.iloc[0]}`; {hint}"
        )
    if len(elsewhere):
        log.warning(
            "%s: %d rows have contexts that the data lack and are left out", table.name, len(elsewhere)
        )
    return here


def _targets(network: Network, entries: pd.DataFrame) -> np.ndarray:
    """Position of every entry's molecule (or transcript), −1 for processes."""
    names = pd.Index(entries["target"])
    molecules = pd.Index(network.molecules).get_indexer(names)
    transcripts = pd.Index(network.identifiers).get_indexer(names)
    of_molecule = entries["readout"].isin(MOLECULE_READOUTS).to_numpy()
    of_transcript = (entries["readout"] == "transcript").to_numpy()
    return np.where(of_molecule, molecules, np.where(of_transcript, transcripts, -1))


def _hidden(network: Network, entries: pd.DataFrame, target: np.ndarray) -> np.ndarray:
    """Entries that read the surface of a molecule without a form on a membrane."""
    visible = np.any(network.formula * network.surface, axis=1)
    return (entries["readout"] == "surface").to_numpy() & ~visible[np.maximum(target, 0)]


def _read_totals(
    table: MeasurementTable, entries: pd.DataFrame, hidden: np.ndarray, strict: bool
) -> pd.DataFrame:
    """Let hidden entries read totals, or refuse them."""
    if strict:
        raise DataError(
            f"`{table.name}`: the surface of `{entries['target'][hidden].iloc[0]}` was measured, but the "
            "graph has no form of it in a compartment of geometry `membrane`; set its compartment in "
            "nodes.tsv."
        )
    return entries.assign(readout=entries["readout"].where(~hidden, "total"))


def _confinement(table: MeasurementTable, name: str, pairs: dict) -> str:
    """Name of the confinement length of the contact in which a complex forms."""
    if name in pairs and pairs[name].geometry == "contact":
        return pairs[name].confinement
    raise DataError(
        f"`{table.name}`: `{name}` has a two-dimensional Kd but does not form in a compartment of geometry "
        "`contact`."
    )


def _processes(table: MeasurementTable, graph: Graph, network: Network, entries: pd.DataFrame) -> np.ndarray:
    """Products minus reactants of every entry that reads a process; zero rows elsewhere."""
    column = {name: i for i, name in enumerate(network.all_species)}
    composition = _composition(graph)
    change = np.zeros((len(entries), len(column)))
    for i, readout, target, parts in zip(
        range(len(entries)),
        entries["readout"],
        entries["target"],
        entries.get("parts", [""] * len(entries)),
        strict=True,
    ):
        if readout in PROCESS_READOUTS:
            for name, count in _reactants(table, composition, str(target), str(parts)):
                change[i, column[name]] -= count
            change[i, column[str(target)]] += 1
    return change


def _composition(graph: Graph) -> dict[str, dict[str, int]]:
    """Molecules in every species; a molecule is made of itself."""
    composition: dict[str, dict[str, int]] = {name: {name: 1} for name in graph.molecules}
    edges = graph.edges["subunit"]
    columns = (edges[name].tolist() for name in ("source", "target", "stoichiometry"))
    for source, target, count in zip(*columns, strict=True):
        subunits = composition.setdefault(target, {})
        subunits[source] = subunits.get(source, 0) + int(count)
    return composition


def _reactants(
    table: MeasurementTable, composition: dict[str, dict[str, int]], target: str, parts: str
) -> list[tuple[str, int]]:
    """Parts that form a complex and how many of each; they must hold the same molecules."""
    names = parts.split(";") if parts else []
    for name in [target, *names]:
        if name not in composition:
            raise DataError(f"`{table.name}`: `{name}` is not in the graph; {nearest(name, composition)}")
    whole = composition[target]
    reactants = [(name, 1) for name in names] or list(whole.items())
    made: dict[str, int] = {}
    for name, count in reactants:
        for molecule, number in composition[name].items():
            made[molecule] = made.get(molecule, 0) + count * number
    if made != whole:
        raise DataError(
            f"`{table.name}`: the parts `{parts}` of `{target}` hold {_spell(made)}, but the complex is "
            f"{_spell(whole)}; name parts that add up to it."
        )
    return reactants


def _spell(composition: dict[str, int]) -> str:
    return " + ".join(f"{count} {name}" for name, count in sorted(composition.items()))
