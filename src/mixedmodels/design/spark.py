"""Spark data frames, added up where they live by `mapInArrow`: each partition answers with its sums as bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from itertools import groupby
from typing import Any

from mixedmodels.design.batches import AnySums, Kinds, in_pieces, joined, kinds_of
from mixedmodels.errors import DataError, MixedModelsError

PIECE = 1 << 26
"""Bytes of one answer; more than that comes in several."""

ANSWER = "place int, piece int, bytes binary"


def is_spark(data: object) -> bool:
    """Return whether data are a Spark data frame."""
    return type(data).__module__.startswith("pyspark.sql") and hasattr(data, "mapInArrow")


class SparkRows:
    """The rows of a Spark data frame.

    Parameters
    ----------
    frame
        The data frame.
    """

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.kinds = kinds_of(import_module("pyspark.sql.pandas.types").to_arrow_schema(frame.schema))

    def fold(self, sums: AnySums, names: Sequence[str]) -> AnySums:
        """Return the sums with all rows added: each partition on an executor, then merged here in their order.

        Raises
        ------
        DataError
            A partition cannot be used, which the sentence names, or Spark cannot compute it.
        """
        try:
            return self._added(sums, names)
        except MixedModelsError:
            raise
        except Exception as error:
            said = str(error).strip().partition("\n")[0].rstrip(".")
            raise DataError(
                f"The partitions of the Spark data frame cannot be computed ({type(error).__name__}: {said}). "
                "Executors need this package in the same version."
            ) from error

    def _added(self, sums: AnySums, names: Sequence[str]) -> AnySums:
        """Return the sums with all rows added, in bases of the first rows that can be used."""
        frame = self.frame.select(*("`" + name.replace("`", "``") + "`" for name in names))
        if not sums.is_settled:
            found = list(_read(self._asked(frame, sums, _settled).take(1)))
            sums = found[0] if found else sums
        answers = self._asked(frame, sums, _summed).collect()
        for part in _read(sorted(answers, key=lambda row: (row["place"], row["piece"]))):
            sums.merge(part)
        return sums

    def _asked(self, frame: Any, sums: Any, work: Callable[[Any, Iterator[Any], str], Iterator[Any]]) -> Any:
        """Return a data frame of answers, of which each partition makes its own."""
        seed, kinds = pickle.dumps(sums), self.kinds
        return frame.mapInArrow(lambda batches: _answers(work, seed, kinds, batches), ANSWER)


def _answers(work: Callable[..., Iterator[Any]], seed: bytes, kinds: Kinds, batches: Iterator[Any]) -> Iterator[Any]:
    """Yield what a partition answers, as record batches; runs where it lives."""
    pa = import_module("pyarrow")
    context = import_module("pyspark").TaskContext.get()
    number = 0 if context is None else context.partitionId()
    place = f"partition {number}"
    tables = ((place, pa.Table.from_batches([batch])) for batch in batches)
    parts = (part for table in joined(tables) for part in in_pieces(*table, kinds))
    answer: Iterable[Any]
    try:
        answer = list(work(pickle.loads(seed), parts, place))
    except MixedModelsError as error:
        answer = [error]
    for found in answer:
        held = pickle.dumps(found)
        pieces = [held[start : start + PIECE] for start in range(0, len(held), PIECE)]
        for k, piece in enumerate(pieces):
            columns = [pa.array([number], pa.int32()), pa.array([k], pa.int32()), pa.array([piece], pa.binary())]
            yield pa.RecordBatch.from_arrays(columns, ["place", "piece", "bytes"])


def _summed(sums: Any, parts: Iterator[Any], place: str) -> Iterator[Any]:
    """Yield the sums of a partition."""
    for part in parts:
        sums.add(*part)
    yield sums


def _settled(sums: Any, parts: Iterator[Any], place: str) -> Iterator[Any]:
    """Yield sums without rows that the first rows of a partition that can be used have settled, if it has some."""
    for part in parts:
        sums.add(*part)
        if sums.is_settled:
            yield sums.fork()
            return


def _read(answers: Iterable[Any]) -> Iterator[Any]:
    """Yield what partitions have answered.

    Raises
    ------
    MixedModelsError
        What a partition could not do.
    """
    for _, pieces in groupby(answers, key=lambda row: row["place"]):
        found = pickle.loads(b"".join(bytes(row["bytes"]) for row in pieces))
        if isinstance(found, MixedModelsError):
            raise found
        yield found


def open_spark(frame: Any) -> SparkRows:
    """Return the rows of a Spark data frame.

    Raises
    ------
    DataError
        It has columns that arrow does not know.
    """
    try:
        return SparkRows(frame)
    except Exception as error:
        raise DataError(f"The Spark data frame has columns that cannot be read as arrow: {error}.") from error
