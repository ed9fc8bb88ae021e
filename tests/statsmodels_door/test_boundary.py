"""Second derivatives at singular covariances: V is linear in them, so a dense likelihood goes on beyond the edge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from mixedmodels import MixedLM, MixedLMParams, VCSpec

Floats = npt.NDArray[np.float64]

LOWER = np.tril_indices(2)
HALVES = np.array([0, 0, 0, 1, 1])


def rows(seed: int) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(12), 5)
    x = rng.normal(size=len(g))
    X = np.column_stack([np.ones(len(g)), x])
    y = X @ [1.0, 2.0] + rng.normal(size=12)[g] * (1 + 0.5 * x) + rng.normal(size=len(g))
    return y, X, g


def dense(y: Floats, X: Floats, covariances: Callable[[Floats], Floats], reml: bool) -> Callable[[Floats], float]:
    """Return the log-likelihood of (fixed effects, packed ratios), the residual variance profiled out."""

    def value(at: Floats) -> float:
        beta, V = at[: X.shape[1]], np.eye(len(y)) + covariances(at[X.shape[1] :])
        inverse, r = np.linalg.inv(V), y - X @ beta
        m = len(y) - X.shape[1] * reml
        out = np.linalg.slogdet(V)[1] + m * (1 + np.log(2 * np.pi * r @ inverse @ r / m))
        return float(-0.5 * (out + reml * np.linalg.slogdet(X.T @ inverse @ X)[1]))

    return value


def second_differences(function: Callable[[Floats], float], at: Floats, h: float = 1e-4) -> Floats:
    steps = h * np.eye(len(at))
    return np.array(
        [
            [function(at + a + b) - function(at + a - b) - function(at - a + b) + function(at - a - b) for b in steps]
            for a in steps
        ]
    ) / (4 * h * h)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("root", [(0.0, 0.0), (0.7, 0.0), (0.6, -0.4)])
def test_hessian_at_a_singular_covariance(root: tuple[float, float], reml: bool) -> None:
    y, X, g = rows(1)

    def covariances(packed: Floats) -> Floats:
        S = np.zeros((2, 2))
        S[LOWER] = packed[:3]
        S = S + np.tril(S, -1).T
        half = g * 2 + np.tile(HALVES, 12)
        same = (g[:, None] == g) * (X @ S @ X.T)
        return np.asarray(same + packed[3] * (half[:, None] == half))

    parts = VCSpec(["half"], [[["a", "b"]] * 12], [[np.eye(2)[HALVES]] * 12])
    model = MixedLM(y, X, g, exog_re=X, exog_vc=parts)
    S = np.outer(root, root)
    params = MixedLMParams.from_components(np.array([1.1, 1.8]), cov_re=S, vcomp=np.zeros(1))
    at = np.concatenate([params.fe_params, S[LOWER], [0.0]])
    expected = second_differences(dense(y, X, covariances, reml), at)
    found, singular = model.hessian(params, reml=reml)
    assert singular
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("reml", [True, False])
def test_standard_errors_of_a_fit_without_variance(reml: bool) -> None:
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(12), 5)
    X = np.column_stack([np.ones(60), rng.normal(size=60)])
    y = X @ [1.0, 2.0] + rng.normal(size=60)
    fit = MixedLM(y, X, g).fit(reml=reml)
    assert fit.cov_re[0, 0] == 0
    same = (g[:, None] == g).astype(float)
    at = np.append(fit.fe_params, 0.0)
    H = second_differences(dense(y, X, lambda packed: packed[0] * same, reml), at)
    np.testing.assert_allclose(fit.bse, np.sqrt(np.diag(np.linalg.inv(-H))), rtol=1e-4)
