"""Tests of linear combinations of the fixed effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError
from mixedmodels.inference.approximation import doubts
from mixedmodels.inference.degrees import approximation, estimate_rows, joint_test
from mixedmodels.inference.hypotheses import Hypotheses, as_numbers, read_hypotheses
from mixedmodels.inference.wald import row_table

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit
    from mixedmodels.inference.approximation import Approximation

ESTIMABLE_TOL = 1e-6
"""What cannot be estimated of a combination, in units of the dropped column, relative to its distance from the data."""

ROUNDING = 1e-12
"""Coefficient of a column of zeros, relative to the largest of a combination, that counts as none."""

MAX_NAMED = 5
"""Columns that a note names."""


def contrast(
    state: FixedFit,
    L: object,
    ddf: str | Approximation = "satterthwaite",
    level: float = 0.95,
    joint: bool = False,
) -> pd.DataFrame:
    """Return tests and confidence intervals of linear combinations of the fixed effects, one row each.

    Parameters
    ----------
    state
        The fit.
    L
        As for ``hypotheses.read_hypotheses``, names and columns being those of the fixed effects. Columns dropped as
        aliased may be named, or be columns of the matrix, where the combination can be estimated without them; a row
        of numbers for all columns says that those with a zero are not part of it.
    ddf
        As for ``degrees.approximation``.
    level
        Coverage of the intervals, between 0 and 1.
    joint
        Add a last row ``"joint"`` with the F test of all rows together, and the column ``num_df``.

    Returns
    -------
    pandas.DataFrame
        ``estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``: the combination, and its test against the
        right-hand side. In the row ``"joint"`` the statistic is F and df its denominator degrees of freedom.

    Raises
    ------
    InferenceError
        If a contrast cannot be read or estimated, or an argument is not allowed.
    """
    names = state.design.x_names
    numbers = as_numbers(L)
    of_kept = numbers is not None and numbers.shape[-1:] == (state.n_fixed,)
    hypotheses = read_hypotheses(L, state.fixed_names if of_kept else names)
    rows = hypotheses.L if of_kept else _without_dropped(state, hypotheses)
    method = approximation(state, ddf)
    labels = pd.Index(hypotheses.labels, name="contrast")
    table = row_table(estimate_rows(state, rows, method), labels, level, hypotheses.rhs)
    if not joint:
        table.attrs["notes"] = doubts(method)
        return table
    test = joint_test(state, rows, method, hypotheses.rhs)
    last = pd.DataFrame(
        {"df": test.den_df, "statistic": test.f_value, "p_value": test.p_value},
        index=pd.Index(["joint"], name="contrast"),
    )
    table = pd.concat([table, last.reindex(columns=table.columns)])
    table.insert(2, "num_df", [1] * len(rows) + [test.num_df])
    table.attrs["notes"] = doubts(method)
    return table


def estimable_rows(state: FixedFit, L: Floats, labels: Sequence[str]) -> Floats:
    """Return combinations of all columns of the design as combinations of the estimated ones, (n_rows, n_fixed).

    A row l can be estimated if it is a combination of rows of X (Searle 1971, section 5.4), that is, if
    l_dropped = l_kept A for the dropped columns X_kept A.

    Parameters
    ----------
    state
        The fit.
    L
        (n_rows, n_columns of the design), dropped columns included.
    labels
        Names of the rows, for messages.

    Raises
    ------
    InferenceError
        If a row cannot be estimated because columns were dropped.
    """
    missing = _undetermined(state, L)
    lost = missing.any(axis=1)
    if lost.any():
        i = int(lost.argmax())
        column = state.design.x_names[int(missing[i].argmax())]
        raise InferenceError(
            f"{labels[i]!r} cannot be estimated: the column {column!r} was dropped, because it is a combination of "
            "others in these data. Take it out of the formula, or ask for a combination that the data determine."
        )
    return L[:, list(state.kept)]


def estimable_where_known(state: FixedFit, L: Floats, labels: Sequence[str]) -> Floats:
    """Return combinations as `estimable_rows` does, NaN for those that the data do not determine or that are NaN."""
    if state.n_fixed == L.shape[1]:
        return L
    rows = np.full((len(L), state.n_fixed), np.nan)
    for i in np.flatnonzero(~np.isnan(L).any(axis=1)).tolist():
        try:
            rows[i] = estimable_rows(state, L[i : i + 1], [labels[i]])
        except InferenceError:
            continue
    return rows


def can_be_estimated(state: FixedFit, L: Floats) -> npt.NDArray[np.bool_]:
    """Return which combinations of all columns of the design the data determine, see `estimable_rows`."""
    return np.asarray(~_undetermined(state, L).any(axis=1))


def estimable_part(state: FixedFit, L: Floats) -> Floats:
    """Return combinations of rows that the data determine, all there are, in the estimated columns, (n, n_fixed).

    Parameters
    ----------
    state
        The fit.
    L
        (n_rows, n_columns of the design), dropped columns included.
    """
    kept = list(state.kept)
    if state.n_fixed == L.shape[1]:
        return L
    off, distance = _missing_part(state, L)
    off = np.where(np.isinf(off), L[:, [j for j in range(L.shape[1]) if j not in set(kept)]], off)
    U, values, _ = np.linalg.svd(off)
    rank = int(np.sum(values > ESTIMABLE_TOL * distance.max(initial=0.0)))
    return np.asarray(U[:, rank:].T @ L[:, kept])


def _undetermined(state: FixedFit, L: Floats) -> Floats:
    """Return how far L is from l_kept A, (n_rows, n_columns); zero in kept columns and for rounding."""
    dropped = [j for j in range(L.shape[1]) if j not in set(state.kept)]
    missing = np.zeros(L.shape)
    if not dropped:
        return missing
    off, distance = _missing_part(state, L)
    off = np.abs(off)
    off[off.max(axis=1) <= ESTIMABLE_TOL * distance] = 0.0
    missing[:, dropped] = off
    return missing


def _missing_part(state: FixedFit, L: Floats) -> tuple[Floats, Floats]:
    """Return l_dropped - l_kept A in units of the columns, infinite for those of zeros, and each row's distance."""
    kept = list(state.kept)
    dropped = [j for j in range(L.shape[1]) if j not in set(kept)]
    X, rows = _centred(state.design.moment_rows, L)
    size = np.sqrt(np.mean(X**2, axis=0))
    columns = X[:, kept] / size[kept]
    A = np.linalg.lstsq(columns, X[:, dropped], rcond=None)[0] / size[kept][:, None]
    off = rows[:, dropped] - rows[:, kept] @ A
    # An empty cell's column of zeros has no size, and cannot be estimated either.
    zero = size[dropped] == 0
    off[:, ~zero] /= size[dropped][~zero]
    off[:, zero] = np.where(np.abs(off[:, zero]) > ROUNDING * np.abs(rows).max(axis=1)[:, None], np.inf, 0.0)
    # A row's distance from the data, about sqrt(n_fixed) for rows of the data, has neither units nor an origin.
    triangle = np.linalg.qr(columns, mode="r") / np.sqrt(len(X))
    distance = np.linalg.norm(np.linalg.solve(triangle.T, (rows[:, kept] / size[kept]).T), axis=0)
    return off, np.asarray(distance)


