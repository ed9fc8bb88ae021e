"""Models whose residuals are correlated within subjects: the criterion as a function of a structure's coordinates.

V is block-diagonal by subject, Sigma of the subject's group at its visits in each block, over its weights. The engine
knows Sigma and patterns of visits; a structure, coordinates -> Sigma, meets it here by the chain rule:

    d/dx_i        = <G, dSigma_i>,  G the criterion's gradient in Sigma
    d2/dx_i dx_j  = dSigma_i C dSigma_j + <G, d2Sigma_ij> - 2 q_i'q_j - (REML) tr(P_i P_j)

with C from the determinant, the residual and X, P_i = K'X'V^-1 dV_i V^-1 X K, q_i = K'X'V^-1 dV_i V^-1 (y - X beta) and
K K' = (X'V^-1X)^-1.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels._engine import PatternModel
from mixedmodels.covariance.kinds import make_structure
from mixedmodels.covariance.residual import correlations
from mixedmodels.design.left_out import LeftOut
from mixedmodels.design.residual_rows import Patterns, ResidualRows, find_patterns
from mixedmodels.errors import FitError, InferenceError, MixedModelsError, memory_told
from mixedmodels.fit.fixed_root import FixedRoot, root_at
from mixedmodels.fit.problem import new_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from mixedmodels.covariance.residual import ResidualStructure
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats

WITHOUT_DIGITS = 1e-10
"""Eigenvalue of correlations from which a covariance cannot be factored with digits left."""

FAR = 2.0
"""Predicted decrease above which a Hessian that is not positive definite is no guide."""


@dataclass(frozen=True)
class Slopes:
    """Derivatives of the criterion at a point; coordinates of all groups one after the other, k in all.

    Attributes
    ----------
    gradient
        (k,).
    hessian
        (k, k), exact.
    average, expected
        (k, k), what takes its place: average information with the curvature of the structure, and the expected
        information, twice that of the likelihood.
    sensitivity
        P_i, (k, n_fixed, n_fixed).
    pull
        q_i, (k, n_fixed).
    """

    gradient: Floats
    hessian: Floats
    average: Floats
    expected: Floats
    sensitivity: Floats
    pull: Floats


@dataclass(frozen=True)
class SecondOrder:
    """What second derivatives of V add to Kenward and Roger's method, in the coordinates of K.

    Attributes
    ----------
    products
        sum W_ij K'X'V^-1 V_i V^-1 V_j V^-1 X K, (n_fixed, n_fixed).
    bend
        K'X'V^-1 V_W V^-1 X K with V_W = sum W_ij V_ij, (n_fixed, n_fixed).
    trace
        tr(P V_j P V_W) without its part of second order in X, tr(P_j bend), (k,).
    """

    products: Floats
    bend: Floats
    trace: Floats


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The criterion at a point of the structure; what a walk holds of it.

    Attributes
    ----------
    problem, reml
        Whose criterion.
    point
        As the structure takes it.
    x
        Coordinates of the walk: the sum of its steps.
    value
        The criterion without its constant.
    """

    problem: MarginalProblem
    reml: bool
    point: Floats
    x: Floats
    value: float

    def moved(self, x: Floats) -> Evaluation | None:
        """Return the evaluation at other coordinates; None where Sigma is not positive definite there."""
        point = self.problem.moved(self.point, x - self.x)
        value = self.problem.value(point, self.reml)
        return None if value is None else replace(self, point=point, x=x, value=value)

    @cached_property
    def slopes(self) -> Slopes:
        """All derivatives."""
        return self.problem.slopes(self.point, self.reml)

    def walked(self) -> tuple[Floats, Floats]:
        """Return the gradient and a model of the Hessian: the Hessian itself but where it leads astray."""
        found = self.slopes
        try:
            np.linalg.cholesky(found.hessian)
        except np.linalg.LinAlgError:
            predicted = 0.5 * float(found.gradient @ np.linalg.lstsq(found.average, found.gradient, rcond=None)[0])
            if abs(predicted) > FAR:
                return found.gradient, found.average
        return found.gradient, found.hessian


