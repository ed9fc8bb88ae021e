"""Models with correlated residuals against nlme's gls and lme: CPU seconds of whole calls, both in one run.

    python benchmarks/structures.py            # or some problems by name

Behind them stand models that nlme has nothing to put against: crossed factors beside correlated residuals, a million
subjects, and 100,000 animals of ten generations, with the number of evaluations of the criterion.

The trial fev_data.csv, which is not part of the project, is among the problems where the environment variable
MIXEDMODELS_TRIAL_DATA names its folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import mixedmodels as mm

HERE = Path(__file__).parent
REPEATS = 5
ONE_THREAD = mm.Control(n_threads=1)


def trial(n_subjects: int, n_visits: int = 6) -> pd.DataFrame:
    """Return a trial of two arms without dropout, autoregressive residuals."""
    rng = np.random.default_rng(1)
    visit = np.arange(n_visits)
    within = 0.7 ** np.abs(np.subtract.outer(visit, visit))
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(n_subjects), n_visits),
            "v": np.tile(visit + 1, n_subjects),
            "visit": np.tile([f"week {k}" for k in visit + 1], n_subjects),
            "arm": np.repeat(np.where(np.arange(n_subjects) % 2, "active", "placebo"), n_visits),
            "y": rng.multivariate_normal(np.zeros(n_visits), within, n_subjects).ravel(),
        }
    )


def irregular(n_subjects: int, n_times: int = 6) -> pd.DataFrame:
    """Return subjects with times of their own, their residuals decaying with time."""
    rng = np.random.default_rng(2)
    t = np.cumsum(rng.exponential(1.0, (n_subjects, n_times)), axis=1)
    within = np.exp(-np.abs(t[:, :, None] - t[:, None, :]) / 2)
    residual = np.einsum("sij,sj->si", np.linalg.cholesky(within), rng.standard_normal((n_subjects, n_times)))
    x = rng.standard_normal(n_subjects * n_times)
    return pd.DataFrame(
        {"id": np.repeat(np.arange(n_subjects), n_times), "t": t.ravel(), "x": x, "y": x + residual.ravel()}
    )


def problems() -> dict[str, tuple[str, str | None, pd.DataFrame]]:
    """Return formula, residual structure beside it, and data of each problem."""
    found: dict[str, tuple[str, str | None, pd.DataFrame]] = {
        "us_200": ("y ~ arm * visit + us(visit | id)", None, trial(200)),
        "ar1_10000": ("y ~ arm * visit + ar1(visit | id)", None, trial(10_000)),
        "ar1_100000": ("y ~ arm * visit + ar1(visit | id)", None, trial(100_000)),
        "ri_ar1_10000": ("y ~ arm * visit + (1 | id)", "ar1(v | id)", trial(10_000)),
        "car1_1000": ("y ~ x", "car1(t | id)", irregular(1_000)),
        "car1_10000": ("y ~ x", "car1(t | id)", irregular(10_000)),
    }
    file = Path(os.environ.get("MIXEDMODELS_TRIAL_DATA", "")) / "fev_data.csv"
    if file.exists():
        fev = pd.read_csv(file).dropna(subset="FEV1")
        found["fev_us"] = ("FEV1 ~ RACE + SEX + ARMCD * AVISIT + us(AVISIT | USUBJID)", None, fev)
    return found


def crossed(n_subjects: int, n_items: int, n_trials: int = 6) -> pd.DataFrame:
    """Return subjects who meet items in trials, residuals an autoregression within subjects."""
    rng = np.random.default_rng(3)
    trials = trial(n_subjects, n_trials)
    item = rng.integers(0, n_items, len(trials))
    own = 0.8 * rng.standard_normal(n_subjects)[trials["id"]] + 0.5 * rng.standard_normal(n_items)[item]
    return trials.assign(item=item, x=rng.standard_normal(len(trials)), y=trials["y"] + own)


def animals(n: int = 100_000, n_generations: int = 10) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return records and pedigree: 1 sire in 50 animals of a generation, half of them dams."""
    rng, size = np.random.default_rng(5), n // n_generations
    sire, dam = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    value = rng.standard_normal(n)
    for first in range(size, n, size):
        parents = first - size + rng.permutation(size)
        own = slice(first, first + size)
        s, d = rng.choice(parents[: size // 50], size), rng.choice(parents[size // 50 : size // 50 + size // 2], size)
        sire[own], dam[own] = s + 1, d + 1
        value[own] = 0.5 * (value[s] + value[d]) + np.sqrt(0.5) * value[own]
    animal = np.arange(1, n + 1)
    records = pd.DataFrame({"animal": animal, "sex": np.where(animal % 2, "f", "m"), "y": value})
    records["y"] += 1.2 * rng.standard_normal(n)
    return records, pd.DataFrame({"animal": animal, "sire": sire, "dam": dam})


ALONE = ("crossed_2000", "crossed_10000", "us_1000000", "animals_100000")


def alone(name: str) -> tuple[str, int, float, int]:
    """Return name, rows, CPU seconds of a call and evaluations of the criterion, for a model that has no peer."""
    formula, arguments = "y ~ x + (1 | id) + (1 | item)", {"residual": "ar1(v | id)"}
    if name == "us_1000000":
        data, formula, arguments = trial(1_000_000), "y ~ arm * visit + us(visit | id)", {}
    elif name == "animals_100000":
        data, pedigree = animals()
        formula, arguments = "y ~ sex + (1 | animal)", {"relationship": {"animal": pedigree}}
    else:
        n_subjects = int(name.removeprefix("crossed_"))
        data = crossed(n_subjects, n_subjects // 10)
    door = mm.lmer if arguments else mm.mmrm
    began = time.process_time()
    fit = door(formula, data, control=ONE_THREAD, **arguments)
    seconds = time.process_time() - began
    return name, len(data), seconds, fit.state.optimum.n_evaluations


def ours(formula: str, residual: str | None, data: pd.DataFrame) -> tuple[float, float]:
    """Return CPU seconds of a call, the least of some, and -2 log-likelihood."""
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        if residual is None:
            fit = mm.mmrm(formula, data, control=ONE_THREAD)
        else:
            fit = mm.lmer(formula, data, residual=residual, control=ONE_THREAD)
        seconds.append(time.process_time() - began)
    return min(seconds), fit.deviance


def main() -> None:
    """Print a row a problem, those with a peer first."""
    warnings.simplefilter("ignore", mm.MixedModelsWarning)
    wanted = sys.argv[1:]
    found = {name: problem for name, problem in problems().items() if not wanted or name in wanted}
    if found:
        against_nlme(found)
    rows = [alone(name) for name in ALONE if not wanted or name in wanted]
    if rows:
        print(pd.DataFrame(rows, columns=["problem", "rows", "seconds", "evaluations"]).to_string(index=False))


def against_nlme(found: dict[str, tuple[str, str | None, pd.DataFrame]]) -> None:
    """Print a row a problem that nlme solves too."""
    with tempfile.TemporaryDirectory() as folder:
        for name, (*_, data) in found.items():
            data.to_csv(Path(folder) / f"{name}.csv", index=False)
        command = ["Rscript", str(HERE / "structures.R"), folder]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = {line.split()[0]: line.split()[1:] for line in printed.splitlines()}
    rows = []
    for name, (formula, residual, data) in found.items():
        seconds, deviance = ours(formula, residual, data)
        gls, gls_deviance = (float(text) for text in theirs[name])
        rows.append((name, len(data), seconds, gls, gls / seconds, deviance - gls_deviance))
    columns = ["problem", "rows", "seconds", "nlme", "ratio", "deviance above nlme"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False))


if __name__ == "__main__":
    main()
