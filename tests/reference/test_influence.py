"""Leverage, Cook's distances and exact deletions against R: ``influence_reml`` of ``reference/lmm``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mixedmodels as mm
from data_loader import load
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
    sds = ours.variance_parameters.filter(like="sd_").div(ours.variance_parameters["sigma"], axis=0)
    theta = np.array(theirs["theta"])
    if theta.shape[1] == 3:  # a correlated slope: its sd is the length of the second row of Lambda
        theta = np.column_stack([theta[:, 0], np.hypot(theta[:, 1], theta[:, 2])])
    np.testing.assert_allclose(sds, theta, rtol=1e-4)
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
    ours = fit.influence(method="one-step")
    for i in (0, 7, fit.nobs - 1):
        expected = without(fit, np.delete(np.arange(fit.nobs), i))
        np.testing.assert_allclose(ours.fe_params.iloc[i], expected, rtol=1e-8)
        np.testing.assert_allclose(ours.dfbetas.iloc[i], (fit.fe_params - expected) / fit.bse_fe, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_one_step_of_a_level_is_its_deletion_at_fixed_theta(name: str) -> None:
    fit = case(name, "REML").fit
    for factor in fit.state.design.factors:
        ours = fit.influence(by=factor.name, method="one-step")
        assert ours.variance_parameters.shape == (factor.n_levels, 0)
        for level in range(2):
            expected = without(fit, np.flatnonzero(factor.codes != level))
            np.testing.assert_allclose(ours.fe_params.iloc[level], expected, rtol=1e-8)


def without(fit: mm.LmmResult, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return the fixed effects of some rows, V that of the whole fit."""
    design = fit.state.design
    V = np.diag(np.full(fit.nobs, fit.scale))
    for factor, covariance in zip(design.factors, (fit.varcorr[f.name] for f in design.factors), strict=True):
        Z = np.ones((fit.nobs, 1)) if factor.Z is None else factor.Z
        V += (factor.codes[:, None] == factor.codes) * (Z @ covariance.to_numpy() @ Z.T)
    X, y = design.X[rows], design.y[rows]
    VX = np.linalg.solve(V[np.ix_(rows, rows)], X)
    return np.linalg.solve(X.T @ VX, VX.T @ y)


def test_dfbetas_divide_by_the_standard_errors_without_the_level() -> None:
    """Belsley, Kuh and Welsch (1980), and the variance parameters: both by fitting the data without the level."""
    data = mm.load_dataset("sleepstudy")
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", data)
    ours = fit.influence(by="Subject")
    for level in ("308", "337"):
        left = mm.lmer("Reaction ~ Days + (Days | Subject)", data[data["Subject"] != level])
        np.testing.assert_allclose(ours.dfbetas.loc[level], (fit.fe_params - left.fe_params) / left.bse_fe, rtol=1e-5)
        expected = left.variance_parameters()["estimate"]
        np.testing.assert_allclose(ours.variance_parameters.loc[level, expected.index], expected, rtol=1e-4)


GENERALISED = json.loads((Path(__file__).parent / "glmm_influence.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("theirs", GENERALISED, ids=[one["id"] for one in GENERALISED])
def test_levels_left_out_of_generalised_models(theirs: dict[str, Any]) -> None:
    """Refits of lme4's influence() stop up to a hundredth of a standard error away; others are polished."""
    data = mm.load_dataset("cbpp") if theirs["data"] == "cbpp" else load(theirs["data"])
    fit = mm.glmer(theirs["formula"], data, theirs["family"])
    assert fit.deviance == pytest.approx(theirs["deviance"], abs=1e-6)
    ours = fit.influence(theirs["group"], progress=False)
    assert not ours.failures
    place = {str(level): i for i, level in enumerate(ours.fe_params.index)}
    order = [place[level] for level in theirs["levels"]]
    np.testing.assert_allclose(ours.dfbetas.to_numpy()[order], theirs["dfbetas"], atol=0.015)
    np.testing.assert_allclose(ours.cooks_distance.to_numpy()[order], theirs["cooks_distance"], atol=0.003)
