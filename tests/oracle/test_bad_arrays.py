"""What the border refuses: a ValueError with a sentence, never a panic (which no ``except Exception`` would catch)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from mixedmodels import _engine
from oracle.problems import random_arrays

ARRAYS = random_arrays("nested", ("pair", "intercept"), weighted=True)
N, P = ARRAYS.X.shape
THETA = np.array([1.0, 0.2, 0.8, 0.5])


def changed(values: np.ndarray, at: Any, to: float) -> np.ndarray:
    """Return a copy with one value changed."""
    out = values.copy()
    out[at] = to
    return out


INNER, OUTER = ARRAYS.codes
Z_PAIR = ARRAYS.columns[0]
WEIGHTS = np.ones(N)

BAD: dict[str, dict[str, Any]] = {
    "short y": {"y": ARRAYS.y[:-1]},
    "empty y": {"y": ARRAYS.y[:0]},
    "nothing at all": {
        "y": ARRAYS.y[:0],
        "X": ARRAYS.X[:0],
        "weights": None,
        "codes": (INNER[:0], OUTER[:0]),
        "Z": (Z_PAIR[:0], None),
    },
    "short X": {"X": ARRAYS.X[:-1]},
    "X as wide as long": {"X": np.random.default_rng(0).normal(size=(N, N))},
    "short weights": {"weights": WEIGHTS[:-1]},
    "zero weight": {"weights": changed(WEIGHTS, 3, 0.0)},
    "negative weight": {"weights": changed(WEIGHTS, 3, -1.0)},
    "weight NaN": {"weights": changed(WEIGHTS, 3, np.nan)},
    "weight infinite": {"weights": changed(WEIGHTS, 3, np.inf)},
    "short codes": {"codes": (INNER[:-1], OUTER)},
    "one factor's codes missing": {"codes": (INNER,)},
    "code too large": {"codes": (changed(INNER, 0, 12), OUTER)},
    "code negative": {"codes": (INNER, changed(OUTER, 5, -1))},
    "code far out": {"codes": (INNER, changed(OUTER, 5, np.iinfo(np.int32).max))},
    "one size missing": {"n_levels": (12,)},
    "no levels": {"n_levels": (12, 0)},
    "no factors": {"codes": (), "n_levels": (), "Z": (), "blocks": ()},
    "short Z": {"Z": (Z_PAIR[:-1], None)},
    "Z too narrow": {"Z": (Z_PAIR[:, :1].copy(), None)},
    "Z missing where two columns are needed": {"Z": (None, None)},
    "one Z too few": {"Z": (Z_PAIR,)},
    "blocks too small": {"blocks": ((1,), (1,))},
    "blocks too large": {"blocks": ((3,), (1,))},
    "block of nothing": {"blocks": ((2, 0), (1,))},
    "no blocks": {"blocks": ((), (1,))},
    "one factor's blocks missing": {"blocks": ((2,),)},
    "y NaN": {"y": changed(ARRAYS.y, 7, np.nan)},
    "y infinite": {"y": changed(ARRAYS.y, 7, -np.inf)},
    "X NaN": {"X": changed(ARRAYS.X, (7, 1), np.nan)},
    "X infinite": {"X": changed(ARRAYS.X, (7, 1), np.inf)},
    "Z NaN": {"Z": (changed(Z_PAIR, (7, 1), np.nan), None)},
    "Z infinite": {"Z": (changed(Z_PAIR, (7, 1), np.inf), None)},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_are_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        _engine.Model(**ARRAYS.arguments(**BAD[name]))


@pytest.mark.parametrize(
    "changes",
    [
        {"y": ARRAYS.y.astype(np.float32)},
        {"y": ARRAYS.y[:, None]},
        {"X": ARRAYS.X[:, 0]},
        {"X": ARRAYS.X.astype(int)},
        {"codes": (INNER.astype(float), OUTER)},
        {"codes": "ab"},
        {"Z": (Z_PAIR[:, 0], None)},
        {"blocks": ((-1,), (1,))},
        {"n_levels": (-12, 4)},
        {"y": None},
    ],
)
def test_bad_types_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        _engine.Model(**ARRAYS.arguments(**changes))


@pytest.mark.parametrize(
    "theta", [THETA[:-1], np.append(THETA, 1.0), THETA[:0], THETA * np.nan, changed(THETA, 1, np.inf)]
)
def test_bad_theta_is_refused(theta: np.ndarray) -> None:
    model = _engine.Model(**ARRAYS.arguments())
    for call in (
        lambda: model.deviance(theta, True),
        lambda: model.gradient(theta, True),
        lambda: model.solve(theta, True),
        lambda: model.conditional_covariance(theta),
        lambda: model.minimize(True, theta, 100, 1),
    ):
        with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
            call()


@pytest.mark.parametrize(
    "changes",
    [
        {"y": ARRAYS.y[:-1]},
        {"y": changed(ARRAYS.y, 0, np.nan)},
        {"X": ARRAYS.X[:-1]},
        {"X": ARRAYS.X[:, :-1].copy()},
        {"weights": None},
        {"weights": changed(WEIGHTS, 0, -1.0)},
        {"codes": (INNER,)},
        {"codes": (changed(INNER, 0, 99), OUTER)},
        {"Z": (None, None)},
    ],
)
def test_another_response_needs_the_same_shapes(changes: dict[str, Any]) -> None:
    model = _engine.Model(**ARRAYS.arguments())
    same = {name: getattr(ARRAYS, name) for name in ("y", "X", "weights", "codes", "Z")}
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        model.with_response(**{**same, **changes})


@pytest.mark.parametrize("theta", [np.zeros(4), 1e300 * THETA, 1e-300 * THETA, np.full(4, 1e160)])
def test_extreme_theta_never_panics(theta: np.ndarray) -> None:
    """Overflow may be refused or give infinity, but in Python's own way."""
    model = _engine.Model(**ARRAYS.arguments())
    for call in (model.deviance, model.gradient, model.solve):
        with suppress(ValueError):
            call(theta, True)
    with suppress(ValueError):
        assert not np.isnan(model.deviance(theta, True))


