"""Data that are never held whole: files, datasets and streams of arrow, read a part at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from importlib import import_module
from itertools import chain
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import narwhals as nw
import pandas as pd

from mixedmodels.design.frame import Frame
from mixedmodels.design.read_ahead import read_ahead
from mixedmodels.errors import DataError, nearest

ENDINGS = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".arrow", ".feather")
"""Of files that are read in parts."""

ROWS = 2**18
"""Rows of a part, about: enough for what is done once a part to cost little, few enough to need little memory."""

Part = tuple[str, Any]
"""Where some rows are from, for messages, and the rows as a pyarrow Table."""


@dataclass(frozen=True)
class Kinds:
    """What is known of columns before their rows are read.

    Attributes
    ----------
    types
        Types of arrow, by name.
    labels
        Columns of text and of categories.
    ordered
        Those of categories, whose levels have an order of their own.
    can_repeat
        Whether the rows can be read again.
    """

    types: Mapping[str, Any]
    labels: frozenset[str]
    ordered: frozenset[str]
    can_repeat: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.types)


class Sums(Protocol):
    """What rows are added to, part by part, here or where they live."""

    @property
    def is_settled(self) -> bool:
        """Whether others can be forked from it; if not, the first rows that can be used will settle it."""

    def add(self, place: str, table: Any) -> None:
        """Add some rows."""

    def fork(self) -> Self:
        """Return the same without rows, for rows that are elsewhere."""

    def merge(self, other: Self) -> None:
        """Add what another has, which was forked from the same; it stays as it is."""


AnySums = TypeVar("AnySums", bound=Sums)


class RowSource(Protocol):
    """Rows that can be added up."""

    @property
    def kinds(self) -> Kinds:
        """What is known of the columns."""

    def fold(self, sums: AnySums, names: Sequence[str]) -> AnySums:
        """Return the sums with all rows added, of which these columns are needed."""


class Batches:
    """Rows that come in parts, here, one after the other.

    Parameters
    ----------
    kinds
        What is known of the columns.
    read
        Yields the parts, with some columns.
    """

    def __init__(self, kinds: Kinds, read: Callable[[Sequence[str]], Iterator[Part]]) -> None:
        self.kinds = kinds
        self._read = read
        self._begun: Iterator[Part] | None = None

    def read(self, names: Sequence[str]) -> Iterator[Part]:
        """Return the parts, with some columns."""
        begun, self._begun = self._begun, None
        return self._read(names) if begun is None else begun

    def peek(self, names: Sequence[str]) -> Part | None:
        """Return the first part, which will be read again with the same columns; None if there is none."""
        parts = self._read(names)
        first = next(parts, None)
        self._begun = parts if first is None else chain([first], parts)
        return first

    def fold(self, sums: AnySums, names: Sequence[str]) -> AnySums:
        """Return the sums with all rows added."""
        for place, table in self.read(names):
            sums.add(place, table)
        return sums


def is_in_parts(data: object) -> bool:
    """Return whether data are to be read in parts: a path, a dataset, or what has an arrow stream and is not in memory.

    Parameters
    ----------
    data
        As for ``lmer``.
    """
    if isinstance(data, str | PathLike):
        return True
    if isinstance(data, pd.DataFrame | pd.Series | Mapping | Frame):
        return False
    frame = nw.from_native(data, pass_through=True)
    if isinstance(frame, nw.DataFrame | nw.Series):
        return False
    return _is_polars_lazy(data) or _is_dataset(data) or hasattr(data, "__arrow_c_stream__")


def open_batches(data: object) -> Batches:
    """Return a reader of data in parts.

    Parameters
    ----------
    data
        Path, glob or folder of files; pyarrow dataset; polars LazyFrame; anything with ``__arrow_c_stream__``.

    Raises
    ------
    DataError
        There are no such files, or they do not fit together.
    """
    if isinstance(data, str | PathLike):
        return _files(_paths(fspath(data)))
    if _is_dataset(data):
        return _dataset(data)
    if _is_polars_lazy(data):
        return _polars(data)
    return _stream(data)


def column_kind(type_: Any) -> str:
    """Return what a column of an arrow type holds, in a word: numbers of any size are one kind, so are texts."""
    types = _arrow().types
    if types.is_dictionary(type_):
        return column_kind(type_.value_type)
    tests = (
        ("nothing", types.is_null),
        ("true and false", types.is_boolean),
        ("numbers", lambda t: types.is_integer(t) or types.is_floating(t) or types.is_decimal(t)),
        ("text", lambda t: types.is_string(t) or types.is_large_string(t) or types.is_string_view(t)),
        ("dates or times", types.is_temporal),
    )
    return next((kind for kind, test in tests if test(type_)), str(type_))


def _arrow(part: str = "") -> Any:
    """Return pyarrow, or a part of it, which few need."""
    return import_module(f"pyarrow{part}")


def _is_dataset(data: object) -> bool:
    return any(each.__module__.startswith("pyarrow.") and each.__name__ == "Dataset" for each in type(data).__mro__)


def _is_polars_lazy(data: object) -> bool:
    return type(data).__module__.startswith("polars.") and type(data).__name__ == "LazyFrame"


def _paths(text: str) -> list[str]:
    """Return the files that a path, a glob or a folder stands for, in order of their names."""
    path = Path(text)
    if path.is_dir():
        found = [str(each) for each in sorted(path.rglob("*")) if each.is_file() and _is_visible(each, path)]
        found = [name for name in found if name.lower().endswith(ENDINGS)]
        if not found:
            raise DataError(f"There is no file of data in the folder {text!r}; endings are {', '.join(ENDINGS)}.")
        return found
    found = sorted(glob(text, recursive=True)) if has_magic(text) and not path.exists() else [text]
    if not found:
        raise DataError(f"No file has a name like {text!r}.")
    for name in found:
        if not Path(name).exists():
            siblings = [each.name for each in Path(name).parent.glob("*")]
            raise DataError(
                f"There is no file {name!r}.{nearest(Path(name).name, siblings)} The data can also be a DataFrame."
            )
        if not name.lower().endswith(ENDINGS):
            raise DataError(f"{name!r} is none of the files that can be read in parts: {', '.join(ENDINGS)}.")
    return found


def _is_visible(path: Path, folder: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)


def _files(paths: Sequence[str]) -> Batches:
    """Return the rows of files; what a column is, the first file says."""
    with _reading(paths[0]):
        first = _schema(paths[0])
    columns = {name: first.field(name).type for name in first.names}

    def read(names: Sequence[str]) -> Iterator[Part]:
        for path in paths:
            with _reading(path):
                schema = _schema(path)
            check_like_first(schema, columns, names, repr(path), repr(paths[0]))
            parts = _one_file(path, {name: columns[name] for name in names})
            while True:
                with _reading(path):
                    batch = next(parts, None)
                if batch is None:
                    break
                yield path, batch

    return _gathered(first, lambda names: read_ahead(read(names)), can_repeat=True)


def check_like_first(schema: Any, columns: Mapping[str, Any], names: Sequence[str], place: str, first: str) -> None:
    """Some rows must have the columns of the first ones, of the same kinds.

    Parameters
    ----------
    schema
        Of the rows.
    columns
        Types of the first ones, by name.
    names
        Of the columns that are needed.
    place, first
        Where the rows are, and the first ones.

    Raises
    ------
    DataError
        They do not.
    """
    for name in names:
        if name not in schema.names:
            raise DataError(
                f"{place} has no column {name!r}, which {first} has.{nearest(name, schema.names)} "
                "All parts of the data must have the columns of the formula."
            )
        found, known = column_kind(schema.field(name).type), column_kind(columns[name])
        if found not in (known, "nothing"):
            raise DataError(
                f"Column {name!r} holds {found} in {place} and {known} in {first}. "
                "Write it as one kind in all parts of the data."
            )


@contextmanager
def _reading(place: str, *also: type[Exception]) -> Iterator[None]:
    """What pyarrow, or another reader, says of rows that it cannot read is an error of ours, with where they are."""
    try:
        yield
    except MemoryError:
        raise
    except (_arrow().ArrowException, OSError, EOFError, *also) as error:
        said = str(error).strip().partition("\n")[0].rstrip(".")
        raise DataError(
            f"{place!r} cannot be read: it is cut off, damaged, or its columns are not of one kind ({said})."
        ) from error


def _schema(path: str) -> Any:

    if path.lower().endswith(".parquet"):
        return _arrow(".parquet").read_schema(path)
    if path.lower().endswith((".arrow", ".feather")):
        return _arrow(".ipc").open_file(path).schema
    return _open_text(path, {}).schema


def _open_text(path: str, types: Mapping[str, Any]) -> Any:

    csv = _arrow(".csv")
    sign = "\t" if path.lower().endswith((".tsv", ".tsv.gz")) else ","
    return csv.open_csv(
        path,
        read_options=csv.ReadOptions(block_size=2**24),
        parse_options=csv.ParseOptions(delimiter=sign, newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types,
            include_columns=list(types) or None,
            null_values=["", "NA", "N/A", "NaN", "nan", "NULL", "null"],
            strings_can_be_null=True,
        ),
    )


def _one_file(path: str, columns: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the record batches of a file, with some columns, each of the type that is asked for."""
    names = list(columns)
    if path.lower().endswith(".parquet"):
        batches: Iterable[Any] = _arrow(".parquet").ParquetFile(path).iter_batches(batch_size=ROWS, columns=names)
    elif path.lower().endswith((".arrow", ".feather")):
        file = _arrow(".ipc").open_file(path)
        batches = (file.get_batch(k) for k in range(file.num_record_batches))
    else:
        batches = _open_text(path, columns)
    for batch in batches:
        table = _arrow().Table.from_batches([batch]).select(names)
        empty = [name for name in names if table.schema.field(name).type == _arrow().null()]
        for name in empty:  # a file in which nothing is known of a column
            table = table.set_column(names.index(name), name, table[name].cast(columns[name]))
        yield table


