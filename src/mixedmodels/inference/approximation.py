"""What a method for small samples must offer, and what tests of the fixed effects come out as."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import special
from scipy.linalg import solve_triangular

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit

DEPENDENT_ROW_TOL = 1e-8
"""Length of a row outside the span of the rows before it, relative to its own, that counts as zero."""


@dataclass(frozen=True)
class RowEstimates:
    """Linear combinations of the fixed effects, one a row of L.

    Attributes
    ----------
    estimate, std_error, df
        (n_rows,): L beta, its standard error in the same units, and its degrees of freedom (infinite: normal).
    """

    estimate: Floats
    std_error: Floats
    df: Floats


@dataclass(frozen=True)
class FTest:
    """A test that several linear combinations of the fixed effects have given values at the same time.

    Attributes
    ----------
    f_value
        The statistic, ``scale`` times Wald's F.
    num_df, den_df
        Independent combinations, and denominator degrees of freedom (infinite: chi-squared over ``num_df``).
    scale
        What the method multiplies F by.
    """

    f_value: float
    num_df: int
    den_df: float
    scale: float = 1.0

    @property
    def p_value(self) -> float:
        """Probability of a larger F under the hypothesis, from the survival side."""
        if math.isinf(self.den_df):
            return float(special.chdtrc(self.num_df, self.num_df * self.f_value))
        return float(special.fdtrc(self.num_df, self.den_df, self.f_value))


class Approximation(Protocol):
    """How the fixed effects of one fit are distributed: a covariance, and degrees of freedom.

    A row of L is a linear combination of the fixed effects that were estimated, (n_rows, n_fixed), user's units.
    """

    @property
    def state(self) -> FixedFit:
        """The fit."""

    @property
    def covariance(self) -> Floats:
        """Covariance of beta, (n_fixed, n_fixed)."""

    @property
    def whitened_covariance(self) -> Floats:
        """A with l'A m the covariance of two combinations in the coordinates of ``state.fixed_root.whiten``."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the reader of a table: first the method, then what makes one doubt it for this fit."""

    def row_df(self, L: Floats) -> Floats:
        """Return the degrees of freedom of each row of L, (n_rows,)."""

    def f_test(self, L: Floats, difference: Floats) -> FTest:
        """Return the joint test of the rows of L, whose estimates miss the hypothesis by ``difference`` (n_rows,).

        The rows are linearly independent.
        """


def doubts(method: Approximation) -> tuple[str, ...]:
    """Return what is to be known of a method for this fit, for tables whose columns tell the method."""
    return method.notes[1:]


def rows_covariance(method: Approximation, L: Floats) -> Floats:
    """Return the covariance of the combinations of the fixed effects that are the rows of L, (n_rows, n_rows)."""
    rows = method.state.fixed_root.whiten(L)
    covariance = rows @ method.whitened_covariance @ rows.T
    return np.asarray((covariance + covariance.T) / 2)


def rows_variance(method: Approximation, L: Floats) -> Floats:
    """Return the variance of each row of L, (n_rows,)."""
    rows = method.state.fixed_root.whiten(L)
    return np.asarray(np.sum((rows @ method.whitened_covariance) * rows, axis=1))


def wald_f(method: Approximation, L: Floats, difference: Floats) -> float:
    """Return d' cov(L beta^)^-1 d / q for the q independent rows of L.

    With whitened rows R'Q' it is z' (Q'AQ)^-1 z / q, R'z = d, whatever the units of the rows and however alike they
    are.
    """
    Q, R = np.linalg.qr(method.state.fixed_root.whiten(L).T)
    z = solve_triangular(R, difference, trans=1)
    return float(z @ np.linalg.solve(Q.T @ method.whitened_covariance @ Q, z)) / len(L)


def independent_rows(L: Floats, tolerance: float = DEPENDENT_ROW_TOL) -> list[int]:
    """Return the positions of the rows that are not combinations of rows before them.

    Parameters
    ----------
    L
        (n_rows, n), in coordinates whose units are alike.
    tolerance
        Length of a row outside the span of those before it, relative to its own, that counts as zero.
    """
    kept: list[int] = []
    basis = np.empty((0, L.shape[1]))
    for i, row in enumerate(L):
        length = np.linalg.norm(row)
        rest = row
        for _ in range(2):  # twice, so that rounding of the first pass is projected out too
            rest = rest - (rest @ basis.T) @ basis
        remaining = np.linalg.norm(rest)
        if remaining > tolerance * length:
            kept.append(i)
            basis = np.vstack([basis, rest / remaining])
    return kept
