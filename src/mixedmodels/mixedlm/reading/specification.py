"""What the variance components are: names, labels and designs of each, group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.errors import DataError
from mixedmodels.mixedlm.reading.arguments import read_numbers, shown


class VCSpec:
    """Variance components: ``mats[k][i]`` is the design of component k in group i, groups in sorted order.

    Parameters
    ----------
    names
        Names of the components.
    colnames
        Labels of the columns, a list for each component and group.
    mats
        Designs, (rows of the group, columns), dense or sparse, one for each component and group. The columns of a
        component have one common variance.

    Raises
    ------
    DataError
        If one of them is no list.
    """

    def __init__(
        self, names: Sequence[str], colnames: Sequence[Sequence[Sequence[Any]]], mats: Sequence[Sequence[Any]]
    ) -> None:
        for name, parts in (("names", names), ("colnames", colnames), ("mats", mats)):
            if not _is_list(parts):
                raise DataError(f"{name} of a VCSpec is {shown(parts)}; it must be a list, one entry a component.")
        self.names, self.colnames, self.mats = names, colnames, mats

    def __repr__(self) -> str:
        return f"VCSpec({', '.join(map(repr, self.names))})"


def as_specification(given: Any) -> VCSpec:
    """Return an object with the parts of a ``VCSpec``, such as statsmodels' own, as ours.

    Raises
    ------
    DataError
        If it has not.
    """
    if isinstance(given, VCSpec):
        return given
    if not all(hasattr(given, part) for part in ("names", "colnames", "mats")):
        raise DataError(
            f"exog_vc is {shown(given)}; it must be a VCSpec, or a mapping exog_vc[name][group] of designs."
        )
    return VCSpec(given.names, given.colnames, given.mats)


def from_mapping(exog_vc: Mapping[str, Mapping[Any, Any]], labels: Sequence[Any]) -> VCSpec:
    """Return the specification that ``exog_vc[name][group]`` describes, components sorted by name.

    Parameters
    ----------
    exog_vc
        Designs by name of component and label of group.
    labels
        The groups, sorted.

    Raises
    ------
    DataError
        If a group has no design, or there are designs for groups that are not in the data.
    """
    names = sorted(exog_vc, key=str)
    colnames, mats = [], []
    for name in names:
        designs = exog_vc[name]
        if not isinstance(designs, Mapping):
            raise DataError(f"exog_vc[{name!r}] is {shown(designs)}; it must be a mapping, group -> its design.")
        for label in labels:
            if label not in designs:
                raise DataError(f"exog_vc[{name!r}] has no design for the group {label!r}; every group needs one.")
        if len(designs) > len(labels):
            unknown = next(label for label in designs if label not in set(labels))
            raise DataError(f"exog_vc[{name!r}] has a design for {unknown!r}, which is not among the groups.")
        chosen = [_as_matrix(f"exog_vc[{name!r}][{label!r}]", designs[label]) for label in labels]
        colnames.append([_column_labels(designs[label], matrix) for label, matrix in zip(labels, chosen, strict=True)])
        mats.append(chosen)
    return VCSpec(names, colnames, mats)


def check_sizes(spec: VCSpec, labels: Sequence[Any], sizes: Sequence[int] | npt.NDArray[np.intp]) -> None:
    """Each component must have a design for each group, with its rows, and labels of its columns.

    Parameters
    ----------
    spec
        The components.
    labels, sizes
        The groups, sorted, and how many rows they have.

    Raises
    ------
    DataError
        It has not.
    """
    if not len(spec.names) == len(spec.colnames) == len(spec.mats):
        raise DataError(
            f"A VCSpec has names of {len(spec.names)} components, colnames of {len(spec.colnames)} and mats of "
            f"{len(spec.mats)}; all must be the same."
        )
    for name, colnames, mats in zip(spec.names, spec.colnames, spec.mats, strict=True):
        if not (_is_list(mats) and _is_list(colnames)):
            raise DataError(
                f"The variance component {name!r} of a VCSpec needs lists of designs and colnames by group."
            )
        if not len(mats) == len(colnames) == len(labels):
            raise DataError(
                f"The variance component {name!r} has designs for {len(mats)} groups and colnames for {len(colnames)}, "
                f"but there are {len(labels)}. Give one for each group, in sorted order of their labels."
            )
        for label, size, mat, columns in zip(labels, sizes, mats, colnames, strict=True):
            if np.ndim(mat) != 2 and not hasattr(mat, "tocoo"):
                raise DataError(f"The design of {name!r} in group {label!r} must have two dimensions.")
            if mat.shape[0] != size:
                raise DataError(
                    f"The design of {name!r} in group {label!r} has {mat.shape[0]} rows, but the group has {size}."
                )
            if not _is_list(columns) or len(columns) != mat.shape[1]:
                raise DataError(
                    f"The design of {name!r} in group {label!r} has {mat.shape[1]} columns, but the colnames "
                    f"{shown(columns)}."
                )


def _is_list(given: Any) -> bool:
    return isinstance(given, Sequence | np.ndarray | pd.Index | pd.Series) and not isinstance(given, str | bytes)


def _as_matrix(what: str, design: Any) -> Any:
    """Return a dense 2-d array, or the sparse matrix as it is."""
    if hasattr(design, "tocoo"):
        return design
    matrix = read_numbers(what, design)
    if matrix.ndim not in (1, 2):
        raise DataError(f"{what} has the shape {matrix.shape}; it must be the columns of the group's rows.")
    return matrix[:, None] if matrix.ndim == 1 else matrix


def _column_labels(design: Any, matrix: Any) -> list[Any]:
    columns = getattr(design, "columns", None)
    return [str(j) for j in range(matrix.shape[1])] if columns is None else list(columns)
