"""Where the variance of the response comes from: the fixed part, each random term or grouping factor, the residual.

A random term has the variance mean_i z_i' Sigma z_i over the rows (Johnson 2014), as in ``r2``. With one grouping
factor all but the residual is parted further (Rights and Sterba 2019): the fixed part into what varies within and
between the levels, each random term into the variance of its level means, mean_i |S' zbar_i|^2 with Sigma = S S', and
of the rest, which for covariates centred within levels is that of the slopes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.fitted import marginal_fitted
from mixedmodels.inference.covariances import factor_roots
from mixedmodels.inference.r2 import variance_parts
from mixedmodels.inference.random_reductions import term_text

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Codes, Floats
    from mixedmodels.fit.records import FitState

ROUNDING = 1e-12
"""Share of a sum of squares that counts as none."""
BY = ("term", "factor", "level")


def variance_shares(state: FitState, by: str = "term") -> pd.DataFrame:
    """Return the variance of each part of the model, and its share of the whole.

    Parameters
    ----------
    state
        The fit.
    by
        ``"term"``: each random term; ``"factor"``: each grouping factor; ``"level"``: within and between the levels of
        the one grouping factor.

    Returns
    -------
    pandas.DataFrame
        ``variance``, ``share`` of the whole and, for random terms and factors, ``icc``: the share of what the fixed
        part leaves. By level ``share_within`` and ``share_between`` instead of it: of what varies within the levels,
        and between them.

    Raises
    ------
    InferenceError
        If ``by`` is not allowed, or there are several grouping factors to be within and between.
    """
    if not isinstance(by, str) or by not in BY:
        raise InferenceError(f"by is {by!r}; it must be 'term', 'factor' or 'level'.{nearest(str(by), BY)}")
    if by == "level":
        return _by_level(state)
    fixed, factors, residual = variance_parts(state)
    random = factors
    if by == "term":
        random = {label: float(np.einsum("ij,ij->", U, U) / len(U)) for label, U in _effects(state)}
    left = sum(random.values()) + residual
    rows = {"fixed": (fixed, np.nan), **{name: (value, value / left) for name, value in random.items()}}
    rows["residual"] = (residual, np.nan)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["variance", "icc"]).rename_axis("part")
    table.insert(1, "share", table["variance"] / (fixed + left))
    table.attrs["notes"] = _notes(state.design)
    return table


def _by_level(state: FitState) -> pd.DataFrame:
    design = state.design
    if len(design.factors) > 1:
        names = ", ".join(factor.name for factor in design.factors)
        raise InferenceError(
            f"by='level' parts variances within from those between the levels of one grouping factor, but there are "
            f"{names}. Use by='term' or by='factor'."
        )
    codes, n = design.factors[0].codes, design.n_obs
    fixed = marginal_fitted(state) - (0.0 if design.offset is None else design.offset)
    apart = fixed - fixed[0]
    within, between = _parted((apart - apart.mean())[:, None], codes)
    whole, total = variance_parts(state)[0], within + between
    rows = {
        "fixed, within": (whole * within / total if total > 0 else 0.0, True),
        "fixed, between": (whole * between / total if total > 0 else 0.0, False),
    }
    for label, U in _effects(state):
        within, between = _parted(U, codes)
        if U.shape[1] > 1 or within > 0:
            rows[f"{label}, within"] = (within / n, True)
        rows[f"{label}, between"] = (between / n, False)
    rows["residual"] = (state.sigma**2, True)
    variance = np.array([value for value, _ in rows.values()])
    is_within = np.array([inside for _, inside in rows.values()])
    table = pd.DataFrame({"variance": variance, "share": variance / variance.sum()}, index=pd.Index(rows, name="part"))
    for name, inside in (("share_within", is_within), ("share_between", ~is_within)):
        level_total = variance[inside].sum()
        table[name] = np.where(inside & (level_total > 0), variance / (level_total or 1.0), np.nan)
    table.attrs["notes"] = (f"Within and between levels of {design.factors[0].name}.", *_notes(design))
    return table


def _parted(U: Floats, codes: Codes) -> tuple[float, float]:
    """Return the sums of squares of rows about the means of their level, and of these means, a row each."""
    counts = np.bincount(codes)
    means = np.array([np.bincount(codes, column) for column in U.T]).T / counts[:, None]
    apart = U - means[codes]
    within, between = float(np.einsum("ij,ij->", apart, apart)), float(np.einsum("ij,ij,i->", means, means, counts))
    least = ROUNDING * (within + between)
    return within if within > least else 0.0, between if between > least else 0.0


def _effects(state: FitState) -> Iterator[tuple[str, Floats]]:
    """Yield each random term's text and S'z of each row, (n_obs, n_columns), whose squares are its variance."""
    for factor, root, terms in zip(state.design.factors, factor_roots(state), _terms(state.design), strict=True):
        Z = np.ones((state.design.n_obs, 1)) if factor.Z is None else factor.Z
        start = 0
        for label, size in terms:
            own = slice(start, start + size)
            yield label, Z[:, own] @ root[own, own]
            start += size


def _terms(design: Design) -> list[list[tuple[str, int]]]:
    """Return text and number of columns of the random terms of each grouping factor; of arrays, its blocks."""
    if not design.formula.random:
        return [
            [
                (f"({' + '.join(factor.columns[start : start + abs(size)])} | {factor.name})", abs(size))
                for size, start in zip(factor.block_sizes, [0, *accumulate(map(abs, factor.block_sizes))], strict=False)
            ]
            for factor in design.factors
        ]
    found = []
    for recipe in design.recipe.factors:
        terms = [term for term in design.formula.random if term.group == tuple(recipe.grouping.variables)]
        found.append([(term_text(t), len(m.names)) for t, m in zip(terms, recipe.matrices, strict=True)])
    return found


def _notes(design: Design) -> tuple[str, ...]:
    notes = []
    if design.weights is not None:
        notes.append("The residual variance is that of an observation with weight one.")
    if design.offset is not None:
        notes.append("The offset is not part of the whole.")
    return tuple(notes)
