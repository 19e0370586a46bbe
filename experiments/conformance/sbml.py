"""Run a zip of cases of the SBML Test Suite and count what passes, what is wrong and what is refused.

Usage: python experiments/conformance/sbml.py ZIP [--json] [--out DIR] [--cases 00001 00002] [--workers 2]

A case is a folder with model.xml, settings.txt, results.csv and tags.txt. It passes if every cell of its
results agrees to its own tolerances: |ours − theirs| ≤ absolute + relative · |theirs|. It is refused if the
reader or the solver says what it cannot do; anything else is wrong.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd

from multiscale.equations import Equations, Parameter, symbol
from multiscale.errors import MultiscaleError
from multiscale.formats.sbml.read import read_equations
from multiscale.model.imported import simulate_equations

RTOL = 1e-9
SECONDS = 600.0  # of one case, after which it counts as refused
PASSED, WRONG, REFUSED = "passed", "wrong", "refused"


@dataclass(frozen=True)
class Verdict:
    """What became of a case."""

    case: str
    outcome: str
    reason: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """What a case asks for; `kinds`: a variable is read as amount, as concentration, or as its name says."""

    times: np.ndarray
    kinds: Mapping[str, bool | None]
    absolute: float
    relative: float


class Refusal(Exception):
    """The solver says that it has no result, and why."""


def read_pairs(path: Path) -> dict[str, str]:
    """Lines `key: value` of a file."""
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {key.strip(): value.strip() for key, found, value in lines if found}


def names(text: str) -> list[str]:
    """Names in a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def read_settings(path: Path) -> Settings:
    """Settings of a time course."""
    found = read_pairs(path)
    start, duration, steps = float(found["start"]), float(found["duration"]), int(found["steps"])
    amounts, concentrations = names(found.get("amount", "")), names(found.get("concentration", ""))
    kinds = {
        n: True if n in amounts else False if n in concentrations else None for n in names(found["variables"])
    }
    times = start + duration * np.arange(steps + 1) / steps
    return Settings(times, kinds, float(found["absolute"]), float(found["relative"]))


def read_results(path: Path) -> pd.DataFrame:
    """Table of numbers; the first column, the time, is the index: a variable may be called so too."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    header = [cell.strip() for cell in rows[0]]
    values = np.array([[float(cell) for cell in row[: len(header)]] for row in rows[1:]])
    return pd.DataFrame(values[:, 1:], index=pd.Index(values[:, 0], name=header[0]), columns=header[1:])


def read_tags(path: Path) -> tuple[tuple[str, ...], str]:
    """Features of a case, and what type of test it is."""
    found = read_pairs(path)
    features = {*names(found.get("componentTags", "")), *names(found.get("testTags", ""))}
    return tuple(sorted(features)), found.get("testType", "TimeCourse")


def simulate_case(folder: Path, settings: Settings) -> pd.DataFrame:
    """Simulate the model of a case; a row per time, a column per variable."""
    equations = read_equations(folder / "model.xml")
    sizes = [c.size for c in equations.compartments.values() if c.size]
    atol = 1e-6 * min(settings.absolute, 1e-3) * min(1.0, *sizes, 1.0)  # states are amounts, so by size
    table = simulate_equations(equations, settings.times, settings.kinds, rtol=RTOL, atol=atol)
    if not table.attrs["status"].solved:
        raise Refusal(f"{table.attrs['status'].text}: {table.attrs['message']}")
    return table.iloc[:, 1:].set_index(settings.times)


def differences(ours: pd.DataFrame, theirs: pd.DataFrame, settings: Settings) -> str:
    """The worst disagreement of two tables in words, '' if they agree."""
    if len(ours) != len(theirs):
        return f"has {len(theirs)} rows, we have {len(ours)}"
    worst, text = 1.0, ""
    for name in theirs.columns:
        if name not in ours:
            return f"`{name}` is no variable of the settings"
        a, b = ours[name].to_numpy(), theirs[name].to_numpy()
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(invalid="ignore"):
            excess = np.abs(a - b) / (settings.absolute + settings.relative * np.abs(b))
        excess = np.where(same, 0.0, np.where(np.isfinite(excess), excess, np.inf))
        row = int(np.argmax(excess))
        if excess[row] > worst:
            worst = float(excess[row])
            text = f"`{name}` at {theirs.index[row]:g}: {a[row]:.9g} in place of {b[row]:.9g}"
    return text


def judge(folder: Path, out: Path | None) -> Verdict:
    """Run one case."""
    tags: tuple[str, ...] = ()
    try:
        tags, kind = read_tags(folder / "tags.txt")
        if kind != "TimeCourse":
            return Verdict(folder.name, REFUSED, f"test type {kind}", tags)
        settings, theirs = read_settings(folder / "settings.txt"), read_results(folder / "results.csv")
        ours = simulate_case(folder, settings)
        if out is not None:
            write(ours, theirs, out / f"{folder.name}.csv")
        text = differences(ours, theirs, settings)
        return Verdict(folder.name, WRONG if text else PASSED, text, tags)
    except (MultiscaleError, Refusal) as error:
        return Verdict(folder.name, REFUSED, str(error).replace(f"{folder}/", ""), tags)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        return Verdict(folder.name, WRONG, f"{type(error).__name__}: {error} ({place})", tags)


def write(ours: pd.DataFrame, theirs: pd.DataFrame, path: Path) -> None:
    """Write what was simulated, in the columns of the case's results."""
    table = ours[[name for name in theirs.columns if name in ours]].rename_axis(str(theirs.index.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, float_format="%.17g", na_rep="NaN")


def folders_of(archive: ZipFile) -> dict[str, list[str]]:
    """Files of every case by its name, those in subfolders included."""
    found = sorted(name.rpartition("/")[0] for name in archive.namelist() if name.endswith("/settings.txt"))
    files = {folder: [n for n in archive.namelist() if n.startswith(f"{folder}/")] for folder in found}
    return {folder.rpartition("/")[2]: members for folder, members in files.items()}


def work(connection: Connection, archive: Path, members: Mapping[str, list[str]], out: Path | None) -> None:
    """Run the cases that come through a pipe until None comes."""
    with ZipFile(archive) as opened, tempfile.TemporaryDirectory() as scratch:
        while (case := connection.recv()) is not None:
            opened.extractall(scratch, members[case])
            first = next(name for name in members[case] if name.endswith("/settings.txt"))
            connection.send(judge(Path(scratch, first).parent, out))


class Worker:
    """A process that runs cases, one at a time, and can be stopped when it hangs."""

    def __init__(self, archive: Path, members: Mapping[str, list[str]], out: Path | None) -> None:
        self.arguments = (archive, members, out)
        self.begin()

    def begin(self) -> None:
        """Start the process."""
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, *self.arguments), daemon=True)
        self.process.start()
        theirs.close()
        self.case = ""

    def give(self, case: str) -> None:
        """Hand over a case."""
        self.case, self.deadline = case, time.monotonic() + SECONDS
        self.pipe.send(case)

    def take(self) -> Verdict | None:
        """Result of its case: None while there is none; a process that hangs or has died is replaced."""
        try:
            if self.pipe.poll():
                return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            return self.replace(WRONG, f"the process ended with {self.process.exitcode}")
        if time.monotonic() > self.deadline:
            return self.replace(REFUSED, f"no result after {SECONDS:g} s")
        return None

    def replace(self, outcome: str, reason: str) -> Verdict:
        """End the process and start another."""
        case = self.case
        self.process.kill()
        self.process.join()
        self.begin()
        return Verdict(case, outcome, reason)

    def end(self) -> None:
        """Let the process finish."""
        self.pipe.send(None)
        self.process.join()


