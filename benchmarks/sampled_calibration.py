"""Is the stated error of a sampled criterion the true one? z of many seeds, at one theta.

``python benchmarks/sampled_calibration.py`` takes crossed factors of 200,000 rows, ratings of 1,000,000, and theta of
(0.5, 0.5). The exact criterion is the engine's. Aim: within 2 standard errors in 93 to 97 of 100 seeds.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from lookalikes import crossed, film_ratings

import mixedmodels as mm
from mixedmodels.fit.sampled import Sampling
from mixedmodels.fit.sampled_fit import SampledProblem

SEEDS = 100
THETA = np.array([0.5, 0.5])


def calibrate(name: str, formula: str, data: pd.DataFrame, n_seeds: int) -> None:
    """Print how often the criterion is within 2 standard errors, and the root mean square of z."""
    model = mm.LinearMixedModel(formula, data)
    truth, problem = model.deviance(THETA, reml=False), SampledProblem(model.design)
    z, errors = [], []
    for seed in range(n_seeds):
        at = problem.evaluate(THETA, False, Sampling(seed=seed))
        z.append((at.deviance - truth) / at.std_error)
        errors.append(at.std_error)
    inside, size = np.mean(np.abs(z) < 2), np.sqrt(np.mean(np.square(z)))
    print(f"{name}: {len(z)} seeds, error {np.mean(errors):.2g}; within 2: {inside:.0%}; rms z {size:.2f}", flush=True)


def main(n_seeds: int) -> None:
    """Calibrate both problems."""
    calibrate("crossed", "y ~ 1 + (1 | a) + (1 | b)", crossed(200_000, 20_000, 4_000), n_seeds)
    calibrate("ratings", "rating ~ 1 + (1 | user) + (1 | movie)", film_ratings(), n_seeds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS)
