"""The functions that expressions may call: formulaic's, and those that R users expect."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from formulaic.materializers.types import FactorValues
from formulaic.transforms import TRANSFORMS, C, ContrastsRegistry
from formulaic.transforms.contrasts import Contrasts
from formulaic.utils.stateful_transforms import stateful_transform

from mixedmodels.design.labels import shown_level
from mixedmodels.errors import DataError

CODINGS: Mapping[str, type[Contrasts]] = MappingProxyType(
    {name: getattr(ContrastsRegistry, name) for name in ("treatment", "sum", "helmert", "poly", "diff", "SAS")}
)
"""The codings of categories by name."""

EVERY = ""
"""Stands for the categories that are no columns, such as C(x), in codings by column; no column is called so."""


def categories(data: Any, contrasts: Any = None, *, levels: Any = None, spans_intercept: bool = True) -> FactorValues:
    """Return x as a category, coded as `contrasts` says: a coding, or its name with or without quotes, as in R."""
    named = {builtins.sum: "sum", poly: "poly"}
    name = named.get(contrasts) if callable(contrasts) else contrasts
    coding = CODINGS.get(name) if isinstance(name, str) else contrasts
    if not (is_coding(coding) or isinstance(coding, np.ndarray | Mapping) or contrasts is None):
        raise DataError("its second argument is no coding; sum, helmert and treatment('level') are some")
    values = _with_dates_as_text(data)
    new = [] if levels is None else unseen(values, levels)
    if new:
        raise DataError(f"its levels= do not have {', '.join(repr(shown_level(level)) for level in new)}")
    return C(values, coding, levels=levels, spans_intercept=spans_intercept)


def coded_by(coding: Contrasts) -> Callable[..., FactorValues]:
    """Return `categories` with another coding where none is asked for."""

    def coded(data: Any, contrasts: Any = None, **options: Any) -> FactorValues:
        return categories(data, coding if contrasts is None else contrasts, **options)

    return coded


def unseen(values: Any, levels: Iterable[Any]) -> list[Any]:
    """Return the different values that are none of the levels, in order of appearance."""
    known = set(levels)
    return [value for value in pd.unique(pd.Series(values)) if value not in known]


def _with_dates_as_text(data: Any) -> Any:
    """Return dates and durations as a category of their texts, in the order of time; other values as they are."""
    if not isinstance(data, pd.Series) or data.dtype.kind not in "mM":
        return data
    times, codes = np.unique(data.to_numpy(), return_inverse=True)
    return pd.Series(pd.Categorical.from_codes(codes, pd.Index(list(map(shown_level, times)))), index=data.index)


def is_coding(value: object) -> bool:
    """Return True for formulaic's codings, classes or objects."""
    return isinstance(value, Contrasts) or (isinstance(value, type) and issubclass(value, Contrasts))


def log(x: Any, base: float | None = None) -> Any:
    """Return the natural logarithm, or that to a base."""
    return np.log(x) if base is None else np.log(x) / np.log(base)


@stateful_transform  # type: ignore[untyped-decorator]  # formulaic has no types
def poly(x: Any, degree: int = 1, raw: bool = False, *, _state: Any = None) -> Any:
    """Return formulaic's polynomials; the columns of raw ones are called by their power, as the others are."""
    columns = TRANSFORMS["poly"](x, degree, raw, _state=_state)
    return FactorValues(columns, column_names=tuple(str(k) for k in range(1, degree + 1))) if raw else columns


# `Q` is left out: backticks quote names.
FUNCTIONS: Mapping[str, Any] = MappingProxyType(
    {name: function for name, function in TRANSFORMS.items() if name != "Q"}
    | {name: getattr(np, name) for name in ("sqrt", "log1p", "expm1", "sin", "cos", "tan", "pi")}
    | {name: CODINGS[name] for name in ("treatment", "helmert", "SAS")}
    | {"C": categories, "factor": categories, "log": log, "poly": poly, "TRUE": True, "FALSE": False}
)
