"""From a problem with correlated residuals to its fitted state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mixedmodels._engine import minimize_called
from mixedmodels.covariance.kinds import UNSTRUCTURED
from mixedmodels.design.labels import shown_level
from mixedmodels.design.records import Finding
from mixedmodels.errors import DesignError, FitError
from mixedmodels.fit.control import Control, check_starts
from mixedmodels.fit.findings import aliased_columns, nearly_aliased_columns, not_converged, unlike_columns
from mixedmodels.fit.fit import STATUS, check_control, check_reml
from mixedmodels.fit.marginal import least_eigenvalue
from mixedmodels.fit.records import FixedFit, Optimum

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    import pandas as pd

    from mixedmodels.covariance.residual import Parameter
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.fixed_root import FixedRoot
    from mixedmodels.fit.marginal import Evaluation, MarginalProblem, Slopes

SINGULAR = 1e-6
"""Eigenvalue of the correlations of Sigma that counts as zero."""


@dataclass(frozen=True)
class MarginalState(FixedFit):
    """A fitted model with correlated residuals and without random effects.

    Attributes
    ----------
    problem
        The criterion; what the engine holds of it is formed again after unpickling.
    point
        The estimate as the structure takes it, in units of the scaled problem.
    """

    problem: MarginalProblem
    point: Floats

    @property
    def identity(self) -> tuple[Floats | float, ...]:
        """The estimates, which tell this fit from others of its model and data."""
        return (self.beta, self.point, self.sigma)

    @property
    def n_covariance(self) -> int:
        """Parameters of the covariance."""
        return len(self.problem.rows.groups) * self.problem.structure.n_coordinates

    @property
    def n_params(self) -> int:
        """Parameters estimated: fixed effects and those of the covariance."""
        return self.n_fixed + self.n_covariance

    @property
    def n_determined(self) -> int:
        """The same: parameters that are not determined are refused."""
        return self.n_params

    @cached_property
    def fixed_root(self) -> FixedRoot:
        """The root of the covariance of beta from which its combinations have their variances."""
        return self.problem.fixed_root(self.point, self.reml, self.sigma)

    @cached_property
    def slopes(self) -> Slopes:
        """Derivatives of the criterion at the estimate."""
        return self.problem.slopes(self.point, self.reml)

    @cached_property
    def residual_covariance(self) -> Floats:
        """Sigma of each group, (G, V, V), of rows with weight one, user's units."""
        return np.asarray(self.problem.model.scale**2 * self.problem.structure.sigma(self.point))

    @property
    def parameter_groups(self) -> pd.Index:
        """What the parameters are listed by: groups of subjects."""
        return self.problem.rows.groups

    @cached_property
    def parameters(self) -> list[list[Parameter]]:
        """Parameters of each group; standard deviations in units of the scaled problem."""
        return self.problem.structure.parameters(self.point)

    def undetermined_rows(self, L: Floats) -> npt.NDArray[np.bool_]:
        """Return that all combinations of fixed effects have a determined standard error."""
        return np.zeros(len(L), dtype=bool)

    def __repr__(self) -> str:
        method = "REML" if self.reml else "ML"
        return f"<MarginalState: {self.design.formula.text}; {method}, {self.design.n_obs} observations>"


class MarginalFitted(Protocol):
    """Anything that holds such a fit as numbers, such as an ``MmrmResult``."""

    @property
    def state(self) -> MarginalState:
        """The fit."""
        ...

    @property
    def ddf(self) -> str:
        """Degrees of freedom that its tests have where none are named."""
        ...

    def check_estimated(self, what: str) -> None:
        """Do nothing: all parameters are estimates by likelihood."""


def fit_marginal(problem: MarginalProblem, *, reml: bool, control: Control | None = None) -> MarginalState:
    """Return the fitted state at the minimum of the deviance.

    Parameters
    ----------
    problem
        The criterion to minimise.
    reml
        Restricted maximum likelihood; False for maximum likelihood.
    control
        Limits of the optimiser.

    Raises
    ------
    DesignError
        If the data do not determine the covariance.
    FitError
        If the likelihood cannot be evaluated, or an argument is not what it should be.
    """
    control = check_control(control)
    check_reml(reml)
    model = problem.model
    check_determined(problem)
    began = perf_counter()
    last, optimum = _minimum(problem, reml, control)
    optimized = perf_counter()
    first_sd = float(np.sqrt(problem.structure.sigma(last.point)[0, 0, 0]))
    sigma = model.scale * first_sd
    root = problem.fixed_root(last.point, reml, sigma)
    rows = root.whiten(np.eye(len(model.kept)))
    seconds = {**problem.seconds, "optimizer": optimized - began, "solution": perf_counter() - optimized}
    optimum = replace(optimum, seconds=seconds)
    design, kept = problem.design, tuple(model.kept)
    state = MarginalState(
        design=design,
        reml=reml,
        control=control,
        optimum=optimum,
        fixed_names=tuple(design.x_names[j] for j in kept),
        kept=kept,
        beta=root.coordinates(np.eye(len(kept))) @ root.beta,
        cov_beta=sigma**2 * rows @ rows.T,
        sigma=sigma,
        findings=(*design.findings, *_findings(problem, optimum, last.point)),
        problem=problem,
        point=last.point,
        is_singular=least_eigenvalue(problem.structure.sigma(last.point)) < SINGULAR,
    )
    vars(state).update(fixed_root=root, slopes=last.slopes)
    return state


