"""Arguments of the door: nothing is accepted and ignored, and what is wrong is said in a sentence of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load
from mixedmodels import MixedLM, VCSpec, mixedlm

DIETOX = load("dietox").assign(Weight=lambda d: d["Weight"].astype(float), Time=lambda d: d["Time"].astype(float))
PASTES = load("Pastes")
MODEL = mixedlm("Weight ~ Time", DIETOX, groups="Pig")
FIT = MODEL.fit()


def of_pastes(**arguments: Any) -> MixedLM:
    return mixedlm(**{"formula": "strength ~ 1", "data": PASTES, "groups": "batch", **arguments})


def of_arrays(X: Any = DIETOX[["Time"]], **arguments: Any) -> MixedLM:
    return MixedLM(DIETOX["Weight"], X, DIETOX["Pig"], **arguments)


def of_groups(colnames: list[list[str]]) -> MixedLM:
    rng = np.random.default_rng(1)
    spec = VCSpec(["v"], [colnames], [[np.eye(2)[[0, 0, 1, 1]]] * 2])
    return MixedLM(rng.normal(size=8), np.ones((8, 1)), np.repeat([0, 1], 4), exog_vc=spec)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "profile": (lambda: FIT.profile_re(0, "re", foo=1), "profile_re does not take 'foo'"),
    "column": (lambda: of_pastes(formula="strength ~ cask", drop_cols=["casc"]), "drop_cols names 'casc'"),
    "columns": (lambda: of_pastes(drop_cols=3), "drop_cols names 3"),
    "ascent": (lambda: MODEL.fit(niter_sa=-1), "niter_sa is -1; it must be a whole number of at least 0"),
    "EM": (lambda: MODEL.fit(niter_em="a"), "niter_em is 'a'"),
    "start": (lambda: MODEL.fit(start_params=[np.nan]), "start_params must be finite numbers; element 0 is not"),
    "no start": (lambda: MODEL.fit(start_params="a"), "start_params is 'a'; it must be real numbers"),
    "no method": (lambda: MODEL.fit(method=[]), "method is empty"),
    "method": (lambda: MODEL.fit(method=3), "method 3 is not available"),
    "methods": (lambda: MODEL.fit(method=["bgfs"]), "Did you mean 'bfgs'"),
    "held": (lambda: MODEL.fit(fixed={"Time": "a"}), "'Time' cannot be held at 'a'"),
    "no mapping": (lambda: MODEL.fit(fixed=["Time"]), "fixed is .*it must be a mapping"),
    "mask": (lambda: MODEL.fit(free=3), "free is 3; it must be a MixedLMParams"),
    "penalty": (lambda: MODEL.fit(fe_pen="l1"), "fe_pen is 'l1'; it must be an object with the methods func and deriv"),
    "cov penalty": (lambda: MODEL.fit(cov_pen=3), "cov_pen is 3"),
    "flag": (lambda: MODEL.fit(do_cg="no"), "do_cg is 'no'; it must be True or False"),
    "reml": (lambda: MODEL.fit(reml="x", method="bfgs"), "reml is 'x'"),
    "iterations": (lambda: MODEL.fit_regularized(alpha=1, maxit=-1), "maxit is -1"),
    "tolerance": (lambda: MODEL.fit_regularized(alpha=1, ptol=0), "ptol is 0; it must be a positive number"),
    "alpha": (lambda: MODEL.fit_regularized(alpha="a"), "alpha is 'a'"),
    "regularizer": (lambda: MODEL.fit_regularized(alpha=1, method=3), "method is 3; it must be one of l1"),
    "first": (lambda: MODEL.fit_regularized(alpha=1, start_params=[1.0]), "it must be 2 finite numbers"),
    "path": (lambda: MODEL.regularization_path([]), "one or more weights"),
    "root": (lambda: of_arrays(use_sqrt="x"), "use_sqrt is 'x'"),
    "complex": (lambda: of_arrays(DIETOX[["Time"]].to_numpy() + 1j), "exog must be numeric: it holds complex numbers"),
    "components": (lambda: of_arrays(exog_vc=3), "exog_vc is 3; it must be a VCSpec"),
    "column names": (lambda: of_groups([["a"]] * 2), "has 2 columns, but the colnames"),
    "names of groups": (lambda: of_groups([["a", "b"]]), "designs for 2 groups and colnames for 1"),
    "packed": (lambda: MODEL.predict(np.ones(7)), "pass 2 fixed effects, or all 3 parameters"),
    "width": (lambda: MODEL.predict(FIT.params, np.ones((1, 3))), r"exog has the shape \(1, 3\)"),
    "one column": (lambda: FIT.predict(DIETOX[["Time"]][:2], transform=False), "exog has 1 columns; the model has 2"),
    "loglike": (lambda: MODEL.loglike("a"), "params is 'a'"),
    "covariance": (lambda: MODEL.get_fe_params(np.eye(3), []), r"cov_re has the shape \(3, 3\)"),
    "category": (
        lambda: of_pastes(formula="strength ~ C(cask, levels=['a', 'b', 'c', 'd'])").fit(),
        r"'d'\]\)\[T\.d\] are zero in every row, as those of categories without rows",
    ),
    "weight of a path": (lambda: MODEL.regularization_path([1.0]).result(2.0), "alpha is 2.0; the path has"),
    "rows": (lambda: MODEL.group_list(np.ones(3)), r"array has the shape \(3,\); the model has"),
    "constraints": (lambda: FIT.wald_test_terms(extra_constraints=["Time = 0"]), "a pair of a name and a hypothesis"),
    "vc text": (lambda: of_pastes(vc_formula="0 + cask"), "it must be a mapping from names to formulas"),
    "vc number": (lambda: of_pastes(vc_formula={"a": 3}), r"vc_formula\['a'\] is 3"),
    "re number": (lambda: of_pastes(re_formula=3), "re_formula is 3"),
    "number": (lambda: of_pastes(formula=3), "formula is 3"),
    "query": (lambda: of_pastes(subset="batch != 'A'"), "pass one boolean for each row"),
    "depth": (lambda: of_pastes(eval_env="x"), "eval_env is 'x'"),
    "bar": (lambda: of_pastes(formula="strength ~ 1 + (1 | cask)"), "has a bar.*belong to mixedmodels.lmer"),
    "re bar": (lambda: of_pastes(re_formula="(1 | cask)"), "has a bar"),
    "text": (lambda: FIT.predict(DIETOX[:2].assign(Time=["a", "b"])), "'Time' was numeric in the fit, but holds 'a'"),
    "level": (lambda: FIT.predict(DIETOX[:2], level=0.9), "level and ddf are for an interval"),
    "own level": (lambda: FIT.predict(level=0.9), "level and ddf are for an interval"),
    "effects": (lambda: FIT.predict(DIETOX[:2], random_effects=["pig"]), "Did you mean 'Pig'"),
}  # fmt: skip


@pytest.mark.parametrize(("question", "message"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_argument_is_named(question: Callable[[], object], message: str) -> None:
    with pytest.raises(mm.MixedModelsError, match=message):
        question()


def test_a_column_is_dropped_by_its_name_too() -> None:
    assert of_pastes(formula="strength ~ sample", drop_cols="Intercept").exog_names == (
        of_pastes(formula="strength ~ sample", drop_cols=["Intercept"]).exog_names
    )


@pytest.mark.parametrize("method", ["l1", "scad"])
def test_a_penalised_fit_that_stops_early_says_so(method: str) -> None:
    with pytest.warns(mm.ConvergenceWarning, match="after maxit=1 iterations. Raise maxit"):
        fit = MODEL.fit_regularized(method=method, alpha=1e3, maxit=1)
    assert "maxit=1" in fit.findings[0].message


def test_the_effects_of_chosen_factors() -> None:
    fit = mixedlm("strength ~ 1", PASTES, groups="batch", re_formula="1", vc_formula={"cask": "0 + cask"}).fit()
    population, whole = fit.predict(PASTES), fit.predict(PASTES, random_effects="conditional")
    parts = [fit.predict(PASTES, random_effects=[name]) for name in ("batch", "cask")]
    np.testing.assert_allclose(sum(parts) - population, whole, rtol=1e-12)
    batch = np.array([fit.random_effects[label]["batch"] for label in PASTES["batch"]])
    np.testing.assert_allclose(parts[0] - population, batch, rtol=1e-9)
    np.testing.assert_allclose(fit.predict(random_effects=["batch"]), parts[0], rtol=1e-12)


def test_comparisons_refuse_what_is_no_estimate_by_likelihood() -> None:
    class Ridge:
        def func(self, params: np.ndarray) -> float:
            return float(np.sum(params**2))

        def deriv(self, params: np.ndarray) -> np.ndarray:
            return 2 * params

    for fit in (MODEL.fit(fixed={"Pig Var": 40.0}), MODEL.fit(fe_pen=Ridge()), MODEL.fit_regularized(alpha=1e3)):
        for question in (
            lambda fit=fit: mm.compare(fit, FIT),
            lambda fit=fit: mm.compare(FIT, fit),
            lambda fit=fit: mm.table(fit),
            lambda fit=fit: mm.power(fit, "Time", n=2, progress=False),
        ):
            with pytest.raises(mm.InferenceError, match=r"holds Pig Var|a penalty moved"):
                question()
