"""Data of any kind as a frame of pandas, and the groups in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.errors import DataError, UnknownColumnError, nearest
from mixedmodels.mixedlm.reading.groups import label_array


def read_frame(data: Any) -> pd.DataFrame:
    """Return the data as a frame of pandas.

    Raises
    ------
    DataError
        If they are no table, or have no rows.
    """
    if isinstance(data, Mapping):
        try:
            data = pd.DataFrame(dict(data))
        except ValueError as error:
            raise DataError(f"data is no table, one list a column, all of one length: {error}.") from error
    elif isinstance(data, np.ndarray) and data.dtype.names:
        data = pd.DataFrame(data)
    elif not isinstance(data, pd.DataFrame):
        frame = nw.from_native(data, eager_only=True, pass_through=True)
        if not isinstance(frame, nw.DataFrame):
            raise DataError(f"data must be a DataFrame, an arrow table or a mapping, not {type(data).__name__!r}.")
        data = frame.to_pandas()
    found: pd.DataFrame = data
    if not len(found):
        raise DataError("The data have no rows.")
    return found


def check_told_apart(frame: pd.DataFrame, names: Collection[Any]) -> None:
    """No two columns may have one of the names.

    Raises
    ------
    DataError
        If two have.
    """
    if frame.columns.is_unique:
        return
    for name in frame.columns[frame.columns.duplicated()]:
        if name in names:
            n_columns = int((frame.columns == name).sum())
            raise DataError(f"{n_columns} columns are called {name!r}. Give each column its own name.")


def group_values(groups: Any, frame: pd.DataFrame, unnamed: str) -> tuple[str, npt.NDArray[Any]]:
    """Return what the groups are called, and the label of each row.

    Parameters
    ----------
    groups
        Name of a column, or labels.
    frame
        The data.
    unnamed
        What labels without a name are called.

    Raises
    ------
    DataError
        If there is no such column, or another number of labels than rows.
    """
    if not isinstance(groups, str):
        values = label_array(groups)
        if isinstance(groups, list | tuple) and set(map(str, groups)) <= set(map(str, frame.columns)):
            raise DataError(
                f"groups names {len(groups)} columns. Name one; combine several into one column, or pass the finer "
                "ones as variance components (vc_formula)."
            )
        if not values.ndim:
            raise DataError(f"groups is {groups!r}; name a column, or pass one label for each row.")
        if len(values) != len(frame):
            raise DataError(f"groups has {len(values)} labels, but the data have {len(frame)} rows.")
        return unnamed, values
    if groups not in frame.columns:
        listed = ", ".join(map(str, frame.columns[:20]))
        raise UnknownColumnError(
            f"There is no column {groups!r} for groups.{nearest(groups, frame.columns)} The columns are: {listed}."
        )
    return groups, np.asarray(frame[groups])
