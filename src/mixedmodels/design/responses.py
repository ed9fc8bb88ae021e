"""Many responses of one design: columns of an array, of a frame, or of a parquet file, read a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pandas as pd

from mixedmodels.design.frame import Frame, Mask, check_order, open_frame, read_array
from mixedmodels.errors import DataError, nearest, pip_install

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.frame import Column
    from mixedmodels.design.records import Floats

PIECE = 1 << 24
"""Bytes of a file that are read at once to tell it from others."""


@dataclass(frozen=True)
class Responses:
    """Responses that are read a block at a time.

    Attributes
    ----------
    labels
        What they are called, (m,): names of columns, or their positions.
    n_rows
        Values of each.
    read
        Returns the responses at some positions, one a row, (n_block, n_rows); NaN where a value is missing.
    digest
        Returns a checksum of all values.
    """

    labels: pd.Index
    n_rows: int
    read: Callable[[range], Floats]
    digest: Callable[[], str]

    def __len__(self) -> int:
        return len(self.labels)


def open_responses(Y: Any, n_rows: int, row_labels: pd.Index | None) -> Responses:
    """Return the responses in an array, a frame, a mapping or a parquet file.

    Parameters
    ----------
    Y
        As for ``lmer_many``.
    n_rows
        Rows of the data.
    row_labels
        Their labels; None for positions.

    Raises
    ------
    DataError
        Something else, other rows than the data's, no responses, or two of one name.
    """
    if isinstance(Y, str | PathLike):
        opened = _of_file(fspath(Y))
    elif isinstance(Y, pd.DataFrame | pd.Series):
        frame = Y.to_frame() if isinstance(Y, pd.Series) else Y
        check_order("Y", frame, pd.RangeIndex(n_rows) if row_labels is None else row_labels)
        opened = _of_pandas(frame)
    elif isinstance(Y, Mapping):
        opened = _of_columns(pd.Index([*Y], dtype=object), open_frame(Y).n_rows, list(Y.values()).__getitem__)
    else:
        frame = nw.from_native(Y, pass_through=True)
        if isinstance(frame, nw.LazyFrame):
            raise DataError("Y is a lazy frame, which holds no rows yet. Call .collect() on it first.")
        if isinstance(frame, nw.DataFrame):
            opened = _of_columns(
                pd.Index(frame.columns, dtype=object), len(frame), lambda j: frame[frame.columns[j]].to_native()
            )
        else:
            opened = _of_array(Y)
    if opened.n_rows != n_rows:
        turned = " It is turned around: pass Y.T." if len(opened) == n_rows else ""
        raise DataError(
            f"Y has {opened.n_rows} rows and {len(opened)} columns, and the data have {n_rows} rows. Y must have a row "
            f"for each row of the data, in their order, and a column for each response.{turned}"
        )
    if not len(opened):
        raise DataError("Y has no columns, so there is no response.")
    repeated = opened.labels[opened.labels.duplicated()]
    if len(repeated):
        raise DataError(f"Several columns of Y are called {repeated[0]!r}. Give each response its own name.")
    return opened


def frame_with_response(frame: Frame, response: Column, formula: str) -> tuple[str, Frame]:
    """Return a name that no column has and no formula mentions, and the frame with a response of that name."""
    name = "response"
    while name in frame.names or name in formula:
        name += "_"

    def read(wanted: str) -> Column:
        return response if wanted == name else frame.read(wanted)

    return name, Frame(frame.n_rows, (*frame.names, name), read, frame.index)


def _of_array(Y: Any) -> Responses:
    try:
        given = np.ma.filled(Y.astype(np.float64), np.nan) if isinstance(Y, np.ma.MaskedArray) else np.asarray(Y)
        values = given.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            "Y must hold numbers: an array, a pandas or polars DataFrame, a pyarrow Table, a mapping of arrays or the "
            f"path of a parquet file, and this {type(Y).__name__!r} is none: {error}."
        ) from error
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise DataError(
            f"Y has {values.ndim} dimensions; it must have two, a row for each row of the data and a column for each "
            "response."
        )

    def read(at: range) -> Floats:
        return np.array(values[:, at.start : at.stop].T, order="C")

    return Responses(pd.RangeIndex(values.shape[1]), len(values), read, lambda: _digest([values]))


def _of_pandas(Y: pd.DataFrame) -> Responses:
    if Y.columns.nlevels > 1:
        raise DataError("The columns of Y have several levels (a MultiIndex). Give each response one name.")
    opened = _of_columns(Y.columns, len(Y), lambda j: Y.iloc[:, j])
    if not all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in Y.dtypes.unique()):
        return opened

    def read(at: range) -> Floats:
        return np.array(Y.iloc[:, at.start : at.stop].to_numpy(dtype=np.float64).T, order="C")

    return replace(opened, read=read)


def _of_columns(labels: pd.Index, n_rows: int, column: Callable[[int], Any]) -> Responses:
    def numbers(j: int) -> Floats:
        return _numbers(str(labels[j]), column(j))

    return Responses(
        labels, n_rows, lambda at: np.stack([*map(numbers, at)]), lambda: _digest(map(numbers, range(len(labels))))
    )


def _of_file(path: str) -> Responses:
    if not path.lower().endswith(".parquet"):
        raise DataError(
            f"Y is the file {path!r}; responses are read from parquet files alone. Read others first, for example by "
            "pandas.read_csv, and pass the frame."
        )
    try:
        import pyarrow as pa  # noqa: PLC0415  # optional
        from pyarrow import parquet  # noqa: PLC0415  # optional
    except ImportError as error:
        raise DataError(f"Parquet files need pyarrow; install it with: {pip_install('pyarrow')}") from error
    if not Path(path).is_file():
        siblings = [each.name for each in Path(path).parent.glob("*")]
        raise DataError(f"There is no file {path!r}.{nearest(Path(path).name, siblings)}")
    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path!r} cannot be read: it is no parquet file, or damaged ({error}).") from error
    names = [name for name in file.schema_arrow.names if not name.startswith("__index_level_")]

    def read(at: range) -> Floats:
        wanted = names[at.start : at.stop]
        try:
            table = file.read(columns=wanted)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path!r} cannot be read: it is damaged ({error}).") from error
        return np.stack([_numbers(name, table[name]) for name in wanted])

    return Responses(pd.Index(names, dtype=object), file.metadata.num_rows, read, lambda: _digest_of_file(path))


def _numbers(name: str, values: Any) -> Floats:
    """Return one response, NaN where it has no value; infinite values are for whoever fits it."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return values.astype(np.float64)
    series = nw.from_native(values, series_only=True, pass_through=True)
    if isinstance(series, nw.Series) and (series.dtype.is_numeric() or series.dtype == nw.Boolean):
        return np.asarray(series.cast(nw.Float64).to_numpy(), dtype=np.float64)
    column = read_array(name, values)
    if not column.is_number:
        kind = "dates" if column.is_date else "labels"
        raise DataError(f"Column {name!r} of Y holds {kind}, and a response must be numbers. Leave it out of Y.")
    numbers = column.values.astype(np.float64)
    if column.missing is not None:
        numbers[column.missing] = np.nan
    return numbers


def _digest(arrays: Iterable[Floats]) -> str:
    digest = sha256()
    for array in arrays:
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _digest_of_file(path: str) -> str:
    digest = sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def take_rows_of(frame: Frame, rows: npt.NDArray[np.intp]) -> Frame:
    """Return some rows of a frame."""

    def read(name: str) -> Column:
        column = frame.read(name)
        missing: Mask | None = None if column.missing is None else column.missing[rows]
        return type(column)(column.values[rows], column.levels, missing if missing is None or missing.any() else None)

    return Frame(len(rows), frame.names, read, None if frame.index is None else frame.index[rows])
