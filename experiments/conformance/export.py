"""Exported models in libRoadRunner beside the library's own trajectories.

    python experiments/conformance/export.py [GRAPH_OR_SBML ...] [--json]

Needs libroadrunner. Graphs with reactions and imported models are compared over time, at tight tolerances of
both programs; graphs of binding at rest, where the library's solver finds the equations at rest.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import roadrunner  # type: ignore[import-not-found]

from multiscale.equations.model import Equations
from multiscale.formats.sbml.elements import sbml_identifiers
from multiscale.formats.sbml.read import read_equations
from multiscale.formats.sbml.write import equations_to_sbml, graph_to_sbml
from multiscale.graph import read_graph
from multiscale.model.imported import simulate_equations
from multiscale.model.kinetics.equations import graph_equations

DEFAULT = ("mapk_cascade", "pbmc_surface")
TOTAL = 0.05  # µM of every molecule of a graph of binding that states no start
SCALE = 1e-9  # of the largest value; below it both programs only have what their absolute tolerances leave


def difference(equations: Equations, text: str, times: list[float]) -> float:
    """Largest difference of any species over time, relative to its value where that is not negligible."""
    runner = roadrunner.RoadRunner(text)
    runner.integrator.relative_tolerance, runner.integrator.absolute_tolerance = 1e-12, 1e-16
    runner.integrator.maximum_num_steps = 1_000_000
    names = sbml_identifiers(equations)
    species = list(equations.species)
    runner.timeCourseSelections = [
        names[s] if equations.species[s].only_amount else f"[{names[s]}]" for s in species
    ]
    theirs = np.array(runner.simulate(times=[0.0, *times]))[1:]
    ours = simulate_equations(equations, times, species, rtol=1e-11, atol=1e-18)[species].to_numpy()
    floor = SCALE * np.abs(ours).max()
    return float((np.abs(theirs - ours) / np.maximum(np.abs(ours), floor)).max())


def at_rest(equations: Equations, text: str) -> float:
    """The same where everything has settled, which libRoadRunner gets to by integrating."""
    runner = roadrunner.RoadRunner(text)
    runner.integrator.relative_tolerance, runner.integrator.absolute_tolerance = 1e-12, 1e-18
    runner.integrator.maximum_num_steps = 1_000_000
    names, species = sbml_identifiers(equations), list(equations.species)
    runner.timeCourseSelections = [f"[{names[s]}]" for s in species]
    ours = simulate_equations(equations, [math.inf], species, rtol=1e-11, atol=1e-18)[species].to_numpy()[0]
    slowest = 1e12  # s: placeholders make no complex slower than the strongest dissociates
    theirs = np.array(runner.simulate(times=[0.0, slowest]))[-1]
    floor = SCALE * np.abs(ours).max()
    return float((np.abs(theirs - ours) / np.maximum(np.abs(ours), floor)).max())


def compare(name: str) -> tuple[str, float]:
    """How a model was compared, and the largest relative difference."""
    if name.endswith((".xml", ".sbml")):
        equations = read_equations(Path(name))
        return "over time", difference(equations, equations_to_sbml(equations, Path(name).stem), [1.0, 10.0])
    graph = read_graph(name)
    if len(graph.nodes["reaction"]):
        return "over time", difference(graph_equations(graph), graph_to_sbml(graph), [1.0, 10.0, 100.0])
    starts = {s: TOTAL for s in graph.molecules if s in graph_equations(graph).species}
    return "at rest", at_rest(graph_equations(graph, initial=starts), graph_to_sbml(graph, initial=starts))


def main() -> None:
    """Compare models and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=DEFAULT)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = {name: compare(name) for name in chosen.models}
    if chosen.json:
        print(
            json.dumps({name: {"compared": how, "relative": error} for name, (how, error) in found.items()})
        )
        return
    for name, (how, error) in found.items():
        print(f"{name}: {how}, {error:.1e} relative")


if __name__ == "__main__":
    main()
