"""The command `multiscale`: thin wrappers around public functions; imports happen inside the commands.

A user's mistake is one line on standard error and exit code 2; results go to standard output.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from multiscale.config import Config
from multiscale.errors import ConfigError, GraphError, MultiscaleError
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

EXPORTS = "graphml, cx2, sif, sbml, xml (SBML), tsv (parameters), cyjs, safetensors (HeteroData), h5ad, h5mu"
DEMO = "pbmc_complexes/config.toml"

Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Out = Annotated[Path, typer.Option("--out", help="Output folder.")]
Run = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
Rewirings = Annotated[
    int | None,
    typer.Option(
        "--controls", min=0, help="Number of rewired graphs (default: as in CONFIG), also for a finished run."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=0, help="Processes for the controls; 0 = one per core (default: as in CONFIG)."
    ),
]


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
    config: Annotated[
        Path | None, typer.Argument(help="TOML file of the fit; with --resume also the folder of a run.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Output folder.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped, or add controls to it.")
    ] = False,
    controls: Rewirings = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fit all measurements jointly, of cells or of molecules, and write tables and report."""
    toml, folder = _toml_and_folder(config, out, resume)
    _run(toml, folder, controls, workers, resume, overwrite, as_json)


def _toml_and_folder(config: Path | None, out: Path | None, resume: bool) -> tuple[Path | None, Path]:
    """Tell the TOML file of a fit from the folder of a run, whose settings are in it."""
    if config is not None and not config.is_dir():
        if out is None:
            raise ConfigError("`--out` is missing; give the folder to write.")
        return config, out
    folder = config or out
    if folder is None or not resume:
        where = f"{folder}: is a folder" if config else "CONFIG is missing"
        raise ConfigError(f"{where}; give the TOML file of a fit, or a run's folder with --resume.")
    if out not in (None, folder):
        raise ConfigError(f"`--out` = {out} is not the run to go on with, {folder}; leave it away.")
    return None, folder