def _dataset(dataset: Any) -> Batches:
    """Return the rows of a pyarrow dataset, a fragment after the other."""

    def read(names: Sequence[str]) -> Iterator[Part]:

        for fragment in dataset.get_fragments():
            place = str(getattr(fragment, "path", "the dataset"))
            with _reading(place):
                parts = fragment.to_batches(schema=dataset.schema, columns=list(names), batch_size=ROWS)
            while True:
                with _reading(place):
                    batch = next(parts, None)
                if batch is None:
                    break
                yield place, _arrow().Table.from_batches([batch])

    return _gathered(dataset.schema, lambda names: read_ahead(read(names)), can_repeat=True)


def _polars(frame: Any) -> Batches:
    """Return the rows of a polars LazyFrame, by its streaming engine."""
    if not hasattr(frame, "collect_batches"):
        raise DataError(
            "This polars cannot hand over a LazyFrame in parts. Install a newer one, write the frame with sink_parquet "
            "and pass the file, or .collect() it."
        )

    pl = import_module("polars")
    frame = frame.with_columns(pl.col(pl.Categorical).cast(pl.String))  # their order is that of appearance anywhere

    def read(names: Sequence[str]) -> Iterator[Part]:
        with _reading("the LazyFrame", pl.exceptions.PolarsError):
            for part in frame.select(list(names)).collect_batches(chunk_size=ROWS):
                yield "the LazyFrame", part.to_arrow()

    with _reading("the LazyFrame", pl.exceptions.PolarsError):
        schema = frame.head(0).collect().to_arrow().schema
    return _gathered(schema, read, can_repeat=True)


