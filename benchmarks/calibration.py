"""Size of tests and coverage of intervals with few groups, by simulation; slow, run by hand.

    python benchmarks/calibration.py [--tests 4000] [--intervals 1000] [--seed 1]

Each design is fitted to simulated responses. Tests: how often a true null is rejected at 5 %, with standard errors
of simulation. Intervals: how often 95 % intervals of fixed effects and standard deviations cover, by profile and by
parametric bootstrap (studentized and percentile, 999 replicates). Prints a Markdown table of each and writes a JSON
file.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import mixedmodels as mm

METHODS = ("satterthwaite", "kenward-roger", "CR2", "residual", "normal")
BOOTSTRAP = 999
KINDS = ("studentized", "percentile")


@dataclass(frozen=True)
class Study:
    """A design with known parameters: fixed effects zero but the intercept, and those named in ``truth``."""

    formula: str
    data: pd.DataFrame
    variances: dict[str, list[list[float]]]
    null: str
    truth: dict[str, float]


def trial(n_groups: int, sizes: list[int]) -> pd.DataFrame:
    """Return rows of groups, half of them treated, with a covariate that varies within groups."""
    group = np.repeat(np.arange(n_groups), np.resize(sizes, n_groups))
    within = np.concatenate([np.arange(n) for n in np.resize(sizes, n_groups)])
    return pd.DataFrame({"g": group, "treated": (group % 2).astype(float), "x": within - within.mean()})


STUDIES = {
    "8 groups, treatment between, balanced": Study(
        "y ~ treated + (1 | g)", trial(8, [5]), {"g": [[1.0]]}, "treated", {"sd_Intercept|g": 1.0, "sigma": 1.0}
    ),
    "10 groups, treatment between, 2 to 12 rows": Study(
        "y ~ treated + x + (1 | g)",
        trial(10, [2, 12, 5, 3, 8]),
        {"g": [[1.0]]},
        "treated",
        {"sd_Intercept|g": 1.0, "sigma": 1.0},
    ),
    "12 groups, random slopes, 4 to 9 rows": Study(
        "y ~ x + (x | g)",
        trial(12, [4, 9, 6]),
        {"g": [[1.0, 0.1], [0.1, 0.25]]},
        "x",
        {"sd_Intercept|g": 1.0, "sd_x|g": 0.5, "sigma": 1.0},
    ),
}


def responses(study: Study, n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield n responses with intercept one and no other fixed effect."""
    data = study.data
    S = np.array(study.variances["g"])
    Z = np.column_stack([np.ones(len(data)), data["x"]])[:, : len(S)]
    root = np.linalg.cholesky(S)
    for _ in range(n):
        b = rng.standard_normal((data["g"].nunique(), len(S))) @ root.T
        yield 1 + np.einsum("ij,ij->i", Z, b[data["g"]]) + rng.standard_normal(len(data))


def rejections(study: Study, n: int, rng: np.random.Generator) -> dict[str, float]:
    """Return the share of tests of the true null that reject at 5 %."""
    first = None
    counts: dict[str, int] = defaultdict(int)
    for y in responses(study, n, rng):
        fit = mm.lmer(study.formula, study.data.assign(y=y)) if first is None else first.refit(y)
        first = first or fit
        for method in METHODS:
            counts[method] += bool(fit.coef_table(method).loc[study.null, "p_value"] < 0.05)
    return {method: counts[method] / n for method in METHODS}


def coverage(study: Study, n: int, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Return the share of 95 % intervals that contain the truth, by method and parameter."""
    truth = {"Intercept": 1.0, study.null: 0.0, **study.truth}
    covered: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    failed = 0
    for i, y in enumerate(responses(study, n, rng)):
        fit = mm.lmer(study.formula, study.data.assign(y=y))
        try:
            bootstrap = fit.bootstrap(BOOTSTRAP, seed=i, progress=False)
            tables = {
                "profile": fit.conf_int(method="profile", which=list(truth)),
                **{kind: bootstrap.conf_int(kind) for kind in KINDS},
            }
        except mm.InferenceError:
            failed += 1
            continue
        for method, table in tables.items():
            lower, upper = table["lower"].fillna(0.0), table["upper"].fillna(np.inf)
            for name, value in truth.items():
                covered[method][name] += bool(lower[name] <= value <= upper[name])
    share = {method: {name: c / (n - failed) for name, c in counts.items()} for method, counts in covered.items()}
    return {**share, "failed": {"intervals": failed / n}}


def main() -> None:
    """Run the studies and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=4000)
    parser.add_argument("--intervals", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "calibration.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore", mm.MixedModelsWarning)
    results = {}
    for name, study in STUDIES.items():
        began = time.perf_counter()
        rng = np.random.default_rng(options.seed)
        results[name] = {
            "null": study.null,
            "rejections": rejections(study, options.tests, rng),
            "coverage": coverage(study, options.intervals, rng),
            "seconds": time.perf_counter() - began,
        }
        print(name, json.dumps(results[name]), flush=True)
    counts = {"tests": options.tests, "intervals": options.intervals, "seed": options.seed}
    options.out.write_text(json.dumps({**counts, "studies": results}, indent=1) + "\n", encoding="utf-8")
    print("\n".join(tables(results)))


def tables(results: dict[str, dict[str, dict]]) -> list[str]:
    """Return the Markdown lines of both tables, in per cent."""
    lines = [f"| design | {' | '.join(METHODS)} |", "| --- |" + " --- |" * len(METHODS)]
    for name, result in results.items():
        shares = " | ".join(f"{100 * result['rejections'][m]:.1f}" for m in METHODS)
        lines.append(f"| {name} | {shares} |")
    methods = ("profile", *KINDS)
    lines += ["", f"| design | parameter | {' | '.join(methods)} |", "| --- |" + " --- |" * (1 + len(methods))]
    for name, result in results.items():
        for parameter in result["coverage"]["profile"]:
            label = parameter.replace("|", r"\|")
            shares = " | ".join(f"{100 * result['coverage'][m][parameter]:.1f}" for m in methods)
            lines.append(f"| {name} | `{label}` | {shares} |")
    return lines


if __name__ == "__main__":
    main()
