"""Structured residuals beside random effects, and known variances, against nlme and metafor, by ``nlme.R``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA

Floats = npt.NDArray[np.float64]

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")

NLME: dict[str, Any] = json.loads((Path(__file__).parent / "nlme.json").read_text(encoding="utf-8"))
META = NLME["meta"]

WAVES = "follicles ~ np.sin(2 * np.pi * Time) + np.cos(2 * np.pi * Time)"
QUARTIC = "rate ~ (pressure + I(pressure**2) + I(pressure**3) + I(pressure**4)) * QB"
OURS: dict[str, tuple[str, str, str | None, str | None]] = {
    "orthodont_ri_ar1_sex": ("Orthodont", "distance ~ age * Sex + (1 | Subject)", "ar1(v | Subject)", "ident(Sex)"),
    "orthodont_rs_sex": ("Orthodont", "distance ~ age * Sex + (age | Subject)", None, "ident(Sex)"),
    "orthodont_arma11": ("Orthodont", "distance ~ age * Sex", "arma11(v | Subject)", None),
    "sleep_ou_nugget": ("sleepstudy", "Reaction ~ Days", "exp(Days | Subject, nugget=True)", None),
    "sleep_sph": ("sleepstudy", "Reaction ~ Days", "sph(Days | Subject)", None),
    "sleep_gau_nugget": ("sleepstudy", "Reaction ~ Days", "gau(Days | Subject, nugget=True)", None),
    "sleep_ri_ar1": ("sleepstudy", "Reaction ~ Days + (1 | Subject)", "ar1(Days | Subject)", None),
    "sleep_rs_ar1": ("sleepstudy", "Reaction ~ Days + (Days | Subject)", "ar1(Days | Subject)", None),
    "rats_ri_power": ("BodyWeight", "weight ~ Time * Diet + (1 | Rat)", None, "power(Time)"),
    "rats_ri_exp": ("BodyWeight", "weight ~ Time * Diet + (1 | Rat)", None, "exp(Time)"),
    "rats_rs_product": ("BodyWeight", "weight ~ Time * Diet + (Time | Rat)", None, "ident(Diet) * power(Time)"),
    "ovary_ar1": ("Ovary", WAVES, "ar1(place | Mare)", None),
    "ovary_ri_ar1": ("Ovary", f"{WAVES} + (1 | Mare)", "ar1(place | Mare)", None),
    "ovary_ri_car1": ("Ovary", f"{WAVES} + (1 | Mare)", "car1(Time | Mare)", None),
    "dialyzer_ar1_power": ("Dialyzer", QUARTIC, "ar1(index | Subject)", "power(pressure)"),
    "oats_nested_ar1": ("Oats", "`yield` ~ nitro + (1 | Block / Variety)", "ar1(step | plot)", None),
}
STOPPED_EARLY = {"sleep_rs_ar1", "rats_rs_product"}
"""Where lme ends with "singular convergence", the first one at a singular covariance of the effects."""
CASES = [(name, method) for name in OURS for method in ("REML", "ML")]


@cache
def frame(name: str) -> pd.DataFrame:
    """Return the rows that R had, with its columns."""
    read = pd.read_csv(DATA / f"{name}.csv")
    if name == "Orthodont":
        read = read.assign(v=(read["age"] - 8) // 2, Sex=pd.Categorical(read["Sex"], ["Male", "Female"]))
    if name == "BodyWeight":
        read = read.assign(Diet=pd.Categorical(read["Diet"].astype(str)))
    if name == "Ovary":
        read = read.assign(place=read.groupby("Mare").cumcount())
    if name == "Dialyzer":
        read = read.assign(QB=read["QB"].astype(str))
    if name == "Oats":
        read = read.assign(step=(5 * read["nitro"]).round().astype(int), plot=read["Block"] + ":" + read["Variety"])
    return read


@cache
def fitted(name: str, method: str) -> mm.MmrmResult:
    """Return our fit of a case."""
    data, formula, residual, variance = OURS[name]
    return mm.lmer(formula, frame(data), residual=residual, variance=variance, reml=method == "REML")


def arma_lag(phi: float, theta: float) -> float:
    """Return the correlation of neighbours of an ARMA(1, 1) process (Box and Jenkins 1976, section 3.4)."""
    return (1 + phi * theta) * (phi + theta) / (1 + 2 * phi * theta + theta**2)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_criterion_and_fixed_effects(name: str, method: str) -> None:
    theirs, fit = NLME[name][method], fitted(name, method)
    assert fit.converged
    early = name in STOPPED_EARLY
    assert fit.deviance == pytest.approx(theirs["minus2_loglik"], abs=1e-4 if early else 1e-6)
    assert fit.deviance <= theirs["minus2_loglik"] + 1e-9
    assert fit.df_model_total == theirs["n_params"]
    spread = np.asarray(theirs["std_errors"])
    np.testing.assert_allclose((fit.fe_params - theirs["coefficients"]) / spread, 0, atol=2e-5)
    np.testing.assert_allclose(fit.bse_fe, spread, rtol=5e-4 if early else 5e-5)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_parameters_of_the_residuals(name: str, method: str) -> None:
    theirs, found = NLME[name][method], fitted(name, method).residual_parameters()["estimate"]
    theirs_cor = np.atleast_1d(theirs.get("correlation", []))
    if "arma11" in name:
        assert found["correlation, lag 1"] == pytest.approx(arma_lag(*theirs_cor), rel=1e-4)
        assert found["decay"] == pytest.approx(theirs_cor[0], rel=1e-4)
    elif "car1" in name:  # rho to the power of time
        assert np.exp(-1 / found["range"]) == pytest.approx(theirs_cor[0], rel=1e-4)
    elif len(theirs_cor):
        ours = found[[name for name in ("correlation", "range", "nugget") if name in found]]
        np.testing.assert_allclose(ours, theirs_cor, rtol=2e-3 if "gau" in name or name in STOPPED_EARLY else 1e-4)


def test_variance_functions() -> None:
    found = fitted("rats_rs_product", "REML").residual_parameters()["estimate"]
    theirs = NLME["rats_rs_product"]["REML"]["variance"]
    assert found["sd ratio(Diet 2)"] == pytest.approx(theirs["A.2"], rel=1e-4)
    assert found["sd ratio(Diet 3)"] == pytest.approx(theirs["A.3"], rel=1e-4)
    assert found["power(Time)"] == pytest.approx(theirs["B.power"], rel=1e-4)
    found = fitted("rats_ri_exp", "ML").residual_parameters()["estimate"]
    assert found["rate(Time)"] == pytest.approx(NLME["rats_ri_exp"]["ML"]["variance"]["expon"], rel=1e-4)
    for name in ("rats_rs_product", "rats_ri_exp", "rats_ri_power", "dialyzer_ar1_power"):
        assert fitted(name, "REML").sigma == pytest.approx(NLME[name]["REML"]["sigma"], rel=1e-4)
    fit, theirs = fitted("orthodont_rs_sex", "REML"), NLME["orthodont_rs_sex"]["REML"]
    ratio = fit.residual_parameters()["estimate"]["sd ratio(Sex Female)"]
    assert 1 / ratio == pytest.approx(theirs["variance"]["Male"], rel=1e-4)
    assert fit.sigma * ratio == pytest.approx(theirs["sigma"], rel=1e-4)  # lme's first level is Female here


@pytest.mark.parametrize("name", OURS)
def test_normalized_residuals_and_modes(name: str) -> None:
    theirs, fit = NLME[name]["REML"], fitted(name, "REML")
    close = 5e-4 if name in STOPPED_EARLY else 2e-4
    np.testing.assert_allclose(fit.residuals("normalized")[:8], theirs["normalized"], atol=close)
    if "modes" not in theirs:
        return
    assert isinstance(fit, mm.CorrelatedResult)
    group = next(iter(fit.random_effects))
    ours = fit.random_effects[group]
    labels = [label.replace("/", ":") for label in theirs["modes"]["levels"]]
    if group == "Variety:Block":
        labels = [":".join(reversed(label.split(":"))) for label in labels]
    values = ours.set_axis(ours.index.astype(str)).loc[labels]
    np.testing.assert_allclose(values, theirs["modes"]["values"], atol=1e-3 * np.abs(values.to_numpy()).max())


def meta_frame(name: str) -> pd.DataFrame:
    """Return estimates of studies with weights 1 / v."""
    read = pd.DataFrame(META[name])
    return read.assign(w=1 / read["vi"], study=np.arange(len(read)).astype(str))


def meta_fit(name: str, formula: str, method: str) -> mm.CorrelatedResult:
    """Return our fit of studies with known variances."""
    fit = mm.lmer(formula, meta_frame(name), weights="w", sigma=1, reml=method == "REML")
    assert isinstance(fit, mm.CorrelatedResult)
    return fit


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_knapp_and_hartung(method: str) -> None:
    theirs, fit = META[method]["bcg_ablat_knha"], meta_fit("bcg", "yi ~ ablat + (1 | study)", method)
    table = fit.coef_table("knapp-hartung")
    np.testing.assert_allclose(table["std_error"], theirs["std_errors"], rtol=1e-5)
    np.testing.assert_allclose(table["p_value"], theirs["p_values"], rtol=1e-4)
    np.testing.assert_array_equal(table["df"], 11)
    with pytest.raises(mm.InferenceError, match="knapp-hartung"):
        fitted("sleep_ri_ar1", method).coef_table("knapp-hartung")


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("bcg", "yi ~ 1 + (1 | study)"),
        ("bcg_ablat", "yi ~ ablat + (1 | study)"),
        ("three", "yi ~ 1 + (1 | district / school)"),
    ],
)
def test_meta_analysis(name: str, formula: str, method: str) -> None:
    theirs, fit = META[method][name], meta_fit(name.split("_", maxsplit=1)[0], formula, method)
    assert fit.sigma == 1
    X = fit.state.design.X
    logdet = np.linalg.slogdet(X.T @ X)[1] if method == "REML" else 0.0  # metafor adds it to its restricted likelihood
    assert fit.llf == pytest.approx(theirs["log_lik"] - logdet / 2, abs=1e-6)
    np.testing.assert_allclose(fit.fe_params, np.atleast_1d(theirs["coefficients"]), rtol=1e-5)
    np.testing.assert_allclose(fit.bse_fe, np.atleast_1d(theirs["std_errors"]), rtol=1e-5)
    ours = [float(fit.varcorr[group].iloc[0, 0]) for group in fit.varcorr]
    np.testing.assert_allclose(sorted(ours), sorted(np.atleast_1d(theirs["variances"])), rtol=2e-5)
