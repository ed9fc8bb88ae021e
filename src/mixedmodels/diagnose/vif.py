"""Variance inflation of the fixed effects: what other terms cost a term, whatever the coding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.design.expression import columns_in
from mixedmodels.design.fixed_terms import FixedTerm, TermMatrix, can_tell_terms, columns_by_term, term_matrix
from mixedmodels.errors import DataError, InferenceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit

NEGLIGIBLE = 1e-9
"""Share of a direction's length below which it is rounding: an aliased one, or no constant among the columns."""


def vif(state: FixedFit) -> pd.DataFrame:
    """Return the generalised variance-inflation factor of each fixed term but the intercept (Fox and Monette 1992).

    It compares the variance of the estimates of a term with what it would be if all other terms were uncorrelated with
    it: prod 1 / (1 - rho^2) over the canonical correlations rho of the term with the others, in the inverse of the
    covariance of the fixed effects. As in tests of type 2, a term is judged after those that it contains, such as main
    effects of an interaction, and without those that contain it: so neither the coding of categories nor the origin of
    covariates matters. Functions of one column belong together: the later ones contain the earlier, as ``I(x**2)``
    contains ``x``. Without interactions this is the factor of Fox and Monette.

    Returns
    -------
    pandas.DataFrame
        ``df, gvif, gvif_scaled`` by term; the last is gvif^(1 / (2 df)), comparable between terms. Terms of which the
        others leave nothing to estimate have no row.

    Raises
    ------
    InferenceError
        If there are fewer than two terms beside the intercept.
    """
    refuse_absorbed(state.design.absorbed, "vif()")
    names = estimated_terms(state)
    if len(names) < 2:
        raise InferenceError("Variance inflation compares at least two terms beside the intercept; this fit has fewer.")
    terms = _terms(state.design)
    columns = dict(zip((term.name for term in terms.terms), _columns_by_term(state, terms), strict=True))
    known = [term for term in terms.terms if term.name in names]
    contained = _containment(known, state.design)
    rows = {}
    for k, term in enumerate(known):
        below = [columns[each.name] for j, each in enumerate(known) if contained[j, k]]
        beside = [
            columns[each.name] for j, each in enumerate(known) if j != k and not contained[j, k] | contained[k, j]
        ]
        sines = _sines(columns[term.name], below, beside)
        if len(sines):
            log_gvif = float(-2 * np.log(sines).sum())
            rows[term.name] = (len(sines), np.exp(log_gvif), np.exp(log_gvif / (2 * len(sines))))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["df", "gvif", "gvif_scaled"]).rename_axis("term")


def estimated_terms(state: FixedFit) -> dict[str, list[int]]:
    """Return the positions of each term's coefficients among the fixed effects, the intercept not among them."""
    place = {column: i for i, column in enumerate(state.kept)}
    by_term = columns_by_term(state.design).items()
    return {term: own for term, columns in by_term if (own := [place[j] for j in columns if j in place])}


def _terms(design: Design) -> TermMatrix:
    """Return the fixed part by terms; the columns as they are coded where the data for others are not held."""
    if can_tell_terms(design):
        return term_matrix(design)
    by_term = columns_by_term(design)
    term = np.full(len(design.x_names), -1)
    for k, places in enumerate(by_term.values()):
        term[places] = k
    return TermMatrix(
        design.X, tuple(FixedTerm(name, frozenset(name.split(":")), frozenset()) for name in by_term), term
    )


def _columns_by_term(state: FixedFit, terms: TermMatrix) -> list[Floats]:
    """Return the columns of each term, of length one, where the products of fitted values are those of X'V^-1X.

    The constant is taken out of all of them where the model has it.
    """
    X = state.fixed_root.coordinates(state.design.X[:, list(state.kept)])
    Q, R = np.linalg.qr(X)
    ones = np.ones(len(X))
    constant = np.linalg.solve(R, Q.T @ ones)
    # Coordinates of X beta, or of what X beta is but for a constant, and their covariance.
    to_coordinates, columns = np.eye(len(R)), terms.matrix
    if np.linalg.norm(X @ constant - ones) < NEGLIGIBLE * np.sqrt(len(X)):
        pivot = int(np.abs(constant).argmax())
        to_coordinates -= np.outer(constant / constant[pivot], np.eye(len(R))[pivot])
        to_coordinates = np.delete(to_coordinates, pivot, axis=0)
        columns = columns - columns.mean(axis=0)
    root = to_coordinates @ state.fixed_root.root
    covariance = root @ root.T
    sd = np.sqrt(np.diag(covariance))
    variances, axes = np.linalg.eigh(covariance / np.outer(sd, sd))
    variances = np.maximum(variances, np.finfo(float).eps * variances.max())
    whiten = (axes / np.sqrt(variances)).T / sd
    whitened = whiten @ to_coordinates @ np.linalg.solve(R, Q.T @ columns)
    if len(whiten) < len(R):
        whitened[:, np.ptp(terms.matrix, axis=0) == 0] = 0.0  # what is left of a constant is rounding
    length = np.linalg.norm(whitened, axis=0)
    whitened /= np.where(length > 0, length, 1.0)
    return [whitened[:, terms.term == k] for k in range(len(terms.terms))]


def _containment(terms: Sequence[FixedTerm], design: Design) -> npt.NDArray[np.bool_]:
    """Return which terms are contained in which others, (n_terms, n_terms)."""
    factors = [list(term.numeric | term.categorical) for term in terms]
    first: dict[str, int] = {}
    for k, own in enumerate(factors):
        for factor in own:
            first.setdefault(factor, k)
    data_columns = {factor: _data_columns(factor, design) for factor in first}

    def covers(one: str, other: str) -> bool:
        same = len(data_columns[one]) == 1 and data_columns[one] == data_columns[other]
        return one == other or (same and first[other] < first[one])

    contained = np.array([[all(any(covers(g, f) for g in big) for f in small) for big in factors] for small in factors])
    return contained & ~np.eye(len(terms), dtype=bool)


def _data_columns(factor: str, design: Design) -> tuple[str, ...]:
    """Return the columns of the data that a factor is made from; none where they are not held."""
    try:
        return columns_in(factor, design.recipe.fixed.columns)
    except (DataError, SyntaxError):
        return ()


def _sines(own: Floats, below: Sequence[Floats], beside: Sequence[Floats]) -> Floats:
    """Return the sines between a term and others, after those below it, of the directions that can be estimated."""
    lower = _basis(below, own)
    after = [columns - lower @ (lower.T @ columns) for columns in (own, *beside)]
    term, others = _basis(after[:1], own), _basis(after[1:], own)
    sines = np.linalg.svd(term - others @ (others.T @ term), compute_uv=False)
    return np.asarray(sines[sines > NEGLIGIBLE])


def _basis(columns: Sequence[Floats], like: Floats) -> Floats:
    """Return an orthonormal basis of columns, with as many rows as others have."""
    u, s, _ = np.linalg.svd(np.hstack([like[:, :0], *columns]), full_matrices=False)
    return np.asarray(u[:, s > NEGLIGIBLE])
