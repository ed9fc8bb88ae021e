"""Sums of rows that come in parts: any split and any order of merges is the model of all rows at once."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from mixedmodels._engine import Accumulator, Model


@dataclass(frozen=True)
class Rows:
    """A model by rows, as the engine takes it."""

    y: Any
    X: Any
    weights: Any
    codes: list[Any]
    n_levels: list[int]
    Z: list[Any]
    blocks: list[list[int]]

    def take(self, rows: Any) -> Rows:
        return replace(
            self,
            y=self.y[rows],
            X=np.ascontiguousarray(self.X[rows]),
            weights=None if self.weights is None else self.weights[rows],
            codes=[np.ascontiguousarray(c[rows]) for c in self.codes],
            Z=[None if Z is None else np.ascontiguousarray(Z[rows]) for Z in self.Z],
        )


class Stream:
    """An accumulator with dictionaries of the levels that it has met, which the engine does not know."""

    def __init__(self, like: Rows, first: Accumulator | None = None) -> None:
        self.sums = Accumulator(like.blocks) if first is None else first
        self.levels: list[list[int]] = [[] for _ in like.blocks]

    def codes(self, k: int, labels: Any) -> Any:
        known = {label: code for code, label in enumerate(self.levels[k])}
        out = [known.setdefault(int(label), len(known)) for label in labels]
        self.levels[k] = list(known)
        return np.array(out, dtype=np.int32)

    def add(self, rows: Rows) -> None:
        codes = [self.codes(k, labels) for k, labels in enumerate(rows.codes)]
        self.sums.add(rows.y, rows.X, rows.weights, codes, list(map(len, self.levels)), rows.Z)

    def merge(self, other: Stream) -> None:
        self.sums.merge(other.sums, [self.codes(k, labels) for k, labels in enumerate(other.levels)])

    def finish(self) -> Any:
        return self.sums.finish([np.argsort(np.argsort(known)).astype(np.int32) for known in self.levels])


def whole(rows: Rows) -> Model:
    return Model(rows.y, rows.X, rows.weights, rows.codes, rows.n_levels, rows.Z, rows.blocks)


def simulated(case: str, n: int = 3000) -> Rows:
    rng = np.random.default_rng(sum(map(ord, case)))
    x, w = rng.normal(size=n), rng.integers(0, 3, size=n)
    if "far" in case:
        x = 1.7e9 + 3e7 * x
    X = np.column_stack([np.ones(n), x, w == 1, w == 2])
    if "alias" in case:
        X = np.column_stack([X, (w == 0) * 1.0, 2 * x + 3])
    n_levels = [int(np.sqrt(n)), 11, 5] if "three" in case else [60, 11] if "two" in case else [60]
    codes = [np.r_[np.arange(q), rng.integers(q, size=n - q)].astype(np.int32) for q in n_levels]
    rng.shuffle(codes[0])
    slopes = np.ascontiguousarray(np.column_stack([np.ones(n), x]))
    Z = [slopes if "slope" in case and k != 1 else None for k in range(len(codes))]
    blocks = [[1] if z is None else [1, 1] if "apart" in case else [2] for z in Z]
    y = X[:, 1] * 2e-8 + 0.5 * X[:, 2] + rng.normal(size=n)
    for c, q, z in zip(codes, n_levels, Z, strict=True):
        y += rng.normal(size=q)[c]
        y += 0.0 if z is None else (0.7 * rng.normal(size=q))[c] * (x - x.mean()) / x.std()
    weights = rng.gamma(2.0, size=n) if "weights" in case else None
    if "large" in case:
        y += 1e6
    return Rows(y, X, weights, codes, n_levels, Z, blocks)


def check_same(found: Model, expected: Model) -> None:
    assert found.kept == expected.kept
    assert found.dependent_columns() == expected.dependent_columns()
    assert found.residual_scale == pytest.approx(expected.residual_scale, rel=1e-10)
    rng = np.random.default_rng(1)
    start = expected.minimize(True, None, 500, 1).theta
    for reml in (True, False):
        for theta in (start, start * rng.uniform(0.5, 2.0, size=start.shape)):
            assert found.deviance(theta, reml) == pytest.approx(expected.deviance(theta, reml), rel=1e-10)
            difference = (found.gradient(theta, reml) - expected.gradient(theta, reml)) * theta  # which has no units
            assert np.abs(difference).max() <= 1e-10 * abs(expected.deviance(theta, reml))
        best, known = found.minimize(reml, None, 500, 1), expected.minimize(reml, None, 500, 1)
        assert best.deviance == pytest.approx(known.deviance, rel=1e-10)
        assert np.abs(best.theta - known.theta).max() <= 1e-5 * np.abs(known.theta).max()
        beta, cov, sigma, b = found.solve(known.theta, reml)
        beta_known, cov_known, sigma_known, b_known = expected.solve(known.theta, reml)
        se = np.sqrt(np.diag(cov_known)) * sigma_known
        assert np.abs((beta - beta_known) / se).max() <= 1e-8
        np.testing.assert_allclose(np.diag(cov), np.diag(cov_known), rtol=1e-8)
        assert sigma == pytest.approx(sigma_known, rel=1e-9)
        for own, other in zip(b, b_known, strict=True):
            assert np.abs(own - other).max() <= 1e-8 * np.abs(other).max()


CASES = (
    "one",
    "one slope",
    "one slope far",
    "one weights",
    "one slope weights large",
    "one slope apart",
    "one slope apart weights far",
    "two",
    "two slope weights",
    "two alias",
    "two alias far large",
    "three",
    "three slope weights far",
    "three slope apart large",
)


@pytest.mark.parametrize("case", CASES)
def test_any_split_and_any_order_of_merges(case: str) -> None:
    rows = simulated(case)
    expected = whole(rows)
    n = len(rows.y)
    rng = np.random.default_rng(len(case))
    one = Stream(rows)
    one.add(rows)
    check_same(one.finish(), expected)
    for _ in range(2):
        cuts = np.sort(rng.choice(np.arange(200, n), size=6, replace=False))
        parts = [rows.take(part) for part in np.split(np.arange(n), [200, *cuts])]
        parts.insert(int(rng.integers(1, 8)), rows.take(np.arange(0)))
        first = Stream(rows)
        first.add(parts[0])
        workers = [Stream(rows, first.sums.fork()) for _ in range(3)]
        for k in rng.permutation(len(parts) - 1):
            workers[int(rng.integers(3))].add(parts[1 + k])
        workers = [*workers, first]
        rng.shuffle(workers)  # type: ignore[arg-type]  # a list will do
        own, *others = workers
        for other in others:
            other.sums = pickle.loads(pickle.dumps(other.sums))
            own.merge(other)
        assert own.sums.n_obs == n
        check_same(own.finish(), expected)


def in_passes(rows: Rows, cuts: list[int]) -> tuple[Model, int]:
    """Return the model of rows in parts, and how many passes it took."""
    stream, passes = Stream(rows), 0
    while True:
        passes += 1
        for part in np.split(np.arange(len(rows.y)), cuts):
            stream.add(rows.take(part))
        found = stream.finish()
        if isinstance(found, Model):
            return found, passes
        assert (found.n_obs, passes < 5) == (0, True)
        stream = Stream(rows, found)


def test_sorted_rows_whose_columns_do_not_vary_at_first() -> None:
    rows = simulated("two slope alias")
    rows = rows.take(np.lexsort([rows.codes[0], rows.X[:, 2]]))
    assert len(np.unique(rows.codes[0][:30])) == 1
    found, passes = in_passes(rows, [30, 200, 2500])
    assert passes == 2  # which of the columns of w are aliased cannot be told from the first rows
    check_same(found, whole(rows))


def test_a_copy_is_told_from_its_original_far_down_the_stream() -> None:
    rows = simulated("one slope", 4000)
    t = np.sort(np.random.default_rng(0).uniform(size=4000))
    noise = np.random.default_rng(1).normal(size=4000)
    for share, kept in ((0.0, [0, 1]), (1e-5, [0, 1, 2])):
        X = np.column_stack([np.ones(4000), t, t + share * noise * (t > 0.5)])
        changed = replace(rows, X=X)
        found, passes = in_passes(changed, [100, 2000, 2500])
        assert (found.kept, passes) == (kept, 1)
        check_same(found, whole(changed))


def test_a_response_unlike_its_beginning_asks_for_another_pass() -> None:
    rows = simulated("two slope", 4000)
    t = np.maximum(np.linspace(-0.1, 1, 4000), 0.0)
    rows = replace(rows, X=np.column_stack([np.ones(4000), t]), y=rows.y + 1e5 * t)
    found, passes = in_passes(rows, [100, 2000])
    assert passes == 2
    check_same(found, whole(rows))


def test_a_perfect_fit_is_refused() -> None:
    rows = simulated("one")
    stream = Stream(rows)
    for part in np.split(np.arange(3000), 3):
        stream.add(replace(rows, y=rows.X @ [1e3, 2.0, 3.0, 4.0]).take(part))
    with pytest.raises(ValueError, match="fit the response perfectly"):
        stream.finish()


def test_what_is_no_part_of_the_same_model_is_refused() -> None:
    rows = simulated("one")
    stream, other = Stream(rows), Stream(rows)
    with pytest.raises(ValueError, match="no row"):
        stream.finish()
    stream.add(rows.take(np.arange(100)))
    other.add(rows.take(np.arange(100, 200)))
    with pytest.raises(ValueError, match="other bases"):
        stream.merge(other)
    with pytest.raises(ValueError, match="another number of columns"):
        stream.add(replace(rows, X=rows.X[:, :2].copy()))
    with pytest.raises(ValueError, match="different"):
        stream.sums.finish([np.zeros(60, dtype=np.int32)])
    with pytest.raises(ValueError, match="no sums"):
        stream.sums.__setstate__(pickle.dumps(stream.sums)[:40])
