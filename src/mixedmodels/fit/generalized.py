"""Generalised linear mixed models: from a design and a family to a fitted state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from scipy import linalg
from scipy.special import expit

from mixedmodels._engine import GeneralizedModel
from mixedmodels.errors import FitError, MixedModelsError, memory_told
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.families.zeros import CountsWithZeros
from mixedmodels.fit.control import Control, check_starts
from mixedmodels.fit.findings import aliased_columns, nearly_aliased_columns, not_converged, other_optima, singular_fit
from mixedmodels.fit.fit import DEFAULT, NO_MINIMUM, STATUS
from mixedmodels.fit.fixed_root import Basis, FixedRoot
from mixedmodels.fit.generalized_findings import (
    huge_effects,
    no_curvature,
    no_excess_zeros,
    no_minimum,
    no_overdispersion,
)
from mixedmodels.fit.laplace_error import laplace_inaccurate
from mixedmodels.fit.nodes import quadrature_nodes
from mixedmodels.fit.observed import read_observed
from mixedmodels.fit.problem import row_arguments
from mixedmodels.fit.records import MixedFit, Optimum
from mixedmodels.fit.separation import separated, separated_zeros

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Finding, Floats
    from mixedmodels.design.zero_part import ZeroPart
    from mixedmodels.families.family import Family

FLAT = 1e-10
"""Eigenvalue of the Hessian, relative to the largest, that is none."""

TOLD = 1e-6
"""Part of an effect in directions that data do not tell, relative to its size, that is none."""

START = 0.1
"""What zeros of psi are where refits start."""

N_STARTS = 4
"""Points that the engine has to begin at, one and three others."""


class GeneralizedProblem:
    """The criterion of one design and family: -2 log-likelihood, by Laplace's approximation or quadrature.

    Its parameters psi are those of the engine, which have no units: theta, beta and phi in orthonormal bases. The
    engine's rows are made when they are first needed, and again after unpickling.

    Parameters
    ----------
    design
        The model's arrays.
    family
        What the responses are.
    zeros
        Covariates of the chance of a zero, for the families that have it.
    n_agq
        Nodes of the quadrature an effect; 1 is Laplace's approximation.
    n_threads
        Threads of the engine; 0 takes what the machine has.
    design_seconds
        What building the design took, for the record.

    Raises
    ------
    DataError, FitError
        If the responses are not the family's, or the quadrature is not for this model.
    """

    def __init__(
        self,
        design: Design,
        family: Family,
        zeros: ZeroPart | None = None,
        *,
        n_agq: int = 1,
        n_threads: int = 0,
        design_seconds: float = 0.0,
    ) -> None:
        self.design, self.family, self.zeros = design, family, zeros
        self.n_agq, self.n_threads = n_agq, n_threads
        self.nodes = quadrature_nodes(n_agq, design)
        self.seconds = {"design": design_seconds, "products": 0.0}
        self.observed = read_observed(design, family)
        self._model: GeneralizedModel | None = None

    @property
    def model(self) -> GeneralizedModel:
        """The engine's handle."""
        if self._model is None:
            began = perf_counter()
            design, observed = self.design, self.observed
            X, _, codes, Z = row_arguments(design)
            factors = design.factors
            with self.evaluated():
                self._model = GeneralizedModel(
                    self.family.engine_name,
                    np.ascontiguousarray(observed.y),
                    observed.trials,
                    observed.weights,
                    design.offset,
                    X,
                    codes,
                    [factor.n_levels for factor in factors],
                    Z,
                    [factor.block_sizes for factor in factors],
                    self.n_threads,
                    nodes=self.nodes,
                    covariates=None if self.zeros is None else [(self.family.n_extra, self.zeros.basis)],
                )
            self.seconds["products"] = perf_counter() - began
        return self._model

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """What the engine cannot evaluate is an error of ours."""
        try:
            with memory_told("An evaluation of the likelihood"):
                yield
        except MixedModelsError:
            raise
        except ValueError as error:
            raise FitError(f"{self.design.formula.text!r} cannot be fitted to these data: {error}.") from error

    def with_response(self, y: Floats) -> GeneralizedProblem:
        """Return the criterion of another response to the same design.

        Parameters
        ----------
        y
            Responses of the rows used, (n_obs,); successes for the binomial.
        """
        out = copy(self)
        out.observed, out._model = replace(self.observed, y=np.ascontiguousarray(y)), None
        out.seconds = {"design": 0.0, "products": 0.0}
        return out

    def with_design(self, design: Design, rows: npt.NDArray[np.intp] | None = None) -> GeneralizedProblem:
        """Return the same criterion of another design.

        Parameters
        ----------
        design
            The other model's arrays.
        rows
            Which of the rows here are those of the other, (n_rows,); None where they are the same.

        Raises
        ------
        DataError, DesignError, FitError
            If its responses are not the family's, or effects on the chance of a zero cannot be estimated.
        """
        zeros = self.zeros
        if zeros is not None and rows is not None:
            zeros = zeros.take(rows)
            _ = zeros.map  # which tells what cannot be estimated
        return GeneralizedProblem(design, self.family, zeros, n_agq=self.n_agq, n_threads=self.n_threads)

    def with_nodes(self, n_agq: int) -> GeneralizedProblem:
        """Return the criterion by quadrature of other nodes; its psi is the same.

        Parameters
        ----------
        n_agq
            Nodes an effect.

        Raises
        ------
        FitError
            If the quadrature is not for this model.
        """
        out = copy(self)
        out.n_agq, out.nodes, out._model = n_agq, quadrature_nodes(n_agq, self.design), None
        out.seconds = {"design": 0.0, "products": 0.0}
        return out

    def psi(self, theta: npt.ArrayLike, beta: npt.ArrayLike, phi: npt.ArrayLike = ()) -> Floats:
        """Return the engine's parameters of theta, beta (of the columns kept) and phi.

        Raises
        ------
        FitError
            If one of them is not numeric or has another length.
        """
        try:
            parts = [np.array(part, dtype=np.float64).ravel() for part in (theta, beta, phi)]
        except (TypeError, ValueError) as error:
            raise FitError(f"theta, beta and phi must be numbers: {error}.") from error
        with self.evaluated():
            return self.model.psi(*parts)

    def deviance(self, psi: Floats) -> float:
        """Return -2 log-likelihood at psi."""
        with self.evaluated():
            return self.model.deviance(psi)

    def gradient(self, psi: Floats) -> Floats:
        """Return its gradient in psi."""
        with self.evaluated():
            return self.model.gradient(psi)

    def hessian(self, psi: Floats) -> Floats | None:
        """Return its Hessian in psi; None where it cannot be computed."""
        with self.evaluated():
            return self.model.hessian(psi)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}


