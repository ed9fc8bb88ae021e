"""Models with correlated residuals against nlme's gls: CPU seconds of whole calls, both in one run.

    python benchmarks/structures.py

The trial fev_data.csv, which is not part of the project, is among the problems where the environment variable
MIXEDMODELS_TRIAL_DATA names its folder.
"""

from __future__ import annotations

import os
import subprocess
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


def problems() -> dict[str, tuple[str, pd.DataFrame]]:
    """Return formula and data of each problem."""
    found = {
        "us_200": ("y ~ arm * visit + us(visit | id)", trial(200)),
        "ar1_10000": ("y ~ arm * visit + ar1(visit | id)", trial(10_000)),
    }
    file = Path(os.environ.get("MIXEDMODELS_TRIAL_DATA", "")) / "fev_data.csv"
    if file.exists():
        fev = pd.read_csv(file).dropna(subset="FEV1")
        found["fev_us"] = ("FEV1 ~ RACE + SEX + ARMCD * AVISIT + us(AVISIT | USUBJID)", fev)
    return found


def ours(formula: str, data: pd.DataFrame) -> tuple[float, float]:
    """Return CPU seconds of a call, the least of some, and -2 log-likelihood."""
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        fit = mm.mmrm(formula, data, control=ONE_THREAD)
        seconds.append(time.process_time() - began)
    return min(seconds), fit.deviance


def main() -> None:
    """Print a row a problem."""
    warnings.simplefilter("ignore", mm.MixedModelsWarning)
    found = problems()
    with tempfile.TemporaryDirectory() as folder:
        for name, (_, data) in found.items():
            data.to_csv(Path(folder) / f"{name}.csv", index=False)
        command = ["Rscript", str(HERE / "structures.R"), folder]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = {line.split()[0]: line.split()[1:] for line in printed.splitlines()}
    rows = []
    for name, (formula, data) in found.items():
        seconds, deviance = ours(formula, data)
        gls, gls_deviance = (float(text) for text in theirs[name])
        rows.append((name, len(data), seconds, gls, gls / seconds, deviance - gls_deviance))
    columns = ["problem", "rows", "seconds", "gls", "ratio", "deviance above gls"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False))


if __name__ == "__main__":
    main()
