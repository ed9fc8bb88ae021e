"""Arguments of the door, read or refused in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from textwrap import shorten
from typing import Any

import numpy as np
import numpy.typing as npt

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, InferenceError, nearest

LONGEST_SHOWN = 60
"""Characters of a value that a message shows."""


def shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, cut where it is long."""
    return shorten(repr(value), LONGEST_SHOWN, placeholder="...")


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
    raise DataError(f"{name} is {shown(values)}; it must be real numbers.")


def read_count(name: str, value: Any, at_least: int) -> int:
    """Return an argument as a whole number; ``1e3`` is one too.

    Raises
    ------
    DataError
        If it is none, or too small.
    """
    is_whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
    if not is_whole or isinstance(value, bool) or value < at_least:
        raise DataError(f"{name} is {shown(value)}; it must be a whole number of at least {at_least}.")
    return int(value)


def check_tolerance(name: str, value: Any) -> None:
    """An argument must be a positive number.

    Raises
    ------
    DataError
        It is not.
    """
    if not isinstance(value, Real) or not 0 < float(value) < np.inf:
        raise DataError(f"{name} is {shown(value)}; it must be a positive number.")


def read_flag(name: str, value: Any) -> bool:
    """Return an argument that must be True or False, or 1 or 0, as code written for statsmodels has them.

    Raises
    ------
    DataError
        If it is anything else.
    """
    if not isinstance(value, bool | np.bool_ | Integral) or value not in {0, 1}:
        raise DataError(f"{name} is {shown(value)}; it must be True or False.")
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
            f"{name} is {shown(penalty)}; it must be an object with the methods func and deriv, such as "
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
        raise DataError(f"{name} is {shown(value)}; it must be a formula, a text.")


def read_matrix(name: str, values: Any, shape: tuple[int | None, int | None]) -> Floats:
    """Return an argument as a matrix of real numbers.

    Parameters
    ----------
    name, values
        The argument.
    shape
        Numbers of rows and columns that it must have; None for any.

    Raises
    ------
    DataError
        If it is no such matrix.
    """
    found = read_numbers(name, values)
    if found.ndim != 2 or any(n not in (None, m) for n, m in zip(shape, found.shape, strict=True)):
        rows, columns = ("any number" if n is None else n for n in shape)
        raise DataError(f"{name} has the shape {found.shape}; it must be a matrix of {rows} rows, {columns} columns.")
    return found


def read_number(name: str, value: Any) -> float:
    """Return an argument as one finite number.

    Raises
    ------
    DataError
        If it is none.
    """
    found = read_numbers(name, value)
    if found.size != 1 or isinstance(value, bool) or not np.isfinite(found).all():
        raise DataError(f"{name} is {shown(value)}; it must be a finite number.")
    return float(found.ravel()[0])


def read_alpha(alpha: Any) -> float:
    """Return one less the coverage of intervals, or the level of a test.

    Raises
    ------
    InferenceError
        If it is no number between 0 and 1.
    """
    found = alpha.item() if getattr(alpha, "ndim", None) == 0 else alpha
    if not isinstance(found, Real) or isinstance(found, bool) or not 0 <= float(found) <= 1:
        raise InferenceError(f"alpha is {shown(alpha)}; it must lie between 0 and 1, such as 0.05.")
    return float(found)


def read_names(name: str, given: Any, own: Sequence[str], of: str) -> list[str]:
    """Return names in place of a fit's own, as texts.

    Parameters
    ----------
    name
        Of the argument.
    given
        As many names; None for its own.
    own
        The fit's.
    of
        What they are names of, for the message.

    Raises
    ------
    InferenceError
        If they are no list, or there are more or fewer.
    """
    if given is None:
        return list(own)
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise InferenceError(f"{name} is {shown(given)}; it must be a list of {len(own)} names, those of {of}.")
    names = [str(one) for one in given]
    if len(names) != len(own):
        raise InferenceError(f"{name} has {len(names)} names; there are {len(own)} {of}: {', '.join(own)}.")
    return names


def read_positions(name: str, given: Any, n: int) -> npt.NDArray[np.intp]:
    """Return positions among n parameters, in the shape given; booleans choose those that are True.

    Raises
    ------
    InferenceError
        If they are no whole numbers from -n to n - 1.
    """
    found = np.asarray(given)
    if found.dtype == bool and found.shape == (n,):
        return np.flatnonzero(found)
    found = found.astype(np.intp) if found.size == 0 and found.ndim == 1 else found
    if found.ndim > 1 or found.dtype.kind not in "iu" or ((found < -n) | (found >= n)).any():
        raise InferenceError(
            f"{name} is {shown(given)}; it must be positions of parameters, whole numbers from 0 to {n - 1}."
        )
    return found.astype(np.intp)


def read_label(name: str, value: Any) -> str:
    """Return a text to be printed; a number is one too.

    Raises
    ------
    DataError
        If it is a list or another container.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | Iterable) or value is None:
        raise DataError(f"{name} is {shown(value)}; it must be a text.")
    return str(value)


def read_texts(name: str, given: Any) -> list[str]:
    """Return a list of texts, none for None.

    Raises
    ------
    DataError
        If it is no list of texts.
    """
    if given is None:
        return []
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise DataError(f"{name} is {shown(given)}; it must be a list of texts.")
    return list(given)


def check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    """An argument must be one of some texts.

    Raises
    ------
    DataError
        It is not.
    """
    if not isinstance(value, str) or value not in known:
        near = nearest(value, known) if isinstance(value, str) else ""
        raise DataError(f"{name} is {shown(value)}; it must be one of {', '.join(map(repr, known))}.{near}")
