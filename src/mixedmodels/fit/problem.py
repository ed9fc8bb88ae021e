"""A design with the engine's handle on it."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mixedmodels._engine import Model
from mixedmodels.design.frame import check_order
from mixedmodels.design.left_out import LeftOut
from mixedmodels.errors import DataError, FitError, InferenceError, memory_told
from mixedmodels.fit.fixed_root import Basis, FixedRoot
from mixedmodels.fit.information import CovarianceDerivatives, Identification, Information
from mixedmodels.fit.memory import check_memory

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Codes, Floats, RandomFactor


class Problem:
    """The deviance of one design as a function of theta.

    The engine's cross-products are formed when they are first needed, and again after unpickling.

    Parameters
    ----------
    design
        The model's arrays.
    n_threads
        Threads of the engine; 0 takes what the machine has.
    design_seconds
        What building the design took, for the record.
    model
        The engine's handle, if it exists already.

    Attributes
    ----------
    products
        The same, or what was formed without looking whether there is room for a fit; None before it is formed.
    """

    def __init__(
        self, design: Design, *, n_threads: int = 0, design_seconds: float = 0.0, model: Model | None = None
    ) -> None:
        self.design = design
        self.n_threads = n_threads
        self.seconds = {"design": design_seconds, "products": 0.0}
        self.products = model
        self._has_room = model is not None

    @property
    def model(self) -> Model:
        """The engine's cross-products of this design, of which a fit has room.

        Raises
        ------
        FitError
            If the fixed effects fit the response perfectly.
        InferenceError
            If the design was loaded without its rows.
        NotEnoughMemoryError
            If a fit needs more memory than is available.
        """
        if self.products is None and isinstance(self.design.y, LeftOut):
            self.design.y.refuse()
        model = self.products
        if model is None:
            began = perf_counter()
            with telling_why(self.design):
                model = _form_products(self.design, self.n_threads)
            self.seconds["products"] = perf_counter() - began
        if not self._has_room:
            check_memory(self.design, model)
            self.products, self._has_room = model, True
        return model

    @cached_property
    def identification(self) -> Identification:
        """What these data cannot tell of the variance parameters."""
        if self.design.is_related:  # levels that have known covariances tell even variances of one row each apart
            none = np.zeros((0, self.model.n_theta + 1))
            return Identification(none, none, tuple(np.eye(f.n_effects) for f in self.design.factors))
        covariance, contrasts, visible = self.model.identification()
        if len(contrasts) < len(covariance):  # rounding, extremely far from the origin: REML sees no more than V
            contrasts = covariance
        return Identification(covariance, contrasts, tuple(visible))

    def deviance(self, theta: npt.ArrayLike, reml: bool = True) -> float:
        """Return -2 log-likelihood (the REML criterion under REML) at theta, beta and sigma profiled out."""
        with self._evaluated():
            return self.model.deviance(self.check_theta(theta), reml)

    def gradient(self, theta: npt.ArrayLike, reml: bool = True) -> Floats:
        """Return the derivative of the deviance in theta, shape (n_theta,)."""
        with self._evaluated():
            return self.model.gradient(self.check_theta(theta), reml)

    def solve(self, theta: Floats, reml: bool) -> tuple[Floats, Floats, float, list[Floats]]:
        """Return beta, its covariance over sigma^2, sigma and the conditional modes of each factor at theta."""
        with self._evaluated():
            beta, cov, sigma, modes = self.model.solve(np.ascontiguousarray(theta), reml)
        return beta, cov, sigma, modes[: len(self.design.factors)]

    def absorbed_effects(self, theta: Floats, reml: bool) -> tuple[Floats, ...]:
        """Return the fixed effects of absorbed levels at theta, (n_levels,) a factor, units of the response."""
        absorbed = self.design.absorbed
        if absorbed is None:
            return ()
        with self._evaluated():
            beta, _, _, modes = self.model.solve(np.ascontiguousarray(theta), reml)
        # those of what the levels leave of y and X, and what they take off these
        columns, kept = self.design.absorbed_columns, list(self.model.kept)
        _, of_response = absorbed.residual(_less_offset(self.design)[:, None])
        parts = zip(modes[len(self.design.factors) :], of_response, columns.effects, strict=True)
        return absorbed.normalized([own[:, 0] + y[:, 0] - X[:, kept] @ beta for own, y, X in parts])

    def solve_in_bases(self, theta: Floats) -> tuple[Floats, list[Floats]]:
        """Return beta and the conditional modes of each factor at the engine's theta, in the bases of their columns."""
        with self._evaluated():
            beta, modes = self.model.solve_in_bases(np.ascontiguousarray(theta))
        return beta, modes[: len(self.design.factors)]

    def _evaluated(self) -> memory_told:
        """What the engine cannot evaluate is an error of ours."""
        return memory_told("An evaluation of the likelihood", self._not_evaluated)

    def _not_evaluated(self, error: ValueError) -> FitError:
        return FitError(f"{self.design.formula.text!r} cannot be evaluated for these data: {error}.")

    def conditional_covariance(self, theta: npt.ArrayLike) -> list[Floats]:
        """Return Var(b | y) / sigma^2 of each level, (n_levels, n_effects, n_effects) a factor."""
        with _unanswerable():
            return self.model.conditional_covariance(self.check_theta(theta))

    def information(self, theta: npt.ArrayLike, reml: bool) -> Information:
        """Return the second derivatives of the unprofiled criterion at theta."""
        with _unanswerable():
            engine_theta, hessian, sensitivity = self.model.information(self.check_theta(theta), reml)
        return Information(self.model.parameters, engine_theta, hessian, sensitivity)

    def covariance_derivatives(self, theta: npt.ArrayLike) -> CovarianceDerivatives:
        """Return what the Kenward-Roger method needs of the derivatives of V at theta."""
        with _unanswerable():
            return CovarianceDerivatives(*self.model.kenward_roger(self.check_theta(theta)))

    def fixed_root(self, theta: npt.ArrayLike, in_engine: bool = False) -> FixedRoot:
        """Return the fixed effects at theta, a user's or the engine's, and a root of their covariance, in a basis."""
        with _unanswerable():
            mean, to_basis, beta, root = self.model.fixed_root(self.check_theta(theta), in_engine)
        return FixedRoot(Basis(np.zeros(len(mean), dtype=np.int64), mean, to_basis), beta, root)

    def error_forms(self, theta: Floats, X: Floats, codes: tuple[Codes, ...], Z: tuple[Floats | None, ...]) -> Floats:
        """Return Var(x'(beta^ - beta) + z'(b^ - b)) / sigma^2 of rows at the engine's theta, (m,).

        Parameters
        ----------
        theta
            (n_theta,).
        X
            Columns of the fixed effects that were estimated, (m, n_fixed).
        codes
            Level in each grouping factor, (m,); -1 where there is none.
        Z
            Columns of each factor, (m, n_effects); None for ones.
        """
        if any((levels >= 0).any() for levels in codes):
            return self.model.quadratic_forms(theta, X, list(codes), list(Z), in_engine=True)
        fixed = self.fixed_root(theta, in_engine=True).whiten(X)
        return np.asarray(np.einsum("ij,ij->i", fixed, fixed))

    @cached_property
    def effect_bases(self) -> tuple[Basis, ...]:
        """The basis of the columns of each grouping factor, in which the engine's theta is."""
        return tuple(Basis(*basis) for basis in self.model.effect_bases())

    def check_theta(self, theta: npt.ArrayLike) -> Floats:
        """Return theta as an array of the right length.

        Raises
        ------
        FitError
            If theta is not numeric, has another length or holds a value that is not finite.
        """
        names = self.design.theta_names
        try:
            values = np.array(theta, dtype=np.float64, order="C")
        except (TypeError, ValueError) as error:
            raise FitError(f"theta is not numeric: {error}.") from error
        if values.shape != (len(names),):
            shape = "x".join(map(str, values.shape)) or "scalar"
            raise FitError(f"theta has shape {shape}; this model needs {len(names)} numbers: {', '.join(names)}.")
        if not np.isfinite(values).all():
            raise FitError(f"theta must be finite; {names[int(np.argmin(np.isfinite(values)))]} is not.")
        return values

    def with_threads(self, n_threads: int) -> Problem:
        """Return the problem for that number of threads."""
        if n_threads == self.n_threads:
            return self
        if self.design.stand_in is not None:
            problem = Problem(self.design, n_threads=n_threads, model=self.model.with_threads(n_threads))
            problem.seconds = self.seconds
            return problem
        return Problem(self.design, n_threads=n_threads, design_seconds=self.seconds["design"])

    def renamed(self, design: Design) -> Problem:
        """Return the problem of the same design with other names."""
        renamed = Problem(design, n_threads=self.n_threads, model=self.model)
        renamed.identification = self.identification
        return renamed

    def with_response(self, y: npt.ArrayLike) -> Problem:
        """Return the problem of the same model for another response.

        Parameters
        ----------
        y
            Response of the rows that were used, shape (n_obs,), or of all rows of the data, shape (n_rows,); on the
            scale of the old one, the offset not taken off. A table of one column will do.

        Raises
        ------
        DataError
            If y is not numeric, has another length or order, or holds missing or infinite values.
        FitError
            If the fixed effects fit y perfectly.
        """
        if isinstance(self.design.X, LeftOut):
            self.design.X.refuse()
        design = replace(self.design, y=new_response(self.design, y))
        old = self.model
        began = perf_counter()
        with telling_why(design):
            model = old.with_response(_net_response(design), *row_arguments(design))
        problem = Problem(design, n_threads=self.n_threads, model=model)
        problem.seconds["products"] = perf_counter() - began
        problem.identification = self.identification  # no response has part in it
        return problem

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "products": None, "_has_room": False}


