"""The description of a model that is given by formulas and a frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mixedmodels.errors import DataError, FormulaError, nearest
from mixedmodels.mixedlm.description.arrays import GROUP, describe
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.description.recipe import ModelFormulas
from mixedmodels.mixedlm.reading.arguments import check_text, shown
from mixedmodels.mixedlm.reading.components import Component, FormulaVCSpec, from_formulas, from_specification
from mixedmodels.mixedlm.reading.formula_recipe import Context
from mixedmodels.mixedlm.reading.formulas import Formulas, Part, names_used
from mixedmodels.mixedlm.reading.frames import check_told_apart, group_values, read_frame
from mixedmodels.mixedlm.reading.groups import read_groups
from mixedmodels.mixedlm.reading.restricted import check_restricted
from mixedmodels.mixedlm.reading.rows import Rows, chosen_rows, given_components, missing_message
from mixedmodels.mixedlm.reading.specification import VCSpec
from mixedmodels.mixedlm.reading.tables import Table, missing_rows, read_table


def check_formulas(formula: Any, re_formula: Any, vc_formula: Any) -> list[str]:
    """Return all formulas of a model.

    Raises
    ------
    DataError
        If one is no text, or those of the components are no mapping.
    """
    if vc_formula is not None and not isinstance(vc_formula, Mapping):
        raise DataError(
            f"vc_formula is {shown(vc_formula)}; it must be a mapping from names to formulas, such as "
            "{'cask': '0 + C(cask)'}."
        )
    texts = {"formula": formula, "re_formula": re_formula}
    texts |= {f"vc_formula[{name!r}]": text for name, text in (vc_formula or {}).items()}
    if re_formula is None:
        del texts["re_formula"]
    for name, text in texts.items():
        check_text(name, text)
    return [text for text in texts.values() if text]


def describe_formulas(
    formula: str,
    data: Any,
    re_formula: str | None,
    vc_formula: Mapping[str, str] | None,
    *,
    context: Context | None,
    subset: Any,
    use_sparse: bool,
    missing: str,
    groups: Any,
    drop_cols: Any,
    exog_re: Any,
    exog_vc: Any,
    use_sqrt: bool,
) -> ModelDescription:
    """Return the description; the arguments are those of ``MixedLM.from_formula``.

    Parameters
    ----------
    context
        What formulas see beside the columns; None for formulas of strangers, which see listed functions alone.

    Raises
    ------
    MixedModelsError
        If a formula or the data cannot be used.
    """
    frame = read_frame(data)
    texts = [formula, *([] if re_formula is None else [re_formula]), *(vc_formula or {}).values()]
    if context is None:
        check_restricted(texts, [str(name) for name in frame.columns])
        context = Context({"np": np})
    used = names_used(texts)
    check_told_apart(frame, {*used, *([groups] if isinstance(groups, str) else [])})
    group_name, values = group_values(groups, frame, GROUP)
    exog_re, exog_vc = None if re_formula else exog_re, None if vc_formula else exog_vc
    all_values, n_rows = values, len(frame)
    rows = chosen_rows(frame, values, subset, missing, used, exog_re)
    if rows is not None:
        frame, values = frame.iloc[rows], values[rows]
    while True:
        parts = _evaluate(formula, re_formula, frame, context)
        gaps, where = missing_rows([(part.first_gap, part.values) for part in parts if part is not None])
        if not gaps.any():
            break
        if missing != "drop":
            raise DataError(missing_message(where, gaps, missing))
        kept = np.flatnonzero(~gaps)
        if not len(kept):
            raise DataError("Every row has a missing value.")
        rows = kept if rows is None else rows[kept]
        frame, values = frame.iloc[kept], values[kept]
    response, fixed, random = parts
    parsed = read_groups(values, len(frame))
    fixed_part, columns = _without(fixed, drop_cols)
    has_components = bool(vc_formula) or not (exog_vc is None or (isinstance(exog_vc, Mapping) and not exog_vc))
    Z, names = _random_part(random, exog_re, rows, group_name, len(frame), has_components)
    spec: VCSpec = VCSpec([], [], [])
    components: tuple[Component, ...] = ()
    if vc_formula:
        formula_spec = from_formulas(dict(vc_formula), Formulas(frame, context), parsed, use_sparse)
        spec, components = formula_spec, formula_spec.components
    elif exog_vc is not None:
        spec = given_components(exog_vc, read_groups(all_values, n_rows), rows)
        components = from_specification(spec, parsed)
    formulas = ModelFormulas(
        fixed=fixed.recipe,
        columns=columns,
        random=None if random is None else random.recipe,
        group=groups if isinstance(groups, str) else None,
        components=dict(zip(spec.names, spec.recipes, strict=True)) if isinstance(spec, FormulaVCSpec) else {},
    )
    y = Table(response.values, [response.names[0]], frame.index)
    X = Table(fixed_part.values, list(fixed_part.names), frame.index)
    return describe(
        y, X, parsed, values, Z,
        spec=spec, components=components, re_names=names, group_name=group_name, use_sqrt=use_sqrt,
        rows=rows, n_rows=n_rows, formula=formula, frame=frame, formulas=formulas,
    )  # fmt: skip


def _evaluate(
    formula: str, re_formula: str | None, frame: pd.DataFrame, context: Context
) -> tuple[Part, Part, Part | None]:
    formulas = Formulas(frame, context)
    response, fixed = formulas.two_sided(formula)
    return response, fixed, None if re_formula is None else formulas.one_sided(re_formula)


def _without(part: Part, drop_cols: Any) -> tuple[Part, tuple[int, ...]]:
    """Return the part without some columns, and the positions of the others."""
    given = [] if drop_cols is None else drop_cols
    dropped = [given] if isinstance(given, str | bytes) or not isinstance(given, Iterable) else list(given)
    for name in dropped:
        if not isinstance(name, str) or name not in part.names:
            raise DataError(
                f"drop_cols names {shown(name)}, which is no column of the fixed part.{nearest(name, part.names)} "
                f"There are: {', '.join(part.names)}."
            )
    kept = tuple(j for j, name in enumerate(part.names) if name not in dropped)
    if len(kept) == len(part.names):
        return part, kept
    return Part(np.ascontiguousarray(part.values[:, kept]), [part.names[j] for j in kept], part.recipe, part.gap), kept


def _random_part(
    random: Part | None, exog_re: Any, rows: Rows | None, group_name: str, n_rows: int, has_components: bool
) -> tuple[Table | None, list[str]]:
    """Return the random coefficients' columns and names."""
    if random is not None and not random.names and not has_components:
        raise FormulaError(
            "re_formula leaves nothing random, and there are no variance components. Leave it out for a random "
            "intercept, or give vc_formula."
        )
    if random is not None:
        names = [name.replace("Intercept", group_name) for name in random.names]
        return Table(random.values, names, None), names
    if exog_re is not None:
        table = read_table("exog_re", exog_re)
        if rows is not None and len(table.values) != n_rows:
            table = table.take(rows)
        return table, table.names or [f"x_re{j + 1}" for j in range(table.values.shape[1])]
    if has_components:
        return None, []
    return Table(np.ones((n_rows, 1)), [group_name], None), [group_name]
