"""Degrees of freedom by name: the one place that every test of fixed effects goes through.

For a fit ``state`` and combinations of its fixed effects, the rows of L, (n_rows, n_fixed), columns as
``state.fixed_names``:

``estimate_rows(state, L, ddf)``
    estimate, standard error and degrees of freedom of each row, as ``RowEstimates``.
``joint_test(state, L, ddf, rhs=None)``
    F of all rows together with numerator and denominator degrees of freedom, as ``FTest`` (``.p_value``); the rows may
    depend on each other linearly.
``approximation(state, ddf)``
    The method itself: ``.covariance`` (n_fixed, n_fixed), ``.notes`` for the reader, ``.row_df(L)``, ``.f_test(...)``.

``ddf`` is one of ``DDF_METHODS``, ``"robust"`` (``"CR2"``) or another kind of cluster-robust covariance by name, or any
``Approximation``, such as ``robust.robust_covariance`` returns for other clusters. What is costly is kept on ``state``
and computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.correlated_fit import CorrelatedState, weighted_residual
from mixedmodels.fit.fitted import marginal_fitted
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.fit.structured_fit import StructuredState
from mixedmodels.inference.approximation import (
    Approximation,
    FTest,
    RowEstimates,
    independent_rows,
    rows_covariance,
    rows_variance,
    wald_f,
)
from mixedmodels.inference.criteria import residual_df
from mixedmodels.inference.kenward_roger import KenwardRoger
from mixedmodels.inference.marginal_degrees import VARIANTS, MarginalKenwardRoger, MarginalSatterthwaite
from mixedmodels.inference.robust import KINDS as ROBUST_KINDS
from mixedmodels.inference.robust import robust_covariance
from mixedmodels.inference.satterthwaite import Satterthwaite
from mixedmodels.inference.structured_degrees import StructuredKenwardRoger, StructuredSatterthwaite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit, HoldsFixed

__all__ = [
    "DDF_METHODS",
    "DDF_NAMES",
    "Approximation",
    "FTest",
    "FixedDegrees",
    "RowEstimates",
    "approximation",
    "estimate_rows",
    "joint_test",
]


CONTRADICTION_TOL = 1e-6
"""Difference of right-hand sides, in standard errors, from which dependent rows contradict each other."""


@dataclass(frozen=True)
class FixedDegrees:
    """A covariance of beta with the same degrees of freedom for every test.

    Parameters
    ----------
    state
        The fit.
    whitened_covariance
        That of the coordinates of ``state.fixed_root.whiten``, (n_fixed, n_fixed): sigma^2 I if it is plain.
    df
        Degrees of freedom; infinite for the normal distribution.
    notes
        Sentences for the reader.
    """

    state: FixedFit
    whitened_covariance: Floats
    df: float
    notes: tuple[str, ...]

    @property
    def covariance(self) -> Floats:
        """Covariance of beta, (n_fixed, n_fixed)."""
        return rows_covariance(self, np.eye(self.state.n_fixed))

    def row_df(self, L: Floats) -> Floats:
        """Return the degrees of freedom of each row of L, (n_rows,)."""
        return np.full(len(L), self.df)

    def f_test(self, L: Floats, difference: Floats) -> FTest:
        """Return Wald's F of the rows of L; with infinite degrees of freedom a chi-squared over its own."""
        return FTest(wald_f(self, L, difference), len(L), self.df)


def _residual(state: FixedFit) -> FixedDegrees:
    note = "Tests and intervals use Student's t with the residual degrees of freedom."
    return FixedDegrees(state, _plain(state), float(residual_df(state)), (note,))


def _normal(state: FixedFit) -> FixedDegrees:
    return FixedDegrees(state, _plain(state), math.inf, ("Tests and intervals use the normal distribution.",))


def _plain(state: FixedFit) -> Floats:
    return state.sigma**2 * np.eye(state.n_fixed)


