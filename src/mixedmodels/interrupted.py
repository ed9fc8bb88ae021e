"""Results of work that was interrupted say so where they are used."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, Protocol, TypeVar, cast

from mixedmodels.errors import PartialResultWarning

PACKAGE = __name__.partition(".")[0]
P = ParamSpec("P")
R = TypeVar("R")


class Noted(Protocol):
    """A record that knows what its users are to know."""

    @property
    def notes(self) -> list[str]:
        """Sentences, none where the work is whole."""
        ...


def warns_if_interrupted(method: Callable[P, R]) -> Callable[P, R]:
    """Return the method, a door, which warns of the notes of its record.

    Warns
    -----
    PartialResultWarning
        By the method returned, at the line that called it.
    """

    @wraps(method)
    def said(*args: P.args, **kwargs: P.kwargs) -> R:
        warn_if_interrupted(cast("Noted", args[0]))
        return method(*args, **kwargs)

    return said


def warn_if_interrupted(record: Noted) -> None:
    """Warn of what is missing in a record, at the line that called the package."""
    for note in record.notes:
        warnings.warn(note, PartialResultWarning, stacklevel=_depth())


def _depth() -> int:
    """Return how many calls below whoever called the package the function is that asks."""
    frame, depth = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        frame, depth = frame.f_back, depth + 1
    return depth