class MarginalProblem:
    """The criterion of one design as a function of a structure's point.

    Parameters
    ----------
    design
        The model's arrays, subjects and visits among them.
    n_threads
        Threads of the engine; 0 takes what the machine has.
    design_seconds
        What building the design took, for the record.
    """

    def __init__(self, design: Design, *, n_threads: int = 0, design_seconds: float = 0.0) -> None:
        self.design = design
        self.n_threads = n_threads
        self.seconds = {"design": design_seconds, "products": 0.0}
        self._model: PatternModel | None = None

    @property
    def rows(self) -> ResidualRows:
        """Rows by subject and visit."""
        rows = self.design.residual
        assert rows is not None
        return rows

    @cached_property
    def patterns(self) -> Patterns:
        """Subjects by the visits that they have."""
        return find_patterns(self.rows)

    @property
    def n_subjects(self) -> int:
        """Subjects, whose rows are independent of others'."""
        return self.rows.n_subjects

    @cached_property
    def structure(self) -> ResidualStructure:
        """The covariance structure."""
        return make_structure(self.rows.term.kind, self.rows.visits)

    @property
    def model(self) -> PatternModel:
        """What the engine keeps of the rows.

        Raises
        ------
        FitError
            If the fixed effects fit the response perfectly.
        """
        if isinstance(self.design.y, LeftOut):
            self.design.y.refuse()
        if self._model is None:
            began = perf_counter()
            self._model = self._form()
            self.seconds["products"] = perf_counter() - began
        return self._model

    def _form(self) -> PatternModel:
        design, found = self.design, self.patterns
        y = design.y if design.offset is None else design.y - design.offset
        try:
            with memory_told("A fit"):
                return PatternModel(
                    y,
                    design.X,
                    design.weights,
                    found.order,
                    found.groups,
                    found.visits,
                    found.n_subjects,
                    len(self.rows.visits),
                    len(self.rows.groups),
                    self.n_threads,
                )
        except MixedModelsError:
            raise
        except ValueError as error:
            raise FitError(
                f"{design.formula.text!r} cannot be fitted to these data: {error}. Remove the columns that determine "
                f"{design.response_name}."
            ) from error

    def with_response(self, y: npt.ArrayLike) -> MarginalProblem:
        """Return the problem of the same model for another response.

        Parameters
        ----------
        y
            Response of the rows that were used, (n_obs,), or of all rows of the data; offset included.

        Raises
        ------
        DataError
            If y is not numeric, has another length or order, or holds missing or infinite values.
        """
        if isinstance(self.design.X, LeftOut):
            self.design.X.refuse()
        out = copy(self)
        out.design, out._model = replace(self.design, y=new_response(self.design, y)), None
        out.seconds = {"design": 0.0, "products": 0.0}
        return out

    def with_design(self, design: Design) -> MarginalProblem:
        """Return the same criterion of another design.

        Parameters
        ----------
        design
            The other model's arrays.
        """
        return MarginalProblem(design, n_threads=self.n_threads)

    @property
    def cluster_name(self) -> str:
        """What independent rows differ in."""
        return self.rows.term.subject

    @property
    def cluster(self) -> npt.NDArray[np.intp]:
        """Subject of each row, (n_obs,)."""
        return self.rows.subject.astype(np.intp)

    def each(self, point: Floats, *, of_residuals: bool = False) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
        """Yield rows, (n_subjects, m), and covariance (m, m) of weight one of subjects that share it, at a point."""
        del of_residuals  # nothing else is random
        Sigma = self.structure.sigma(point)
        for group, visits, rows in self.patterns.each():
            yield rows, Sigma[group][np.ix_(visits, visits)]

    def draw_effects(self, point: Floats, n: int, random: np.random.Generator) -> Floats | None:
        """Return n draws of what random effects add, (n_obs, n); None where ``each`` counts them in."""
        del point, n, random
        return None

    def start(self) -> Floats:
        """Return the structure's point of a start, from moments of the least-squares residuals."""
        return self.structure.start(*self.model.moments())

    def evaluation(self, point: Floats, reml: bool) -> Evaluation | None:
        """Return the criterion at a point, with coordinates of a walk that begins there; None if it is not defined."""
        value = self.value(point, reml)
        x = np.zeros(len(self.rows.groups) * self.structure.n_coordinates)
        return None if value is None else Evaluation(self, reml, point, x, value)

    def moved(self, point: Floats, step: Floats) -> Floats:
        """Return the structure's point a step of all coordinates away."""
        return self.structure.moved(point, step.reshape(-1, self.structure.n_coordinates))

    def value(self, point: Floats, reml: bool) -> float | None:
        """Return the criterion without its constant, None where Sigma is not positive definite."""
        sigma = self.structure.sigma(point)
        if not np.isfinite(sigma).all() or least_eigenvalue(sigma) < WITHOUT_DIGITS:
            return None
        return self.model.value(np.ascontiguousarray(sigma), reml)

    def slopes(self, point: Floats, reml: bool) -> Slopes:
        """Return the derivatives of the criterion in the coordinates at a point."""
        structure = self.structure
        with memory_told("An evaluation of the likelihood"):
            found = self.model.derivatives(np.ascontiguousarray(structure.sigma(point)), reml)
        if found is None:
            raise InferenceError("The likelihood has no derivatives at this estimate: Sigma is singular there.")
        _, gradient, (of_determinant, of_rest, of_fixed), products = found
        n_groups, n_visits, c = products.shape[:3]
        p, k = c - 1, structure.n_coordinates
        dSigma = structure.slopes(point).reshape(n_groups, k, n_visits**2)
        by_pairs = products.transpose(0, 1, 3, 2, 4).reshape(n_groups, n_visits**2, c * c)
        turned = (dSigma @ by_pairs).reshape(n_groups * k, c, c)
        P, q = turned[:, :p, :p], turned[:, :p, p]
        P = 0.5 * (P + P.swapaxes(1, 2))

        def curved(part: Floats) -> Floats:
            by_pair = part.reshape(n_groups, n_visits**2, n_visits**2)
            return _block_diagonal(dSigma @ by_pair @ dSigma.swapaxes(1, 2))

        determinant, rest = curved(of_determinant), curved(of_rest)
        bend = _block_diagonal(structure.bend(point, gradient))
        squares, fixed = q @ q.T, np.zeros_like(bend)
        crossed = fixed
        if reml:
            fixed = curved(of_fixed)
            flat = P.reshape(len(P), -1)
            crossed = flat @ flat.T
        return Slopes(
            gradient=(dSigma @ gradient.reshape(n_groups, n_visits**2, 1)).reshape(-1),
            hessian=rest + fixed - determinant + bend - 2 * squares - crossed,
            average=0.5 * rest - squares + bend,
            expected=determinant - fixed + crossed,
            sensitivity=P,
            pull=q,
        )

    def curved(self, point: Floats, reml: bool) -> tuple[Floats, Floats]:
        """Return the gradient and the Hessian of the criterion, as exact as a walk needs them."""
        found = self.slopes(point, reml)
        return found.gradient, found.hessian

    def second_order(self, point: Floats, W: Floats) -> SecondOrder:
        """Return what Kenward and Roger's method needs beside the slopes.

        Parameters
        ----------
        point
            The estimate.
        W
            Covariance of the coordinates, (k, k).
        """
        structure = self.structure
        own = diagonal_blocks(W, structure.n_coordinates)
        dSigma = structure.slopes(point)
        pairs = np.einsum("gij,giab,gjcd->gabcd", own, dSigma, dSigma, optimize=True)
        sigma, bend = np.ascontiguousarray(structure.sigma(point)), structure.mean_bend(point, own)
        found = self.model.kenward_roger(sigma, np.ascontiguousarray(pairs), np.ascontiguousarray(bend))
        if found is None:
            raise InferenceError("Kenward-Roger has no answer at this estimate: Sigma is singular there.")
        products, of_bend, trace = found
        return SecondOrder(products, of_bend, np.einsum("giab,gab->gi", dSigma, trace).reshape(-1))

    def fixed_root(self, point: Floats, reml: bool, sigma: float) -> FixedRoot:
        """Return the fixed effects at a point and a root of their covariance over sigma^2, in a basis."""
        found = self.model.fixed_root(np.ascontiguousarray(self.structure.sigma(point)), reml)
        return root_at(found, self.model.scale / sigma)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_model": None}


def least_eigenvalue(sigma: Floats) -> float:
    """Return the smallest eigenvalue of the correlations of any group, for covariances (G, V, V)."""
    return float(np.linalg.eigvalsh(correlations(sigma)).min())


def diagonal_blocks(matrix: Floats, size: int) -> Floats:
    """Return the blocks of that size along the diagonal, (n, size, size)."""
    n = len(matrix) // size
    return np.ascontiguousarray(matrix.reshape(n, size, n, size)[np.arange(n), :, np.arange(n), :])


def _block_diagonal(blocks: Floats) -> Floats:
    """Return square blocks (n, k, k) along the diagonal of one matrix."""
    n, k = blocks.shape[:2]
    out = np.zeros((n, k, n, k))
    out[np.arange(n), :, np.arange(n), :] = blocks
    return out.reshape(n * k, n * k)
