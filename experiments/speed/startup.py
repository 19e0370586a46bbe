"""How long `import multiscale` and `multiscale --help` take in a new process.

    python experiments/speed/startup.py [--json] [--runs 7]

Goals: 2 s for the import, 1 s for the help.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import multiscale": [sys.executable, "-c", "import multiscale"],
    "multiscale --help": [sys.executable, "-c", "from multiscale.cli import main; main()", "--help"],
}
GOALS = {"import multiscale": 2.0, "multiscale --help": 1.0}  # seconds


def seconds(command: list[str]) -> float:
    """Wall time of one run in a new process."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(runs: int) -> dict[str, dict[str, float]]:
    """Best and median time of every command; the first run fills the disk cache and is not counted."""
    found = {}
    for name, command in COMMANDS.items():
        times = [seconds(command) for _ in range(runs + 1)][1:]
        found[name] = {"best": min(times), "median": statistics.median(times)}
    return found


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print machine-readable JSON")
    parser.add_argument("--runs", type=int, default=7, help="counted runs per command")
    arguments = parser.parse_args()
    found = measure(arguments.runs)
    if arguments.json:
        print(json.dumps({"unit": "s", "runs": arguments.runs, "goals": GOALS, "times": found}, indent=2))
        return
    for name, times in found.items():
        goal = f"   goal {GOALS[name]:.1f} s" if name in GOALS else ""
        print(f"{name:<20} best {times['best']:6.3f} s   median {times['median']:6.3f} s{goal}")


if __name__ == "__main__":
    main()
