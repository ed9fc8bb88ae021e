"""The lowest criterion with a parameter of the residuals' covariance held, and the parameters' derivatives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import mixedmodels as mm
from data_loader import load
from mixedmodels.fit.marginal_held import minimize_held
from mixedmodels.inference.marginal_parameters import StructureMap

KINDS = ["us", "toeph", "ar1h", "cs", "adh"]


def visits_missing() -> pd.DataFrame:
    data = load("Orthodont")
    data["visit"] = data["age"].astype("category")
    return data[np.arange(len(data)) % 7 != 3]


def fitted(kind: str, reml: bool = True) -> mm.MmrmResult:
    where = "Sex / Subject" if kind == "toeph" else "Subject"
    return mm.mmrm(f"distance ~ age * Sex + {kind}(visit | {where})", visits_missing(), reml=reml)


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_have_the_derivatives_of_differences(kind: str) -> None:
    of = StructureMap(fitted(kind).state)
    k, h = of.state.n_covariance, 1e-4
    steps = h * np.eye(k)
    for parameter in of.parameters:
        surface = of.surface(parameter)

        def value(step: np.ndarray, surface=surface) -> float:  # type: ignore[no-untyped-def, type-arg]
            return float(surface(of.point(step))[0])

        _, gradient, hessian = surface(of.state.point)
        slope = [(value(e) - value(-e)) / (2 * h) for e in steps]
        np.testing.assert_allclose(gradient, slope, atol=1e-6)
        cross = [[value(e + f) - value(e - f) - value(f - e) + value(-e - f) for e in steps] for f in steps]
        np.testing.assert_allclose(hessian, np.array(cross) / (4 * h * h), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_leads_back_to_where_it_came_from(kind: str) -> None:
    of = StructureMap(fitted(kind).state)
    step = 0.4 * np.random.default_rng(2).normal(size=of.state.n_covariance)
    np.testing.assert_allclose(of.psi(of.point(step)), step, atol=1e-11)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_lowest_point_is_that_of_another_optimiser(kind: str, reml: bool) -> None:
    state = fitted(kind, reml).state
    of, problem = StructureMap(state), state.problem
    for parameter in (of.parameters[0], of.parameters[-1]):
        surface = of.surface(parameter)
        target = surface(state.point)[0] + 0.4
        found = minimize_held(problem, reml, state.point, surface, target)
        assert found is not None
        assert surface(found.point)[0] == pytest.approx(target, abs=1e-9)

        def criterion(step: np.ndarray) -> float:  # type: ignore[type-arg]
            value = problem.value(of.point(step), reml)
            return 1e9 if value is None else value

        other = minimize(
            criterion,
            of.psi(found.point) + 0.05,
            constraints={
                "type": "eq",
                "fun": lambda x, surface=surface, target=target: surface(of.point(x))[0] - target,
            },
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-13},
        )
        assert other.fun == pytest.approx(found.value, abs=1e-6)
        further = minimize_held(problem, reml, found.point, surface, target + 1e-4)
        assert further is not None
        assert (further.value - found.value) / 1e-4 == pytest.approx(found.slope, rel=1e-3)
