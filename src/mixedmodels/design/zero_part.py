"""The covariates of the chance of zeros of their own, in zero-inflated and hurdle models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.evaluation import Evaluation, Memory, check_finite
from mixedmodels.design.expression import INTERCEPT, unknown_column
from mixedmodels.design.frame import open_frame
from mixedmodels.design.plan import read_part
from mixedmodels.design.recipe import DesignRecipe
from mixedmodels.errors import DataError, DesignError, FormulaError
from mixedmodels.formula.algebra import terms_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.formula.terms import Formula

ARGUMENT = "zero_inflation"
LEAST_SHARE = 1e-7
"""Of a column's length about its mean that is its own, below which it is a combination of those before it."""

ROUNDING = 1e-14
"""Of a column, relative to its length."""


@dataclass(frozen=True)
class ZeroPart:
    """The logit of the chance of a zero as a linear predictor.

    Attributes
    ----------
    text
        Its formula, such as ``"~ 1 + x"``.
    X
        Columns at the rows used, (n_obs, n_columns).
    recipe
        Makes them of other data.
    """

    text: str
    X: Floats
    recipe: DesignRecipe

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return self.recipe.fixed.names

    @cached_property
    def map(self) -> Floats:
        """T with columns X T that are orthonormal but for n, so that units and origins of covariates change nothing.

        Raises
        ------
        DesignError
            If a column is a combination of those before it.
        """
        X, k = self.X, self.X.shape[1]
        centre = np.eye(k)
        if self.names[0] == INTERCEPT:
            centre[0, 1:] = -X[:, 1:].mean(axis=0)
        centred = X @ centre
        _, R = np.linalg.qr(centred)
        length = np.linalg.norm(centred, axis=0)
        lost = (length <= ROUNDING * np.linalg.norm(X, axis=0)) | (np.abs(np.diag(R)) <= LEAST_SHARE * length)
        if lost.any():
            name = self.names[int(lost.argmax())]
            raise DesignError(
                f"{name!r} in {ARGUMENT}={self.text!r} is constant or a combination of the columns before it. "
                "Leave it out."
            )
        return np.asarray(np.sqrt(len(X)) * centre @ np.linalg.inv(R) * np.sign(np.diag(R)))

    @property
    def basis(self) -> Floats:
        """X T, (n_obs, n_columns), C order."""
        return np.ascontiguousarray(self.X @ self.map)

    def take(self, rows: npt.NDArray[np.intp]) -> ZeroPart:
        """Return the covariates of some rows, repeated ones too.

        Parameters
        ----------
        rows
            Positions among the rows used, (n_taken,).
        """
        return replace(self, X=np.ascontiguousarray(self.X[rows]))

    def undetermined(self, rows: npt.NDArray[np.bool_]) -> Floats:
        """Return directions of the effects, in the columns of ``basis``, on which no chance outside of rows depends.

        Parameters
        ----------
        rows
            Where chances are none or one whatever the effects are within bounds, (n_obs,).

        Returns
        -------
        numpy.ndarray
            (n_columns, n_directions), orthonormal.
        """
        if not rows.any():
            return np.zeros((self.X.shape[1], 0))
        gram = self.basis[~rows].T @ self.basis[~rows] / len(rows)  # of all rows it is the identity
        values, vectors = np.linalg.eigh(gram)
        return np.asarray(vectors[:, values <= LEAST_SHARE**2])


def zero_formula(text: object, formula: Formula) -> Formula:
    """Return the formula of the chance of a zero, as the fixed part of one with the response of the counts.

    Parameters
    ----------
    text
        A formula with nothing left of its tilde.
    formula
        That of the counts.

    Raises
    ------
    FormulaError
        If it cannot be read, or has more than fixed effects.
    """
    if not isinstance(text, str) or not text.strip().startswith("~"):
        raise FormulaError(f"{ARGUMENT}={text!r} must be a formula with nothing left of ~, such as '~ 1' or '~ 1 + x'.")
    right = text.strip()[1:].strip()
    for sign, what in (("|", "Random effects"), ("offset(", "Offsets")):
        if sign in right:
            raise FormulaError(f"{what} in {ARGUMENT}={text!r} cannot be fitted yet. Write fixed effects alone.")
    return replace(formula, text=text.strip(), fixed=right, random=(), offsets=())


def read_zero_part(text: object, data: object, design: Design) -> tuple[ZeroPart, Design]:
    """Return the covariates of the chance of a zero at the rows of a design, which then knows their data columns.

    Parameters
    ----------
    text
        A formula with nothing left of its tilde.
    data
        As for the design.
    design
        The design of the counts, which says which rows are used.

    Raises
    ------
    DataError, DesignError, FormulaError
        If the formula cannot be read, a column is unknown, has missing values in the rows used or cannot be estimated.
    """
    right = zero_formula(text, design.formula).fixed
    frame = open_frame(data)
    part = read_part(terms_of(right), frame.names)
    columns = {}
    for name in part.columns:
        if name not in frame.names:
            raise unknown_column(name, frame.names)
        column = frame.read(name)
        column = column if design.rows is None else column.take(design.rows)
        if column.missing is not None and column.missing.any():
            raise DataError(
                f"Column {name!r} of {ARGUMENT}={text!r} is missing in {np.count_nonzero(column.missing)} of the "
                f"{design.n_obs} rows used. Leave these rows out of the data: data.dropna(subset=[{name!r}])."
            )
        column = column.as_levels() if column.is_boolean and name in part.lookups else column
        columns[name] = column.drop_unused_levels()
    memory = Memory()
    X, recipe = Evaluation(columns, design.n_obs, memory, {}).first_matrix(part)
    if not X.shape[1]:
        raise DesignError(f"{ARGUMENT}={text!r} has no columns. Write '~ 1' for one chance in all rows.")
    check_finite(recipe.names, X, "those used")
    levels = {name: column.levels for name, column in columns.items() if column.levels is not None}
    booleans = frozenset(name for name, column in columns.items() if column.is_boolean)
    dates = {name: column.values.dtype for name, column in columns.items() if column.is_date}
    made = DesignRecipe(recipe, (), (), {}, levels, {}, memory, booleans, dates)
    out = ZeroPart(f"~ {right}", np.ascontiguousarray(X), made)
    _ = out.map  # which tells what cannot be estimated
    return out, replace(design, columns={**columns, **design.columns})
