"""Times of what comes after a fit, beside the fit itself, on the benchmark problems of many rows; and of the import.

    python benchmarks/after.py [--problems growth,schools] [--cache .cache] [--out results/after.json]

Prints a Markdown table in seconds, the best of three calls each; every call forms its answer anew from the fit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from problems import PROBLEMS, cached_data, find_problem

import mixedmodels as mm

HERE = Path(__file__).parent
MANY_ROWS = ("growth", "movielens", "lexicon", "schools", "intercepts", "crossed", "districts")
REPEATS = 3
IMPORTS = {
    "import mixedmodels": "import mixedmodels",
    "import pandas": "import pandas",
    "import mixedmodels; mixedmodels.lmer": "import mixedmodels; mixedmodels.lmer",
}


def questions(fit: mm.LmmResult, data: pd.DataFrame) -> dict[str, Callable[[], object]]:
    """Return what is asked of a fit, by the heading of its column."""
    return {
        "fitted": lambda: fit.fittedvalues,
        "resid": lambda: fit.resid,
        "predict(data)": lambda: fit.predict(data),
        "ranef": lambda: fit.random_effects,
        "summary": lambda: str(fit.summary("normal")),
        "summary, Satterthwaite": lambda: str(fit.summary()),
    }


def fresh(fit: mm.LmmResult) -> mm.LmmResult:
    """Return the fit without anything kept from earlier questions."""
    for name in ("information", "covariance_derivatives"):
        fit.state.__dict__.pop(name, None)
    return fit


def seconds(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def after(name: str, cache: Path) -> dict[str, float]:
    """Return the seconds of the fit and of each question."""
    problem = find_problem(name)
    data = pd.read_parquet(cached_data(problem, cache)[0])
    times = {"fit": min(seconds(lambda: mm.lmer(problem.formula, data)) for _ in range(REPEATS))}
    fit = mm.lmer(problem.formula, data)
    for label, question in questions(fit, data).items():
        times[label] = min(seconds(question) for _ in range(REPEATS) if fresh(fit))
    return times


def imports() -> dict[str, float]:
    """Return the seconds of imports in new processes, without the start of Python."""
    clock = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    return {
        label: min(float(subprocess.check_output([sys.executable, "-c", clock.format(code)])) for _ in range(REPEATS))
        for label, code in IMPORTS.items()
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", default=",".join(p.name for p in PROBLEMS if p.name in MANY_ROWS))
    parser.add_argument("--cache", type=Path, default=HERE / ".cache")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "after.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore", mm.MixedModelsWarning)
    load = os.getloadavg()[0]
    started = imports()
    for label, value in started.items():
        print(f"{label}: {value:.3f} s")
    results = {}
    for name in options.problems.split(","):
        times = after(name, options.cache)
        if not results:
            print(f"| problem | {' | '.join(times)} |\n| --- |{' --- |' * len(times)}")
        print(f"| {name} | {' | '.join(f'{value:.3g}' for value in times.values())} |", flush=True)
        results[name] = times
    record = {"cores": os.cpu_count(), "load": load, "imports": started, "problems": results}
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
