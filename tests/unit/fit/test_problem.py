"""A design with the engine's handle: checks, new responses, pickling."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from data_loader import load
from mixedmodels.design.build import build_design
from mixedmodels.errors import DataError, FitError
from mixedmodels.fit.problem import Problem
from mixedmodels.formula.parse import parse_formula

THETA = [0.9, 0.1, 0.2]


def sleep_problem(formula: str = "Reaction ~ Days + (Days | Subject)", **columns: object) -> Problem:
    return Problem(build_design(parse_formula(formula), load("sleepstudy").assign(**columns)))


def test_engine_is_built_when_needed_and_once() -> None:
    problem = sleep_problem()
    assert problem.seconds["products"] == 0
    problem.deviance(THETA)
    assert problem.seconds["products"] > 0
    assert problem.model is problem.model


def test_gradient_is_the_slope_of_the_deviance() -> None:
    problem, h = sleep_problem(), 1e-5
    for reml in (True, False):
        slopes = [
            (problem.deviance(THETA + step, reml) - problem.deviance(THETA - step, reml)) / (2 * h)
            for step in h * np.eye(3)
        ]
        np.testing.assert_allclose(problem.gradient(THETA, reml), slopes, rtol=1e-6)


def test_pickle_leaves_the_handle_behind() -> None:
    problem = sleep_problem()
    before = problem.deviance(THETA)
    after = pickle.loads(pickle.dumps(problem))
    assert after.products is None
    assert after.deviance(THETA) == before


def test_theta_of_wrong_length_names_what_is_needed() -> None:
    problem = sleep_problem()
    with pytest.raises(FitError, match=r"theta has shape 2; this model needs 3 numbers: Subject\.Intercept, "):
        problem.deviance([1.0, 0.0])
    with pytest.raises(FitError, match="theta has shape scalar"):
        problem.gradient(1.0)
    with pytest.raises(FitError, match="theta is not numeric"):
        problem.deviance("start")


def test_theta_must_be_finite() -> None:
    with pytest.raises(FitError, match=r"theta must be finite; Subject\.Days\.Intercept is not"):
        sleep_problem().deviance([1.0, np.nan, 1.0])


def test_new_response_equals_a_new_problem() -> None:
    y = load("sleepstudy")["Reaction"] ** 2 / 100
    replaced, anew = sleep_problem().with_response(y), sleep_problem(Reaction=y)
    assert replaced.deviance(THETA) == pytest.approx(anew.deviance(THETA), rel=1e-12)


@pytest.mark.parametrize(
    "formula", ["Reaction ~ Days + (Days | Subject)", "Reaction ~ Days + Subject + (Days | Subject)"]
)
def test_what_the_data_cannot_tell_does_not_depend_on_the_response(formula: str) -> None:
    old = sleep_problem(formula)
    known = old.identification
    y = np.random.default_rng(3).normal(size=old.design.n_obs) ** 3
    new, anew = old.with_response(y), Problem(sleep_problem(formula, Reaction=y).design)
    assert new.identification is known
    for mine, theirs in zip(
        (known.covariance, known.contrasts, *known.visible),
        (anew.identification.covariance, anew.identification.contrasts, *anew.identification.visible),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_new_response_is_net_of_the_offset() -> None:
    formula = "Reaction ~ Days + offset(10 * Days) + (Days | Subject)"
    y = load("sleepstudy")["Reaction"] + 5 * np.arange(180.0)
    replaced, anew = sleep_problem(formula).with_response(y), sleep_problem(formula, Reaction=y)
    assert replaced.deviance(THETA) == pytest.approx(anew.deviance(THETA), rel=1e-12)


def test_new_response_may_come_for_all_rows_or_for_those_used() -> None:
    data = load("sleepstudy")
    problem = sleep_problem(Days=data["Days"].astype(float).where(data.index != 7))
    y = data["Reaction"].to_numpy() + 1
    short, full = problem.with_response(np.delete(y, 7)), problem.with_response(y)
    np.testing.assert_array_equal(short.design.y, full.design.y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(5), r"shape \(5,\); the model was fitted to 180 of 180 rows"),
        (["a"] * 180, "The new response of Reaction is not numeric"),
        (np.where(np.arange(180) == 3, np.inf, 1.0), "element 3, counted from 0, is inf"),
    ],
)
def test_bad_responses_are_refused(y: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        sleep_problem().with_response(y)


def test_perfect_fit_is_refused() -> None:
    with pytest.raises(FitError, match=r"cannot be fitted to these data: .*Remove the columns that determine"):
        sleep_problem("Reaction ~ twice + (1 | Subject)", twice=2 * load("sleepstudy")["Reaction"]).deviance([1.0])


def test_response_that_the_fixed_effects_fit_is_refused_once() -> None:
    problem = sleep_problem()
    with pytest.raises(FitError) as caught:
        problem.with_response(3 + 2 * load("sleepstudy")["Days"])
    assert str(caught.value).count("cannot be fitted to these data") == 1


def test_threads_make_another_problem_only_if_they_differ() -> None:
    problem = sleep_problem()
    assert problem.with_threads(0) is problem
    assert problem.with_threads(1).n_threads == 1
    assert problem.with_threads(1).deviance(THETA) == pytest.approx(problem.deviance(THETA), rel=1e-12)
