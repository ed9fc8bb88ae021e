"""Variance inflation: dense algebra, and nothing that depends on a coding or an origin."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm


def unbalanced() -> pd.DataFrame:
    """Return rows in cells of very different sizes, and a covariate that nearly is another."""
    rng = np.random.default_rng(5)
    n = 300
    data = pd.DataFrame({"a": rng.choice(list("pqr"), n, p=[0.2, 0.3, 0.5]), "g": rng.integers(0, 25, n)})
    data["b"] = np.where(rng.random(n) < 0.3 + 0.4 * (data["a"] == "p"), "u", "v")
    data["x"] = rng.normal(size=n)
    data["z"] = data["x"] + 0.3 * rng.normal(size=n) + (data["a"] == "q")
    data["site"], data["ward"] = np.array(list("KL"))[data["g"] % 2], np.array(list("MNOPQR"))[data["g"] % 6]
    return data.assign(y=rng.normal(size=25)[data["g"]] + data["x"] + rng.normal(size=n))


DATA = unbalanced()
CROSSED = "y ~ a * b + z + x * a + (1 | g)"


def dense_gvif(fit: mm.LmmResult, own: list[str], below: list[str], beside: list[str]) -> float:
    """Return det S(own | below) / det S(own | below, beside), S the remaining cross-products in V^-1."""
    design = fit.state.design
    V = fit.scale * np.eye(fit.nobs)
    V += (design.factors[0].codes[:, None] == design.factors[0].codes) * fit.varcorr["g"].iloc[0, 0]
    M = design.X.T @ np.linalg.solve(V, design.X)

    def log_det_rest(given: list[str]) -> float:
        o, g = ([design.x_names.index(name) for name in names] for names in (own, given))
        rest = M[np.ix_(o, o)] - M[np.ix_(o, g)] @ np.linalg.solve(M[np.ix_(g, g)], M[np.ix_(g, o)])
        return float(np.linalg.slogdet(rest)[1])

    return float(np.exp(log_det_rest(["Intercept", *below]) - log_det_rest(["Intercept", *below, *beside])))


def test_terms_are_judged_after_those_below_them_and_without_those_above() -> None:
    fit = mm.lmer(CROSSED, DATA)
    a, b, ab, ax = ["a[T.q]", "a[T.r]"], ["b[T.v]"], ["a[T.q]:b[T.v]", "a[T.r]:b[T.v]"], ["x:a[T.q]", "x:a[T.r]"]
    expected = {
        "a": dense_gvif(fit, a, [], [*b, "x", "z"]),
        "b": dense_gvif(fit, b, [], [*a, "x", "z", *ax]),
        "z": dense_gvif(fit, ["z"], [], [*a, *b, "x", *ab, *ax]),
        "x": dense_gvif(fit, ["x"], [], [*a, *b, "z", *ab]),
        "a:b": dense_gvif(fit, ab, [*a, *b], ["x", "z", *ax]),
        "x:a": dense_gvif(fit, ax, ["x", *a], [*b, "z", *ab]),
    }
    table = fit.vif()
    np.testing.assert_allclose(table.loc[list(expected), "gvif"], list(expected.values()), rtol=1e-9)
    assert table["df"].to_dict() == {"a": 2, "b": 1, "z": 1, "x": 1, "a:b": 2, "x:a": 2}
    np.testing.assert_allclose(table["gvif_scaled"], table["gvif"] ** (0.5 / table["df"]))
    assert table.loc["x", "gvif"] > 10  # what z and x have in common is found beside the interactions


@pytest.mark.parametrize("coding", ["sum", "helmert", "poly"])
def test_codings_change_nothing(coding: str) -> None:
    ours, theirs = mm.lmer(CROSSED, DATA).vif(), mm.lmer(CROSSED, DATA, contrasts={"a": coding, "b": coding}).vif()
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9)


def test_the_order_of_levels_and_terms_changes_nothing() -> None:
    relabelled = DATA.assign(a=DATA["a"].map({"p": "z", "q": "y", "r": "x"}))
    theirs = mm.lmer("y ~ x * a + z + b * a + (1 | g)", relabelled).vif().rename({"b:a": "a:b"})
    pd.testing.assert_frame_equal(
        mm.lmer(CROSSED, DATA).vif(), theirs.loc[["a", "b", "z", "x", "a:b", "x:a"]], rtol=1e-9
    )


@pytest.mark.parametrize(
    "formula", ["y ~ x * z + a + (1 | g)", "y ~ a * x + z + (x | g)", "y ~ x + I(x**2) + I(x**3) + z + (1 | g)"]
)
def test_the_origin_of_a_covariate_changes_nothing(formula: str) -> None:
    ours, theirs = (mm.lmer(formula, DATA.assign(x=DATA["x"] + origin)).vif() for origin in (0.0, 50.0))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-5)


def test_without_an_intercept_cells_are_as_with_one() -> None:
    with_one, without = (
        mm.lmer("y ~ a + b + x + (1 | g)", DATA).vif(),
        mm.lmer("y ~ 0 + a + b + x + (1 | g)", DATA).vif(),
    )
    pd.testing.assert_frame_equal(with_one, without, rtol=1e-9)


def test_a_balanced_crossing_inflates_nothing() -> None:
    """Orthogonal terms have factors of one; in treatment coding that of the last coefficient is 2^4 - 1."""
    levels = pd.MultiIndex.from_product([range(20), *[list("uv")] * 4], names=list("gabcd")).to_frame(index=False)
    rng = np.random.default_rng(1)
    data = levels.assign(y=rng.normal(size=20)[levels["g"]] + rng.normal(size=320))
    fit = mm.lmer("y ~ a * b * c * d + (1 | g)", data)
    C = fit.cov_fe.to_numpy()[1:, 1:]
    assert (np.diag(C) * np.diag(np.linalg.inv(C))).max() == pytest.approx(15.0)
    np.testing.assert_allclose(fit.vif()["gvif"], 1.0, rtol=1e-9)
    assert fit.check().loc["collinearity", "verdict"] == "good"


def test_aliased_terms_have_no_row_and_inflate_nothing() -> None:
    data = DATA.assign(x2=2 * DATA["x"])
    with pytest.warns(mm.RankDeficiencyWarning):
        table = mm.lmer("y ~ x + x2 + b + (1 | g)", data).vif()
    pd.testing.assert_frame_equal(table, mm.lmer("y ~ x + b + (1 | g)", data).vif(), rtol=1e-9)
    with pytest.warns(mm.RankDeficiencyWarning):
        nested = mm.lmer("y ~ site + ward + x + (1 | g)", data).vif()  # wards are within sites
    assert nested["df"].to_dict() == {"ward": 4, "x": 1}
    close = mm.lmer("y ~ x + x3 + (1 | g)", data.assign(x3=data["x"] + 1e-5 * np.cos(np.arange(300)))).check()
    assert close.loc["collinearity", "verdict"] == "look"


def test_models_of_arrays_know_columns_and_no_terms() -> None:
    """The factors of columns are the diagonal of the inverse of their correlations; the constant has none."""
    x, z = DATA["x"].to_numpy(), DATA["z"].to_numpy()
    fit = mm.MixedLM(DATA["y"].to_numpy(), np.column_stack([np.ones(300), x, z, x * z]), DATA["g"].to_numpy()).fit()
    C = fit.state.cov_beta[1:, 1:]
    table = fit.vif()
    assert list(table.index) == ["x1", "x2", "x3"]
    np.testing.assert_allclose(table["gvif"], np.diag(C) * np.diag(np.linalg.inv(C)), rtol=1e-9)
