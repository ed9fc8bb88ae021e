"""Checks, variance inflation, whitened and simulated residuals, bad input of influence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

SLEEP = mm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def fit() -> mm.LmmResult:
    return mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)


def test_leverages_sum_to_the_effective_parameters(fit: mm.LmmResult) -> None:
    """Vaida and Blanchard (2005): rho = tr(H), H = I - sigma^2 P of the dense problem."""
    design = fit.state.design
    Z = design.factors[0].Z
    assert Z is not None
    V = (design.factors[0].codes[:, None] == design.factors[0].codes) * (
        Z @ fit.varcorr["Subject"].to_numpy() @ Z.T
    ) + fit.scale * np.eye(fit.nobs)
    V_inv = np.linalg.inv(V)
    VX = V_inv @ design.X
    P = V_inv - VX @ np.linalg.solve(design.X.T @ VX, VX.T)
    np.testing.assert_allclose(fit.hat_values(), 1 - fit.scale * np.diag(P), rtol=1e-9)


def test_whitened_residuals_undo_the_covariance() -> None:
    fit = mm.lmer("strength ~ 1 + (1 | batch/cask)", mm.load_dataset("Pastes"))
    whitened = fit.residuals("cholesky").to_numpy()
    r = fit.residuals("marginal").to_numpy()
    V = fit.scale * np.eye(60)
    for factor in fit.state.design.factors:
        V += (factor.codes[:, None] == factor.codes) * fit.varcorr[factor.name].iloc[0, 0]
    assert whitened @ whitened == pytest.approx(r @ np.linalg.solve(V, r))


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_vif_is_that_of_least_squares_for_balanced_effects() -> None:
    """Without random variance VIF_j = 1 / (1 - R_j^2) of the columns; here by the inverse of their correlations."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=200)
    b = a + 0.5 * rng.normal(size=200)
    g = np.repeat(np.arange(20), 10)
    y = rng.normal(size=200)
    y -= np.repeat(np.add.reduceat(y, range(0, 200, 10)) / 10, 10)
    model = mm.LinearMixedModel("y ~ a + b + (1 | g)", {"y": y, "a": a, "b": b, "g": g})
    fit = model.fit()
    assert fit.is_singular
    expected = np.diag(np.linalg.inv(np.corrcoef(a, b)))
    np.testing.assert_allclose(fit.vif()["gvif"], expected, rtol=1e-6)


def test_vif_needs_two_terms(fit: mm.LmmResult) -> None:
    with pytest.raises(mm.InferenceError, match="at least two terms"):
        fit.vif()


def test_a_clean_fit_is_good_and_a_broken_one_is_not() -> None:
    rng = np.random.default_rng(2)
    g, x = np.repeat(np.arange(20), 10), np.tile(np.arange(10.0), 20)
    good = rng.normal(size=20)[g] + x + rng.normal(size=200)
    bad = good.copy()
    bad[7] += 60.0
    clean, broken = (
        mm.LinearMixedModel("y ~ x + (1 | g)", {"y": y, "x": x, "g": g}).fit().check() for y in (good, bad)
    )
    assert (clean["verdict"] == "good").all()
    assert (clean["advice"] == "").all()
    assert broken.loc["outliers", "verdict"] == "look"
    assert "row 7" in broken.loc["influence of rows", "found"]
    assert "Cook's D of fixed effects" in broken.loc["influence of rows", "found"]
    shown = repr(broken).splitlines()
    assert max(map(len, shown)) <= 80
    assert " ".join(" ".join(shown).split()).count(broken.loc["outliers", "advice"]) == 1


def test_a_level_that_carries_the_slope_is_named() -> None:
    """x varies between levels, and one of them lies far out in both."""
    rng = np.random.default_rng(5)
    g = np.repeat([f"g{i}" for i in range(12)], 6)
    x = np.repeat([*np.linspace(0, 1, 11), 8.0], 6)
    y = np.repeat([*rng.normal(size=11), 20.0], 6) + rng.normal(size=72)
    fit = mm.lmer("y ~ x + (1 | g)", {"y": y, "x": x, "g": g})
    row = fit.check().loc["influence of g"]
    assert row["verdict"] == "look"
    assert "level g11" in row["found"]
    assert "fit.influence(by='g')" in row["advice"]


def test_simulated_residuals_are_uniform_under_the_model() -> None:
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(40), 5)
    y = rng.normal(size=40)[g] + rng.normal(size=200)
    fit = mm.lmer("y ~ 1 + (1 | g)", {"y": y, "g": g})
    found = fit.simulated_residuals(400, seed=1)
    assert ((found.scaled > 0) & (found.scaled < 1)).all()
    assert (found.tests["p_value"] > 0.01).all()
    heavy = rng.standard_t(2, size=200)
    other = mm.lmer("y ~ 1 + (1 | g)", {"y": rng.normal(size=40)[g] + heavy, "g": g}).simulated_residuals(400, seed=1)
    assert other.tests.loc["uniformity", "p_value"] < found.tests.loc["uniformity", "p_value"]


