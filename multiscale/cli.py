"""The command `multiscale`: thin wrappers around public functions; imports happen inside the commands.

A user's mistake is one line on standard error and exit code 2; results go to standard output.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from multiscale.errors import GraphError, MultiscaleError
from multiscale.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Explain measurements at all scales by one physical model.",
)
graph_app = typer.Typer(no_args_is_help=True, help="Check, show and convert networks.")
data_app = typer.Typer(no_args_is_help=True, help="List and verify data sets that ship with multiscale.")
app.add_typer(graph_app, name="graph")
app.add_typer(data_app, name="data")

DEMO = "pbmc_complexes/config.toml"

Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Out = Annotated[Path, typer.Option("--out", help="Output folder.")]


def main() -> None:
    """Run the command line; a mistake in the input ends it with one line and exit code 2."""
    try:
        app()
    except GraphError as error:
        first, *others = error.problems
        more = f" And {len(others)} more: `multiscale graph check` lists them." if others else ""
        _fail(f"{error.where}: {first}{more}")
    except MultiscaleError as error:
        _fail(" ".join(str(error).split("\n")))
    except KeyboardInterrupt:
        _fail("interrupted; nothing was written.", 130)


def _fail(message: str, code: int = 2) -> None:
    typer.echo(f"multiscale: {message}", err=True)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Explain measurements at all scales by one physical model."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def fit(
    config: Annotated[Path, typer.Argument(help="TOML file of the fit.")],
    out: Out,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fit all measurements jointly and write network, tables and report."""
    _run(config, out, overwrite, as_json)


@app.command()
def demo(out: Out = Path("runs/demo"), overwrite: Overwrite = False, as_json: Json = False) -> None:
    """Fit the complexes of blood cells to transcripts, proteomes and affinities that ship with multiscale."""
    from multiscale.content import find

    _run(find("experiments", DEMO), out, overwrite, as_json)


class _Echo(logging.Handler):
    """Shows what the library logs (what matched, how fits ended) on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        typer.echo(self.format(record), err=True)


def _run(path: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    from multiscale.config import read_config

    log = logging.getLogger("multiscale")
    log.setLevel(logging.INFO)
    log.handlers = [_Echo()]
    config = read_config(path)
    from multiscale.fit import run

    summary = run(config, out, overwrite=overwrite)
    if as_json:
        from multiscale.formats.document import to_json

        typer.echo(to_json(summary))
        return
    typer.echo(summary["headline"])
    typer.echo(f"Report: {out / 'report.html'} ({summary['seconds']} s)")


@app.command("config")
def show_schema(
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of the TOML of a fit.")
    ] = False,
) -> None:
    """Describe the TOML file of a fit."""
    from multiscale.config import Config

    content = Config.model_json_schema()
    if schema:
        typer.echo(json.dumps(content, indent=2))
        return
    for name, field in content["properties"].items():
        typer.echo(f"{name}: {field.get('description', field.get('type', 'section'))}")


@graph_app.command("check")
def check_graph(name: str, as_json: Json = False) -> None:
    """Read a network and list every problem found."""
    from multiscale.graph import read_graph

    try:
        content = {"problems": [], **read_graph(name).counts()}
    except GraphError as error:
        content = {"problems": error.problems}
        if not as_json:
            _fail(str(error))
    if as_json:
        typer.echo(json.dumps(content, indent=2))
        raise typer.Exit(2 if content["problems"] else 0)
    typer.echo(f"{name}: no problems.")


@graph_app.command("show")
def show_graph(name: str, as_json: Json = False) -> None:
    """Print what a network holds: nodes, relations, parameters, compartments."""
    from multiscale.graph import describe, read_graph

    graph = read_graph(name)
    typer.echo(json.dumps(graph.counts(), indent=2) if as_json else describe(graph))


@graph_app.command("convert")
def convert_graph(
    name: Annotated[str, typer.Argument(help="Network: a name, a folder, or an edge table (.tsv, .csv).")],
    out: Annotated[Path, typer.Argument(help="Folder, or a file whose suffix says the format.")],
    overwrite: Overwrite = False,
) -> None:
    """Convert a network: folder of tables, edge table, GraphML, CX2, SIF."""
    from multiscale import formats
    from multiscale.graph import read_edges, read_graph, write_graph

    is_table = any(Path(name).name.endswith(suffix) for suffix in (".tsv", ".csv", ".tsv.gz", ".csv.gz"))
    graph = read_edges(name) if is_table else read_graph(name)
    if not out.suffix:
        write_graph(graph, out, overwrite=overwrite)
        return
    if out.exists() and not overwrite:
        from multiscale.errors import OutputError

        raise OutputError(f"{out} exists; choose another name or add --overwrite.")
    formats.export(graph, out)


@data_app.command("list")
def list_data(as_json: Json = False) -> None:
    """List the data sets that ship with multiscale."""
    cards = {name: _card(name) for name in _content_names()}
    if as_json:
        typer.echo(json.dumps(cards, indent=2, default=str))
        return
    for name, card in cards.items():
        typer.echo(f"{name}: {card.get('title', '')}")


@data_app.command("verify")
def verify_data(name: str) -> None:
    """Compare the files of a data set with the checksums in its card."""
    import hashlib

    from multiscale.content import find
    from multiscale.errors import DataError

    folder = find("datasets", name)
    files = _card(name).get("files", {})
    for file, entry in files.items():
        if hashlib.sha256((folder / file).read_bytes()).hexdigest() != entry["sha256"]:
            raise DataError(f"{folder / file}: the checksum differs from card.toml; restore the file.")
    typer.echo(f"{name}: {len(files)} files as in card.toml.")


def _content_names() -> list[str]:
    from multiscale.content import names

    return names("datasets")


def _card(name: str) -> dict:
    import tomllib

    from multiscale.content import find

    return tomllib.loads((find("datasets", name) / "card.toml").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
