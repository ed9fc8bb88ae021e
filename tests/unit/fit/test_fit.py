"""From a problem to a state."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data_loader import load
from fixed_theta import reference_state, state_at
from mixedmodels.design.build import build_design
from mixedmodels.errors import DesignError, FitError
from mixedmodels.fit.control import Control
from mixedmodels.fit.fit import fit_identified, fit_problem
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.records import TRACE_COLUMNS
from mixedmodels.formula.parse import parse_formula


def sleep_design(formula: str = "Reaction ~ Days + (Days | Subject)"):
    return build_design(parse_formula(formula), load("sleepstudy"))


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("name", ["sleepstudy_slope", "penicillin_crossed", "cbpp_weights", "machines_noint"])
def test_state_holds_what_r_reports(name: str, method: str) -> None:
    state, theirs = reference_state(name, method)
    assert state.reml == (method == "REML")
    assert state.optimum.deviance == pytest.approx(theirs["minus2_loglik"], rel=0, abs=1e-8)
    np.testing.assert_allclose(state.beta, theirs["fixef"]["estimate"], rtol=1e-7)
    np.testing.assert_allclose(state.cov_beta, theirs["vcov_fixef"], rtol=1e-7)
    assert state.sigma == pytest.approx(theirs["sigma"], rel=1e-8)
    assert state.n_params == theirs["df"]
    for b, ranef in zip(state.b, theirs["ranef"], strict=True):
        np.testing.assert_allclose(b[:10], ranef["values"], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["cbpp_weights", "pastes_nested", "sleepstudy_slope"])
def test_fitted_values_are_those_of_r(name: str) -> None:
    state, theirs = reference_state(name)
    np.testing.assert_allclose(conditional_fitted(state)[:10], theirs["fitted_first10"], rtol=1e-8)
    assert conditional_fitted(state).sum() == pytest.approx(theirs["sums"]["fitted"], rel=1e-8)


def test_fitted_values_include_the_offset() -> None:
    plain = state_at(sleep_design(), [0.9, 0.1, 0.2])
    offset = state_at(sleep_design("Reaction ~ Days + offset(3 * Days) + (Days | Subject)"), [0.9, 0.1, 0.2])
    assert offset.beta[1] == pytest.approx(plain.beta[1] - 3)
    np.testing.assert_allclose(marginal_fitted(offset), marginal_fitted(plain))
    np.testing.assert_allclose(conditional_fitted(offset), conditional_fitted(plain))


def test_aliased_columns_leave_no_trace_in_the_fitted_values() -> None:
    kept = state_at(sleep_design("Reaction ~ Days + (1 | Subject)"), [1.2])
    aliased = state_at(sleep_design("Reaction ~ Days + I(2 * Days) + (1 | Subject)"), [1.2])
    assert aliased.fixed_names == kept.fixed_names
    assert aliased.kept == (0, 1)
    np.testing.assert_allclose(marginal_fitted(aliased), marginal_fitted(kept))


def test_optimum_of_the_engine() -> None:
    state = fit_problem(Problem(sleep_design(), design_seconds=0.5), reml=True)
    _, theirs = reference_state("sleepstudy_slope")
    assert state.optimum.converged
    assert state.optimum.deviance == pytest.approx(theirs["minus2_loglik"], rel=0, abs=1e-6)
    assert state.optimum.seconds.keys() == {"design", "products", "optimizer", "solution"}
    assert state.optimum.seconds["design"] == 0.5
    assert state.control == Control()
    assert state.problem.design is state.design


def test_trace_has_one_row_an_iteration() -> None:
    optimum = fit_problem(Problem(sleep_design()), reml=True).optimum
    assert tuple(optimum.trace.columns) == TRACE_COLUMNS
    assert len(optimum.trace) == optimum.n_iterations > 0
    assert optimum.trace["deviance"].iloc[-1] == pytest.approx(optimum.deviance, abs=1e-4)


def test_start_is_checked() -> None:
    with pytest.raises(FitError, match="theta has shape 1; this model needs 3 numbers"):
        fit_problem(Problem(sleep_design()), reml=True, start=[1.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reml": "ML"}, "reml is 'ML'; it must be True for REML or False for maximum likelihood"),
        ({"reml": True, "control": {"n_starts": 3}}, r"control is \{'n_starts': 3\}; it must be a Control"),
    ],
)
def test_arguments_are_checked(arguments: dict, message: str) -> None:
    with pytest.raises(FitError, match=message):
        fit_problem(Problem(sleep_design()), **arguments)


def test_start_at_the_optimum_stays_there() -> None:
    _, theirs = reference_state("sleepstudy_slope")
    theta = theirs["theta"]["value"]
    state = fit_problem(Problem(sleep_design()), reml=True, start=theta)
    np.testing.assert_allclose(state.theta, theta, atol=1e-4)


def test_iteration_limit_is_reported_and_not_called_convergence() -> None:
    state = fit_problem(Problem(sleep_design()), reml=True, control=Control(max_iterations=1, n_starts=1))
    assert state.optimum.status == "iteration limit"
    assert not state.optimum.converged
    assert [finding.kind for finding in state.findings] == ["not_converged"]


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("Days + Subject + (1 | Subject)", r"'Intercept' of every level of 'Subject' .*\(columns Intercept, Subject\["),
        ("Days + Subject + (Days | Subject)", "the effect 'Intercept' of every level"),
        ("0 + Subject + (1 | Subject)", r"columns Subject\[308\]"),
        ("Subject:Days + (0 + Days | Subject)", "the effect 'Days' of every level"),
    ],
)
def test_variances_that_reml_cannot_see_are_refused(formula: str, message: str) -> None:
    problem = Problem(sleep_design(f"Reaction ~ {formula}"))
    n_theta = len(problem.design.theta_names)
    if n_theta == 1:  # the criterion has no slope
        assert problem.deviance([0.5]) == pytest.approx(problem.deviance([5.0]), abs=1e-8)
    with pytest.raises(DesignError, match=message):
        fit_identified(problem, reml=True)


def test_variances_that_the_fixed_part_explains_are_zero_by_ml() -> None:
    state = fit_identified(Problem(sleep_design("Reaction ~ Days + Subject + (1 | Subject)")), reml=False)
    assert state.theta.tolist() == [0.0]
    assert state.is_singular


@pytest.mark.parametrize("formula", ["Days + Subject + (0 + Days | Subject)", "Subject + (1 | Subject:Days)"])
def test_variances_beside_effects_of_the_same_levels_are_estimated(formula: str) -> None:
    data = pd.concat([load("sleepstudy")] * 2).assign(Reaction=np.random.default_rng(1).normal(size=360))
    design = build_design(parse_formula(f"Reaction ~ {formula}"), data)
    assert fit_identified(Problem(design), reml=True).optimum.converged


def test_a_factor_is_refused_after_a_look_at_all_rows() -> None:
    rng = np.random.default_rng(2)
    g = rng.integers(0, 3, 5000)
    nearly = np.where(np.arange(5000) == 4321, 0.5, g == 1)
    data = {"y": rng.normal(size=5000) + g, "a": g == 0, "b": nearly, "g": g}
    assert fit_identified(Problem(build_design(parse_formula("y ~ a + b + (1 | g)"), data)), reml=True).n_fixed == 3
    exact = build_design(parse_formula("y ~ a + b + (1 | g)"), {**data, "b": g == 1})
    with pytest.raises(DesignError, match="of every level of 'g'"):
        fit_identified(Problem(exact), reml=True)
