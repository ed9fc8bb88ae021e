"""Fixed effects that are absorbed: factors whose levels have fixed effects, and no columns.

Columns of X and the response have their projection on these levels taken off, which leaves the span of all fixed
columns and its determinant as they are (Frisch and Waugh 1933, Lovell 1963). Of an aliased column nothing is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.records import Codes, Floats, RandomFactor
from mixedmodels.errors import DesignError, InferenceError

ALIASED = 1e-9
"""Length of what absorbed levels leave of a column, as a share of its spread, that counts as nothing."""

ROUNDING = 64 * np.finfo(np.float64).eps
"""The same as a share of the column itself."""

STEP = 1e-8
"""What a round of conjugate gradients leaves of the equations for the levels of several factors."""

SOLVED = 1e-14
"""Effects that a round finds, relative to the values, after which there is no other."""

ROUNDS = 8
"""Times that these equations are solved for what the solution before left over."""

MANY_STEPS = 20_000
"""Steps of conjugate gradients in a round; a design that takes more is hardly connected."""

THIRD_LEVELS = 2_000
"""Levels of a third absorbed factor, and of further ones, up to which their dependence is told."""


@dataclass(frozen=True)
class AbsorbedFactor:
    """One factor of fixed effects that is absorbed.

    Attributes
    ----------
    name
        ``"firm"``, ``"firm:year"``.
    levels
        Labels of the levels present, in the order of the codes, length n_levels.
    codes
        Level of each row, (n_obs,).
    """

    name: str
    levels: pd.Index
    codes: Codes

    @property
    def n_levels(self) -> int:
        """Number of levels present in the data."""
        return len(self.levels)


@dataclass(frozen=True)
class Absorbed:
    """All factors of fixed effects that are absorbed.

    Attributes
    ----------
    factors
        In the order of the formula, at least one.
    weights
        Of the rows, (n_obs,), or None.
    """

    factors: tuple[AbsorbedFactor, ...]
    weights: Floats | None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the factors."""
        return tuple(factor.name for factor in self.factors)

    def take(self, rows: npt.NDArray[np.intp]) -> Absorbed:
        """Return the factors on some rows; levels without rows are left out.

        Parameters
        ----------
        rows
            Positions, (n_taken,).
        """
        factors = []
        for factor in self.factors:
            present, codes = np.unique(factor.codes[rows], return_inverse=True)
            factors.append(AbsorbedFactor(factor.name, factor.levels[present], codes.astype(np.int32)))
        return Absorbed(tuple(factors), None if self.weights is None else np.ascontiguousarray(self.weights[rows]))

    @cached_property
    def is_reference(self) -> tuple[npt.NDArray[np.bool_], ...]:
        """Levels whose columns are combinations of others, (n_levels,) a factor: their effects are zero by definition.

        Of two factors that is one level of the second in each connected part of the data (Abowd, Creecy and Kramarz
        2002); of a third and further ones, what is a combination of the columns before it.
        """
        first, *others = self.factors
        found = [np.zeros(first.n_levels, dtype=bool)]
        if others:
            found.append(first_of_each_part(first.codes, others[0].codes, first.n_levels, others[0].n_levels))
        for k in range(2, len(self.factors)):
            found.append(self._dependent_levels(k, found))
        return tuple(found)

    @cached_property
    def rank(self) -> int:
        """Fixed effects estimated: levels that are no combinations of others."""
        return sum(int((~reference).sum()) for reference in self.is_reference)

    @cached_property
    def columns(self) -> tuple[Floats | None, ...]:
        """The column of each factor for the engine, (n_obs, 1), zero in rows of reference levels; None for ones."""
        pairs = zip(self.factors, self.is_reference, strict=True)
        return tuple(
            None if not reference.any() else (~reference[factor.codes]).astype(np.float64)[:, None]
            for factor, reference in pairs
        )

    def residual(self, values: Floats) -> tuple[Floats, tuple[Floats, ...]]:
        """Return what the levels leave of some columns, (n_obs, m), and effects of the levels, (n_levels, m) a factor.

        The values are the residual and the effects of each row's levels, whatever the effects of levels are that
        depend on others.

        Parameters
        ----------
        values
            (n_obs, m).
        """
        rest = np.array(values, dtype=np.float64)
        effects: tuple[Floats, ...] = tuple(np.zeros((f.n_levels, rest.shape[1])) for f in self.factors)
        solved = SOLVED * np.abs(values).max(initial=0.0)
        for _ in range(2 if len(self.factors) == 1 else ROUNDS):
            found = self._solve(rest, values)
            for factor, part, total in zip(self.factors, found, effects, strict=True):
                rest -= part[factor.codes]
                np.add(total, part, out=total)
            if all((np.abs(part) <= solved).all() for part in found):
                break
        return rest, effects

    def normalized(self, effects: Sequence[Floats]) -> tuple[Floats, ...]:
        """Return effects of the levels, (n_levels,) a factor, with those of reference levels zero, of the same sums.

        Parameters
        ----------
        effects
            Any effects with these sums in the rows.
        """
        if not any(reference.any() for reference in self.is_reference):
            return tuple(effects)
        used = np.concatenate([~reference for reference in self.is_reference])
        matrix = self._gram
        right = matrix @ np.concatenate(effects)
        out = np.zeros(len(used))
        out[used] = solve_precisely(matrix[used][:, used], right[used])
        return tuple(np.split(out, np.cumsum([factor.n_levels for factor in self.factors])[:-1]))

    def sum_of(self, effects: Sequence[Floats]) -> Floats:
        """Return the sum of the effects of each row's levels, (n_obs,).

        Parameters
        ----------
        effects
            (n_levels,) a factor.
        """
        parts = [np.take(part, factor.codes) for factor, part in zip(self.factors, effects, strict=True)]
        return np.asarray(np.sum(parts, axis=0))

    def _totals(self, values: Floats) -> list[Floats]:
        """Return the weighted sums of some columns in each level, (n_levels, m) a factor."""
        weighted = values if self.weights is None else values * self.weights[:, None]
        sums = []
        for factor in self.factors:
            total = np.empty((factor.n_levels, values.shape[1]))
            for j, column in enumerate(weighted.T):
                total[:, j] = np.bincount(factor.codes, column, factor.n_levels)
            sums.append(total)
        return sums

    @cached_property
    def _sizes(self) -> tuple[Floats, ...]:
        return tuple(np.bincount(f.codes, self.weights, f.n_levels).astype(np.float64) for f in self.factors)

    @cached_property
    def _gram(self) -> Any:
        """F'WF of all levels, sparse."""
        from scipy import sparse  # noqa: PLC0415  # few models absorb several factors

        n = len(self.factors[0].codes)
        ones, rows = np.ones(n), np.arange(n)
        indicators = [
            sparse.csr_array((ones, (rows, factor.codes)), shape=(n, factor.n_levels)) for factor in self.factors
        ]
        F = sparse.hstack(indicators, format="csr")
        return (F.T @ (F if self.weights is None else sparse.diags_array(self.weights) @ F)).tocsr()

    def _solve(self, values: Floats, size: Floats) -> list[Floats]:
        """Return effects of the levels that take most of some columns off, (n_levels, m) a factor.

        ``size`` has the columns that these are left of, (n_obs, m), whose rounding is not solved for.
        """
        totals = self._totals(values)
        if len(self.factors) == 1:
            return [totals[0] / self._sizes[0][:, None]]
        right, floor = np.vstack(totals), rounding_of(np.vstack(self._totals(np.abs(size))))
        columns = zip(right.T, floor, strict=True)
        found = np.column_stack([solve_positive(self._gram, column, least) for column, least in columns])
        return list(np.split(found, np.cumsum([factor.n_levels for factor in self.factors])[:-1]))

    def _dependent_levels(self, k: int, before: Sequence[npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
        """Return the levels of factor k whose columns are combinations of those before them."""
        n_levels = self.factors[k].n_levels
        if n_levels > THIRD_LEVELS:
            raise DesignError(
                f"fe({self.factors[k].name}) is the third absorbed factor and has {n_levels:,} levels; which of them "
                f"depend on the factors before it is told for up to {THIRD_LEVELS:,}. Put the two factors with most "
                "levels first."
            )
        start = sum(factor.n_levels for factor in self.factors[:k])
        used = np.concatenate([~reference for reference in before])
        matrix = self._gram
        inner, across = matrix[:start][:, :start][used][:, used], matrix[:start][:, start : start + n_levels][used]
        own = matrix[start : start + n_levels][:, start : start + n_levels].toarray()
        across = across.toarray()
        left = own - across.T @ np.column_stack([solve_precisely(inner, column) for column in across.T])
        return dependent_pivots(left, np.diag(own))


def first_of_each_part(a: Codes, b: Codes, n_a: int, n_b: int) -> npt.NDArray[np.bool_]:
    """Return which levels of a second factor are the first in their connected part of the data, (n_b,).

    Parameters
    ----------
    a, b
        Levels of two factors, (n_obs,).
    n_a, n_b
        Their numbers.
    """
    from scipy import sparse  # noqa: PLC0415  # few models absorb several factors

    graph = sparse.coo_array((np.ones(len(a), dtype=np.int8), (a, n_a + b)), shape=(n_a + n_b, n_a + n_b))
    parts = sparse.csgraph.connected_components(graph, directed=False)[1][n_a:]
    found = np.zeros(n_b, dtype=bool)
    found[np.unique(parts, return_index=True)[1]] = True
    return found


def dependent_pivots(gram: Floats, sizes: Floats) -> npt.NDArray[np.bool_]:
    """Return which columns depend on those before them, from their products.

    Parameters
    ----------
    gram
        Products of what columns before all of them leave, (m, m).
    sizes
        Squares of the columns themselves, (m,).
    """
    left, found = np.array(gram), np.zeros(len(gram), dtype=bool)
    for j in range(len(left)):
        if left[j, j] <= ALIASED * sizes[j]:
            found[j] = True
            continue
        left[j + 1 :, j + 1 :] -= np.outer(left[j + 1 :, j], left[j, j + 1 :]) / left[j, j]
    return found


def rounding_of(sums: Floats) -> Floats:
    """Return the length of what rounding may leave of sums, (m,), given the sums of absolute values, (n_sums, m)."""
    return np.asarray(16 * np.finfo(np.float64).eps * np.sqrt(np.sum(sums**2, axis=0)))


def solve_positive(matrix: Any, right: Floats, least: float) -> Floats:
    """Return a solution of equations with a sparse, positive semidefinite matrix, by conjugate gradients.

    Parameters
    ----------
    matrix
        (m, m).
    right
        In its span, (m,).
    least
        Length of what may be left of the equations in any case.

    Raises
    ------
    DesignError
        The data are so thinly connected that there is no end to it.
    """
    from scipy.sparse.linalg import LinearOperator, cg  # noqa: PLC0415  # few models absorb several factors

    diagonal = matrix.diagonal()
    scaled = LinearOperator(matrix.shape, matvec=lambda v: v / diagonal)
    found, steps = cg(matrix, right, rtol=STEP, atol=least, maxiter=MANY_STEPS, M=scaled)
    if steps:
        raise DesignError(
            "The levels of the absorbed factors are so thinly connected that their effects cannot be told apart. "
            "Absorb one of them and make the other random, or leave out levels that hardly meet."
        )
    return np.asarray(found)


def refuse_absorbed(absorbed: Absorbed | None, what: str, remedy: str = "") -> None:
    """Refuse what absorbed fixed effects leave no answer to, or none yet.

    Parameters
    ----------
    absorbed
        The factors, or None.
    what
        What was asked for.
    remedy
        What can be asked instead.

    Raises
    ------
    InferenceError
        Fixed effects are absorbed.
    """
    if absorbed is not None:
        name = absorbed.names[0]
        few = f"here the levels are few, write them as a fixed term of categories, C({name})."
        raise InferenceError(
            f"{what} is not available where fixed effects are absorbed, as by fe({name}). "
            + (f"{remedy}, or w{few}" if remedy else f"W{few}")
        )


def check_random_effects(absorbed: Absorbed, factors: Sequence[RandomFactor]) -> None:
    """Random effects must not be combinations of absorbed levels, which leave nothing to tell their variance from.

    Parameters
    ----------
    absorbed
        The levels.
    factors
        Grouping factors of random effects.

    Raises
    ------
    DesignError
        Some are.
    """
    names = " and ".join(f"fe({name})" for name in absorbed.names)
    for factor in factors:
        # any combination of a factor's columns over its levels is aliased if, almost surely, a random one is
        drawn = np.random.default_rng(0).standard_normal(factor.n_levels)[factor.codes]
        columns = drawn[:, None] if factor.Z is None else factor.Z * drawn[:, None]
        gone = np.flatnonzero(is_aliased(absorbed, columns, absorbed.residual(columns)[0]))
        if len(gone):
            effects = ", ".join(factor.columns[j] for j in gone)
            remedy = "Leave them out" if len(gone) == factor.n_effects else "Keep the other effects of this factor only"
            raise DesignError(
                f"The random effects {effects} of {factor.name!r} are combinations of the absorbed levels of {names}, "
                f"which leave nothing to estimate their variance from. {remedy}, or do not absorb these levels."
            )


def solve_precisely(matrix: Any, right: Floats) -> Floats:
    """Return what `solve_positive` does, to rounding.

    Parameters
    ----------
    matrix, right
        As there.
    """
    found = np.zeros(len(right))
    least = float(rounding_of(np.abs(right)[:, None])[0])
    for _ in range(ROUNDS):
        step = solve_positive(matrix, right - matrix @ found, least)
        found += step
        if np.abs(step).max(initial=0.0) <= SOLVED * np.abs(found).max(initial=0.0):
            break
    return found


@dataclass(frozen=True)
class AbsorbedColumns:
    """What absorbed levels leave of the fixed columns.

    Attributes
    ----------
    X
        (n_obs, n_columns), C order; zero where nothing is left.
    aliased
        Columns of which nothing is left.
    effects
        What the levels take off the columns, (n_levels, n_columns) a factor.
    """

    X: Floats
    aliased: tuple[int, ...]
    effects: tuple[Floats, ...]


def absorb_columns(absorbed: Absorbed, X: Floats) -> AbsorbedColumns:
    """Return what is left of fixed columns, (n_obs, n_columns), and which are combinations of the absorbed levels."""
    left, effects = absorbed.residual(X)
    gone = is_aliased(absorbed, X, left)
    left[:, gone] = 0.0
    return AbsorbedColumns(np.ascontiguousarray(left), tuple(np.flatnonzero(gone).tolist()), effects)


def is_aliased(absorbed: Absorbed, columns: Floats, left: Floats) -> npt.NDArray[np.bool_]:
    """Return which columns are combinations of the absorbed levels, (m,).

    Parameters
    ----------
    absorbed
        The levels.
    columns, left
        The columns and what is left of them, (n_obs, m).
    """
    w = 1.0 if absorbed.weights is None else absorbed.weights[:, None]
    total = np.sum(np.broadcast_to(w, (len(columns), 1)))
    mean = np.sum(w * columns, axis=0) / total

    def length(values: Floats) -> Floats:
        return np.asarray(np.sqrt(np.sum(w * values**2, axis=0)))

    found = length(left) <= np.maximum(ALIASED * length(columns - mean), ROUNDING * length(columns))
    return np.asarray(found)
