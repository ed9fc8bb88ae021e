"""What the three types of tests say about a term: contrasts that do not depend on the coding.

The fixed part is R, one column for every level, of less than full rank. X_t, its treatment columns (the first level of
a factor is the reference), has the coefficients beta_t, X_t beta_t = X beta. A combination of them is a combination of
R's coefficients, E = X_t^+ R, and types are defined there, so a change of the coding changes nothing. Cross-products
count rows without weights (Goodnight 1980, SAS Technical Report R-101; lmerTest does the same).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.absorbed import absorb_columns
from mixedmodels.design.fixed_terms import FixedTerm, term_matrix
from mixedmodels.errors import InferenceError
from mixedmodels.inference.approximation import DEPENDENT_ROW_TOL, independent_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit

    Positions = npt.NDArray[np.intp]


TOLERANCES = (DEPENDENT_ROW_TOL, 1e-10, 1e-12)
"""What may count as dependent. A product with a far covariate is nearly one with the constant; the rank is known."""


@dataclass(frozen=True)
class TermContrasts:
    """The hypotheses of a fit's terms.

    Attributes
    ----------
    terms
        Terms in the order of the formula.
    full
        R in an orthonormal basis of the rows, (m, n_columns); products of columns are those of R.
    treatment
        Columns of R that make X_t, (n_fixed,).
    term
        Term of each column of X_t, (n_fixed,), -1 for the intercept.
    to_treatment
        M with beta_t = M beta, (n_fixed, n_fixed).
    all_terms
        Term of each column of R, (n_columns,), -1 for the intercept.
    columns
        X in the basis of ``full``, (m, n_fixed).
    """

    terms: tuple[FixedTerm, ...]
    full: Floats
    treatment: Positions
    term: Positions
    to_treatment: Floats
    all_terms: Positions
    columns: Floats

    @classmethod
    def of(cls, state: FixedFit) -> TermContrasts:
        """Return the hypotheses of a fit.

        Raises
        ------
        InferenceError
            If columns are so nearly collinear that it is not clear which terms they leave estimable.
        """
        R, absorbed = term_matrix(state.design), state.design.absorbed
        if absorbed is None:
            columns = np.hstack([R.matrix, state.design.moment_rows[:, list(state.kept)]])
        else:  # no type of test weighs rows
            columns = np.hstack([R.matrix, state.design.X[:, list(state.kept)]])
            columns = absorb_columns(replace(absorbed, weights=None), columns).X
        triangle = _triangle(_centred(columns) if absorbed is None and (R.term == -1).any() else columns)
        full, X = triangle[:, : R.matrix.shape[1]], triangle[:, R.matrix.shape[1] :]
        # Within a term from the last level to the first, which so becomes the reference.
        order = np.lexsort((-np.arange(len(R.term)), R.term))
        treatment = np.sort(order[_independent(full.T[order], state.n_fixed)])
        to_treatment = _coefficients(full[:, treatment], X)
        return cls(R.terms, full, treatment, R.term[treatment], to_treatment, R.term, X)

    def hypothesis(self, k: int, type_: int) -> Floats:
        """Return the rows of L of the k-th term, (n_rows, n_fixed), as many as it has estimable coefficients.

        Parameters
        ----------
        k
            Position of the term.
        type_
            1: after the terms before it; 2: after all terms that do not contain it; 3: after all other terms, averaged
            over the levels of those that contain it.
        """
        if type_ == 1 or len(self.terms) == 1:
            rows = self._sequential(np.arange(len(self.treatment)), k)
        elif type_ == 2 and self._containing(k).any():
            rows = self._sequential(np.argsort(self._place_of_type_2(k), kind="stable"), k)
        else:
            rows = self._averaged(k)
        return np.asarray(rows @ self.to_treatment)

    def can_go(self, k: int) -> bool:
        """Return True if no other term has all variables of the k-th: without it the model is that of a formula."""
        own = self.terms[k].variables
        return not any(own < other.variables for other in self.terms)

    def last(self, k: int) -> Floats:
        """Return the rows of L of the k-th term after all others, (n_rows, n_fixed).

        The other terms keep every column of theirs, also those that depend on the term in the formula's order.
        """
        own = self.all_terms == k
        # The term's own from the last level to the first, as in ``of``: degrees of freedom depend on the reference.
        order = np.concatenate([np.flatnonzero(~own), np.flatnonzero(own)[::-1]])
        chosen = order[_independent(self.full.T[order], len(self.treatment))]
        kept = own[chosen]
        return np.asarray(_coefficients(self.full[:, chosen], self.columns)[kept])

    def without(self, k: int) -> Positions:
        """Return columns of R that make the model without the k-th term, as many as are independent."""
        others = np.flatnonzero(self.all_terms != k)
        n_left = len(self.treatment) - len(self.last(k))
        return others[_independent(self.full.T[others], n_left)]

    def _containing(self, k: int) -> npt.NDArray[np.bool_]:
        """Which columns of X_t belong to terms that contain the k-th."""
        contains = [self.terms[k].is_contained_in(other) for other in self.terms]
        return np.array([j >= 0 and contains[j] for j in self.term], dtype=bool)

    def _place_of_type_2(self, k: int) -> Positions:
        """0 for columns of unrelated terms, 1 for the term's own, 2 for those of terms that contain it."""
        return np.where(self.term == k, 1, np.where(self._containing(k), 2, 0))

    def _sequential(self, order: Positions, k: int) -> Floats:
        """Return the rows of the k-th term in Doolittle's factor of X_t'X_t with the columns in some order."""
        triangle = _triangle(self.full[:, self.treatment[order]])
        own = self.term[order] == k
        rows = np.empty((own.sum(), len(order)))
        rows[:, order] = triangle[own] / np.diag(triangle)[own, None]
        return rows

    def _averaged(self, k: int) -> Floats:
        """Return the term's coefficients less their projection on those of the terms that contain it."""
        own, above = self.term == k, self._containing(k)
        rows: Floats = np.eye(len(self.term))[own]
        if above.any():
            rows[:, above] = -np.linalg.lstsq(self._estimable[above].T, self._estimable[own].T, rcond=None)[0].T
        return rows

    @cached_property
    def _estimable(self) -> Floats:
        """E, (n_fixed, n_columns): each coefficient of X_t as a combination of those of R."""
        return _coefficients(self.full[:, self.treatment], self.full)


def _independent(rows: Floats, n: int) -> list[int]:
    """Return the positions of the rows that do not depend on rows before them, which are n.

    Raises
    ------
    InferenceError
        If they are never n, whatever counts as dependent.
    """
    for tolerance in TOLERANCES:
        kept = independent_rows(rows, tolerance)
        if len(kept) == n:
            return kept
    raise InferenceError(
        "The fixed-effect columns are so nearly collinear that terms cannot be told apart. "
        "Centre or rescale the columns that differ most in size from their spread."
    )


def _coefficients(columns: Floats, of: Floats) -> Floats:
    """Return B with ``columns`` B = ``of``, whatever the units of the columns."""
    size = np.linalg.norm(columns, axis=0)
    return np.asarray(np.linalg.lstsq(columns / size, of, rcond=None)[0] / size[:, None], np.float64)


def _centred(columns: Floats) -> Floats:
    """Return the columns less their means where they vary, which the intercept makes up for; no test is about it."""
    return columns - np.where(np.ptp(columns, axis=0) > 0, columns.mean(axis=0), 0.0)


def _triangle(matrix: Floats) -> Floats:
    """Return the triangular factor of QR, which has the cross-products of the matrix."""
    return np.asarray(np.linalg.qr(matrix, mode="r"), np.float64)
