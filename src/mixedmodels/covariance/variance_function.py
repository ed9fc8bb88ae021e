"""What every variance function says of itself: standard deviations of residuals as a function of a column."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mixedmodels.covariance.jets import Floats, Jet


@dataclass(frozen=True)
class Parameters:
    """A function's own parameters, as users know them.

    Attributes
    ----------
    names, values, limits
        One a parameter.
    """

    names: list[str]
    values: list[Jet]
    limits: list[tuple[float, float]]


class VarianceFunction(ABC):
    """Standard deviations, relative to sigma, from coordinates without bounds.

    A function is written once, over jets, from which all derivatives follow.

    Parameters
    ----------
    column
        Its name.
    values
        What the function is of, at the rows used, (n_obs,): numbers, or codes of levels.
    levels
        Labels of the levels; empty for numbers.
    is_centred
        Coordinates are about the middle of the values, so that they do not pull at sigma; not where sigma is given.

    Attributes
    ----------
    takes_levels
        The column is read as labels.
    """

    takes_levels: ClassVar[bool] = False

    def __init__(self, column: str, values: Floats, levels: tuple[str, ...] = (), *, is_centred: bool = True) -> None:
        self.column = column
        self.levels = levels
        self.settle(values, is_centred=is_centred)

    @staticmethod
    def unsuited(values: Floats) -> str | None:
        """Return what values there must not be, in words, or None if there are none of them."""
        del values
        return None

    def settle(self, values: Floats, *, is_centred: bool) -> None:
        """Remember what the coordinates are measured by; nothing, if not said otherwise."""
        del values, is_centred

    @property
    @abstractmethod
    def n_coordinates(self) -> int:
        """Coordinates."""

    @abstractmethod
    def log_sds(self, x: Sequence[Jet], values: Floats) -> Jet:
        """Return logarithms of standard deviations over that of the middle, in the shape of the values."""

    @abstractmethod
    def log_reference(self, x: Sequence[Jet]) -> Jet:
        """Return the logarithm of sigma over the standard deviation of the middle."""

    @abstractmethod
    def parameters(self, x: Sequence[Jet]) -> Parameters:
        """Return the function's own parameters."""
