"""From the TOML file of a fit to the folder of its run, and on from there: resume, export, report."""

from multiscale.runs.problem import problem_from_config
from multiscale.runs.run import run
from multiscale.runs.store import export_run, read_run

__all__ = ["export_run", "problem_from_config", "read_run", "run"]
