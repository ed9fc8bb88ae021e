"""Data in partitions that are added up where they live: Dask data frames.

Sums are forked from one seed, filled on a worker, and merged as a tree. Nothing that was computed is changed later, so
that a partition whose worker was lost can be computed again.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import pandas as pd

from mixedmodels.design.batches import AnySums, Kinds, check_like_first, column_kind, in_pieces, kinds_of
from mixedmodels.errors import DataError, MixedModelsError

FAN = 8
"""Sums that are merged at a time."""

Delayed = Any


def is_dask(data: object) -> bool:
    """Return whether data are a Dask data frame."""
    return type(data).__module__.partition(".")[0] in ("dask", "dask_expr") and hasattr(data, "to_delayed")


class DaskRows:
    """The rows of a Dask data frame.

    Parameters
    ----------
    frame
        The data frame.
    kinds
        What is known of its columns.
    """

    def __init__(self, frame: Any, kinds: Kinds) -> None:
        self.frame, self.kinds = frame, kinds

    def fold(self, sums: AnySums, names: Sequence[str]) -> AnySums:
        """Return the sums with all rows added: each partition on a worker, then merged as a tree.

        Raises
        ------
        DataError
            A partition has other columns, or cannot be computed; the sentence names it.
        """
        partitions = self.frame[list(names)].to_delayed()
        types = {name: self.kinds.types[name] for name in names}
        try:
            if not sums.is_settled:
                sums = self._settled(sums, types, partitions)
            if not sums.is_settled:  # there is no row that can be used, and all are counted
                return sums
            dask = import_module("dask")
            seed = dask.delayed(pickle.dumps(sums))  # which each worker gets once
            parts = self._delayed(_summed, seed, types, enumerate(partitions))
            merged = dask.delayed(_merged)
            while len(parts) > 1:
                parts = [merged(seed, parts[k : k + FAN]) for k in range(0, len(parts), FAN)]
            added: AnySums = dask.compute(*parts)[0]
            return added
        except MixedModelsError:
            raise
        except Exception as error:
            self._check_columns(types)
            said = str(error).strip().partition("\n")[0].rstrip(".")
            raise DataError(
                f"The partitions of the Dask data frame cannot be computed ({type(error).__name__}: {said})."
            ) from error

    def _settled(self, sums: AnySums, types: Mapping[str, Any], partitions: Sequence[Delayed]) -> AnySums:
        """Return sums that the first rows have settled, without rows; or, if none can be used, with all counted."""
        for k, partition in enumerate(partitions):
            found: AnySums
            work = self._delayed(_first_summed, pickle.dumps(sums), types, [(k, partition)])
            [found] = import_module("dask").compute(*work)
            if found.is_settled:
                return found.fork()
            sums.merge(found)
        return sums

    def _delayed(
        self,
        work: Callable[..., Any],
        seed: Delayed,
        types: Mapping[str, Any],
        partitions: Iterable[tuple[int, Delayed]],
    ) -> list[Delayed]:
        delayed = import_module("dask").delayed(work)
        return [delayed(seed, types, self.kinds, k, partition) for k, partition in partitions]

    def _check_columns(self, types: Mapping[str, Any]) -> None:
        """Find a partition that has other columns than the data frame says, whatever these are used for."""
        for k, partition in enumerate(self.frame.to_delayed()):
            schema = _computed_schema(partition, k)
            check_like_first(schema, types, list(types), f"partition {k}", "the data frame")


def open_dask(frame: Any) -> DaskRows:
    """Return the rows of a Dask data frame; what a column is, its types say, or the first partition where they do not.

    Raises
    ------
    DataError
        The first partition holds what is no column.
    """
    meta = frame._meta
    says = [name for name, dtype in meta.dtypes.items() if not _is_vague(dtype)]
    types = dict(kinds_of(_arrow_schema(meta[says], "the types of the data frame")).types)
    unsaid = [name for name in meta.columns if name not in says and list(meta.columns).count(name) == 1]
    if unsaid:
        types |= _types_of_rows(frame[unsaid], unsaid)
    pa = import_module("pyarrow")
    schema = pa.schema([(name, types[name]) for name in meta.columns if name in types])
    return DaskRows(frame, kinds_of(schema))


def _types_of_rows(frame: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return the types of columns in the first partition that has values of them all."""
    types: dict[str, Any] = {}
    for k, partition in enumerate(frame.to_delayed()):
        schema = _computed_schema(partition, k)
        for name in schema.names:
            if types.get(name) is None or column_kind(types[name]) == "nothing":
                types[name] = schema.field(name).type
        if all(column_kind(types[name]) != "nothing" for name in names if name in types):
            break
    return types


