"""What leaving out a row, or a level, does to the estimates: by refitting, or in one step at fixed theta."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.design.labels import level_text
from mixedmodels.design.related import refuse_related
from mixedmodels.design.subset import take_rows
from mixedmodels.diagnose.hat_values import hat_values, remaining
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.errors import InferenceError, MixedModelsError, unknown_group
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.fitted import random_part
from mixedmodels.fit.long_work import WorkFile, carry_out
from mixedmodels.fit.plain_values import Kept
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.sampled_fit import refuse_sampled
from mixedmodels.inference.variance_parameters import covariance_map, estimate
from mixedmodels.texts.noted_frame import show_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from os import PathLike

    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState

METHODS = ("exact", "one-step")

INFLUENCE = "study of influence"
"""What files of influence hold."""


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

    def __post_init__(self) -> None:
        for table in (self.fe_params, self.variance_parameters, self.cooks_distance, self.dfbetas):
            table.attrs["notes"] = self.notes
        for name in ("fe_params", "variance_parameters", "dfbetas"):
            object.__setattr__(self, name, show_notes(getattr(self, name)))

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


KEPT = (Kept(Influence, make=Influence),)
"""How files keep influence."""


def label_text(label: Hashable) -> str:
    """Return the label of a row or level as text, those of several indexes joined by commas."""
    return ", ".join(map(level_text, label)) if isinstance(label, tuple) else level_text(label)


def influence(
    state: FitState,
    by: str | None = None,
    method: str = "exact",
    *,
    path: str | PathLike[str] | None = None,
    progress: bool = False,
) -> Influence:
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
    path
        A file that keeps what is done, written each second or so; if it is there, the deletions that it lacks are made.
    progress
        Show a progress bar if it takes long.

    Raises
    ------
    InferenceError
        If there is no such factor or method, the fit has no fixed effects, or the file at ``path`` is of another one.
    DataError
        If the file cannot be read or written.
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` holds the deletions that were made, None if there are none.
    """
    refuse_absorbed(state.design.absorbed, "influence()")
    refuse_sampled(state, "influence()")
    refuse_related(state.design, "influence()")
    if method not in METHODS:
        raise InferenceError(f"method={method!r} is not available; it must be 'exact' or 'one-step'.")
    if state.n_fixed == 0:
        raise InferenceError("Influence is measured on the fixed effects, and this fit has none.")
    labels, rest = _deletions(state, by)
    file = WorkFile(path, INFLUENCE, KEPT)
    before = file.take_up({"by": by, "method": method}, state)
    if before is not None and not before.cooks_distance.index.equals(labels[: len(before.cooks_distance)]):
        raise file.of_another("of rows or levels with other names.")
    if by is None and method == "one-step":
        whole = _one_step(state, labels)
        file.keep(whole)
        return whole
    deletions = _Deletions(state, labels, method == "exact")
    if before is not None:
        deletions.take_up(before)

    def blocks() -> Iterator[int]:
        for i in range(deletions.n_done, len(labels)):
            deletions.make(Problem(take_rows(state.design, rest(i)), n_threads=state.problem.n_threads))
            yield 1

    return carry_out(
        blocks(),
        len(labels) - deletions.n_done,
        "influence",
        shown=progress,
        made=deletions.made,
        keep=None if path is None else lambda: file.keep(deletions.made()),
    )


class _Deletions:
    """Estimates without each row or level, made one after the other.

    Parameters
    ----------
    state
        The fit.
    labels
        Of what is left out.
    exact
        Whether the model is fitted again.
    """

    def __init__(self, state: FitState, labels: pd.Index, exact: bool) -> None:
        self.state, self.labels, self.exact = state, labels, exact
        self.parameters = [p.name for p in covariance_map(state).parameters] if exact else []
        self.fixed, self.dfbetas = np.full((2, len(labels), state.n_fixed), np.nan)
        self.variance = np.full((len(labels), len(self.parameters)), np.nan)
        self.cook = np.full(len(labels), np.nan)
        self.failures: dict[Any, str] = {}
        self.n_done = 0

    def make(self, problem: Problem) -> None:
        """Fit the problem without the next row or level."""
        i = self.n_done
        try:
            self.fixed[i], errors, whitened, self.variance[i] = _without(self.state, problem, self.exact)
        except MemoryError:
            raise
        except MixedModelsError as error:
            self.failures[self.labels[i]] = str(error)
        else:
            self.dfbetas[i] = (self.state.beta - self.fixed[i]) / errors
            self.cook[i] = _cook(self.state, whitened[None])[0]
        self.n_done += 1

    def take_up(self, before: Influence) -> None:
        """Go on from those that were made before."""
        n = len(before.cooks_distance)
        self.fixed[:n], self.variance[:n] = before.fe_params, before.variance_parameters
        self.cook[:n], self.dfbetas[:n] = before.cooks_distance, before.dfbetas
        self.failures, self.n_done = dict(before.failures), n

    def made(self) -> Influence | None:
        """Return those that were made, None if there are none."""
        columns, n, done = list(self.state.fixed_names), self.n_done, self.labels[: self.n_done]
        if not n:
            return None
        return Influence(
            pd.DataFrame(self.fixed[:n], done, columns, copy=True),
            pd.DataFrame(self.variance[:n], done, self.parameters, copy=True),
            pd.Series(self.cook[:n], done, name="cooks_distance", copy=True),
            pd.DataFrame(self.dfbetas[:n], done, columns, copy=True),
            dict(self.failures),
            len(self.labels),
        )


def _deletions(state: FitState, by: str | None) -> tuple[pd.Index, Callable[[int], npt.NDArray[np.intp]]]:
    """Return the labels of what is left out, and what gives the rows that stay each time."""
    design = state.design
    if by is None:
        return design.row_labels, lambda i: np.delete(np.arange(design.n_obs), i)
    names = [f.name for f in design.factors]
    if by not in names:
        raise unknown_group(by, names)
    factor = design.factors[names.index(by)]
    return factor.levels.rename(by), lambda level: np.flatnonzero(factor.codes != level)


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
    own, psi = covariance_map(without), estimate(without)
    distance, values = state.fixed_root.distance_to(without.fixed_root), [own.value(psi, p) for p in own.parameters]
    return without.beta, np.sqrt(np.diag(without.cov_beta)), distance, values


def _left_alone(whole: Design, rest: Design) -> str | None:
    """Return the first grouping factor of which one level is left, if any."""
    pairs = zip(whole.factors, rest.factors, strict=True)
    return next((left.name for full, left in pairs if left.n_levels == 1 < full.n_levels), None)


def _refit(state: FitState, problem: Problem) -> FitState:
    if state.design.is_structured:  # whose parameters are not theta
        return fit_problem(problem, reml=state.reml, control=state.control)
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
