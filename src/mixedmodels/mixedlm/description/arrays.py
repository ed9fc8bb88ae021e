"""The description of a model that is given as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedmodels.errors import DataError
from mixedmodels.mixedlm.description.data import ModelData, covariance_names
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.description.recipe import ModelFormulas
from mixedmodels.mixedlm.reading.components import Component, from_specification
from mixedmodels.mixedlm.reading.formula_recipe import FormulaRecipe
from mixedmodels.mixedlm.reading.groups import Groups, label_array, read_groups
from mixedmodels.mixedlm.reading.rows import Rows, at_rows, complete_rows, given_components
from mixedmodels.mixedlm.reading.specification import VCSpec
from mixedmodels.mixedlm.reading.tables import Table, check_rows, fixed_names, read_table

GROUP = "Group"
"""What groups are called that have no name."""


def describe_arrays(
    endog: Any,
    exog: Any,
    groups: Any,
    exog_re: Any,
    exog_vc: Any,
    *,
    use_sqrt: bool,
    missing: str,
    formula: str | None,
    model_spec: Any,
) -> ModelDescription:
    """Return the description; the arguments are those of ``MixedLM``.

    Raises
    ------
    DataError
        If the arrays do not fit together, are not numeric or have missing values.
    """
    y, X = read_table("endog", endog), read_table("exog", exog)
    if y.values.shape[1] != 1:
        raise DataError(f"endog must be one column; it has {y.values.shape[1]}.")
    check_rows([("endog", y), ("exog", X)])
    if y.index is not None and X.index is not None and not y.index.equals(X.index):
        raise DataError("The indices for endog and exog are not aligned. Sort both in the same way, or pass arrays.")
    parsed = read_groups(groups, len(y.values))
    Z = None if exog_re is None else read_table("exog_re", exog_re)
    if Z is not None:
        check_rows([("endog", y), ("exog_re", Z)])
    spec = given_components({} if exog_vc is None else exog_vc, parsed, None)
    rows = complete_rows(y, X, Z, parsed, missing)
    labels = label_array(groups)
    n_rows = len(labels)
    if rows is not None:
        spec = at_rows(spec, parsed, rows)
        y, X, Z, parsed = y.take(rows), X.take(rows), None if Z is None else Z.take(rows), parsed.take(rows)
        labels = labels[rows]
    return describe(
        y, X, parsed, labels, Z,
        spec=spec, components=from_specification(spec, parsed), re_names=_effect_names(Z, exog_re, spec),
        group_name=GROUP, use_sqrt=use_sqrt, rows=rows, n_rows=n_rows, formula=formula,
        recipe=None if model_spec is None else FormulaRecipe(model_spec),
    )  # fmt: skip


def describe(
    y: Table,
    X: Table,
    groups: Groups,
    labels: Any,
    Z: Table | None,
    *,
    spec: VCSpec,
    components: tuple[Component, ...],
    re_names: list[str],
    group_name: str,
    use_sqrt: bool,
    rows: Rows | None,
    n_rows: int,
    formula: str | None = None,
    frame: pd.DataFrame | None = None,
    formulas: ModelFormulas | None = None,
    recipe: FormulaRecipe | None = None,
) -> ModelDescription:
    """Return the description of tables that have been read.

    Parameters
    ----------
    y, X, groups, labels, Z
        Response, fixed part, groups, their label in each row, and random coefficients; None for an intercept, or for
        nothing where there are components.
    spec, components, re_names
        The variance components, and names of the random coefficients.
    group_name, use_sqrt, rows, n_rows, formulas
        As in ``ModelDescription``.
    formula, frame, recipe
        As in ``ModelData``.
    """
    endog = np.ascontiguousarray(y.values[:, 0])
    has_default = Z is None and not components
    exog_re = np.ones((len(endog), 1)) if has_default else None if Z is None else Z.values
    xnames = X.names if X.names is not None else fixed_names(X.values)
    yname = y.names[0] if y.names is not None else "y"
    data = ModelData(
        endog=endog,
        exog=X.values,
        exog_re=exog_re,
        endog_labels=y.index,
        exog_labels=X.index,
        frame=frame,
        recipe=recipe if formulas is None else formulas.fixed,
        formula=formula,
        ynames=yname,
        xnames=xnames,
        xlabels=xnames if X.labels is None else X.labels,
        exog_re_names=re_names,
        # An array's default intercept is called 'Group Var' as an effect too.
        exog_re_names_full=list(re_names) if re_names == ["Group Var"] else covariance_names(re_names),
        vcomp_names=list(spec.names),
    )
    has_constant = bool(X.values.size) and bool((np.ptp(X.values, axis=0) == 0).any())
    return ModelDescription(
        data=data,
        groups=groups,
        labels=labels,
        group_name=group_name,
        spec=spec,
        components=components,
        use_sqrt=use_sqrt,
        has_default_re=has_default,
        rows=rows,
        n_rows=n_rows,
        k_constant=int(has_constant),
        formulas=formulas,
    )


def _effect_names(Z: Table | None, given: Any, spec: VCSpec) -> list[str]:
    if Z is None:
        return [] if spec.names else ["Group Var"]
    if Z.names is not None:
        return Z.names
    if isinstance(given, pd.Series):
        return ["Unnamed"]
    return [f"x_re{j + 1}" for j in range(Z.values.shape[1])]
