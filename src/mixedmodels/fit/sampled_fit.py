"""Fits by sampling: Newton's method on the criterion of `fit/sampled.py`, and what inference such a fit has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from mixedmodels.covariance.unstructured import relative_factor, relative_theta, split_theta
from mixedmodels.design.left_out import LeftOut
from mixedmodels.design.records import Finding
from mixedmodels.errors import FitError, InferenceError, NotEnoughMemoryError, memory_told
from mixedmodels.fit.findings import fit_findings
from mixedmodels.fit.fixed_root import Basis, FixedRoot
from mixedmodels.fit.information import Identification, Information
from mixedmodels.fit.problem import Problem, new_response
from mixedmodels.fit.progress import progress_bar
from mixedmodels.fit.records import FitState, Optimum
from mixedmodels.fit.sampled import (
    WALK,
    At,
    Crossed,
    Evaluation,
    Sampling,
    Solution,
    can_sample,
    check_crossed,
    evaluate,
)
from mixedmodels.fit.sampled_prediction import error_forms
from mixedmodels.fit.sampled_walk import (
    NEXT_TO_ZERO,
    SETTLED,
    Forecast,
    along_elements,
    final_passes,
    moved,
    walk,
    walk_hessian,
)

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Codes, Floats
    from mixedmodels.fit.control import Control

METHODS = ("auto", "exact", "sampled")
"""How the criterion may be evaluated."""

POLISHES = 3
"""Steps with all probes."""

ALREADY = 1e-9
"""Relative difference of theta within which what was computed is that of another."""


@dataclass(frozen=True)
class MonteCarlo:
    """How far sampling may have moved a fit.

    Attributes
    ----------
    std_error
        Monte Carlo standard error of the criterion at the optimum.
    theta_std_error
        Those of theta, (n_theta,).
    values
        What each probe gave to the criterion, (n_probes,).
    """

    std_error: float
    theta_std_error: Floats
    values: Floats

    @property
    def n_probes(self) -> int:
        """Probes that they are from."""
        return len(self.values)

    def of_difference(self, other: MonteCarlo) -> float:
        """Return the standard error of the difference of two criteria, which have their first probes in common."""
        if self.n_probes != other.n_probes:
            return float(np.hypot(self.std_error, other.std_error))
        return float(np.std(self.values - other.values, ddof=1) / np.sqrt(self.n_probes))


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
        """What the random effects are in the units of these, (n_effects, n_effects) a factor."""
        return [basis.map for basis in self.problem.effect_bases]


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
        Crossed grouping factors.
    n_threads, design_seconds
        As for `Problem`.
    progress
        Show how far a fit is.
    crossed
        Cross-products, if they exist already.

    Raises
    ------
    FitError
        The model is another.
    """

    def __init__(
        self,
        design: Design,
        *,
        n_threads: int = 0,
        design_seconds: float = 0.0,
        progress: bool = True,
        crossed: Crossed | None = None,
    ) -> None:
        check_crossed(design)
        super().__init__(design, n_threads=n_threads, design_seconds=design_seconds)
        self.progress = progress
        self._crossed = crossed
        self._solved: tuple[Floats, Solution] | None = None
        self._informed: tuple[Floats, bool, Information] | None = None

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

    @property
    def crossed(self) -> Crossed:
        """Cross-products.

        Raises
        ------
        InferenceError
            There are none, nor rows to form them of.
        """
        if self._crossed is None:
            if isinstance(self.design.y, LeftOut):
                self.design.y.refuse()
            with self._evaluated():
                self._crossed = Crossed(self.design, self.n_threads)
        return self._crossed

    @cached_property
    def identification(self) -> Identification:
        """What the data cannot tell: nothing, where crossed factors have rows that they share with others."""
        none = np.zeros((0, 1 + len(self.design.theta_names)))
        return Identification(none, none, tuple(own.sum(axis=0) for own in self.crossed.own))

    def in_bases(self, theta: Floats) -> list[Floats]:
        """Return Lambda of each factor in the basis of its columns, (n_effects, n_effects), from a user's theta."""
        factors = self.design.factors
        own = split_theta(theta, [factor.n_theta for factor in factors])
        parts = zip(self.effect_bases, own, factors, strict=True)
        roots = [np.linalg.inv(basis.map) @ relative_factor(t, f.block_sizes) for basis, t, f in parts]
        return [_lower_root(root) for root in roots]

    def theta_of(self, Lambda: list[Floats]) -> Floats:
        """Return a user's theta, (n_theta,), from Lambda in the bases."""
        both = zip(self.effect_bases, Lambda, self.design.factors, strict=True)
        return np.concatenate([relative_theta(_lower_root(b.map @ block), f.block_sizes) for b, block, f in both])

    def evaluate(self, theta: npt.ArrayLike, reml: bool, sampling: Sampling) -> Evaluation:
        """Return the criterion at theta.

        Parameters
        ----------
        theta
            (n_theta,), in user's units, with positive diagonals.
        reml, sampling
            As for `sampled.evaluate`.
        """
        with self._evaluated():
            return evaluate(self.crossed, self.in_bases(self.check_theta(theta)), reml, sampling)

    def deviance(self, theta: npt.ArrayLike, reml: bool = True) -> float:
        """Return -2 log-likelihood (the REML criterion under REML) at theta, with the error of `Sampling`."""
        return self.evaluate(theta, reml, Sampling()).deviance

    def solution(self, theta: Floats) -> Solution:
        """Return fixed effects and modes at a user's theta; those of a fit are there."""
        if self._solved is None or not np.allclose(self._solved[0], theta, rtol=ALREADY, atol=0.0):
            with self._evaluated():
                self.found(theta, At(self.crossed, self.in_bases(self.check_theta(theta))).solution())
        assert self._solved is not None
        return self._solved[1]

    def found(self, theta: Floats, solution: Solution) -> None:
        """Keep what was solved at a user's theta."""
        self._solved = theta, solution

    def solve(self, theta: Floats, reml: bool) -> tuple[Floats, Floats, float, list[Floats]]:
        """Return beta, its covariance over sigma^2, sigma and the conditional modes of each factor at theta."""
        at, crossed = self.solution(theta), self.crossed
        map_ = crossed.basis.raw_map
        beta = map_ @ (crossed.beta0 + crossed.scale * at.beta)
        s2 = at.r2 / (crossed.n - (crossed.n_fixed if reml else 0))
        Lambda = self.in_bases(theta)
        maps = [crossed.scale * basis.map @ block for basis, block in zip(self.effect_bases, Lambda, strict=True)]
        b = [at.modes(k) @ map_of.T for k, map_of in enumerate(maps)]
        root = map_ @ at.root
        return beta, root @ root.T, crossed.scale * float(np.sqrt(s2)), b

    def fixed_root(self, theta: npt.ArrayLike, in_engine: bool = False) -> FixedRoot:
        """Return the fixed effects at a user's theta, and a root of their covariance, in a basis."""
        if in_engine:
            return self.model
        at, crossed = self.solution(self.check_theta(theta)), self.crossed
        basis = crossed.basis
        first = np.zeros(len(basis.kept), dtype=np.int64)
        return FixedRoot(Basis(first, basis.mean, basis.to_basis), crossed.beta0 + crossed.scale * at.beta, at.root)

    @cached_property
    def effect_bases(self) -> tuple[Basis, ...]:
        """The basis of the columns of each grouping factor, in which the engine's theta is."""
        return self.crossed.effect_bases

    def error_forms(self, theta: Floats, X: Floats, codes: tuple[Codes, ...], Z: tuple[Floats | None, ...]) -> Floats:
        """Return Var(x'(beta^ - beta) + z'(b^ - b)) / sigma^2 of rows at the engine's theta, (m,), solved for.

        Parameters
        ----------
        theta, X, codes, Z
            As for `Problem.error_forms`.
        """
        factors = self.design.factors
        own = split_theta(theta, [factor.n_theta for factor in factors])
        Lambda = [relative_factor(t, factor.block_sizes) for t, factor in zip(own, factors, strict=True)]
        basis = self.crossed.basis
        Q = Basis(np.zeros(len(basis.kept), dtype=np.int64), basis.mean, basis.to_basis).coordinates(X)
        columns = [np.ones((len(X), 1)) if z is None else z for z in Z]
        in_bases = tuple(b.coordinates(z) for b, z in zip(self.effect_bases, columns, strict=True))
        with self._evaluated():
            return error_forms(self.crossed, Lambda, Q, codes, in_bases)

    def information(self, theta: npt.ArrayLike, reml: bool) -> Information:
        """Return the second derivatives of the unprofiled criterion at theta, by a few probes."""
        values = self.check_theta(theta)
        known = self._informed
        if known is None or known[1] != reml or not np.allclose(known[0], values, rtol=ALREADY, atol=0.0):
            with self._evaluated():
                Lambda = self.in_bases(values)
                at = evaluate(self.crossed, Lambda, reml, WALK)
                hessian = walk_hessian(self.crossed, Lambda, reml, at)
            self.informed(values, reml, Lambda, hessian)
        assert self._informed is not None
        return self._informed[2]

    def informed(self, theta: Floats, reml: bool, Lambda: list[Floats], hessian: Floats) -> None:
        """Keep the second derivatives at an optimum.

        Parameters
        ----------
        theta, reml
            Where, in user's units, and of which criterion.
        Lambda
            The same, in the bases.
        hessian
            That of the profiled criterion in log Lambda, (n_theta, n_theta).
        """
        crossed, at = self.crossed, self.solution(theta)
        p, dof = crossed.n_fixed, crossed.n - (crossed.n_fixed if reml else 0)
        s2 = at.r2 / dof
        modes = [at.modes(k) for k in range(len(Lambda))]
        rows = [u[:, :, :p] @ at.root for u in at.solved]
        places = [tuple(place) for place in crossed.parameters]
        across = np.array([4.0 * float(modes[k][:, r] @ modes[k][:, c]) / s2 for k, r, c in places])
        products = [rows[k][:, r].T @ rows[k][:, c] for k, r, c in places]
        sensitivity = np.stack([product + product.T for product in products])
        whole = np.empty((len(places) + 1, len(places) + 1))
        # with sigma profiled out it is short of -across across' / (4 dof)
        whole[:-1, :-1] = hessian + np.outer(across, across) / (4.0 * dof)
        whole[-1, :-1] = whole[:-1, -1] = across
        whole[-1, -1] = 4.0 * dof
        for _ in range(2):
            whole[:-1] = along_elements(crossed, Lambda, whole[:-1])
            whole = whole.T.copy()
        scaled = np.array([Lambda[k][r, c] for k, r, c in places])
        sensitivity = along_elements(crossed, Lambda, sensitivity)
        self._informed = theta, reml, Information(crossed.parameters, scaled, whole, sensitivity)

    def with_threads(self, n_threads: int) -> SampledProblem:
        """Return the problem for that number of threads."""
        if n_threads == self.n_threads:
            return self
        crossed = None if self._crossed is None else self._crossed.with_threads(n_threads)
        made = SampledProblem(self.design, n_threads=n_threads, progress=self.progress, crossed=crossed)
        made.seconds = self.seconds
        return made

    def renamed(self, design: Design) -> SampledProblem:
        """Return the problem of the same design with other names."""
        return SampledProblem(design, n_threads=self.n_threads, progress=self.progress, crossed=self._crossed)

    def with_response(self, y: npt.ArrayLike) -> SampledProblem:
        """Return the problem of the same model for another response, as `Problem.with_response` does."""
        if isinstance(self.design.X, LeftOut):
            self.design.X.refuse()
        design = replace(self.design, y=new_response(self.design, y))
        return SampledProblem(design, n_threads=self.n_threads, progress=self.progress)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_crossed": None, "_solved": None, "_informed": None}