def _minimum(problem: MarginalProblem, reml: bool, control: Control) -> tuple[Evaluation, Optimum]:
    """Return where the engine's walk ends; a point moves beneath its coordinates, which only add up its steps."""
    check_starts(control, 1)
    first = problem.evaluation(problem.start(), reml)
    text = problem.design.formula.text
    if first is None:
        raise FitError(f"{text!r} cannot be fitted to these data: its likelihood cannot be evaluated at the start.")

    def evaluate(x: Floats, near: Evaluation | None) -> Evaluation | None:
        return first if near is None else near.moved(x)

    walk = minimize_called(evaluate, first.x, control.max_iterations, problem.design.n_obs)
    if walk is None:
        raise FitError(f"{text!r} cannot be fitted to these data: its likelihood has no derivatives at the start.")
    last, status, gradient_norm, steps, n_evaluations = walk
    constant = problem.model.constant(reml)
    steps[:, 0] += constant
    parameters = [p for group in problem.structure.parameters(last.point) for p in group]
    optimum = Optimum(
        theta=np.array([p.value * (problem.model.scale if p.is_sd else 1.0) for p in parameters]),
        deviance=last.value + constant,
        status=STATUS[status],
        gradient_norm=gradient_norm,
        n_iterations=len(steps),
        n_evaluations=n_evaluations,
        steps=steps,
        other_optima=(),
        seconds={},
    )
    return last, optimum


def check_determined(problem: MarginalProblem) -> None:
    """Refuse an unstructured covariance of visits that no subject has both of, or of more visits than subjects allow.

    Raises
    ------
    DesignError
        The data do not determine it.
    """
    rows = problem.rows
    if rows.term.kind != UNSTRUCTURED or len(rows.visits) == 1:
        return
    labels, name = rows.visits.labels, ", ".join(rows.term.visits)
    counts = problem.model.moments()[1]
    cure = f"Use a structure with fewer parameters, such as ad({name} | {rows.term.subject}) or ar1({name} | ...)."
    for g, together in enumerate(counts):
        where = "" if rows.term.group is None else f" of {rows.term.group} {shown_level(rows.groups[g])}"
        if not together.all():
            i, j = (int(k) for k in np.argwhere(together == 0)[0])
            what = f"both {labels[i]} and {labels[j]}" if i != j else labels[i]
            raise DesignError(
                f"{rows.term.text} has a covariance that the data do not determine: no subject{where} has a row at "
                f"{what}. {cure}"
            )


def _findings(problem: MarginalProblem, optimum: Optimum, point: Floats) -> Iterator[Finding]:
    """Yield what the fit noticed."""
    design, kept = problem.design, problem.model.kept
    if len(kept) < len(design.x_names):
        yield aliased_columns(design, kept)
    if problem.model.nearly_dependent:
        yield nearly_aliased_columns([design.x_names[j] for j in problem.model.nearly_dependent])
    least = least_eigenvalue(problem.structure.sigma(point))
    if not optimum.converged and least >= SINGULAR:
        yield not_converged(optimum, "simplify the covariance structure")
    if least < SINGULAR:
        yield _singular(problem, optimum, least)
    yield from unlike_columns(design, kept)


def _singular(problem: MarginalProblem, optimum: Optimum, least: float) -> Finding:
    rows = problem.rows
    few = int(min(np.diagonal(problem.model.moments()[1], axis1=1, axis2=2).min(), rows.n_subjects))
    runs = "" if optimum.converged else ", and the likelihood still rises"
    message = (
        f"The covariance of {rows.term.text} runs to a singular one: the smallest eigenvalue of its correlations is "
        f"{least:.1e}{runs}. Too few subjects see its {len(rows.visits)} visits together (at one visit there "
        f"are {few}); use a structure with fewer parameters."
    )
    return Finding("singular", message, {"eigenvalue": least})
