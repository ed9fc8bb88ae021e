"""A seeded look-alike of MovieLens-32M, and of its tenth: margins as published, pairs distinct, half stars.

Every user's movies are drawn without replacement with weights that make the margin of the movies, independently given
the margins; movies of fewer than 50 ratings have their published counts.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

N_USERS, N_MOVIES, N_RATINGS = 200_948, 84_432, 32_000_204
BUSY = 2_000
"""Ratings of a user from which rejecting repeated draws takes too long."""

RARE = 50
"""Ratings of a movie below which its count is the published one."""

TUNINGS = 6
"""Rounds in which the weights of the movies are made those of the margin."""


def user_counts() -> Integers:
    """Ratings a user: 20 at least, median 73, 33,332 at most."""
    z = ndtri((np.arange(N_USERS) + 0.5) / N_USERS)

    def counts(s: float) -> Floats:
        return (19 + np.floor(54 * np.exp(s * z))).clip(20)

    out = counts(brentq(lambda s: counts(s).sum() - N_RATINGS, 1.0, 1.8)).astype(np.int64)
    out[-1] = 33_332
    missing = N_RATINGS - out.sum()
    middle = N_USERS // 2
    out[middle : middle + abs(missing)] += np.sign(missing)
    return out


def movie_counts() -> Floats:
    """Ratings a movie: 18,607 have one, 40,548 under 5, 52,471 under 10, 61,082 under 20, 68,398 under 50."""
    parts = [np.ones(18_607)]
    cuts = ((2, 4, 21_941, 60_130), (5, 9, 11_923, 78_762), (10, 19, 8_611, 116_785), (20, 49, 7_316, 227_231))
    for low, high, k, total in cuts:
        u = (np.arange(k) + 0.5) / k
        width = high + 1 - low
        power = brentq(lambda g, u=u, low=low, w=width, t=total + k / 2: (low + w * u**g).sum() - t, 0.2, 5)
        parts.append(np.floor(low + width * u**power).clip(low, high))
    k, rest = 16_034, 31_498_689
    # popular ones: log-linear in log rank between anchors
    rank, anchors = np.arange(1, k + 1), np.log([1, 30, 100, 1000, 4000, 10000, k])

    def popular(s: float) -> Floats:
        at = [102_929, *(s * np.array([58e3, 38e3, 8e3, 1300, 175])), 50]
        return np.exp(np.interp(np.log(rank), anchors, np.log(at)))

    parts.append(popular(brentq(lambda s: popular(s).sum() - rest, 0.5, 2))[::-1])
    return np.concatenate(parts)


def _alias(weights: Floats) -> tuple[Floats, Integers]:
    """Walker's table: the share of each place that is its own, and whose the rest is."""
    n = len(weights)
    share = weights / weights.sum() * n
    own, other = np.ones(n), np.arange(n)
    small, large = (list(np.flatnonzero(which)) for which in (share < 1, share >= 1))
    while small and large:
        s, at = small.pop(), large.pop()
        own[s], other[s] = share[s], at
        share[at] -= 1 - share[s]
        (small if share[at] < 1 else large).append(at)
    return own, other


def _draw(user: Integers, busy: Integers, counts: Integers, weights: Floats, rng: np.random.Generator) -> Integers:
    """Movies of all rows, no two of a user the same; rows are grouped by user."""
    n = len(weights)
    own, other = _alias(weights)
    movie = np.empty(len(user), dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum(counts)])
    left = np.flatnonzero(~np.isin(user, busy))
    for u in busy:
        keys = rng.exponential(size=n) / weights  # the smallest ones are a draw without replacement
        movie[starts[u] : starts[u + 1]] = np.argpartition(keys, counts[u])[: counts[u]]
    while len(left):
        x = rng.random(len(left)) * n
        place = x.astype(np.int64)
        movie[left] = np.where(x - place > own[place], other[place], place)
        key = user.astype(np.int64) * n + movie
        order = np.argsort(key, kind="stable")
        repeated = order[1:][key[order[1:]] == key[order[:-1]]]
        left = np.sort(repeated)
    return movie


def _with_rare(
    user: Integers, movie: Integers, published: Floats, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Rows where movies of few ratings have the published counts: users that drew one get another of them."""
    rare = published < RARE
    rows = np.flatnonzero(rare[movie])
    stubs = np.repeat(np.flatnonzero(rare), published[rare].astype(int)).astype(np.int32)
    if len(rows) < len(stubs):
        missing = len(stubs) - len(rows)
        more = np.setdiff1d(rng.choice(len(user), 2 * missing, replace=False), rows)[:missing]
        rows = np.concatenate([rows, more])
    rows = rng.permutation(rows)
    rows, lost = rows[: len(stubs)], rows[len(stubs) :]
    stubs = rng.permutation(stubs)
    for _ in range(200):  # a pair met twice changes places with another
        key = user[rows].astype(np.int64) * N_MOVIES + stubs
        order = np.argsort(key, kind="stable")
        twice = order[1:][key[order[1:]] == key[order[:-1]]]
        if not len(twice):
            break
        for i, j in zip(twice, rng.integers(len(stubs), size=len(twice)), strict=True):
            stubs[i], stubs[j] = stubs[j], stubs[i]
    movie[rows] = stubs
    keep = np.ones(len(user), bool)
    keep[lost] = False
    return user[keep], movie[keep]


def many_ratings(share: float = 1.0) -> pd.DataFrame:
    """Ratings of all 200,948 users, or of a share of them chosen at random: `user, movie, rating`, grouped by user."""
    rng = np.random.default_rng(32)
    counts, published = rng.permutation(user_counts()), movie_counts()
    rare = published < RARE
    popular = 5 + (60 * (np.arange(N_MOVIES) - rare.sum()) / (~rare).sum()).astype(int)
    bins = np.where(rare, np.searchsorted([2, 5, 10, 20], published, side="right"), popular)
    weights, wanted = published.copy(), np.bincount(bins, published)
    some = rng.choice(N_USERS, N_USERS // 8, replace=False)
    for _ in range(TUNINGS):
        user = np.repeat(np.arange(len(some), dtype=np.int32), counts[some])
        drawn = _draw(user, np.flatnonzero(counts[some] > BUSY), counts[some], weights, rng)
        got = np.bincount(bins[drawn], minlength=len(wanted)) * (counts.sum() / counts[some].sum())
        weights *= (wanted / got.clip(1))[bins]
    user = np.repeat(np.arange(N_USERS, dtype=np.int32), counts)
    movie = _draw(user, np.flatnonzero(counts > BUSY), counts, weights, rng)
    user, movie = _with_rare(user, movie, published, rng)
    movie = rng.permutation(N_MOVIES).astype(np.int32)[movie]
    got = np.bincount(movie, minlength=N_MOVIES)
    by_user, by_movie = rng.normal(0, 0.45, N_USERS), rng.normal(0, 0.45, N_MOVIES)
    by_movie += (0.12 * (np.log(got.clip(1)) - 7)).clip(-0.6, 0.5)
    rating = 3.3 + by_user[user] + by_movie[movie] + rng.normal(0, 0.87, len(user))
    rating = (np.rint(2 * rating) / 2).clip(0.5, 5)
    if share < 1:
        keep = np.zeros(N_USERS, bool)
        keep[rng.choice(N_USERS, int(N_USERS * share), replace=False)] = True
        rows = keep[user]
        user, movie, rating = user[rows], movie[rows], rating[rows]
    return pd.DataFrame({"user": user, "movie": movie, "rating": rating})
