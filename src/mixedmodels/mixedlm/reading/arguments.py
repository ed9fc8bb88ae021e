"""Arguments of the door, read or refused in a sentence."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError


def read_numbers(name: str, values: Any) -> Floats:
    """Return an argument as real numbers, in its shape.

    Raises
    ------
    DataError
        If it is anything else.
    """
    try:
        found = np.asarray(values)
        if found.dtype.kind not in "cSU":
            return np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError):
        pass
    raise DataError(f"{name} is {values!r}; it must be real numbers.")


def read_count(name: str, value: Any, at_least: int) -> int:
    """Return an argument as a whole number; ``1e3`` is one too.

    Raises
    ------
    DataError
        If it is none, or too small.
    """
    is_whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
    if not is_whole or isinstance(value, bool) or value < at_least:
        raise DataError(f"{name} is {value!r}; it must be a whole number of at least {at_least}.")
    return int(value)


def check_tolerance(name: str, value: Any) -> None:
    """An argument must be a positive number.

    Raises
    ------
    DataError
        It is not.
    """
    if not isinstance(value, Real) or not 0 < float(value) < np.inf:
        raise DataError(f"{name} is {value!r}; it must be a positive number.")


def read_flag(name: str, value: Any) -> bool:
    """Return an argument that must be True or False, or 1 or 0, as code written for statsmodels has them.

    Raises
    ------
    DataError
        If it is anything else.
    """
    if not isinstance(value, bool | np.bool_ | Integral) or value not in (0, 1):
        raise DataError(f"{name} is {value!r}; it must be True or False.")
    return bool(value)


def check_penalty(name: str, penalty: Any) -> None:
    """A penalty must be None or an object with ``func`` and ``deriv``.

    Raises
    ------
    DataError
        It is not.
    """
    if penalty is not None and not (callable(getattr(penalty, "func", None)) and hasattr(penalty, "deriv")):
        raise DataError(
            f"{name} is {penalty!r}; it must be an object with the methods func and deriv, such as "
            "statsmodels.base._penalties.L2(), or None."
        )


def check_text(name: str, value: Any) -> None:
    """A formula must be a text.

    Raises
    ------
    DataError
        It is not.
    """
    if not isinstance(value, str):
        raise DataError(f"{name} is {value!r}; it must be a formula, a text.")
