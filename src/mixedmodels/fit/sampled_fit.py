"""Fits by sampling: Newton's method on the criterion of `fit/sampled.py`, and what inference such a fit has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from mixedmodels.design.records import Finding
from mixedmodels.errors import FitError, InferenceError, NotEnoughMemoryError
from mixedmodels.fit.findings import fit_findings
from mixedmodels.fit.fixed_root import Basis, FixedRoot
from mixedmodels.fit.information import Identification, Information
from mixedmodels.fit.problem import Problem, new_response
from mixedmodels.fit.records import FitState, Optimum
from mixedmodels.fit.sampled import WALK, Crossed, Evaluation, Sampling, can_sample, check_two_crossed, evaluate

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.control import Control

METHODS = ("auto", "exact", "sampled")
"""How the criterion may be evaluated."""

STEP = 1e-4
"""Of differences of the gradient in log theta."""

LONGEST = 1.0
"""Of a step in log theta."""

SETTLED = 1e-8
"""Predicted decrease of the criterion after which a walk has ended."""

NEXT_TO_ZERO = 1e-3
"""Standard deviation of an effect's contribution to a row, over the residual's, below which its variance is none."""

HALVINGS = 12
"""Of a step that raises the criterion."""

POLISHES = 3
"""Steps with all probes."""


@dataclass(frozen=True)
class MonteCarlo:
    """How far sampling may have moved a fit.

    Attributes
    ----------
    std_error
        Monte Carlo standard error of the criterion at the optimum.
    theta_std_error
        Those of theta, (n_theta,).
    n_probes
        Probes that they are from.
    """

    std_error: float
    theta_std_error: Floats
    n_probes: int


@dataclass(frozen=True)
class SampledState(FitState):
    """A fit by sampling.

    Attributes
    ----------
    monte_carlo
        Its error.
    """

    monte_carlo: MonteCarlo | None = None

    @cached_property
    def engine_theta(self) -> Floats:
        """Theta in parameters which have no units, (n_theta,)."""
        return self.information.theta

    @cached_property
    def bases(self) -> list[Floats]:
        """What the random effects are in the units of these, (1, 1) a factor."""
        return [np.array([[ratio]]) for ratio in self.theta / self.information.theta]


def refuse_sampled(state: object, what: str) -> None:
    """Refuse what compares fits of other models without telling their Monte Carlo errors.

    Parameters
    ----------
    state
        The fit.
    what
        What was asked for.

    Raises
    ------
    InferenceError
        The fit is by sampling.
    """
    if isinstance(state, SampledState):
        raise InferenceError(
            f"{what} is not available for a fit by sampling. Fit the models that you mean and use mm.compare, which "
            "tells the Monte Carlo error of their difference, or fit with method='exact'."
        )


class SampledProblem(Problem):
    """The deviance of one design as a function of theta, by sampling.

    What needs the engine's factorisation is refused.

    Parameters
    ----------
    design
        Two grouping factors with one random effect a level.
    n_threads, design_seconds
        As for `Problem`.

    Raises
    ------
    FitError
        The model is another.
    """

    def __init__(self, design: Design, *, n_threads: int = 0, design_seconds: float = 0.0) -> None:
        check_two_crossed(design)
        super().__init__(design, n_threads=n_threads, design_seconds=design_seconds)

    @property
    def model(self) -> NoReturn:
        """Refuse: there are no exact cross-products to factor.

        Raises
        ------
        InferenceError
            Always.
        """
        raise InferenceError(
            "This needs the exact factorisation, which a fit by sampling does without. Fit with method='exact', where "
            "memory allows. By sampling there are estimates, their standard errors and tests, random effects, fitted "
            "values, predictions, and comparisons."
        )

    @cached_property
    def crossed(self) -> Crossed:
        """Cross-products."""
        return Crossed(self.design)

    @cached_property
    def identification(self) -> Identification:
        """What the data cannot tell: nothing, where two crossed factors both have rows that they share with others."""
        none = np.zeros((0, 3))
        return Identification(none, none, tuple(np.array([[self.crossed.sizes[k].sum()]]) for k in self._back))

    def evaluate(self, theta: npt.ArrayLike, reml: bool, sampling: Sampling) -> Evaluation:
        """Return the criterion at theta.

        Parameters
        ----------
        theta
            (2,), in the order of the design's factors, positive.
        reml, sampling
            As for `sampled.evaluate`.
        """
        return evaluate(self.crossed, np.asarray(theta, dtype=float)[self.crossed.order], reml, sampling)

    def deviance(self, theta: npt.ArrayLike, reml: bool = True) -> float:
        """Return -2 log-likelihood (the REML criterion under REML) at theta, with the error of `Sampling`."""
        return self.evaluate(self.check_theta(theta), reml, Sampling()).deviance

    def gradient(self, theta: npt.ArrayLike, reml: bool = True) -> Floats:
        """Return the derivative of the deviance in theta, shape (n_theta,)."""
        values = self.check_theta(theta)
        return self.evaluate(values, reml, Sampling()).gradient[self._back] / values

    @property
    def _back(self) -> npt.NDArray[np.intp]:
        return np.argsort(self.crossed.order)

    def solve(self, theta: Floats, reml: bool) -> tuple[Floats, Floats, float, list[Floats]]:
        """Return beta, its covariance over sigma^2, sigma and the conditional modes of each factor at theta."""
        at, crossed = self.evaluate(theta, reml, WALK), self.crossed
        root = _root(crossed, at)
        map_ = _raw_map(crossed)
        beta = map_ @ (crossed.beta0 + crossed.scale * at.beta)
        b = [(theta[j] * crossed.scale * at.modes(k))[:, None] for j, k in enumerate(self._back)]
        return beta, map_ @ root @ root.T @ map_.T, crossed.scale * float(np.sqrt(at.s2)), b

    def fixed_root(self, theta: npt.ArrayLike, in_engine: bool = False) -> FixedRoot:
        """Return the fixed effects at a user's theta, and a root of their covariance, in a basis."""
        if in_engine:
            return self.model
        at, crossed = self.evaluate(theta, False, WALK), self.crossed
        basis = crossed.basis
        first = np.zeros(len(basis.kept), dtype=np.int64)
        beta = crossed.beta0 + crossed.scale * at.beta
        return FixedRoot(Basis(first, basis.mean, basis.to_basis), beta, _root(crossed, at))

    def information(self, theta: npt.ArrayLike, reml: bool) -> Information:
        """Return the second derivatives of the unprofiled criterion at theta, by a few probes."""
        values = self.check_theta(theta)
        crossed = self.crossed
        at = self.evaluate(values, reml, WALK)
        unit = np.sqrt(np.array([sizes.sum() for sizes in crossed.sizes]) / crossed.n)[self._back]
        scaled = values * unit
        order = self._back
        profiled = (self.hessian(values, reml) - np.diag(at.gradient[order])) / np.outer(scaled, scaled)
        dof = crossed.n - (crossed.n_fixed if reml else 0)
        squares = np.array([np.sum(at.modes(k) ** 2) for k in order])
        across = 4.0 * squares / (at.s2 * scaled)  # -2 dof s2' / s2, where dof s2' = -2 u'u in log theta
        hessian = np.empty((3, 3))
        hessian[:2, :2] = profiled + np.outer(across, across) / (4.0 * dof)
        hessian[2, :2] = hessian[:2, 2] = across
        hessian[2, 2] = 4.0 * dof
        root, p = _root(crossed, at), crossed.n_fixed
        rows = [at.solved[k][:, :p] @ root for k in order]
        sensitivity = np.stack([2.0 * X.T @ X / t for X, t in zip(rows, scaled, strict=True)])
        parameters = np.array([[0, 0, 0], [1, 0, 0]], dtype=np.int64)
        return Information(parameters, scaled, hessian, sensitivity)

    def hessian(self, theta: Floats, reml: bool) -> Floats:
        """Return the Hessian in log theta, (2, 2), by differences of the gradient with a few probes.

        Parameters
        ----------
        theta, reml
            As for `evaluate`.
        """
        columns = []
        for j in range(2):
            up, down = (theta * np.exp(np.where(np.arange(2) == j, sign * STEP, 0.0)) for sign in (1, -1))
            change = self.evaluate(up, reml, WALK).gradient - self.evaluate(down, reml, WALK).gradient
            columns.append(change[self._back] / (2.0 * STEP))
        H = np.column_stack(columns)
        return np.asarray(0.5 * (H + H.T))

    def with_threads(self, n_threads: int) -> SampledProblem:
        """Return the problem itself: sampling runs on one thread."""
        return self

    def renamed(self, design: Design) -> SampledProblem:
        """Return the problem of the same design with other names."""
        return SampledProblem(design, n_threads=self.n_threads)

    def with_response(self, y: npt.ArrayLike) -> SampledProblem:
        """Return the problem of the same model for another response, as `Problem.with_response` does."""
        return SampledProblem(replace(self.design, y=new_response(self.design, y)), n_threads=self.n_threads)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("crossed", "identification")}


