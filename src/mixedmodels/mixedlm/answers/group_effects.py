"""Random effects group by group, as statsmodels returns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from mixedmodels.covariance.packed import cholesky_root, lower_triangle
from mixedmodels.design.records import Floats
from mixedmodels.mixedlm.description.layout import Block
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.reading.params import MixedLMParams

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState

Positions = npt.NDArray[np.intp]


def effect_names(model: ModelDescription) -> list[pd.Index]:
    """Return the names of each group's effects: random coefficients, then ``component[column]``.

    Groups with the same names share one index.
    """
    names = [tuple(model.data.exog_re_names)] * len(model.groups)
    for component, labels in zip(model.spec.names, model.spec.colnames, strict=True):
        names = [(*own, *(f"{component}[{label}]" for label in its)) for own, its in zip(names, labels, strict=True)]
    shared = {own: pd.Index(list(own)) for own in set(names)}
    return [shared[own] for own in names]


def means(model: ModelDescription, state: FitState, blocks: Sequence[Block]) -> dict[Any, pd.Series[float]]:
    """Return E(effects | y) of each group."""
    n_groups = len(model.groups)
    coefficients = np.zeros((n_groups, model.k_re))
    flat: list[Floats] = [np.zeros(component.n_columns) for component in model.components]
    for block in blocks:
        b = state.b[block.factor][:, list(block.columns)]
        if block.component < 0:
            coefficients[:, list(block.effects)] = b
            continue
        component = model.components[block.component]
        if component.codes is None:
            used = np.arange(b.shape[1]) < component.counts[:, None]
            flat[block.component] = b[used]
        else:
            flat[block.component] = b[:, 0]
    parts = [[*coefficients]]
    for component, values in zip(model.components, flat, strict=True):
        parts.append(np.split(values, np.cumsum(component.counts)[:-1]))
    effects = parts[0] if len(parts) == 1 else [np.concatenate(its) for its in zip(*parts, strict=True)]
    return {
        label: pd.Series(its, index=names, copy=False)
        for label, its, names in zip(model.groups.labels, effects, effect_names(model), strict=True)
    }


def covariances(model: ModelDescription, root: Floats, vcomp: Floats, scale: float) -> dict[Any, pd.DataFrame]:
    """Return Var(effects | y) of each group at known parameters.

    With D = R R' the prior covariance over the residual variance: scale R (I + R' Z'Z R)^-1 R', which needs no inverse
    of D and is right where D is singular.

    Parameters
    ----------
    model
        The model.
    root
        Lower triangular R of the random coefficients, (k_re, k_re).
    vcomp
        Variance components as ratios to the residual variance.
    scale
        Residual variance.
    """
    counts = [np.full(len(model.groups), model.k_re), *(component.counts for component in model.components)]
    widths = np.sum(counts, axis=0)
    starts = np.cumsum(widths) - widths + np.cumsum([np.zeros_like(widths), *counts[:-1]], axis=0)
    R = sparse.csr_array(_roots(root, vcomp, starts, counts))
    ZR = sparse.csr_array(_designs(model, starts, R.shape[0])) @ R
    products = ZR.T @ ZR
    found: dict[int, Floats] = {}
    for width in np.unique(widths):
        groups = np.flatnonzero(widths == width)
        inner = np.eye(width) + _stacked(products, starts[0], groups, width)
        half = np.linalg.solve(np.linalg.cholesky(inner), _stacked(R, starts[0], groups, width).transpose(0, 2, 1))
        found.update(zip(groups.tolist(), scale * half.transpose(0, 2, 1) @ half, strict=True))
    return {
        label: pd.DataFrame(found[k], index=names, columns=names, copy=False)
        for k, (label, names) in enumerate(zip(model.groups.labels, effect_names(model), strict=True))
    }


def coefficient_root(params: MixedLMParams, theta: Floats | None, blocks: Sequence[Block]) -> Floats:
    """Return the lower triangular R with R R' the covariance of the random coefficients over the residual variance.

    Parameters
    ----------
    params
        Of the fit.
    theta
        Of the fit, where it has no holds: far from the origin of a covariate it has more digits than ``cov_re``.
    blocks
        Where the parameters stand.
    """
    if theta is not None:
        for block in blocks:
            if block.component < 0 and len(block.effects) == params.k_re:
                return lower_triangle(theta[list(block.theta)], params.k_re)
    root = cholesky_root(params.cov_re)
    assert root is not None
    return root


def _designs(model: ModelDescription, starts: Positions, n_effects: int) -> sparse.coo_array:
    """Return the designs of all groups' effects side by side, (n_rows, n_effects), group by group.

    Parameters
    ----------
    model
        The model.
    starts
        First column of the random coefficients and of each component, for each group, (1 + k_vc, n_groups).
    n_effects
        Columns of all groups.
    """
    of_row, n_rows = model.groups.codes, model.nobs
    parts = []
    if model.exog_re is not None:
        columns = starts[0][of_row][:, None] + np.arange(model.k_re)
        parts.append((model.exog_re.ravel(), np.repeat(np.arange(n_rows), model.k_re), columns.ravel()))
    for component, first in zip(model.components, starts[1:], strict=True):
        if component.Z is not None:
            row, column = np.nonzero(component.Z)
            parts.append((component.Z[row, column], row, first[of_row[row]] + column))
            continue
        assert component.codes is not None
        row = np.arange(n_rows) if component.values is None else np.flatnonzero(component.values)
        within = (component.codes - (np.cumsum(component.counts) - component.counts)[of_row])[row]
        values = np.ones(n_rows) if component.values is None else component.values[row]
        parts.append((values, row, first[of_row[row]] + within))
    values, rows, columns = (np.concatenate(its) for its in zip(*parts, strict=True))
    return sparse.coo_array((values, (rows, columns)), shape=(n_rows, n_effects))


def _roots(root: Floats, vcomp: Floats, starts: Positions, counts: Sequence[Positions]) -> sparse.coo_array:
    """Return R with D = R R' for the effects of all groups, (n_effects, n_effects)."""
    row, column = np.tril_indices(len(root))
    places = [(np.add.outer(starts[0], row).ravel(), np.add.outer(starts[0], column).ravel())]
    values = [np.tile(root[row, column], starts.shape[1])]
    for variance, first, count in zip(vcomp, starts[1:], counts[1:], strict=True):
        place = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
        places.append((place, place))
        values.append(np.full(len(place), np.sqrt(variance)))
    rows, columns = (np.concatenate(its) for its in zip(*places, strict=True))
    n_effects = int(np.sum(counts))
    return sparse.coo_array((np.concatenate(values), (rows, columns)), shape=(n_effects, n_effects))


def _stacked(matrix: sparse.csr_array, starts: Positions, groups: Positions, width: int) -> Floats:
    """Return the diagonal blocks of some groups, which have the same width, (n, width, width)."""
    entries = matrix.tocoo()
    owner = np.searchsorted(starts, entries.row, side="right") - 1
    place = np.full(len(starts), -1)
    place[groups] = np.arange(len(groups))
    chosen = np.flatnonzero(place[owner] >= 0)
    owner = owner[chosen]
    out = np.zeros((len(groups), width, width))
    out[place[owner], entries.row[chosen] - starts[owner], entries.col[chosen] - starts[owner]] = entries.data[chosen]
    return out
