"""Means of a transformed response on the scale of the response itself.

For a response f(y) a mean u of f(y) becomes g(u), g the inverse of f: a median of y where f(y) is symmetric. Limits of
an interval become g of them, and the standard error is that of u times abs(g'(u)) (delta method). The mean of y is
E g(u + s Z) instead, Z standard normal and s^2 the variance of an observation around u, of random effects and residual
together. A difference of logarithms is the logarithm of a ratio.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.fit.records import FitState
from mixedmodels.formula.expressions import mentions, syntax_tree
from mixedmodels.inference.r2 import variance_parts

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit

SCALES = ("model", "response")
EQUAL_SDS = 1e-8
"""Relative difference of standard deviations that counts as none."""

N_NODES = 40
_READABLE = (
    "log(y), log(y + 1), log10(y), log2(y), log1p(y), sqrt(y), y**0.25, 1 / y, np.arcsinh(y), np.arcsin(sqrt(y)) and "
    "others made of one column, numbers, + - * / ** and such functions"
)


@dataclass(frozen=True)
class Step:
    """One step of a transformation, undone.

    Attributes
    ----------
    inverse, slope
        The value before the step, and its derivative in the one after it.
    low, high
        The values that the step can give.
    log_base
        Of a step that takes logarithms, their base; None otherwise.
    factor
        Of a step that multiplies and adds, what it multiplies by; None otherwise.
    """

    inverse: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    low: float = -math.inf
    high: float = math.inf
    log_base: float | None = None
    factor: float | None = None


def _log(base: float, shift: float = 0.0) -> Step:
    rate = math.log(base)
    inverse = np.expm1 if shift else np.exp
    return Step(lambda u: inverse(rate * u), lambda u: rate * np.exp(rate * u), log_base=base)


def _line(factor: float, shift: float = 0.0) -> Step:
    return Step(lambda u: (u - shift) / factor, lambda u: np.full_like(u, 1 / factor), factor=factor)


def _power(p: float) -> Step:
    """Return the step back from y^p; y is positive, or may have any sign where p is odd."""
    if p > 0 and p % 2 == 1:
        return Step(lambda u: np.sign(u) * np.abs(u) ** (1 / p), lambda u: np.abs(u) ** (1 / p - 1) / p)
    return Step(lambda u: u ** (1 / p), lambda u: np.abs(u ** (1 / p - 1) / p), low=0.0)


def _signed_power(p: float) -> Step:
    """Return the step back from y^p where y and y^p are negative: p is odd and below zero."""
    return Step(lambda u: -((-u) ** (1 / p)), lambda u: (-u) ** (1 / p - 1) / abs(p), high=0.0)


_FUNCTIONS: Mapping[str, Step] = MappingProxyType(
    {
        "log": _log(math.e),
        "log2": _log(2.0),
        "log10": _log(10.0),
        "log1p": _log(math.e, 1.0),
        "sqrt": _power(0.5),
        "square": _power(2.0),
        "cbrt": Step(lambda u: u**3, lambda u: 3 * u**2),
        "reciprocal": _power(-1.0),
        "exp": Step(np.log, lambda u: 1 / u, low=0.0),
        "expm1": Step(np.log1p, lambda u: 1 / (1 + u), low=-1.0),
        "arcsin": Step(np.sin, np.cos, low=-math.pi / 2, high=math.pi / 2),
        "arcsinh": Step(np.sinh, np.cosh),
        "arctanh": Step(np.tanh, lambda u: 1 / np.cosh(u) ** 2),
        "I": _line(1.0),
    }
)


@dataclass(frozen=True)
class Transformation:
    """What was done to the response, undone step by step.

    Attributes
    ----------
    text
        The left-hand side of the formula.
    steps
        The last step of the transformation first.
    ratio
        The text of what a difference is the ratio of, and the logarithm of the ratio for a difference of one; None if
        differences are no logarithms of ratios.
    """

    text: str
    steps: tuple[Step, ...]
    ratio: tuple[str, float] | None

    def inverse(self, u: Floats) -> Floats:
        """Return the response for transformed values, those out of range at the end of the range."""
        for step in self.steps:
            u = step.inverse(np.clip(u, step.low, step.high))
        return u

    def slope(self, u: Floats) -> Floats:
        """Return the derivative of `inverse`, zero out of range."""
        total = np.ones_like(u)
        for step in self.steps:
            within = np.clip(u, step.low, step.high)
            total = total * np.where(within == u, step.slope(within), 0.0)
            u = step.inverse(within)
        return total

    def in_range(self, u: Floats) -> Floats:
        """Return u, NaN where no response is transformed to it."""
        at, kept = u, np.ones(u.shape, dtype=bool)
        for step in self.steps:
            kept &= (at >= step.low) & (at <= step.high)
            at = step.inverse(np.clip(at, step.low, step.high))
        return np.where(kept & np.isfinite(at), u, np.nan)


def read_transformation(state: FixedFit) -> Transformation:
    """Return the transformation of a fit's response.

    Raises
    ------
    InferenceError
        If the response is not transformed, or not by what can be undone.
    """
    text = state.design.response_name
    if not is_transformed(state):
        raise InferenceError(
            f"scale is 'response', but the response {text!r} is a column as it is, on whose scale means are anyway. "
            "Leave scale out."
        )
    found = _steps(syntax_tree(text).body, state.design.y)
    if found is None:
        raise InferenceError(
            f"The transformation of the response {text!r} cannot be undone; those that can are {_READABLE}."
        )
    columns = [mention.name for mention in mentions(text) if not mention.is_called and mention.attribute is None]
    return Transformation(text, tuple(step for step, _ in found), _ratio(found, columns[-1]))


def is_transformed(state: FixedFit) -> bool:
    """Return True if the response is computed from columns, and its mean what is modelled."""
    text = state.design.response_name
    if state.link is not None or text in state.design.formula.names:
        return False
    try:
        return not isinstance(syntax_tree(text).body, ast.Name)
    except SyntaxError:  # what an array or a column is called where no formula names it
        return False


@dataclass(frozen=True)
class View:
    """On which scale a table of means, or of differences among them, is shown.

    Attributes
    ----------
    transformation
        What is undone; None for the scale of the model.
    scale
        The scale of the model in words, such as "the scale of log(y)"; "" where it is that of the response.
    plain
        What estimates on it are, "of log(y)"; "" where it is that of the response.
    brought_back
        What to know of means that are brought back.
    sd
        Standard deviation of what means are averaged over; 0 for the response of means.
    averaged
        What to know of these.
    """

    transformation: Transformation | None
    scale: str = ""
    plain: str = ""
    brought_back: str = ""
    sd: float = 0.0
    averaged: str = ""


def _steps(node: ast.expr, values: Floats) -> list[tuple[Step, ast.expr]] | None:
    """Return the steps of an expression of one column, the last first, each with what it is taken of; None if unknown.

    Parameters
    ----------
    node
        The expression.
    values
        It has in the data, (n_obs,).
    """
    if isinstance(node, ast.Name):
        return []
    found = _last_step(node, values)
    if found is None:
        return None
    step, inner = found
    with np.errstate(all="ignore"):
        before = _steps(inner, step.inverse(np.clip(values, step.low, step.high)))
    return None if before is None else [(step, inner), *before]


def _last_step(node: ast.expr, values: Floats) -> tuple[Step, ast.expr] | None:
    match node:
        case ast.Call(func=function, args=[inner], keywords=[]):
            name = function.id if isinstance(function, ast.Name) else _of_numpy(function)
            return (_FUNCTIONS[name], inner) if name is not None and name in _FUNCTIONS else None
        case ast.Call(func=ast.Name("log"), args=[inner, given], keywords=[]):
            base = _number(given)
            return (_log(base), inner) if base is not None and base > 0 and base != 1 else None
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return _line(-1.0), inner
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _line(1.0), inner
        case ast.BinOp(left=left, op=operator, right=right):
            return _of_operator(left, operator, right, values)
    return None


def _of_operator(
    left: ast.expr, operator: ast.operator, right: ast.expr, values: Floats
) -> tuple[Step, ast.expr] | None:
    """Return the step of an operation with a number on one side, and the other side."""
    number = _number(right)
    inner, first = (left, False) if number is not None else (right, True)
    number = number if number is not None else _number(left)
    if number is None:
        return None
    step: Step | None = None
    match operator:
        case ast.Add():
            step = _line(1.0, number)
        case ast.Sub():
            step = _line(-1.0, number) if first else _line(1.0, -number)
        case ast.Mult() if number:
            step = _line(number)
        case ast.Div() if number and first:
            step, inner = _line(number), ast.BinOp(right, ast.Pow(), ast.Constant(-1))
        case ast.Div() if number:
            step = _line(1 / number)
        case ast.Pow() if number and not first:
            negative = number < 0 and number % 2 == 1 and bool(np.all(values < 0))
            step = (_signed_power if negative else _power)(number)
    return None if step is None else (step, inner)


def _of_numpy(function: ast.expr) -> str | None:
    match function:
        case ast.Attribute(value=ast.Name("np"), attr=name):
            return name
    return None


def _number(node: ast.expr) -> float | None:
    """Return the value of an expression of numbers alone."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            positive = _number(operand)
            return None if positive is None else -positive
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            above, below = _number(left), _number(right)
            return above / below if above is not None and below else None
    return None


