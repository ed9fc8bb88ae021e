"""Cluster-robust covariances against the papers' formulas in n x n matrices, and against ordinary least squares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats
from scipy.linalg import block_diag, fractional_matrix_power, sqrtm

import mixedmodels as mm
from mixedmodels.fit.records import FitState
from mixedmodels.inference import robust
from mixedmodels.inference.robust import KINDS, robust_covariance
from oracle.dense_inference import twin_of

Floats = npt.NDArray[np.float64]

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


def schools(seed: int, sizes: tuple[int, ...] = (2, 5, 3, 9, 4, 6, 7, 3)) -> pd.DataFrame:
    """Return pupils of two classes a school, uneven, with weights that differ within and between schools."""
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(len(sizes)), sizes)
    klass = 2 * school + (rng.random(len(school)) < 0.5)
    x = rng.normal(size=len(school))
    b = rng.normal(size=(len(sizes), 2))
    y = 1 + x + b[school, 0] + 0.7 * b[school, 1] * x + rng.normal(size=2 * len(sizes))[klass]
    y += rng.normal(size=len(school)) * (1 + 0.5 * (school % 2))
    frame = pd.DataFrame({"y": y, "x": x, "z": (school % 2).astype(float), "school": school, "klass": klass})
    frame["w"] = rng.uniform(0.5, 3, len(frame))
    frame["v"] = 1.0 + school % 3
    return frame


def adjustment(kind: str, V: Floats, R: Floats, H: Floats, m: int) -> Floats:
    if kind == "CR0":
        return np.eye(len(V))
    if kind == "CR1":
        return np.sqrt(m / (m - 1)) * np.eye(len(V))
    if kind == "CR3":
        return np.linalg.inv(np.eye(len(V)) - H)
    D = np.real(sqrtm(V))
    return D @ np.real(fractional_matrix_power(D @ R @ D, -0.5)) @ D


def dense(state: FitState, kind: str, clusters: npt.NDArray[np.int64], L: Floats) -> tuple[Floats, Floats, float]:
    """Return covariance, degrees of freedom of the rows, and denominator of their joint test, by the papers."""
    twin = twin_of(state)
    order = np.argsort(clusters, kind="stable")
    X, e = twin.X[order], (twin.y - twin.X @ state.beta)[order]
    V = state.sigma**2 * twin.covariance(state.theta)[np.ix_(order, order)]
    V_inv = np.linalg.inv(V)
    M = np.linalg.inv(X.T @ V_inv @ X)
    H = X @ M @ X.T @ V_inv
    parts = [np.flatnonzero(clusters[order] == c) for c in np.unique(clusters)]
    A = block_diag(
        *(
            adjustment(kind, V[np.ix_(i, i)], (V - X @ M @ X.T)[np.ix_(i, i)], H[np.ix_(i, i)], len(parts))
            for i in parts
        )
    )
    to_scores = M @ X.T @ V_inv @ A
    S = np.array([to_scores[:, i] @ e[i] for i in parts])
    residual = np.eye(len(e)) - H
    # t_js: the part of cluster j in row s, as a combination of all responses
    G = np.array([[(row @ to_scores[:, i]) @ residual[i] for i in parts] for row in L])
    P = np.einsum("sin,nk,tjk->stij", G, V, G)
    df = np.array([np.trace(P[s, s]) ** 2 / np.sum(P[s, s] ** 2) for s in range(len(L))])
    root = np.real(fractional_matrix_power(np.einsum("stii->st", P), -0.5))
    P = np.einsum("as,bt,stij->abij", root, root, P)
    q = len(L)
    total = sum(np.sum(P[s, s] * P[t, t]) + np.sum(P[s, t] * P[s, t].T) for s in range(q) for t in range(q))
    return S.T @ S, df, q * (q + 1) / total - q + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", [None, "w", "v"])
@pytest.mark.parametrize("formula", ["y ~ x + z + (x | school)", "y ~ x * z + (1 | school) + (1 | klass)"])
def test_papers_formulas(formula: str, weights: str | None, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = schools(1)
    fit = mm.lmer(formula, data, weights=weights)
    L = np.array([[0.0, 1.0, 0.0, 0.0], [1.0, 0.5, -1.0, 0.3]])[:, : fit.state.n_fixed]
    covariance, df, den_df = dense(fit.state, kind, data["school"].to_numpy(), L)
    for batch_values in (robust.BATCH_VALUES, 1):
        monkeypatch.setattr(robust, "BATCH_VALUES", batch_values)
        ours = robust_covariance(fit.state, kind, data["school"])
        np.testing.assert_allclose(ours.covariance, covariance, rtol=1e-7, atol=1e-9 * np.abs(covariance).max())
        np.testing.assert_allclose(ours.row_df(L), df, rtol=1e-8)
        np.testing.assert_allclose(ours.f_test(L, L @ fit.state.beta).den_df, den_df, rtol=1e-8)


def test_balanced_one_way_layout() -> None:
    """The mean of k group means: their variance over k, and k - 1 degrees of freedom."""
    dyestuff = mm.load_dataset("Dyestuff")
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", dyestuff)
    means = dyestuff.groupby("Batch", observed=True)["Yield"].mean()
    test = stats.ttest_1samp(means, 1500)
    row = fit.contrast("Intercept = 1500", ddf="CR2").iloc[0]
    np.testing.assert_allclose(row[["statistic", "df", "p_value"]], [test.statistic, 5, test.pvalue], rtol=1e-8)


def test_treatment_between_groups_is_welchs_test() -> None:
    """CR2 of a difference between unequally many groups of equal size: Welch's standard error of the group means."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(10), 6)
    data = pd.DataFrame({"g": g, "t": (g < 3).astype(float), "y": rng.normal(size=60) + rng.normal(size=10)[g]})
    means = data.groupby("g").mean()
    test = stats.ttest_ind(means["y"][means["t"] == 1], means["y"][means["t"] == 0], equal_var=False)
    table = mm.lmer("y ~ t + (1 | g)", data).coef_table("CR2")
    np.testing.assert_allclose(table.loc["t", "statistic"], test.statistic, rtol=1e-7)


