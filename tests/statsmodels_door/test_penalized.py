"""Penalties beside held parameters: the gradient against differences, the optimum against dense algebra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize

import mixedmodels as mm
from data_loader import load
from mixedmodels import mixedlm
from mixedmodels.fit.objective import Objective
from mixedmodels.mixedlm.fitting.fit import hold
from mixedmodels.mixedlm.fitting.request import read_request

DIETOX = load("dietox").assign(Weight=lambda d: d["Weight"].astype(float), Time=lambda d: d["Time"].astype(float))
INTERCEPTS = mixedlm("Weight ~ Time", DIETOX.iloc[:150], groups="Pig")
SLOPES = mixedlm("Weight ~ Time", DIETOX.iloc[:150], groups="Pig", re_formula="~Time")
SAME_PIG = (SLOPES.groups[:, None] == SLOPES.groups).astype(float)


class Ridge:
    """weight sum b^2."""

    def __init__(self, weight: float = 1.0) -> None:
        self.alpha = weight

    def func(self, params: np.ndarray) -> float:
        return float(self.alpha * np.sum(params**2))

    def deriv(self, params: np.ndarray) -> np.ndarray:
        return 2 * self.alpha * params


class Huber:
    """sum of sqrt(1 + b^2) - 1."""

    def func(self, params: np.ndarray) -> float:
        return float(np.sum(np.sqrt(1 + params**2) - 1))

    def deriv(self, params: np.ndarray) -> np.ndarray:
        return params / np.sqrt(1 + params**2)


def dense_optimum(model: mm.MixedLM, penalty: Any, held: dict[int, float], reml: bool) -> tuple[float, np.ndarray]:
    """Return the largest penalised log-likelihood and its fixed effects, over all parameters at once."""
    y, X, Z = model.endog, model.exog, model.exog_re
    free = [j for j in range(X.shape[1]) if j not in held]
    lower = np.tril_indices(Z.shape[1])

    def fixed(at: np.ndarray) -> np.ndarray:
        b = np.zeros(X.shape[1])
        b[list(held)], b[free] = list(held.values()), at
        return b

    def value(at: np.ndarray) -> float:
        L = np.zeros((Z.shape[1], Z.shape[1]))
        L[lower] = at[: len(lower[0])]
        b = fixed(at[len(lower[0]) + 1 :])
        V = SAME_PIG * (Z @ L @ L.T @ Z.T) + np.exp(at[len(lower[0])]) * np.eye(len(y))
        r = y - X @ b
        twice = len(y) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r)
        if reml:
            A = X[:, free].T @ np.linalg.solve(V, X[:, free])
            twice += np.linalg.slogdet(A)[1] - len(free) * np.log(2 * np.pi)
        return float(0.5 * twice + penalty.func(b))

    start = np.r_[[5.0, 0.0, 0.5][: len(lower[0])], 2.0, np.linalg.lstsq(X[:, free], y, rcond=None)[0]]
    found = optimize.minimize(value, start, method="BFGS", options={"gtol": 1e-5})
    return -found.fun, fixed(found.x[len(lower[0]) + 1 :])


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("held", [{}, {"Time": 7.0}, {"Intercept": 10.0}], ids=["free", "slope", "intercept"])
@pytest.mark.parametrize("penalty", [Ridge(), Huber()], ids=["ridge", "huber"])
@pytest.mark.parametrize("model", [INTERCEPTS, SLOPES], ids=["intercepts", "slopes"])
def test_the_gradient_beside_held_effects_is_that_of_the_objective(
    model: mm.MixedLM, penalty: Any, held: dict[str, float], reml: bool
) -> None:
    holds = read_request(model.description, fixed=held).holds
    objective = Objective(hold(model.description, holds, reml), penalty, None)
    x = np.array([1.3, 0.2, 0.6])[: model.k_re2]
    differences = optimize.approx_fprime(x, objective.value, 1e-6)
    np.testing.assert_allclose(objective.gradient(x), differences, atol=3e-6)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("held", [{"Time": 7.0}, {"Intercept": 10.0}], ids=["slope", "intercept"])
@pytest.mark.parametrize("penalty", [Ridge(), Huber()], ids=["ridge", "huber"])
@pytest.mark.parametrize("model", [INTERCEPTS, SLOPES], ids=["intercepts", "slopes"])
def test_a_penalised_fit_beside_a_held_effect_is_the_dense_optimum(
    model: mm.MixedLM, penalty: Any, held: dict[str, float], reml: bool
) -> None:
    fit = model.fit(reml=reml, fe_pen=penalty, fixed=held)
    assert fit.converged
    llf, fixed = dense_optimum(model, penalty, {model.exog_names.index(n): v for n, v in held.items()}, reml)
    assert fit.llf - penalty.func(fit.fe_params.to_numpy()) == pytest.approx(llf, abs=1e-5)
    np.testing.assert_allclose(fit.fe_params, fixed, rtol=2e-3)


def test_a_mask_holds_what_a_name_holds_beside_a_penalty() -> None:
    start, mask = (mm.MixedLMParams.from_components(np.array(fe), np.ones((1, 1))) for fe in ([0.0, 7.0], [1.0, 0.0]))
    by_mask = INTERCEPTS.fit(fe_pen=Ridge(), free=mask, start_params=start)
    by_name = INTERCEPTS.fit(fe_pen=Ridge(), fixed={"Time": 7.0})
    np.testing.assert_allclose(by_mask.params, by_name.params, rtol=1e-6)


@pytest.mark.parametrize("penalty", [Ridge(), Huber()], ids=["ridge", "huber"])
def test_standard_errors_are_those_of_the_penalised_maximum(penalty: Any) -> None:
    """Curvature of the dense criterion in (fixed effects, variance, residual variance)."""
    fit = INTERCEPTS.fit(reml=False, fe_pen=penalty)
    y, X = INTERCEPTS.endog, INTERCEPTS.exog

    def value(at: np.ndarray) -> float:
        V, r = at[2] * SAME_PIG + at[3] * np.eye(len(y)), y - X @ at[:2]
        return float(-0.5 * (np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r)) - penalty.func(at[:2]))

    at = np.r_[fit.fe_params, fit.cov_re.to_numpy()[0, 0], fit.scale]
    steps = np.diag(1e-3 * at)
    H = [[value(at + a + b) - value(at + a - b) - value(at - a + b) + value(at - a - b) for b in steps] for a in steps]
    se = np.sqrt(np.diag(np.linalg.inv(-np.array(H) / (4 * np.outer(1e-3 * at, 1e-3 * at)))))
    np.testing.assert_allclose([*fit.bse_fe, *fit.bse_re], se[:3], rtol=1e-3)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weight", [1e-3, 1.0, 1e3, 1e4, 1e6])
def test_penalised_slopes_converge_at_any_weight(weight: float, reml: bool) -> None:
    model = mixedlm("Weight ~ Time", DIETOX, groups="Pig", re_formula="~Time")
    assert model.fit_regularized(method=Ridge(), alpha=weight, reml=reml).converged


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maxiter": 1}, "iteration limit after 1 iterations.*Raise maxiter.$"),
        ({"maxiter": 1, "method": "nm"}, "iteration limit after 2 iterations.*Raise maxiter, or leave out method"),
        ({"do_cg": False}, "do_cg=False returns the start"),
    ],
    ids=["limit", "named method", "start"],
)
def test_why_a_fit_stopped_early(options: dict[str, Any], message: str) -> None:
    with pytest.warns(mm.ConvergenceWarning, match=message):
        fit = SLOPES.fit(**options)
    assert not fit.converged
    assert "control=" not in fit.findings[0].message
