"""Rows of data that are read in parts, with predictions and residuals added: a stream in, a stream out."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from numbers import Real
from typing import TYPE_CHECKING, Any

from mixedmodels.design.batches import Batches, Part
from mixedmodels.design.open_rows import is_stream, open_rows
from mixedmodels.design.streamed import telling_where
from mixedmodels.display.added import LinearAdded
from mixedmodels.errors import DataError

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState


def augmented_batches(state: FitState, data: object, **options: Any) -> Any:
    """Return a reader of record batches: the data with the columns that `augment` adds.

    Parameters
    ----------
    state
        The fit.
    data
        As for `open_rows`.
    options
        As for `augment`.

    Raises
    ------
    DataError
        The data are not read in parts, or have no rows; a part cannot be used.
    """
    rows = open_rows(data) if is_stream(data) else None
    if not isinstance(rows, Batches):
        how = "fit.augment(data)" if rows is None else "fit.augment on each partition, data.map_partitions(fit.augment)"
        raise DataError(f"The data are a {type(data).__name__!r}, which is not read in parts here. Use {how}.")
    if not isinstance(options.get("weights"), str | Real | None):
        raise DataError("weights of data that are read in parts must be a number or the name of a column.")
    pa = import_module("pyarrow")
    types = rows.kinds.types

    def augmented(part: Part) -> Any:
        place, table = part
        with telling_where(place):
            added = LinearAdded(state, **options).of_new_rows(table)
        own = [table[name].cast(types[name]) for name in types]
        return pa.table([*own, *map(pa.array, added.values())], names=[*types, *added])

    parts = map(augmented, rows.read(rows.kinds.names))
    first = next(parts, None)
    if first is None:
        raise DataError("The data have no rows. A stream that was read before has none left: open it again.")

    def batches() -> Iterator[Any]:
        for table in chain([first], parts):
            yield from table.combine_chunks().to_batches()

    return pa.RecordBatchReader.from_batches(first.schema, batches())
