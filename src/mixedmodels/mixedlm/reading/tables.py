"""Arrays, lists, series and frames as matrices with names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError

Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Table:
    """Columns of numbers.

    Attributes
    ----------
    values
        (n_rows, n_columns), C order.
    names
        Of the columns, where the user gave them.
    index
        The rows' labels, if it was a pandas object.
    labels
        The names as they were given, which need not be texts; None where they are the names.
    """

    values: Floats
    names: list[str] | None
    index: pd.Index | None
    labels: list[Any] | None = None

    @property
    def is_pandas(self) -> bool:
        """True for a Series or DataFrame."""
        return self.index is not None

    def take(self, rows: Rows) -> Table:
        """Return some rows."""
        index = None if self.index is None else self.index[rows]
        return Table(np.ascontiguousarray(self.values[rows]), self.names, index, self.labels)


def read_table(what: str, data: Any) -> Table:
    """Return one or more columns of numbers.

    Parameters
    ----------
    what
        What it is called in messages.
    data
        Array, list, Series, DataFrame or patsy's ``DesignMatrix``, with one or two dimensions.

    Raises
    ------
    DataError
        If it is not numeric, or has more dimensions.
    """
    names, index, labels = None, None, None
    if isinstance(data, pd.DataFrame):
        names, index, labels = [str(name) for name in data.columns], data.index, list(data.columns)
        for name in data.columns:
            if isinstance(data[name], pd.Series):
                _refuse_text(f"{what} column {name!r}", data[name])
    elif isinstance(data, pd.Series):
        names, index = None if data.name is None else [str(data.name)], data.index
        _refuse_text(what, data)
    elif hasattr(data, "to_pandas"):
        return read_table(what, data.to_pandas())
    elif hasattr(data, "design_info"):  # a matrix that patsy made
        names = list(data.design_info.column_names)
    try:
        if np.iscomplexobj(data):
            raise TypeError("it holds complex numbers")
        values = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must be numeric: {error}. Code categories as columns, or use from_formula.") from error
    if values.ndim not in (1, 2):
        raise DataError(f"{what} must have one or two dimensions; its shape is {values.shape}.")
    return Table(np.ascontiguousarray(values[:, None] if values.ndim == 1 else values), names, index, labels)


def _refuse_text(what: str, column: pd.Series) -> None:
    if not pd.api.types.is_numeric_dtype(column.dtype) and column.dtype != object:
        raise DataError(
            f"{what} must be numeric, but its type is {column.dtype}. Code categories as columns, or use from_formula."
        )


def check_rows(tables: Sequence[tuple[str, Table]]) -> None:
    """Tables must have as many rows as the first.

    Raises
    ------
    DataError
        They have not, or pandas indices of response and fixed part differ.
    """
    (first, leader), *others = tables
    for what, table in others:
        if len(table.values) != len(leader.values):
            raise DataError(
                f"{what} has {len(table.values)} rows, but {first} has {len(leader.values)}. Pass one row for each."
            )
    if len(leader.values) == 0:
        raise DataError("The data have no rows.")


def missing_rows(parts: Sequence[tuple[str, Floats]]) -> tuple[Mask, str]:
    """Return where a value is missing, (n_rows,), and the first part that has one.

    Raises
    ------
    DataError
        If a value is infinite.
    """
    missing = np.zeros(len(parts[0][1]), dtype=bool)
    where = ""
    for what, values in parts:
        if np.isfinite(values).all():
            continue
        infinite = np.isinf(values).any(axis=1)
        if infinite.any():
            raise DataError(
                f"{what} is infinite in {np.count_nonzero(infinite)} of {len(values)} rows, the first row "
                f"{infinite.argmax()} (counted from 0). Replace these values, or leave the rows out."
            )
        missing |= np.isnan(values).any(axis=1)
        where = where or what
    return missing, where


def fixed_names(values: Floats) -> list[str]:
    """Return the names of nameless columns: ``x1, x2, ...``, and ``const`` for a constant one."""
    n_columns = values.shape[1]
    variance = values.var(axis=0)
    if not n_columns or variance.min() > 0:
        return [f"x{j + 1}" for j in range(n_columns)]
    names = [f"x{j + 1}" for j in range(n_columns - 1)]
    names.insert(int(variance.argmin()), "const")
    return names
