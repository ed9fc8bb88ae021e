"""What the data can tell of the variance parameters, in the user's terms.

The criterion is flat where the covariance of what it sees does not change: V by maximum likelihood, the contrasts A'VA
with A'X = 0 by REML. The engine finds these directions from the cross-products (``rust/src/identification.rs``). A
variance that REML does not see at all is refused; parameters that cannot be told apart are a finding, and what depends
on them is left open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.records import Finding
from mixedmodels.errors import DesignError
from mixedmodels.fit.findings import listing
from mixedmodels.fit.undetermined import Undetermined, undetermined

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.problem import Problem

UNSEEN = 1e-12
"""Share of an effect's sum of squares left by the fixed part that counts as rounding."""

SPAN_TOL = 1e-9
"""Size of what is no combination of other columns, relative to the whole, that counts as rounding."""

MAX_NAMED = 6
"""Parameters, levels or columns that a sentence names."""


def unidentified(problem: Problem, reml: bool) -> Iterator[Finding]:
    """Yield a finding if covariance parameters cannot be told apart."""
    if not len(problem.identification.flat(reml)):
        return
    open_ones = undetermined(problem, reml)
    if not open_ones:
        return
    names = list(_names(problem.design, open_ones))
    shown = names if len(names) <= MAX_NAMED else [*names[: MAX_NAMED - 1], f"{len(names) - MAX_NAMED + 1} more"]
    found = problem.identification
    if len(found.flat(reml)) > len(found.covariance):
        message = (
            f"Beside these fixed effects REML cannot tell {listing(shown)}. They have no standard errors, nor have the "
            "fixed effects that depend on them. Leave these random effects out."
        )
    else:
        free = "fixed effects and their tests do not depend on the choice, but the fitted values do"
        if not open_ones.residual:
            free = "fixed effects, their tests and the fitted values do not depend on the choice"
        message = (
            f"The data cannot tell {listing(shown)}{' apart' if len(names) > 1 else ''}. The estimates are one of many "
            f"sets with the same likelihood and have no standard errors; the {free}. Fewer random effects would be "
            "determined."
        )
    yield Finding("unidentified", message, {"parameters": tuple(names)})


def _names(design: Design, open_ones: Undetermined) -> Iterator[str]:
    for factor, C in zip(design.factors, open_ones.covariances, strict=True):
        for j, effect in enumerate(factor.columns):
            if C[j, j]:
                yield f"the variance of {effect} in {factor.name}"
            yield from (
                f"the covariance of {effect} and {factor.columns[i]} in {factor.name}"
                for i in range(j + 1, factor.n_effects)
                if C[i, j]
            )
    if open_ones.residual:
        yield "the residual variance"


def check_identified(problem: Problem, reml: bool) -> None:
    """Every variance must have something to be estimated from.

    Raises
    ------
    DesignError
        A random effect is zero in every row, or REML does not see it because the fixed part has it already.
    """
    found = problem.identification
    if len(found.covariance):
        for factor, Z in zip(problem.design.factors, problem.design.moment_effects, strict=True):
            _check_zero(factor, Z)
    if not reml or len(found.contrasts) == len(found.covariance):
        return
    for factor, T, visible in zip(problem.design.factors, problem.model.basis(), found.visible, strict=True):
        v = None if problem.design.stand_in is not None else _unseen(factor, T, visible / problem.design.n_obs)
        if v is not None:
            raise DesignError(_refusal(problem.design, factor, v))
    names = list(_names(problem.design, undetermined(problem, reml)))
    raise DesignError(
        f"REML cannot tell {listing(names[:MAX_NAMED])}: beside these fixed effects its criterion is flat in them, and "
        "standard errors of the fixed effects would depend on the choice. Leave one of these random effects out of the "
        "formula, or what they share with the fixed effects."
    )


def _check_zero(factor: RandomFactor, Z: Floats | None) -> None:
    if Z is None:
        return
    zero = np.logical_not(Z.any(axis=0))
    first = 0
    for size in factor.block_sizes:
        block = slice(first, first + abs(size))
        first += abs(size)
        if zero[block].all():  # beside others in one covariance a zero column is one that depends on them
            effect = factor.columns[block][0]
            empty = " (no row has this combination)" if ":" in effect or "[" in effect else ""
            raise DesignError(
                f"The random effect {effect!r} of {factor.name!r} is zero in every row{empty}, so there is nothing to "
                "estimate its variance from. Leave it out of the formula, for example by random effects of one column "
                "that holds the combinations that occur."
            )


