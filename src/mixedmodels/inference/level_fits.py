"""One regression a level of a grouping factor, by least squares, with one residual variance for all or one for each.

What nothing is borrowed for: no level knows of another, but for the pooled variance, sum of squares over sum of degrees
of freedom (Pinheiro and Bates 2000, section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.grouping import group_rows, level_codes
from mixedmodels.design.labels import level_text
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.approximation import RowEstimates, independent_rows
from mixedmodels.inference.wald import COLUMNS as TEST_COLUMNS
from mixedmodels.inference.wald import names_in, row_values
from mixedmodels.texts.noted_frame import show_notes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats

DEPENDENT = 1e-10
"""Length of a column outside the span of those before it, relative to its own, that counts as zero."""

SHARE = 1e-8
"""Part of a column by which another one counts as what it is made of."""


@dataclass(frozen=True, repr=False)
class LevelFits:
    """Regressions of the rows of each level.

    Attributes
    ----------
    formula
        As given.
    group
        Name of the grouping factor.
    coef
        Coefficients, level x coefficient; missing where the rows of a level do not determine one.
    levels
        By level: ``n_obs``, ``df_resid``, ``sigma`` (the level's own, missing without degrees of freedom) and ``note``,
        what could not be estimated and why, empty where all could.
    sigma, df_resid
        The pooled residual standard deviation, and its degrees of freedom.
    unscaled
        Standard errors over the residual standard deviation, in the shape of ``coef``.
    """

    formula: str
    group: str
    coef: pd.DataFrame
    levels: pd.DataFrame
    sigma: float
    df_resid: int
    unscaled: pd.DataFrame

    def coef_table(
        self, level: float = 0.95, pool: bool = True, which: str | Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Return a row for each level and coefficient, in the columns of a fit's ``coef_table``.

        Parameters
        ----------
        level
            Coverage of the intervals.
        pool
            One residual variance for all levels, with the degrees of freedom of all; False: each its own.
        which
            Names of coefficients; None for all.

        Raises
        ------
        InferenceError
            If an argument is not allowed.
        """
        if not isinstance(pool, bool | np.bool_):
            raise InferenceError(f"pool is {pool!r}; it must be True for one residual variance, or False for each own.")
        names = list(self.coef.columns) if which is None else names_in(which)
        for name in names:
            if name not in self.coef.columns:
                known = ", ".join(self.coef.columns)
                raise InferenceError(
                    f"There is no coefficient {name!r}; there are {known}.{nearest(str(name), self.coef.columns)}"
                )
        n = len(names)
        sigma = np.full(len(self.levels), self.sigma) if pool else self.levels["sigma"].to_numpy(float)
        df = np.full(len(self.levels), self.df_resid) if pool else self.levels["df_resid"].to_numpy(float)
        std_error = self.unscaled[names].to_numpy() * sigma[:, None]
        rows = RowEstimates(
            self.coef[names].to_numpy().ravel(),
            std_error.ravel(),
            np.where(np.isnan(std_error), np.nan, df[:, None]).ravel(),
        )
        labels = pd.MultiIndex.from_arrays(
            [self.coef.index.repeat(n), np.tile(np.array(names, dtype=object), len(self.coef))],
            names=[self.group, "term"],
        )
        return show_notes(pd.DataFrame(row_values(rows, level), index=labels, columns=TEST_COLUMNS))


def fit_levels(design: Design, data: object) -> LevelFits:
    """Return the regressions of the rows of each level of a design's one grouping factor.

    Parameters
    ----------
    design
        Fixed part, weights, offset and the factor; its random effects are of no matter.
    data
        What it was made from: levels all of whose rows were left out are among the answer.

    Raises
    ------
    InferenceError
        If no level determines a coefficient.
    """
    refuse_absorbed(design.absorbed, "A regression a level")
    factor = design.factors[0]
    y = design.y if design.offset is None else design.y - design.offset
    fits = []
    for k in range(factor.n_levels):
        rows = factor.codes == k
        fits.append(
            _fit(design.X[rows], y[rows], None if design.weights is None else design.weights[rows], design.x_names)
        )
    index = _all_levels(design, data)
    by_level = dict(zip(map(level_text, factor.levels), fits, strict=True))
    fits = [by_level.get(level_text(level)) or _without_rows(len(design.x_names)) for level in index]
    df, ss = sum(fit.df for fit in fits), sum(fit.sum_sq for fit in fits)
    columns = pd.Index(design.x_names, name="term")
    levels = pd.DataFrame(
        {
            "n_obs": [fit.n for fit in fits],
            "df_resid": [fit.df for fit in fits],
            "sigma": [np.sqrt(fit.sum_sq / fit.df) if fit.df else np.nan for fit in fits],
            "note": [fit.note for fit in fits],
        },
        index=index,
    )
    return LevelFits(
        formula=design.formula.text,
        group=factor.name,
        coef=pd.DataFrame(np.array([fit.coef for fit in fits]), index=index, columns=columns),
        levels=levels,
        sigma=float(np.sqrt(ss / df)) if df else np.nan,
        df_resid=df,
        unscaled=pd.DataFrame(np.array([fit.unscaled for fit in fits]), index=index, columns=columns),
    )


@dataclass(frozen=True)
class _Fit:
    """One regression: coefficients and unscaled standard errors, (n_columns,), missing where not determined."""

    n: int
    df: int
    sum_sq: float
    coef: Floats
    unscaled: Floats
    note: str


def _fit(X: Floats, y: Floats, weights: Floats | None, names: tuple[str, ...]) -> _Fit:
    """Return the weighted regression of a level; columns but the intercept are centred, so that no origin matters."""
    n, p = X.shape
    root = np.ones(n) if weights is None else np.sqrt(weights)
    has_intercept = names[:1] == (INTERCEPT,)
    centre = np.average(X, axis=0, weights=root**2)
    centre = np.where(np.arange(p) > 0, centre, 0.0) if has_intercept else np.zeros(p)
    columns = (X - centre) * root[:, None]
    size = np.abs(X).max(axis=0, initial=0.0) * root.max(initial=0.0)
    columns[:, np.abs(columns).max(axis=0, initial=0.0) <= 1e-14 * size] = 0.0  # what does not vary, but for rounding
    kept = independent_rows(columns.T, DEPENDENT)
    coef, unscaled = np.full(p, np.nan), np.full(p, np.nan)
    if kept:
        Q, R = np.linalg.qr(columns[:, kept])
        own = solve_triangular(R, Q.T @ (root * y))
        rest = root * y - Q @ (R @ own)
        to_own = np.eye(len(kept))
        if has_intercept:
            to_own[0] -= centre[kept]  # the height at zero is that at the centre less the slopes' way back
        coef[kept] = to_own @ own
        unscaled[kept] = np.linalg.norm(solve_triangular(R, to_own.T, trans=1), axis=0)
        mixed = _mixed(columns, kept, centre, X, has_intercept)
        coef[mixed] = unscaled[mixed] = np.nan
    else:
        rest = root * y
    df = n - len(kept)
    return _Fit(n, df, float(rest @ rest) if df else 0.0, coef, unscaled, _note(kept, columns, names, coef))


def _mixed(columns: Floats, kept: list[int], centre: Floats, X: Floats, has_intercept: bool) -> list[int]:
    """Return the columns kept that others, left out, are made of: their coefficients would stand for both."""
    lost = [j for j in range(X.shape[1]) if j not in kept]
    if not lost:
        return []
    size = np.linalg.norm(columns[:, kept], axis=0)
    parts = np.linalg.lstsq(columns[:, kept] / size, columns[:, lost], rcond=None)[0]
    counts, made = np.abs(parts) > SHARE * np.linalg.norm(columns[:, lost], axis=0), parts / size[:, None]
    if has_intercept:
        at_zero = centre[lost] - centre[kept[1:]] @ made[1:]
        counts[0] = np.abs(at_zero) > SHARE * np.abs(X[:, lost]).max(axis=0)
    return [j for j, row in zip(kept, counts, strict=True) if row.any()]


def _note(kept: list[int], columns: Floats, names: tuple[str, ...], coef: Floats) -> str:
    """Return what the rows of a level do not determine, and why."""
    n, lost = len(columns), [j for j in range(len(names)) if j not in kept]
    rows = f"{n} row{'s' if n > 1 else ''}"
    if lost:
        unknown = np.flatnonzero(np.isnan(coef)).tolist()
        listed = ", ".join(names[j] for j in unknown)
        if n < len(names):
            return f"{listed} not determined: {rows} for {len(names)} coefficients."
        if any(columns[:, j].any() for j in lost):
            made = "a combination" if len(unknown) == 1 else "combinations"
            return f"{listed} not determined: {made} of the others here."
        which = ", ".join(names[j] for j in lost) if unknown != lost else "it" if len(lost) == 1 else "they"
        return f"{listed} not determined: {which} {'do' if len(lost) > 1 else 'does'} not vary here."
    return "" if n > len(kept) else f"No residual of its own: {rows} for {len(names)} coefficients."


def _without_rows(p: int) -> _Fit:
    missing = np.full(p, np.nan)
    return _Fit(0, 0, 0.0, missing, missing, "No row without missing values.")


def _all_levels(design: Design, data: object) -> pd.Index:
    """Return the levels of the grouping factor in the data, also those of which all rows were left out."""
    factor = design.factors[0]
    if design.rows is None:
        return factor.levels.rename(factor.name)
    values = dict(design.recipe.grouping_values(data, 0))
    masks = [column.missing for column in values.values() if column.missing is not None]
    rows = np.flatnonzero(~np.logical_or.reduce(masks)) if masks else np.arange(design.n_rows)
    coded = {name: level_codes(column.take(rows)) for name, column in values.items()}
    return group_rows(tuple(values), coded.__getitem__)[1].levels.rename(factor.name)