def _centred(X: Floats, L: Floats) -> tuple[Floats, Floats]:
    """Return X with its columns centred on a constant first one, and L for these columns."""
    if X[0, 0] == 0 or (X[:, 0] != X[0, 0]).any():
        return X, L
    mean = X.mean(axis=0) / X[0, 0]
    mean[0] = 0.0
    return X - X[:, :1] * mean, L - L[:, :1] * mean


def dropped_columns(state: FixedFit) -> str:
    """Return a clause about the columns that were dropped as aliased; empty if there are none."""
    names = [name for j, name in enumerate(state.design.x_names) if j not in set(state.kept)]
    if not names:
        return ""
    rest = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    what = "column" if len(names) == 1 else "columns"
    was = "was dropped (all zero or a combination" if len(names) == 1 else "were dropped (all zero or combinations"
    return f"the {what} {', '.join(names[:MAX_NAMED])}{rest} {was} of others)"


def _without_dropped(state: FixedFit, hypotheses: Hypotheses) -> Floats:
    """Return the rows on the estimated columns; one that names no dropped column is a combination of estimates."""
    L = hypotheses.L
    dropped = np.setdiff1d(np.arange(L.shape[1]), state.kept)
    checked = np.flatnonzero(L[:, dropped].any(axis=1) | np.array(hypotheses.in_full))
    if len(checked):
        estimable_rows(state, L[checked], [hypotheses.labels[i] for i in checked])
    return L[:, list(state.kept)]
