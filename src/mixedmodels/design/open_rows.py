"""The door for data that are not in memory: what is read here in parts, and what is added up where it lives."""

from __future__ import annotations

from importlib.util import find_spec

import pandas as pd

from mixedmodels.design.batches import RowSource, is_in_parts, open_batches
from mixedmodels.design.partitions import is_dask, open_dask
from mixedmodels.design.spark import is_spark, open_spark
from mixedmodels.errors import DataError, pip_install


def is_stream(data: object) -> bool:
    """Return whether data are to be read in parts.

    Parameters
    ----------
    data
        As for ``lmer``.
    """
    if isinstance(data, pd.DataFrame):
        return False
    return is_dask(data) or is_spark(data) or is_in_parts(data)


def open_rows(data: object) -> RowSource:
    """Return a reader of data that are not in memory.

    Parameters
    ----------
    data
        Path, glob or folder of files; pyarrow dataset; polars LazyFrame; anything with ``__arrow_c_stream__``; a Dask
        or Spark DataFrame.

    Raises
    ------
    DataError
        There are no such files, or they do not fit together.
    """
    if find_spec("pyarrow") is None:
        raise DataError(f"Data in parts are read by pyarrow; install it with: {pip_install('pyarrow')}")
    if is_spark(data):
        return open_spark(data)
    return open_dask(data) if is_dask(data) else open_batches(data)
