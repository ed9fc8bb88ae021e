"""Every method of every kind of fit answers any argument with a result or an error of the package's tree."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
N = 48
ODD: tuple[Any, ...] = (
    5, -1, 0, 1.5, float("nan"), None, "nonsense", "", True, [], [1, 2], (), {}, {"x": 1}, b"x", np.array([1.0, 2.0]),
    np.zeros((2, 2)), pd.DataFrame(), pd.Series([1.0, 2.0]), object(), len,
)  # fmt: skip
USUAL: Mapping[str, tuple[dict[str, Any], ...]] = {
    "anova": ({}, {"type": 1}, {"type": 2, "ddf": "kenward-roger"}),
    "bootstrap": ({"n": 2, "seed": 1, "progress": False}, {"n": 2, "seed": 1, "kind": "cases", "progress": False}),
    "coef_table": tuple({"ddf": ddf} for ddf in ("satterthwaite", "kenward-roger", "residual", "normal", "CR2")),
    "conf_int": ({}, {"method": "profile", "which": "sigma"}),
    "contrast": ({"L": "x = 0"}, {"L": {"x": 1}}, {"L": "Intercept = 1", "joint": True}),
    "cov_fe_robust": tuple({"kind": kind} for kind in ("CR0", "CR1", "CR2", "CR3")),
    "drop1": ({}, {"test": "LRT"}, {"ddf": "kenward-roger"}),
    "extend": ({"n": 1},),
    "influence": ({"method": "one-step", "progress": False}, {"by": "g", "method": "one-step", "progress": False}),
    "margins": ({"specs": "f"}, {"specs": "t", "pairwise": True}),
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
    "step": ({}, {"alpha_random": 1, "alpha_fixed": 1e-9}, {"keep": "x"}),
    "summary": ({}, {"ddf": "kenward-roger", "correlation": True}),
    "update": ({}, {"formula": ". ~ . - x"}, {"reml": False}),
    "variance_parameters": ({}, {"scale": "variance"}),
}  # fmt: skip
SLOW = {"report", "plot"}
"""What draws: asked for once, not with every odd argument."""


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


def methods(owner: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in dir(type(owner)):
        if not name.startswith("_") and inspect.isfunction(inspect.getattr_static(type(owner), name)):
            yield name, getattr(owner, name)


def show(owner: object) -> None:
    """Ask for everything that a result shows by itself."""
    repr(owner), str(owner), getattr(owner, "_repr_html_", str)()
    if isinstance(owner, pd.DataFrame | pd.Series):
        return
    for name in dir(type(owner)):
        if not name.startswith("_") and isinstance(inspect.getattr_static(type(owner), name), property):
            repr(getattr(owner, name))


def ask(question: str, method: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Return the answer, or None if it is refused in the package's words."""
    try:
        answer = method(**arguments)
    except mm.MixedModelsError:
        return None
    except Exception as error:
        raise AssertionError(f"{question}({arguments}) raised {type(error).__name__}: {error}") from error
    if not isinstance(answer, mm.LmmResult):
        show(answer)
    return answer


def odd_arguments(name: str, method: Callable[..., Any], place: Path) -> Iterator[dict[str, Any]]:
    """Yield the usual arguments with each in turn another kind of thing; a path is no path to write to."""
    usual = {"path": place} if name == "save" else USUAL.get(name, ({},))[0]
    for argument in inspect.signature(method).parameters:
        for odd in ODD:
            if not (argument == "path" and isinstance(odd, str)):
                yield usual | {argument: odd}


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_fits_answer_or_refuse(kind: str, tmp_path: Path) -> None:
    fit = fits()[kind]
    show(fit)
    for name, method in methods(fit):
        if name in SLOW:
            continue
        for arguments in ({"path": tmp_path / "fit"},) if name == "save" else USUAL.get(name, ({},)):
            if not any(p.default is p.empty and p.name not in arguments for p in signature(method)):
                answer = ask(f"{kind}: {name}", method, arguments)
                if type(answer).__name__ in ("Bootstrap", "FitProfile", "Influence"):
                    ask_all(f"{kind}: {name}()", answer, tmp_path / "answer")
        for arguments in odd_arguments(name, method, tmp_path / "fit"):
            ask(f"{kind}: {name}", method, arguments)


def signature(method: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(method).parameters.values())


def ask_all(question: str, owner: object, place: Path) -> None:
    for name, method in methods(owner):
        if name in SLOW:
            continue
        if all(p.default is not p.empty for p in signature(method)):
            ask(f"{question}.{name}", method, {})
        for arguments in odd_arguments(name, method, place):
            ask(f"{question}.{name}", method, arguments)


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
    for parameter in signature(function):
        for odd in ODD:
            if parameter.kind is parameter.VAR_POSITIONAL:
                ask(function.__name__, lambda odd=odd: function(fit, odd), {})
            elif not (parameter.name in ("path", "n") and isinstance(odd, str | int | bytes)):
                ask(function.__name__, function, usual | {parameter.name: odd})
