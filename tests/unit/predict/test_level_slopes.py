"""Slopes of levels against coefficients by level, predictions and Henderson's equations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

SLEEP = mm.load_dataset("sleepstudy")


def test_slopes_of_levels_are_their_coefficients() -> None:
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    table = fit.slopes_by_level("Days")
    np.testing.assert_allclose(table["estimate"], fit.coef_by_level()["Days"], rtol=1e-12)
    assert table.index.name == "Subject"


def test_slopes_are_differences_of_predictions() -> None:
    """An error of a difference of two predictions, by the prediction's own variance of a row far out.

    With x so large that the intercept does not count, a prediction over x is the slope.
    """
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    table = fit.slopes_by_level("Days")
    far = pd.DataFrame({"Days": 1e9, "Subject": table.index})
    there = fit.predict(far, interval="confidence")
    np.testing.assert_allclose(table["estimate"], there["mean"] / 1e9, rtol=1e-5)
    np.testing.assert_allclose(table["std_error"], there["se"] / 1e9, rtol=1e-5)
    np.testing.assert_allclose(table["ci_upper"], there["upper"] / 1e9, rtol=1e-5)
    normal = fit.slopes_by_level("Days", ddf="normal")
    assert np.isinf(normal["df"]).all()


def test_henderson() -> None:
    """The error of K'(beta, b) is sigma^2 K'C^-1 K, C the matrix of the mixed-model equations."""
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    state, factor = fit.state, fit.state.design.factors[0]
    n, q = factor.n_levels, 2
    X, Z = state.design.X, np.zeros((len(SLEEP), n * q))
    for i, code in enumerate(factor.codes):
        Z[i, code * q : code * q + q] = factor.Z[i]
    G = fit.varcorr["Subject"].to_numpy()
    W = np.hstack([X, Z])
    C = W.T @ W / fit.scale
    C[2:, 2:] += np.kron(np.eye(n), np.linalg.inv(G))
    inverse = np.linalg.inv(C)
    K = np.zeros((n, 2 + n * q))
    K[:, 1] = 1.0
    K[np.arange(n), 2 + np.arange(n) * q + 1] = 1.0
    expected = np.sqrt(np.einsum("ij,jk,ik->i", K, inverse, K))
    np.testing.assert_allclose(fit.slopes_by_level("Days")["std_error"], expected, rtol=1e-7)


@pytest.fixture(scope="module")
def classes() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    school = np.repeat(np.arange(12), 40)
    room = np.repeat(np.arange(48), 10)
    frame = pd.DataFrame({"school": school, "room": room, "x": rng.normal(size=480)})
    frame["kind"] = np.where(school % 2, "state", "church")
    frame["sex"] = rng.choice(["f", "m"], 480)
    slope = 1 + 0.5 * (school % 2) + rng.normal(0, 0.4, 12)[school] + rng.normal(0, 0.3, 48)[room]
    frame["y"] = slope * frame["x"] + rng.normal(size=12)[school] + rng.normal(size=480)
    return frame


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")
def test_nested_levels_and_their_own_values(classes: pd.DataFrame) -> None:
    """A room's slope has its school's effect and its kind of school, and is the difference of two predictions."""
    fit = mm.lmer("y ~ x * kind + x * sex + (x | school) + (x | room)", classes)
    table = fit.slopes_by_level("x", "room", by="sex")
    assert table.index.names == ["sex", "room"]
    first = classes.groupby("room").first().reset_index()
    for sex in ("f", "m"):
        means = [fit.predict(first.assign(x=x, sex=sex)) for x in (0.0, 1.0)]
        np.testing.assert_allclose(table.loc[sex, "estimate"], means[1] - means[0], rtol=1e-8)
    notes = " ".join(table.attrs["notes"])
    assert "At each level's own kind." in notes
    assert "those of school too" in notes
    averaged = fit.slopes_by_level("x", "room")
    expected = table["estimate"].groupby("room").mean()
    np.testing.assert_allclose(averaged["estimate"], expected, rtol=1e-10)
    assert "Averaged over sex with equal weights." in averaged.attrs["notes"]
    schools = fit.slopes_by_level("x", "school", by="kind")
    assert schools.index.get_level_values("kind").tolist() == ["church", "state"] * 6
    assert "those of" not in schools.attrs["notes"][0]


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")
def test_no_random_slope(classes: pd.DataFrame) -> None:
    fit = mm.lmer("y ~ x + (1 | school)", classes)
    table = fit.slopes_by_level("x")
    fixed = fit.slopes("x")
    np.testing.assert_allclose(table["estimate"], fixed["estimate"].iloc[0], rtol=1e-12)
    np.testing.assert_allclose(table["std_error"], fixed["std_error"].iloc[0], rtol=1e-9)
    assert "No random effect of school changes with x." in table.attrs["notes"]


def test_curves_of_levels() -> None:
    fit = mm.lmer("Reaction ~ Days + I(Days**2) + (Days + I(Days**2) | Subject)", SLEEP.astype({"Days": float}))
    by_level = fit.coef_by_level()
    table = fit.slopes_by_level("Days", by="Days", at={"Days": [0, 8]})
    for x in (0.0, 8.0):
        expected = by_level["Days"] + 2 * x * by_level["I(Days ** 2)"]
        np.testing.assert_allclose(table.loc[x, "estimate"], expected, rtol=1e-7)


def test_bad_input(classes: pd.DataFrame) -> None:
    fit = mm.lmer("y ~ x * kind + (1 | school) + (x || room)", classes)
    with pytest.raises(mm.InferenceError, match="several grouping factors: "):
        fit.slopes_by_level("x")
    with pytest.raises(mm.InferenceError, match=r"no grouping factor 'rom'; .* Did you mean 'room'"):
        fit.slopes_by_level("x", "rom")
    with pytest.raises(mm.InferenceError, match="must be 'satterthwaite' or 'normal'"):
        fit.slopes_by_level("x", "room", ddf="kenward-roger")
    with pytest.raises(mm.InferenceError, match="'kind' is not a number"):
        fit.slopes_by_level("kind", "room")
    with pytest.raises(mm.InferenceError, match="There is no variable 'king'"):
        fit.slopes_by_level("x", "room", by="king")


def test_what_slopes_of_levels_do_not_have_is_said_with_the_reason() -> None:
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    for ddf in ("kenward-roger", "residual", "CR2"):
        with pytest.raises(mm.InferenceError, match="is for fixed effects alone, and these slopes have predicted"):
            fit.slopes_by_level("Days", ddf=ddf)
    with pytest.raises(mm.InferenceError, match="Did you mean 'normal'"):
        fit.slopes_by_level("Days", ddf="norm")
    with pytest.raises(mm.UnknownArgumentError, match="predicted effects of levels have standard errors one by one"):
        fit.slopes_by_level("Days", pairwise=True)
