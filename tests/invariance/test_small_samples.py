"""Degrees of freedom and F do not depend on units, origins, the order of rows, or how a hypothesis is written."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from invariance.models import SHAPES, Units

METHODS = ("satterthwaite", "kenward-roger")
UNITS = {
    "times 1e6": Units(scale=1e6),
    "calendar year": Units(scale=3.0, shift=2010.0),
    "response times 1e-6": Units(y_scale=1e-6),
    "all of it": Units(scale=1e-4, shift=10.0, y_scale=1e5, y_shift=1e6),
}

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")


def slope(fit: mm.LmmResult, ddf: str) -> np.ndarray:
    """Return df, t and p of the slope of x, and its F and den_df: what no unit may change."""
    row = fit.coef_table(ddf).loc["x", ["df", "statistic", "p_value"]]
    return np.append(row.to_numpy(float), fit.anova(ddf=ddf).loc["x", ["f_value", "den_df"]].to_numpy(float))


@pytest.mark.parametrize("ddf", METHODS)
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_units(shape: str, units: str, ddf: str) -> None:
    formula, data = SHAPES[shape].formula, SHAPES[shape].data(3)
    before, after = mm.lmer(formula, data), mm.lmer(formula, UNITS[units].apply(data))
    np.testing.assert_allclose(slope(after, ddf), slope(before, ddf), rtol=1e-4)


@pytest.mark.parametrize("ddf", METHODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_order_of_rows_and_terms(shape: str, ddf: str) -> None:
    data = SHAPES[shape].data(4)
    before = mm.lmer(SHAPES[shape].formula, data)
    after = mm.lmer(SHAPES[shape].reordered, data.sample(frac=1, random_state=1))
    np.testing.assert_allclose(slope(after, ddf), slope(before, ddf), rtol=1e-4)


@pytest.mark.parametrize("ddf", METHODS)
def test_origin_moves_with_the_hypothesis(ddf: str) -> None:
    """The height at x = 1 is the same combination whatever x is counted from."""
    data = SHAPES["one_factor"].data(3)
    one = mm.lmer("y ~ x + (x | g)", data).contrast("Intercept + x", ddf=ddf)
    year = mm.lmer("y ~ x + (x | g)", data.assign(x=data["x"] + 2010)).contrast("Intercept + 2011 * x", ddf=ddf)
    pd.testing.assert_frame_equal(one.reset_index(drop=True), year.reset_index(drop=True), rtol=1e-5)


@pytest.mark.parametrize("ddf", [*METHODS, "residual", "normal"])
def test_rows_that_depend_on_others_change_nothing(ddf: str) -> None:
    fit = mm.lmer("y ~ x + z + (x + z | g)", SHAPES["two_slopes"].data(3))
    one = fit.contrast(["x = 1", "z = -1"], ddf=ddf, joint=True).loc["joint"]
    more = fit.contrast(["x = 1", "z = -1", "x + z = 0"], ddf=ddf, joint=True).loc["joint"]
    pd.testing.assert_series_equal(one, more, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize("type_", [1, 2, 3])
def test_terms_in_any_units(type_: int, scale: float) -> None:
    data = SHAPES["crossed"].data(5)
    data["A"] = np.where(np.arange(len(data)) % 5 < 2, "a", np.where(np.arange(len(data)) % 3 == 0, "b", "c"))
    before = mm.lmer("y ~ x * A + (1 | s)", data).anova(type_)
    after = mm.lmer("y ~ x * A + (1 | s)", data.assign(x=scale * data["x"])).anova(type_)
    pd.testing.assert_frame_equal(before, after, rtol=1e-5)
