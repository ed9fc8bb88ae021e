"""Random effects group by group, as statsmodels returns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from mixedmodels.design.records import Floats
from mixedmodels.mixedlm.description.layout import Block, cholesky_root
from mixedmodels.mixedlm.reading.components import group_designs
from mixedmodels.mixedlm.reading.params import MixedLMParams

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState
    from mixedmodels.mixedlm.model import MixedLM


def effect_names(model: MixedLM, group: int) -> list[str]:
    """Return the names of a group's effects: random coefficients, then ``component[column]``."""
    names = list(model.data.exog_re_names)
    for name, labels in zip(model.exog_vc.names, model.exog_vc.colnames, strict=True):
        names.extend(f"{name}[{label}]" for label in labels[group])
    return names


def means(model: MixedLM, state: FitState, blocks: Sequence[Block]) -> dict[Any, pd.Series[float]]:
    """Return E(effects | y) of each group."""
    n_groups = model.n_groups
    coefficients = np.zeros((n_groups, model.k_re))
    flat: list[Floats] = [np.zeros(component.n_columns) for component in model._components]
    for block in blocks:
        b = state.b[block.factor][:, list(block.columns)]
        if block.component < 0:
            coefficients[:, list(block.effects)] = b
            continue
        component = model._components[block.component]
        if component.codes is None:
            used = np.arange(b.shape[1]) < component.counts[:, None]
            flat[block.component] = b[used]
        else:
            flat[block.component] = b[:, 0]
    parts = [[*coefficients]]
    for component, values in zip(model._components, flat, strict=True):
        parts.append(np.split(values, np.cumsum(component.counts)[:-1]))
    return {
        label: pd.Series(np.concatenate([part[k] for part in parts]), index=effect_names(model, k))
        for k, label in enumerate(model.group_labels)
    }


def covariances(model: MixedLM, params: MixedLMParams, scale: float) -> dict[Any, pd.DataFrame]:
    """Return Var(effects | y) of each group at known parameters.

    With D = R R' the prior covariance over the residual variance: scale R (I + R' Z'Z R)^-1 R', which needs no inverse
    of D and is right where D is singular.
    """
    rows = model._groups.split()
    root = cholesky_root(params.cov_re)
    assert root is not None
    designs = [group_designs(component, rows, use_sparse=True) for component in model._components]
    out = {}
    for k, (label, its_rows) in enumerate(zip(model.group_labels, rows, strict=True)):
        coefficients = np.zeros((len(its_rows), 0)) if model.exog_re is None else model.exog_re[its_rows]
        sds = [np.sqrt(v) * np.ones(its[k].shape[1]) for v, its in zip(params.vcomp, designs, strict=True)]
        R = sparse.block_diag([root, sparse.diags_array(np.concatenate([[], *sds]))], format="csr")
        Z = sparse.hstack([sparse.csr_array(coefficients), *(its[k] for its in designs)], format="csr")
        ZR = Z @ R
        inner = np.eye(ZR.shape[1]) + (ZR.T @ ZR).toarray()
        half = np.linalg.solve(np.linalg.cholesky(inner), R.T.toarray())
        names = effect_names(model, k)
        out[label] = pd.DataFrame(scale * half.T @ half, index=names, columns=names)
    return out
