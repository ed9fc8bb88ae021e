"""Fits at given theta whose display is fixed: R's optima, and shapes that no data set has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import mixedmodels as mm
from data_loader import load
from fixed_theta import reference_state, state_at
from mixedmodels.design.build import build_design
from mixedmodels.display.broom import glance, tidy
from mixedmodels.fit.records import FitState
from mixedmodels.formula.parse import parse_formula
from mixedmodels.inference.anova import anova
from mixedmodels.inference.compare import compare_states
from mixedmodels.inference.conditional_aic import criteria_table
from mixedmodels.inference.contrast import contrast
from mixedmodels.inference.margins import margins
from mixedmodels.inference.variance_parameters import LinearParameters, variance_parameters
from mixedmodels.inference.wald import coef_table


def state(formula: str, data: pd.DataFrame, theta: list[float], **found: Any) -> FitState:
    return state_at(build_design(parse_formula(formula), data), theta, **found)


def dropped_and_aliased() -> FitState:
    """Rows and a column left out, an offset, columns of unlike size, two optima."""
    data = load("sleepstudy")
    data = data.assign(
        Reaction=data["Reaction"].where(data.index != 3),
        hours=24.0 * data["Days"].where(~data.index.isin([5, 6])),
        income=3e6 + 1e6 * np.cos(data.index.to_numpy()),
    )
    formula = "Reaction ~ Days + hours + income + offset(Days / 10) + (1 | Subject)"
    return state(formula, data, [1.2], other_optima=[1890.5])


def many_effects() -> FitState:
    """Six correlated effects on one factor, two uncorrelated ones on another, long and foreign names."""
    rng = np.random.default_rng(5)
    names = ["Größe_µm", "b", "c", "d", "very_long_name_of_a_predictor_variable"]
    data = pd.DataFrame(rng.normal(size=(120, 5)), columns=names)
    data["subject identifier"] = np.arange(120) % 15
    data["item"] = np.arange(120) // 10
    data["y"] = rng.normal(size=120)
    wide = " + ".join(names)
    formula = f"y ~ Größe_µm * very_long_name_of_a_predictor_variable + ({wide} | `subject identifier`) + (b || item)"
    lower = np.tril(rng.uniform(-0.5, 0.5, size=(6, 6)), -1) + np.diag([1, 0.5, 1, 0.8, 0.6, 0.4])
    return state(formula, data, [*lower.T[np.triu_indices(6)], 0.3, 0.0])


def perfect_correlation() -> FitState:
    """A correlation of minus one and no convergence."""
    found = {"status": 1, "gradient_norm": 0.031}
    return state("Reaction ~ Days + (Days | Subject)", load("sleepstudy"), [1.0, -0.1, 0.0], **found)


def tiny_and_large() -> FitState:
    """Standard errors far apart."""
    data = load("sleepstudy").assign(x=lambda d: 1e9 * d["Days"], z=lambda d: 1e-7 * np.sin(d.index))
    return state("Reaction ~ x + z + (1 | Subject)", data, [1.0])


def two_crossed() -> FitState:
    """Sixteen fixed effects and two crossed factors with six correlated effects each."""
    rng = np.random.default_rng(3)
    n, names = 600, ["word_length", "frequency", "position", "prime", "surprisal"]
    data = pd.DataFrame(rng.normal(size=(n, 5)), columns=names)
    data["subject"], data["item"] = np.tile(np.arange(30), 20), np.repeat(np.arange(20), 30)
    data["condition"] = np.resize(["neutral", "related", "unrelated"], n)
    data["rt"] = 600 + 50 * rng.normal(size=n)
    slopes = " + ".join(names)
    fixed = f"condition * ({' + '.join(names[:4])}) + surprisal"
    lower = np.tril(rng.uniform(-0.3, 0.3, size=(6, 6)), -1) + np.diag([1, 0.5, 0.7, 0.8, 0.6, 0.4])
    theta = lower.T[np.triu_indices(6)]
    return state(f"rt ~ {fixed} + ({slopes} | subject) + ({slopes} | item)", data, [*theta, *0.5 * theta])


CASES: dict[str, tuple[Callable[[], FitState], dict[str, Any]]] = {
    "sleepstudy_slope": (lambda: reference_state("sleepstudy_slope")[0], {}),
    "sleepstudy_uncorr": (
        lambda: reference_state("sleepstudy_uncorr", "ML")[0],
        {"ddf": "residual", "correlation": True, "level": 0.9},
    ),
    "pastes_nested": (lambda: reference_state("pastes_nested", "ML")[0], {}),
    "beets_kr": (lambda: reference_state("beets_kr")[0], {"ddf": "kenward-roger"}),
    "penicillin_crossed": (lambda: reference_state("penicillin_crossed")[0], {}),
    "machines_noint": (lambda: reference_state("machines_noint")[0], {"correlation": True}),
    "cbpp_weights": (lambda: reference_state("cbpp_weights")[0], {}),
    "cake_factor": (lambda: reference_state("cake_factor")[0], {"correlation": True}),
    "dyestuff2_zero": (lambda: reference_state("dyestuff2_zero")[0], {}),
    "dropped_and_aliased": (dropped_and_aliased, {"ddf": "normal"}),
    "many_effects": (many_effects, {"ddf": "normal"}),
    "perfect_correlation": (perfect_correlation, {"ddf": "normal"}),
    "tiny_and_large": (tiny_and_large, {"ddf": "normal"}),
    "two_crossed": (two_crossed, {"ddf": "normal"}),
}


def sleepstudy() -> FitState:
    """A fit with an engine, for what a given theta does not answer."""
    return mm.lmer("Reaction ~ Days + (Days | Subject)", load("sleepstudy")).state


FRAMES: dict[str, Callable[[], pd.DataFrame]] = {
    "coef_table": lambda: coef_table(reference_state("cake_factor")[0]),
    "coef_table of unlike sizes": lambda: coef_table(tiny_and_large(), "normal"),
    "coef_table of long names": lambda: coef_table(many_effects(), "normal"),
    "coef_table of many": lambda: coef_table(two_crossed(), "normal"),
    "anova": lambda: anova(reference_state("cake_factor")[0]),
    "margins": lambda: margins(reference_state("cake_factor")[0], "recipe"),
    "margins by": lambda: margins(reference_state("cake_factor")[0], "temperature", by="recipe"),
    "pairs": lambda: margins(reference_state("cake_factor")[0], "recipe", by="temperature", pairwise=True),
    "contrast": lambda: contrast(
        reference_state("sleepstudy_slope")[0],
        {"the mean reaction time after nine days": {"Intercept": 1, "Days": 9}, "slope": "Days = 10"},
        joint=True,
    ),
    "compare": lambda: compare_states([reference_state(name)[0] for name in ("sleepstudy_uncorr", "sleepstudy_slope")]),
    "compare names": lambda: compare_states(
        [reference_state(name)[0] for name in ("sleepstudy_uncorr", "sleepstudy_slope")],
        names=["independent", "correlated"],
    ),
    "criteria": lambda: criteria_table(sleepstudy()),
    "variance_parameters": lambda: variance_parameters(LinearParameters(sleepstudy())),
    "conf_int": lambda: mm.LmmResult(sleepstudy()).conf_int("wald"),
    "tidy": lambda: tidy(reference_state("sleepstudy_slope")[0]),
    "glance": lambda: glance(reference_state("sleepstudy_slope")[0]),
}
"""Tables at the optima of R where that is enough."""