def _lower_root(root: Floats) -> Floats:
    """Return the lower triangular L with positive diagonal of which L L' is that of another root."""
    if len(root) == 1:
        return np.abs(root)
    upper = np.linalg.qr(root.T)[1]
    return np.asarray((upper * np.where(np.diag(upper) < 0, -1.0, 1.0)[:, None]).T)


def chosen(problem: Problem, method: str, progress: bool = True) -> Problem:
    """Return the problem by the method that is asked for.

    Parameters
    ----------
    problem
        The exact one.
    method
        One of ``METHODS``; ``"auto"`` is exact, but where that does not fit in memory and sampling can be.
    progress
        Show how far a fit by sampling is.

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
    n_threads, crossed = problem.n_threads, None
    if design.stand_in is not None:
        check_crossed(design)
        with memory_told("A fit by sampling"):
            crossed = Crossed(design, n_threads, problem.products)
    seconds = problem.seconds["design"]
    return SampledProblem(design, n_threads=n_threads, design_seconds=seconds, progress=progress, crossed=crossed)


def shows_progress(problem: Problem) -> bool:
    """Return whether fits of a problem show how far they are, if they can."""
    return problem.progress if isinstance(problem, SampledProblem) else True


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
    NotEnoughMemoryError
        If there is no room.
    """
    with progress_bar(100, "sampling", "part", problem.progress) as advance, memory_told("A fit by sampling"):
        return _fit(problem, reml, start, control, Forecast(advance, len(problem.design.theta_names)))


