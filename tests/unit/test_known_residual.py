"""A covariance of the residuals that is known: closed forms, other fits of the same model, files, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import linalg, sparse, stats

import mixedmodels as mm

Floats = npt.NDArray[np.float64]


def effects(n_studies: int = 12, seed: int = 3) -> tuple[pd.DataFrame, Floats]:
    """Return one to four effects a study, and the covariance of their errors."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, n_studies)
    blocks = [linalg.toeplitz(0.6 ** np.arange(m)) * np.outer(sd := rng.uniform(0.2, 0.6, m), sd) for m in sizes]
    V = linalg.block_diag(*blocks)
    study = np.repeat(np.arange(n_studies), sizes)
    x = rng.normal(size=len(study))
    y = 1 + 0.5 * x + rng.normal(scale=0.5, size=n_studies)[study] + np.linalg.cholesky(V) @ rng.normal(size=len(study))
    return pd.DataFrame({"y": y, "x": x, "study": study}), V


DATA, V = effects()


def fitted(data: object = DATA, V: object = V, formula: str = "y ~ x + (1 | study)", **options: Any) -> Any:
    return mm.lmer(formula, data, residual=V, **{"sigma": 1, **options})  # type: ignore[call-overload]


def dense(fit: Any, data: pd.DataFrame, V: Floats) -> tuple[Floats, Floats, Floats]:
    """Return X, the variance of the rows' studies and that of the responses."""
    X = np.column_stack([np.ones(len(data)), data["x"]])
    between = float(fit.varcorr["study"].iloc[0, 0]) * (data["study"].to_numpy()[:, None] == data["study"].to_numpy())
    return X, between, between + V


def test_a_diagonal_is_weights() -> None:
    v = np.diag(V)
    one = fitted(V=sparse.diags_array(v))
    two = mm.lmer("y ~ x + (1 | study)", DATA.assign(w=1 / v), weights="w", sigma=1)
    assert one.llf == pytest.approx(two.llf, rel=1e-12)
    np.testing.assert_allclose(one.coef_table("kenward-roger"), two.coef_table("kenward-roger"), rtol=1e-6)
    np.testing.assert_allclose(one.predict(conditional=True), two.predict(conditional=True), rtol=1e-7)


def test_without_sigma_it_is_generalized_least_squares() -> None:
    fit = mm.lmer("y ~ x", DATA, residual=V)
    root = np.linalg.cholesky(V)
    X = np.linalg.solve(root, np.column_stack([np.ones(len(DATA)), DATA["x"]]))
    y = np.linalg.solve(root, DATA["y"])
    beta, (rss,), *_ = np.linalg.lstsq(X, y, rcond=None)
    dof = len(y) - 2
    np.testing.assert_allclose(fit.fe_params, beta, rtol=1e-10)
    assert fit.sigma == pytest.approx(np.sqrt(rss / dof), rel=1e-8)
    np.testing.assert_allclose(fit.cov_fe, rss / dof * np.linalg.inv(X.T @ X), rtol=1e-7)
    np.testing.assert_allclose(fit.coef_table()["df"], dof, rtol=1e-6)
    assert "known covariance but for its scale" in str(fit.summary())


def test_without_parameters_tests_are_normal() -> None:
    table = fitted(formula="y ~ x").coef_table()
    np.testing.assert_allclose(table["p_value"], 2 * stats.norm.sf(np.abs(table["statistic"])), rtol=1e-10)


def test_density_errors_and_modes_are_those_of_dense_matrices() -> None:
    fit = fitted(reml=False)
    X, between, total = dense(fit, DATA, V)
    density = stats.multivariate_normal(X @ fit.fe_params.to_numpy(), total).logpdf(DATA["y"])
    assert fit.llf == pytest.approx(density, abs=1e-9)
    np.testing.assert_allclose(fit.cov_fe, np.linalg.inv(X.T @ np.linalg.solve(total, X)), rtol=1e-8)
    r = DATA["y"] - X @ fit.fe_params.to_numpy()
    known = between @ np.linalg.solve(total, r)
    new = DATA.assign(y=0.0)
    np.testing.assert_allclose(fit.predict(new, conditional=True), X @ fit.fe_params.to_numpy() + known, rtol=1e-8)
    of_errors = np.linalg.solve(np.linalg.cholesky(V), r - known)
    np.testing.assert_allclose(fit.residuals("normalized"), of_errors, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fit.residuals("pearson"), (r - known) / np.sqrt(np.diag(V)), rtol=1e-6, atol=1e-9)


