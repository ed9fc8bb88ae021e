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
        Trust-region steps of one start, 1 to 1,000,000.
    n_starts
        Starting points, at most 10,000; 0 leaves it to the engine, which tries several where a fit costs milliseconds.
        Generalised models have four, those with structures a few of their own, ``mmrm``'s one: the first so many of
        them are taken, and more are refused.
    n_threads
        Threads of the engine, at most 256; 0 takes what the machine has.

    Raises
    ------
    FitError
        If a value is not a whole number, too small or too large.
    """

    max_iterations: int = field(default=200, metadata={"at_least": 1, "at_most": 1_000_000})
    n_starts: int = field(default=0, metadata={"at_least": 0, "at_most": 10_000})
    n_threads: int = field(default=0, metadata={"at_least": 0, "at_most": 256})

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, at_least, at_most = getattr(self, limit.name), limit.metadata["at_least"], limit.metadata["at_most"]
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            if not whole or not at_least <= value <= at_most:
                raise FitError(f"{limit.name} is {value!r}; it must be a whole number of {at_least} to {at_most}.")


def check_starts(control: Control, n_there: int) -> None:
    """Refuse to begin at more points than a model has.

    Parameters
    ----------
    control
        Says how many are asked for.
    n_there
        Points that the model has.

    Raises
    ------
    FitError
        They are fewer.
    """
    if control.n_starts > n_there:
        raise FitError(
            f"n_starts={control.n_starts} is given for a model that has {n_there} starting "
            f"{'point' if n_there == 1 else 'points'} of its own. Ask for no more, or leave it out."
        )