def _covariance_of_parameters(state: GlmmState) -> Floats:
    hessian = state.problem.hessian(state.psi)
    return covariance(hessian, state.psi, state.design, state.n_fixed, state.unseen)[0]


def _covariance_of_fixed_effects(state: GlmmState) -> Floats:
    to_user = state.basis.coordinates(np.eye(state.n_fixed))
    return np.asarray(to_user @ state.cov_psi[state.beta_in_psi, state.beta_in_psi] @ to_user.T)


@dataclass(frozen=True)
class GlmmState(MixedFit):
    """A fitted generalised linear mixed model as numbers.

    Attributes
    ----------
    problem
        The engine's handle.
    family
        What the responses are.
    phi
        Its extra parameters as the engine has them, (n_extra,).
    psi
        Where the criterion is lowest, in the engine's parameters.
    cov_psi, cov_beta
        Covariances of psi, (n_psi, n_psi), and of the fixed effects: from twice the inverse of the criterion's Hessian,
        which is computed when one of them is first asked for; zero for what is on a boundary.
    basis
        Of the fixed columns.
    eta
        Conditional linear predictor of the rows, (n_obs,).
    cov_b
        Var(b | y) given the parameters, (n_levels, n_effects, n_effects) a factor.
    """

    problem: GeneralizedProblem
    family: Family
    phi: Floats
    psi: Floats
    basis: Basis
    eta: Floats
    cov_b: tuple[Floats, ...]
    cov_psi: Floats = field(init=False, default=cached_property(_covariance_of_parameters))  # type: ignore[arg-type]
    cov_beta: Floats = field(init=False, default=cached_property(_covariance_of_fixed_effects))  # type: ignore[arg-type]

    @property
    def beta_in_psi(self) -> slice:
        """Where beta is in psi."""
        k = len(self.theta)
        return slice(k, k + self.n_fixed)

    @property
    def identity(self) -> tuple[Floats | float, ...]:
        """The estimates, which tell this fit from others of its model and data."""
        return (self.beta, self.psi)

    @property
    def phi_in_psi(self) -> slice:
        """Where the family's own parameters are in psi."""
        start = len(self.theta) + self.n_fixed
        return slice(start, start + self.family.n_extra)

    @property
    def zeros_in_psi(self) -> slice:
        """Where the effects on the chance of a zero are in psi."""
        return slice(self.phi_in_psi.stop, len(self.psi) if self.problem.zeros is not None else self.phi_in_psi.stop)

    @cached_property
    def unseen(self) -> Floats:
        """Directions in the last elements of psi on which nothing depends, (n_columns, n_directions), orthonormal.

        They are those of effects on chances of zeros that are none, or one, whatever the effects are.
        """
        zeros = self.problem.zeros
        if zeros is None:
            return np.zeros((0, 0))
        ends = np.zeros(self.design.n_obs, dtype=bool)
        for finding in self.findings:
            if finding.kind == "no_excess_zeros":
                ends[:] = True
            elif finding.kind == "separated_zeros":
                ends[list(cast("tuple[int, ...]", finding.data["rows"]))] = True
        return zeros.undetermined(ends)

    @property
    def zero_effects(self) -> Floats:
        """Effects on the logit of the chance of a zero, (n_columns,)."""
        assert self.problem.zeros is not None
        return np.asarray(self.problem.zeros.map @ self.psi[self.zeros_in_psi])

    @property
    def cov_zero_effects(self) -> Floats:
        """Their covariance, (n_columns, n_columns)."""
        assert self.problem.zeros is not None
        T, own = self.problem.zeros.map, self.zeros_in_psi
        return np.asarray(T @ self.cov_psi[own, own] @ T.T)

    @property
    def zero_effects_without_end(self) -> npt.NDArray[np.bool_]:
        """Which of them grow without bound, or have nothing depend on them, (n_columns,)."""
        assert self.problem.zeros is not None
        T = self.problem.zeros.map
        return np.asarray((np.abs(T @ self.unseen) > TOLD * np.linalg.norm(T, axis=1, keepdims=True)).any(axis=1))

    @cached_property
    def fitted_family(self) -> Family:
        """The family as estimated: where zeros have a chance of their own, with that of each row."""
        return self.family if self.problem.zeros is None else self.family_at(self.problem.zeros.X)

    def family_at(self, X: Floats) -> Family:
        """Return the family as estimated with the chances of zeros of other rows.

        Parameters
        ----------
        X
            Their columns, (n_rows, n_columns).
        """
        assert isinstance(self.family, CountsWithZeros)
        effects = self.zero_effects
        constant = X.shape[1] == 1 and bool((X == 1).all())
        return self.family.at(self.phi, float(expit(effects[0])) if constant else expit(X @ effects))

    @property
    def link(self) -> str | None:
        """What the mean is transformed by to the linear predictor."""
        return self.family.link

    @property
    def kind(self) -> tuple[str, ...]:
        """Its family and link."""
        return (self.family.name, self.family.link)

    @property
    def n_agq(self) -> int:
        """Nodes of the quadrature an effect; 1 is Laplace's approximation."""
        return self.problem.n_agq

    @property
    def has_residual(self) -> bool:
        """Rows have no residual."""
        return False

    @property
    def n_params(self) -> int:
        """Parameters estimated: fixed effects, theta and those of the family."""
        return len(self.psi)

    @property
    def n_determined(self) -> int:
        """The same: nothing tells here which directions are flat."""
        return self.n_params

    @property
    def dispersion(self) -> float | None:
        """The family's dispersion; None without one."""
        return self.family.dispersion(self.phi)

    @property
    def own_fixed(self) -> slice:
        """Fixed effects that are shown as such: not the intercept in whose place there are thresholds."""
        return slice(1, None) if isinstance(self.family, Ordinal) else slice(None)

    @property
    def trials(self) -> Floats:
        """Trials of each row, (n_obs,), one where the family has none."""
        trials = self.problem.observed.trials
        return np.ones(self.design.n_obs) if trials is None else trials

    @cached_property
    def fixed_root(self) -> FixedRoot:
        """The root of the covariance of beta from which its combinations have their variances."""
        own = self.beta_in_psi
        return FixedRoot(self.basis, self.psi[own], _upper_root(self.cov_psi[own, own]))

    def undetermined_rows(self, L: Floats) -> npt.NDArray[np.bool_]:
        """Return which combinations of the fixed effects have no standard error: all, if the Hessian has no inverse."""
        return np.full(len(L), not np.isfinite(self.cov_psi).all())

    def conditional_covariance(self) -> list[Floats]:
        """Return Var(b | y) of each level given the parameters, (n_levels, n_effects, n_effects) a factor."""
        return list(self.cov_b)

    def __repr__(self) -> str:
        return f"<GlmmState: {self.design.formula.text}; {self.family.name}, {self.design.n_obs} observations>"