def _ratio(steps: list[tuple[Step, ast.expr]], column: str) -> tuple[str, float] | None:
    """Return what a difference is the ratio of, and the logarithm of the ratio for a difference of one."""
    per_unit = 1.0
    stands_for = next((inner.id for _, inner in steps if isinstance(inner, ast.Name)), "")
    for step, inner in steps:
        if step.log_base is not None:
            shifted = step is _FUNCTIONS["log1p"]
            of = ast.unparse(inner).replace(stands_for, column)
            return f"{'1 + ' if shifted else ''}{of}", math.log(step.log_base) * per_unit
        if step.factor is None:
            return None
        per_unit /= step.factor
    return None


def observation_sd(state: FixedFit) -> float:
    """Return the standard deviation of an observation around the fixed part, of random effects and residual together.

    Variances of random slopes are averaged over the rows; the residual is that of weight one.
    """
    if isinstance(state, MarginalState):
        sds = np.sqrt(np.diagonal(state.residual_covariance, axis1=1, axis2=2))
        if np.ptp(sds) > EQUAL_SDS * sds.max():
            raise InferenceError(
                "Observations of different visits or groups have different standard deviations in this fit: give "
                "bias_adjust the one that is meant."
            )
        return float(sds.max())
    assert isinstance(state, FitState)
    _, parts, residual = variance_parts(state)
    return math.sqrt(sum(parts.values()) + residual)


