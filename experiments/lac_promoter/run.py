"""How strongly do CRP and RNA polymerase hold each other on the lac promoter?

    python experiments/lac_promoter/run.py [--out DIR] [--overwrite] [--predict FILE]

Fits four states through several links between transcription and sorted bins to training rows, chooses a link
by validation rows, fits it again to both, and prints the tables of README.md. With `--predict` the mean bins
of the rows of FILE go to DIR/predictions.tsv, with 90 % intervals of what one read will show.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

import multiscale as ms
from multiscale.assays import Bins, information
from multiscale.config import Config, EncoderSection, read_config
from multiscale.data import Readings
from multiscale.errors import MultiscaleError
from multiscale.fit.molecular import MolecularResult
from multiscale.formats.tables import write_table
from multiscale.runs.folder import is_run
from multiscale.runs.molecular import run_molecular
from multiscale.runs.molecular_problem import molecular_problem
from multiscale.runs.prediction import load_run, predict

HERE = Path(__file__).parent
LINKS = {
    "logit": {"link": "logit", "lapse": False},
    "logit, depths": {"link": "logit", "lapse": False, "depth": True},
    "logit, lapses": {"link": "logit", "lapse": True},
    "multinomial": {"link": "multinomial", "lapse": False},
}
ADDITIVE = "one state, logit, lapses"
RISE = 1.353  # nats, half the 90 % quantile of χ²₁: where the interval of a profile ends


def changed(config: Config, name: str, *splits: str) -> Config:
    """The configuration with another link, fitted to these splits; all mutations add up for ADDITIVE."""
    section, encoders, graph = config.data.readings["sorting"], config.encoders, config.graph
    options = section.model_dump() | LINKS.get(name, {}) | {"fitted": list(splits)}
    if name == ADDITIVE:
        graph, one = "folding", {"molecule": "protein", "terms": ["fold"]}
        options |= {"species": "folded", "of": "protein"}
        options["sequence"] = [{**section.sequence[0].model_dump(), "molecule": "protein"}]
        encoders = {k: EncoderSection.model_validate(v.model_dump() | one) for k, v in encoders.items()}
    data = config.data.model_copy(update={"readings": {"sorting": type(section).model_validate(options)}})
    return config.model_copy(update={"data": data, "encoders": encoders, "graph": graph})


def compared(config: Config, name: str, folder: Path, overwrite: bool) -> Mapping[str, object]:
    """Fit a link to training rows, or take the saved fit, and score it on the other rows."""
    asked = molecular_problem(changed(config, name, "training"))
    if overwrite or not folder.exists():
        ms.fit(asked.problem, **config.fit_options).save(folder, overwrite=overwrite)
    result = MolecularResult.load(folder, asked.problem)
    validation, test = (judged(result, asked.rest["sorting"].where(k)) for k in ("validation", "test"))
    scores = {"validation, nats/read": validation["nats"], "test, nats/read": test["nats"]}
    scores |= {"test, bits/read": test["bits"], "test, R² of mean bins": test["r2"]}
    return {"link": name, **interval(result), **scores, "search": result.optimum.reasons[result.optimum.best]}


def judged(result: MolecularResult, rows: Readings, draws: int = 0) -> Mapping[str, float]:
    """Log likelihood and information per read, and scores of mean bins."""
    part = result.model.row_model(rows)
    arrays, readouts, values = part.inputs(part.scalars_of(result.flat))
    assert isinstance(part.instrument, Bins)
    shares, reads = part.instrument.log_shares(readouts, values)[0].detach(), arrays["counts"]
    nats = float((reads * shares).sum() / reads.sum())
    return result.evaluate(rows, draws) | {"nats": nats, "bits": float(information(shares, reads))}


def interval(result: MolecularResult) -> dict[str, Any]:
    """The energy of contact and its 90 % interval by Laplace's approximation, kcal/mol."""
    found = result.parameters.set_index("parameterId").reindex(["touch"]).iloc[0]
    return {"touch": found["nominalValue"], "lower": found["lower"], "upper": found["upper"]}


def profiled(result: MolecularResult) -> str:
    """Where the profile of the contact's energy rises by RISE to either side."""
    table = result.profile("touch", points=9)
    below, above = table.iloc[4::-1], table.iloc[4:]
    ends = [float(np.interp(RISE, side["rise"], side["value"])) for side in (below, above)]
    return f"{ends[0]:.2f} to {ends[1]:.2f} (profile)"


def report(config: Config, out: Path, overwrite: bool) -> None:
    """Compare the links, fit the best one to training and validation rows, and print the tables."""
    folders = {name: out / "links" / name.replace(", ", "_").replace(" ", "_") for name in [*LINKS, ADDITIVE]}
    table = pd.DataFrame([compared(config, *pair, overwrite) for pair in folders.items()])
    print(table.round(4).to_string(index=False), end="\n\n")
    four = table[table["touch"].notna()]
    best, folder = four["link"][four["validation, nats/read"].idxmax()], out / "best"
    final, resume = changed(config, best, "training", "validation"), is_run(folder) and not overwrite
    run_molecular(final, folder, resume=resume, overwrite=overwrite)
    result, asked = load_run(folder)
    found, scores = interval(result), judged(result, asked.rest["sorting"], draws=200)
    print(f"best by validation: {best}; fitted again to training and validation rows, kcal/mol:")
    print("touch {touch:.2f}, {lower:.2f} to {upper:.2f} (Laplace),".format(**found), profiled(result))
    print(f"range of the links: {four['lower'].min():.2f} to {four['upper'].max():.2f}")
    print("test rows:", ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    print(*result.undetermined(), sep="\n")


def main() -> None:
    """Fit and print, or predict by what was fitted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--predict", type=Path, metavar="FILE", help="rows in the layout of the fitted table")
    parser.add_argument("--out", type=Path, default=Path("runs/lac_promoter"), help="folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="fit again what is fitted already")
    try:
        run(parser.parse_args())
    except MultiscaleError as error:
        parser.exit(2, f"{error}\n")


def run(options: argparse.Namespace) -> None:
    """What the arguments say."""
    began = time.perf_counter()
    if options.overwrite or not options.predict or not (options.out / "best" / "metrics.json").exists():
        report(read_config(HERE / "config.toml"), options.out, options.overwrite)
    if options.predict:
        write_table(predict(options.out / "best", options.predict), options.out / "predictions.tsv")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
