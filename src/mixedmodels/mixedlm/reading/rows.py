"""Which rows of the data a model uses: a subset, and those without missing values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.errors import DataError
from mixedmodels.mixedlm.reading.arguments import check_choice, shown
from mixedmodels.mixedlm.reading.groups import Groups
from mixedmodels.mixedlm.reading.specification import VCSpec, as_specification, check_sizes, from_mapping
from mixedmodels.mixedlm.reading.tables import Table, missing_rows, read_table

MISSING = ("none", "drop", "raise")

Rows = npt.NDArray[np.intp]


def check_missing(missing: str) -> None:
    """``missing`` must be one of its choices.

    Raises
    ------
    DataError
        It is not.
    """
    check_choice("missing", missing, MISSING)


def missing_message(where: str, gaps: npt.NDArray[np.bool_], missing: str) -> str:
    """Return the sentence that says which rows have missing values, and what to do."""
    return (
        f"{where!r} has missing values: {np.count_nonzero(gaps)} of {len(gaps)} rows are incomplete, the first is row "
        f"{gaps.argmax()} (counted from 0), and missing={missing!r}. Pass missing='drop' to leave them out."
    )


def complete_rows(y: Table, X: Table, Z: Table | None, groups: Groups, missing: str) -> Rows | None:
    """Return the rows of arrays without missing values, or None for all.

    Raises
    ------
    DataError
        If values are missing and may not be.
    """
    parts = [("endog", y.values), ("exog", X.values), *([] if Z is None else [("exog_re", Z.values)])]
    gaps, where = missing_rows(parts)
    without_group = groups.codes < 0
    if not gaps.any() and not without_group.any():
        return None
    gaps |= without_group
    if missing != "drop":
        raise DataError(missing_message(where or "groups", gaps, missing))
    return np.flatnonzero(~gaps)


def chosen_rows(
    frame: pd.DataFrame,
    groups: npt.NDArray[Any],
    subset: Any,
    missing: str,
    names: set[str],
    exog_re: Any,
) -> Rows | None:
    """Return the rows of the subset without missing values in some columns, or None for all.

    Raises
    ------
    DataError
        If the subset does not fit the data, or values are missing and may not be.
    """
    rows = None if subset is None else _subset_rows(subset, frame.index)
    used = [name for name in frame.columns if name in names]
    gaps = np.zeros(len(frame), dtype=bool)
    for name in used:
        gaps |= _gaps(frame[name])
    if groups.ndim == 1:
        gaps = gaps | pd.isna(groups)
    if exog_re is not None:
        table = read_table("exog_re", exog_re).values
        if len(table) != len(frame):
            raise DataError(f"exog_re has {len(table)} rows, but the data have {len(frame)}. Pass one row for each.")
        gaps = gaps | np.isnan(table).any(axis=1)
    if rows is not None:
        gaps = gaps[rows]
    if not gaps.any():
        return rows
    if missing != "drop":
        first = next((name for name in used if frame[name].isna().any()), "groups")
        raise DataError(missing_message(str(first), gaps, missing))
    kept = np.flatnonzero(~gaps)
    if not len(kept):
        raise DataError("Every row has a missing value.")
    return kept if rows is None else rows[kept]


def _gaps(column: pd.Series[Any] | pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return where a column, or columns of one name, have no value, (n_rows,)."""
    if isinstance(column, pd.DataFrame):
        return np.asarray(column.isna().to_numpy().any(axis=1))
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":  # an eighth of pandas' time, which counts for few rows
        return np.isnan(column.to_numpy()) if dtype.kind == "f" else np.zeros(len(column), dtype=bool)
    return column.isna().to_numpy()


def _subset_rows(subset: Any, labels: pd.Index) -> Rows:
    chosen = np.asarray(subset)
    if chosen.ndim != 1:
        raise DataError(
            f"subset is {shown(subset)}; pass one boolean for each row, such as data['x'] > 0, or labels of the index."
        )
    if chosen.dtype == bool:
        if chosen.shape != (len(labels),):
            raise DataError(f"subset has {len(chosen)} booleans, but the data have {len(labels)} rows.")
        rows = np.flatnonzero(chosen)
    else:
        found = labels.get_indexer_for(pd.Index(chosen))
        if (found < 0).any():
            raise DataError(f"subset names {chosen[int(np.argmin(found))]!r}, which is not in the index of the data.")
        rows = found.astype(np.intp)
    if not len(rows):
        raise DataError("subset leaves no rows.")
    return rows


# Variance components given as matrices


def given_components(exog_vc: Any, groups: Groups, rows: Rows | None) -> VCSpec:
    """Return the specification given for all rows of the data at the rows that are used.

    Raises
    ------
    DataError
        If it is none, or a design does not have the rows of its group.
    """
    spec = from_mapping(exog_vc, groups.labels) if isinstance(exog_vc, Mapping) else as_specification(exog_vc)
    return spec if rows is None else at_rows(spec, groups, rows)


def at_rows(spec: VCSpec, groups: Groups, rows: Rows) -> VCSpec:
    """Return the specification for some rows, none of them without a group; groups without rows are left out.

    Raises
    ------
    DataError
        If a design does not have the rows of its group.
    """
    if not spec.names:
        return spec
    check_sizes(spec, groups.labels, groups.sizes_of_known())
    known = np.flatnonzero(groups.codes >= 0)
    place = np.zeros(len(groups.codes), dtype=np.intp)  # of a row in its group
    for its_rows in np.split(known[np.argsort(groups.codes[known], kind="stable")], _ends(groups.sizes_of_known())):
        place[its_rows] = np.arange(len(its_rows))
    chosen = [(int(groups.codes[its[0]]), place[its]) for its in (rows[k] for k in groups.take(rows).split())]
    mats = [[_as_rows_of(its[group])[places] for group, places in chosen] for its in spec.mats]
    return VCSpec(spec.names, [[its[group] for group, _ in chosen] for its in spec.colnames], mats)


def _ends(sizes: Rows) -> Rows:
    return np.cumsum(sizes)[:-1]


def _as_rows_of(mat: Any) -> Any:
    return mat.tocsr() if hasattr(mat, "tocsr") else np.asarray(mat)
