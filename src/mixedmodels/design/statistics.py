"""Sums from SQL in place of rows: the text that asks for them, and few rows with the same sums.

Rows that agree in all grouping columns and categories make a cell. Of its numbers the model needs their means and
products alone, so a cell becomes a few rows, each counted as often as it takes, that have these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import combinations_with_replacement
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from mixedmodels.design.batches import Batches, Part, column_kind, in_pieces, kinds_of
from mixedmodels.design.expression import columns_in
from mixedmodels.design.frame import open_frame
from mixedmodels.design.open_rows import is_stream, open_rows
from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, FormulaError
from mixedmodels.formula.algebra import terms_of
from mixedmodels.formula.expressions import column_name, is_lookup
from mixedmodels.formula.terms import Formula
from mixedmodels.formula.words import Text, has_rest

COUNTS = "n_rows"
"""The column of statistics that counts the rows of a cell, and that of the rows that stand for them."""

ORIGIN, SUM = "origin__", "sum__"
"""What other columns of statistics begin with."""

ROUNDING = 64 * np.finfo(np.float64).eps
"""Variance within a cell, relative to the mean square about the origin, that is rounding."""

SHOWN = 4
"""Columns that a message lists."""


@dataclass(frozen=True)
class Measures:
    """What a formula wants of a table.

    Attributes
    ----------
    keys
        Columns that the rows of a cell agree in.
    numbers
        Columns of which sums are wanted, the response first.
    """

    keys: tuple[str, ...]
    numbers: tuple[str, ...]

    @property
    def products(self) -> list[tuple[str, str]]:
        """The pairs of numbers."""
        return list(combinations_with_replacement(self.numbers, 2))


def measures_of(formula: Formula, by: Collection[str]) -> Measures:
    """Return what a formula wants of a table.

    Parameters
    ----------
    formula
        As `parse_formula` returns it.
    by
        Columns whose values are told apart beside those of the grouping factors: categories, and numbers with few
        values that something is computed from.

    Raises
    ------
    FormulaError
        It wants more than sums of columns.
    """
    if formula.residual is not None or formula.absorbed or has_rest(Text(formula.fixed).tokens()):
        raise FormulaError(f"{formula.text!r} needs the rows: sums know no correlated residuals, no fe() and no dot.")
    groups = [name for name in formula.grouping_variables if name in formula.names]
    known = dict.fromkeys([*groups, *by])
    keys: dict[str, None] = dict.fromkeys(groups)
    numbers: dict[str, None] = {}

    def note(expression: str, is_column: bool) -> bool:
        """Take the columns of an expression, and return whether it is a number within cells."""
        if is_column and expression not in known:
            numbers[expression] = None
            return True
        try:
            keys.update(dict.fromkeys([expression] if is_column else columns_in(expression, list(known))))
        except DataError as error:
            raise FormulaError(
                f"{expression!r} is computed from rows, of which there are sums only. Make it a column of a view, or "
                "name its columns in by=, if they have few values."
            ) from error
        return False

    note(formula.response, formula.response in formula.names)
    if not numbers:
        raise FormulaError(f"The response {formula.response!r} must be a column of numbers that is not in by=.")
    for name in (*formula.offsets, *formula.grouping_variables):
        note(name, name in formula.names)
    for text in (formula.fixed, *(term.columns for term in formula.random)):
        for term in terms_of(text):
            factors = [factor for factor in term.factors if factor.expr != "1"]
            named = [(column_name(f), True) if is_lookup(f) else (str(f.expr), False) for f in factors]
            within = [name for name, is_column in named if note(name, is_column)]
            if len(within) > 1:
                listed = " and ".join(map(repr, within))
                raise FormulaError(
                    f"{str(term)!r} multiplies numbers row by row, and there are sums of columns only. Make the "
                    f"product of {listed} a column of a view."
                )
    return Measures(tuple(keys), tuple(numbers))


def statistics_sql(measures: Measures, table: str) -> str:
    """Return the SQL text that makes the statistics of a table.

    Parameters
    ----------
    measures
        What is wanted.
    table
        Its name, or what else can stand after FROM.
    """
    names = [ORIGIN + name for name in measures.numbers]
    names += [SUM + name for name in measures.numbers] + [f"{SUM}{a}__{b}" for a, b in measures.products]
    if len({*names, *measures.keys, COUNTS}) < len(names) + len(measures.keys) + 1:
        raise DataError(
            "Two columns of the statistics would have one name. Rename columns whose names have two lines, __."
        )
    key = [_quoted(name) for name in measures.keys]
    cast = [f"CAST({_quoted(name)} AS DOUBLE PRECISION) AS {_quoted(name)}" for name in measures.numbers]
    there = [f"{_quoted(name)} IS NOT NULL" for name in (*measures.keys, *measures.numbers)]
    origin = {name: _quoted(ORIGIN + name) for name in measures.numbers}
    apart = {name: f"({_quoted(name)} - {origin[name]})" for name in measures.numbers}
    sums = [f"SUM{apart[name]} AS {_quoted(SUM + name)}" for name in measures.numbers]
    sums += [f"SUM({apart[a]} * {apart[b]}) AS {_quoted(f'{SUM}{a}__{b}')}" for a, b in measures.products]
    means = [f"AVG({_quoted(name)}) AS {origin[name]}" for name in measures.numbers]
    lines = ",\n  "
    return (
        f"WITH used AS (\n  SELECT {', '.join([*key, *cast])}\n  FROM {table}\n  WHERE {' AND '.join(there)}\n),\n"
        f"centre AS (\n  SELECT {', '.join(means)}\n  FROM used\n)\n"
        f"SELECT\n  {lines.join([*key, *origin.values(), f'COUNT(*) AS {COUNTS}', *sums])}\n"
        f"FROM used CROSS JOIN centre\nGROUP BY {', '.join([*key, *origin.values()])}"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def open_statistics(formula: Formula, statistics: object) -> Batches:
    """Return rows that have the sums of some statistics, with how often each counts in the column ``COUNTS``.

    Raises
    ------
    DataError
        They are not those of this formula.
    """
    rows = open_rows(statistics) if is_stream(statistics) else _held(statistics)
    known = rows.kinds.names
    by = [name for name in known if name != COUNTS and not name.startswith((ORIGIN, SUM))]
    measures = measures_of(formula, by)
    found = {(a, b): _product_name(a, b, known) for a, b in measures.products}
    wanted = [COUNTS, *(prefix + name for name in measures.numbers for prefix in (ORIGIN, SUM)), *found.values()]
    lacking = [name for name in [*measures.keys, *wanted] if name not in known]
    if lacking:
        listed = ", ".join(map(repr, lacking[:SHOWN])) + (", ..." if len(lacking) > SHOWN else "")
        raise DataError(
            f"The statistics have no column {listed}, which {formula.text!r} needs. Ask for them with the text that "
            "sufficient_statistics_sql makes of this formula, or of one with all its columns."
        )
    for name in wanted:
        if column_kind(rows.kinds.types[name]) != "numbers":
            raise DataError(
                f"Column {name!r} of the statistics holds {column_kind(rows.kinds.types[name])}, not numbers."
            )
    if not isinstance(rows, Batches):
        raise DataError(
            "The statistics must be a data frame, a file or a stream, which sums of a table are small enough for."
        )
    pa = import_module("pyarrow")
    types = {name: rows.kinds.types[name] for name in measures.keys}
    types |= dict.fromkeys([*measures.numbers, COUNTS], pa.float64())
    kinds = kinds_of(pa.schema(list(types.items())), rows.kinds.can_repeat)

    def read(names: Sequence[str]) -> Iterator[Part]:
        for place, table in rows.read([*measures.keys, *wanted]):
            yield place, _stand_ins(table, measures, found, place).select(list(names))

    return Batches(kinds, read)


def _held(data: object) -> Batches:
    """Return the rows of a data frame."""
    if isinstance(data, Mapping):
        data = pd.DataFrame(dict(data))
    open_frame(data)  # which refuses what is none
    pa = import_module("pyarrow")
    if isinstance(data, pd.DataFrame):
        table = pa.Table.from_pandas(data, preserve_index=False)
    else:
        table = nw.from_native(data, eager_only=True).to_arrow()  # type: ignore[call-overload]  # it is a data frame
    kinds = kinds_of(table.schema)
    return Batches(kinds, lambda names: in_pieces("the statistics", table.select(list(names)), kinds))


def _product_name(a: str, b: str, known: Collection[str]) -> str:
    other = f"{SUM}{b}__{a}"
    return other if other in known else f"{SUM}{a}__{b}"


def _stand_ins(table: Any, measures: Measures, products: Mapping[tuple[str, str], str], place: str) -> Any:
    """Return rows that have the sums of the cells of a table."""
    pa = import_module("pyarrow")

    def numbers(name: str) -> Floats:
        return np.asarray(table[name].to_numpy(), dtype=np.float64)

    n = numbers(COUNTS)
    d = len(measures.numbers)
    sums = np.column_stack([numbers(SUM + name) for name in measures.numbers])
    origin = np.column_stack([numbers(ORIGIN + name) for name in measures.numbers])
    squares = np.empty((len(n), d, d))
    at = {name: j for j, name in enumerate(measures.numbers)}
    for (a, b), name in products.items():
        squares[:, at[a], at[b]] = squares[:, at[b], at[a]] = numbers(name)
    if not (np.isfinite(sums).all() and np.isfinite(squares).all() and np.isfinite(origin).all() and (n > 0).all()):
        raise DataError(
            f"In {place!r}: a sum is missing, no finite number, or of no rows. Leave out rows with NaN or infinite "
            "values before they are summed."
        )
    cells, values, counts = spread(n, sums, squares)
    columns = {name: table[name].take(pa.array(cells)) for name in measures.keys}
    columns |= {name: pa.array(origin[cells, j] + values[:, j]) for name, j in at.items()}
    return pa.table({**columns, COUNTS: pa.array(counts)})


def spread(n: Floats, sums: Floats, squares: Floats) -> tuple[Any, Floats, Floats]:
    """Return rows with given sums: the cell of each, its values (n_rows, d), and how often it counts.

    Parameters
    ----------
    n
        Rows of each cell, (n_cells,).
    sums, squares
        Sums of d numbers, (n_cells, d), and of their products, (n_cells, d, d).
    """
    d = sums.shape[1]
    mean = sums / n[:, None]
    covariance = squares / n[:, None, None] - mean[:, :, None] * mean[:, None, :]
    size = np.minimum(n.astype(np.intp), d + 1)
    constant = (
        np.diagonal(covariance, axis1=1, axis2=2) <= ROUNDING * np.diagonal(squares, axis1=1, axis2=2) / n[:, None]
    )
    covariance[constant[:, :, None] | constant[:, None, :]] = 0.0
    cells, values, counts = [], [], []
    for m in np.unique(size):
        own = np.flatnonzero(size == m)
        rows = np.repeat(mean[own][:, None, :], m, axis=1)
        if m > 1:
            length = np.sqrt(np.maximum(np.diagonal(covariance[own], axis1=1, axis2=2), 0.0))
            scale = np.where(length > 0, length, 1.0)
            share, axes = np.linalg.eigh(covariance[own] / (scale[:, :, None] * scale[:, None, :]))
            root = (axes * np.sqrt(np.maximum(share, 0.0))[:, None, :])[:, :, d + 1 - m :]  # the largest m - 1
            rows += _balanced(int(m)) @ (root * scale[:, :, None]).transpose(0, 2, 1)
        cells.append(np.repeat(own, m))
        values.append(rows.reshape(-1, d))
        counts.append(np.repeat(n[own] / m, m))
    order = np.argsort(np.concatenate(cells), kind="stable")
    return np.concatenate(cells)[order], np.concatenate(values)[order], np.concatenate(counts)[order]


def _balanced(m: int) -> Floats:
    """Return m rows of m - 1 columns with mean zero that are orthogonal, each with mean square one."""
    columns = np.column_stack([np.ones(m), np.eye(m)[:, : m - 1]])
    return np.asarray(np.linalg.qr(columns)[0][:, 1:] * np.sqrt(m))