@app.command()
def demo(
    out: Out = Path("runs/demo"),
    controls: Annotated[int, typer.Option("--controls", min=0, help="Number of rewired graphs.")] = 10,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fit the complexes of blood cells to transcripts, proteomes and affinities that ship with multiscale."""
    from multiscale.content import find

    _run(find("experiments", DEMO), out, controls, None, False, overwrite, as_json)


class _Echo(logging.Handler):
    """Shows what the library logs (what matched, how fits ended) on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        typer.echo(self.format(record), err=True)


def _listen(level: int) -> None:
    """Show what the library logs from a level on."""
    log = logging.getLogger("multiscale")
    log.setLevel(level)
    log.handlers = [_Echo()]


def _run(
    toml: Path | None,
    out: Path,
    controls: int | None,
    workers: int | None,
    resume: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Fit, and say where a fit that was interrupted can go on."""
    from multiscale.config import read_config

    _listen(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR)
    if toml is not None:
        config = read_config(toml)
    else:
        from multiscale.runs.folder import config_of

        config = config_of(out)
    config = _with_controls(config, controls, workers)
    try:
        summary = _runner(config)(config, out, resume=resume, overwrite=overwrite)
    except KeyboardInterrupt:
        _fail(_interrupted(out), 130)
        return
    if not summary:  # this process has only helped the one that writes
        return
    if as_json:
        from multiscale.formats.document import to_json

        typer.echo(to_json(summary))
        return
    typer.echo(summary["headline"])
    typer.echo(f"Report: {out / 'report.html'} ({summary['seconds']} s)")


def _runner(config: Config) -> Callable[..., dict[str, Any]]:
    """What fits single cells, groups of them, or readings of molecules."""
    if config.cells is not None:
        from multiscale.runs.cells import run_cells

        return run_cells
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes != "1":
        raise ConfigError(f"only fits of single cells share processes, and there are {processes}; start one.")
    if config.molecular:
        from multiscale.runs.molecular import run_molecular

        return run_molecular
    from multiscale.runs.run import run

    return run


def _with_controls(config: Config, rewirings: int | None, workers: int | None) -> Config:
    """Take numbers of the command line in place of those of the file."""
    if rewirings and config.holdout is None and config.cells is None:
        raise ConfigError("`--controls` needs a section [holdout] that says what is predicted; add one.")
    if workers is not None and (config.molecular or config.cells is not None):
        kind = "fits to readings have none of" if config.molecular else "fits of single cells do one by one"
        raise ConfigError(f"`--workers` shares controls among processes, which {kind}.")
    given = {"rewirings": rewirings, "workers": workers}
    stated = {name: value for name, value in given.items() if value is not None}
    return config.model_copy(update={"controls": config.controls.model_copy(update=stated)})


def _interrupted(out: Path) -> str:
    from multiscale.runs.folder import CHECKPOINT, is_run

    if not is_run(out):
        return "interrupted; nothing was written."
    return (
        f"interrupted; finished stages are kept in {out / CHECKPOINT}: `multiscale fit --resume {out}` goes "
        "on where it was."
    )


@app.command()
def predict(
    run: Run,
    file: Annotated[
        Path, typer.Argument(help="Rows in the layout of the fitted table; measurements are ignored.")
    ],
    readings: Annotated[
        str | None, typer.Option("--readings", help="Which readings the rows are, where the run has several.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Table to write (.tsv).")] = Path("predictions.tsv"),
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Predict rows of a table by a fit to readings, with 90 % intervals."""
    from multiscale.formats.document import to_json
    from multiscale.runs.prediction import predict_to_file

    _listen(logging.WARNING)
    summary = predict_to_file(run, file, out, readings=readings, overwrite=overwrite)
    typer.echo(to_json(summary) if as_json else f"{summary['rows']} rows: {out}")


@app.command()
def simulate(
    graph: Annotated[str, typer.Argument(help="Network with rates: a name, a folder, or SBML (.xml).")],
    out: Annotated[Path, typer.Option("--out", help="Table to write (.csv or .tsv).")],
    times: Annotated[
        str, typer.Option("--times", help="Seconds: start:stop:count, log:start:stop:count, or 0,1,5.")
    ] = "",
    steady: Annotated[bool, typer.Option("--steady", help="Steady state instead of a time course.")] = False,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of a parameter, or a start in µM; NAME=1,2,5 is a scan."),
    ] = None,
    initial: Annotated[
        list[str] | None, typer.Option("--initial", help="As --set, for species only, in µM.")
    ] = None,
    doses: Annotated[
        list[str] | None, typer.Option("--dose", help="NAME=VALUE@TIME: µM added at a time.")
    ] = None,
    clamps: Annotated[
        list[str] | None,
        typer.Option("--clamp", help="NAME=VALUE@TIME: µM at which a constant input is held from then on."),
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", help="K.")] = 310.15,
    rtol: Annotated[float, typer.Option("--rtol", help="Relative tolerance.")] = 1e-6,
    atol: Annotated[float, typer.Option("--atol", help="Absolute tolerance, µM.")] = 1e-9,
    plot: Annotated[Path | None, typer.Option("--plot", help="Picture to write (.png, .svg, .pdf).")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Simulate a network: concentrations over time, or at rest, with its nominal values."""
    from multiscale.formats.document import to_json
    from multiscale.runs import simulation

    request = simulation.Request(
        graph,
        times,
        values or [],
        initial or [],
        doses or [],
        clamps or [],
        steady,
        temperature,
        rtol,
        atol,
    )
    trajectory = simulation.run(request, out, plot, overwrite)
    failed = simulation.failure(trajectory)
    if as_json:
        typer.echo(to_json(simulation.summary(trajectory, out, plot)))
    else:
        typer.echo("\n".join(str(path) for path in (out, plot) if path is not None))
    if failed:
        _fail(f"{failed} What was solved is in {out}.")


@app.command()
def petab(
    problem: Annotated[Path, typer.Argument(help="PROBLEM.yaml of PEtab 1 or 2.")],
    gradient: Annotated[
        bool,
        typer.Option("--gradient", help="Also the gradient by the estimated parameters, on their scales."),
    ] = False,
    table: Annotated[
        Path | None,
        typer.Option("--simulate", help="Table to write: measurements with the simulated values (.tsv)."),
    ] = None,
    fit: Annotated[bool, typer.Option("--fit", help="Fit from many starts within the bounds.")] = False,
    starts: Annotated[int, typer.Option("--starts", min=1, help="With --fit: number of starts.")] = 64,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --fit: folder to write (default: runs/NAME).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="With --fit: of the starts.")] = 1,
    sampling: Annotated[
        str, typer.Option("--sampling", help="With --fit: `latin` hypercube or `sobol` sequence.")
    ] = "latin",
    profiles: Annotated[
        bool, typer.Option("--profiles/--no-profiles", help="With --fit: profile intervals.")
    ] = True,
    rtol: Annotated[
        float | None, typer.Option("--rtol", help="Relative tolerance (default: 1e-10; 1e-8 in fits).")
    ] = None,
    atol: Annotated[
        float | None,
        typer.Option("--atol", help="Absolute tolerance, units of the model (default: a hundredth of that)."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Evaluate or fit a PEtab problem: log-likelihood, gradient, simulations, many starts, intervals."""
    from multiscale.formats.document import to_json
    from multiscale.runs import petab as petab_runs

    _listen(logging.INFO)
    solver = {name: value for name, value in (("rtol", rtol), ("atol", atol)) if value is not None}
    if not fit:
        found = petab_runs.evaluate_petab(
            problem, gradient=gradient, simulate=table, overwrite=overwrite, **solver
        )
        typer.echo(to_json(found) if as_json else "\n".join(petab_runs.lines(found)))
        return
    if gradient or table is not None:
        raise ConfigError(
            "`--gradient` and `--simulate` evaluate nominal values; leave them away with --fit."
        )
    from multiscale.runs.petab_fit import fit_from_command

    folder = out or Path("runs") / problem.stem
    try:
        summary = fit_from_command(
            problem,
            folder,
            starts,
            seed,
            sampling,
            profiles=profiles,
            solver=solver,
            overwrite=overwrite,
        )
    except KeyboardInterrupt:
        _fail(f"interrupted; the same command goes on with the search that is in {folder}.", 130)
        return
    typer.echo(to_json(summary) if as_json else f"{summary['headline']}\n{folder}")


@app.command()
def report(
    run: Run,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write (default: RUN/report.html).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report page of a run anew, from its tables."""
    from multiscale.report import page
    from multiscale.runs.store import read_run

    path = out or run / "report.html"
    page.write(read_run(run), path)
    _say_files([path], as_json)


@app.command()
def export(
    run: Run,
    formats: Annotated[
        list[str], typer.Option("--format", help=f"Format, or several with commas between: {EXPORTS}.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write (default: RUN/export).")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write the network and the results of a run in other formats, without fitting again."""
    from multiscale.runs.store import export_run

    _listen(logging.WARNING)
    names = [name.strip().lower() for given in formats for name in given.split(",")]
    _say_files(export_run(run, names, out, overwrite), as_json)


def _say_files(files: list[Path], as_json: bool) -> None:
    names = [str(file) for file in files]
    typer.echo(json.dumps({"files": names}, indent=2) if as_json else "\n".join(names))


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
    from multiscale.formats import load

    try:
        content = {"problems": [], **load(name).counts()}
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
    from multiscale.formats import load
    from multiscale.graph import describe

    graph = load(name)
    typer.echo(json.dumps(graph.counts(), indent=2) if as_json else describe(graph))


@graph_app.command("convert")
def convert_graph(
    name: Annotated[str, typer.Argument(help="A name, a folder, an edge table (.tsv, .csv), SBML (.xml).")],
    out: Annotated[Path, typer.Argument(help="Folder, or a file whose suffix says the format.")],
    overwrite: Overwrite = False,
) -> None:
    """Convert a network: folder of tables, edge table, SBML, GraphML, CX2, SIF."""
    from multiscale import formats
    from multiscale.graph import write_graph

    graph = formats.load(name)
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
