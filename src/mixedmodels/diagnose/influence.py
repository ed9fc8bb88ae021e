"""What leaving out a row, or a level, does to the estimates: by refitting, or in one step at fixed theta."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.labels import level_text
from mixedmodels.design.subset import take_rows
from mixedmodels.diagnose.hat_values import hat_values, remaining
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.errors import InferenceError, MixedModelsError, unknown_group
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.fitted import random_part
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.progress import progress_bar
from mixedmodels.inference.variance_parameters import CovarianceMap, estimate

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState

METHODS = ("exact", "one-step")


@dataclass(frozen=True)
class Influence:
    """Estimates without each row or level.

    Attributes
    ----------
    fe_params
        Fixed effects without it: one row a deletion.
    variance_parameters
        Standard deviations, correlations and sigma without it; no columns for one step, which holds them.
    cooks_distance
        Of the fixed effects b: (b - b_i)' V^-1 (b - b_i) / p, V = cov(b) of the full fit. Not to be compared with
        ``hat_values.cooks_distance``, which is on the conditional fitted values.
    dfbetas
        (b - b_i) over the standard errors of the fit without it (of the full fit for one step).
    failures
        Deletions whose refit failed, with the reason; their rows are missing.
    n_asked
        Deletions asked for: more than there are if the work was interrupted.
    """

    fe_params: pd.DataFrame
    variance_parameters: pd.DataFrame
    cooks_distance: pd.Series[float]
    dfbetas: pd.DataFrame
    failures: dict[Any, str]
    n_asked: int

    @property
    def notes(self) -> list[str]:
        """What whoever uses the numbers is to know."""
        made = len(self.cooks_distance)
        if made == self.n_asked:
            return []
        return [f"Influence was interrupted: {made} of {self.n_asked} deletions were made."]

    def __repr__(self) -> str:
        top = self.cooks_distance.sort_values(ascending=False).head(5)
        lines = [f"Influence of {len(self.cooks_distance)} deletions; largest Cook's distances:"]
        lines += [f"  {label_text(label)}: {value:.3f}" for label, value in top.items()]
        return "\n".join([*self.notes, *lines])


def label_text(label: Hashable) -> str:
    """Return the label of a row or level as text, those of several indexes joined by commas."""
    return ", ".join(map(level_text, label)) if isinstance(label, tuple) else level_text(label)


def influence(state: FitState, by: str | None = None, method: str = "exact", *, progress: bool = False) -> Influence:
    """Return the influence of each row, or of each level of a grouping factor.

    Parameters
    ----------
    state
        The fit.
    by
        A grouping factor; None for single rows.
    method
        ``"exact"``: the model is refitted without it, starting at the full fit; ``"one-step"``: theta and sigma are
        held (Christensen, Pearson and Johnson 1992), for all rows at the cost of a few passes over the data, for levels
        of one pass each.
    progress
        Show a progress bar if it takes long.

    Raises
    ------
    InferenceError
        If there is no such factor or method, or the fit has no fixed effects.
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` holds the deletions that were made, None if there are none.
    """
    if method not in METHODS:
        raise InferenceError(f"method={method!r} is not available; it must be 'exact' or 'one-step'.")
    if state.n_fixed == 0:
        raise InferenceError("Influence is measured on the fixed effects, and this fit has none.")
    labels, kept = _deletions(state, by)
    if by is None and method == "one-step":
        return _one_step(state, labels)
    exact = method == "exact"
    parameters = [p.name for p in CovarianceMap(state).parameters] if exact else []
    fixed = np.full((len(labels), state.n_fixed), np.nan)
    variance = np.full((len(labels), len(parameters)), np.nan)
    errors, whitened = np.full_like(fixed, np.nan), np.full_like(fixed, np.nan)
    failures: dict[Any, str] = {}

    def made(n: int) -> Influence:
        columns, done = list(state.fixed_names), labels[:n]
        change = state.beta - fixed[:n]
        return Influence(
            pd.DataFrame(fixed[:n], done, columns),
            pd.DataFrame(variance[:n], done, parameters),
            pd.Series(_cook(state, whitened[:n]), done, name="cooks_distance"),
            pd.DataFrame(change / errors[:n], done, columns),
            failures,
            len(labels),
        )

    i = 0
    try:
        with progress_bar(len(labels), "influence", "fit", progress) as advance:
            for i, (label, rows) in enumerate(zip(labels, kept, strict=True)):
                problem = Problem(take_rows(state.design, rows), n_threads=state.problem.n_threads)
                try:
                    fixed[i], errors[i], whitened[i], variance[i] = _without(state, problem, exact)
                except MixedModelsError as error:
                    failures[label] = str(error)
                advance(1)
    except KeyboardInterrupt as error:
        error.partial = made(i) if i else None  # type: ignore[attr-defined]
        raise
    return made(len(labels))


def _deletions(state: FitState, by: str | None) -> tuple[pd.Index, Iterator[npt.NDArray[np.intp]]]:
    """Return the labels of what is left out, and the rows that stay each time."""
    design = state.design
    if by is None:
        return design.row_labels, (np.delete(np.arange(design.n_obs), i) for i in range(design.n_obs))
    names = [f.name for f in design.factors]
    if by not in names:
        raise unknown_group(by, names)
    factor = design.factors[names.index(by)]
    return factor.levels.rename(by), (np.flatnonzero(factor.codes != level) for level in range(factor.n_levels))


def _without(state: FitState, problem: Problem, exact: bool) -> tuple[Floats, Floats, Floats, list[float]]:
    """Return fixed effects, their standard errors and distances, and the variance parameters of the fit to fewer rows.

    Raises
    ------
    MixedModelsError
        There is none, with the reason.
    """
    alone = _left_alone(state.design, problem.design)
    if tuple(problem.model.kept) != state.kept:
        raise InferenceError("a fixed effect cannot be estimated without it")
    if not exact:
        distance = state.fixed_root.distance_to(problem.fixed_root(state.theta))
        return problem.solve(state.theta, state.reml)[0], np.sqrt(np.diag(state.cov_beta)), distance, []
    if alone is not None:
        raise InferenceError(f"{alone} has one level only without it, and a variance needs at least two")
    without = _refit(state, problem)
    own, psi = CovarianceMap(without), estimate(without)
    distance, values = state.fixed_root.distance_to(without.fixed_root), [own.value(psi, p) for p in own.parameters]
    return without.beta, np.sqrt(np.diag(without.cov_beta)), distance, values


def _left_alone(whole: Design, rest: Design) -> str | None:
    """Return the first grouping factor of which one level is left, if any."""
    pairs = zip(whole.factors, rest.factors, strict=True)
    return next((left.name for full, left in pairs if left.n_levels == 1 < full.n_levels), None)


def _refit(state: FitState, problem: Problem) -> FitState:
    # zeros are left, so that they can grow again
    start = np.where(state.theta == 0, 0.05, state.theta)
    warm = fit_problem(problem, reml=state.reml, control=state.control, start=start)
    if not warm.optimum.converged or warm.is_singular or state.is_singular:
        cold = fit_problem(problem, reml=state.reml, control=state.control)
        return cold if cold.optimum.deviance < warm.optimum.deviance else warm
    return warm


def _cook(state: FitState, whitened: Floats) -> Floats:
    """Return d' cov(beta)^-1 d / p of changes d, given as K^-1 d, (n_rows,)."""
    return np.asarray(np.einsum("ij,ij->i", whitened, whitened) / state.sigma**2 / state.n_fixed)


def _one_step(state: FitState, labels: pd.Index) -> Influence:
    """b - b_i = C X'V^-1 e_i (P y)_i / P_ii with P_ii = w (1 - h_i) and P y = w times the conditional residual.

    C = sigma^2 K K', so that K^-1 (b - b_i) comes from columns X K, in which a far origin costs no digits.
    """
    design = state.design
    w = np.ones(design.n_obs) if design.weights is None else design.weights
    X = np.ascontiguousarray(state.fixed_root.whiten(design.X[:, list(state.kept)]))
    bare = Problem(replace(design, X=np.empty((design.n_obs, 0)), x_names=(), offset=None))
    VX = np.empty_like(X)
    for j, column in enumerate(X.T):
        b = bare.with_response(np.ascontiguousarray(column)).solve(state.theta, False)[3]
        VX[:, j] = w * (column - sum(random_part(f, modes) for f, modes in zip(design.factors, b, strict=True)))
    delta = residuals(state) / remaining(hat_values(state))
    whitened = delta[:, None] * VX
    change = whitened @ state.fixed_root.whiten(np.eye(state.n_fixed)).T
    columns = list(state.fixed_names)
    return Influence(
        pd.DataFrame(state.beta - change, labels, columns),
        pd.DataFrame(index=labels),
        pd.Series(_cook(state, whitened), labels, name="cooks_distance"),
        pd.DataFrame(change / np.sqrt(np.diag(state.cov_beta)), labels, columns),
        {},
        len(labels),
    )
