"""Objects, handlers and spellings of code written for statsmodels, new and old."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.mixedlm import MixedLMResultsWrapper, Penalty

lmm = pytest.importorskip("statsmodels.regression.mixed_linear_model", reason="their objects")

DIETOX = mm.load_dataset("dietox")
SLOPES = mm.mixedlm("Weight ~ Time", DIETOX, groups="Pig", re_formula="~Time")
THEIR_FREE = lmm.MixedLMParams.from_components(np.ones(2), np.eye(2))
THEIR_START = lmm.MixedLMParams.from_components(np.array([15.0, 7.0]), np.array([[2.0, 0.1], [0.1, 0.3]]))


def ours(params: Any) -> mm.MixedLMParams:
    return mm.MixedLMParams.from_components(params.fe_params, params.cov_re, vcomp=params.vcomp)


@pytest.mark.filterwarnings("ignore:Not converged. do_cg=False")
def test_their_parameters_hold_and_start() -> None:
    their, our = (SLOPES.fit(free=free) for free in (THEIR_FREE, ours(THEIR_FREE)))
    assert their.llf == our.llf
    assert their.cov_re.iloc[0, 1] == 0
    assert SLOPES.fit(start_params=THEIR_START, do_cg=False).llf == SLOPES.loglike(ours(THEIR_START))
    without_fixed = lmm.MixedLMParams.from_components(cov_re=THEIR_START.cov_re)
    assert SLOPES.fit(start_params=without_fixed, do_cg=False).llf == SLOPES.loglike(ours(THEIR_START))


def test_likelihoods_take_their_parameters() -> None:
    their = lmm.MixedLM.from_formula("Weight ~ Time", DIETOX, groups="Pig", re_formula="~Time")
    their.reml, their.cov_pen, their.fe_pen, their._freepat, their._cov_sing = True, None, None, None, 0
    assert SLOPES.loglike(THEIR_START) == pytest.approx(their.loglike(THEIR_START), rel=1e-10)
    np.testing.assert_allclose(SLOPES.score(THEIR_START), their.score(THEIR_START.copy()), rtol=1e-6)
    np.testing.assert_array_equal(SLOPES.hessian(THEIR_START)[0], SLOPES.hessian(ours(THEIR_START))[0])
    np.testing.assert_array_equal(SLOPES.predict(THEIR_START), their.predict(THEIR_START))


def test_parameters_of_other_sizes_are_refused() -> None:
    wrong = lmm.MixedLMParams.from_components(np.ones(2), np.eye(3))
    for use in (
        lambda: SLOPES.fit(free=wrong), lambda: SLOPES.fit(start_params=wrong), lambda: SLOPES.loglike(wrong),
    ):  # fmt: skip
        with pytest.raises(mm.DataError, match="is for 2 fixed effects, 3 random coefficients and 0 variance"):
            use()


def test_their_specification_of_components() -> None:
    rng = np.random.default_rng(0)
    X, g, mats = np.ones((40, 1)), np.repeat(np.arange(8), 5), [rng.normal(size=(5, 2)) for _ in range(8)]
    y = np.concatenate([mat @ rng.normal(size=2) for mat in mats]) + rng.normal(size=40)
    parts = ["v"], [[["a", "b"]] * 8], [mats]
    their, our = (mm.MixedLM(y, X, g, exog_vc=spec(*parts)) for spec in (lmm.VCSpec, mm.VCSpec))
    assert their.fit().llf == our.fit().llf
    assert isinstance(their.exog_vc, mm.VCSpec)  # a saved result needs no statsmodels
    frame = pd.DataFrame({"y": y, "g": g})
    by_formula = mm.mixedlm("y ~ 1", frame, groups="g", exog_vc=lmm.VCSpec(*parts))
    assert by_formula.fit().llf == pytest.approx(our.fit().llf, rel=1e-12)


def test_the_frame_of_a_model_keeps_the_callers_index() -> None:
    data = DIETOX[::-1].set_axis(np.arange(3, len(DIETOX) + 3))
    gaps = data.assign(Weight=data["Weight"].where(np.arange(len(data)) % 7 > 0))
    for frame, options in ((data, {}), (gaps, {"missing": "drop"}), (data, {"subset": data["Time"] > 3})):
        fit = mm.mixedlm("Weight ~ Time", frame, groups="Pig", **options).fit()
        beside = fit.model.data.frame.copy()
        beside["resid"], beside["fitted"] = fit.resid, fit.fittedvalues
        np.testing.assert_allclose(beside["Weight"], beside["fitted"] + beside["resid"], rtol=1e-12)
        assert beside.index.equals(fit.model.data.row_labels)
        pd.testing.assert_series_equal(beside["Weight"], frame.loc[beside.index, "Weight"])


def test_handlers_of_collinear_columns() -> None:
    twice = np.column_stack([np.ones(len(DIETOX)), DIETOX["Time"], 2 * DIETOX["Time"]])
    model = mm.MixedLM(DIETOX["Weight"], twice, DIETOX["Pig"])
    for kind in (np.linalg.LinAlgError, mm.FitError, mm.CollinearColumnsError, ValueError):
        with pytest.raises(kind, match="collinear: x2"):
            model.fit()
    with pytest.raises(np.linalg.LinAlgError):
        model.get_fe_params(np.eye(1), np.zeros(0))


def test_handlers_of_unknown_groups() -> None:
    for kind in (KeyError, mm.DataError, mm.UnknownColumnError):
        with pytest.raises(kind, match=r"^There is no column 'pig' for groups\. Did you mean 'Pig'\?"):
            mm.mixedlm("Weight ~ Time", DIETOX, groups="pig")


def test_names_that_code_imports() -> None:
    assert isinstance(SLOPES.fit(), MixedLMResultsWrapper)
    assert mm.MixedLMResultsWrapper is MixedLMResultsWrapper
    assert mm.Penalty is Penalty


def test_a_penalty_is_a_class_to_derive_from() -> None:
    class Ridge(mm.Penalty):
        def func(self, params: Any) -> Any:
            return self.alpha * self.weights * params @ params

        def deriv(self, params: Any) -> Any:
            return 2 * self.alpha * self.weights * params

    penalties = pytest.importorskip("statsmodels.base._penalties")
    by_ours, by_theirs = (SLOPES.fit(fe_pen=kind(2.0)).fe_params for kind in (Ridge, penalties.L2))
    np.testing.assert_allclose(by_ours, by_theirs, rtol=1e-6)
    with pytest.raises(mm.DataError, match=r"The penalty Penalty has no func\(params\)"):
        SLOPES.fit(fe_pen=mm.Penalty())


def test_parameters_as_in_release_0_6() -> None:
    params = mm.MixedLMParams(2, 2)
    assert (params.k_fe, params.k_re, params.k_re2, params.k_vc, params.k_tot) == (2, 2, 3, 0, 5)
    L = np.array([[2.0, 0.0], [0.5, 1.0]])
    params.set_fe_params([1.0, -1.0])
    params.set_cov_re(cov_re_sqrt=L)
    np.testing.assert_allclose(params.get_cov_re(), L @ L.T)
    np.testing.assert_allclose(params.get_packed(), [1, -1, 2, 0.5, 1])
    np.testing.assert_allclose(params.get_packed(use_sqrt=False), [4, 1, 1.25])
    for plain in (mm.MixedLMParams(2, 2, False), mm.MixedLMParams(2, 2, use_sqrt=False)):
        plain.set_packed([1, -1, 4, 1, 1.25])
        np.testing.assert_allclose(plain.get_cov_re(), L @ L.T)
        np.testing.assert_allclose(plain.copy().get_packed(), [1, -1, 4, 1, 1.25])
        np.testing.assert_array_equal(plain.get_fe_params(), [1, -1])
        with pytest.raises(mm.DataError, match="6 values; these need 5"):
            plain.set_packed(np.ones(6))
    assert mm.MixedLMParams(2, 1, 3).k_vc == 3
