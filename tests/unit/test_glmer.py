"""The door to generalised models: what it reads, what it refuses, and what its results answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedmodels as mm

CBPP = mm.load_dataset("cbpp")


@pytest.fixture(scope="module")
def fit() -> mm.GlmmResult:
    return mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", CBPP)


@pytest.fixture(scope="module")
def counts() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(30), 6)
    x = rng.normal(size=180)
    eta = 0.5 + 0.4 * x + 0.6 * rng.normal(size=30)[g]
    return pd.DataFrame(
        {"g": g, "x": x, "count": rng.poisson(np.exp(eta)), "yes": rng.random(180) < 1 / (1 + np.exp(-eta))}
    )


def test_kinds_of_binary_responses_agree(counts: pd.DataFrame) -> None:
    labels = pd.Categorical(np.where(counts["yes"], "ja", "nein"), categories=["nein", "ja"])
    data = counts.assign(one=counts["yes"].astype(int), word=labels, text=np.where(counts["yes"], "y", "n"))
    fits = [mm.glmer(f"{left} ~ x + (1 | g)", data) for left in ("yes", "one", "word", "text", "cbind(one, 1 - one)")]
    assert len({round(one.deviance, 9) for one in fits}) == 1
    success = {one.data["success"] for f in fits for one in f.findings if one.kind == "success_level"}
    assert success == {"ja", "y"}


@pytest.mark.parametrize(
    ("formula", "options", "told"),
    [
        ("count ~ x + (1 | g)", {"family": "binomial"}, "0 or 1, a proportion"),
        ("share ~ x + (1 | g)", {}, "nothing says of how many trials"),
        ("share ~ x + (1 | g)", {"weights": "odd"}, "not whole"),
        ("share ~ x + (1 | g)", {"weights": "seven"}, "whole numbers of successes"),
        ("all_one ~ x + (1 | g)", {}, "successes only"),
        ("three ~ x + (1 | g)", {}, "has 3 levels"),
        ("minus ~ x + (1 | g)", {"family": "poisson"}, "whole numbers from 0"),
        ("half ~ x + (1 | g)", {"family": "poisson"}, "whole numbers from 0"),
        ("zeros ~ x + (1 | g)", {"family": "negative_binomial"}, "is 0 in all"),
        ("count ~ x + (1 | g)", {"family": "gamma"}, "is positive"),
        ("all_one ~ x + (1 | g)", {"family": "beta"}, "between 0 and 1"),
        ("yes ~ x + (1 | g)", {"family": "binomal"}, "Did you mean 'binomial'"),
        ("yes ~ x + (1 | g)", {"family": "nbinom2"}, "Did you mean 'negative_binomial'"),
        ("yes ~ x + (1 | g)", {"family": "nbinom1"}, "Did you mean 'negative_binomial_1'"),
        ("yes ~ x + (1 | g)", {"family": "tweedie"}, "cannot be fitted yet"),
        ("half ~ x + (1 | g)", {"family": "negative_binomial_1"}, "whole numbers from 0"),
        ("count ~ x + (1 | g)", {"family": "inverse_gaussian"}, "cannot be fitted yet"),
        ("yes ~ x + (1 | g)", {"family": "betabinomial"}, "one trial a row"),
        ("share ~ x + (1 | g)", {"family": "betabinomial"}, "nothing says of how many trials"),
        ("yes ~ x + (1 | g)", {"family": "gaussian"}, "mixedmodels.lmer"),
        ("yes ~ x + (1 | g)", {"link": "cauchit"}, "must be 'logit'"),
        ("yes ~ x + (1 | g)", {"n_agq": 0}, "from 1, which is Laplace's"),
        ("yes ~ x + (1 | g)", {"n_agq": True}, "from 1, which is Laplace's"),
        ("yes ~ x + (1 | g)", {"n_agq": 2.5}, "from 1, which is Laplace's"),
        ("yes ~ x + (1 | g) + (1 | x)", {"n_agq": 5}, "one grouping factor, and .* has 2: 'x', 'g'"),
        ("yes ~ x + (x | g)", {"n_agq": 60}, "Take at most n_agq=50"),
        ("yes ~ x + (1 | g)", {"family": mm.families.Binomial("probit"), "link": "probit"}, "Give one of them"),
        ("yes ~ x + (1 | g)", {"control": 3}, "must be a Control"),
        ("cbind(count, minus) ~ x + (1 | g)", {}, "whole numbers from 0"),
        ("yes ~ x + (1 | g)", {"reml": True}, "reml"),
    ],
)
def test_refusals_say_what_to_do(counts: pd.DataFrame, formula: str, options: dict[str, Any], told: str) -> None:
    data = counts.assign(
        share=np.where(counts["yes"], 0.5, 0.25),
        odd=2.5,
        seven=7,
        all_one=1,
        zeros=0,
        three=pd.Categorical(np.arange(180) % 3),
        minus=counts["count"] - 1000,
        half=counts["count"] + 0.5,
    )
    with pytest.raises(mm.MixedModelsError, match=told):
        mm.glmer(formula, data, **options)


def test_a_level_a_row_is_a_random_effect_of_counts(counts: pd.DataFrame) -> None:
    wild = np.random.default_rng(3).poisson(counts["count"] * np.repeat([0.2, 3.0, 1.0], 60))
    data = counts.assign(row=np.arange(len(counts)), count=wild)
    fit = mm.glmer("count ~ x + (1 | g) + (1 | row)", data, family="poisson")
    assert fit.n_groups["row"] == len(counts)
    with pytest.raises(mm.DesignError, match="as many levels"):
        mm.lmer("count ~ x + (1 | row)", data)


def test_linear_models_still_refuse_two_responses(counts: pd.DataFrame) -> None:
    with pytest.raises(mm.DataError, match="one response"):
        mm.lmer("cbind(count, x) ~ 1 + (1 | g)", counts)


def test_predictions_are_those_of_the_formula(fit: mm.GlmmResult) -> None:
    link = fit.predict(scale="link", random_effects="population")
    by_hand = fit.fe_params["Intercept"] + np.where(CBPP["period"] == "2", fit.fe_params["period[T.2]"], 0.0)
    first_two = CBPP["period"].isin(["1", "2"]).to_numpy()
    np.testing.assert_allclose(link[first_two], by_hand[first_two], atol=1e-12)
    herd = fit.random_effects["herd"]["Intercept"]
    conditional = link + herd.loc[CBPP["herd"].to_numpy()].to_numpy()
    np.testing.assert_allclose(fit.predict(), 1 / (1 + np.exp(-conditional)), rtol=1e-12)
    np.testing.assert_allclose(fit.predict(CBPP), fit.fittedvalues, rtol=1e-12)


def test_averages_over_new_levels_are_integrals(fit: mm.GlmmResult) -> None:
    from scipy import integrate, special, stats  # noqa: PLC0415

    sd = float(np.sqrt(fit.varcorr["herd"].iloc[0, 0]))
    eta = float(fit.predict(scale="link", random_effects="population")[0])
    expected, _ = integrate.quad(lambda b: special.expit(eta + b) * stats.norm.pdf(b, scale=sd), -8 * sd, 8 * sd)
    assert fit.predict(random_effects="averaged")[0] == pytest.approx(expected, rel=1e-9)


def test_intervals_are_walds_on_the_link_scale(fit: mm.GlmmResult) -> None:
    table = fit.predict(scale="link", random_effects="population", interval="confidence").iloc[0]
    assert table["se"] == pytest.approx(fit.bse_fe["Intercept"], rel=1e-10)
    shown = fit.predict(random_effects="population", interval="confidence").iloc[0]
    assert shown["upper"] == pytest.approx(1 / (1 + np.exp(-table["upper"])))


def test_simulated_means_are_those_of_averages(fit: mm.GlmmResult) -> None:
    drawn = fit.simulate(4000, seed=1)
    mean = drawn.mean(axis=1) / CBPP["size"]
    error = drawn.std(axis=1) / np.sqrt(4000) / CBPP["size"]
    averaged = fit.predict(random_effects="averaged").to_numpy()
    assert (np.abs(mean - averaged) < 5 * error).all()
    assert (fit.simulate(2, seed=3) == fit.simulate(2, seed=3)).all()


def test_residuals(fit: mm.GlmmResult) -> None:
    share = CBPP["incidence"] / CBPP["size"]
    np.testing.assert_allclose(fit.residuals("response"), share - fit.fittedvalues, atol=1e-12)
    p, m = fit.fittedvalues, CBPP["size"]
    np.testing.assert_allclose(fit.residuals("pearson"), (CBPP["incidence"] - m * p) / np.sqrt(m * p * (1 - p)))
    assert fit.residuals("quantile", seed=1).abs().max() < 5
    with pytest.raises(mm.MixedModelsError, match="quantile"):
        fit.residuals("quantil")


def test_the_table_of_ratios(fit: mm.GlmmResult) -> None:
    plain, ratios = fit.coef_table(), fit.coef_table(exponentiate=True)
    np.testing.assert_allclose(ratios["estimate"], np.exp(plain["estimate"]))
    np.testing.assert_allclose(ratios["ci_upper"], np.exp(plain["ci_upper"]))
    np.testing.assert_allclose(ratios["statistic"], plain["statistic"])


def test_terms_and_comparisons(fit: mm.GlmmResult) -> None:
    without = fit.update(". ~ . - period")
    table = mm.compare(without, fit)
    assert table["chisq"].iloc[1] == pytest.approx(without.deviance - fit.deviance)
    wald = fit.anova().loc["period"]
    assert (wald["df"], wald["p_value"] < 0.001) == (3, True)
    assert fit.contrast("period[T.2] = period[T.3]").shape == (1, 7)
    with pytest.raises(mm.MixedModelsError, match="do not compare"):
        mm.compare(fit, mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy")))


def test_counts_that_vary_no_more_than_poissons() -> None:
    g = np.repeat(np.arange(12), 5)
    y = np.tile([2, 3, 3, 3, 4], 12)
    with pytest.warns(mm.SingularFitWarning):
        fit = mm.glmer("y ~ 1 + (1 | g)", {"y": y, "g": g}, family="negative_binomial")
    assert fit.dispersion == 0
    assert "no_overdispersion" in {finding.kind for finding in fit.findings}


def test_names_of_linear_models_are_answered(fit: mm.GlmmResult) -> None:
    with pytest.raises(AttributeError, match="not available for generalised models yet"):
        fit.ranova()
    with pytest.raises(mm.MixedModelsError, match="no argument"):
        fit.update(reml=True)


def test_the_unfitted_model_evaluates() -> None:
    model = mm.GeneralizedLinearMixedModel("cbind(incidence, size - incidence) ~ period + (1 | herd)", CBPP)
    fit = model.fit()
    psi = model.psi(fit.theta, fit.fe_params)
    assert model.deviance(psi) == pytest.approx(fit.deviance, abs=1e-8)
    assert np.abs(model.gradient(psi)).max() < 1e-2


def test_separation_is_told(counts: pd.DataFrame) -> None:
    data = counts.assign(sure=(counts["x"] > 0).astype(int), rare=(counts["count"] > 0).astype(int))
    told = pytest.warns(mm.IdentificationWarning, match=r"x together tell the response without error in 1\d\d of 180")
    with pytest.warns(mm.SingularFitWarning), told:
        fit = mm.glmer("sure ~ x + (1 | g)", data)
    [finding] = [one for one in fit.findings if one.kind == "separated"]
    assert "x" in finding.data["columns"]
    # a group of zeros only: the counts elsewhere are not separated
    some = data.assign(empty=np.where(data["g"] < 3, 1, 0), count=np.where(data["g"] < 3, 0, data["count"]))
    with pytest.warns(mm.IdentificationWarning, match="empty tells the response without error in 18 of 180 rows"):
        mm.glmer("count ~ empty + x + (1 | g)", some, family="poisson")


def test_what_is_not_separated_is_not_called_so(fit: mm.GlmmResult, counts: pd.DataFrame) -> None:
    assert "separated" not in {finding.kind for finding in fit.findings}
    with pytest.warns(mm.SingularFitWarning):
        far = mm.glmer(
            "count ~ x + (1 | g)", counts.assign(count=counts["count"] % 2), family="poisson", offset=np.full(180, 40.0)
        )
    assert "separated" not in {finding.kind for finding in far.findings}


def test_quadrature_is_said_and_answers_everything(counts: pd.DataFrame, fit: mm.GlmmResult) -> None:
    fits = [mm.glmer("yes ~ x + (1 | g)", counts, n_agq=n) for n in (1, 9)]
    assert [one.n_agq for one in fits] == [1, 9]
    assert "adaptive quadrature, 9 nodes\n" in str(fits[1].summary())
    assert "n_agq=9" in repr(fits[1].call)
    slopes = fits[1].update("yes ~ x + (x | g)", n_agq=3)
    assert "3 nodes an effect" in str(slopes.summary())
    with pytest.raises(mm.InferenceError, match=r"n_agq=1 and 9: .* do not compare"):
        mm.compare(*fits)
    table = mm.compare(fits[1], mm.glmer("yes ~ 1 + (1 | g)", counts, n_agq=9))
    assert table["chisq"].iloc[1] > 0
    assert len(fits[1].predict(random_effects="averaged")) == len(counts)
    assert fits[1].simulate(2, seed=1).shape == (len(counts), 2)
    assert fits[1].random_effects["g"].shape == (30, 1)
    assert fits[1].update(n_agq=1).deviance == pytest.approx(fits[0].deviance, abs=1e-9)
    with pytest.raises(mm.FitError, match="from 1"):
        fit.update(n_agq=-1)


# those whose zeros have a chance of their own are in tests/oracle/test_zeros.py
FAMILIES_OF_MEANS = [one() for one in mm.families.BY_NAME.values() if one.name != "ordinal" and not one.has_zeros]


@pytest.mark.parametrize("family", FAMILIES_OF_MEANS)
def test_families_say_what_scipy_says(family: mm.families.Family) -> None:
    mean, trials, d = np.array([0.2, 0.5, 0.9]), np.array([3.0, 8.0, 20.0]), 0.7
    law = family.distribution(mean, trials, d)
    np.testing.assert_allclose(family.variance(mean, trials, d), law.var(), rtol=1e-10)
    expected = mean * trials if family.responses == "successes" else mean
    np.testing.assert_allclose(law.mean(), expected, rtol=1e-10)


@pytest.mark.parametrize("family", ["negative_binomial_1", "betabinomial"])
def test_simulated_responses_are_found_again(family: str) -> None:
    rng = np.random.default_rng(2)
    g, x = np.repeat(np.arange(40), 15), rng.normal(size=600)
    eta = 0.4 + 0.5 * x + 0.5 * rng.normal(size=40)[g]
    known, trials = mm.families.read_family(family), np.full(600, 12.0)
    y = known.draw(eta, trials, np.array([np.sqrt(0.3)]), rng)
    left = "cbind(y, 12 - y)" if family == "betabinomial" else "y"
    fit = mm.glmer(f"{left} ~ x + (1 | g)", {"y": y, "x": x, "g": g}, family)
    assert abs(fit.fe_params["x"] - 0.5) < 4 * fit.bse_fe["x"]
    likely = fit.conf_int("wald", level=0.999).loc["dispersion"]
    assert likely["lower"] < 0.3 < likely["upper"]
    assert stats.kstest(fit.residuals("quantile", seed=3), "norm").pvalue > 0.001
    assert fit.residuals("pearson").std() == pytest.approx(1.0, abs=0.12)
    assert fit.simulate(3, seed=1).shape == (600, 3)


def test_trials_that_vary_no_more_than_the_binomials() -> None:
    g = np.repeat(np.arange(12), 5)
    y = np.tile([4, 5, 5, 5, 6], 12)
    with pytest.warns(mm.SingularFitWarning):
        fit = mm.glmer("cbind(y, 10 - y) ~ 1 + (1 | g)", {"y": y, "g": g}, family="betabinomial")
    assert fit.dispersion == pytest.approx(0, abs=1e-12)
    [told] = [one.message for one in fit.findings if one.kind == "no_overdispersion"]
    assert "family='binomial' says the same" in told