def chosen(problem: Problem, method: str) -> Problem:
    """Return the problem by the method that is asked for.

    Parameters
    ----------
    problem
        The exact one.
    method
        One of ``METHODS``; ``"auto"`` is exact, but where that does not fit in memory and sampling can be.

    Raises
    ------
    FitError
        There is no such method, or the model or data are not of the kind that can be sampled.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise FitError(f"method is {method!r}; it must be 'auto', 'exact' or 'sampled'.")
    design = problem.design
    if method == "exact" or (method == "auto" and not can_sample(design)):
        return problem
    if method == "auto":
        try:
            problem.model  # noqa: B018  # it tells whether there is room
        except NotEnoughMemoryError:
            pass
        else:
            return problem
    return SampledProblem(design, n_threads=problem.n_threads, design_seconds=problem.seconds["design"])


def fit_sampled(problem: SampledProblem, reml: bool, start: npt.ArrayLike | None, control: Control) -> SampledState:
    """Return the fitted state at the minimum of the sampled criterion.

    Parameters
    ----------
    problem, reml, start, control
        As for `fit_problem`.

    Raises
    ------
    FitError
        If the data are next to nested, or a variance is next to zero.
    """
    began = perf_counter()
    crossed = problem.crossed
    formed = perf_counter()
    theta = np.full(2, 0.5) if start is None else np.abs(problem.check_theta(start))
    theta = np.maximum(theta, NEXT_TO_ZERO)
    theta, steps, status = _walk(problem, theta, reml, control.max_iterations)
    H = problem.hessian(theta, reml)
    for _ in range(POLISHES):
        at = problem.evaluate(theta, reml, Sampling())
        step = -np.linalg.solve(H, at.gradient[problem._back])
        if 0.5 * abs(step @ H @ step) <= SETTLED * (1.0 + at.std_error / SETTLED * 1e-3):
            break
        theta = theta * np.exp(step)
    spread = np.linalg.solve(H, np.linalg.solve(H, at.gradient_covariance[np.ix_(problem._back, problem._back)]).T)
    error = MonteCarlo(at.std_error, theta * np.sqrt(np.diag(spread)), at.n_probes)
    optimized = perf_counter()
    beta, unscaled_cov, sigma, b = problem.solve(theta, reml)
    seconds = {
        "design": problem.seconds["design"],
        "products": formed - began,
        "optimizer": optimized - formed,
        "solution": perf_counter() - optimized,
    }
    norm = float(np.abs(at.gradient).max())
    optimum = Optimum(theta, at.deviance, status, norm, len(steps), len(steps), np.array(steps), (), seconds)
    design, kept = problem.design, crossed.basis.kept
    relative = np.sqrt(np.diag(spread) / (2.0 * np.diag(np.linalg.inv(H))))
    return SampledState(
        problem=problem,
        design=design,
        reml=reml,
        control=control,
        optimum=optimum,
        fixed_names=tuple(design.x_names[j] for j in kept),
        kept=kept,
        beta=beta,
        cov_beta=sigma**2 * unscaled_cov,
        sigma=sigma,
        theta=theta,
        b=tuple(b),
        is_singular=False,
        findings=(
            *design.findings,
            *fit_findings(design, kept, (), optimum, False),
            _sampled(error, float(relative.max())),
        ),
        monte_carlo=error,
    )


def _sampled(error: MonteCarlo, relative: float) -> Finding:
    message = (
        f"Fitted by sampling, with {error.n_probes} probes: the criterion has a Monte Carlo standard error of "
        f"{error.std_error:.2g}, the standard deviations of random effects errors of at most {relative:.1g} of their "
        "standard errors."
    )
    return Finding("sampled", message, {"std_error": error.std_error, "n_probes": error.n_probes, "relative": relative})


def _walk(problem: SampledProblem, theta: Floats, reml: bool, limit: int) -> tuple[Floats, list[list[float]], str]:
    """Return theta at the minimum for a few probes, a row of the trace for each step, and the status."""
    steps: list[list[float]] = []
    at = problem.evaluate(theta, reml, WALK)
    while len(steps) < limit:
        g, H = at.gradient[problem._back], problem.hessian(theta, reml)
        values, vectors = np.linalg.eigh(H)
        step = -vectors @ ((vectors.T @ g) / np.maximum(np.abs(values), 1e-8 * np.abs(values).max()))
        step *= min(1.0, LONGEST / np.abs(step).max())
        predicted = -float(g @ step + 0.5 * step @ H @ step)
        for _ in range(HALVINGS):
            new = problem.evaluate(theta * np.exp(step), reml, WALK)
            if new.deviance <= at.deviance + SETTLED * (1.0 + abs(at.deviance) * 1e-8):
                break
            step = 0.5 * step
        else:
            return theta, steps, "no further decrease"
        ratio = (at.deviance - new.deviance) / predicted if predicted > 0 else 1.0
        steps.append([at.deviance, float(np.abs(g).max()), predicted, float(np.linalg.norm(step)), LONGEST, ratio])
        theta, at = theta * np.exp(step), new
        _check_positive(problem, theta)
        if predicted <= SETTLED * max(1.0, 1e-6 * abs(at.deviance)):
            return theta, steps, "converged"
    return theta, steps, "iteration limit"


def _check_positive(problem: SampledProblem, theta: Floats) -> None:
    crossed = problem.crossed
    for j, k in enumerate(problem._back):
        if theta[j] * np.sqrt(crossed.sizes[k].sum() / crossed.n) < NEXT_TO_ZERO:
            raise FitError(
                f"The variance of the effects of {problem.design.factors[j].name!r} is next to zero, where sampling "
                "has no optimum to walk to. Leave the term out, or use method='exact'."
            )


def _root(crossed: Crossed, at: Evaluation) -> Floats:
    """Return K, upper triangular, with (Q'V0^-1Q)^-1 = K K', (p, p)."""
    return np.asarray(np.linalg.inv(np.linalg.cholesky(at.inner)).T) if crossed.n_fixed else np.zeros((0, 0))


def _raw_map(crossed: Crossed) -> Floats:
    """Return the map from coefficients in the basis to those of the columns kept, (p, p)."""
    basis = crossed.basis
    out = np.array(basis.to_basis)
    if len(out):
        out[0] -= basis.mean @ basis.to_basis
    return out
