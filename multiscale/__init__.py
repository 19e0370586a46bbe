"""Differentiable biophysics on heterogeneous graphs: all measurements, one physical model.

Public names are loaded when they are first used, so that `import multiscale` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from multiscale.version import __version__

_HOMES = {
    "Assay": "multiscale.assays",
    "CellPriors": "multiscale.model.cells",
    "CellProblem": "multiscale.model.cells",
    "CellResult": "multiscale.fit",
    "Cells": "multiscale.data",
    "Communication": "multiscale.fit.communication",
    "Contexts": "multiscale.data",
    "Data": "multiscale.data",
    "DenseEnergy": "multiscale.encoders.dense",
    "Graph": "multiscale.graph",
    "GraphEncoder": "multiscale.encoders.graph",
    "Holdout": "multiscale.formats.variants",
    "Interventions": "multiscale.data",
    "Model": "multiscale.model",
    "MolecularProblem": "multiscale.model.molecular",
    "MolecularResult": "multiscale.fit",
    "MultiscaleError": "multiscale.errors",
    "PetabFit": "multiscale.fit.petab",
    "PetabObjective": "multiscale.fit.petab",
    "PetabProblem": "multiscale.formats.petab",
    "PetabSettings": "multiscale.fit.petab",
    "Priors": "multiscale.model",
    "Problem": "multiscale.model",
    "Readings": "multiscale.data",
    "Result": "multiscale.fit",
    "SequenceColumn": "multiscale.formats.variants",
    "Sequences": "multiscale.data",
    "Solver": "multiscale.solver.options",
    "Status": "multiscale.solver",
    "Trajectory": "multiscale.model.simulate",
    "add_gene_sets": "multiscale.graph",
    "communication": "multiscale.fit.communication",
    "equilibrium": "multiscale.solver",
    "fit": "multiscale.fit",
    "fit_petab": "multiscale.fit.petab",
    "from_anndata": "multiscale.data",
    "from_hetero": "multiscale.graph",
    "from_mudata": "multiscale.data",
    "from_networkx": "multiscale.graph",
    "graph_from_edges": "multiscale.graph",
    "graph_from_ligand_receptor": "multiscale.graph",
    "graph_from_model_design": "multiscale.formats.variants",
    "petab_from_graph": "multiscale.formats.petab",
    "read_cellphonedb": "multiscale.graph",
    "read_edges": "multiscale.graph",
    "read_gmt": "multiscale.graph",
    "read_graph": "multiscale.graph",
    "read_interventions": "multiscale.data",
    "read_measurements": "multiscale.data",
    "read_model_design": "multiscale.formats.variants",
    "read_petab": "multiscale.formats.petab",
    "read_readings": "multiscale.formats.variants",
    "read_sbml": "multiscale.formats.sbml",
    "rewire": "multiscale.graph",
    "simulate": "multiscale.model.simulate",
    "steady_state": "multiscale.solver",
    "time_course": "multiscale.solver",
    "with_priors": "multiscale.graph",
    "write_graph": "multiscale.graph",
    "write_petab": "multiscale.formats.petab",
    "write_sbml": "multiscale.formats.sbml",
}
_MODULES = {
    "assays": "multiscale.assays",
    "encoders": "multiscale.encoders",
    "pl": "multiscale.report.plots",
    "units": "multiscale.units",
}

__all__ = [
    "Assay",
    "CellPriors",
    "CellProblem",
    "CellResult",
    "Cells",
    "Communication",
    "Contexts",
    "Data",
    "DenseEnergy",
    "Graph",
    "GraphEncoder",
    "Holdout",
    "Interventions",
    "Model",
    "MolecularProblem",
    "MolecularResult",
    "MultiscaleError",
    "PetabFit",
    "PetabObjective",
    "PetabProblem",
    "PetabSettings",
    "Priors",
    "Problem",
    "Readings",
    "Result",
    "SequenceColumn",
    "Sequences",
    "Solver",
    "Status",
    "Trajectory",
    "__version__",
    "add_gene_sets",
    "assays",
    "communication",
    "encoders",
    "equilibrium",
    "fit",
    "fit_petab",
    "from_anndata",
    "from_hetero",
    "from_mudata",
    "from_networkx",
    "graph_from_edges",
    "graph_from_ligand_receptor",
    "graph_from_model_design",
    "petab_from_graph",
    "pl",
    "read_cellphonedb",
    "read_edges",
    "read_gmt",
    "read_graph",
    "read_interventions",
    "read_measurements",
    "read_model_design",
    "read_petab",
    "read_readings",
    "read_sbml",
    "rewire",
    "simulate",
    "steady_state",
    "time_course",
    "units",
    "with_priors",
    "write_graph",
    "write_petab",
    "write_sbml",
]

if TYPE_CHECKING:
    from multiscale import assays, encoders, units
    from multiscale.assays import Assay
    from multiscale.data import (
        Cells,
        Contexts,
        Data,
        Interventions,
        Readings,
        Sequences,
        from_anndata,
        from_mudata,
        read_interventions,
        read_measurements,
    )
    from multiscale.encoders.dense import DenseEnergy
    from multiscale.encoders.graph import GraphEncoder
    from multiscale.errors import MultiscaleError
    from multiscale.fit import CellResult, MolecularResult, Result, fit
    from multiscale.fit.communication import Communication, communication
    from multiscale.fit.petab import PetabFit, PetabObjective, PetabSettings, fit_petab
    from multiscale.formats.petab import PetabProblem, petab_from_graph, read_petab, write_petab
    from multiscale.formats.sbml import read_sbml, write_sbml
    from multiscale.formats.variants import (
        Holdout,
        SequenceColumn,
        graph_from_model_design,
        read_model_design,
        read_readings,
    )
    from multiscale.graph import (
        Graph,
        add_gene_sets,
        from_hetero,
        from_networkx,
        graph_from_edges,
        graph_from_ligand_receptor,
        read_cellphonedb,
        read_edges,
        read_gmt,
        read_graph,
        rewire,
        with_priors,
        write_graph,
    )
    from multiscale.model import Model, Priors, Problem
    from multiscale.model.cells import CellPriors, CellProblem
    from multiscale.model.molecular import MolecularProblem
    from multiscale.model.simulate import Trajectory, simulate
    from multiscale.report import plots as pl
    from multiscale.solver import Status, equilibrium, steady_state, time_course
    from multiscale.solver.options import Solver


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value  # a submodule of the same name must not shadow the public function
        return value
    raise AttributeError(f"module `multiscale` has no attribute `{name}`")


def __dir__() -> list[str]:
    return sorted(__all__)