def _unseen(factor: RandomFactor, T: Floats, visible: Floats) -> Floats | None:
    """Return a combination of a factor's random effects that the fixed part determines in every level, or None.

    Parameters
    ----------
    factor
        The factor.
    T
        Its basis, (n_effects, n_effects).
    visible
        What the fixed part leaves of the mean square of each effect in that basis, (n_effects, n_effects).
    """
    first = 0
    for size in factor.block_sizes:
        block = np.arange(first, first + abs(size))
        first += abs(size)
        left, basis = visible[np.ix_(block, block)], T[np.ix_(block, block)]
        if size < 0:
            if np.trace(left) < UNSEEN * len(block):
                return _padded(np.eye(len(block))[0], block, factor)
            continue
        values, vectors = np.linalg.eigh(left)
        alone = np.linalg.solve(basis, np.eye(len(block)))
        share = np.einsum("ak,ab,bk->k", alone, left, alone) / np.einsum("ak,ak->k", alone, alone)
        candidates = [np.eye(len(block))[k] for k in np.flatnonzero(share < UNSEEN)]
        candidates += [basis @ vectors[:, k] for k in np.flatnonzero(values < UNSEEN)]
        for v in candidates:
            padded = _padded(v, block, factor)
            if _rows_with(factor, padded).any():
                return padded
    return None


def _padded(v: Floats, block: npt.NDArray[np.intp], factor: RandomFactor) -> Floats:
    out = np.zeros(factor.n_effects)
    out[block] = v
    return out


def _rows_with(factor: RandomFactor, v: Floats) -> npt.NDArray[np.bool_]:
    """Return in which rows a combination of a factor's random effects is not zero, (n_obs,)."""
    if factor.Z is None:
        return np.ones(len(factor.codes), dtype=bool)
    return np.asarray(np.abs(factor.Z @ v) > SPAN_TOL * (np.abs(factor.Z) @ np.abs(v)))


def _refusal(design: Design, factor: RandomFactor, v: Floats) -> str:
    """Return the sentence about a combination of random effects that REML does not see."""
    effect = _combination(factor.columns, v)
    rows = _rows_with(factor, v)
    levels = np.unique(factor.codes[rows])
    columns = _spanning_columns(design, factor, v, levels)
    named = f" (columns {', '.join(columns[:4])}{', ...' if len(columns) > 4 else ''})" if columns else ""
    if len(levels) == factor.n_levels:
        return (
            f"The fixed part has a parameter for the effect {effect!r} of every level of {factor.name!r} already"
            f"{named}, so REML has nothing to estimate its variance from. Leave {factor.name!r} out of the fixed part, "
            "or this random effect out of the formula."
        )
    labels = [repr(str(factor.levels[k])) for k in levels[:MAX_NAMED]]
    shown = listing(labels) if len(levels) <= MAX_NAMED else f"{', '.join(labels)}, ..."
    where = f"level {shown}" if len(levels) == 1 else f"levels {shown}"
    return (
        f"The random effect {effect!r} of {factor.name!r} occurs in {where} of {factor.n_levels} only, where the fixed "
        f"part has a parameter for it already{named}, so REML has nothing to estimate its variance from. Leave these "
        f"rows out, or give the random term of {factor.name!r} columns that are zero in them."
    )


def _combination(columns: tuple[str, ...], v: Floats) -> str:
    """Return ``Intercept - f[T.b]`` for a combination of columns, its largest coefficient one."""
    scaled = v / v[np.abs(v).argmax()]
    if scaled[np.flatnonzero(np.abs(scaled) > SPAN_TOL)[0]] < 0:
        scaled = -scaled
    out = ""
    for name, c in zip(columns, scaled, strict=True):
        if abs(c) > SPAN_TOL:
            factor = "" if abs(abs(c) - 1) < SPAN_TOL else f"{abs(c):.4g} "
            out += f"{' - ' if c < 0 else ' + '}{factor}{name}"
    return out[3:]


def _spanning_columns(design: Design, factor: RandomFactor, v: Floats, levels: npt.NDArray[np.int32]) -> list[str]:
    """Return the names of the fixed columns that a combination of random effects is made of in some levels."""
    X, z = design.X, np.ones(design.n_obs) if factor.Z is None else factor.Z @ v
    if len(levels) > X.shape[1]:
        return []
    N = np.zeros((design.n_obs, len(levels)))
    rows = np.flatnonzero(np.isin(factor.codes, levels))
    N[rows, np.searchsorted(levels, factor.codes[rows])] = z[rows]
    size = np.sqrt(np.einsum("ij,ij->j", X, X))
    size[size == 0] = 1.0
    largest = np.abs(np.linalg.lstsq(X / size, N, rcond=None)[0]).max(axis=1)
    return [design.x_names[j] for j in np.flatnonzero(largest > SPAN_TOL * largest.max(initial=0.0))]