def _unanswerable() -> memory_told:
    """What the engine cannot compute at an estimate has no inference."""
    return memory_told("Inference for this fit", _no_inference)


def _no_inference(error: ValueError) -> InferenceError:
    return InferenceError(f"This fit allows no inference: {error}. Use fewer effects.")


def telling_why(design: Design) -> memory_told:
    """Products that the engine cannot form are an error of ours, with what may be the reason."""

    def not_formed(error: ValueError) -> FitError:
        suspects = [finding.message for finding in design.findings if finding.kind == "numbers_among_labels"]
        remedy = " ".join(suspects) or f"Remove the columns that determine {design.response_name}."
        return FitError(f"{design.formula.text!r} cannot be fitted to these data: {error}. {remedy}")

    return memory_told("A fit", not_formed)


def _form_products(design: Design, n_threads: int) -> Model:
    X, weights, codes, Z = row_arguments(design)
    absorbed = () if design.absorbed is None else design.absorbed.factors
    return Model(
        _net_response(design),
        X,
        weights,
        codes,
        [factor.n_levels for factor in design.factors] + [factor.n_levels for factor in absorbed],
        Z,
        [factor.block_sizes for factor in design.factors] + [()] * len(absorbed),
        n_threads,
        relations=[_relation(factor) for factor in design.factors] if design.is_related else None,
    )


