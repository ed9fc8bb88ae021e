"""What a fit with structured covariances of random effects answers, and what it refuses by name."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA
from mixedmodels.inference.structured_map import StructuredMap
from mixedmodels.result.lmm import LmmResult

FORMULA = "Reaction ~ Days + ar1(0 + factor(Days) | Subject)"


@cache
def fitted() -> LmmResult:
    """Return a fit with a first-order process for each subject."""
    return mm.lmer(FORMULA, mm.load_dataset("sleepstudy"))


@cache
def machines(structure: str) -> LmmResult:
    """Return a fit to Machines."""
    data = pd.read_csv(DATA / "Machines.csv", dtype={"Worker": str})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.SingularFitWarning)
        return mm.lmer(f"score ~ Machine + {structure}(0 + Machine | Worker)", data)


def test_parameters_have_names_and_are_counted() -> None:
    fit = fitted()
    table = fit.variance_parameters()
    assert list(table.index) == ["sd_ar1|Subject", "cor_ar1|Subject", "sigma"]
    assert fit.df_model_total == 5
    S = fit.varcorr["Subject"].to_numpy()
    rho = table.loc["cor_ar1|Subject", "estimate"]
    lags = np.abs(np.subtract.outer(np.arange(10), np.arange(10)))
    np.testing.assert_allclose(S, table.loc["sd_ar1|Subject", "estimate"] ** 2 * rho**lags, rtol=1e-10)
    squares = fit.variance_parameters("variance")
    assert list(squares.index) == ["var_ar1|Subject", "cor_ar1|Subject", "sigma^2"]
    logs = fit.variance_parameters("log")
    assert logs.loc["cor_ar1|Subject", "estimate"] == pytest.approx(np.arctanh(rho))


@pytest.mark.parametrize(
    ("structure", "names"),
    [
        ("cs", ["sd_Machine[A]", "sd_Machine[B]", "sd_Machine[C]", "cor_cs"]),
        ("homcs", ["sd_homcs", "cor_homcs"]),
        ("toep", ["sd_Machine[A]", "sd_Machine[B]", "sd_Machine[C]", "cor_toep.lag1", "cor_toep.lag2"]),
    ],
)
def test_each_structure_names_its_parameters(structure: str, names: list[str]) -> None:
    fit = machines(structure)
    assert list(fit.variance_parameters().index) == [*(f"{name}|Worker" for name in names), "sigma"]
    assert "Correlations of structures" in fit.summary()
    assert fit.df_model_total == 3 + len(names) + 1


def test_standard_errors_are_those_of_the_unstructured_parameters_where_they_are_the_same() -> None:
    data = pd.read_csv(DATA / "Machines.csv", dtype={"Worker": str})
    data["two"] = np.where(data["Machine"] == "C", "C", "AB")
    ours = mm.lmer("score ~ Machine + cs(0 + two | Worker)", data).variance_parameters()
    theirs = mm.lmer("score ~ Machine + (0 + two | Worker)", data).variance_parameters()
    order = ["sd_two[AB]|Worker", "sd_two[C]|Worker", "cor_two[C].two[AB]|Worker", "sigma"]
    np.testing.assert_allclose(ours.to_numpy(), theirs.loc[order].to_numpy(), rtol=1e-4)


def test_intervals_and_bootstrap() -> None:
    fit = fitted()
    wald = fit.conf_int()
    assert list(wald.index) == ["Intercept", "Days", "sd_ar1|Subject", "cor_ar1|Subject", "sigma"]
    made = fit.bootstrap(12, seed=3, progress=False)
    again = fit.bootstrap(12, seed=3, progress=False)
    pd.testing.assert_frame_equal(made.replicates, again.replicates)
    assert made.n_failed == 0
    limits = made.conf_int("studentized")
    assert (limits["lower"] < limits["upper"]).all()
    for row in made.replicates.index[:2]:
        assert np.isfinite(made.replicates.loc[row]).all()


def test_refit_update_and_influence_keep_the_structure() -> None:
    fit, data = fitted(), mm.load_dataset("sleepstudy")
    assert fit.refit(fit.state.design.y).deviance == pytest.approx(fit.deviance, abs=1e-8)
    smaller = fit.update(". ~ . - Days", reml=False)
    direct = mm.lmer("Reaction ~ 1 + ar1(0 + factor(Days) | Subject)", data, reml=False)
    assert smaller.deviance == pytest.approx(direct.deviance, abs=1e-8)
    left_out = data[data["Subject"].astype(str) != "308"]
    influence = fit.influence(by="Subject")
    without = mm.lmer(FORMULA, left_out)
    np.testing.assert_allclose(influence.fe_params.iloc[0], without.fe_params, rtol=1e-6)
    np.testing.assert_allclose(
        influence.variance_parameters.iloc[0], without.variance_parameters()["estimate"], rtol=1e-5
    )


def test_conditional_modes_and_predictions_are_those_of_the_joint_distribution() -> None:
    fit = fitted()
    design = fit.state.design
    (factor,) = design.factors
    S = fit.varcorr["Subject"].to_numpy()
    Z = factor.Z
    assert Z is not None
    V = (factor.codes[:, None] == factor.codes) * (Z @ S @ Z.T) + fit.sigma**2 * np.eye(design.n_obs)
    r = design.y - design.X @ fit.state.beta
    rows = factor.codes == 0
    expected = S @ Z[rows].T @ np.linalg.solve(V[np.ix_(rows, rows)], r[rows])
    np.testing.assert_allclose(fit.state.b[0][0], expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())
    new = mm.load_dataset("sleepstudy").head(2).assign(Subject="new")
    predicted = fit.predict(new, interval="prediction", new_levels="population")
    variance = S[0, 0] + fit.sigma**2 + design.X[:2] @ fit.state.cov_beta @ design.X[:2].T
    np.testing.assert_allclose(predicted["se"] ** 2, np.diag(variance), rtol=1e-6)


def test_simulated_responses_have_the_structure() -> None:
    fit = machines("cs")
    draws = np.asarray(fit.simulate(4000, seed=1))
    first = np.flatnonzero(fit.state.design.factors[0].codes == 0)
    codes = fit.state.design.factors[0].Z[first].argmax(axis=1)  # type: ignore[index]
    means = np.array([draws[first[codes == m]].mean(axis=0) for m in range(3)])
    expected = fit.varcorr["Worker"].to_numpy() + fit.sigma**2 / 3 * np.eye(3)
    np.testing.assert_allclose(np.cov(means), expected, rtol=0.12)


def test_files_keep_the_structure(tmp_path: Path) -> None:
    fit = fitted()
    fit.save(tmp_path / "whole")
    fit.save(tmp_path / "bare", data=False)
    whole, bare = mm.load(tmp_path / "whole"), mm.load(tmp_path / "bare")
    assert str(whole.summary()) == str(fit.summary())
    pd.testing.assert_frame_equal(whole.variance_parameters(), fit.variance_parameters())
    pd.testing.assert_frame_equal(bare.variance_parameters(), fit.variance_parameters())
    pd.testing.assert_frame_equal(bare.coef_table(), fit.coef_table())


def test_comparisons_see_which_structure_is_a_special_case() -> None:
    fits = {name: machines(name) for name in ("homdiag", "homcs", "cs", "ar1", "toep", "us")}

    def tested(small: str, large: str) -> bool:
        table = mm.compare(fits[small], fits[large])
        return bool(np.isfinite(table["p_value"].iloc[1]))

    assert tested("homdiag", "homcs")
    assert tested("homcs", "cs")
    assert tested("cs", "toep")
    assert tested("toep", "us")
    assert tested("ar1", "toep")
    assert not tested("ar1", "cs")
    data = pd.read_csv(DATA / "Machines.csv", dtype={"Worker": str})
    intercept = mm.lmer("score ~ Machine + (1 | Worker)", data)
    assert np.isfinite(mm.compare(intercept, fits["ar1"])["p_value"].iloc[1])


@pytest.mark.parametrize(
    "ask",
    [
        lambda fit: fit.ranova(),
        lambda fit: fit.step(),
        lambda fit: fit.criteria(),
    ],
)
def test_what_is_not_there_is_refused_by_name(ask: object) -> None:
    with pytest.raises(mm.InferenceError, match=r"structured covariances of random effects, and ar1\(0"):
        ask(fitted())  # type: ignore[operator]


def test_other_doors_refuse_structures() -> None:
    data = mm.load_dataset("sleepstudy")
    with pytest.raises(mm.MixedModelsError, match="structured"):
        mm.lmer_many(FORMULA.removeprefix("Reaction "), data, np.ones((180, 2)))
    with pytest.raises(mm.FormulaError, match="generalised models have no structured"):
        mm.glmer("Reaction ~ Days + cs(0 + factor(Days) | Subject)", data, family="gamma")
    with pytest.raises(mm.FormulaError, match="models with residual, variance or sigma have no structured"):
        mm.lmer(FORMULA, data, residual="ar1(Days | Subject)")
    with pytest.raises(mm.DesignError, match="absorbs fixed effects beside random effects without a structure"):
        mm.lmer("Reaction ~ fe(Subject) + ar1(0 + factor(Days) | Subject)", data)
    with pytest.raises(mm.InferenceError, match="function of theta"):
        mm.LinearMixedModel(FORMULA, data).deviance(np.ones(55))
    with pytest.raises(mm.FitError, match="walks begin at several correlations"):
        mm.lmer(FORMULA, data, start=np.ones(55))


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ("ar1(0 + Days | Subject)", "has one effect, 'Days'"),
        ("ar1(Days | Subject)", r"in their order, and its effects are Intercept, Days. Write ar1\(0 \+ f \| Subject\)"),
        ("ar1(factor(Days) | Subject)", "is for the levels of one category"),
        ("toep(0 + factor(Days) + late | Subject)", "is for the levels of one category"),
        ("toep(0 + factor(Days**2) | Subject)", "is for equal steps"),
        ("homcs(0 + factor(Days) | Subject)", r"cannot tell sd_homcs\|Subject, cor_homcs\|Subject and sigma apart"),
    ],
)
def test_structures_that_do_not_go_with_their_columns(term: str, says: str) -> None:
    data = mm.load_dataset("sleepstudy").assign(late=lambda d: (d["Days"] > 4) * 1.0)
    with pytest.raises(mm.DesignError, match=says):
        mm.lmer(f"Reaction ~ Days + {term}", data)


def test_a_structure_at_an_end_of_its_range_is_told() -> None:
    data = pd.read_csv(DATA / "Machines.csv", dtype={"Worker": str})
    data["score"] = data["score"] - data.groupby("Worker")["score"].transform("mean")
    with pytest.warns(mm.SingularFitWarning, match=r"cor_homcs\|Worker is at an end of the range"):
        fit = mm.lmer("score ~ Machine + homcs(0 + Machine | Worker)", data)
    table = fit.variance_parameters()
    assert table.loc["cor_homcs|Worker", "estimate"] == pytest.approx(-0.5, abs=1e-6)
    assert np.isnan(table.loc["cor_homcs|Worker", "std_error"])


def test_a_standard_deviation_of_zero_is_infinitely_far() -> None:
    state = machines("homcs").state
    map_ = StructuredMap(state)
    sd = map_.parameters[0]
    value, slope = map_.unbounded(np.zeros(3), sd)
    assert value == -np.inf
    assert not slope.any()
    assert map_.on_boundary(np.zeros(3), sd)
