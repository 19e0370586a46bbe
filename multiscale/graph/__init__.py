"""The graph: schema, tables, files, checks, stoichiometry, builders, conversions."""

from multiscale.graph.build import add_transcripts, graph_from_edges, read_edges
from multiscale.graph.cellphonedb import read_cellphonedb
from multiscale.graph.check import check
from multiscale.graph.convert import from_hetero, from_networkx, to_hetero, to_networkx
from multiscale.graph.edit import without_complexes
from multiscale.graph.files import read_graph, write_graph
from multiscale.graph.gene_sets import GeneSet, add_gene_sets, read_gmt
from multiscale.graph.graph import Graph, describe
from multiscale.graph.learned import with_priors
from multiscale.graph.ligand_receptor import graph_from_ligand_receptor
from multiscale.graph.moieties import conserved_moieties
from multiscale.graph.pairs import pair_complexes, pair_units
from multiscale.graph.rewire import rewire
from multiscale.graph.schema import NODE_TYPES, RELATIONS
from multiscale.graph.stoichiometry import (
    cycles,
    energy_matrix,
    formula,
    refuse_conditional_energies,
    stoichiometric_matrix,
)

__all__ = [
    "NODE_TYPES",
    "RELATIONS",
    "GeneSet",
    "Graph",
    "add_gene_sets",
    "add_transcripts",
    "check",
    "conserved_moieties",
    "cycles",
    "describe",
    "energy_matrix",
    "formula",
    "from_hetero",
    "from_networkx",
    "graph_from_edges",
    "graph_from_ligand_receptor",
    "pair_complexes",
    "pair_units",
    "read_cellphonedb",
    "read_edges",
    "read_gmt",
    "read_graph",
    "refuse_conditional_energies",
    "rewire",
    "stoichiometric_matrix",
    "to_hetero",
    "to_networkx",
    "with_priors",
    "without_complexes",
    "write_graph",
]