def test_perfect_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        _engine.Model(**ARRAYS.arguments(y=ARRAYS.X @ np.arange(1.0, 4.0))).minimize(True, None, 100, 1)
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        _engine.Model(**ARRAYS.arguments(y=np.full(N, 3.0))).minimize(True, None, 100, 1)


def test_unbounded_likelihood_is_refused() -> None:
    """A response that is constant within levels has no residual variance: the likelihood grows without limit."""
    levels = np.random.default_rng(1).normal(size=12)
    one = random_arrays("one", ("intercept",))
    arrays = one.arguments(y=levels[one.codes[0]], X=np.ones((len(one.y), 1)))
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        _engine.Model(**arrays).minimize(True, None, 500, 1)


def test_weights_are_not_kept_by_reference() -> None:
    """The engine copies what it keeps: changing an array afterwards changes nothing."""
    mine = {name: getattr(ARRAYS, name) for name in ("y", "X", "weights")}
    mine = {name: values.copy() for name, values in mine.items()}
    model = _engine.Model(**ARRAYS.arguments(**mine))
    before = model.deviance(THETA, True)
    for values in mine.values():
        values[:] = 1.0
    assert model.deviance(THETA, True) == before


def test_views_with_strides_are_read_rightly() -> None:
    """A transposed or sliced array is either read as what it is or refused."""
    expected = _engine.Model(**ARRAYS.arguments()).deviance(THETA, True)
    fortran = np.asfortranarray(ARRAYS.X)
    every_second = np.column_stack([ARRAYS.y, WEIGHTS])[:, 0]
    for changes in ({"X": fortran}, {"y": every_second}, {"Z": (np.asfortranarray(Z_PAIR), None)}):
        with suppress(ValueError, TypeError):
            value = _engine.Model(**ARRAYS.arguments(**changes)).deviance(THETA, True)
            assert value == pytest.approx(expected, rel=1e-12)