def warm_up() -> None:
    """Compile what all cases share, which takes longer than any; processes read it from numba's cache."""
    x = Parameter(1.0, constant=False)
    simulate_equations(Equations(parameters={"x": x}, rates={"x": -symbol("x")}), [0.0, 1.0])


def run(
    archive: Path, cases: Sequence[str] = (), *, workers: int = 1, out: Path | None = None
) -> list[Verdict]:
    """Run cases of a zip; all if none are named."""
    with ZipFile(archive) as opened:
        members = folders_of(opened)
    unknown = [case for case in cases if case not in members]
    if unknown:
        raise SystemExit(f"{archive} has no case {unknown[0]}")
    waiting = list(reversed(cases or sorted(members)))
    warm_up()
    staff = [Worker(archive, members, out) for _ in range(min(workers, len(waiting)))]
    verdicts = sorted(distribute(staff, waiting), key=lambda verdict: verdict.case)
    for worker in staff:
        worker.end()
    return verdicts


def distribute(staff: Sequence[Worker], waiting: list[str]) -> Iterator[Verdict]:
    """Verdicts in the order in which they come."""
    busy = []
    while waiting or busy:
        for worker in staff:
            if worker not in busy and waiting:
                worker.give(waiting.pop())
                busy.append(worker)
        wait([worker.pipe for worker in busy], timeout=1.0)
        for worker in list(busy):
            verdict = worker.take()
            if verdict is not None:
                busy.remove(worker)
                yield verdict


def table_by_tag(verdicts: Sequence[Verdict]) -> str:
    """Counts of outcomes for every feature, as text."""
    counts: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        for tag in (*verdict.tags, "all"):
            counts.setdefault(tag, Counter())[verdict.outcome] += 1
    rows = [f"{'feature':32s} {PASSED:>7s} {WRONG:>7s} {REFUSED:>7s}"]
    for tag in sorted(counts, key=lambda tag: (tag == "all", tag)):
        rows.append(
            f"{tag:32s}" + "".join(f" {counts[tag][outcome]:7d}" for outcome in (PASSED, WRONG, REFUSED))
        )
    return "\n".join(rows)


def summary(verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Counts for other programs."""
    return {
        PASSED: sum(verdict.outcome == PASSED for verdict in verdicts),
        WRONG: [verdict.case for verdict in verdicts if verdict.outcome == WRONG],
        REFUSED: {verdict.case: verdict.reason for verdict in verdicts if verdict.outcome == REFUSED},
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zip", type=Path)
    parser.add_argument("--json", action="store_true", help="print counts and names as JSON")
    parser.add_argument("--out", type=Path, help="folder for <case>.csv with what was simulated")
    parser.add_argument("--cases", nargs="+", default=(), help="names of cases; all if left out")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args()
    verdicts = run(options.zip, options.cases, workers=options.workers, out=options.out)
    if options.json:
        print(json.dumps(summary(verdicts)))
        return
    print(table_by_tag(verdicts))
    for verdict in verdicts:
        if verdict.outcome == WRONG:
            print(f"wrong {verdict.case}: {verdict.reason}")
    for reason, count in Counter(v.reason for v in verdicts if v.outcome == REFUSED).most_common():
        print(f"refused {count}: {reason}")


if __name__ == "__main__":
    main()