def as_means(table: pd.DataFrame, transformation: Transformation, sd: float = 0.0) -> pd.DataFrame:
    """Return a table of means on the scale of the response, tests as they are.

    Parameters
    ----------
    table
        As ``wald.row_table`` returns it.
    transformation
        Of the response.
    sd
        Standard deviation of observations, for means of the response; 0 for g(u).
    """
    z, weight = np.polynomial.hermite_e.hermegauss(N_NODES) if sd else (np.zeros(1), np.ones(1))
    weight = weight / weight.sum()
    with np.errstate(all="ignore"):

        def mean(u: Floats) -> Floats:
            value = transformation.inverse(u[:, None] + sd * z) @ weight
            return np.where(np.isfinite(value) | np.isinf(u) | (sd == 0), value, np.nan)

        u = transformation.in_range(table["estimate"].to_numpy())
        slope = transformation.slope(u[:, None] + sd * z) @ weight
        limits = np.sort([mean(table[side].to_numpy()) for side in ("ci_lower", "ci_upper")], axis=0)
        estimate = np.where(np.isnan(u), np.nan, mean(u))
        std_error = np.abs(slope) * table["std_error"].to_numpy()
    limits[:, np.isnan(estimate)] = np.nan
    std_error = np.where(np.isnan(estimate), np.nan, std_error)
    return table.assign(estimate=estimate, std_error=std_error, ci_lower=limits[0], ci_upper=limits[1])


def as_ratios(table: pd.DataFrame, transformation: Transformation) -> pd.DataFrame:
    """Return a table of differences as ratios, tests as they are: of the differences against zero."""
    assert transformation.ratio is not None
    rate = transformation.ratio[1]
    estimate, *limits = (np.exp(rate * table[name].to_numpy()) for name in ("estimate", "ci_lower", "ci_upper"))
    limits = list(np.sort(limits, axis=0))
    std_error = abs(rate) * estimate * table["std_error"].to_numpy()
    return table.assign(estimate=estimate, std_error=std_error, ci_lower=limits[0], ci_upper=limits[1])
