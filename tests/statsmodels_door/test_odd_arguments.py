"""Every method of the door answers any argument with a result or an error of the package's tree."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.base._penalties import L2

import mixedmodels as mm
from odd_arguments import ODD, ask, ask_all, ask_oddly, show

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning"),
]
N, N_GROUPS = 36, 6
NOT_ASKED = ("remove_data", "report", "plot")
"""What empties the fit, and what draws."""


@cache
def data() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({
        "x": rng.normal(size=N), "f": np.resize(list("abc"), N), "g": np.repeat(np.arange(N_GROUPS), N // N_GROUPS),
        "h": np.tile(np.arange(3), N // 3), "e": rng.normal(size=N),
    })  # fmt: skip
    return frame.assign(y=frame.x + rng.normal(size=N_GROUPS)[frame.g] + rng.normal(size=N))


def of_arrays(**arguments: Any) -> mm.MixedLM:
    X = np.column_stack([np.ones(N), data().x])
    return mm.MixedLM(**{"endog": data().y.to_numpy(), "exog": X, "groups": data().g.to_numpy(), **arguments})


def of_formula(**arguments: Any) -> mm.MixedLM:
    return mm.mixedlm(**{"formula": "y ~ x + f", "data": data(), "groups": "g", **arguments})


def without_rows() -> mm.MixedLMResults:
    fit = of_formula().fit()
    fit.remove_data()
    return fit


@cache
def fits() -> dict[str, mm.MixedLMResults]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.MixedModelsWarning)
        return {
            "formula": of_formula().fit(),
            "arrays": of_arrays().fit(),
            "slopes": of_formula(re_formula="~x").fit(reml=False),
            "components": of_formula(re_formula="1", vc_formula={"h": "0 + C(h)"}).fit(),
            "no fixed part": of_formula(formula="y ~ 0").fit(),
            "singular": of_formula(formula="e ~ x + f").fit(),
            "not converged": of_formula(re_formula="~x").fit(maxiter=1),
            "a variance held": of_formula().fit(fixed={"g Var": 1.0}),
            "a coefficient held": of_formula().fit(fixed={"x": 0.5}),
            "no variance": of_formula().fit(fixed={"g Var": 0.0}),
            "regularized": of_formula().fit_regularized(alpha=3.0),
            "penalized": of_formula().fit(fe_pen=L2()),
            "without rows": without_rows(),
        }


KINDS = (
    "formula", "arrays", "slopes", "components", "no fixed part", "singular", "not converged", "a variance held",
    "a coefficient held", "no variance", "regularized", "penalized", "without rows",
)  # fmt: skip


def usual_questions(fit: mm.MixedLMResults, place: Path) -> dict[str, tuple[dict[str, Any], ...]]:
    name = fit.description.data.xnames[-1] if fit.k_fe else "g Var"
    own = {"exog": np.ones((2, fit.k_fe))} if fit.description.formulas is None else {"exog": data().head()}
    return {
        "bootstrap": ({"n": 2, "seed": 1, "progress": False},),
        "check_estimated": ({"what": "this"},),
        "contrast": ({"L": f"{name} = 0"},),
        "cov_params": ({"r_matrix": np.eye(fit.df_modelwc)}, {"column": 0}, {"column": [0]}, {"scale": 1.0}),
        "f_test": ({"r_matrix": f"{name} = 0"},),
        "influence": ({"method": "one-step", "progress": False},),
        "load": ({"fname": place},),
        "margins": ({"specs": "f"},),
        "predict": (own, {}, {**own, "random_effects": "conditional", "groups": np.zeros(len(own["exog"]))}),
        "profile": ({"which": "sigma", "progress": False},),
        "profile_re": ({"re_ix": 0, "vtype": "re", "num_low": 0, "num_high": 0},),
        "ranova": ({"seed": 1},),
        "profile_re_interval": ({"re_ix": 0, "vtype": "re"},),
        "refit": ({"y": data().e.to_numpy()},),
        "save": ({"fname": place},),
        "simulate": ({"seed": 1},),
        "simulated_residuals": ({"n": 5, "seed": 1},),
        "slopes": ({"variable": "x"},),
        "slopes_by_level": ({"variable": "x"},),
        "t_test": ({"r_matrix": f"{name} = 0"},),
        "t_test_pairwise": ({"term_name": "f"},),
        "wald_test": ({"r_matrix": f"{name} = 0"},),
        "wald_test_terms": ({}, {"extra_constraints": [("one", f"{name} = 0")]}),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_fits_answer_or_refuse(kind: str, tmp_path: Path) -> None:
    fit = copy(fits()[kind])
    show(fit)
    answers = ask_all(kind, fit, tmp_path / "fit", usual_questions(fit, tmp_path / "kept"), NOT_ASKED)
    for answer in answers:
        if type(answer).__module__.startswith("mixedmodels.mixedlm.answers"):
            ask_all(f"{kind}: {type(answer).__name__}", answer, tmp_path / "answer", {"add_text": ({"string": "x"},)})


@pytest.mark.parametrize("model", [of_formula, of_arrays])
def test_models_answer_or_refuse(model: Callable[[], mm.MixedLM], tmp_path: Path) -> None:
    asked = model()
    fit = asked.fit()
    params = fit.params_object
    packed = params.get_packed(use_sqrt=False, has_fe=True)
    some = {"params": params}
    usual: dict[str, tuple[dict[str, Any], ...]] = {
        **dict.fromkeys(("loglike", "score", "score_full", "score_sqrt", "hessian", "information"), (some,)),
        **dict.fromkeys(("EM", "steepest_ascent", "predict"), (some,)),
        "fit": ({}, {"reml": False, "method": "bfgs"}),
        "fit_regularized": ({"alpha": 0.5},),
        "from_formula": ({"formula": "y ~ x", "data": data(), "groups": "g"},),
        "get_distribution": ({"params": packed, "scale": 1.0},),
        "get_fe_params": ({"cov_re": params.cov_re, "vcomp": params.vcomp},),
        "get_scale": ({"fe_params": params.fe_params, "cov_re": params.cov_re, "vcomp": params.vcomp},),
        "group_list": ({"array": np.arange(N)},),
        "of": ({"description": asked.description},),
        "regularization_path": ({"alphas": [1.0, 0.5]},),
        "result": ({"alpha": 0.5},),
        "rvs": ({"n": N},),
        "with_response": ({"y": np.arange(float(N))},),
        "set_packed": ({"params": packed},),
        "set_fe_params": ({"fe_params": params.fe_params},),
        "from_packed": ({"params": [1.0, 2.0], "k_fe": 1, "k_re": 1, "use_sqrt": True, "has_fe": True},),
    }
    answers = ask_all("model", asked, tmp_path / "x", usual)
    kinds = (mm.MixedLMParams, type(asked.get_distribution(packed, 1.0)), type(asked.regularization_path([1.0, 0.5])))
    del usual["get_fe_params"]  # which MixedLMParams has too, without arguments
    for kind in kinds:
        answer = next(answer for answer in answers if isinstance(answer, kind))
        ask_all(kind.__name__, copy(answer), tmp_path / "x", usual)


def test_functions_answer_or_refuse() -> None:
    designs = {g: np.eye(N // N_GROUPS) for g in range(N_GROUPS)}
    usual: Mapping[Callable[..., Any], dict[str, Any]] = {
        mm.MixedLM: {"endog": data().y, "exog": data()[["x"]], "groups": data().g},
        of_arrays: {"exog_vc": {"v": designs}},
        mm.mixedlm: {"formula": "y ~ x", "data": data(), "groups": "g"},
        mm.MixedLMParams: {"k_fe": 1, "k_re": 1, "k_vc": 1},
        mm.VCSpec: {"names": ["a"], "colnames": [[["x"]]], "mats": [[np.ones((3, 1))]]},
    }
    for function, arguments in usual.items():
        ask_oddly(function.__name__, function, arguments)


def of_components(odd: Any) -> Iterator[Callable[[], object]]:
    """Yield models with something odd somewhere in their variance components, and fits with odd options."""
    groups = range(N_GROUPS)
    yield lambda: of_arrays(exog_vc=mm.VCSpec(odd, odd, odd))
    yield lambda: of_arrays(exog_vc=mm.VCSpec(["a"], [odd], [odd]))
    yield lambda: of_arrays(exog_vc=mm.VCSpec(["a"], [[odd for _ in groups]], [[odd for _ in groups]]))
    yield lambda: of_arrays(exog_vc=mm.VCSpec(["a"], [[odd for _ in groups]], [[np.eye(6) for _ in groups]]))
    yield lambda: of_arrays(exog_vc={"v": odd})
    yield lambda: of_arrays(exog_vc={"v": dict.fromkeys(groups, odd)})
    yield lambda: of_formula(vc_formula={"v": odd})
    yield (
        lambda: of_formula(vc_formula={"h": "0 + C(h)"}).fit().predict(data(), random_effects="conditional", groups=odd)
    )
    yield lambda: fits()["components"].predict(data(), random_effects="conditional", exog_vc={"h": odd})


OPTIONS = ("maxiter", "gtol", "ftol", "tol", "eps", "maxcor", "maxls", "min_method", "method", "fixed", "free")


def test_components_and_options() -> None:
    fit, path = of_arrays().fit, of_arrays().regularization_path
    for odd in ODD:
        for make in of_components(odd):
            ask(inspect.getsource(make).strip(), make, {})
        for name in OPTIONS:
            ask("fit", fit, {"method": "minimize" if name == "min_method" else "bfgs", name: odd})
        ask("fit", fit, {"fixed": {"x1": odd}})
        for name in ("ptol", "maxit", "L1_wt"):
            ask("path", path, {"alphas": [1.0], "method": "elastic_net", name: odd})
