"""Ordered categories: how they are read, what is refused, what results answer, and what must not change them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import mixedmodels as mm
from data_loader import load

LINKS = {"logit": stats.logistic, "probit": stats.norm, "cloglog": stats.gumbel_l}
WORDS = ["poor", "fair", "good", "fine"]


@pytest.fixture(scope="module")
def ratings() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    g, x = np.repeat(np.arange(25), 8), rng.normal(size=200)
    latent = 0.8 * x + rng.normal(size=25)[g] + rng.logistic(size=200)
    k = np.searchsorted([-1.0, 0.5, 1.5], latent)
    words = pd.Categorical.from_codes(k, WORDS, ordered=True)
    return pd.DataFrame({"g": g, "x": x, "k": k + 1, "word": words})


@pytest.fixture(scope="module")
def fit(ratings: pd.DataFrame) -> mm.GlmmResult:
    return mm.glmer("word ~ x + (1 | g)", ratings, "ordinal")


def test_kinds_of_responses_agree(ratings: pd.DataFrame, fit: mm.GlmmResult) -> None:
    digits = ratings["k"].map({1: "2", 2: "9", 3: "10", 4: "11"})
    data = ratings.assign(texts=digits, floats=ratings["k"] * 1.0, unordered=ratings["word"].astype(object))
    others = [mm.glmer(f"{left} ~ x + (1 | g)", data, "ordinal") for left in ("k", "floats", "texts")]
    assert {round(other.deviance, 9) for other in others} == {round(fit.deviance, 9)}
    assert list(others[0].thresholds.index) == ["1|2", "2|3", "3|4"]
    assert list(others[2].thresholds.index) == ["2|9", "9|10", "10|11"]
    assert list(fit.thresholds.index) == ["poor|fair", "fair|good", "good|fine"]
    texts = mm.glmer("unordered ~ x + (1 | g)", data, "ordinal")
    [order] = [one for one in texts.findings if one.kind == "category_order"]
    assert order.data["categories"] == ("fair", "fine", "good", "poor")


@pytest.mark.parametrize(
    ("formula", "options", "told"),
    [
        ("half ~ x + (1 | g)", {}, "numbers with decimals|Numbers with decimals"),
        ("one ~ x + (1 | g)", {}, "is 1 in all 200 rows"),
        ("many ~ x + (1 | g)", {}, "at most 100"),
        ("day ~ x + (1 | g)", {}, "dates or times"),
        ("cbind(k, x) ~ x + (1 | g)", {}, "one column of ordered categories"),
        ("k ~ 0 + x + (1 | g)", {}, "thresholds in its place"),
        ("k ~ x + (1 | g)", {"link": "cauchit"}, "must be 'logit', 'probit', 'cloglog'"),
        ("k ~ x + (1 | g)", {"link": "log"}, "must be 'logit'"),
    ],
)
def test_refusals_say_what_to_do(ratings: pd.DataFrame, formula: str, options: dict[str, Any], told: str) -> None:
    data = ratings.assign(
        half=ratings["k"] + 0.5,
        one=1,
        many=np.arange(200),
        day=pd.Timestamp("2020-01-01") + pd.to_timedelta(ratings["k"]),
    )
    with pytest.raises(mm.MixedModelsError, match=told):
        mm.glmer(formula, data, "ordinal", **options)


def test_other_names_lead_here(ratings: pd.DataFrame) -> None:
    for name in ("cumulative", "clmm", "ordinel"):
        with pytest.raises(mm.MixedModelsError, match="Did you mean 'ordinal'"):
            mm.glmer("k ~ x + (1 | g)", ratings, name)


def test_categories_that_no_row_has_are_told(ratings: pd.DataFrame) -> None:
    wider = ratings.assign(word=ratings["word"].cat.add_categories("superb"), gap=ratings["k"] + (ratings["k"] > 2))
    for left, missing in (("word", "superb"), ("gap", "3")):
        fit = mm.glmer(f"{left} ~ x + (1 | g)", wider, "ordinal")
        [finding] = [one for one in fit.findings if one.kind == "unused_categories"]
        assert finding.data["categories"] == (missing,)
        assert len(fit.thresholds) == 3
    assert "unused_categories" not in {one.kind for one in mm.glmer("k ~ x + (1 | g)", ratings, "ordinal").findings}


def test_missing_ratings_are_left_out(ratings: pd.DataFrame, fit: mm.GlmmResult) -> None:
    more = pd.concat([ratings, ratings.head(9)], ignore_index=True)
    words = [*ratings["word"], *[None] * 9]
    more["word"] = pd.Categorical(words, WORDS, ordered=True)
    with pytest.warns(mm.DroppedRowsWarning):
        other = mm.glmer("word ~ x + (1 | g)", more, "ordinal")
    assert other.deviance == pytest.approx(fit.deviance, abs=1e-9)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_reversed_categories_turn_signs(ratings: pd.DataFrame, link: str) -> None:
    plain = mm.glmer("k ~ x + (x | g)", ratings, "ordinal", link=link)
    turned = mm.glmer("k ~ x + (x | g)", ratings.assign(k=5 - ratings["k"]), "ordinal", link=link)
    assert turned.deviance == pytest.approx(plain.deviance, abs=1e-7)
    np.testing.assert_allclose(turned.fe_params, -plain.fe_params, atol=1e-5)
    np.testing.assert_allclose(turned.thresholds, -plain.thresholds.to_numpy()[::-1], atol=1e-5)
    np.testing.assert_allclose(
        turned.threshold_table()["std_error"], plain.threshold_table()["std_error"][::-1], rtol=1e-4
    )


@pytest.mark.parametrize("link", list(LINKS))
def test_two_categories_are_a_binomial(ratings: pd.DataFrame, link: str) -> None:
    data = ratings.assign(high=(ratings["k"] > 2).astype(int), low=(ratings["k"] <= 2).astype(int))
    two = mm.glmer("high ~ x + (1 | g)", data, "ordinal", link=link)
    # P(low) = F(threshold - eta), which is the binomial's for the first category with the signs turned
    binomial = mm.glmer("low ~ x + (1 | g)", data, link=link)
    assert two.deviance == pytest.approx(binomial.deviance, abs=1e-8)
    assert two.thresholds["0|1"] == pytest.approx(binomial.fe_params["Intercept"], abs=1e-5)
    assert two.fe_params["x"] == pytest.approx(-binomial.fe_params["x"], abs=1e-5)
    se = two.threshold_table()["std_error"]
    assert se["0|1"] == pytest.approx(binomial.bse_fe["Intercept"], rel=1e-5)
    np.testing.assert_allclose(two.predict()[1], 1 - binomial.fittedvalues, atol=1e-6)


def test_units_origins_and_orders_change_nothing(ratings: pd.DataFrame, fit: mm.GlmmResult) -> None:
    moved = mm.glmer("word ~ x + (1 | g)", ratings.assign(x=1e4 + 1e3 * ratings["x"]), "ordinal")
    assert moved.deviance == pytest.approx(fit.deviance, abs=1e-7)
    assert moved.fe_params["x"] * 1e3 == pytest.approx(fit.fe_params["x"], rel=1e-5)
    np.testing.assert_allclose(moved.thresholds - 1e4 * moved.fe_params["x"], fit.thresholds, atol=1e-5)
    np.testing.assert_allclose(moved.predict(), fit.predict(), atol=1e-7)
    shuffled = mm.glmer("word ~ x + (1 | g)", ratings.sample(frac=1, random_state=3), "ordinal")
    assert shuffled.deviance == pytest.approx(fit.deviance, abs=1e-9)


def test_weights_are_repeated_rows(ratings: pd.DataFrame) -> None:
    weighted = mm.glmer("k ~ x + (1 | g)", ratings.assign(w=1.0 + ratings["g"] % 3), "ordinal", weights="w")
    twice = ratings.loc[np.repeat(ratings.index, 1 + ratings["g"] % 3)]
    repeated = mm.glmer("k ~ x + (1 | g)", twice, "ordinal")
    assert weighted.deviance == pytest.approx(repeated.deviance, abs=1e-7)
    np.testing.assert_allclose(weighted.thresholds, repeated.thresholds, atol=1e-5)


@pytest.mark.parametrize("link", list(LINKS))
def test_chances_are_those_of_the_formula(ratings: pd.DataFrame, link: str) -> None:
    fit = mm.glmer("word ~ x + (1 | g)", ratings, "ordinal", link=link)
    eta = fit.fe_params["x"] * ratings["x"] + fit.random_effects["g"]["Intercept"].to_numpy()[ratings["g"]]
    np.testing.assert_allclose(fit.predict(scale="link"), eta, atol=1e-10)
    np.testing.assert_allclose(fit.linear_predictor, eta, atol=1e-10)
    ends = np.array([-np.inf, *fit.thresholds, np.inf])
    expected = np.diff(LINKS[link].cdf(ends - eta.to_numpy()[:, None]), axis=1)
    np.testing.assert_allclose(fit.predict(), expected, atol=1e-12)
    assert list(fit.predict().columns) == WORDS
    np.testing.assert_allclose(fit.fittedvalues, fit.predict(ratings), atol=1e-12)
    nodes = np.linspace(-9, 9, 4001)
    sd = np.sqrt(fit.varcorr["g"].iloc[0, 0])
    shares = stats.norm.pdf(nodes) * (nodes[1] - nodes[0])
    at = fit.fe_params["x"] * ratings["x"].iloc[0] + sd * nodes
    averaged = shares @ np.diff(LINKS[link].cdf(ends - at[:, None]), axis=1)
    np.testing.assert_allclose(fit.predict(random_effects="averaged").iloc[0], averaged, atol=1e-7)


def test_intervals_hold_chances_between_0_and_1(ratings: pd.DataFrame, fit: mm.GlmmResult) -> None:
    new = pd.DataFrame({"x": [-4.0, 0.0, np.nan]})
    shown = fit.predict(new, random_effects="population", interval="confidence")
    assert shown.index.names == [None, "word"]
    assert shown.shape == (12, 4)
    there = shown.iloc[:8]
    assert ((there["lower"] > 0) & (there["lower"] < there["mean"]) & (there["upper"] < 1)).all()
    assert shown.iloc[8:].isna().all(axis=None)
    # by the delta method, from the table of thresholds: at x = 0 the first chance is F of the first one
    first, table = fit.thresholds.iloc[0], fit.threshold_table()
    slope = special.expit(first) * special.expit(-first)
    assert there.loc[(1, "poor"), "se"] == pytest.approx(slope * table["std_error"].iloc[0], rel=1e-10)
    with pytest.raises(mm.InferenceError, match="on the link scale they are there for random_effects='population'"):
        fit.predict(random_effects="conditional", interval="confidence", scale="link")
    link = fit.predict(new, random_effects="population", interval="confidence", scale="link")
    assert link["se"].iloc[0] == pytest.approx(4 * fit.bse_fe["x"], rel=1e-10)


def test_simulated_ratings_have_the_averaged_chances(ratings: pd.DataFrame, fit: mm.GlmmResult) -> None:
    drawn = fit.simulate(3000, seed=2)
    averaged = fit.predict(random_effects="averaged")
    for word in WORDS:
        share = (drawn == word).mean(axis=1)
        error = np.sqrt(averaged[word] * (1 - averaged[word]) / 3000)
        assert (np.abs(share - averaged[word]) < 5 * error).all()
    assert mm.glmer("k ~ x + (1 | g)", ratings, "ordinal").simulate(seed=1).dtype == np.int64


def test_residuals(ratings: pd.DataFrame, fit: mm.GlmmResult) -> None:
    chances = fit.predict().to_numpy()
    k = ratings["k"].to_numpy() - 1
    below = np.array([row[:j].sum() - row[j + 1 :].sum() for row, j in zip(chances, k, strict=True)])
    np.testing.assert_allclose(fit.resid, below, atol=1e-12)
    surrogate = fit.residuals("surrogate", seed=4) + fit.linear_predictor
    ends = np.array([-np.inf, *fit.thresholds, np.inf])
    assert ((surrogate > ends[k]) & (surrogate < ends[k + 1])).all()
    assert stats.kstest(fit.residuals("quantile", seed=5), "norm").pvalue > 0.001
    with pytest.raises(mm.MixedModelsError, match="there are probability, surrogate, quantile"):
        fit.residuals("pearson")


def test_tables_show_effects_and_thresholds_apart(fit: mm.GlmmResult) -> None:
    assert list(fit.coef_table().index) == list(fit.fe_params.index) == list(fit.cov_fe.index) == ["x"]
    text = str(fit.summary(correlation=True))
    assert "Thresholds" in text
    assert "poor|fair" in text
    assert "Intercept  " not in text.split("Fixed effects")[1]
    assert fit.df_model_total == 5
    assert fit.dispersion is None
    assert list(fit.anova().index) == ["x"]
    assert pickle.loads(pickle.dumps(fit)).deviance == fit.deviance
    without = fit.update(". ~ . - x")
    assert "Fixed effects" not in str(without.summary())
    table = mm.compare(without, fit)
    assert table["chisq"].iloc[1] == pytest.approx(without.deviance - fit.deviance)
    with pytest.raises(mm.MixedModelsError, match="family='ordinal'"):
        _ = mm.glmer("cbind(incidence, size - incidence) ~ 1 + (1 | herd)", mm.load_dataset("cbpp")).thresholds


def test_separation_is_told() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=120)
    data = {"y": np.searchsorted([-0.5, 0.5], x), "x": x, "g": np.repeat(np.arange(12), 10)}
    told = pytest.warns(mm.IdentificationWarning, match=r"x tells the response without error in 1\d\d of 120")
    with pytest.warns(mm.SingularFitWarning), told:
        mm.glmer("y ~ x + (1 | g)", data, "ordinal")


def test_wine_from_its_own_categories() -> None:
    wine = load("wine")
    plain = mm.glmer("rating ~ temp + contact + (1 | judge)", wine, "ordinal")
    text = wine.assign(rating=wine["rating"].astype(str))
    assert mm.glmer("rating ~ temp + contact + (1 | judge)", text, mm.families.Ordinal()).deviance == plain.deviance


def test_intervals_of_all_thresholds_by_all_ways() -> None:
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(25), 10), rng.standard_normal(250)
    latent = x + rng.standard_normal(25)[g] + rng.logistic(size=250)
    frame = pd.DataFrame({"x": x, "g": g, "y": np.digitize(latent, [-1, 0.5, 2]) + 1})
    fit = mm.glmer("y ~ x + (1 | g)", frame, "ordinal")
    names = ["1|2", "2|3", "3|4", "x", "sd_Intercept|g"]
    wald = fit.conf_int()
    assert list(wald.index) == names
    table = fit.threshold_table()
    np.testing.assert_allclose(wald.iloc[:3], table[["ci_lower", "ci_upper"]])
    profiled = fit.conf_int("profile")
    assert list(profiled.index) == names
    np.testing.assert_allclose(profiled.iloc[:4], wald.iloc[:4], atol=0.12)
    boot = fit.bootstrap(8, seed=1, progress=False)
    assert list(boot.replicates.columns) == names
    y = fit.simulate(1, seed=5)[:, 0]
    again = mm.glmer("y ~ x + (1 | g)", frame.assign(y=y), "ordinal")
    values = fit._replicated().values_of(again.state)
    np.testing.assert_allclose(values[:3], again.thresholds, rtol=1e-9)
    np.testing.assert_allclose(fit._replicated().errors_of(fit.state)[:3], table["std_error"], rtol=1e-8)
    assert list(boot.conf_int("percentile").index) == names
    assert list(fit.conf_int(which=["2|3"]).index) == ["2|3"]
    turned = mm.glmer("y ~ x + (1 | g)", frame.assign(y=5 - frame["y"]), "ordinal").conf_int("profile")
    limits = -turned.iloc[2::-1, ::-1].to_numpy()  # the reverse order of categories reverses and turns thresholds
    np.testing.assert_allclose(profiled.iloc[:3], limits, atol=2e-4)
    with pytest.raises(mm.InferenceError, match="There is no parameter 'Intercept'"):
        fit.conf_int(which="Intercept")


@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("random_effects", ["population", "averaged", "conditional"])
def test_intervals_of_two_categories_are_those_of_the_binomial(link: str, random_effects: str) -> None:
    rng = np.random.default_rng(8)
    g, x = np.repeat(np.arange(30), 20), rng.standard_normal(600)
    y = (x * (1 + rng.standard_normal(30)[g]) + rng.standard_normal(30)[g] + rng.logistic(size=600) > 0.3).astype(int)
    frame = pd.DataFrame({"x": x, "g": g, "y": y})
    ordinal = mm.glmer("y ~ x + (x | g)", frame, "ordinal", link=link)
    binomial = mm.glmer("y ~ x + (x | g)", frame, "binomial", link=link)
    new = pd.concat([frame.head(5), frame.tail(3)])
    asked = {"random_effects": random_effects, "interval": "confidence"}
    ours, theirs = ordinal.predict(new, **asked), binomial.predict(new, **asked)
    chance = ours.xs(1, level="y")
    np.testing.assert_allclose(chance["mean"], theirs["mean"], rtol=1e-5)
    np.testing.assert_allclose(chance["se"], theirs["se"], rtol=1e-3)
    if link == "logit" and random_effects != "averaged":  # both are formed on the logit scale of the chance
        np.testing.assert_allclose(chance[["lower", "upper"]], theirs[["lower", "upper"]], rtol=1e-3)
    other = ours.xs(0, level="y")
    np.testing.assert_allclose(other["se"], chance["se"], rtol=1e-6)


def test_marginal_chances_are_averages_of_predicted_ones(ratings: pd.DataFrame) -> None:
    data = ratings.assign(arm=np.where(np.arange(200) % 3, "a", "b"), sex=np.where(np.arange(200) % 2, "f", "m"))
    own = mm.glmer("word ~ x + arm * sex + (1 | g)", data, "ordinal")
    grid = pd.DataFrame({"x": data["x"].mean(), "arm": ["a", "a", "b", "b"], "sex": ["f", "m", "f", "m"]})
    for choice in ("population", "averaged"):
        predicted = own.predict(grid.assign(g=0), random_effects=choice)
        table = own.margins("arm", random_effects=choice)["estimate"].unstack()
        np.testing.assert_allclose(table.loc["a", WORDS], predicted.iloc[:2].mean(), atol=1e-10)
        np.testing.assert_allclose(table.sum(axis=1), 1.0)
        held = own.margins("sex", by="arm", random_effects=choice)
        np.testing.assert_allclose(held["estimate"], predicted.to_numpy().ravel(), atol=1e-10)
    with_intervals = own.predict(grid.assign(g=0), random_effects="population", interval="confidence")
    table = own.margins("sex", by="arm")
    np.testing.assert_allclose(table["std_error"], with_intervals["se"], rtol=1e-6)
    np.testing.assert_allclose(table[["ci_lower", "ci_upper"]], with_intervals[["lower", "upper"]], rtol=1e-6)
    classes = own.margins("arm", scale="mean_class")["estimate"]
    chances = own.margins("arm")["estimate"].unstack()[WORDS]
    np.testing.assert_allclose(classes, chances @ [1.0, 2.0, 3.0, 4.0], rtol=1e-12)


def test_contrasts_of_chances(ratings: pd.DataFrame) -> None:
    data = ratings.assign(arm=np.array(["a", "b", "c"])[np.arange(200) % 3])
    own = mm.glmer("word ~ x + arm + (1 | g)", data, "ordinal")
    pairs, chances = own.margins("arm", pairwise=True), own.margins("arm")["estimate"].unstack()
    assert pairs.index.names == ["word", "contrast"]
    np.testing.assert_allclose(
        pairs.loc["fair", "estimate"]["a - b"], chances.loc["a", "fair"] - chances.loc["b", "fair"]
    )
    np.testing.assert_allclose(pairs["estimate"].groupby("contrast").sum(), 0, atol=1e-12)
    assert any("Tukey" in note and "each" in note for note in pairs.attrs["notes"])
    plain = own.margins("arm", pairwise=True, adjust="none")
    assert (pairs["p_value"] >= plain["p_value"]).all()
    quarter = own.margins("arm", null=0.25)
    z = (quarter["estimate"] - 0.25) / quarter["std_error"]
    np.testing.assert_allclose(quarter["statistic"], z)
    assert own.margins("arm")["p_value"].isna().all()
    one_sided = own.margins("arm", side="greater")
    assert (one_sided["ci_upper"] == 1).all()
    with pytest.raises(mm.InferenceError, match='"mean_class" or "response" or "link"'):
        own.margins("arm", scale="mean")
    with pytest.raises(mm.InferenceError, match="random_effects is 'all'"):
        own.margins("arm", random_effects="all")
    assert own.margins("arm", scale="link").index.to_list() == ["a", "b", "c"]


def test_chances_that_the_data_do_not_tell_are_none(ratings: pd.DataFrame) -> None:
    data = ratings.assign(arm=np.where(np.arange(200) % 3, "a", "b"), sex=np.where(np.arange(200) % 3 == 1, "f", "m"))
    with pytest.warns(mm.RankDeficiencyWarning):
        own = mm.glmer("word ~ arm * sex + (1 | g)", data, "ordinal")
    table = own.margins("arm")["estimate"].unstack()
    assert table.loc["b"].isna().all()
    np.testing.assert_allclose(table.loc["a"].sum(), 1.0)
