"""Generalised models and those with correlated residuals as tidy frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load


def test_a_generalised_models_rows() -> None:
    fit = mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", load("cbpp"), family="binomial")
    tidy = fit.tidy()
    np.testing.assert_allclose(tidy["estimate"][:4], fit.fe_params)
    np.testing.assert_allclose(tidy["p_value"][:4], fit.coef_table()["p_value"])
    last = tidy.iloc[-1]
    assert (last["effect"], last["group"], last["term"]) == ("ran_pars", "herd", "sd__Intercept")
    assert last["estimate"] == pytest.approx(fit.variance_parameters().loc["sd_Intercept|herd", "estimate"])
    assert len(fit.tidy("fixed")) == 4
    np.testing.assert_allclose(fit.tidy(exponentiate=True)["estimate"][:4], np.exp(fit.fe_params))
    one = fit.glance().iloc[0]
    assert one["aic"] == pytest.approx(fit.aic)
    assert "sigma" not in one.index


def test_a_dispersion_is_a_row() -> None:
    fit = mm.glmer("y ~ trt + lbase + (1 | subject)", load("epil"), family="negative_binomial")
    tidy = fit.tidy("ran_pars")
    assert list(tidy["term"]) == ["sd__Intercept", "dispersion__Observation"]
    assert tidy["estimate"].iloc[-1] == pytest.approx(fit.dispersion)


@pytest.mark.parametrize("grouped", [False, True])
def test_rows_of_correlated_residuals(grouped: bool) -> None:
    data = load("Orthodont")
    where = "Sex / Subject" if grouped else "Subject"
    fit = mm.mmrm(f"distance ~ age * Sex + csh(age | {where})", data, ddf="kenward-roger")
    tidy = fit.tidy()
    table = fit.coef_table("kenward-roger")
    pd.testing.assert_series_equal(tidy["df"][:4], table["df"].reset_index(drop=True))
    parameters = fit.residual_parameters()
    np.testing.assert_allclose(tidy["estimate"][4:], parameters["estimate"])
    np.testing.assert_allclose(tidy["ci_upper"][4:], parameters["ci_upper"])
    assert list(tidy["group"][4:].unique()) == (["Male", "Female"] if grouped else ["Residual"])
    assert fit.glance().iloc[0]["bic"] == pytest.approx(fit.bic)


def test_kinds_of_rows_that_there_are_not() -> None:
    fit = mm.mmrm("distance ~ age + cs(age | Subject)", load("Orthodont"))
    with pytest.raises(mm.InferenceError, match="There are no 'random' effects; there are"):
        fit.tidy("random")
