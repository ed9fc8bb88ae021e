"""How often 5 % tests of small trials reject where there is nothing: unstructured covariance, four visits, dropout.

    python benchmarks/trial_calibration.py [--simulations 1500] [--group 12]

Both arms have the same means. Who stays depends on the visit before (missing at random). The joint test is of arm and
its interaction with visits, four degrees of freedom; the single one is the difference at the last visit.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd

import mixedmodels as mm

VISITS = 4
METHODS = ("satterthwaite", "kenward-roger", "kenward-roger-linear")
ONE_THREAD = mm.Control(n_threads=1)


def simulated(n_group: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return one trial of two arms."""
    n = 2 * n_group
    sds = np.array([1.0, 1.2, 1.4, 1.6])
    lags = np.abs(np.subtract.outer(np.arange(VISITS), np.arange(VISITS)))
    y = rng.multivariate_normal(np.zeros(VISITS), 0.6**lags * np.outer(sds, sds), n)
    stays = rng.random((n, VISITS - 1)) > 1 / (1 + np.exp(2.2 - 0.5 * y[:, :-1]))
    y[:, 1:][np.cumprod(stays, axis=1) == 0] = np.nan
    frame = pd.DataFrame(
        {
            "y": y.ravel(),
            "visit": np.tile([f"v{k}" for k in range(VISITS)], n),
            "arm": np.repeat(np.repeat(["a", "b"], n_group), VISITS),
            "id": np.repeat(np.arange(n), VISITS),
        }
    )
    return frame.dropna()


def main() -> None:
    """Print shares of rejections with their standard errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--simulations", type=int, default=1500)
    parser.add_argument("--group", type=int, default=12, help="subjects of an arm")
    options = parser.parse_args()
    warnings.simplefilter("ignore", mm.MixedModelsWarning)
    rng = np.random.default_rng(1)
    joint: dict[str, list[float]] = {method: [] for method in METHODS}
    single: dict[str, list[float]] = {method: [] for method in METHODS}
    n_refused = 0
    for _ in range(options.simulations):
        try:
            fit = mm.mmrm(
                "y ~ 0 + visit + visit:arm + us(visit | id)", simulated(options.group, rng), control=ONE_THREAD
            )
        except mm.MixedModelsError:  # no subject sees two of the visits
            n_refused += 1
            continue
        names = [name for name in fit.fe_params.index if "arm" in name]
        for method in METHODS:
            table = fit.contrast([f"`{name}` = 0" for name in names], ddf=method, joint=True)
            joint[method].append(table.loc["joint", "p_value"])
            single[method].append(table["p_value"].iloc[len(names) - 1])
    rows = [
        (method, 100 * np.mean(np.array(joint[method]) < 0.05), 100 * np.mean(np.array(single[method]) < 0.05))
        for method in METHODS
    ]
    n = len(joint[METHODS[0]])
    error = 100 * np.sqrt(0.0475 / n)
    print(f"{options.group} subjects an arm, {n} trials ({n_refused} refused), standard error {error:.2f}")
    print(pd.DataFrame(rows, columns=["method", "joint test, %", "last visit, %"]).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