def _knapp_hartung(state: CorrelatedState) -> FixedDegrees:
    """Return the covariance times r'V^-1 r / (n - p), with n - p degrees of freedom (Knapp and Hartung 2003)."""
    residual, df = state.design.y - marginal_fitted(state), float(residual_df(state))
    spread = float(residual @ weighted_residual(state, residual)) / df
    note = "Standard errors are Knapp and Hartung's; tests and intervals use Student's t with n - p degrees of freedom."
    return FixedDegrees(state, spread * _plain(state), df, (note,))


_BY_NAME: Mapping[str, Callable[[Any], Approximation]] = MappingProxyType(
    {
        "satterthwaite": Satterthwaite,
        "kenward-roger": KenwardRoger,
        "residual": _residual,
        "normal": _normal,
    }
)

_OF_STRUCTURES: Mapping[str, Callable[[Any], Approximation]] = MappingProxyType(
    {**_BY_NAME, "satterthwaite": StructuredSatterthwaite, "kenward-roger": StructuredKenwardRoger}
)
"""The same for structured covariances of random effects."""

_OF_RESIDUALS: Mapping[str, Callable[[Any], Approximation]] = MappingProxyType(
    {
        "satterthwaite": MarginalSatterthwaite,
        **{name: partial(MarginalKenwardRoger, variant=name) for name in VARIANTS},
        "residual": _residual,
        "normal": _normal,
    }
)
"""The same for residuals that are correlated within subjects."""

SAS = "kenward-roger-sas"

KNAPP_HARTUNG = "knapp-hartung"
"""For fits with a known residual standard deviation."""

DDF_METHODS = tuple(_BY_NAME)
"""Names of the methods, the default first."""

MARGINAL_NAMES = (*_OF_RESIDUALS, "robust", *ROBUST_KINDS)
"""The same where residuals are correlated within subjects."""

DDF_NAMES = (*DDF_METHODS, "robust", *ROBUST_KINDS)
"""Everything that ``ddf`` can be called, cluster-robust covariances included."""


def approximation(state: FixedFit, ddf: str | Approximation = "satterthwaite") -> Approximation:
    """Return the covariance and degrees of freedom of a fit's fixed effects by a named method.

    Parameters
    ----------
    state
        The fit.
    ddf
        ``"satterthwaite"``; ``"kenward-roger"`` (REML only), which also widens the standard errors; ``"residual"``:
        n - p for every test; ``"normal"``: infinite, right for many groups; ``"robust"`` or ``"CR0"`` to ``"CR3"``:
        cluster-robust, by the coarsest grouping factor or by subject. With correlated residuals also
        ``"kenward-roger-linear"`` and ``"kenward-roger-sas"``; with a
        known sigma ``"knapp-hartung"``. An ``Approximation`` is returned as it is.

    Raises
    ------
    InferenceError
        If there is no such method, or if it does not apply to this fit.
    """
    if not state.has_residual and isinstance(ddf, str):
        return _of_generalized(state, ddf)
    methods = _OF_RESIDUALS if isinstance(state, MarginalState) else _BY_NAME
    name = ddf if isinstance(ddf, str) else None
    if name == SAS and isinstance(state, CorrelatedState):
        raise InferenceError(
            f"ddf={SAS!r} is for structures alone, without random effects, variance functions and times of each "
            "subject's own, for which SAS's parameters are not known here. Use 'kenward-roger', which depends on none."
        )
    if isinstance(state, StructuredState):
        methods = _OF_STRUCTURES
    if name == KNAPP_HARTUNG and isinstance(state, CorrelatedState) and state.problem.known_sigma is not None:
        return _knapp_hartung(state)
    if isinstance(ddf, str) and ddf in methods:
        return methods[ddf](state)
    if isinstance(ddf, str) and ddf in ("robust", *ROBUST_KINDS):
        return robust_covariance(state, "CR2" if ddf == "robust" else ddf)
    if not isinstance(ddf, str) and hasattr(ddf, "row_df"):
        if ddf.state is not state:
            raise InferenceError("ddf is a covariance of another fit; ask this one, such as fit.cov_fe_robust().")
        return ddf
    names = (*methods, "robust", *ROBUST_KINDS)
    allowed = ", ".join(f'"{name}"' for name in names)
    near = nearest({"kr": "kenward-roger"}.get(str(ddf).casefold(), str(ddf)), names)
    raise InferenceError(f"ddf={ddf!r} is not available; it must be one of {allowed}.{near}")


