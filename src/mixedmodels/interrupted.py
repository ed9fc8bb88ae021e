"""Results of work that was interrupted say so where they are used."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, Protocol, TypeVar, cast

from mixedmodels.errors import PartialResultWarning

P = ParamSpec("P")
R = TypeVar("R")


class Noted(Protocol):
    """A record that knows what its users are to know."""

    @property
    def notes(self) -> list[str]:
        """Sentences, none where the work is whole."""
        ...


def warns_if_interrupted(method: Callable[P, R]) -> Callable[P, R]:
    """Return the method, which warns of the notes of its record; it is a door, right below ``refuses_unknown``.

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
    """Warn of what is missing in a record, at the line that called a function below ``refuses_unknown``."""
    for note in record.notes:
        warnings.warn(note, PartialResultWarning, stacklevel=4)
