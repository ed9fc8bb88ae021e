"""Bootstrap limits of variance parameters: closed forms of balanced designs, and the dense twin of their scale."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedmodels as mm
from mixedmodels.inference.pivots import error_covariances


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_balanced_one_way_layout(level: float) -> None:
    """The mean square between batches over n estimates S = tau^2 + sigma^2 / n and is chi-squared with m - 1.

    At 0.95 the upper limit comes from a tail that lies among replicates of zero.
    """
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"))
    boot = fit.bootstrap(20_000, seed=1, progress=False)
    assert 0.025 < (boot.replicates["sd_Intercept|Batch"] == 0).mean() < 0.1
    found = boot.conf_int("studentized", level)
    tails = np.array([0.5 + level / 2, 0.5 - level / 2])
    tau2, sigma2 = boot.estimates["sd_Intercept|Batch"] ** 2, fit.scale
    expected = (tau2 + sigma2 / 5) * 5 / stats.chi2.ppf(tails, 5) - sigma2 / 5
    np.testing.assert_allclose(found.loc["sd_Intercept|Batch"], np.sqrt(np.maximum(expected, 0)), rtol=0.03)
    np.testing.assert_allclose(found.loc["sigma"], np.sqrt(sigma2 * 24 / stats.chi2.ppf(tails, 24)), rtol=0.01)


def test_correlation_of_balanced_slopes() -> None:
    """Fisher's z of a correlation of m pairs has about the standard deviation (m - 3)^-1/2."""
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    boot = fit.bootstrap(5000, seed=1, progress=False)
    N = fit.scale * error_covariances(fit.state)[0]
    Sigma = fit.varcorr["Subject"].to_numpy()
    S = Sigma + N
    z = np.arctanh(S[0, 1] / np.sqrt(S[0, 0] * S[1, 1])) + np.array([-1, 1]) * 1.96 / np.sqrt(18 - 3)
    expected = (np.tanh(z) * np.sqrt(S[0, 0] * S[1, 1]) - N[0, 1]) / np.sqrt(Sigma[0, 0] * Sigma[1, 1])
    found = boot.conf_int("studentized").loc["cor_Days.Intercept|Subject"]
    np.testing.assert_allclose(found, expected, atol=0.05)


def _data() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    g, h = np.repeat(np.arange(9), rng.integers(9, 17, 9)), rng.integers(0, 5, 200)
    n = len(g)
    data = pd.DataFrame({"g": g, "h": h[:n], "x": rng.normal(1, 1, n), "w": rng.uniform(0.5, 2, n)})
    b = rng.normal(size=(9, 2))
    return data.assign(y=b[g, 0] + b[g, 1] * data.x + rng.normal(size=5)[data.h] + rng.normal(size=n))


def _dense_twin(Z: np.ndarray, levels: np.ndarray, Sigma: np.ndarray, V: np.ndarray) -> np.ndarray:
    """N = (mean of Z_j'V^-1 Z_j)^-1 - Sigma by the dense V."""
    inverse = np.linalg.inv(V)
    own = [Z[levels == j].T @ inverse[np.ix_(levels == j, levels == j)] @ Z[levels == j] for j in np.unique(levels)]
    return np.linalg.inv(np.mean(own, axis=0)) - Sigma


@pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ x + (x || g)", "y ~ x + (x | g) + (1 | h)"])
def test_error_covariances_are_those_of_the_dense_twin(formula: str) -> None:
    data = _data()
    fit = mm.lmer(formula, data, weights="w")
    assert not fit.is_singular
    V = np.diag(1 / data.w.to_numpy())
    designs = {"g": np.column_stack([np.ones(len(data)), data.x]), "h": np.ones((len(data), 1))}
    covariances = {name: fit.varcorr[name].to_numpy() / fit.scale for name in fit.varcorr}
    for name, Sigma in covariances.items():
        same = data[name].to_numpy()[:, None] == data[name].to_numpy()
        V += same * (designs[name] @ Sigma @ designs[name].T)
    for name, found in zip(fit.varcorr, error_covariances(fit.state), strict=True):
        expected = _dense_twin(designs[name], data[name].to_numpy(), covariances[name], V)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_limits_follow_the_units() -> None:
    """Intervals of the slope's sd scale with the covariate, correlations stay."""
    data = _data()
    one, other = (
        mm.lmer("y ~ x + (x | g)", data.assign(x=data.x * scale)).bootstrap(300, seed=1, progress=False)
        for scale in (1.0, 1e3)
    )
    first, second = one.conf_int("studentized"), other.conf_int("studentized")
    np.testing.assert_allclose(first.loc["sd_x|g"], 1e3 * second.loc["sd_x|g"], rtol=1e-4)
    np.testing.assert_allclose(first.loc["cor_x.Intercept|g"], second.loc["cor_x.Intercept|g"], atol=1e-4)


def test_without_a_tail_there_is_no_upper_limit() -> None:
    """An sd that is zero in a third of the replicates is not bounded from above by them."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(6), 4)
    for _ in range(100):
        data = pd.DataFrame({"g": g, "y": 0.3 * rng.normal(size=6)[g] + rng.normal(size=24)})
        fit = mm.lmer("y ~ 1 + (1 | g)", data)
        boot = fit.bootstrap(300, seed=1, progress=False)
        zeros = (boot.replicates["sd_Intercept|g"] == 0).mean()
        if 0.26 < zeros < 0.45 and not fit.is_singular:
            break
    low, high = boot.conf_int("studentized").loc["sd_Intercept|g"]
    assert (low, high) == (0, np.inf)
