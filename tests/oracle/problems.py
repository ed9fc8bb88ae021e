"""Random small models as the engine takes them: every shape of grouping with every pattern of effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Arrays:
    """The engine's arguments, by their names there."""

    y: Floats
    X: Floats
    weights: Floats | None
    codes: tuple[Codes, ...]
    n_levels: tuple[int, ...]
    Z: tuple[Floats | None, ...]
    blocks: tuple[tuple[int, ...], ...]

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """Return the arguments of ``Model``, some of them changed."""
        return {**vars(self), **changes}

    @property
    def n_theta(self) -> int:
        """Covariance parameters."""
        return sum(size * (size + 1) // 2 for blocks in self.blocks for size in blocks)

    @property
    def columns(self) -> tuple[Floats, ...]:
        """Z of each factor, ones written out."""
        return tuple(np.ones((len(self.y), 1)) if z is None else z for z in self.Z)

    @property
    def diagonal(self) -> npt.NDArray[np.bool_]:
        """True where theta is on the diagonal of Lambda, (n_theta,)."""
        return np.array([i == j for blocks in self.blocks for q in blocks for j in range(q) for i in range(j, q)])


Grouping = Callable[[np.random.Generator], list[Codes]]


def one(rng: np.random.Generator) -> list[Codes]:
    """One factor, 8 levels of very unequal size."""
    return [np.concatenate([np.arange(8), rng.choice(8, 34, p=np.arange(8, 0, -1) / 36)])]


def nested(rng: np.random.Generator) -> list[Codes]:
    """12 levels inside 4."""
    inner = np.concatenate([np.arange(12), rng.integers(0, 12, 34)])
    return [inner, inner // 3]


def nested_twice(rng: np.random.Generator) -> list[Codes]:
    """16 levels inside 7 inside 3, unequal."""
    inner = np.concatenate([np.arange(16), rng.integers(0, 16, 34)])
    middle = np.sort(np.concatenate([np.arange(7), rng.integers(0, 7, 9)]))
    return [inner, middle[inner], np.array([0, 0, 0, 1, 1, 2, 2])[middle[inner]]]


def crossed(_: np.random.Generator) -> list[Codes]:
    """9 x 5, one observation a cell."""
    return [np.repeat(np.arange(9), 5), np.tile(np.arange(5), 9)]


def crossed_holes(rng: np.random.Generator) -> list[Codes]:
    """10 x 6, most cells empty, some with several observations."""
    a = np.concatenate([np.arange(10), rng.integers(0, 10, 32)])
    return [a, np.concatenate([np.arange(10) % 6, rng.integers(0, 6, 32)])]


def crossed_three(rng: np.random.Generator) -> list[Codes]:
    """7 x 6 x 4 with empty cells."""
    return [np.concatenate([np.arange(7) % size, rng.integers(0, size, 40)]) for size in (7, 6, 4)]


def disconnected(rng: np.random.Generator) -> list[Codes]:
    """Two sets of levels that never meet: 4 x 3 and 4 x 3."""
    side = np.repeat([0, 1], 22)
    return [
        side * 4 + np.concatenate([np.arange(4), rng.integers(0, 4, 18), np.arange(4), rng.integers(0, 4, 18)]),
        side * 3 + np.concatenate([np.arange(3), rng.integers(0, 3, 19), np.arange(3), rng.integers(0, 3, 19)]),
    ]


def movers(rng: np.random.Generator) -> list[Codes]:
    """12 students, 6 teachers in 3 schools; a few students move: nested and crossed at once."""
    student = np.repeat(np.arange(12), 4)
    home = student // 2
    teacher = np.where(rng.random(48) < 0.15, rng.integers(0, 6, 48), home)
    teacher[:24:4] = np.arange(6)
    return [student, teacher, teacher // 2]


def empty_level(rng: np.random.Generator) -> list[Codes]:
    """8 levels of which the third and the last never occur, crossed with 5."""
    return [rng.choice([0, 1, 3, 4, 5, 6], 40), rng.integers(0, 5, 40)]


GROUPINGS: dict[str, tuple[Grouping, tuple[int, ...]]] = {
    "one": (one, (8,)),
    "nested": (nested, (12, 4)),
    "nested_twice": (nested_twice, (16, 7, 3)),
    "crossed": (crossed, (9, 5)),
    "crossed_holes": (crossed_holes, (10, 6)),
    "crossed_three": (crossed_three, (7, 6, 4)),
    "disconnected": (disconnected, (8, 6)),
    "movers": (movers, (12, 6, 3)),
    "empty_level": (empty_level, (8, 5)),
}

INTERCEPT = "intercept"
EFFECTS: dict[str, tuple[int, ...]] = {
    INTERCEPT: (1,),
    "slope": (1,),
    "pair": (2,),
    "double_bar": (1, 1),
    "pair_and_one": (2, 1),
    "one_and_pair": (1, 2),
    "triple": (3,),
}


def shapes() -> list[tuple[str, tuple[str, ...]]]:
    """Return every grouping with patterns of effects on its factors.

    Nested and crossed ones have every pair of patterns on their first two factors, the others each pattern once in
    each place.
    """
    names = list(EFFECTS)
    turned = [tuple(names[(i + 2 * k) % len(names)] for k in range(3)) for i in range(len(names))]
    pairs = list(product(names, names))
    return [
        (grouping, pattern[: len(n_levels)])
        for grouping, (_, n_levels) in GROUPINGS.items()
        for pattern in (pairs if grouping in {"nested", "crossed_holes"} else turned)
    ]


def random_arrays(
    grouping: str, effects: Sequence[str], *, seed: int = 0, n_fixed: int = 3, weighted: bool = False
) -> Arrays:
    """Return a random model: an intercept, ``n_fixed - 1`` covariates and a response with some of each factor in it."""
    rng = np.random.default_rng([seed, list(GROUPINGS).index(grouping), *map(list(EFFECTS).index, effects)])
    make, n_levels = GROUPINGS[grouping]
    codes = tuple(c.astype(np.int32) for c in make(rng))
    n = len(codes[0])
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 4))])[:, :n_fixed]
    y = rng.normal(size=n) + 2.0
    Z: list[Floats | None] = []
    for c, levels, pattern in zip(codes, n_levels, effects, strict=True):
        size = sum(EFFECTS[pattern])
        columns = rng.normal(size=(n, size)) + 0.5
        if pattern != "slope":
            columns[:, 0] = 1.0
        y = y + np.einsum("ij,ij->i", columns, rng.normal(size=(levels, size))[c])
        Z.append(None if pattern == INTERCEPT else columns)
    return Arrays(
        y=y,
        X=np.ascontiguousarray(X),
        weights=rng.uniform(0.2, 5.0, n) if weighted else None,
        codes=codes,
        n_levels=n_levels,
        Z=tuple(Z),
        blocks=tuple(EFFECTS[pattern] for pattern in effects),
    )


def reordered(arrays: Arrays, rows: npt.NDArray[np.intp]) -> Arrays:
    """Return the model with its rows taken in another order."""
    return replace(
        arrays,
        y=arrays.y[rows],
        X=arrays.X[rows],
        weights=None if arrays.weights is None else arrays.weights[rows],
        codes=tuple(c[rows] for c in arrays.codes),
        Z=tuple(None if z is None else z[rows] for z in arrays.Z),
    )


def thetas(arrays: Arrays, rng: np.random.Generator) -> dict[str, Floats]:
    """Return covariance parameters of every kind: all that is finite is legal, d being even in Lambda's columns."""
    size = arrays.n_theta
    ordinary = rng.normal(size=size)
    identity = arrays.diagonal.astype(float)
    return {
        "ordinary": np.where(arrays.diagonal, np.abs(ordinary), ordinary),
        "negative diagonal": np.where(arrays.diagonal, -np.abs(ordinary), ordinary),
        "identity": identity,
        "zero": np.zeros(size),
        "half zero": ordinary * (np.arange(size) % 2),
        "zero diagonal": ordinary * ~arrays.diagonal,
        "tiny": 1e-8 * ordinary,
    }