def _is_vague(dtype: Any) -> bool:
    """Return whether a type says nothing of values: Python objects, and categories that are not known."""
    unknown = isinstance(dtype, pd.CategoricalDtype) and "__UNKNOWN_CATEGORIES__" in dtype.categories
    return unknown or (dtype.kind == "O" and not isinstance(dtype, pd.CategoricalDtype | pd.StringDtype))


def _computed_schema(partition: Delayed, k: int) -> Any:
    """Return the columns of a partition.

    Raises
    ------
    DataError
        It cannot be computed.
    """
    dask = import_module("dask")
    try:
        [schema] = dask.compute(dask.delayed(_schema)(partition, k))
    except MixedModelsError:
        raise
    except Exception as error:
        said = str(error).strip().partition("\n")[0].rstrip(".")
        raise DataError(
            f"Partition {k} of the Dask data frame cannot be computed ({type(error).__name__}: {said})."
        ) from error
    return schema


def _schema(partition: pd.DataFrame, k: int) -> Any:
    return _arrow_schema(partition, f"partition {k}")


def _arrow_schema(frame: pd.DataFrame, place: str) -> Any:
    return _arrow_table(frame, place).schema


def _arrow_table(frame: pd.DataFrame, place: str) -> Any:
    pa = import_module("pyarrow")
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        said = str(error).strip().partition("\n")[0].rstrip(".")
        raise DataError(
            f"In {place!r}: a column holds values of several kinds, or what is no table ({said}). "
            "Write each column as one kind in all partitions."
        ) from error


def _add_partition(sums: Any, types: Mapping[str, Any], kinds: Kinds, k: int, partition: pd.DataFrame) -> Iterable[Any]:
    """Add the rows of a partition, and yield the sums after each piece of it."""
    place = f"partition {k}"
    table = _arrow_table(partition[[name for name in types if name in partition]], place)
    check_like_first(table.schema, types, list(types), place, "the data frame")
    for name in types:
        if column_kind(table.schema.field(name).type) == "nothing" and column_kind(types[name]) != "nothing":
            at = table.column_names.index(name)
            table = table.set_column(at, name, import_module("pyarrow").nulls(table.num_rows, types[name]))
    for part in in_pieces(place, table, kinds):
        sums.add(*part)
        yield sums


def _summed(seed: bytes, types: Mapping[str, Any], kinds: Kinds, k: int, partition: pd.DataFrame) -> Any:
    """Return the sums of a partition; runs where it lives."""
    sums = pickle.loads(seed)
    for _ in _add_partition(sums, types, kinds, k, partition):
        pass
    return sums


def _first_summed(seed: bytes, types: Mapping[str, Any], kinds: Kinds, k: int, partition: pd.DataFrame) -> Any:
    """Return the sums of a partition as far as the first rows that settle them."""
    sums = pickle.loads(seed).fork()
    for found in _add_partition(sums, types, kinds, k, partition):
        if found.is_settled:
            break
    return sums


def _merged(seed: bytes, parts: Sequence[Any]) -> Any:
    """Return the sums of several partitions, in their order."""
    sums = pickle.loads(seed)
    for part in parts:
        sums.merge(part)
    return sums
