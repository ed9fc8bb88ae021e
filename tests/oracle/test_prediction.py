"""Errors of predictions against Henderson's mixed-model equations written out, and against the predictor's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.inference.variance_parameters import covariance_root, estimate
from oracle.dense_inference import twin_of

Floats = npt.NDArray[np.float64]

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")

MODELS: Mapping[str, tuple[str, str, str | None]] = {
    "slopes": ("Reaction ~ Days + (Days | Subject)", "sleepstudy", None),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", None),
    "nested": ("strength ~ 1 + (1 | batch/cask)", "Pastes", None),
    "weights": ("incidence ~ period + (1 | herd)", "cbpp", "size"),
    "categories": ("score ~ Machine + (0 + Machine | Worker)", "Machines", None),
}


@cache
def fitted(name: str) -> tuple[mm.LmmResult, pd.DataFrame]:
    formula, data, weights = MODELS[name]
    frame = mm.load_dataset(data)
    return mm.lmer(formula, frame, weights=weights), frame


@dataclass(frozen=True)
class Henderson:
    """C of the mixed-model equations over (beta, b), all factors side by side, and the rows [x z] of the data."""

    fit: mm.LmmResult

    @property
    def rows(self) -> Floats:
        twin = twin_of(self.fit.state)
        return np.hstack([twin.X, *twin.Z_full])

    @property
    def inverse(self) -> Floats:
        twin, design = twin_of(self.fit.state), self.fit.state.design
        rows, p = self.rows, self.fit.state.n_fixed
        C = rows.T @ (twin.weights[:, None] * rows) / self.fit.scale
        start = p
        for factor in design.factors:
            precision = np.linalg.inv(self.fit.varcorr[factor.name].to_numpy())
            size = factor.n_levels * factor.n_effects
            C[start : start + size, start : start + size] += np.kron(np.eye(factor.n_levels), precision)
            start += size
        return np.linalg.inv(C)


@pytest.mark.parametrize("name", MODELS)
def test_known_levels(name: str) -> None:
    fit, _ = fitted(name)
    twin = Henderson(fit)
    expected = np.einsum("ij,jk,ik->i", twin.rows, twin.inverse, twin.rows)
    np.testing.assert_allclose(fit.predict(interval="confidence", ddf="normal")["se"] ** 2, expected, rtol=1e-8)
    weights = twin_of(fit.state).weights
    np.testing.assert_allclose(fit.hat_values(), expected * weights / fit.scale, rtol=1e-8)
    new = fit.predict(interval="prediction", ddf="normal")["se"] ** 2
    np.testing.assert_allclose(new, expected + fit.scale / weights, rtol=1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_population(name: str) -> None:
    """Var(x'beta^) of all rows together, of each alone, and as the covariance of the fixed effects has it."""
    fit, data = fitted(name)
    X = fit.state.design.X
    options = {"random_effects": "population", "interval": "confidence"}
    together = fit.predict(data, **options)
    np.testing.assert_allclose(together["se"] ** 2, np.einsum("ij,jk,ik->i", X, fit.cov_fe.to_numpy(), X), rtol=1e-9)
    for i in (0, fit.nobs - 1):
        np.testing.assert_allclose(fit.predict(data.iloc[[i]], **options).iloc[0], together.iloc[i], rtol=1e-7)


@pytest.mark.parametrize(("name", "used"), [("crossed", "sample"), ("nested", "batch")])
def test_chosen_terms_leave_the_others_out_or_count_their_variance(name: str, used: str) -> None:
    fit, data = fitted(name)
    twin = Henderson(fit)
    rows = twin.rows
    left_out, start = 0.0, fit.state.n_fixed
    for factor in fit.state.design.factors:
        if factor.name != used:
            rows[:, start : start + factor.n_levels] = 0.0
            left_out += fit.varcorr[factor.name].iloc[0, 0]
        start += factor.n_levels
    expected = np.einsum("ij,jk,ik->i", rows, twin.inverse, rows)
    options = {"random_effects": [used], "ddf": "normal"}
    of_data = fit.predict(data, interval="confidence", **options)
    np.testing.assert_allclose(of_data["se"] ** 2, expected, rtol=1e-8)
    only = fit.predict(data[[used]], interval="prediction", **options)
    np.testing.assert_allclose(only["se"] ** 2, expected + left_out + fit.scale, rtol=1e-8)


def test_partly_known_levels() -> None:
    fit, _ = fitted("nested")
    twin = Henderson(fit)
    row = np.zeros(len(twin.inverse))
    row[0] = 1.0
    row[1 + fit.n_groups["cask:batch"]] = 1.0  # the first batch, A
    new = fit.predict({"batch": ["A"], "cask": ["z"]}, new_levels="population", interval="confidence", ddf="normal")
    expected = row @ twin.inverse @ row + fit.varcorr["cask:batch"].iloc[0, 0]
    assert new["se"].iloc[0] ** 2 == pytest.approx(expected)


@pytest.mark.parametrize("name", MODELS)
def test_kackar_and_harville_by_the_weights_of_the_predictor(name: str) -> None:
    """tr(A B), A = da' V da with a the weights of y in x'beta^ + z'b^; da by differences of dense formulas."""
    fit, _ = fitted(name)
    twin, state = twin_of(fit.state), fit.state
    psi, root = estimate(state), covariance_root(state)

    def predictor(engine_theta: Floats) -> Floats:
        """M with M y the conditional fitted values."""
        V_inv = np.linalg.inv(twin.covariance(state.problem.model.to_user(engine_theta)))
        W_inv = np.diag(1 / twin.weights)
        VX = V_inv @ twin.X
        P = V_inv - VX @ np.linalg.solve(twin.X.T @ VX, VX.T)
        return np.eye(len(V_inv)) - W_inv @ P

    V = state.sigma**2 * twin.covariance(state.theta)
    expected = np.zeros(fit.nobs)
    for direction in root[:-1].T:  # sigma does not move the predictor
        h = 1e-4 * direction
        moved = (predictor(psi[:-1] + h) - predictor(psi[:-1] - h)) / 2e-4
        expected += np.einsum("ij,jk,ik->i", moved, V, moved)
    plain, corrected = (
        fit.predict(interval="confidence", ddf="normal", correction=how)["se"] ** 2 for how in (None, "kackar-harville")
    )
    np.testing.assert_allclose(corrected - plain, 2 * expected, rtol=1e-4, atol=1e-7 * fit.scale)


@pytest.mark.parametrize("name", ["crossed", "nested", "slopes"])
def test_the_corrected_population_mean_is_kenward_and_rogers_in_nearly_balanced_data(name: str) -> None:
    """Both estimate the same; observed and expected information agree where data are balanced."""
    fit, data = fitted(name)
    row = fit.predict(data.head(1), random_effects="population", interval="confidence", correction="kackar-harville")[
        "se"
    ].iloc[0]
    theirs = fit.contrast(fit.state.design.X[:1], ddf="kenward-roger")["std_error"].iloc[0]
    assert row == pytest.approx(theirs, rel=1e-6)
