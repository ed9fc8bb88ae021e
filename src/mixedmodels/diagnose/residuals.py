"""Residuals of the rows that were used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.linalg import solve_triangular
from scipy.sparse.csgraph import connected_components

from mixedmodels.design.related import refuse_related
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.inference.covariances import factor_roots

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState

LARGEST_BLOCK = 5000
"""Rows of connected levels whose covariance is factored as one dense matrix."""

KINDS = ("conditional", "marginal", "pearson", "standardized", "cholesky")


def residuals(state: FitState, kind: str = "conditional") -> Floats:
    """Return residuals, shape (n_obs,).

    Parameters
    ----------
    state
        The fit.
    kind
        ``"conditional"``: y - X beta - Z b - offset, in units of the response; ``"marginal"``: without Z b;
        ``"pearson"``: conditional times sqrt(weight), all with standard deviation sigma, in units of the response
        (lme4's scale); ``"standardized"``: pearson over sigma, without units; ``"cholesky"``: L^-1 of the marginal ones
        with V = L L', uncorrelated and with variance one but for the estimation of beta, without units (Houseman, Ryan
        and Coull 2004). Rows depend on those before them; blocks of connected levels are factored, so that one
        connected design of many thousand rows is refused.

    Raises
    ------
    InferenceError
        If there is no such kind.
    """
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise InferenceError(f"There are no {kind!r} residuals; there are {known}.{nearest(str(kind), KINDS)}")
    if kind == "marginal":
        return state.design.y - marginal_fitted(state)
    if kind == "cholesky":
        refuse_related(state.design, "residuals('cholesky')")
        return whitened(state, state.design.y - marginal_fitted(state))
    resid = state.design.y - conditional_fitted(state)
    if kind != "conditional" and state.design.weights is not None:
        resid *= np.sqrt(state.design.weights)
    return resid / state.sigma if kind == "standardized" else resid


def whitened(state: FitState, marginal: Floats) -> Floats:
    """Return L^-1 r for r = y - X beta, V = L L', (n_obs,).

    Raises
    ------
    InferenceError
        If more rows are connected by their levels than can be factored together.
    """
    design = state.design
    n = design.n_obs
    nodes = np.cumsum([0, *(f.n_levels for f in design.factors)])
    edges = [(nodes[0] + design.factors[0].codes, nodes[k] + f.codes) for k, f in enumerate(design.factors)]
    heads, tails = (np.concatenate(side) for side in zip(*edges, strict=True))
    graph = sparse.coo_matrix((np.ones(len(heads)), (heads, tails)), shape=(nodes[-1], nodes[-1]))
    component = connected_components(graph, directed=False)[1][design.factors[0].codes]
    order = np.argsort(component, kind="stable")
    ends = np.flatnonzero(np.diff(component[order], append=-1)) + 1
    out, start = np.empty(n), 0
    roots = factor_roots(state)
    for end in ends:
        rows = order[start:end]
        if len(rows) > LARGEST_BLOCK:
            raise InferenceError(
                f"Cholesky residuals factor the covariance of all rows that levels connect, here {len(rows)}; at most "
                f"{LARGEST_BLOCK} can be. Use simulated_residuals() instead."
            )
        V = np.diag(
            np.full(len(rows), state.sigma**2) if design.weights is None else state.sigma**2 / design.weights[rows]
        )
        for factor, root in zip(design.factors, roots, strict=True):
            Z = np.ones((len(rows), 1)) if factor.Z is None else factor.Z[rows]
            codes = factor.codes[rows]
            spread = Z @ root
            V += (codes[:, None] == codes[None, :]) * (spread @ spread.T)
        out[rows] = solve_triangular(np.linalg.cholesky(V), marginal[rows], lower=True)
        start = int(end)
    return out
