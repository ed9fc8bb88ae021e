"""Spellings, shapes and printed forms that code for statsmodels counts on; its own classes say what is right."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

contrast = pytest.importorskip("statsmodels.stats.contrast", reason="their tests")
smf = pytest.importorskip("statsmodels.formula.api", reason="their models")
sm = pytest.importorskip("statsmodels.api", reason="their models")

DIETOX = mm.load_dataset("dietox")
MODEL = mm.mixedlm("Weight ~ Time", DIETOX, groups="Pig")
FIT, ML = MODEL.fit(), MODEL.fit(reml=False)
THEIR = smf.mixedlm("Weight ~ Time", DIETOX, groups="Pig").fit()
ROWS = {"one": np.eye(2)[1:], "two": np.array([[1.0, 0.0], [1.0, -2.0]])}


def theirs_with_our_numbers(ours: Any) -> Any:
    """Return their record of the same tests."""
    parts = {"effect": ours.effect, "sd": ours.sd}
    if ours.distribution == "t":
        return contrast.ContrastResults(t=ours.tvalue, df_denom=ours.df_denom, **parts)
    return contrast.ContrastResults(statistic=ours.statistic, distribution="norm", **parts)


@pytest.mark.parametrize("use_t", [None, True, False])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_the_shapes_of_a_t_test(rows: Any, use_t: bool | None) -> None:
    ours, their = FIT.t_test(rows, use_t), THEIR.t_test(rows, use_t)
    for name in ("effect", "sd", "tvalue", "statistic", "pvalue"):
        assert np.shape(getattr(ours, name)) == np.shape(getattr(their, name)), name
        np.testing.assert_allclose(getattr(ours, name), getattr(their, name), rtol=1e-4, atol=1e-12)
    assert ours.distribution == their.distribution
    np.testing.assert_allclose(ours.conf_int(), their.conf_int(), rtol=1e-5)
    pd.testing.assert_frame_equal(ours.summary_frame(), their.summary_frame(), rtol=1e-4)


@pytest.mark.parametrize("use_t", [True, False])
@pytest.mark.parametrize("names", [["c0"], ["first", "x" * 10], ["a much longer name", "y"], ["x" * 11, "z"]])
def test_t_tests_are_printed_as_theirs(names: list[str], use_t: bool) -> None:
    rows = ROWS["one"] if len(names) == 1 else ROWS["two"]
    fits = FIT, mm.mixedlm("y ~ Time", DIETOX.assign(y=1e7 * DIETOX["Weight"]), groups="Pig").fit()
    for ours in (fit.t_test(rows, use_t) for fit in fits):
        their = theirs_with_our_numbers(ours)
        for options in ({}, {"alpha": 0.1}, {"alpha": 0.001, "title": "a title"}, {"title": ""}):
            assert str(ours.summary(names, **options)) == str(their.summary(names, **options))
        assert str(ours) == str(their)
    assert "&lt;" in ours.summary(["<"] * len(names)).as_html()
    with pytest.raises(mm.InferenceError, match="xname has 3 names"):
        ours.summary(["a"] * 3)


def test_wald_tests_are_printed_as_theirs() -> None:
    number = re.compile(r"[0-9.e+-]+(?=[,\]])")
    for scalar in (True, False):
        for use_f in (True, False):
            ours, their = (fit.wald_test("Time = 0", use_f=use_f, scalar=scalar) for fit in (FIT, THEIR))
            assert number.sub("#", str(ours)) == number.sub("#", str(their))
            assert np.shape(ours.statistic) == np.shape(their.statistic)
    assert "p-value=" in str(FIT.wald_test("Time = 0"))
    assert "F=" in str(FIT.f_test("Time = 0"))


def test_flags_are_numbers_too() -> None:
    for reml in (0, False, np.False_, np.int64(0)):
        assert MODEL.fit(reml=reml, do_cg=1, full_output=1).llf == ML.llf
        assert MODEL.loglike(FIT.params_object, reml=reml) == MODEL.loglike(FIT.params_object, reml=False)
    assert MODEL.fit(reml=1).llf == FIT.llf
    assert MODEL.fit(full_output=1).hist is not None
    assert MODEL.fit(full_output=0).hist is None
    assert MODEL.fit(maxiter=1e3).llf == FIT.llf
    for name, value in (("reml", 2), ("do_cg", 0.5), ("full_output", "1"), ("reml", None)):
        with pytest.raises(mm.DataError, match=f"{name} is {value!r}; it must be True or False"):
            MODEL.fit(**{name: value})


SLOPES = mm.mixedlm("Weight ~ Time", DIETOX, groups="Pig", re_formula="~Time")


@pytest.mark.parametrize(
    ("method", "name", "loose", "tight"),
    [
        ("bfgs", "gtol", 1e-1, 1e-7), ("cg", "gtol", 1e-1, 1e-7), ("lbfgs", "gtol", 1e-1, 1e-7),
        ("lbfgs", "ftol", 1e-2, 1e-12), ("powell", "ftol", 1e-1, 1e-10), ("nm", "ftol", 1e-1, 1e-13),
        ("ncg", "tol", 1e-1, 1e-8), ("bfgs", "tol", 1e-1, 1e-7), ("lbfgs", "maxls", 2, 30), ("lbfgs", "maxcor", 1, 20),
        ("ncg", "eps", 1e-1, 1e-6), ("minimize", "gtol", 1e-1, 1e-7), ("nm", "maxiter", 3, 300),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::mixedmodels.ConvergenceWarning")
def test_options_reach_scipys_methods(method: str, name: str, loose: float, tight: float) -> None:
    model = MODEL if method == "nm" else SLOPES
    one, other = (model.fit(method=method, full_output=True, **{name: value}).hist[0] for value in (loose, tight))
    assert (one["fcalls"], one["fopt"]) != (other["fcalls"], other["fopt"])


def test_the_methods_of_minimize() -> None:
    for name in ("L-BFGS-B", "TNC", "SLSQP", "Nelder-Mead"):
        fit = SLOPES.fit(method="minimize", min_method=name, full_output=True)
        assert fit.llf == pytest.approx(SLOPES.fit().llf, abs=1e-6)
    with pytest.raises(mm.DataError, match=r"min_method is 'L-BFGS'; .*Did you mean 'L-BFGS-B'"):
        SLOPES.fit(method="minimize", min_method="L-BFGS")


@pytest.mark.parametrize(
    ("method", "options", "unused"),
    [
        (None, {"maxcor": 5, "gtol": 1e-8}, "Argument maxcor not used"),
        (None, {"eps": 1e-8, "maxls": 3}, "Arguments eps, maxls not used"),
        ("bfgs", {"ftol": 1e-8}, "Argument ftol not used .*method='bfgs'. It takes gtol, maxiter, tol, disp"),
        ("nm", {"gtol": 1e-8}, "Argument gtol not used"),
        (["bfgs", "lbfgs"], {"ftol": 1e-8, "eps": 1e-8}, "Argument eps not used"),
        ("bfgs", {"min_method": "TNC"}, "Argument min_method not used"),
    ],
)
def test_options_that_nothing_takes_are_warned_of(method: Any, options: dict[str, Any], unused: str) -> None:
    with pytest.warns(FutureWarning, match=unused):
        MODEL.fit(method=method, **options)


def test_tolerances_are_met_by_the_default() -> None:
    fit = MODEL.fit(gtol=1e-8, ftol=1e-12, tol=1e-8)
    slope = MODEL.score(fit.params_object) / MODEL.nobs
    assert np.abs(slope).max() < 1e-8
    for name, value in (("gtol", -1), ("ftol", "a"), ("maxiter", 0), ("maxiter", 1.5)):
        with pytest.raises(mm.DataError, match=f"{name} is {value!r}"):
            MODEL.fit(**{name: value})


@pytest.mark.filterwarnings("ignore::mixedmodels.ConvergenceWarning")
def test_iterations_are_limited_beside_held_covariances_too() -> None:
    fit = SLOPES.fit(fixed={"Pig Var": 10.0}, maxiter=1)
    assert not fit.converged
    assert fit.mle_retvals["iterations"] == 1


def test_disp_prints_how_it_went() -> None:
    for method, names in ((None, "newton"), ("lbfgs", "lbfgs, newton")):
        with redirect_stdout(io.StringIO()) as out:
            fit = MODEL.fit(method=method, disp=True)
        assert out.getvalue().startswith(f"{names}: converged\n")
        assert f"Function value: {-fit.llf / MODEL.nobs:.6f}" in out.getvalue()
        with redirect_stdout(io.StringIO()) as out:
            MODEL.fit(method=method)
        assert not out.getvalue()


def test_the_history_of_bfgs_has_the_inverse_hessian() -> None:
    entry = MODEL.fit(method="bfgs", full_output=True, gtol=1e-8).hist[0]
    root = np.abs(entry["allvecs"][-1])
    second = (MODEL.score(root + 1e-4) - MODEL.score(root - 1e-4)) / 2e-4
    np.testing.assert_allclose(entry["Hinv"], [-MODEL.nobs / second], rtol=0.01)
    np.testing.assert_allclose(entry["gopt"], 0, atol=1e-7)


def test_numbers_are_numpys() -> None:
    for fit in (FIT, ML):
        for name in ("llf", "scale", "aic", "bic"):
            value = getattr(fit, name)
            assert isinstance(value, np.float64)
            assert value.round(3) == round(float(value), 3) or np.isnan(value)


@pytest.mark.filterwarnings("ignore:\\s*predict requires:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Using dict data:DeprecationWarning")
def test_predictions_for_a_dict_are_a_series() -> None:
    new = {"Time": [1.0, 2.0]}
    pd.testing.assert_series_equal(FIT.predict(new), THEIR.predict(new), rtol=1e-6)
    pd.testing.assert_series_equal(FIT.predict({"Time": 3.0}), THEIR.predict({"Time": 3.0}), rtol=1e-6)
    with pytest.raises(mm.DataError, match="make no table: All arrays must be of the same length"):
        FIT.predict({"Time": [1.0, 2.0], "Pig": ["4601"]})
    pd.testing.assert_series_equal(
        FIT.predict({**new, "Pig": ["4601", "4601"]}, random_effects="conditional"),
        FIT.predict(pd.DataFrame({**new, "Pig": ["4601", "4601"]}), random_effects="conditional"),
    )


def test_profiles_take_a_method() -> None:
    by_newton, by_lbfgs = (ML.profile_re(0, "re", 1, None, 1, None, **named) for named in ({}, {"method": "lbfgs"}))
    np.testing.assert_array_equal(by_lbfgs, by_newton)
    with pytest.raises(mm.DataError, match="Did you mean 'lbfgs'"):
        ML.profile_re(0, "re", method="lbfs")


def corrected(summary: Any) -> str:
    """Return their summary with the standard error of the variance that is right."""
    return str(summary).replace(" 2.149 ", " 6.939 ")


def test_summaries_take_notes_and_titles() -> None:
    ours, their = FIT.summary(), THEIR.summary()
    note = "A note that is much longer than the tables are wide, so that it is wrapped to their width when printed."
    for summary in (ours, their):
        summary.add_text(note)
        summary.add_text("Another.")
        summary.add_title("Pigs")
    assert ours.as_text() == corrected(their)
    assert ours.title == their.title == "Pigs"
    ours.title = their.title = "Pigs again"
    assert str(ours) == corrected(their)
    ours.add_title(results=FIT)
    their.add_title(results=THEIR)
    assert ours.title == "Results: MixedLM"
    ours.add_title()
    assert ours.title == ""
    assert r"\label{tab:pigs}" in ours.as_latex(label="tab:pigs")
    assert r"\label" not in ours.as_latex()
    assert "Another." in ours.as_latex()
    assert "Another." in ours.as_html()


def test_record_arrays_and_arrow_text_are_data() -> None:
    records = DIETOX[["Weight", "Time", "Pig"]].to_records(index=False)
    assert mm.mixedlm("Weight ~ Time", records, groups="Pig").fit().llf == pytest.approx(FIT.llf, rel=1e-12)
    pa = pytest.importorskip("pyarrow")
    arrow = DIETOX.assign(Pig=DIETOX["Pig"].astype(str).astype(pd.ArrowDtype(pa.string())))
    arrow["Cu"] = DIETOX["Cu"].astype(str).astype(pd.ArrowDtype(pa.string()))
    fit = mm.mixedlm("Weight ~ Time + Cu", arrow, groups="Pig").fit()
    plain = mm.mixedlm("Weight ~ Time + Cu", arrow.astype({"Pig": object, "Cu": object}), groups="Pig").fit()
    assert fit.llf == pytest.approx(plain.llf, rel=1e-12)
    assert fit.model.exog_names == plain.model.exog_names
    np.testing.assert_allclose(fit.predict(arrow[:50]), fit.model.exog[:50] @ fit.fe_params, rtol=1e-12)


COMBINATIONS: list[dict[str, Any]] = [
    {"r_matrix": [0, 1, 0]}, {"r_matrix": np.eye(3)[:2]}, {"r_matrix": np.eye(3)[:2], "other": np.eye(3)[2:]},
    {"r_matrix": [0, 1, 0], "other": np.eye(3)[:2]}, {"r_matrix": np.eye(3)[:2], "other": [1, 0, 0]},
    {"r_matrix": [0, 1, 0], "other": [1, 0, 0]}, {"column": 1}, {"column": -1}, {"column": [1]}, {"column": [0, 2]},
    {"scale": 2.0}, {"cov_p": np.diag([1.0, 2.0, 3.0])}, {"cov_p": np.diag([1.0, 2.0, 3.0]), "column": 1},
]  # fmt: skip


@pytest.mark.parametrize("asked", COMBINATIONS, ids="-".join)
def test_the_shapes_of_cov_params(asked: dict[str, Any]) -> None:
    """Theirs with labels cannot label combinations, so those without are asked."""
    ours, their = FIT._results.cov_params(**asked), THEIR._results.cov_params(**asked)
    assert np.shape(ours) == np.shape(their)
    np.testing.assert_allclose(ours, their, rtol=1e-4, atol=1e-8)


def test_columns_may_be_called_by_numbers() -> None:
    X = pd.DataFrame(np.column_stack([np.ones(len(DIETOX)), DIETOX["Time"]]))
    models = [kind(DIETOX["Weight"], X, DIETOX["Pig"]) for kind in (mm.MixedLM, sm.MixedLM)]
    ours, their = (model.fit() for model in models)
    for name in ("params", "fe_params", "bse", "bse_fe", "tvalues", "pvalues"):
        assert list(getattr(ours, name).index) == list(getattr(their, name).index), name
    assert ours.params[1] == pytest.approx(their.params[1], rel=1e-5)
    assert list(ours.conf_int().index) == list(their.conf_int().index)
    assert list(ours.cov_params().columns) == list(their.cov_params().columns)
    assert str(ours.summary()).splitlines()[-3].split()[0] == "1"


@pytest.mark.parametrize("remove_data", [False, True])
def test_results_go_to_open_files_too(remove_data: bool, tmp_path: Any) -> None:
    whole = io.BytesIO()
    FIT.save(whole, remove_data=remove_data)
    whole.seek(0)
    assert mm.MixedLMResults.load(whole).llf == FIT.llf
    with (tmp_path / "fit").open("wb") as file:
        FIT.save(file, remove_data)
    assert mm.MixedLMResults.load(tmp_path / "fit").params.equals(FIT.params)
