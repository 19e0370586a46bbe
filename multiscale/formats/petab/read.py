"""Reading a PEtab problem of any version."""

from __future__ import annotations

from pathlib import Path

from multiscale.errors import FormatError
from multiscale.formats.petab.description import read_yaml
from multiscale.formats.petab.problem import PetabProblem
from multiscale.formats.petab.version_1 import read_version_1
from multiscale.formats.petab.version_2 import read_version_2

__all__ = ["read_petab"]


def read_petab(path: str | Path) -> PetabProblem:
    """Read and check a parameter estimation problem in PEtab format, version 1 or 2.

    Args:
        path: of the YAML file that names the tables and the SBML model.

    Raises:
        FormatError: a file is missing or not readable, a table is wrong or contradicts another one, or the
            problem needs what is not supported; one error lists all problems with file, line and column.
    """
    path = Path(path)
    content = read_yaml(path)
    version = str(content.get("format_version", ""))
    major = version.split(".")[0]
    if major not in ("1", "2"):
        raise FormatError(f"{path}: `format_version` must be 1 or 2; got `{version}`.")
    return read_version_1(path, content) if major == "1" else read_version_2(path, content)
