"""Zero-inflated and hurdle models: what users see of them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

import mixedmodels as mm
from mixedmodels.cli import main

RNG = np.random.default_rng(7)
G = np.repeat(np.arange(30), 8)
X, Z = RNG.normal(size=240), RNG.normal(size=240)
COUNTS = RNG.poisson(np.exp(0.9 + 0.4 * X + 0.5 * RNG.normal(size=30)[G]))
DATA = pd.DataFrame(
    {
        "y": np.where(RNG.uniform(size=240) < special.expit(-0.8 + 0.6 * Z), 0, COUNTS),
        "x": X,
        "z": Z,
        "arm": np.where(Z > 0.3, "new", "old"),
        "g": G,
    }
)
FORMULA = "y ~ x + (1 | g)"


def inflated(zero_inflation: str = "~ z", data: Any = DATA, family: str = "poisson") -> mm.GlmmResult:
    return mm.glmer(FORMULA, data, family, zero_inflation=zero_inflation)


@pytest.fixture(scope="module")
def fit() -> mm.GlmmResult:
    return inflated()


def test_both_spellings_are_one_model(fit: mm.GlmmResult) -> None:
    named = mm.glmer(FORMULA, DATA, "zero_inflated_poisson", zero_inflation="~ z")
    assert named.deviance == fit.deviance
    assert mm.glmer(FORMULA, DATA, "zero_inflated_poisson").deviance == inflated("~ 1").deviance
    updated = fit.update(zero_inflation="~ 1")
    assert updated.deviance == inflated("~ 1").deviance
    assert updated.family.name == "zero_inflated_poisson"


def test_summary_shows_the_chance_of_zeros(fit: mm.GlmmResult) -> None:
    text = str(fit.summary())
    assert "zero inflated poisson, log link" in text
    assert "Chance p of an excess zero (logit)" in text
    hurdle = str(mm.glmer(FORMULA, DATA, "hurdle_negative_binomial").summary())
    assert "Chance p of a zero (logit)" in hurdle
    assert "variance of counts with the mean m, beside the chance of a zero, is m + d m^2" in " ".join(hurdle.split())


@pytest.mark.parametrize(("shift", "scale"), [(1e4, 1.0), (0.0, 1e6), (-300.0, 1e-3)])
def test_units_and_origins_of_covariates_change_nothing(fit: mm.GlmmResult, shift: float, scale: float) -> None:
    moved = inflated(data=DATA.assign(z=DATA["z"] * scale + shift))
    assert moved.deviance == pytest.approx(fit.deviance, abs=1e-8)
    assert moved.optimizer.n_evaluations == fit.optimizer.n_evaluations
    mine, theirs = moved.zero_table().loc["z"], fit.zero_table().loc["z"]
    assert mine["estimate"] * scale == pytest.approx(theirs["estimate"], rel=1e-5)
    assert mine["std_error"] * scale == pytest.approx(theirs["std_error"], rel=1e-5)
    np.testing.assert_allclose(moved.fittedvalues, fit.fittedvalues, rtol=1e-6)


def test_order_of_rows_changes_nothing(fit: mm.GlmmResult) -> None:
    turned = inflated(data=DATA.iloc[::-1].reset_index(drop=True))
    assert turned.deviance == pytest.approx(fit.deviance, abs=1e-8)
    np.testing.assert_allclose(turned.fittedvalues[::-1], fit.fittedvalues, rtol=1e-6)


@pytest.mark.parametrize("zero_inflation", ["~ z", "~ arm + scale(z)", "~ 1"])
@pytest.mark.parametrize("family", ["poisson", "hurdle_poisson", "hurdle_negative_binomial"])
def test_new_data_have_the_chances_of_their_rows(family: str, zero_inflation: str) -> None:
    own = inflated(zero_inflation, family=family)
    np.testing.assert_allclose(own.predict(DATA[::-1])[::-1], own.predict(), rtol=1e-12)
    some = own.predict(DATA.iloc[5:9].assign(z=[0.1, np.nan, 0.2, 0.3]))
    assert some.isna().to_list() == [False, "z" in zero_inflation, False, False]
    one, other = own.predict(pd.concat([DATA.iloc[[0]]] * 2).assign(z=[0.0, 2.0], arm=["old", "new"]))
    assert (one == other) == (zero_inflation == "~ 1")


def test_averaged_means_are_those_of_simulated_levels(fit: mm.GlmmResult) -> None:
    for own in (fit, inflated(family="hurdle_poisson")):
        drawn = own.simulate(4000, seed=2)
        mean = own.predict(random_effects="averaged")
        error = drawn.std(axis=1) / np.sqrt(drawn.shape[1])
        assert np.abs((drawn.mean(axis=1) - mean) / error).max() < 4.5


def test_a_saved_fit_predicts_the_same(fit: mm.GlmmResult, tmp_path: Path) -> None:
    fit.save(tmp_path / "fit.mm")
    read = mm.load(tmp_path / "fit.mm")
    np.testing.assert_array_equal(read.predict(DATA), fit.predict(DATA))
    pd.testing.assert_frame_equal(read.zero_table(), fit.zero_table())


def test_what_rests_on_likelihoods_and_draws_is_there(fit: mm.GlmmResult) -> None:
    plain = inflated("~ 1")
    table = mm.compare(plain, fit)
    assert table["chisq"].iloc[-1] == pytest.approx(plain.deviance - fit.deviance)
    profile = fit.conf_int(method="profile")
    assert (profile["lower"] < profile["upper"]).all()
    draws = fit.bootstrap(20, seed=1)
    assert np.isfinite(draws.conf_int().to_numpy()).all()
    assert {"zeros", "residual shape"} <= {*fit.check().index, "zeros"}
    np.testing.assert_array_less(np.abs(fit.residuals("quantile", seed=1)), 5.0)


def test_no_excess_zeros_is_a_finding_and_the_rest_has_errors() -> None:
    rng = np.random.default_rng(2)
    data = DATA.assign(y=rng.poisson(np.exp(1.4 + 0.3 * X + 0.5 * rng.normal(size=30)[G])))
    data["y"] = np.where(np.arange(240) == 0, 0, np.maximum(data["y"], 1))
    plain = mm.glmer(FORMULA, data, "poisson")
    none = inflated("~ 1", data)
    assert [finding.kind for finding in none.findings if finding.kind == "no_excess_zeros"]
    assert none.deviance == pytest.approx(plain.deviance, abs=1e-6)
    np.testing.assert_allclose(none.bse_fe, plain.bse_fe, rtol=1e-4)
    assert none.zero_table()["std_error"].isna().all()


REFUSED = [
    ("gamma", {"zero_inflation": "~ 1"}, mm.FitError, "zero_inflation= is given for the family 'gamma'"),
    ("poisson", {"zero_inflation": "1"}, mm.FormulaError, "must be a formula with nothing left of ~"),
    ("poisson", {"zero_inflation": 1}, mm.FormulaError, "must be a formula with nothing left of ~"),
    ("poisson", {"zero_inflation": "~ (1 | g)"}, mm.FormulaError, "Random effects in zero_inflation="),
    ("poisson", {"zero_inflation": "~ offset(z)"}, mm.FormulaError, "Offsets in zero_inflation="),
    ("poisson", {"zero_inflation": "~ nothing"}, mm.DataError, "nothing"),
    ("poisson", {"zero_inflation": "~ z + I(2 * z)"}, mm.DesignError, "combination of the columns before it"),
    ("poisson", {"zero_inflation": "~ 0"}, mm.DesignError, "has no columns"),
]


@pytest.mark.parametrize(("family", "options", "error", "message"), REFUSED)
def test_what_cannot_be_is_refused(family: str, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mm.glmer(FORMULA, DATA.assign(y=DATA["y"] + (family == "gamma")), family, **options)


def test_responses_without_zeros_or_counts_are_refused() -> None:
    with pytest.raises(mm.DataError, match="is never 0"):
        inflated(data=DATA.assign(y=DATA["y"] + 1))
    with pytest.raises(mm.DataError, match="no counts above the hurdle"):
        mm.glmer(FORMULA, DATA.assign(y=np.minimum(DATA["y"], 1)), "hurdle_poisson")
    with pytest.raises(mm.DataError, match="Column 'z' of zero_inflation='~ z' is missing in 1 of the 240 rows"):
        inflated(data=DATA.assign(z=np.where(np.arange(240) == 3, np.nan, Z)))


def test_what_is_not_there_is_refused_by_name(fit: mm.GlmmResult) -> None:
    with pytest.raises(mm.InferenceError, match="none is known for the family 'zero_inflated_poisson'"):
        fit.r2()
    with pytest.raises(mm.InferenceError, match="no chance of their own"):
        mm.glmer(FORMULA, DATA, "poisson").zero_table()


def test_restricted_formulas_are_restricted_here_too() -> None:
    with pytest.raises(mm.FormulaError, match="no listed function"):
        mm.glmer(FORMULA, DATA, "poisson", zero_inflation="~ I(z.__class__)", evaluate="restricted")
    allowed = mm.glmer(FORMULA, DATA, "poisson", zero_inflation="~ scale(z)", evaluate="restricted")
    assert allowed.deviance == pytest.approx(inflated().deviance, abs=1e-8)


@pytest.mark.parametrize("family", ["poisson", "hurdle_poisson", "negative_binomial"])
def test_influence_and_cases_take_the_chances_of_their_rows(family: str) -> None:
    own = inflated("~ z + arm", family=family)
    found = own.influence("g", progress=False)
    by_hand = inflated("~ z + arm", DATA[DATA["g"] != 7], family)
    np.testing.assert_allclose(found.fe_params.loc[7], by_hand.fe_params, rtol=1e-5)
    zeros = found.variance_parameters.loc[7].filter(like="zero_inflation: ")
    np.testing.assert_allclose(zeros, by_hand.zero_table()["estimate"], rtol=1e-4)
    quick = own.influence("g", "one-step", progress=False)
    assert np.corrcoef(found.cooks_distance, quick.cooks_distance)[0, 1] > 0.8
    drawn = np.array([3, 3, *range(28)])
    rows = np.concatenate([np.flatnonzero(level == G) for level in drawn])
    copies = DATA.iloc[rows].assign(g=np.repeat(np.arange(30), 8))
    replicate = own._replicated().refit_levels("g", drawn)
    assert replicate.optimum.deviance == pytest.approx(inflated("~ z + arm", copies, family).deviance, abs=1e-6)
    assert own.bootstrap(5, kind="cases", seed=1, progress=False).n_failed == 0


@pytest.mark.parametrize("end", [0, 1])
def test_chances_without_end_are_named_and_the_rest_has_its_errors(end: int) -> None:
    arm = np.repeat(["a", "b", "c"], 80)
    data = DATA.assign(arm=arm, y=np.where(arm != "b", DATA["y"], 0 if end else np.maximum(COUNTS, 1)))
    with pytest.warns(mm.IdentificationWarning, match=rf"goes to {end} in 80 of 240 rows along arm\[T.b\]"):
        own = inflated("~ arm", data, "hurdle_poisson")
    rest = inflated("~ arm", data[arm != "b"], "hurdle_poisson")  # whether there is a zero is a model by itself
    mine, theirs = own.zero_table(), rest.zero_table()
    assert np.isnan(mine.loc["arm[T.b]", "std_error"])
    pd.testing.assert_frame_equal(mine.drop("arm[T.b]"), theirs, rtol=1e-5)
    np.testing.assert_allclose(own.bse_fe, inflated("~ 1", data, "hurdle_poisson").bse_fe, rtol=1e-5)
    assert own.check().loc["separation", "found"] == "by arm[T.b]"
    with pytest.warns(mm.IdentificationWarning, match=rf"goes to {end} in"):
        excess = inflated("~ arm", data)
    assert np.isfinite(excess.bse_fe).all()


@pytest.mark.parametrize("family", ["poisson", "hurdle_poisson"])
def test_intervals_of_means_are_about_those_of_a_bootstrap(family: str) -> None:
    own, rows = inflated(family=family), DATA[:4]

    def logs(one: mm.GlmmResult) -> Any:
        return np.log(
            np.concatenate([one.predict(rows, random_effects=choice) for choice in ("population", "averaged")])
        )

    draws = own.bootstrap(100, seed=3, progress=False, statistic=logs).replicates.std()
    tables = [own.predict(rows, random_effects=choice, interval="confidence") for choice in ("population", "averaged")]
    table = pd.concat(tables)
    np.testing.assert_allclose(draws, table["se"] / table["mean"], rtol=0.25)
    np.testing.assert_allclose(table["upper"] / table["mean"], table["mean"] / table["lower"], rtol=1e-12)


def test_tables_and_rows_of_the_zero_part(fit: mm.GlmmResult) -> None:
    tidy = fit.tidy()
    zeros = tidy[tidy["component"] == "zi"]
    assert zeros["term"].to_list() == ["Intercept", "z"]
    assert (zeros["effect"] == "fixed").all()
    np.testing.assert_array_equal(zeros["std_error"], fit.zero_table()["std_error"])
    assert tidy[tidy["component"] == "cond"]["term"].to_list() == ["Intercept", "x", "sd__Intercept"]
    assert "zi" not in set(fit.tidy("ran_pars")["component"])
    assert "component" not in mm.glmer(FORMULA, DATA, "poisson").tidy()
    text = str(mm.table(mm.glmer(FORMULA, DATA, "poisson"), fit, stars=True, digits=3))
    part = text[text.index("Chance of a zero (logit)") : text.index("Standard deviations")]
    assert f"{fit.zero_table().loc['z', 'estimate']:.3f}" in part
    assert "the chance of a zero has ~ z." in " ".join(text.split())


def test_reports_leave_out_lines_of_means(fit: mm.GlmmResult, tmp_path: Path) -> None:
    with pytest.raises(mm.InferenceError, match="chance of a zero too, and are not drawn"):
        mm.plot.spaghetti(fit)
    fit.report(tmp_path / "page.html")
    assert "Chance p of an excess zero" in (tmp_path / "page.html").read_text()


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "counts.csv")
    DATA.assign(code=np.where(Z > 0, "01", "1")).to_csv(path, index=False)
    assert main(["fit", path, FORMULA, "--family", "poisson", "--zero-inflation", "~ C(code)"]) == 0
    assert "C(code)[T.1]" in capsys.readouterr().out
    both = ["compare", path, FORMULA, "y ~ (1 | g)", "--family", "hurdle_poisson", "--zero-inflation", "~ z"]
    assert main(both) == 0
    printed = capsys.readouterr().out.split()
    assert f"{inflated(family='hurdle_poisson').deviance:.3f}" in printed
    assert main(["fit", path, FORMULA, "--zero-inflation", "~ z"]) == 2
    assert "--zero-inflation goes with --family" in capsys.readouterr().err


@pytest.mark.parametrize("family", ["poisson", "hurdle_poisson", "negative_binomial"])
def test_marginal_means_have_the_zeros_in_them(family: str) -> None:
    own = mm.glmer("y ~ x + arm + (1 | g)", DATA, family, zero_inflation="~ arm + z")
    rows = pd.DataFrame({"x": DATA["x"].mean(), "z": DATA["z"].mean(), "arm": ["new", "old"], "g": 0})
    for choice in ("population", "averaged"):
        predicted = own.predict(rows, random_effects=choice, interval="confidence")
        table = own.margins("arm", random_effects=choice)
        np.testing.assert_allclose(table["estimate"], predicted["mean"], rtol=1e-9)
        if choice == "population":
            np.testing.assert_allclose(table["std_error"], predicted["se"], rtol=1e-5)
            np.testing.assert_allclose(table[["ci_lower", "ci_upper"]], predicted[["lower", "upper"]], rtol=1e-5)
    ratio = own.margins("arm", pairwise=True)
    means = own.margins("arm")["estimate"]
    assert ratio.index.to_list() == ["new / old"]
    assert ratio["estimate"].iloc[0] == pytest.approx(means["new"] / means["old"])
    along = own.margins("z", at={"z": [-1.0, 1.0]})
    assert along.index.to_list() == [-1, 1]
    assert along["estimate"].iloc[0] > along["estimate"].iloc[1]
    counts = mm.glmer("y ~ x + (1 | g)", DATA, family, zero_inflation="~ arm").margins("arm")
    assert len(counts) == 2
    with pytest.raises(mm.InferenceError, match="There is no variable 'none'"):
        own.margins("none")
    assert len(mm.plot.effects(own, "x", by="arm").lines) > 1


def test_saved_fits_know_the_columns_of_both_parts(fit: mm.GlmmResult, tmp_path: Path) -> None:
    fit.save(tmp_path / "fit.mm")
    read = mm.load(tmp_path / "fit.mm")
    assert read.update(n_agq=3).deviance == fit.update(n_agq=3).deviance
    pd.testing.assert_frame_equal(read.margins("z", at={"z": 0}), fit.margins("z", at={"z": 0}))