class GlmmFitted(Protocol):
    """Anything that holds such a fit as numbers, such as a ``GlmmResult``."""

    @property
    def state(self) -> GlmmState:
        """The fit."""
        ...


def _upper_root(covariance: Floats) -> Floats:
    """Return upper triangular K with K K' = C."""
    if not np.isfinite(covariance).all():
        return np.full(covariance.shape, np.nan)
    return np.asarray(np.linalg.cholesky(covariance[::-1, ::-1])[::-1, ::-1])


def off_zero(psi: Floats) -> Floats:
    """Return where refits start: what is zero in the fit would stay so, since the criterion has no slope there."""
    return np.where(psi == 0, START, psi)


def fit_generalized(
    problem: GeneralizedProblem, *, start: Floats | None = None, control: Control | None = None
) -> GlmmState:
    """Return the fitted state at the minimum of the criterion.

    Parameters
    ----------
    problem
        The criterion.
    start
        First psi; None lets the engine choose.
    control
        Limits of the optimiser.

    Raises
    ------
    DataError, FitError
        If the responses are not the family's, or the likelihood cannot be evaluated.
    """
    control = DEFAULT if control is None else control
    check_starts(control, N_STARTS)
    design, model = problem.design, problem.model
    began = perf_counter()
    with problem.evaluated():
        minimum = model.minimize(start, control.max_iterations, control.n_starts)
        optimized = perf_counter()
        theta, beta, phi, b, cov_b, eta = model.estimates(minimum.psi, minimum)
        basis = Basis(np.zeros(len(beta), dtype=np.int64), *model.fixed_basis())
    optimum = Optimum(
        theta=theta,
        deviance=minimum.deviance,
        status=STATUS[minimum.status],
        gradient_norm=minimum.gradient_norm,
        n_iterations=minimum.n_iterations,
        n_evaluations=minimum.n_evaluations,
        steps=minimum.trace,
        other_optima=tuple(minimum.other_optima),
        seconds={
            **problem.seconds,
            "optimizer": optimized - began,
            "solution": perf_counter() - optimized,
        },
    )
    kept = tuple(model.kept)
    findings = [*design.findings]
    if len(kept) < len(design.x_names):
        findings.append(aliased_columns(design, kept))
    if model.nearly_dependent:
        findings.append(nearly_aliased_columns([design.x_names[j] for j in model.nearly_dependent]))
    if optimum.status == NO_MINIMUM:
        findings.append(no_minimum(optimum, len(design.factors), problem.n_agq))
    elif not optimum.converged:
        findings.append(not_converged(optimum))
    if minimum.singular:
        findings.append(singular_fit(design, theta))
    if optimum.other_optima:
        findings.append(other_optima(optimum))
    findings += separated(design, kept, problem.observed, problem.family, eta)
    findings += _family_findings(problem, theta, phi)
    if problem.n_agq == 1:
        findings += laplace_inaccurate(design, model.log_density, phi, eta, tuple(cov_b))
    if problem.zeros is not None and problem.family.name.startswith("zero_inflated"):
        findings += no_excess_zeros(expit(problem.zeros.basis @ phi[problem.family.n_extra :]))
    if problem.zeros is not None:
        effects, y = problem.zeros.map @ phi[problem.family.n_extra :], problem.observed.y
        findings += separated_zeros(problem.zeros, effects, y, problem.family.name.startswith("hurdle"))
    state = GlmmState(
        design=design,
        reml=False,
        control=control,
        optimum=optimum,
        fixed_names=tuple(design.x_names[j] for j in kept),
        kept=kept,
        beta=beta,
        sigma=1.0,
        findings=tuple(findings),
        theta=theta,
        b=tuple(b),
        is_singular=minimum.singular,
        problem=problem,
        family=problem.family,
        phi=phi,
        psi=minimum.psi,
        basis=basis,
        eta=eta,
        cov_b=tuple(cov_b),
    )
    if optimum.status == NO_MINIMUM:
        return state
    _, flat = covariance(minimum.curvature, minimum.psi, design, len(beta), state.unseen)
    if flat and not np.isfinite(state.cov_psi).all():  # the model of the Hessian costs nothing, the Hessian decides
        return replace(state, findings=(*state.findings, no_curvature()))
    return state


