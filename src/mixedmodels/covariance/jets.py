"""Numbers that carry two derivatives: what a structure is written in once, for the value and all that is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Jet:
    """A number or an array with its first and second derivatives in k coordinates.

    Attributes
    ----------
    value
        (...).
    first
        (k, ...).
    second
        (k, k, ...), symmetric.
    """

    value: Floats
    first: Floats
    second: Floats

    __array_ufunc__ = None

    @property
    def n_coordinates(self) -> int:
        """Coordinates of the derivatives."""
        return len(self.first)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape

    def __neg__(self) -> Jet:
        return Jet(-self.value, -self.first, -self.second)

    def __add__(self, other: Jet | float | Floats) -> Jet:
        one, two = _alike(self, other)
        return Jet(one.value + two.value, one.first + two.first, one.second + two.second)

    __radd__ = __add__

    def __sub__(self, other: Jet | float | Floats) -> Jet:
        return self + (-other)

    def __rsub__(self, other: float | Floats) -> Jet:
        return (-self) + other

    def __mul__(self, other: Jet | float | Floats) -> Jet:
        one, two = _alike(self, other)
        cross = one.first[:, None] * two.first[None]
        return Jet(
            one.value * two.value,
            one.first * two.value + one.value * two.first,
            one.second * two.value + one.value * two.second + cross + cross.swapaxes(0, 1),
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Jet) -> Jet:
        inverse = 1 / other.value
        return self * other._chain(inverse, -(inverse**2), 2 * inverse**3)

    def exp(self) -> Jet:
        """Return the exponential."""
        e = np.exp(self.value)
        return self._chain(e, e, e)

    def sqrt(self) -> Jet:
        """Return the square root of positive values."""
        root = np.sqrt(self.value)
        return self._chain(root, 0.5 / root, -0.25 / root**3)

    def sin(self) -> Jet:
        """Return the sine."""
        s, c = np.sin(self.value), np.cos(self.value)
        return self._chain(s, c, -s)

    def cos(self) -> Jet:
        """Return the cosine."""
        s, c = np.sin(self.value), np.cos(self.value)
        return self._chain(c, -s, -c)

    def power(self, exponents: Floats) -> Jet:
        """Return a number, which may be zero or negative, to the power of whole numbers, an array of them."""
        a = np.asarray(exponents, dtype=np.float64)
        x = float(self.value)
        slope = np.where(a >= 1, a, 0) * np.power(x, np.maximum(a - 1, 0))
        bend = np.where(a >= 2, a * (a - 1), 0) * np.power(x, np.maximum(a - 2, 0))
        return _spread(self, a.ndim)._chain(np.power(x, a), slope, bend)

    def at(self, *places: slice | None) -> Jet:
        """Return the elements at an index of the value."""
        return Jet(
            np.asarray(self.value[places]),
            self.first[(slice(None), *places)],
            self.second[(slice(None), slice(None), *places)],
        )

    def _chain(self, value: Floats, slope: Floats, bend: Floats) -> Jet:
        """Return a function of the jet with that value and these derivatives."""
        squares = self.first[:, None] * self.first[None]
        return Jet(value, slope * self.first, slope * self.second + bend * squares)


def variables(x: Floats) -> list[Jet]:
    """Return coordinates as jets of themselves."""
    k = len(x)
    return [Jet(np.asarray(x[i]), np.eye(k)[i], np.zeros((k, k))) for i in range(k)]


def constant(value: float | Floats, n_coordinates: int) -> Jet:
    """Return what does not depend on the coordinates."""
    v = np.asarray(value, dtype=np.float64)
    return Jet(v, np.zeros((n_coordinates, *v.shape)), np.zeros((n_coordinates, n_coordinates, *v.shape)))


def stack(numbers: Sequence[Jet], shape: tuple[int, ...]) -> Jet:
    """Return numbers, in C order, as one array of that shape."""
    k = numbers[0].n_coordinates
    return Jet(
        np.array([n.value for n in numbers]).reshape(shape),
        np.moveaxis(np.array([n.first for n in numbers]), 0, -1).reshape(k, *shape),
        np.moveaxis(np.array([n.second for n in numbers]), 0, -1).reshape(k, k, *shape),
    )


def _spread(jet: Jet, n_dimensions: int) -> Jet:
    """Return a jet whose value has that many dimensions, new ones of length one in front."""
    missing = (1,) * (n_dimensions - jet.value.ndim)
    if not missing:
        return jet
    k = jet.n_coordinates
    return Jet(
        jet.value.reshape(*missing, *jet.shape),
        jet.first.reshape(k, *missing, *jet.shape),
        jet.second.reshape(k, k, *missing, *jet.shape),
    )


def _alike(one: Jet, other: Jet | float | Floats) -> tuple[Jet, Jet]:
    two = other if isinstance(other, Jet) else constant(other, one.n_coordinates)
    n = max(one.value.ndim, two.value.ndim)
    return _spread(one, n), _spread(two, n)
