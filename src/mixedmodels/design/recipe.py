"""How a design was made, so that new data go through the same door."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from formulaic.transforms.contrasts import Contrasts

from mixedmodels.design.evaluation import Evaluation, MatrixRecipe, Memory, check_finite
from mixedmodels.design.expression import unknown_column
from mixedmodels.design.frame import Column, Frame, open_frame
from mixedmodels.design.grouping import Grouping, look_up
from mixedmodels.design.labels import level_text, odd_ones, shown_level
from mixedmodels.design.left_out import LeftOut
from mixedmodels.design.probe import Probe
from mixedmodels.design.records import Codes, Floats
from mixedmodels.errors import DataError


@dataclass(frozen=True)
class FactorRecipe:
    """One grouping factor: how rows find their level, and the matrices of its terms, side by side."""

    grouping: Grouping
    matrices: tuple[MatrixRecipe, ...]


@dataclass(frozen=True)
class DesignRecipe:
    """Everything that new data need to become rows of the same design.

    Rows with a missing value where one is needed come out as NaN, or as level -1.

    Attributes
    ----------
    fixed
        The fixed part.
    factors
        The grouping factors, in the design's order.
    offsets
        Columns and expressions whose sum is the offset.
    sources
        The columns that offsets and grouping variables are read or computed from.
    levels
        Levels of the categorical columns in the fixed part and left of the bars.
    contrasts
        Their coding, where the user chose it.
    memory
        What transformations remember.
    booleans
        Columns of true and false that something is computed from.
    dates
        Types of the columns of dates and durations.
    weights
        The column of weights, if they were given by name.
    absorbed
        Absorbed factors, in the design's order.
    probe
        Rows of the fit that show what cannot be computed for new data; None if nothing is computed.
    """

    fixed: MatrixRecipe
    factors: tuple[FactorRecipe, ...]
    offsets: tuple[str, ...]
    sources: Mapping[str, tuple[str, ...]]
    levels: Mapping[str, pd.Index]
    contrasts: Mapping[str, Contrasts]
    memory: Memory
    booleans: frozenset[str] = frozenset()
    dates: Mapping[str, np.dtype[Any]] = field(default_factory=dict)
    weights: str | None = None
    probe: Probe | None = None
    absorbed: tuple[Grouping, ...] = ()

    def fixed_matrix(self, data: object) -> Floats:
        """Return X for other data, shape (n_rows, n_columns), the design's columns.

        Raises
        ------
        DataError
            A column is missing, of another kind, or has a level that the fit did not have.
        """
        return self._matrix(data, (self.fixed,))

    def random_matrix(self, data: object, k: int) -> Floats:
        """Return the columns of the k-th factor for other data, shape (n_rows, n_effects).

        Raises
        ------
        DataError
            As for `fixed_matrix`.
        """
        return self._matrix(data, self.factors[k].matrices)

    def level_codes(self, data: object, k: int) -> Codes:
        """Return the level of each row in the k-th factor, shape (n_rows,); -1 where it is missing or new.

        Raises
        ------
        DataError
            A column is missing.
        """
        return self.factors[k].grouping.codes(dict(self.grouping_values(data, k)).__getitem__)

    def absorbed_codes(self, data: object, k: int) -> Codes:
        """Return the level of each row in the k-th absorbed factor, (n_rows,); -1 where it is missing or new.

        Raises
        ------
        DataError
            A column is missing.
        """
        return self.absorbed[k].codes(dict(self.absorbed_values(data, k)).__getitem__)

    def absorbed_values(self, data: object, k: int) -> list[tuple[str, Column]]:
        """Return the variables of the k-th absorbed factor with their values in other data.

        Raises
        ------
        DataError
            A column is missing.
        """
        return self._values(data, self.absorbed[k].variables)

    def grouping_values(self, data: object, k: int) -> list[tuple[str, Column]]:
        """Return the variables of the k-th factor, columns or expressions, with their values in other data.

        Raises
        ------
        DataError
            A column is missing.
        """
        return self._values(data, self.factors[k].grouping.variables)

    def _values(self, data: object, variables: tuple[str, ...]) -> list[tuple[str, Column]]:
        frame = open_frame(data)
        self._check_computable(variables)
        names = [name for variable in variables for name in self.sources[variable]]
        _check_there(names, frame)
        columns = {name: frame.read(name) for name in names}
        evaluation = Evaluation(columns, frame.n_rows, self.memory, {})
        return [(variable, evaluation.values(variable)) for variable in variables]

    def offset(self, data: object) -> Floats:
        """Return the sum of the offsets for other data, shape (n_rows,); zeros if there are none.

        An offset that was given as an array is not among them.

        Raises
        ------
        DataError
            A column is missing or cannot be used.
        """
        frame = open_frame(data)
        self._check_computable(self.offsets)
        total = np.zeros(frame.n_rows)
        for expression in self.offsets:
            evaluation, rows = self._complete_rows(data, self.sources[expression])
            values = evaluation.values(expression)
            if not values.is_number:
                raise DataError(f"Offset {expression!r} is not numeric.")
            total += _spread(values.values.astype(np.float64), rows, frame.n_rows)
        return total

    def response(self, data: object, expression: str) -> Floats | None:
        """Return the response in other data, (n_rows,), NaN where it is missing; None if its columns are not there.

        Parameters
        ----------
        data
            Other data.
        expression
            The left-hand side of the formula.

        Raises
        ------
        DataError
            It cannot be computed for new rows, or is no number.
        """
        frame = open_frame(data)
        if not set(self.sources[expression]) <= set(frame.names):
            return None
        self._check_computable([expression])
        evaluation, rows = self._complete_rows(data, self.sources[expression])
        values = evaluation.values(expression)
        if not values.is_number:
            raise DataError(f"The response {expression!r} is not numeric in the new data.")
        return _spread(values.values.astype(np.float64), rows, frame.n_rows)

    def _matrix(self, data: object, recipes: tuple[MatrixRecipe, ...]) -> Floats:
        evaluation, rows = self._complete_rows(data, [name for recipe in recipes for name in recipe.columns])
        computed = [recipe for recipe in recipes if recipe.spec is not None]
        self._check_computable(str(term) for recipe in computed for term in recipe.terms)
        matrix = np.hstack([evaluation.matrix(recipe) for recipe in recipes])
        matrix = matrix if rows is None else _spread(matrix, rows, len(rows))
        if computed:
            check_finite([name for recipe in recipes for name in recipe.names], matrix, "the new data")
        return matrix

    @cached_property
    def of_all_rows(self) -> frozenset[str]:
        """Terms and expressions that give a row another value among other rows."""
        return frozenset() if self.probe is None else self.probe.changed(self.memory, self.contrasts)

    def _check_computable(self, expressions: Iterable[str]) -> None:
        for expression in expressions:
            if expression in self.of_all_rows:
                raise DataError(
                    f"{expression!r} depends on all rows of the data, so that new rows would not get the values that "
                    "they had in the fit. Use center(), scale() or poly(), which remember the fit, or make it a column "
                    "of the data."
                )

    def _complete_rows(self, data: object, names: Iterable[str]) -> tuple[Evaluation, npt.NDArray[np.bool_] | None]:
        """Return the rows without missing values, ready to be evaluated, and which these are (None: all)."""
        frame = open_frame(data)
        _check_there(names, frame)
        columns = {name: self._as_in_fit(name, frame.read(name)) for name in names}
        masks = [column.missing for column in columns.values() if column.missing is not None]
        if not masks:
            return Evaluation(columns, frame.n_rows, self.memory, self.contrasts), None
        complete = ~np.logical_or.reduce(masks)
        rows = np.flatnonzero(complete)
        kept = {name: column.take(rows) for name, column in columns.items()}
        return Evaluation(kept, len(rows), self.memory, self.contrasts), complete

    def _as_in_fit(self, name: str, column: Column) -> Column:
        """Return the column with the levels that it had in the fit."""
        levels = self.levels.get(name)
        coding = self.contrasts.get(name)
        if isinstance(coding, LeftOut):
            coding.refuse()
        if name in self.dates:
            return _as_dates(name, column, self.dates[name])
        if levels is None:
            if column.levels is not None:
                odd = next(iter(odd_ones(column.levels)), level_text(column.levels[0]))
                raise DataError(f"Column {name!r} was numeric in the fit, but holds {odd!r} now.")
            return self._number_as_in_fit(name, column)
        codes = look_up(column, levels)
        unseen = codes < 0 if column.missing is None else (codes < 0) & ~column.missing
        if unseen.any():
            found = column.values[unseen][:1]
            value = shown_level((found if column.levels is None else column.levels[found])[0])
            listed = ", ".join(repr(shown_level(level)) for level in levels[:20])
            more = ", ..." if len(levels) > 20 else ""
            raise DataError(
                f"Column {name!r} has the level {value!r}, which the fit did not have. It had {listed}{more}."
            )
        return Column(codes, levels, column.missing)

    def _number_as_in_fit(self, name: str, column: Column) -> Column:
        """Return true and false as 1 and 0, or the other way about, where the fit had them so."""
        if column.is_date:
            raise DataError(f"Column {name!r} was numeric in the fit, but holds dates or times now.")
        if column.is_boolean == (name in self.booleans):
            return column
        if column.is_boolean:
            return Column(column.values.astype(np.int64), None, column.missing)
        other = ~np.isin(column.values, (0, 1))
        other &= True if column.missing is None else ~column.missing
        if other.any():
            raise DataError(f"Column {name!r} was true or false in the fit, but holds {column.values[other][0]} now.")
        return Column(column.values.astype(np.bool_), None, column.missing)


def _as_dates(name: str, column: Column, dtype: np.dtype[Any]) -> Column:
    """Return a column of dates, which may be known by their texts: year first, since others can be read in two ways."""
    if column.is_date and column.values.dtype.kind == dtype.kind:
        return column
    if column.levels is None:
        raise DataError(f"Column {name!r} held dates or durations in the fit, but holds numbers now.")
    is_date = dtype.kind == "M"
    read = partial(pd.to_datetime, format="ISO8601") if is_date else pd.to_timedelta
    times = [read(str(level), errors="coerce") for level in column.levels]
    if any(map(pd.isna, times)):
        wrong = next(level for level, time in zip(column.levels, times, strict=True) if pd.isna(time))
        hint = " Write dates as in 2014-02-17." if is_date else ""
        raise DataError(
            f"Column {name!r} held dates or durations in the fit, but holds {shown_level(wrong)!r} now.{hint}"
        )
    values = np.array([time.to_numpy() for time in times], dtype=dtype)[column.values]
    return Column(values, missing=column.missing)


def _check_there(names: Iterable[str], frame: Frame) -> None:
    for name in names:
        if name not in frame.names:
            raise unknown_column(name, frame.names)


def _spread(values: Floats, rows: npt.NDArray[np.bool_] | None, n_rows: int) -> Floats:
    """Return the values at their rows and NaN elsewhere."""
    if rows is None:
        return values
    spread = np.full((n_rows, *values.shape[1:]), np.nan)
    spread[rows] = values
    return spread
