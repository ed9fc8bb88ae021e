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


PROBLEMS: dict[str, Callable[[], dict[str, float]]] = {"genes": genes}


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