def _family_findings(problem: GeneralizedProblem, theta: Floats, phi: Floats) -> list[Finding]:
    return [*huge_effects(problem.design, theta), *no_overdispersion(problem.family, phi)]


def covariance(
    hessian: Floats | None, psi: Floats, design: Design, n_fixed: int, unseen: Floats | None = None
) -> tuple[Floats, bool]:
    """Return twice the inverse of the criterion's Hessian, and whether it has none.

    What is on a boundary, a zero column of Lambda or no overdispersion, is held: its rows are zero.

    Parameters
    ----------
    hessian
        (n, n), or None if it could not be computed.
    psi
        Where, (n,).
    design
        Names what psi is.
    n_fixed
        Fixed effects in it.
    unseen
        Directions of its last elements on which nothing depends there, (n_last, n_directions), which are held too.
    """
    n = len(psi)
    free = np.ones(n, dtype=bool)
    free[: len(_column_of_theta(design))] = [psi[j] != 0 for j in _column_of_theta(design)]
    k = len(_column_of_theta(design))
    free[k + n_fixed :] = psi[k + n_fixed :] != 0
    seen = np.eye(n)[:, free]
    if unseen is not None and unseen.size:
        first = n - len(unseen)
        seen = linalg.block_diag(np.eye(first)[:, free[:first]], linalg.null_space(unseen.T))
    if hessian is None:
        return np.full((n, n), np.nan), True
    values, vectors = np.linalg.eigh(seen.T @ hessian @ seen)
    if not len(values) or values[0] <= FLAT * values[-1]:
        return np.full((n, n), np.nan), True
    vectors = seen @ vectors
    return 2 * (vectors / values) @ vectors.T, False


def _column_of_theta(design: Design) -> list[int]:
    """Return the position of the diagonal element in the column of Lambda of each theta."""
    out: list[int] = []
    for factor in design.factors:
        for size in factor.block_sizes:
            for j in range(size if size > 0 else 1):
                out += [len(out)] * (size - j if size > 0 else 1)
    return out
