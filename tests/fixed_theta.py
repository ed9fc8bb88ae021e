"""Fits at a given theta, without an optimiser: what tables and their display are tested with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_loader import load
from mixedmodels import _engine
from mixedmodels.design.build import build_design
from mixedmodels.design.design import Design
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.records import FitState
from mixedmodels.formula.parse import parse_formula
from oracle import dense_engine

LMM = Path(__file__).resolve().parent / "reference" / "lmm"


class FixedTheta(dense_engine.Model):
    """The dense twin, whose minimum is where it is told; second derivatives come from the engine."""

    theta: npt.NDArray[np.float64]
    found: dict[str, Any]
    engine: _engine.Model
    nearly_dependent = ()

    @property
    def parameters(self) -> npt.NDArray[np.int64]:
        return self.engine.parameters

    def identification(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[npt.NDArray[np.float64]]]:
        return self.engine.identification()

    def information(self, theta: npt.NDArray[np.float64], reml: bool) -> tuple[npt.NDArray[np.float64], ...]:
        return self.engine.information(theta, reml)

    def kenward_roger(self, theta: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], ...]:
        return self.engine.kenward_roger(theta)

    def fixed_root(
        self, theta: npt.NDArray[np.float64], in_engine: bool = False
    ) -> tuple[npt.NDArray[np.float64], ...]:
        return self.engine.fixed_root(theta, in_engine)

    def effect_bases(self) -> list[tuple[npt.NDArray[Any], ...]]:
        return self.engine.effect_bases()

    def minimize(self, reml: bool, *_: object) -> dense_engine.Minimum:
        theta = self.theta
        report = {"status": 0, "gradient_norm": 1e-9, "n_iterations": 3, "n_evaluations": 4}
        trace = np.arange(18.0).reshape(3, 6)
        report |= {"trace": trace, "other_optima": [], "singular": self.is_singular(theta)} | self.found
        return dense_engine.Minimum(theta=theta, deviance=self.deviance(theta, reml), **report)


def state_at(design: Design, theta: npt.ArrayLike, *, reml: bool = True, **found: Any) -> FitState:
    """Return the fit whose optimum is theta; ``found`` replaces what the optimiser reports."""
    arguments = (
        design.y if design.offset is None else design.y - design.offset,
        design.X,
        design.weights,
        [f.codes for f in design.factors],
        [f.n_levels for f in design.factors],
        [f.Z for f in design.factors],
        [f.block_sizes for f in design.factors],
    )
    model = FixedTheta(*arguments)
    model.engine = _engine.Model(*arguments)
    model.theta, model.found = np.asarray(theta, float), found
    return fit_problem(Problem(design, model=model), reml=reml)


def reference_state(name: str, method: str = "REML") -> tuple[FitState, dict[str, Any]]:
    """Return the fit at R's optimum and what R says of it, for a case whose theta has the same order there."""
    case = json.loads((LMM / f"{name}.json").read_text(encoding="utf-8"))
    theirs: dict[str, Any] = case["fits"][method]
    design = build_design(parse_formula(case["formula"]), load(case["data"]), weights=case["weights"])
    return state_at(design, theirs["theta"]["value"], reml=method == "REML"), theirs
