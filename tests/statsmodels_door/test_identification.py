"""What the data cannot tell, through the door: refused or left open as by ``lmer``."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.base._penalties import L2

import mixedmodels as mm


def between() -> pd.DataFrame:
    """24 people in two arms, 6 rows each."""
    rng = np.random.default_rng(17)
    g = np.repeat(np.arange(24), 6)
    y = rng.normal(size=24)[g] * np.where(g < 12, 1, 1.5) + 0.5 * (g >= 12) + rng.normal(size=144)
    arm = np.where(g < 12, "ctl", "trt")
    return pd.DataFrame({"y": y, "g": g, "arm": arm, "ctl": (g < 12) * 1.0, "trt": (g >= 12) * 1.0})


@pytest.mark.parametrize("method", [None, "bfgs"])
@pytest.mark.parametrize("reml", [True, False])
def test_a_covariance_between_arms_is_left_open(reml: bool, method: str | None) -> None:
    d = between()
    with pytest.warns(mm.IdentificationWarning, match="the covariance of ctl and trt in g"):
        result = mm.mixedlm("y ~ arm", d, groups="g", re_formula="0 + ctl + trt").fit(reml=reml, method=method)
    free = mm.MixedLMParams.from_components(np.ones(2), np.eye(2))
    apart = mm.mixedlm("y ~ arm", d, groups="g", re_formula="0 + ctl + trt").fit(reml=reml, free=free)
    assert result.converged
    assert result.llf == pytest.approx(apart.llf, abs=1e-6)
    np.testing.assert_allclose(result.bse_fe, apart.bse_fe, rtol=1e-4)
    assert np.isnan(result.bse.iloc[3])
    np.testing.assert_allclose(result.bse.iloc[[2, 4]], apart.bse.iloc[[2, 4]], rtol=1e-3)
    assert np.isnan(result.bse_re.iloc[1])
    np.testing.assert_allclose(result.bse_re.iloc[[0, 2]], apart.bse_re.iloc[[0, 2]], rtol=1e-3)
    assert np.isnan(result.conf_int().iloc[3]).all()
    assert not np.isnan(result.conf_int().iloc[[0, 1, 2, 4]]).any(axis=None)
    str(result.summary())


def test_penalised_fixed_effects_leave_covariances_open_too() -> None:
    d = between()
    model = mm.mixedlm("y ~ arm", d, groups="g", re_formula="0 + ctl + trt")
    with pytest.warns(mm.IdentificationWarning, match="the covariance of ctl and trt in g"):
        ridge = model.fit(fe_pen=L2(np.array([0.0, 2.0])))
    with pytest.warns(mm.IdentificationWarning, match="the covariance of ctl and trt in g"):
        lasso = model.fit_regularized(alpha=[0.0, 0.5])
    for result in (ridge, lasso):
        assert "unidentified" in {finding.kind for finding in result.findings}
        assert np.isnan(result.bse.iloc[3])
        assert "cannot tell" in str(result.summary())


def test_a_held_covariance_leaves_nothing_open() -> None:
    d = between()
    free = mm.MixedLMParams.from_components(np.ones(2), np.eye(2))
    result = mm.mixedlm("y ~ arm", d, groups="g", re_formula="0 + ctl + trt").fit(free=free)
    assert not result.findings
    assert result.bse.iloc[3] == 0


def test_a_variance_that_reml_does_not_see_is_refused() -> None:
    d = between()
    d = d[(d["arm"] == "ctl") | (d["g"] == 20)]
    model = mm.mixedlm("y ~ arm", d, groups="g", re_formula="0 + ctl + trt")
    with pytest.raises(mm.DesignError, match="'trt' of 'g' occurs in level '20' of 13 only"):
        model.fit()
    with pytest.raises(mm.DesignError, match="of every level of 'g' already"):
        mm.mixedlm("y ~ C(g)", d, groups="g").fit()
    with pytest.warns(mm.SingularFitWarning):
        assert mm.mixedlm("y ~ C(g)", d, groups="g").fit(reml=False).cov_re.iloc[0, 0] == 0


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
def test_components_that_span_each_other_are_left_open() -> None:
    """A variance of halves of people is the variances of their first and of their second halves, if these are equal."""
    rng = np.random.default_rng(4)
    g, half = np.repeat(np.arange(30), 8), np.tile(np.arange(8) // 4, 30)
    y = rng.normal(size=30)[g] + rng.normal(size=60)[2 * g + half] * (1 + half) + rng.normal(size=240)
    d = pd.DataFrame({"y": y, "g": g, "half": half, "x": rng.normal(size=240)})
    components = {"person": "0 + C(g)", "first": "0 + C(g):I(1.0 - half)", "second": "0 + C(g):half"}
    right = mm.mixedlm("y ~ x", d, groups=np.ones(len(d)), vc_formula=components).fit()
    with pytest.warns(mm.IdentificationWarning, match="halves.*first.*second.* apart"):
        result = mm.mixedlm(
            "y ~ x", d, groups=np.ones(len(d)), vc_formula={**components, "halves": "0 + C(g):C(half)"}
        ).fit()
    assert result.llf == pytest.approx(right.llf, abs=1e-6)
    np.testing.assert_allclose(result.bse_fe, right.bse_fe, rtol=1e-4)
    determined = [name for name in result.bse.index if not np.isnan(result.bse[name])]
    assert determined == ["Intercept", "x", "person Var"]
    np.testing.assert_allclose(result.bse["person Var"], right.bse["person Var"], rtol=1e-3)
