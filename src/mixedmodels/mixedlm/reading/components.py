"""Variance components in the two forms that the engine knows: an indicator of levels, or tied columns by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from mixedmodels.design.grouping import integer_codes
from mixedmodels.design.records import Codes, Floats
from mixedmodels.errors import DataError
from mixedmodels.mixedlm.reading.component_recipes import ByColumns, ByLevel, ComponentRecipe
from mixedmodels.mixedlm.reading.formulas import Formulas, Indicator, as_indicator, is_rowwise
from mixedmodels.mixedlm.reading.groups import Groups
from mixedmodels.mixedlm.reading.specification import VCSpec, check_sizes


@dataclass(frozen=True)
class Component:
    """One variance component.

    Its columns are numbered group by group. Either each row has at most one nonzero entry, and ``codes`` and ``values``
    say in which column and what it is; or ``Z`` holds the columns of the row's group, side by side, padded with zeros.

    Attributes
    ----------
    name
        Name of the component.
    counts
        Columns of each group, (n_groups,).
    codes
        (n_rows,), or None.
    values
        (n_rows,), or None for ones.
    Z
        (n_rows, most columns of a group), or None.
    levels
        What the columns are called among all, (n_columns,); None for numbers.
    """

    name: str
    counts: npt.NDArray[np.intp]
    codes: Codes | None
    values: Floats | None
    Z: Floats | None
    levels: pd.Index | None = None

    @property
    def n_columns(self) -> int:
        """Columns of all groups together."""
        return int(self.counts.sum())


class FormulaVCSpec(VCSpec):
    """The specification of components that came from formulas; its matrices are made when asked for.

    Parameters
    ----------
    names, labels
        Names of the components, and the labels of their columns, group by group.
    components
        What they are.
    recipes
        How new rows get their columns.
    groups
        Rows of the groups.
    use_sparse
        Whether ``mats`` are sparse.
    """

    def __init__(
        self,
        names: Sequence[str],
        labels: Sequence[Sequence[Any]],
        components: Sequence[Component],
        recipes: Sequence[ComponentRecipe],
        groups: Groups,
        use_sparse: bool,
    ) -> None:
        self.names = list(names)
        self.components = tuple(components)
        self.recipes = tuple(recipes)
        self._labels, self._groups, self._use_sparse = labels, groups, use_sparse

    @cached_property
    def colnames(self) -> list[list[list[Any]]]:  # type: ignore[override]  # made when asked for
        """Labels of the columns of each component and group."""
        return [
            [list(labels[first : first + count]) for first, count in _spans(component.counts)]
            for labels, component in zip(self._labels, self.components, strict=True)
        ]

    @cached_property
    def mats(self) -> list[list[Any]]:  # type: ignore[override]  # made when asked for
        """Design of each component and group."""
        rows = self._groups.split()
        return [group_designs(component, rows, self._use_sparse) for component in self.components]


def _spans(counts: npt.NDArray[np.intp]) -> list[tuple[int, int]]:
    return list(zip((np.cumsum(counts) - counts).tolist(), counts.tolist(), strict=True))


def group_designs(component: Component, rows: Sequence[npt.NDArray[np.intp]], use_sparse: bool) -> list[Any]:
    """Return the design of a component in each group, (rows of the group, columns), dense or csr."""
    designs: list[Any] = []
    for (first, count), its_rows in zip(_spans(component.counts), rows, strict=True):
        if component.codes is None:
            assert component.Z is not None
            dense = component.Z[its_rows, :count]
            designs.append(sparse.csr_array(dense) if use_sparse else dense)
            continue
        entries = np.ones(len(its_rows)) if component.values is None else component.values[its_rows]
        place = np.flatnonzero(entries)
        columns = component.codes[its_rows[place]] - first
        design = sparse.csr_array((entries[place], (place, columns)), shape=(len(its_rows), count))
        designs.append(design if use_sparse else design.toarray())
    return designs


def from_specification(spec: VCSpec, groups: Groups) -> tuple[Component, ...]:
    """Return the components of a specification with matrices.

    Raises
    ------
    DataError
        If a matrix does not have the rows of its group, or holds a value that is not finite.
    """
    if isinstance(spec, FormulaVCSpec) and spec._groups is groups:
        return spec.components
    check_sizes(spec, groups.labels, groups.sizes)
    return tuple(_from_matrices(name, mats, groups) for name, mats in zip(spec.names, spec.mats, strict=True))


def _from_matrices(name: str, mats: Sequence[Any], groups: Groups) -> Component:
    counts = np.array([mat.shape[1] for mat in mats], dtype=np.intp)
    stacked = [_triplets(mat) for mat in mats]
    lengths = np.array([len(values) for _, _, values in stacked], dtype=np.intp)
    row_starts = np.repeat(np.cumsum(groups.sizes) - groups.sizes, lengths)
    row = groups.order[np.concatenate([r for r, _, _ in stacked]) + row_starts]
    column = np.concatenate([c for _, c, _ in stacked])
    values = np.concatenate([v for _, _, v in stacked]).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"The designs of the variance component {name!r} hold values that are not finite.")
    return _assemble(name, counts, groups, row, column, values)


def _triplets(mat: Any) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    if hasattr(mat, "tocoo"):
        coo = mat.tocoo()
        kept = np.flatnonzero(coo.data)
        return coo.row[kept].astype(np.intp), coo.col[kept].astype(np.intp), np.asarray(coo.data[kept])
    dense = np.asarray(mat, dtype=np.float64)
    row, column = np.nonzero(dense)
    return row, column, dense[row, column]


def _assemble(
    name: str,
    counts: npt.NDArray[np.intp],
    groups: Groups,
    row: npt.NDArray[np.intp],
    column: npt.NDArray[np.intp],
    values: Floats,
) -> Component:
    """Return the component with these entries, columns counted within the row's group."""
    n_rows = len(groups.codes)
    starts = (np.cumsum(counts) - counts)[groups.codes]
    if np.bincount(row, minlength=n_rows).max(initial=0) > 1:
        Z = np.zeros((n_rows, int(counts.max())))
        Z[row, column] = values
        return Component(name, counts, None, None, Z)
    codes = np.minimum(starts, max(int(counts.sum()) - 1, 0)).astype(np.int32)
    codes[row] = starts[row] + column
    if len(row) == n_rows and (values == 1).all():
        return Component(name, counts, codes, None, None)
    entries = np.zeros(n_rows)
    entries[row] = values
    return Component(name, counts, codes, entries, None)


