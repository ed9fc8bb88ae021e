"""Every method of every kind of fit answers any argument with a result or an error of the package's tree."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from odd_arguments import ODD, ask, ask_all, ask_oddly, methods, show

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
N = 48
USUAL: Mapping[str, tuple[dict[str, Any], ...]] = {
    "anova": ({}, {"type": 1}, {"type": 2, "ddf": "kenward-roger"}),
    "bootstrap": ({"n": 2, "seed": 1, "progress": False}, {"n": 2, "seed": 1, "kind": "cases", "progress": False}),
    "coef_table": tuple({"ddf": ddf} for ddf in ("satterthwaite", "kenward-roger", "residual", "normal", "CR2")),
    "conf_int": ({}, {"method": "profile", "which": "sigma"}),
    "contrast": ({"L": "x = 0"}, {"L": {"x": 1}}, {"L": "Intercept = 1", "joint": True}),
    "cov_fe_robust": tuple({"kind": kind} for kind in ("CR0", "CR1", "CR2", "CR3")),
    "drop1": ({}, {"test": "LRT"}, {"ddf": "kenward-roger"}),
    "effect_sizes": ({}, {"kind": "omega", "type": 2}),
    "extend": ({"n": 1},),
    "influence": ({"method": "one-step", "progress": False}, {"by": "g", "method": "one-step", "progress": False}),
    "joint_tests": ({}, {"by": "f"}),
    "margins": ({"specs": "f"}, {"specs": "t", "pairwise": True}, {"specs": "f", "contrasts": "mean"}),
    "predict": (
        {}, {"random_effects": "population"}, {"interval": "prediction"},
        {"random_effects": "population", "interval": "confidence"},
    ),
    "profile": ({"which": "sigma", "progress": False},),
    "ranova": ({}, {"n_exact": 5, "seed": 1}),
    "refit": ({"y": np.arange(float(N))}, {"y": np.ones(N)}),
    "residuals": tuple({"kind": kind} for kind in ("marginal", "pearson", "standardized", "cholesky")),
    "simulate": ({"seed": 1}, {"random_effects": "conditional", "seed": 1}),
    "simulated_residuals": ({"n": 5, "seed": 1},),
    "slopes": ({"variable": "x"}, {"variable": "x", "by": "f", "pairwise": True}),
    "slopes_by_level": ({"variable": "x"}, {"variable": "x", "group": "g"}),
    "standardized": tuple({"method": method} for method in ("refit", "basic", "pseudo")),
    "step": ({}, {"alpha_random": 1, "alpha_fixed": 1e-9}, {"keep": "x"}),
    "summary": ({}, {"ddf": "kenward-roger", "correlation": True}),
    "update": ({}, {"formula": ". ~ . - x"}, {"reml": False}),
    "variance_parameters": ({}, {"scale": "variance"}),
    "variance_shares": tuple({"by": by} for by in ("term", "factor", "level")),
}  # fmt: skip


@cache
def fits() -> dict[str, mm.LmmResult]:
    rng = np.random.default_rng(3)
    data = pd.DataFrame({
        "x": rng.normal(size=N), "f": rng.choice(list("abc"), N), "g": np.repeat(np.arange(8), 6),
        "h": np.tile(np.arange(4), N // 4), "w": rng.uniform(0.5, 2, N), "e": rng.normal(size=N),
        "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N) % 3, "D"),
    })  # fmt: skip
    data["y"] = data.x + rng.normal(size=8)[data.g] + rng.normal(size=N)
    data["z"], data["t"] = 2 * data.x, data.x > 0
    few = data.iloc[::3].assign(f=np.resize(list("aabcbcca"), N // 3))
    arrays = {name: data[name].to_numpy() for name in ("y", "x", "g")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.MixedModelsWarning)
        return {
            "slopes": mm.lmer("y ~ x + f + (x | g)", data),
            "crossed": mm.lmer("y ~ x * f + (1 | g) + (1 | h)", data, reml=False),
            "split": mm.lmer("y ~ f + (f || g)", data),
            "singular": mm.lmer("e ~ x + (x | g)", data),
            "no fixed part": mm.lmer("y ~ 0 + (1 | g)", data),
            "weights": mm.lmer("y ~ x + offset(e) + (1 | g)", data, weights="w"),
            "aliased": mm.lmer("y ~ x + z + (1 | g)", data),
            "computed": mm.lmer("y ~ C(date) + t + poly(x, 2) + (1 | g)", data),
            "missing": mm.lmer("y ~ x + (1 | g)", data.mask(rng.random(data.shape) < 0.05)),
            "not converged": mm.lmer("y ~ x + (x | g)", data, control=mm.Control(max_iterations=1)),
            "arrays": mm.lmer("y ~ x + (1 | g)", arrays, weights=list(data.w), offset=data.e.to_numpy()),
            "few rows": mm.lmer("e ~ f + (f || g)", few, reml=False),
            "unidentified": mm.lmer("y ~ 1 + (0 + x | g) + (0 + z | g)", data),
            "small residual": mm.lmer("y ~ 1 + (1 | g)", data.assign(y=data.g % 3 + 1e-6 * data.e)),
            "refitted": mm.lmer("y ~ x + (1 | g)", data).refit(data.e),
        }


KINDS = (
    "slopes", "crossed", "split", "singular", "no fixed part", "weights", "aliased", "computed", "missing",
    "not converged", "arrays", "few rows", "unidentified", "small residual", "refitted",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_fits_answer_or_refuse(kind: str, tmp_path: Path) -> None:
    fit = fits()[kind]
    show(fit)
    for answer in ask_all(kind, fit, tmp_path / "fit", USUAL):
        if type(answer).__name__ in ("Bootstrap", "FitProfile", "Influence"):
            ask_all(f"{kind}: {type(answer).__name__}", answer, tmp_path / "answer", {"extend": USUAL["extend"]})


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
@pytest.mark.parametrize(
    "function", [mm.lmer, mm.LinearMixedModel, mm.fit_each, mm.fit_many, mm.compare, mm.table, mm.power, mm.load]
)
def test_functions_answer_or_refuse(function: Callable[..., Any], tmp_path: Path) -> None:
    fit = fits()["slopes"]
    data = {"y": np.arange(12.0) % 5, "g": np.arange(12) // 3}
    usual: dict[str, Any] = {
        "lmer": {"formula": "y ~ 1 + (1 | g)", "data": data},
        "LinearMixedModel": {"formula": "y ~ 1 + (1 | g)", "data": data},
        "fit_each": {"formula": "y ~ 1 | g", "data": data},
        "fit_many": {"formulas": "y ~ 1 + (1 | g)", "data": data, "progress": False},
        "power": {"model": fit, "effect": "x", "n": 2, "seed": 1, "progress": False},
        "load": {"path": tmp_path / "none"},
    }.get(function.__name__, {})
    ask_oddly(function.__name__, function, usual)
    if function is mm.compare:
        for odd in ODD:
            ask("compare", lambda odd=odd: mm.compare(fit, odd), {})


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
def test_tables_answer_or_refuse() -> None:
    two = fits()["slopes"], fits()["crossed"]
    for odd in ODD:
        ask("table", lambda odd=odd: mm.table(two[0], odd), {})
    for name in inspect.signature(mm.table).parameters:
        for odd in ODD:
            ask(f"table {name}", lambda name=name, odd=odd: mm.table(*two, **{name: odd}), {})


SOME = (5, None, "nonsense", [], {"x": 1}, b"x", np.array([1.0, 2.0]), pd.DataFrame(), object())
"""For what takes its time: a thing of each kind."""


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", mm.plot.__all__)
def test_plots_answer_or_refuse(name: str) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    plot = getattr(mm.plot, name)
    fit, parameters = fits()["slopes"], inspect.signature(plot).parameters
    drawn = {"bootstrap": fit.bootstrap(3, seed=1, progress=False), "profile": fit.profile("sigma", progress=False)}
    first = drawn.get(name, fit)
    for odd in SOME:
        ask(f"plot.{name}", lambda odd=odd: plot(odd) and None, {})
        for argument in list(parameters)[1:]:
            ask(f"plot.{name}", lambda odd=odd, argument=argument: plot(first, **{argument: odd}) is None, {})
        plt.close("all")


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
def test_reports_answer_or_refuse(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    fit = fits()["slopes"]
    for odd in (5, b"x", [], object(), np.array([1.0, 2.0])):
        for argument in ("path", "title", "ddf", "level"):
            if not (argument == "path" and isinstance(odd, bytes | int)):
                ask("report", fit.report, {"path": tmp_path / "page.html", argument: odd})


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_the_regressor_answers_or_refuses() -> None:
    pytest.importorskip("sklearn")
    from mixedmodels.sklearn import LevelFold, MixedModelRegressor  # noqa: PLC0415  # not everywhere installed

    data = pd.DataFrame({"x": np.arange(24.0) % 5, "g": np.arange(24) // 4})
    y = np.sin(np.arange(24.0))
    by_formula, by_groups = MixedModelRegressor("x + (1 | g)").fit(data, y), MixedModelRegressor()
    by_groups.fit(data[["x"]], y, groups=data.g)
    for odd in ODD:
        for name in ("formula", "reml", "random_effects", "new_levels"):
            ask(
                name,
                lambda name=name, odd=odd: MixedModelRegressor(**{"formula": "x + (1 | g)", name: odd}).fit(data, y),
                {},
            )
            ask(
                name,
                lambda name=name, odd=odd: MixedModelRegressor(**{name: odd}).fit(data[["x"]], y, groups=data.g),
                {},
            )
        for name in ("X", "y", "groups", "sample_weight"):
            ask(name, MixedModelRegressor("x + (1 | g)").fit, {"X": data, "y": y, name: odd})
            ask(name, MixedModelRegressor().fit, {"X": data[["x"]], "y": y, "groups": data.g, name: odd})
        ask("predict", by_formula.predict, {"X": odd})
        ask("predict", by_groups.predict, {"X": data[["x"]], "groups": odd})
        ask("set_output", by_formula.set_output, {"transform": odd})
        ask("folds", lambda odd=odd: list(LevelFold(odd).split(data)), {})
        ask("folds", lambda odd=odd: list(LevelFold("g", odd).split(data)), {})
        ask("folds", lambda odd=odd: list(LevelFold("g").split(odd)), {})


def flags_of(owner: object) -> list[tuple[str, str]]:
    """Return methods and their arguments that may be True or False."""
    return [
        (name, parameter.name)
        for name, method in methods(owner)
        for parameter in inspect.signature(method).parameters.values()
        if "bool" in str(parameter.annotation)
    ]


def answer_text(method: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    try:
        return repr(method(**arguments))
    except mm.MixedModelsError as error:
        return str(error)


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
@pytest.mark.parametrize("value", [True, False])
def test_booleans_of_numpy_are_those_of_python(value: bool, tmp_path: Path) -> None:
    fit = fits()["slopes"]
    data = {"y": np.arange(12.0) % 5, "g": np.arange(12) // 3}
    formula, arrays = "y ~ 1 + (1 | g)", {"endog": data["y"], "exog": np.ones((12, 1)), "groups": data["g"]}
    model = mm.LinearMixedModel(formula, data)
    fit.save(tmp_path / "fit.mm")
    needed: Mapping[str, Mapping[str, Any]] = {
        "deviance": {"theta": [1.0]}, "gradient": {"theta": [1.0]}, "save": {"path": tmp_path / "saved.mm"},
        "contrast": {"L": "x = 0"}, "margins": {"specs": "f"}, "slopes": {"variable": "x"},
        "bootstrap": {"n": 2, "seed": 1}, "profile": {"which": "sigma"}, "influence": {"method": "one-step", "by": "g"},
    }  # fmt: skip
    asked = [
        (getattr(owner, name), flag, needed.get(name, {})) for owner in (fit, model) for name, flag in flags_of(owner)
    ]
    asked += [
        (mm.lmer, "reml", {"formula": formula, "data": data}),
        (mm.fit_many, "reml", {"formulas": formula, "data": data, "progress": False}),
        (mm.load, "trust", {"path": tmp_path / "fit.mm"}),
        (lambda **flag: mm.compare(fit, fits()["refitted"], **flag), "refit", {}),
        (lambda **flag: mm.table(fit, **flag), "stars", {}),
        (lambda **flag: mm.MixedLM(**arrays).fit(**flag).llf, "reml", {}),
        (mm.fit_each("y ~ 1 | g", data).coef_table, "pool", {}),
    ]
    assert len(asked) > 15
    for method, flag, arguments in asked:
        told = answer_text(method, {**arguments, flag: value})
        assert answer_text(method, {**arguments, flag: np.bool_(value)}) == told, (method, flag)
    for reml in (np.bool_(value), value):
        assert mm.lmer(formula, data, reml=reml).reml is value