WALD_NOTE = "Tests and intervals are Wald's, from the Hessian of the approximate likelihood."


def wald_tests(state: FixedFit) -> FixedDegrees:
    """Return how the fixed effects of a generalised model are distributed: normal."""
    return FixedDegrees(state, np.eye(state.n_fixed), math.inf, (WALD_NOTE,))


def _of_generalized(state: FixedFit, ddf: str) -> FixedDegrees:
    if ddf != "normal":
        raise InferenceError(
            f"ddf={ddf!r} is not available for {state.design.formula.text!r}: tests of generalised models are normal. "
            'Leave ddf out, or write "normal".'
        )
    return wald_tests(state)


def tests_of(fits: Sequence[HoldsFixed], ddf: str | Approximation | None) -> list[Approximation]:
    """Return how the fixed effects of each of several fits are tested.

    Parameters
    ----------
    fits
        The fits.
    ddf
        As for `approximation`; None for what each fit takes by itself. Where some fits have residuals, the others have
        their own.

    Raises
    ------
    InferenceError
        As for `approximation`.
    """
    some = any(fit.state.has_residual for fit in fits)
    return [
        approximation(fit.state, fit.ddf if ddf is None or (some and not fit.state.has_residual) else ddf)
        for fit in fits
    ]


def estimate_rows(state: FixedFit, L: Floats, ddf: str | Approximation = "satterthwaite") -> RowEstimates:
    """Return estimate, standard error and degrees of freedom of each row of L.

    Parameters
    ----------
    state
        The fit.
    L
        Combinations of the fixed effects, (n_rows, n_fixed).
    ddf
        As for `approximation`.

    Raises
    ------
    InferenceError
        As for `approximation`.
    """
    method = approximation(state, ddf)
    variance = rows_variance(method, L)
    variance[variance < 0] = np.nan  # Kenward and Roger's, of hardly any data
    variance[state.undetermined_rows(L)] = np.nan
    df = np.where(np.isnan(variance), np.nan, method.row_df(L))
    return RowEstimates(L @ state.beta, np.sqrt(variance), df)


def joint_test(
    state: FixedFit, L: Floats, ddf: str | Approximation = "satterthwaite", rhs: Floats | None = None
) -> FTest:
    """Return the F test of L beta = rhs with its degrees of freedom.

    Parameters
    ----------
    state
        The fit.
    L
        Combinations of the fixed effects, (n_rows, n_fixed). Rows that depend on rows before them are left out.
    ddf
        As for `approximation`.
    rhs
        Values under the hypothesis, (n_rows,); zeros if None.

    Raises
    ------
    InferenceError
        As for `approximation`, if L has no row that is not zero, or if rows contradict each other.
    """
    scaled = L * np.sqrt(np.diag(state.cov_beta))
    kept = independent_rows(scaled)
    if not kept and state.undetermined_rows(L).any():
        return FTest(np.nan, int(np.linalg.matrix_rank(L)), np.nan)
    if not kept:
        raise InferenceError("There is nothing to test: every combination of the fixed effects is zero.")
    difference = L @ state.beta - (0.0 if rhs is None else rhs)
    combined = np.linalg.lstsq(scaled[kept].T, scaled.T, rcond=None)[0].T @ difference[kept]
    if np.any(np.abs(combined - difference) > CONTRADICTION_TOL * np.linalg.norm(scaled, axis=1)):
        raise InferenceError(
            "The hypotheses contradict each other: a row is a combination of others, but its right-hand side is not. "
            "Correct the right-hand side or leave the row out."
        )
    if state.undetermined_rows(L[kept]).any():
        return FTest(np.nan, len(kept), np.nan)
    return approximation(state, ddf).f_test(L[kept], difference[kept])