def _stream(data: Any) -> Batches:
    """Return the rows of anything with ``__arrow_c_stream__``; relations of DuckDB can be run again."""
    can_repeat = type(data).__module__.partition(".")[0] in ("duckdb", "_duckdb")
    also = [import_module("duckdb").Error] if can_repeat else []
    with _reading("the stream", *also):
        opened = [_open_stream(data)]
    schema = opened[0].schema

    def read(names: Sequence[str]) -> Iterator[Part]:
        with _reading("the stream", *also):
            reader: Any = opened.pop() if opened else _open_stream(data)
            for batch in reader:
                yield "the stream", _arrow().Table.from_batches([batch]).select(list(names))

    return _gathered(schema, read, can_repeat)


def _open_stream(data: Any) -> Any:
    reader = _arrow().RecordBatchReader
    if isinstance(data, reader):
        return data
    try:
        return reader.from_stream(data)
    except (_arrow().ArrowException, TypeError) as error:
        raise DataError(f"The stream of the data, a {type(data).__name__!r}, holds no table: {error}.") from error


def _gathered(schema: Any, read: Callable[[Sequence[str]], Iterator[Part]], can_repeat: bool) -> Batches:
    """Return the rows in parts of about ``ROWS``, none of more than one place, texts as codes of their labels."""
    kinds = kinds_of(schema, can_repeat)

    def gathered(names: Sequence[str]) -> Iterator[Part]:
        for place, table in joined(read(names)):
            yield from in_pieces(place, table, kinds)

    return Batches(kinds, gathered)


def kinds_of(schema: Any, can_repeat: bool = True) -> Kinds:
    """Return what a schema of arrow says of the columns whose names are there once."""
    types = {name: schema.field(name).type for name in schema.names if schema.names.count(name) == 1}
    text = [name for name, type_ in types.items() if column_kind(type_) == "text"]
    ordered = [name for name, type_ in types.items() if _arrow().types.is_dictionary(type_)]
    return Kinds(types, frozenset([*text, *ordered]), frozenset(ordered), can_repeat)


def in_pieces(place: str, table: Any, kinds: Kinds) -> Iterator[Part]:
    """Yield a table in parts of not more than twice ``ROWS``, texts as codes of their labels."""
    coded = [name for name in table.column_names if name in kinds.labels and name not in kinds.ordered]
    for start in range(0, table.num_rows, 2 * ROWS):
        part = table.slice(start, 2 * ROWS)
        for name in coded:
            part = part.set_column(part.column_names.index(name), name, part[name].dictionary_encode())
        yield place, part


def joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield tables of about ``ROWS`` rows, none of more than one place."""
    waiting: list[Any] = []
    where = ""
    for place, table in parts:
        if waiting and (place != where or sum(each.num_rows for each in waiting) + table.num_rows > ROWS):
            yield where, _arrow().concat_tables(waiting)
            waiting = []
        where = place
        if table.num_rows:
            waiting.append(table)
    if waiting:
        yield where, _arrow().concat_tables(waiting)