def test_without_random_variance_it_is_that_of_least_squares() -> None:
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(8)
    data = schools(3).assign(y=lambda d: d["x"] + rng.normal(size=len(d)))
    data["y"] -= data.groupby("school")["y"].transform("mean")
    fit = mm.lmer("y ~ x + (1 | school)", data)
    assert fit.is_singular
    theirs = sm.OLS(data["y"], sm.add_constant(data[["x"]])).fit(
        cov_type="cluster", cov_kwds={"groups": data["school"], "use_correction": False}
    )
    np.testing.assert_allclose(fit.cov_fe_robust("CR0").covariance, theirs.cov_params(), rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_units_and_order_of_rows_do_not_matter(kind: str) -> None:
    data = schools(2)
    there = data.assign(x=1e6 * data["x"], y=1e3 * data["y"]).sample(frac=1, random_state=1)
    a, b = (
        mm.lmer("y ~ x + z + (1 | school)", d, weights="w").contrast(["x", "z"], ddf=kind, joint=True)
        for d in (data, there)
    )
    for column in ("df", "statistic", "p_value"):
        np.testing.assert_allclose(a[column], b[column], rtol=1e-5)


def test_a_cluster_with_its_own_column() -> None:
    """CR2 leaves out what one cluster determines alone; CR3 has no value there."""
    data = schools(5).assign(own=lambda d: (d["school"] == 3).astype(float))
    fit = mm.lmer("y ~ x + own + (1 | school)", data)
    assert np.isfinite(fit.coef_table("CR2").loc[["Intercept", "x"]]).all(axis=None)
    with pytest.raises(mm.InferenceError, match=r"CR3 cannot be computed: without one of the clusters \(school\)"):
        fit.cov_fe_robust("CR3")