def _fit(
    problem: SampledProblem, reml: bool, start: npt.ArrayLike | None, control: Control, forecast: Forecast
) -> SampledState:
    began = perf_counter()
    crossed = problem.crossed
    formed = perf_counter()
    if start is None:
        Lambda = [0.5 * np.eye(factor.n_effects) for factor in problem.design.factors]
    else:
        Lambda = [_lifted(block) for block in problem.in_bases(problem.check_theta(start))]
    walked = walk(crossed, Lambda, reml, control.max_iterations, forecast)
    Lambda, H = walked.Lambda, walked.hessian
    for _ in range(POLISHES):
        forecast.expect(final_passes(walked.n_steps))
        at = evaluate(crossed, Lambda, reml, Sampling(), passes=forecast)
        step = -np.asarray(np.linalg.solve(H, at.gradient), dtype=np.float64)
        if 0.5 * abs(step @ H @ step) <= SETTLED * (1.0 + at.std_error / SETTLED * 1e-3):
            break
        Lambda = moved(crossed, Lambda, step)
    forecast.finish()
    theta = problem.theta_of(Lambda)
    problem.found(theta, at.solution)
    problem.informed(theta, reml, Lambda, H)
    error, relative = _monte_carlo(problem, Lambda, H, at, step)
    optimized = perf_counter()
    beta, unscaled_cov, sigma, b = problem.solve(theta, reml)
    seconds = {
        "design": problem.seconds["design"],
        "products": formed - began,
        "optimizer": optimized - formed,
        "solution": perf_counter() - optimized,
    }
    norm, steps = float(np.abs(at.gradient).max()), walked.steps
    n_steps = len(steps)
    trace = np.array(steps).reshape(n_steps, 6)
    optimum = Optimum(theta, at.deviance, walked.status, norm, n_steps, forecast.evaluations, trace, (), seconds)
    design, kept = problem.design, crossed.basis.kept
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
            _sampled(error, relative),
        ),
        monte_carlo=error,
    )