def test_simulated_errors_have_the_covariance() -> None:
    drawn = fitted(formula="y ~ x").simulate(20_000, seed=1)
    z = (np.cov(drawn) - V) / np.sqrt((np.outer(np.diag(V), np.diag(V)) + V**2) / 20_000)
    assert np.abs(z).max() < 5


def test_where_effects_join_many_rows() -> None:
    data, V = effects(700, 4)
    data["lab"] = np.arange(len(data)) % 7
    data["y"] += np.linspace(-0.6, 0.6, 7)[data["lab"]]
    fit = fitted(data, sparse.csr_array(V), "y ~ x + (1 | study) + (1 | lab)", reml=False)
    assert len(data) > 1500
    X, _, total = dense(fit, data, V)
    total += float(fit.varcorr["lab"].iloc[0, 0]) * (data["lab"].to_numpy()[:, None] == data["lab"].to_numpy())
    density = stats.multivariate_normal(X @ fit.fe_params.to_numpy(), total).logpdf(data["y"])
    assert fit.llf == pytest.approx(density, rel=1e-9)


@pytest.mark.filterwarnings("ignore::mixedmodels.DroppedRowsWarning")
def test_rows_left_out_are_left_out_of_the_matrix() -> None:
    lost = [0, 7, 8]
    holes = V.copy()
    holes[lost] = holes[:, lost] = np.nan
    stay = np.setdiff1d(np.arange(len(DATA)), lost)
    fit = fitted(DATA.assign(x=DATA["x"].where(~DATA.index.isin(lost))), holes)
    assert fit.llf == pytest.approx(fitted(DATA.iloc[stay], V[np.ix_(stay, stay)]).llf, rel=1e-12)


def test_deletions_take_rows_of_the_matrix() -> None:
    fit = fitted()
    stay = DATA["study"].to_numpy() != 5
    without = fitted(DATA[stay], V[np.ix_(stay, stay)])
    np.testing.assert_allclose(fit.influence("study").fe_params.loc[5], without.fe_params, rtol=1e-6)


def test_files_and_updates(tmp_path: Path) -> None:
    fit = fitted()
    fit.save(tmp_path / "fit.mm")
    again = mm.load(tmp_path / "fit.mm")
    pd.testing.assert_series_equal(again.predict(conditional=True), fit.predict(conditional=True))
    smaller = again.update(". ~ . - x", reml=False)
    assert smaller.llf == pytest.approx(fitted(formula="y ~ 1 + (1 | study)", reml=False).llf, rel=1e-12)
    compared = mm.compare(smaller, fit.update(reml=False))
    assert compared["df"].iloc[1] == 1


def test_pages_and_summaries_say_it(tmp_path: Path) -> None:
    fit = fitted()
    assert str(fit.summary()).startswith("Linear mixed model with residuals of known covariance fitted by REML")
    fit.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "residual=V, sigma=1" in page
    assert "V and σ known" in page


def test_intervals_of_observations_are_refused() -> None:
    with pytest.raises(mm.InferenceError, match="needs the variance of the new observation's error"):
        fitted().predict(interval="prediction")


def with_value(value: float, *places: tuple[int, int]) -> Floats:
    out = V.copy()
    for place in places:
        out[place] = value
    return out


FIRST = int(np.flatnonzero(np.diff(DATA["study"]) == 0)[0])
"""The first of two rows of one study."""
BAD: dict[str, tuple[object, dict[str, object]]] = {
    r"shape \(5, 5\), and the data have": (V[:5, :5], {}),
    f"differ at row {FIRST}, column {FIRST + 1}": (with_value(0.0, (FIRST, FIRST + 1)), {}),
    f"not positive definite at rows {FIRST}, {FIRST + 1}": (
        with_value(9.0, (FIRST, FIRST + 1), (FIRST + 1, FIRST)),
        {},
    ),
    "the variance 0 at row 3": (with_value(0.0, (3, 3)), {}),
    "no number at row 3, column 3": (with_value(np.nan, (3, 3)), {}),
    "residual is 3, neither a text": (3, {}),
    r"residual is of shape \(2,\), neither a text": ([1.0, 2.0], {}),
    "residual is a list, neither a text .* could not": ([["a"]], {}),
    "the index of the data in another order": (pd.DataFrame(V).iloc[::-1, ::-1], {}),
    "another order in its columns": (pd.DataFrame(V).iloc[:, ::-1], {}),
    "and so does weights": (V, {"weights": np.ones(len(V))}),
    "and so does variance": (V, {"variance": "exp(x)"}),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_told(message: str) -> None:
    value, options = BAD[message]
    with pytest.raises(mm.DataError, match=message):
        fitted(V=value, **options)
