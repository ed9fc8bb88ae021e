"""The statsmodels spellings: the same ``mixedlm`` call on ours and on statsmodels, each in a process of its own.

python benchmarks/door.py [--timeout 300] [--out results/door.json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
Arguments = dict[str, Any]


def intercepts(scale: int = 1) -> tuple[pd.DataFrame, Arguments]:
    """125,000 groups of 4 rows, random intercept."""
    rng, n = np.random.default_rng(1), 125_000 * scale
    g = np.repeat(np.arange(n), 4)
    x = rng.normal(size=4 * n)
    return pd.DataFrame({"y": x + rng.normal(size=n)[g] + rng.normal(size=4 * n), "x": x, "g": g}), {"groups": "g"}


def slopes(scale: int = 1) -> tuple[pd.DataFrame, Arguments]:
    """10,000 groups of 5 rows, intercept and slope."""
    rng, n = np.random.default_rng(2), 10_000 * scale
    g = np.repeat(np.arange(n), 5)
    x, b = rng.normal(size=5 * n), rng.normal(size=(n, 2))
    y = x + b[g, 0] + 0.5 * b[g, 1] * x + rng.normal(size=5 * n)
    return pd.DataFrame({"y": y, "x": x, "g": g}), {"groups": "g", "re_formula": "~x"}


def crossed(scale: int = 1) -> tuple[pd.DataFrame, Arguments]:
    """5,000 rows, 600 + 400 crossed levels by vc_formula under one group."""
    rng, n = np.random.default_rng(3), 5000 * scale
    a, b, x = rng.integers(0, 600, n), rng.integers(0, 400, n), rng.normal(size=n)
    y = x + rng.normal(size=600)[a] + rng.normal(size=400)[b] + rng.normal(size=n)
    components = {"a": "0 + C(a)", "b": "0 + C(b)"}
    return pd.DataFrame({"y": y, "x": x, "a": a, "b": b, "all": 1}), {"groups": "all", "vc_formula": components}


def nested(scale: int = 1) -> tuple[pd.DataFrame, Arguments]:
    """4,000 rows, 800 classes in 200 schools, by vc_formula."""
    rng, n = np.random.default_rng(4), 200 * scale
    school = np.repeat(np.arange(n), 20)
    room = np.tile(np.repeat(np.arange(4), 5), n)
    x = rng.normal(size=20 * n)
    y = x + rng.normal(size=n)[school] + rng.normal(size=4 * n)[4 * school + room] + rng.normal(size=20 * n)
    return pd.DataFrame({"y": y, "x": x, "school": school, "room": room}), {
        "groups": "school",
        "re_formula": "1",
        "vc_formula": {"room": "0 + C(room)"},
    }


PROBLEMS: dict[str, Callable[..., tuple[pd.DataFrame, Arguments]]] = {
    "125,000 groups x 4 rows": intercepts,
    "10,000 groups with slopes": slopes,
    "crossed, 600 + 400 levels": crossed,
    "nested, three levels": nested,
}


def measure(package: str, problem: str, scale: int, out: mp.Queue[tuple[float, float, float]]) -> None:
    """Put seconds of one call, log-likelihood and MB added into the queue."""
    if package == "ours":
        from mixedmodels import mixedlm  # noqa: PLC0415
    else:
        from statsmodels.formula.api import mixedlm  # noqa: PLC0415
    warnings.simplefilter("ignore")
    data, arguments = PROBLEMS[problem](scale)
    mixedlm(
        "y ~ x",
        pd.DataFrame({"y": [1.0, 2, 4, 3, 7, 5], "x": [1.0, 5, 2, 4, 3, 6], "g": [1, 1, 2, 2, 3, 3]}),
        groups="g",
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    fit = mixedlm("y ~ x", data, **arguments).fit()
    seconds = time.perf_counter() - began
    out.put((seconds, float(fit.llf), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


def call(package: str, problem: str, timeout: float, scale: int = 1) -> tuple[float, float, float] | None:
    """Return the measurement, or None if it took too long or failed."""
    queue: mp.Queue[tuple[float, float, float]] = mp.Queue()
    process = mp.Process(target=measure, args=(package, problem, scale, queue))
    process.start()
    process.join(timeout)
    if process.is_alive():
        process.terminate()
        process.join()
        return None
    return queue.get() if process.exitcode == 0 else None


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "door.json")
    options = parser.parse_args()
    results = {}
    print("| problem | ours (s) | statsmodels (s) | ratio | llf ours - theirs | MB, MB of twice the rows |")
    print("| --- | --- | --- | --- | --- | --- |")
    for problem in PROBLEMS:
        ours, twice = (call("ours", problem, options.timeout, scale) for scale in (1, 2))
        theirs = call("statsmodels", problem, options.timeout)
        results[problem] = {"ours": ours, "ours_twice_the_rows": twice, "statsmodels": theirs}
        assert ours is not None
        assert twice is not None
        slow = f"{theirs[0]:.3g}" if theirs else f"> {options.timeout:.0f}"
        ratio = f"{theirs[0] / ours[0]:.0f}x" if theirs else f"> {options.timeout / ours[0]:.0f}x"
        gap = f"{ours[1] - theirs[1]:.2g}" if theirs else ""
        print(f"| {problem} | {ours[0]:.3g} | {slow} | {ratio} | {gap} | {ours[2]:.0f}, {twice[2]:.0f} |", flush=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    mp.set_start_method("spawn")
    main()
