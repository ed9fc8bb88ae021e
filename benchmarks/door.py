"""The statsmodels spellings: the same code on ours and on statsmodels.

Problems are one ``mixedlm`` call each, in a process of its own. Everyday tasks are short: both packages do them in
turn, in one process, and seconds are those of the processor, which what else the machine does changes little.

python benchmarks/door.py [--timeout 300] [--everyday] [--out results/door.json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
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


Task = Callable[[Any], Callable[[], object]]
"""Makes ready what is not timed, with the module of one package, and returns what is."""


def tiny() -> pd.DataFrame:
    """20 rows in 5 groups."""
    rng, g = np.random.default_rng(5), np.repeat(np.arange(5), 4)
    x = rng.normal(size=20)
    return pd.DataFrame({"y": x + rng.normal(size=5)[g] + rng.normal(size=20), "x": x, "g": g})


def thousands() -> pd.DataFrame:
    """2,000 groups of 5 rows."""
    rng, g = np.random.default_rng(6), np.repeat(np.arange(2000), 5)
    x = rng.normal(size=10_000)
    return pd.DataFrame({"y": x + rng.normal(size=2000)[g] + rng.normal(size=10_000), "x": x, "g": g})


def dietox() -> pd.DataFrame:
    """861 weights of 72 pigs."""
    return pd.read_csv(HERE.parent / "tests" / "data" / "dietox.csv")


def fit_of_tiny(package: Any) -> Callable[[], object]:
    """Return the fit by formula."""
    data = tiny()
    return lambda: package.mixedlm("y ~ x", data, groups="g").fit()


def fit_of_tiny_arrays(package: Any) -> Callable[[], object]:
    """Return the fit of arrays."""
    data = tiny()
    y, X, g = data["y"].to_numpy(), np.column_stack([np.ones(20), data["x"]]), data["g"].to_numpy()
    return lambda: package.MixedLM(y, X, g).fit()


def refit_of_tiny(package: Any) -> Callable[[], object]:
    """Return ``fit`` of a model that is there already."""
    return package.mixedlm("y ~ x", tiny(), groups="g").fit


def fit_of_dietox(package: Any) -> Callable[[], object]:
    """Return the fit with an intercept for each pig."""
    data = dietox()
    return lambda: package.mixedlm("Weight ~ Time", data, groups="Pig").fit()


def all_of_thousands(package: Any) -> Callable[[], object]:
    """Return fit, printed summary and random effects."""
    data = thousands()

    def run() -> object:
        fit = package.mixedlm("y ~ x", data, groups="g").fit()
        return str(fit.summary()), fit.random_effects

    return run


def tests_of_terms(package: Any) -> Callable[[], object]:
    """Return a likelihood-ratio test of two fits and Wald tests of the larger one's terms."""
    data = dietox()

    def run() -> object:
        small, large = (
            package.mixedlm(f"Weight ~ Time{more}", data, groups="Pig").fit(reml=False) for more in ("", " * C(Cu)")
        )
        return 2 * (large.llf - small.llf), large.wald_test_terms()

    return run


def loop_over_effects(name: str) -> Task:
    """Return the task to ask a fit's attribute again for each group."""

    def task(package: Any) -> Callable[[], object]:
        data = dietox()
        model = package.mixedlm("Weight ~ Time", data, groups="Pig")

        def run() -> object:
            fit = model.fit()
            return [getattr(fit, name)[label] for label in model.group_labels]

        return run

    return task


def covariances_of_thousands(package: Any) -> Callable[[], object]:
    """Return a fit's conditional covariances."""
    model = package.mixedlm("y ~ x", thousands(), groups="g")
    return lambda: model.fit().random_effects_cov


EVERYDAY: dict[str, tuple[Task, int]] = {
    "20 rows, by formula": (fit_of_tiny, 20),
    "20 rows, by arrays": (fit_of_tiny_arrays, 20),
    "20 rows, `fit` alone": (refit_of_tiny, 20),
    "dietox, intercept": (fit_of_dietox, 7),
    "2,000 groups x 5: fit, summary, random effects": (all_of_thousands, 1),
    "likelihood ratio and `wald_test_terms`": (tests_of_terms, 5),
    "`fit` and `random_effects[g]` for each g": (loop_over_effects("random_effects"), 3),
    "`fit` and `random_effects_cov[g]` for each g": (loop_over_effects("random_effects_cov"), 3),
    "`fit` and `random_effects_cov` of 2,000 groups": (covariances_of_thousands, 1),
}
"""What is done, and how often in a turn."""
TURNS = 3


def everyday() -> dict[str, Any]:
    """Return medians of processor seconds of both packages, which take turns, and print a table."""
    # the other measurements run in processes that load one of the packages only
    import statsmodels.api as sm  # noqa: PLC0415
    import statsmodels.formula.api as smf  # noqa: PLC0415

    import mixedmodels  # noqa: PLC0415

    warnings.simplefilter("ignore")
    theirs = argparse.Namespace(mixedlm=smf.mixedlm, MixedLM=sm.MixedLM)
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    print("| task | ours (s) | statsmodels (s) | ratio |")
    print("| --- | --- | --- | --- |")
    for name, (task, n) in EVERYDAY.items():
        runs = task(mixedmodels), task(theirs)
        turns = np.array([[[_seconds(run) for _ in range(n)] for run in runs] for _ in range(TURNS)])
        ours, others = np.median(turns, axis=(0, 2)).tolist()
        ratio = others / ours
        found[name] = {"ours": ours, "statsmodels": others}
        print(f"| {name} | {ours:.3g} | {others:.3g} | {ratio:.3g}x |", flush=True)
    return found


def _seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


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
    parser.add_argument(
        "--everyday", action="store_true", help="the everyday tasks alone; the problems stay as they are"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results" / "door.json")
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    results["everyday"] = everyday()
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    if options.everyday:
        return
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
