"""Large problems: seconds, CPU seconds and peak memory of each, in a process of its own.

``python benchmarks/scale.py`` runs all, ``python benchmarks/scale.py genes`` some. Aims stand beside the problems.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from lookalikes import film_ratings

import mixedmodels as mm


def genes() -> dict[str, float]:
    """Fit 20,000 responses on 400 rows of 100 groups: aims 2 s with `(1 | g)`, 10 s with `(x | g)`, on two cores."""
    rng = np.random.default_rng(3)
    groups, rows, responses = 100, 400, 20_000
    g = np.sort(np.concatenate([np.repeat(np.arange(groups), 2), rng.integers(groups, size=rows - 2 * groups)]))
    data = pd.DataFrame({"x": rng.standard_normal(rows), "f": rng.integers(0, 2, rows), "g": g})
    Y = rng.standard_normal((rows, responses))
    Y += rng.uniform(0, 1, responses) * rng.standard_normal((groups, responses))[g]
    seconds = {"intercepts": _seconds(lambda: mm.lmer_many("~ x + f + (1 | g)", data, Y, progress=False))}
    Y += rng.uniform(0, 1, responses) * rng.standard_normal((groups, responses))[g] * data["x"].to_numpy()[:, None]
    return {**seconds, "slopes": _seconds(lambda: mm.lmer_many("~ x + f + (x | g)", data, Y, progress=False))}


def absorb() -> dict[str, float]:
    """Fit 1,000,000 rows with 100,000 levels fixed or random and 500 random ones: aim 1.5 times the random fit."""
    rng = np.random.default_rng(5)
    n, n_firms, n_workers = 1_000_000, 100_000, 500
    firm = np.concatenate([np.arange(n_firms), rng.integers(n_firms, size=n - n_firms)])
    worker, x = rng.integers(n_workers, size=n), rng.standard_normal(n)
    y = 0.5 * x + 2 * rng.normal(size=n_firms)[firm] + 0.3 * rng.normal(size=n_workers)[worker] + rng.standard_normal(n)
    data = pd.DataFrame({"y": y, "x": x, "firm": firm, "worker": worker})
    return {
        "random": _seconds(lambda: mm.lmer("y ~ x + (1 | firm) + (1 | worker)", data)),
        "fixed": _seconds(lambda: mm.lmer("y ~ x + fe(firm) + (1 | worker)", data)),
        "fixed, ML": _seconds(lambda: mm.lmer("y ~ x + fe(firm) + (1 | worker)", data, reml=False)),
    }


def movielens() -> dict[str, float]:
    """Fit 1,000,000 ratings by sampling and exactly: aims theta to 1e-3 of its error, -2 log L to 2 of its own."""
    data, formula = film_ratings(), "rating ~ 1 + (1 | user) + (1 | movie)"
    fits = {}
    seconds = {}
    for method in ("sampled", "exact"):
        began = time.process_time()
        fits[method] = mm.lmer(formula, data, reml=False, method=method)
        seconds[f"{method}, cpu"] = round(time.process_time() - began, 2)
    error = next(finding.data["std_error"] for finding in fits["sampled"].findings if finding.kind == "sampled")
    spread = fits["exact"].variance_parameters()
    moved = fits["sampled"].variance_parameters()["estimate"] - spread["estimate"]
    return {
        **seconds,
        "difference of -2 log L": fits["sampled"].deviance - fits["exact"].deviance,
        "its stated error": error,
        "largest change of a standard deviation, over its error": float((moved / spread["std_error"]).abs().max()),
    }


PROBLEMS: dict[str, Callable[[], dict[str, float]]] = {"genes": genes, "absorb": absorb, "movielens": movielens}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return round(time.perf_counter() - began, 2)


def main(names: list[str]) -> None:
    """Run problems, each in a process of its own, or one in this process after ``--here``."""
    if names[:1] == ["--here"]:
        seconds = PROBLEMS[names[1]]()
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu, peak = round(used.ru_utime + used.ru_stime, 2), round(used.ru_maxrss / 1e6, 3)
        print(json.dumps({"problem": names[1], "seconds": seconds, "cpu seconds, data included": cpu, "peak GB": peak}))
        return
    for name in names or PROBLEMS:
        subprocess.run([sys.executable, __file__, "--here", name], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
