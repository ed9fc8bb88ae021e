"""Absorbed fixed effects: every answer is that of the model with a column a level, or refused by name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.design.absorbed import Absorbed, AbsorbedFactor
from mixedmodels.errors import DataError, DesignError, FormulaError, InferenceError, RankDeficiencyWarning

N_FIRMS, N_YEARS = 30, 6
FIXED, RANDOM = "x * kind", "(x | shop) + (1 | team)"


def made(n: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(14)
    firm, year, shop, team = (rng.integers(m, size=n) for m in (N_FIRMS, N_YEARS, 20, 9))
    x, kind = rng.normal(size=n), rng.choice(["a", "b", "c"], size=n)
    y = x + 4 * rng.normal(size=N_FIRMS)[firm] + rng.normal(size=N_YEARS)[year]
    frame = pd.DataFrame({"firm": firm, "year": year, "shop": shop, "team": team, "x": x, "kind": kind})
    frame["size"] = rng.normal(size=N_FIRMS)[firm]
    frame["country"] = firm % 4
    frame["w"] = rng.uniform(0.5, 2, n)
    y = y + rng.normal(size=20)[shop] + rng.normal(size=20)[shop] * x
    frame["y"] = y + 0.7 * rng.normal(size=9)[team] + rng.normal(size=n)
    return frame


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return made()


def both(frame: pd.DataFrame, reml: bool = True, **options: Any) -> tuple[mm.LmmResult, mm.LmmResult]:
    """Return the fit with absorbed levels and the one with dummies, in which the levels come first too."""
    absorbed = mm.lmer(f"y ~ {FIXED} + fe(firm) + fe(year) + {RANDOM}", frame, reml=reml, **options)
    return absorbed, mm.lmer(f"y ~ 0 + C(firm) + C(year) + {FIXED} + {RANDOM}", frame, reml=reml, **options)


@pytest.fixture(scope="module", params=["reml", "ml", "weighted"])
def fits(frame: pd.DataFrame, request: pytest.FixtureRequest) -> tuple[mm.LmmResult, mm.LmmResult]:
    return both(frame, request.param != "ml", weights="w" if request.param == "weighted" else None)


def same(a: Any, b: Any, tolerance: float = 1e-8) -> None:
    a, b = (
        v.to_numpy(dtype=float, na_value=np.nan) if isinstance(v, pd.DataFrame) else np.asarray(v, dtype=float)
        for v in (a, b)
    )
    finite = np.isfinite(b)
    assert np.array_equal(np.isfinite(a), finite)
    assert np.abs(a[finite] - b[finite]).max(initial=0.0) <= tolerance * (1 + np.abs(b[finite]).max(initial=0.0))


def test_estimates(fits: tuple[mm.LmmResult, mm.LmmResult]) -> None:
    fit, dummies = fits
    names = list(fit.fe_params.index)
    assert names == ["x", "kind[T.b]", "kind[T.c]", "x:kind[T.b]", "x:kind[T.c]"]
    same(fit.fe_params, dummies.fe_params[names])
    same(fit.cov_fe, dummies.cov_fe.loc[names, names])
    same([fit.deviance, fit.aic, fit.bic, fit.aicc], [dummies.deviance, dummies.aic, dummies.bic, dummies.aicc])
    same([*fit.theta, fit.sigma], [*dummies.theta, dummies.sigma])
    assert (fit.df_model_total, fit.df_resid) == (dummies.df_model_total, dummies.df_resid)
    for group in fit.random_effects:
        same(fit.random_effects[group], dummies.random_effects[group])
        same(fit.random_effects_cov[group], dummies.random_effects_cov[group])
    for kind in ("conditional", "marginal", "pearson", "standardized"):
        same(fit.residuals(kind), dummies.residuals(kind))
    same(fit.variance_parameters().iloc[:, :4], dummies.variance_parameters().iloc[:, :4])


def test_effects_of_levels(fits: tuple[mm.LmmResult, mm.LmmResult]) -> None:
    fit, dummies = fits
    effects = fit.absorbed_effects()
    same(effects["firm"], dummies.fe_params.iloc[:N_FIRMS])
    same(effects["year"], [0.0, *dummies.fe_params.iloc[N_FIRMS : N_FIRMS + N_YEARS - 1]])
    assert list(effects["firm"].index) == list(range(N_FIRMS))


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger", "residual", "normal"])
def test_tests(fits: tuple[mm.LmmResult, mm.LmmResult], ddf: str) -> None:
    fit, dummies = fits
    if ddf == "kenward-roger" and not fit.reml:
        pytest.skip("Kenward and Roger's method is REML's")
    names = list(fit.fe_params.index)
    same(fit.coef_table(ddf=ddf), dummies.coef_table(ddf=ddf).loc[names])
    for type_ in (1, 2, 3):
        table = fit.anova(type=type_, ddf=ddf)
        same(table, dummies.anova(type=type_, ddf=ddf).loc[list(table.index)])
    same(fit.contrast("x:kind[T.b] = x:kind[T.c]", ddf=ddf), dummies.contrast("x:kind[T.b] = x:kind[T.c]", ddf=ddf))


def test_comparisons_and_intervals(fits: tuple[mm.LmmResult, mm.LmmResult]) -> None:
    fit, dummies = fits
    same(fit.ranova(), dummies.ranova())
    drops = fit.drop1(test="LRT")
    same(drops, dummies.drop1(test="LRT").loc[list(drops.index)])
    same(fit.conf_int(method="profile", which=["x"]), dummies.conf_int(method="profile", which=["x"]), 1e-6)
    ours, theirs = (f.bootstrap(5, seed=3, progress=False).replicates for f in fits)
    same(ours, theirs[list(ours.columns)])


DIFFERENCES: tuple[dict[str, Any], ...] = (
    {"pairwise": True},
    {"pairwise": True, "weights": "proportional", "at": {"x": [2.0]}},
    {"control": "b", "by": "x", "at": {"x": [-1, 1]}},
    {"contrasts": "eff"},
)


@pytest.mark.parametrize("options", DIFFERENCES)
def test_differences_of_means(fits: tuple[mm.LmmResult, mm.LmmResult], options: dict[str, Any]) -> None:
    fit, dummies = fits
    table = fit.margins("kind", **options)
    assert np.isfinite(table["std_error"]).all()
    same(table, dummies.margins("kind", **options).loc[table.index])
    with pytest.raises(InferenceError, match=r"A mean, .* as by fe\(firm\)\. Ask for differences, .* or where"):
        fit.margins("kind")


def test_slopes_and_sizes_of_effects(fits: tuple[mm.LmmResult, mm.LmmResult]) -> None:
    fit, dummies = fits
    same(fit.slopes("x", "kind"), dummies.slopes("x", "kind"), 1e-7)
    for ours, theirs in (
        (fit.joint_tests(), dummies.joint_tests()),
        (fit.standardized(), dummies.standardized()),
        (fit.effect_sizes(), dummies.effect_sizes()),
    ):
        same(ours, theirs.loc[list(ours.index)])


def test_shares_of_variance(frame: pd.DataFrame, fits: tuple[mm.LmmResult, mm.LmmResult]) -> None:
    fit, dummies = fits
    for name in ("r2", "icc"):
        same(list(getattr(fit, name)().values()), list(getattr(dummies, name)().values()))
    for by in ("term", "factor"):
        same(fit.variance_shares(by), dummies.variance_shares(by))
    one, other = (mm.lmer(f"y ~ x + {firm} + (x | shop)", frame) for firm in ("fe(firm)", "0 + C(firm)"))
    same(one.variance_shares("level"), other.variance_shares("level"))
    parts = one.part_r2()
    same(parts.loc["x"], other.part_r2().loc["x"])
    assert parts.loc["<all>", "df"] == N_FIRMS


def test_looks_at_the_fit(fits: tuple[mm.LmmResult, mm.LmmResult], frame: pd.DataFrame) -> None:
    fit, dummies = fits
    ours, theirs = fit.check(), dummies.check()
    assert ours.loc["convergence", "found"].startswith("converged")
    alone = [name for name in ours.index if name not in ("convergence", "shape of residuals")]
    assert ours.loc[alone, "verdict"].equals(theirs.loc[alone, "verdict"])
    assert not any("influence" in name or "collinearity" in name for name in ours.index)
    assert "not looked at where fixed effects are absorbed" in repr(ours).replace("\n ", "")
    same(*(f.simulated_residuals(20, seed=2).scaled for f in fits))
    for data in (frame, frame.sample(30, random_state=2)):
        ours, theirs = (f.augment(data).select_dtypes("number") for f in fits)
        same(ours, theirs[list(ours.columns)])


def test_power(fits: tuple[mm.LmmResult, mm.LmmResult]) -> None:
    same(*(mm.power(f, "x", beta={"x": 0.3}, n=10, seed=3, progress=False) for f in fits))


def test_stepwise(frame: pd.DataFrame) -> None:
    one, other = (mm.lmer(f"y ~ x + year:kind + {firm} + (x | shop)", frame) for firm in ("fe(firm)", "0 + C(firm)"))
    (random, fixed), (random_too, fixed_too) = ((s.random, s.fixed) for s in (one.step(), other.step()))
    same(random, random_too)
    kept = [name for name in fixed.index if name in fixed_too.index]
    assert kept == list(fixed.index)
    columns = [name for name in fixed.columns if name != "eliminated"]
    same(fixed[columns], fixed_too.loc[kept, columns], 1e-7)


def test_models_without_a_term(frame: pd.DataFrame) -> None:
    smaller, larger = (
        [mm.lmer(f"y ~ x + {levels} + (1 | shop)", frame, reml=False) for levels in pair]
        for pair in (("fe(firm)", "C(firm)"), ("fe(firm) + fe(year)", "C(firm) + C(year)"))
    )
    same(mm.compare(smaller[0], larger[0]), mm.compare(smaller[1], larger[1]))


def test_new_rows(fits: tuple[mm.LmmResult, mm.LmmResult], frame: pd.DataFrame) -> None:
    fit, dummies = fits
    new = frame.sample(20, random_state=1)
    for choice in ("conditional", "population"):
        same(fit.predict(new, random_effects=choice), dummies.predict(new, random_effects=choice))
    same(fit.simulate(2, seed=1), dummies.simulate(2, seed=1))
    same(fit.simulate(1, seed=1, data=new, weights=1.0), dummies.simulate(1, seed=1, data=new, weights=1.0))
    gap = new.assign(firm=new["firm"].where(np.arange(20) > 0).astype("Int64"))
    assert np.isnan(fit.predict(gap).iloc[0])
    assert np.isfinite(fit.predict(gap).iloc[1:]).all()
    with pytest.raises(DataError, match=r"Row 0 .* level '99' of the absorbed factor fe\(firm\)"):
        fit.predict(new.assign(firm=99))


def test_fits_again_and_files(fits: tuple[mm.LmmResult, mm.LmmResult], frame: pd.DataFrame, tmp_path: Path) -> None:
    fit, dummies = fits
    y = frame["y"] ** 2
    same(fit.refit(y).fe_params, dummies.refit(y).fe_params[list(fit.fe_params.index)])
    same(fit.refit(y).fittedvalues, dummies.refit(y).fittedvalues)
    fit.save(tmp_path / "fit")
    for loaded in (mm.load(tmp_path / "fit"), pickle.loads(pickle.dumps(fit))):
        assert loaded.df_model_total == fit.df_model_total
        same(loaded.fittedvalues, fit.fittedvalues)
        same(loaded.anova(), fit.anova())
    smaller = fit.update(". ~ . - fe(year) - (1 | team)")
    assert smaller.formula == "y ~ x * kind + fe(firm) + (x | shop)"
    assert smaller.df_resid == fit.df_resid + N_YEARS - 1
    with pytest.raises(FormulaError, match=r"no term fe\(team\) to take away"):
        fit.update(". ~ . - fe(team)")


REFUSED = {
    "cov_fe_robust": (),
    "slopes_by_level": ("x", "shop"),
    "criteria": (),
    "coef_by_level": ("shop",),
    "hat_values": (),
    "cooks_distance": (),
    "influence": (),
    "vif": (),
    "to_marginaleffects": (),
    "report": ("page.html",),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_by_name(fits: tuple[mm.LmmResult, mm.LmmResult], name: str) -> None:
    with pytest.raises(InferenceError, match=r"is not available where fixed effects are absorbed, as by fe\(firm\)"):
        getattr(fits[0], name)(*REFUSED[name])


def test_intervals_of_predictions_and_files_without_rows_are_refused(
    fits: tuple[mm.LmmResult, mm.LmmResult], tmp_path: Path
) -> None:
    with pytest.raises(InferenceError, match="An interval of predictions is not available"):
        fits[0].predict(interval="confidence")
    with pytest.raises(InferenceError, match=r"save\(data=False\) is not available"):
        fits[0].save(tmp_path / "fit", data=False)
    with pytest.raises(InferenceError, match="No fixed effects are absorbed"):
        fits[1].absorbed_effects()


def test_rows_as_a_stream_have_the_predictions_of_all_at_once(
    fits: tuple[mm.LmmResult, mm.LmmResult], frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame.to_parquet(tmp_path / "rows.parquet")
    read = fits[0].augment_batches(tmp_path / "rows.parquet").read_pandas()
    same(read[".fitted"], fits[1].predict(frame))
    same(read[".fixed"], fits[1].predict(frame, random_effects="population"))


def test_every_public_method_is_known_here() -> None:
    """A method that is new must be answered or refused above."""
    answered = {
        *("fe_params", "bse_fe", "cov_fe", "sigma", "scale", "llf", "deviance", "aic", "bic", "aicc", "df_model_total"),
        *("df_resid", "formula", "nobs", "n_dropped", "reml", "converged", "findings", "optimizer", "theta", "varcorr"),
        *("random_effects", "random_effects_cov", "random_effects_frame", "n_groups", "is_singular", "fittedvalues"),
        *("resid", "residuals", "summary", "coef_table", "anova", "contrast", "tidy", "glance", "to_dict", "save"),
        *("refit", "update", "conf_int", "variance_parameters", "predict", "simulate", "ranova", "drop1", "profile"),
        *("bootstrap", "icc", "re_pca", "plot", "absorbed_effects", "check_estimated", "augment_batches", "ddf"),
        *("margins", "slopes", "joint_tests", "step", "r2", "part_r2", "variance_shares", "standardized"),
        *("effect_sizes", "check", "simulated_residuals", "augment"),
    }
    public = {name for name in dir(mm.LmmResult) if not name.startswith("_")}
    assert public == answered | set(REFUSED)


def test_columns_constant_within_levels(frame: pd.DataFrame) -> None:
    with pytest.warns(RankDeficiencyWarning, match=r"size \(a combination of fe\(firm\)\)"):
        fit = mm.lmer("y ~ x + size + fe(firm) + (1 | shop)", frame)
    assert list(fit.fe_params.index) == ["x"]
    with pytest.raises(InferenceError, match="'size' was dropped"):
        fit.contrast("size = 0")
    alone = mm.lmer("y ~ 1 + fe(firm) + (1 | shop)", frame)
    assert not len(alone.fe_params)
    assert not alone.findings
    same(alone.deviance, mm.lmer("y ~ 0 + C(firm) + (1 | shop)", frame).deviance)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("(1 | firm)", "Intercept of 'firm'"),
        ("(x | firm)", "Keep the other effects"),
        ("(size | shop:firm) + (1 | country)", "Intercept of 'country'"),
    ],
)
def test_random_effects_that_are_absorbed(frame: pd.DataFrame, term: str, message: str) -> None:
    with pytest.raises(DesignError, match=message):
        mm.lmer(f"y ~ x + fe(firm) + {term}", frame)
    mm.lmer("y ~ x + fe(firm) + (0 + x | firm)", frame)


def test_factors_within_factors(frame: pd.DataFrame) -> None:
    plain = mm.lmer("y ~ x + fe(firm) + (1 | shop)", frame)
    fit = mm.lmer("y ~ x + fe(firm) + fe(country) + (1 | shop)", frame)
    assert [finding.kind for finding in fit.findings] == ["idle_levels"]
    assert fit.df_resid == plain.df_resid
    same(fit.deviance, plain.deviance)
    cells = mm.lmer("y ~ x + fe(firm:year) + (1 | shop)", frame)
    assert frame.nunique()["x"] - cells.df_resid - 1 == len(frame[["firm", "year"]].drop_duplicates())


def indicators(*factors: np.ndarray) -> np.ndarray:
    return np.hstack([np.eye(codes.max() + 1)[codes] for codes in factors])


@pytest.mark.parametrize("seed", range(12))
def test_rank_of_several_factors(seed: int) -> None:
    """Two thinly connected factors, and a third: the rank is that of all dummies, whatever the parts."""
    rng = np.random.default_rng(seed)
    n = 60
    a, b, c = (np.unique(rng.integers(m, size=n), return_inverse=True)[1].astype(np.int32) for m in (25, 20, 15))
    b = np.where(a < 8, b % 4, 4 + b % 12)  # at least two parts
    b = np.unique(b, return_inverse=True)[1].astype(np.int32)
    for codes in ((a, b), (a, b, c), (c, b, a)):
        factors = tuple(AbsorbedFactor(f"f{k}", pd.RangeIndex(f.max() + 1), f) for k, f in enumerate(codes))
        absorbed = Absorbed(factors, rng.uniform(0.5, 2, n) if seed % 2 else None)
        dummies = indicators(*codes)
        assert absorbed.rank == np.linalg.matrix_rank(dummies)
        kept = dummies[:, ~np.concatenate(absorbed.is_reference)]
        assert np.linalg.matrix_rank(kept) == kept.shape[1]
        values = rng.normal(size=(n, 2))
        root = np.ones(n) if absorbed.weights is None else np.sqrt(absorbed.weights)
        left = values - kept @ np.linalg.lstsq(kept * root[:, None], values * root[:, None], rcond=None)[0]
        rest, effects = absorbed.residual(values)
        assert np.abs(rest - left).max() <= 1e-9
        normalized = absorbed.normalized([part[:, 0] for part in effects])
        assert np.abs(absorbed.sum_of(normalized) + rest[:, 0] - values[:, 0]).max() <= 1e-9
        assert all(
            (part[reference] == 0).all() for part, reference in zip(normalized, absorbed.is_reference, strict=True)
        )


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("y ~ x + fe(firm):x + (1 | shop)", "stands on its own"),
        ("y ~ x - fe(firm) + (1 | shop)", "stands on its own"),
        ("y ~ x + fe() + (1 | shop)", "is empty"),
        ("y ~ x + fe(firm + year) + (1 | shop)", "For two factors write two terms"),
        ("y ~ x + fe(firm) + fe(firm) + (1 | shop)", "absorbed twice"),
        ("y ~ x + fe(firm:firm) + (1 | shop)", "appears twice"),
        ("y ~ x + (fe(firm) | shop)", "part of a random term"),
        ("y ~ x + fe(firm)", "no random term"),
    ],
)
def test_formulas_that_are_refused(frame: pd.DataFrame, formula: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        mm.lmer(formula, frame)


def test_other_doors_refuse(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(FormulaError, match="in memory only"):
        mm.lmer("y ~ x + fe(firm) + (1 | shop)", str(tmp_path / "rows.parquet"))
    with pytest.raises(FormulaError, match="glmer does not absorb"):
        mm.glmer("y ~ x + fe(firm) + (1 | shop)", frame.assign(y=1.0 * (frame["y"] > 0)), family="binomial")
    with pytest.raises(FormulaError, match="lmer_many does not absorb"):
        mm.lmer_many("~ x + fe(firm) + (1 | shop)", frame, frame[["y", "size"]])
    with pytest.raises(FormulaError, match="power does not absorb"):
        mm.power("y ~ x + fe(firm) + (1 | shop)", "x", data=frame)
    with pytest.raises(FormulaError, match="mmrm does not absorb"):
        mm.mmrm("y ~ x + fe(firm) + us(year | shop)", frame)


def test_rows_with_missing_levels_are_left_out(frame: pd.DataFrame) -> None:
    gaps = frame.assign(firm=frame["firm"].where(frame.index % 50 != 0))
    with pytest.warns(mm.DroppedRowsWarning):
        fit = mm.lmer("y ~ x + fe(firm) + (1 | shop)", gaps)
    assert dict(fit.state.design.n_dropped) == {"missing firm": 10}
    whole = mm.lmer("y ~ x + fe(firm) + (1 | shop)", frame[frame.index % 50 != 0])
    same(fit.deviance, whole.deviance)


def test_neither_names_nor_order_of_rows_matter(frame: pd.DataFrame) -> None:
    fit = mm.lmer("y ~ x + fe(firm) + fe(year) + (1 | shop)", frame)
    other = frame.assign(firm=frame["firm"].map(lambda k: f"firm {N_FIRMS - k:03}"), year=-frame["year"])
    again = mm.lmer("y ~ x + fe(year) + fe(firm) + (1 | shop)", other.sample(frac=1, random_state=3))
    same([*fit.fe_params, *fit.theta, fit.deviance], [*again.fe_params, *again.theta, again.deviance])
    far = mm.lmer(
        "y ~ x + fe(firm) + fe(year) + (1 | shop)", frame.assign(y=frame["y"] + 1e6, x=frame["x"] * 1e5 + 1e9)
    )
    same([far.fe_params["x"] * 1e5, *far.theta], [fit.fe_params["x"], *fit.theta], 1e-6)
