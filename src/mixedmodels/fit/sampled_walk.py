"""Newton's method on a sampled criterion: its coordinates, its Hessian by differences, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import FitError
from mixedmodels.fit.sampled import BATCH, DEFLATED, SUBSPACE_STEPS, TOGETHER, UNCOUNTED, WALK, Passes, evaluate

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.sampled import Crossed, Evaluation

STEP = 1e-4
"""Of differences of the gradient."""

LONGEST = 1.0
"""Of a step in log Lambda."""

SETTLED = 1e-8
"""Predicted decrease of the criterion after which a walk has ended."""

AS_PREDICTED = 0.2
"""How far the decrease may be from the predicted one before the Hessian is formed anew."""

HALVINGS = 12
"""Of a step that raises the criterion."""

NEXT_TO_ZERO = 1e-3
"""Standard deviation of an effect's contribution to a row, over the residual's, below which its variance is none."""

USUAL_STEPS = 5
"""Steps of a walk, as long as nothing is known."""


USUAL_PASSES = 25
"""Of an evaluation by a few probes."""

USUAL_LANCZOS = 8
"""Steps of Lanczos' method, as long as nothing is known."""

USUAL_SOLUTION = 12
"""Passes of conjugate gradients."""


def final_passes(n_steps: int) -> int:
    """Return how many passes the criterion with all probes usually takes, from those of a quadratic form."""
    return SUBSPACE_STEPS * -(-DEFLATED // TOGETHER) + n_steps * -(-(DEFLATED + BATCH) // TOGETHER) + USUAL_SOLUTION


class Forecast(Passes):
    """How much of a fit is done, in passes over the data: those made, and those that are likely to come.

    Parameters
    ----------
    advance
        Told how many parts of a hundred more are done.
    n_theta
        Parameters.
    """

    def __init__(self, advance: Callable[[int], object], n_theta: int) -> None:
        self.advance = advance
        self.passes = self.evaluations = self.shown = 0
        self.end = 0
        self.evaluated(1 + USUAL_STEPS + 2 * n_theta)

    def count(self) -> None:
        """Count a pass."""
        self.passes += 1
        percent = min(99, int(100.0 * self.passes / max(self.end, self.passes + 1)))
        if percent > self.shown:
            self.advance(percent - self.shown)
            self.shown = percent

    def expect(self, n: int) -> None:
        """Note that so many more passes end the work."""
        self.end = self.passes + n

    def evaluated(self, to_come: int) -> None:
        """Count an evaluation; so many are likely to come before the last one, which has all probes."""
        of_one = self.passes / self.evaluations if self.evaluations else USUAL_PASSES
        self.evaluations += 1
        self.expect(int(to_come * of_one) + final_passes(USUAL_LANCZOS))

    def finish(self) -> None:
        """Show that all is done."""
        self.advance(100 - self.shown)


@dataclass(frozen=True)
class Walk:
    """Where a walk has ended.

    Attributes
    ----------
    Lambda
        Of each factor, in the bases of its columns.
    hessian
        In log Lambda, by a few probes, (n_theta, n_theta).
    steps
        A row of the trace for each step.
    status
        As of an ``Optimum``.
    n_steps
        Of Lanczos' method.
    """

    Lambda: list[Floats]
    hessian: Floats
    steps: list[list[float]]
    status: str
    n_steps: int


def moved(model: Crossed, Lambda: list[Floats], step: Floats) -> list[Floats]:
    """Return Lambda T of each factor, T with exp(step) on the diagonal and the step itself below it.

    Parameters
    ----------
    model
        Which element of Lambda each parameter is.
    Lambda
        (n_effects, n_effects) a factor.
    step
        (n_theta,).
    """
    T = [np.eye(len(block)) for block in Lambda]
    for (k, r, c), e in zip(model.parameters, step, strict=True):
        T[k][r, c] = np.exp(e) if r == c else e
    return [block @ t for block, t in zip(Lambda, T, strict=True)]


def along_elements(model: Crossed, frames: list[Floats], values: Floats) -> Floats:
    """Return derivatives along the elements of frames F, Lambda = Lambda_0 F, of those along F -> F (I + e E).

    Parameters
    ----------
    model
        Which element of Lambda each parameter is.
    frames
        F, lower triangular, (n_effects, n_effects) a factor.
    values
        Derivatives, (n_theta, ...).
    """
    inverse = [np.linalg.inv(F) for F in frames]
    out = np.zeros_like(values)
    for i, (k, r, c) in enumerate(model.parameters):
        for j, (other, s, column) in enumerate(model.parameters):
            if other == k and column == c:
                out[i] += inverse[k][s, r] * values[j]
    return out


def walk_hessian(
    model: Crossed, Lambda: list[Floats], reml: bool, at: Evaluation, passes: Passes = UNCOUNTED
) -> Floats:
    """Return the Hessian in the coordinates of `moved`, (n_theta, n_theta), by differences of the gradient.

    Parameters
    ----------
    model, Lambda, reml, passes
        As for `evaluate`.
    at
        What that made of Lambda, with the same probes.
    """
    columns = []
    for step in STEP * np.eye(len(model.parameters)):
        frames = moved(model, [np.eye(len(block)) for block in Lambda], step)
        there = evaluate(model, moved(model, Lambda, step), reml, WALK, U=at.U, passes=passes).gradient
        slope = along_elements(model, frames, there)
        for i, (k, r, c) in enumerate(model.parameters):
            slope[i] *= frames[k][r, r] if r == c else 1.0
        columns.append((slope - at.gradient) / STEP)
    H = np.column_stack(columns)
    return np.asarray(0.5 * (H + H.T))


def walk(model: Crossed, Lambda: list[Floats], reml: bool, limit: int, forecast: Forecast) -> Walk:
    """Return where the criterion of a few probes is lowest.

    Parameters
    ----------
    model, Lambda, reml
        As for `evaluate`: where to begin.
    limit
        Steps.
    forecast
        Told how far it is.

    Raises
    ------
    FitError
        A variance is next to zero, or an evaluation fails.
    """
    steps: list[list[float]] = []
    at = evaluate(model, Lambda, reml, WALK, passes=forecast)
    H, status = None, "iteration limit"
    while len(steps) < limit:
        if H is None:
            forecast.evaluated(USUAL_STEPS + 2 * len(model.parameters))
            H = walk_hessian(model, Lambda, reml, at, forecast)
        g = at.gradient
        values, vectors = np.linalg.eigh(H)
        step = -vectors @ ((vectors.T @ g) / np.maximum(np.abs(values), 1e-8 * np.abs(values).max()))
        step *= min(1.0, LONGEST / np.abs(step).max())
        predicted = -float(g @ step + 0.5 * step @ H @ step)
        if predicted <= SETTLED * max(1.0, 1e-6 * abs(at.deviance)):
            status = "converged"
            break
        forecast.evaluated(max(1, USUAL_STEPS - len(steps)) + len(model.parameters))
        criterion = partial(evaluate, model, reml=reml, sampling=WALK, U=at.U, passes=forecast)
        new, step = _lower(criterion, partial(moved, model, Lambda), at.deviance, step)
        if new is None:
            status = "no further decrease"
            break
        ratio = (at.deviance - new.deviance) / predicted if predicted > 0 else 1.0
        steps.append([at.deviance, float(np.abs(g).max()), predicted, float(np.linalg.norm(step)), LONGEST, ratio])
        H = _secant(H, step, new.gradient - g) if abs(ratio - 1.0) <= AS_PREDICTED else None
        Lambda, at = moved(model, Lambda, step), new
        _check_positive(model, Lambda)
    forecast.evaluated(len(model.parameters))
    return Walk(Lambda, walk_hessian(model, Lambda, reml, at, forecast), steps, status, at.n_steps)


def _lower(
    criterion: Callable[[list[Floats]], Evaluation],
    place: Callable[[Floats], list[Floats]],
    deviance: float,
    step: Floats,
) -> tuple[Evaluation | None, Floats]:
    """Return the criterion after the step, or the first half of it that lowers it, and that step; None if none does."""
    for _ in range(HALVINGS):
        new = criterion(place(step))
        if new.deviance <= deviance + SETTLED * (1.0 + abs(deviance) * 1e-8):
            return new, step
        step = 0.5 * step
    return None, step


def _secant(H: Floats, step: Floats, change: Floats) -> Floats:
    """Return H with the symmetric rank one update by a step and the change of the gradient along it."""
    left = change - H @ step
    across = float(left @ step)
    if abs(across) <= 1e-8 * float(np.linalg.norm(left) * np.linalg.norm(step)):
        return H
    return np.asarray(H + np.outer(left, left) / across)


def _check_positive(model: Crossed, Lambda: list[Floats]) -> None:
    for k, block in enumerate(Lambda):
        if np.diag(block).min() < NEXT_TO_ZERO:
            what = "variance" if len(block) == 1 else "covariance"
            state = "zero" if len(block) == 1 else "singular"
            raise FitError(
                f"The {what} of the effects of {model.names[k]!r} is next to {state}, where sampling has no optimum to "
                "walk to. Leave a term out, or use method='exact'."
            )