def from_formulas(vc_formula: dict[str, str], formulas: Formulas, groups: Groups, use_sparse: bool) -> FormulaVCSpec:
    """Return the components of formulas, each evaluated group by group.

    Where every row of a formula's matrix depends on that row alone, one pass over all rows gives the same.

    Parameters
    ----------
    vc_formula
        Name -> formula; the components are sorted by name.
    formulas
        Evaluates them.
    groups
        The groups of the frame's rows.
    use_sparse
        Whether the specification shows sparse matrices.
    """
    names = sorted(vc_formula)
    found = [_from_formula(name, vc_formula[name], formulas, groups) for name in names]
    labels, components, recipes = zip(*found, strict=True)
    return FormulaVCSpec(names, labels, components, recipes, groups, use_sparse)


def _from_formula(
    name: str, text: str, formulas: Formulas, groups: Groups
) -> tuple[Sequence[Any], Component, ComponentRecipe]:
    indicator = as_indicator(text, formulas.frame)
    if indicator is not None:
        return _from_indicator(name, indicator, formulas, groups)
    if is_rowwise(text, formulas.frame):
        part = formulas.one_sided(text)
        counts = np.full(len(groups), len(part.names), dtype=np.intp)
        row, column = np.nonzero(part.values)
        labels = part.names * len(groups)
        component = _assemble(name, counts, groups, row, column, part.values[row, column])
        return labels, component, ByColumns(name, text, (part.recipe,), formulas.context)
    parts = [formulas.one_sided(text, rows.tolist()) for rows in groups.split()]
    labels = [label for part in parts for label in part.names]
    component = _from_matrices(name, [part.values for part in parts], groups)
    return labels, component, ByColumns(name, text, tuple(part.recipe for part in parts), formulas.context)


def _from_indicator(
    name: str, indicator: Indicator, formulas: Formulas, groups: Groups
) -> tuple[Sequence[Any], Component, ComponentRecipe]:
    level, present = pd.factorize(formulas.frame[indicator.category], sort=True)
    if isinstance(present, pd.CategoricalIndex):
        present = pd.Index(present.categories[present.codes])
    codes, pairs = integer_codes(groups.codes.astype(np.int64) * len(present) + level)
    counts = np.bincount(pairs // len(present), minlength=len(groups)).astype(np.intp)
    shown = np.array(indicator.labels(present.tolist()), dtype=object)
    values = None if indicator.value is None else formulas.frame[indicator.value].to_numpy(dtype=np.float64)
    component = Component(name, counts, codes, values, None, _level_names(groups, present, pairs))
    return shown[pairs % len(present)], component, ByLevel(name, indicator, pd.Index(present), pairs)


def _level_names(groups: Groups, present: pd.Index, pairs: npt.NDArray[np.int64]) -> pd.Index:
    """Return the names of pairs of a group and a level: the level's alone if there is one group."""
    group, level = np.divmod(pairs, len(present))
    if len(groups) > 1:
        labels, names = pd.Index(groups.labels).tolist(), present.tolist()
        return pd.Index([f"{labels[g]}:{names[k]}" for g, k in zip(group.tolist(), level.tolist(), strict=True)])
    only: pd.Index = present.take(level)
    return only
