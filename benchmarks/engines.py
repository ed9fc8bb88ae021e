"""How each Python engine is called: formula and data in, fitted model out, default settings."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from problems import Problem

Fit = Callable[[Problem, pd.DataFrame], Any]


@dataclass(frozen=True)
class Outcome:
    """What a fitted model says of itself.

    Attributes
    ----------
    criterion
        REML criterion, -2 restricted log-likelihood with lme4's constants.
    converged, singular
        As the engine reports them.
    evaluations, iterations
        Of the optimiser.
    split
        Seconds by part of the call.
    message
        What went wrong, in the engine's words.
    """

    criterion: float
    converged: bool | None = None
    singular: bool | None = None
    evaluations: int | None = None
    iterations: int | None = None
    split: dict[str, float] | None = None
    message: str | None = None


@dataclass(frozen=True)
class Engine:
    """A Python package that fits mixed models."""

    module: str
    distribution: str
    fit: Fit
    read: Callable[[Any], Outcome]
    only_one_grouping: bool = False
    only_one_factor: bool = False

    def cannot(self, problem: Problem) -> str | None:
        """Why the engine cannot be asked for this model; None if it can."""
        model = problem.one_grouping
        if self.only_one_grouping and model is None:
            return "correlated slopes on one factor only"
        if self.only_one_factor and (model is None or model.vc_formula is not None):
            return "one grouping factor only"
        return None


def _fit_ours(problem: Problem, data: pd.DataFrame) -> Any:
    return importlib.import_module("mixedmodels").lmer(problem.formula, data)


def _read_ours(fit: Any) -> Outcome:
    optimum = fit.optimizer
    return Outcome(
        criterion=float(fit.deviance),
        converged=bool(fit.converged),
        singular=bool(fit.is_singular),
        evaluations=optimum.n_evaluations,
        iterations=optimum.n_iterations,
        split=dict(optimum.seconds),
        message="; ".join(finding.message for finding in fit.findings),
    )


def _fit_mixedlm(problem: Problem, data: pd.DataFrame) -> Any:
    return importlib.import_module("mixedlm").lmer(problem.formula, data)


def _read_mixedlm(fit: Any) -> Outcome:
    return Outcome(
        criterion=float(fit.deviance),
        converged=bool(fit.converged),
        singular=bool(fit.isSingular()),
        evaluations=fit.function_evals,
        iterations=fit.n_iter,
        message=fit.message,
    )


def _fit_glmm(problem: Problem, data: pd.DataFrame) -> Any:
    return importlib.import_module("glmm").fit(data, problem.formula, family="gaussian", reml=True)


def _read_glmm(fit: Any) -> Outcome:
    return Outcome(
        criterion=-2 * float(fit.loglik),
        converged=bool(fit.converged),
        singular=bool(fit.singular),
        evaluations=fit.n_eval,
        message="; ".join(map(str, fit.warnings)),
    )


def _statsmodels_door(module: str) -> Fit:
    def fit(problem: Problem, data: pd.DataFrame) -> Any:
        model = problem.one_grouping
        assert model is not None
        groups = np.ones(len(data)) if model.groups is None else model.groups
        door = importlib.import_module(module)
        return door.mixedlm(
            model.fixed, data, groups=groups, re_formula=model.re_formula, vc_formula=model.vc_formula
        ).fit()

    return fit


def _read_statsmodels(fit: Any) -> Outcome:
    return Outcome(
        criterion=-2 * float(fit.llf), converged=bool(fit.converged), singular=getattr(fit, "singular", None)
    )


ENGINES: dict[str, Engine] = {
    "ours": Engine("mixedmodels", "mixedmodels", _fit_ours, _read_ours),
    "mixedlm": Engine("mixedlm", "mixedlm", _fit_mixedlm, _read_mixedlm),
    "glmm": Engine("glmm", "glmm", _fit_glmm, _read_glmm),
    "mixedlm-rs": Engine(
        "mixedlm_rs", "mixedlm-rs", _statsmodels_door("mixedlm_rs"), _read_statsmodels, only_one_factor=True
    ),
    "statsmodels": Engine(
        "statsmodels.formula.api",
        "statsmodels",
        _statsmodels_door("statsmodels.formula.api"),
        _read_statsmodels,
        only_one_grouping=True,
    ),
}
