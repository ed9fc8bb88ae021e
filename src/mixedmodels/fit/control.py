"""How hard the optimiser tries."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from numbers import Integral

from mixedmodels.errors import FitError


@dataclass(frozen=True, kw_only=True)
class Control:
    """Limits of one fit. None of them moves the optimum.

    Parameters
    ----------
    max_iterations
        Trust-region steps of one start, at least 1.
    n_starts
        Starting points; 0 leaves it to the engine, which tries several where a fit costs milliseconds.
    n_threads
        Threads of the engine; 0 takes what the machine has.

    Raises
    ------
    FitError
        If a value is not a whole number, or too small.
    """

    max_iterations: int = field(default=200, metadata={"at_least": 1})
    n_starts: int = field(default=0, metadata={"at_least": 0})
    n_threads: int = field(default=0, metadata={"at_least": 0})

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, at_least = getattr(self, limit.name), limit.metadata["at_least"]
            if not isinstance(value, Integral) or isinstance(value, bool) or value < at_least:
                raise FitError(f"{limit.name} is {value!r}; it must be a whole number of at least {at_least}.")