def _lifted(block: Floats) -> Floats:
    """Return Lambda with a diagonal that is no smaller than a walk can start from."""
    out = block.copy()
    np.fill_diagonal(out, np.maximum(np.diag(block), NEXT_TO_ZERO))
    return out


def _monte_carlo(
    problem: SampledProblem, Lambda: list[Floats], H: Floats, at: Evaluation, left: Floats
) -> tuple[MonteCarlo, float]:
    """Return the error of the criterion and of theta, and the largest of those of log Lambda beside their own.

    The step that was left to the optimum for these probes counts as an error too.
    """
    spread = np.linalg.solve(H, np.linalg.solve(H, at.gradient_covariance).T) + np.outer(left, left)
    crossed = problem.crossed
    h = 1e-6 * np.eye(len(H))
    ends = [[problem.theta_of(moved(crossed, Lambda, s * e)) for s in (1.0, -1.0)] for e in h]
    slopes = np.stack([(up - down) / 2e-6 for up, down in ends], axis=1)
    of_theta = np.sqrt(np.einsum("ia,ab,ib->i", slopes, spread, slopes))
    relative = np.sqrt(np.diag(spread) / (2.0 * np.diag(np.linalg.inv(H))))
    return MonteCarlo(at.std_error, of_theta, at.values), float(relative.max())


def _sampled(error: MonteCarlo, relative: float) -> Finding:
    message = (
        f"Fitted by sampling, with {error.n_probes} probes: the criterion has a Monte Carlo standard error of "
        f"{error.std_error:.2g}, the standard deviations of random effects errors of at most {relative:.1g} of their "
        "standard errors."
    )
    return Finding("sampled", message, {"std_error": error.std_error, "n_probes": error.n_probes, "relative": relative})