def _relation(factor: RandomFactor) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats, float] | None:
    known = factor.relationship
    return None if known is None else (known.starts, known.rows, known.values, known.log_det)


def row_arguments(
    design: Design,
) -> tuple[Floats, Floats | None, list[npt.NDArray[np.int32]], list[Floats | None]]:
    codes, Z = [f.codes for f in design.factors], [f.Z for f in design.factors]
    if design.absorbed is None:
        return design.X, design.weights, codes, Z
    codes.extend(factor.codes for factor in design.absorbed.factors)
    return design.absorbed_columns.X, design.weights, codes, [*Z, *design.absorbed.columns]


def net_responses(design: Design, Y: Floats) -> Floats:
    """Return responses, (m, n_obs), as the engine takes them: without the offset and what absorbed levels explain."""
    net = Y if design.offset is None else Y - design.offset
    if design.absorbed is None:
        return net
    return np.ascontiguousarray(design.absorbed.residual(net.T)[0].T)


def _net_response(design: Design) -> Floats:
    y: Floats = net_responses(design, design.y[None])[0]
    return y


def _less_offset(design: Design) -> Floats:
    return design.y if design.offset is None else design.y - design.offset


def new_response(design: Design, y: npt.ArrayLike) -> Floats:
    """Return another response of the rows used, (n_obs,), given for these or for all rows of the data.

    Raises
    ------
    DataError
        If y is not numeric, has another length or order, or holds missing or infinite values.
    """
    try:
        values = np.array(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"The new response of {design.response_name} is not numeric: {error}.") from error
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    rows = design.rows if values.shape == (design.n_rows,) else None
    values = values if rows is None else values[rows]
    if values.shape != (design.n_obs,):
        raise DataError(
            f"The new response has shape {values.shape}; the model was fitted to {design.n_obs} of {design.n_rows} "
            "rows. Pass one value for each, of one response."
        )
    check_order("y", y, design.row_labels, rows)
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        raise DataError(f"The new response must be finite; element {first}, counted from 0, is {values[first]}.")
    return values
