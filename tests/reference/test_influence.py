"""Leverage, Cook's distances and exact deletions against R: ``influence_reml`` of ``reference/lmm``."""

from __future__ import annotations

import numpy as np
import pytest

from reference.test_lmm import CASES, case

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")

NAMES = [name for name in CASES if case(name, "REML").file.get("influence_reml")]


@pytest.mark.parametrize("name", NAMES)
def test_hat_values_and_one_step_cook(name: str) -> None:
    theirs, fit = case(name, "REML").file["influence_reml"], case(name, "REML").fit
    np.testing.assert_allclose(fit.hat_values(), theirs["hatvalues"], rtol=1e-7)
    np.testing.assert_allclose(fit.cooks_distance(), theirs["cooks_distance_one_step"], rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_rows_left_out(name: str) -> None:
    theirs, fit = case(name, "REML").file["influence_reml"]["delete_row"], case(name, "REML").fit
    ours = fit.influence()
    se = fit.bse_fe.to_numpy()
    order = case(name, "REML").fixed
    assert not ours.failures
    difference = ours.fe_params.to_numpy()[:, order] - np.array(theirs["fixef"])
    assert np.abs(difference / se[order]).max() < 1e-5
    np.testing.assert_allclose(ours.variance_parameters["sigma"], theirs["sigma"], rtol=1e-6)
    np.testing.assert_allclose(ours.cooks_distance, theirs["cooks_distance"], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_levels_left_out(name: str) -> None:
    file, fit = case(name, "REML").file["influence_reml"], case(name, "REML").fit
    order = case(name, "REML").fixed
    for group, theirs in file["delete_group"].items():
        ours = fit.influence(by=group)
        labels = theirs["left_out"]
        np.testing.assert_allclose(ours.fe_params.loc[labels].to_numpy()[:, order], theirs["fixef"], rtol=1e-6)
        np.testing.assert_allclose(ours.cooks_distance.loc[labels], theirs["cooks_distance"], rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_one_step_is_the_deletion_at_fixed_theta(name: str) -> None:
    """Delete each row from V and X as dense matrices, theta held."""
    fit = case(name, "REML").fit
    design = fit.state.design
    V = np.diag(np.full(fit.nobs, fit.scale))
    for factor, covariance in zip(design.factors, (fit.varcorr[f.name] for f in design.factors), strict=True):
        Z = np.ones((fit.nobs, 1)) if factor.Z is None else factor.Z
        V += (factor.codes[:, None] == factor.codes) * (Z @ covariance.to_numpy() @ Z.T)
    ours = fit.influence(method="one-step")
    for i in (0, 7, fit.nobs - 1):
        rows = np.delete(np.arange(fit.nobs), i)
        X, y = design.X[rows], design.y[rows]
        VX = np.linalg.solve(V[np.ix_(rows, rows)], X)
        expected = np.linalg.solve(X.T @ VX, VX.T @ y)
        np.testing.assert_allclose(ours.fe_params.iloc[i], expected, rtol=1e-8)