def test_failed_deletions_are_reported() -> None:
    """Without the one level in which x varies x cannot be estimated."""
    g = np.repeat(np.arange(6), 4)
    x = np.where(g == 2, np.tile([0.0, 1.0, 2.0, 3.0], 6), 0.0)
    y = np.random.default_rng(4).normal(size=24) + np.array([0, 2, 1, 3, -1, 0.5])[g]
    found = mm.lmer("y ~ x + (1 | g)", {"y": y, "x": x, "g": g}).influence(by="g")
    assert list(found.failures) == [2]
    assert found.cooks_distance.isna().sum() == 1


def test_a_row_that_determines_an_effect_has_no_cooks_distance() -> None:
    g = np.repeat(np.arange(6), 4)
    x = np.zeros(24)
    x[5] = 1.0
    y = np.random.default_rng(4).normal(size=24) + np.array([0, 2, 1, 3, -1, 0.5])[g]
    fit = mm.lmer("y ~ x + (1 | g)", {"y": y, "x": x, "g": g})
    assert fit.hat_values()[5] == pytest.approx(1)
    assert list(np.flatnonzero(fit.cooks_distance().isna())) == [5]
    assert list(fit.influence().failures) == [5]
    assert fit.influence(method="one-step").cooks_distance.isna().sum() == 1
    assert fit.check().loc["influence of rows", "verdict"] in {"good", "look"}


def test_units_do_not_matter(fit: mm.LmmResult) -> None:
    data = SLEEP.assign(Days=SLEEP["Days"] * 1e8, Reaction=SLEEP["Reaction"] * 1e-5)
    scaled = mm.lmer("Reaction ~ Days + (Days | Subject)", data)
    for method in ("exact", "one-step"):
        ours, theirs = (f.influence(by="Subject", method=method) for f in (fit, scaled))
        np.testing.assert_allclose(ours.cooks_distance, theirs.cooks_distance, rtol=1e-5)
        np.testing.assert_allclose(ours.dfbetas, theirs.dfbetas, rtol=1e-4, atol=1e-6)


def test_a_variance_between_levels_needs_two_of_them() -> None:
    """As lmer refuses the data without the level."""
    rng = np.random.default_rng(6)
    g, x = np.repeat(["a", "b"], 30), rng.normal(size=60)
    fit = mm.lmer("y ~ x + (1 | g)", {"y": x + 2 * (g == "b") + rng.normal(size=60), "x": x, "g": g})
    found = fit.influence(by="g")
    assert found.failures == dict.fromkeys("ab", "g has one level only without it, and a variance needs at least two")
    for numbers in (found.fe_params, found.variance_parameters, found.dfbetas, found.cooks_distance):
        assert np.isnan(numbers).all(axis=None)
    assert np.isfinite(fit.influence(by="g", method="one-step").dfbetas).all(axis=None)


@pytest.mark.parametrize("formula", ["y ~ f + f:x + (1 | g)", "y ~ C(k) + C(k):x + (1 | g)"])
def test_terms_of_one_factor_are_checked_for_collinearity(formula: str) -> None:
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(12), 10)
    data = {"y": rng.normal(size=12)[g] + rng.normal(size=120), "g": g, "x": rng.normal(size=120), "k": g % 3}
    fit = mm.lmer(formula, data | {"f": np.array(["a", "b", "c"])[g % 3]})
    largest = fit.vif()["gvif_scaled"].max() ** 2
    assert f"largest variance inflation {largest:.1f} " in fit.check().loc["collinearity", "found"]


def test_labels_of_several_indexes_are_shown_as_text() -> None:
    index = pd.MultiIndex.from_arrays([SLEEP["Subject"], SLEEP["Days"].astype(int)])
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP.set_axis(index.set_names(["who", "day"]), axis=0))
    found = fit.influence(method="one-step")
    subject, day = found.cooks_distance.idxmax()
    assert f"(row {subject}, {int(day)})" in fit.check().loc["influence of rows", "found"]
    assert f"\n  {subject}, {int(day)}: " in repr(found)


def test_bad_input(fit: mm.LmmResult) -> None:
    with pytest.raises(mm.InferenceError, match=r"no grouping factor 'subject'.*Did you mean 'Subject'"):
        fit.influence(by="subject")
    for by in (3, ["Subject"]):
        with pytest.raises(mm.InferenceError, match=r"no grouping factor .*; there are Subject"):
            fit.influence(by=by)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(mm.InferenceError, match="method='quick'"):
        fit.influence(method="quick")
    bare = mm.lmer("Reaction ~ 0 + (1 | Subject)", SLEEP)
    with pytest.raises(mm.InferenceError, match="this fit has none"):
        bare.influence()
    with pytest.raises(mm.InferenceError, match="this fit has none"):
        bare.cooks_distance()


def test_deletions_that_leave_a_perfect_fit_are_named() -> None:
    """Without a pair there are as many rows as fixed effects."""
    rng = np.random.default_rng(3)
    d = pd.DataFrame(rng.normal(size=(9, 6)), columns=[f"a{i}" for i in range(6)])
    d["g"] = np.arange(9) // 2
    d["y"] = rng.normal(size=9) + 2 * rng.normal(size=5)[d["g"]]
    fit = mm.lmer("y ~ a0 + a1 + a2 + a3 + a4 + a5 + (1 | g)", d)
    influence = fit.influence(by="g", method="one-step")
    assert set(influence.failures) == {0, 1, 2, 3}
    assert influence.cooks_distance.notna().tolist() == [False, False, False, False, True]
    fit.check()
