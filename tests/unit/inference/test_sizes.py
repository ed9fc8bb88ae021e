"""Sizes of effects: what they are by hand, where they must not change, and messy fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import mixedmodels as mm
from mixedmodels.inference.effect_sizes import KINDS, noncentrality

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")


def messy() -> pd.DataFrame:
    """Return unbalanced groups of two levels of nesting, an empty cell, gaps, weights and a column made of another."""
    rng = np.random.default_rng(21)
    n = 300
    data = pd.DataFrame({
        "x": rng.normal(50, 7, n), "my z": rng.exponential(size=n), "f": rng.choice(list("pqr"), n),
        "b": rng.choice(["no", "yes"], n), "g": np.sort(rng.integers(0, 15, n)), "w": rng.uniform(0.5, 2, n),
    })  # fmt: skip
    data["h"] = rng.integers(0, 4, n)
    data = data[(data.f != "r") | (data.b != "yes")].reset_index(drop=True)
    slope = rng.normal(0, 0.05, 15)[data["g"]]
    data["y"] = 20 + (0.1 + slope) * data["x"] + rng.normal(size=15)[data["g"]] + rng.normal(size=len(data))
    data["double"], data["o"] = 2 * data["x"], np.sin(np.arange(len(data)))
    data["e"] = rng.normal(size=len(data))
    data.loc[::23, "my z"] = np.nan
    return data


DATA = messy()
USED = DATA.dropna()
FULL = "y ~ x * `my z` + f * b + (x | g) + (1 | g:h)"


def z(values: pd.Series) -> pd.Series:
    return (values - values.mean()) / values.std()


# Partial sizes


def noncentral_f(f: float, k: float, m: float, noncentrality: float) -> float:
    """Return the distribution function as the mixture that it is: of central ones, by a Poisson law."""
    j = np.arange(20_000)
    return float(special.betainc(k / 2 + j, m / 2, k * f / (k * f + m)) @ stats.poisson.pmf(j, noncentrality / 2))


@pytest.mark.parametrize("probability", [0.025, 0.5, 0.975])
@pytest.mark.parametrize("test", [(4.2, 2, 9.3), (0.8, 3, 400.0), (5000.0, 1, 12.0), (1.2, 7, 1.4)])
def test_noncentrality_is_where_the_law_says(test: tuple[float, float, float], probability: float) -> None:
    f, k, m = test
    found = noncentrality(f, k, m, probability)
    if found == 0:
        assert special.fdtr(k, m, f) <= probability
    else:
        assert noncentral_f(f, k, m, found) == pytest.approx(probability, abs=1e-9)


def test_sizes_are_those_of_the_tests_shown() -> None:
    fit = mm.lmer(FULL, DATA)
    for kind, size in KINDS.items():
        for type_, ddf in ((3, "satterthwaite"), (2, "kenward-roger"), (1, "residual")):
            table, tests = fit.effect_sizes(kind, type_, ddf), fit.anova(type_, ddf)
            for term, row in table.iterrows():
                f, k, m = tests.loc[term, ["f_value", "num_df", "den_df"]]
                assert row[f"{kind}_sq"] == pytest.approx(size(f, k, m))
                assert 0 <= row["ci_lower"] <= row["ci_upper"] < 1
    wide, narrow = fit.effect_sizes(level=0.99), fit.effect_sizes(level=0.8)
    assert (wide["ci_upper"] > narrow["ci_upper"]).all()


def test_a_balanced_design_has_the_sizes_of_its_sums_of_squares() -> None:
    """One-way with repeated measures: eta squared is SS over SS and SS of what it is tested against."""
    oats = mm.load_dataset("Oats").assign(nitro=lambda d: d["nitro"].astype(str))
    means = oats.groupby(["Block", "nitro"], observed=True)["yield"].mean().unstack()
    long = means.stack().rename("m").reset_index()
    fit = mm.lmer("m ~ nitro + (1 | Block)", long)
    grand = means.to_numpy().mean()
    effect = 6 * ((means.mean() - grand) ** 2).sum()
    rest = ((means - means.mean() - means.mean(axis=1).to_numpy()[:, None] + grand) ** 2).to_numpy().sum()
    assert fit.effect_sizes().loc["nitro", "eta_sq"] == pytest.approx(effect / (effect + rest), rel=1e-6)


def test_nothing_to_size() -> None:
    for formula in ("y ~ 0 + (1 | g)", "y ~ 1 + (1 | g)"):
        fit = mm.lmer(formula, DATA)
        assert len(fit.effect_sizes()) == len(fit.part_r2()) - 1 == 0
        assert fit.anova().dtypes.map(pd.api.types.is_numeric_dtype).all()


# Standardised coefficients


def test_refit_is_the_model_of_z_scores() -> None:
    table = mm.lmer(FULL, DATA, weights="w", offset="o").standardized()
    scores = USED.assign(y=z(USED["y"]), x=z(USED["x"]), o=(USED["o"] - USED["o"].mean()) / USED["y"].std())
    scores["my z"] = z(USED["my z"])
    by_hand = mm.lmer(FULL, scores, weights="w", offset="o").coef_table()
    np.testing.assert_allclose(table, by_hand, rtol=1e-4, atol=1e-8)
    assert table.attrs["notes"][1:] == ("Means and standard deviations count each row once, whatever its weight.",)


def test_weights_do_not_count_in_standard_deviations() -> None:
    fit = mm.lmer("y ~ x + (1 | g)", USED, weights="w")
    table = fit.standardized("basic")
    by_hand = fit.fe_params["x"] * USED["x"].std() / USED["y"].std()
    assert table.loc["x", "estimate"] == pytest.approx(by_hand, rel=1e-12)
    assert "whatever its weight" in table.attrs["notes"][-1]


def test_functions_of_columns_are_variables() -> None:
    formula = "y ~ log(`my z`) + poly(x, 2) * b + (log(`my z`) | g)"
    table = mm.lmer(formula, DATA).standardized()
    basis = mm.lmer(formula, DATA).state.design
    columns = pd.DataFrame(basis.X, columns=basis.x_names)
    scores = USED.assign(y=z(USED["y"]), l=z(np.log(USED["my z"])))
    scores["p"], scores["q"] = (z(columns[f"poly(x, 2)[{k}]"]).to_numpy() for k in (1, 2))
    by_hand = mm.lmer("y ~ l + p + q + b + p:b + q:b + (l | g)", scores).coef_table()
    short = {"log(`my z`)": "l", "poly(x, 2)[1]": "p", "poly(x, 2)[2]": "q"}
    rows = table.rename(index=lambda name: ":".join(short.get(part, part) for part in name.split(":")))
    np.testing.assert_allclose(rows.loc[by_hand.index], by_hand, rtol=1e-4, atol=1e-8)


def test_basic_is_by_the_column() -> None:
    fit = mm.lmer(FULL, DATA, weights="w")
    table, plain = fit.standardized("basic", ddf="CR2"), fit.coef_table("CR2").drop(index="Intercept")
    design = fit.state.design
    sd = pd.DataFrame(design.X, columns=design.x_names).std()[table.index] / design.y.std(ddof=1)
    for column in ("estimate", "std_error", "ci_lower", "ci_upper"):
        np.testing.assert_allclose(table[column], plain[column] * sd, rtol=1e-9)
    for column in ("df", "statistic", "p_value"):
        np.testing.assert_array_equal(table[column], plain[column])


UNITS = {"x": 1000.0, "my z": 1e-6}


@pytest.mark.parametrize("method", ["refit", "basic", "pseudo"])
def test_units_and_origins_do_not_matter(method: str) -> None:
    formula = "y ~ x + `my z` + f + (x | g)"
    moved = DATA.assign(y=3 + 7 * DATA["y"], **{name: 5 * unit + unit * DATA[name] for name, unit in UNITS.items()})
    one, other = (mm.lmer(formula, data).standardized(method) for data in (DATA, moved))
    np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("formula", ["y ~ 0 + x + (1 | g)", "y ~ x + (0 + x | g)", "y ~ x + (x || g)"])
def test_another_model_is_said(formula: str) -> None:
    notes = mm.lmer(formula, DATA).standardized().attrs["notes"]
    assert any("This is another model" in note for note in notes)


def test_no_variance_between_groups_has_no_size_between() -> None:
    data = pd.DataFrame({"g": np.repeat(np.arange(8), 5), "x": np.tile(np.arange(5.0), 8)})
    data["between"] = data["g"] % 2
    data["y"] = np.tile([1.0, 3, 2, 5, 4], 8) + np.tile([0.1, -0.1], 20)
    table = mm.lmer("y ~ x + between + (1 | g)", data).standardized("pseudo")
    assert np.isnan(table.loc["between", "estimate"])
    assert np.isfinite(table.loc["x", "estimate"])
    assert "no size" in table.attrs["notes"][1]


# Shares of variance


FITS = {
    "nested": FULL,
    "split": "y ~ x + (x + f || g)",
    "two terms": "y ~ x + (1 | g) + (0 + x | g)",
    "no intercept": "y ~ 0 + f + x + (x | g)",
    "aliased": "y ~ x + double + f + (1 | g)",
    "no fixed part": "y ~ 0 + (1 | g)",
    "singular": "e ~ x + (x | g)",
    "polynomial": "y ~ poly(x, 3) + (poly(x, 2) | g)",
}


@pytest.mark.parametrize("options", [{}, {"weights": "w", "offset": "o"}], ids=["", "weights and offset"])
@pytest.mark.parametrize("name", FITS)
def test_shares_are_those_of_r2_and_icc(name: str, options: dict[str, str]) -> None:
    fit = mm.lmer(FITS[name], DATA, **options)
    r2, icc = fit.r2(), fit.icc()
    for by in ("term", "factor", "level"):
        if by == "level" and len(fit.n_groups) > 1:
            continue
        table = fit.variance_shares(by)
        assert table["share"].sum() == pytest.approx(1)
        assert table["share"][table.index.str.startswith("fixed")].sum() == pytest.approx(r2["marginal"], abs=1e-12)
        assert 1 - table.loc["residual", "share"] == pytest.approx(r2["conditional"], rel=1e-9)
        if by == "level":
            assert table[["share_within", "share_between"]].sum().iloc[0] == pytest.approx(1)
        else:
            assert table["icc"].sum() == pytest.approx(icc["adjusted"], rel=1e-9, abs=1e-12)
    assert fit.variance_shares("factor").index[1:-1].tolist() == list(fit.n_groups)


def test_random_terms_are_named() -> None:
    table = mm.lmer("y ~ x + (x | g) + (1 | g:h)", DATA).variance_shares()
    assert list(table.index) == ["fixed", "(1 | g:h)", "(x | g)", "residual"]
    split = mm.lmer("y ~ x + (1 | g) + (0 + x | g)", DATA).variance_shares()
    assert list(split.index) == ["fixed", "(1 | g)", "(0 + x | g)", "residual"]


def test_random_intercepts_lie_between() -> None:
    table = mm.lmer("y ~ x + (1 | g)", DATA).variance_shares("level")
    assert list(table.index) == ["fixed, within", "fixed, between", "(1 | g), between", "residual"]


# Part R-squared


def test_part_r2_by_hand() -> None:
    fit = mm.lmer(FULL, DATA, weights="w", offset="o")
    whole = fit.variance_shares()["variance"].sum()
    fixed = fit.variance_shares()["variance"]["fixed"]
    table = fit.part_r2()
    assert list(table.index) == ["<all>", "x:my z", "f:b"]
    assert table.loc["<all>", "part_r2"] == pytest.approx(fit.r2()["marginal"])
    for term, text in (("x:my z", "x:`my z`"), ("f:b", "f:b")):
        smaller = mm.lmer(FULL.replace(" + (x", f" - {text} + (x"), USED, weights="w", offset="o")
        left = smaller.variance_shares()["variance"]["fixed"]
        assert table.loc[term, "part_r2"] == pytest.approx((fixed - left) / whole, rel=1e-3, abs=1e-7)
        assert table.loc[term, "df"] == fit.df_model_total - smaller.df_model_total


def test_what_others_make_up_adds_nothing() -> None:
    table = mm.lmer("y ~ x + double + f + (1 | g)", DATA).part_r2()
    assert table.loc[["x", "double"], ["df", "part_r2"]].to_numpy().tolist() == [[0, 0], [0, 0]]


def test_models_of_arrays() -> None:
    door = mm.MixedLM(USED["y"], USED[["x", "o"]].assign(one=1.0), USED["g"]).fit()
    assert list(door.part_r2().index[1:]) == ["x", "o", "one"]
    assert door.variance_shares().index[0] == "fixed"
    assert list(door.standardized("basic").index) == ["x", "o", "one"]
    with pytest.raises(mm.InferenceError, match="Fit it with lmer, or use method='basic'"):
        door.standardized()


def test_without_rows(tmp_path: Path) -> None:
    mm.lmer("y ~ log(x) + (x | g)", DATA).save(tmp_path / "fit", data=False)
    fit = mm.load(tmp_path / "fit")
    asked = (
        *(lambda how=how: fit.standardized(how) for how in ("refit", "basic", "pseudo")),
        *(lambda by=by: fit.variance_shares(by) for by in ("term", "factor", "level")),
        fit.part_r2, fit.effect_sizes, fit.drop1, lambda: fit.drop1("LRT"), fit.step,
    )  # fmt: skip
    for ask in asked:
        with pytest.raises(mm.InferenceError):
            ask()


def test_refusals() -> None:
    fit, crossed = mm.lmer("y ~ x + f + (1 | g)", DATA), mm.lmer("y ~ x + (1 | g) + (1 | h)", DATA)
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: fit.effect_sizes("omega2"), "must be 'eta', 'epsilon' or 'omega'.* Did you mean 'omega'"),
        (lambda: fit.effect_sizes(ddf="normal"), "takes for infinite"),
        (lambda: fit.effect_sizes(type=4), "type is 4"),
        (lambda: fit.effect_sizes(level=95), "level is 95"),
        (lambda: fit.standardized("posthoc"), "must be 'refit', 'basic' or 'pseudo'"),
        (lambda: fit.standardized(ddf=fit.cov_fe_robust()), "which is fitted anew"),
        (lambda: crossed.standardized("pseudo"), "one grouping factor, but there are"),
        (lambda: crossed.variance_shares("level"), "one grouping factor, but there are"),
        (lambda: fit.variance_shares("terms"), "Did you mean 'term'"),
    ]
    for ask, says in cases:
        with pytest.raises(mm.InferenceError, match=says):
            ask()


def test_negative_parts_are_told() -> None:
    """A slope within groups alone: without their means, the slope spreads the groups too, and "explains" more."""
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 10), "within": rng.normal(size=120)})
    data["mean"] = 3 * rng.normal(size=12)[data.g]
    data["x"] = data["within"] + data["mean"]
    data["y"] = -data["within"] + 0.2 * rng.normal(size=120) + rng.normal(size=12)[data.g]
    for formula, is_negative in (("y ~ x + mean + (1 | g)", True), ("y ~ within + mean + (1 | g)", False)):
        table = mm.lmer(formula, data).part_r2()
        assert (table["part_r2"] < -1e-3).any() == is_negative == ("A part is negative" in repr(table))
