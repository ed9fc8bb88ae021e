"""Seeded look-alikes of data that are not public, or too large to ship.

Each function returns a data frame whose sizes, margins and variances follow the data named in its docstring.
Responses are rounded as recorded data are, so that every engine reads the same numbers from a text file.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def _factorial(columns: dict[str, Floats]) -> dict[str, Floats]:
    """Products of all subsets of the columns, in the order of R's ``A*B*C``."""
    names = list(columns)
    ones = np.ones_like(columns[names[0]])
    subsets = [subset for size in range(len(names) + 1) for subset in combinations(names, size)]
    return {":".join(subset): np.prod([ones, *(columns[name] for name in subset)], axis=0) for subset in subsets}


def reading_times() -> pd.DataFrame:
    """Kronmueller and Barr (2007), experiment 2: 56 subjects x 32 items, 2x2x2 within both, 1,789 times in ms.

    A Latin square: every subject hears every item once, in one of the eight conditions. Size of effects as in the
    published fits: sd of the intercepts 300 and 365, of precedent by item 250, residual 650. The random effects have
    rank 3 (subjects) and 2 (items), so that the maximal model is singular, as it is on the real data.
    """
    rng = np.random.default_rng(2007)
    n_subjects, n_items = 56, 32
    subject, item = (index.ravel() for index in np.indices((n_subjects, n_items)))
    condition = (subject + item) % 8
    signs = {name: 1.0 - 2.0 * (condition >> bit & 1) for bit, name in enumerate("SPC")}
    X = np.column_stack(list(_factorial(signs).values()))

    beta = np.array([2182.0, 68.0, -334.0, 79.0, -22.0, 18.0, 5.0, 24.0])
    subject_loadings = np.array(
        [[300, 0, 0], [25, 40, 0], [-45, 30, 40], [30, -35, 30], [20, 45, -25], [-35, -20, 35], [15, 40, 20],
         [-20, 15, 45]]
    )  # fmt: skip
    item_loadings = np.array(
        [[365, 0], [-15, 25], [-175, 180], [20, 10], [25, -20], [35, 15], [-25, 30], [15, -30]]
    )  # fmt: skip
    by_subject = rng.standard_normal((n_subjects, 3)) @ subject_loadings.T
    by_item = rng.standard_normal((n_items, 2)) @ item_loadings.T
    rt = X @ beta + np.sum(X * (by_subject[subject] + by_item[item]), axis=1) + rng.normal(0, 650, len(X))
    rt = np.clip(rt, 500, 5200)

    frame = pd.DataFrame({"subj": subject + 1, "item": item + 1, **signs, "rt": np.round(rt, 1)})
    lost = rng.choice(len(frame), size=3, replace=False)
    return frame.drop(index=lost).reset_index(drop=True)


def lexical_decisions() -> pd.DataFrame:
    """Masson, Rabe and Kliegl (2017), experiment 1: 16,409 correct answers of 73 subjects to 240 words.

    Five two-level factors: frequency F of the word, priming P, quality Q, and the quality lQ and lexical status lT of
    the trial before; the response is speed, 1000/rt. F varies between items only.
    """
    rng = np.random.default_rng(2017)
    n_subjects, n_items, n_kept = 73, 240, 16_409
    subject, item = (index.ravel() for index in np.indices((n_subjects, n_items)))
    condition = (subject + item // 2) % 4
    signs = {
        "F": 1.0 - 2.0 * (item % 2),
        "P": 1.0 - 2.0 * (condition % 2),
        "Q": 1.0 - 2.0 * (condition // 2),
        "lQ": rng.choice([-1.0, 1.0], len(item)),
        "lT": rng.choice([-1.0, 1.0], len(item)),
    }
    X = _factorial(signs)
    main = np.column_stack([X[""], *signs.values()])

    beta = rng.normal(0, 0.004, len(X))
    beta[:6] = [1.64, 0.024, 0.021, 0.10, 0.019, 0.031]
    subject_sd = np.array([0.185, 0.013, 0.010, 0.030, 0.016, 0.022])
    item_sd = np.array([0.058, 0.0, 0.012, 0.016, 0.010, 0.009])
    by_subject = rng.standard_normal((n_subjects, 6)) * subject_sd
    by_subject[:, 3] += 0.06 * by_subject[:, 0]
    by_item = rng.standard_normal((n_items, 6)) * item_sd
    speed = (
        np.column_stack(list(X.values())) @ beta
        + np.sum(main * (by_subject[subject] + by_item[item]), axis=1)
        + rng.normal(0, 0.30, len(item))
    )
    frame = pd.DataFrame({"subj": subject + 1, "item": item + 1, **signs, "speed": np.round(speed, 6)})
    kept = np.sort(rng.choice(len(frame), size=n_kept, replace=False))
    return frame.iloc[kept].reset_index(drop=True)


def growth(n_rows: int, n_groups: int, *, slope_sd: float) -> pd.DataFrame:
    """Many short series: a line for every group, rows sorted by group, at least one row a group."""
    rng = np.random.default_rng(n_groups)
    group = np.sort(np.concatenate([np.arange(n_groups), rng.integers(n_groups, size=n_rows - n_groups)]))
    x = np.round(rng.standard_normal(n_rows), 6)
    intercepts, slopes = rng.normal(0, 0.8, n_groups), rng.normal(0, slope_sd, n_groups)
    y = 1.0 + intercepts[group] + (0.5 + slopes[group]) * x + rng.standard_normal(n_rows)
    return pd.DataFrame({"g": group, "x": x, "y": np.round(y, 6)})


def _user_activity(n_users: int, n_ratings: int) -> Integers:
    """Ratings a user of MovieLens-1M: 20 at least, median 96, 2,314 at most, summing to n_ratings."""
    z = ndtri((np.arange(n_users) + 0.5) / n_users)
    counts = np.minimum(19 + np.floor(77.6 * np.exp(1.14 * z)), 2314).astype(np.int64)
    middle = n_users // 2
    counts[middle : middle + n_ratings - counts.sum()] += 1
    return counts


def _movie_popularity(n_movies: int) -> Floats:
    """Ratings a movie of MovieLens-1M, by interpolation between the quantiles of the real margin."""
    quantiles = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0]
    counts = [1.0, 7.0, 33.0, 123.0, 350.0, 729.0, 1050.0, 1785.0, 3428.0]
    return np.exp(np.interp((np.arange(n_movies) + 0.5) / n_movies, quantiles, np.log(counts)))


def _draw_distinct(counts: Integers, weights: Floats, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Pairs (row, column): counts[i] distinct columns for row i, drawn with the given weights (Gumbel's trick)."""
    rows, columns = [], []
    for block in np.array_split(np.arange(len(counts)), max(1, len(counts) // 500)):
        keys = np.log(weights) + rng.gumbel(size=(len(block), len(weights)))
        order = np.argsort(-keys, axis=1)
        taken = np.arange(len(weights)) < counts[block, None]
        rows.append(np.repeat(block, counts[block]))
        columns.append(order[taken])
    return np.concatenate(rows), np.concatenate(columns)


def film_ratings() -> pd.DataFrame:
    """MovieLens-1M: 1,000,000 ratings, 6,040 users x 3,706 movies, distinct pairs, heavy tails in both margins.

    Users rate 20 to 2,314 movies; movies have 1 to about 3,400 ratings. Better movies are rated more often.
    """
    rng = np.random.default_rng(6040)
    n_users, n_movies, n_ratings = 6_040, 3_706, 1_000_000
    counts = rng.permutation(_user_activity(n_users, n_ratings))
    popularity = _movie_popularity(n_movies)
    weights = popularity.copy()
    for _ in range(5):
        user, movie = _draw_distinct(counts, weights, rng)
        weights *= (1 + popularity) / (1 + np.bincount(movie, minlength=n_movies))

    unseen = np.setdiff1d(np.arange(n_movies), movie)
    shared = np.flatnonzero(movie == n_movies - 1)[: len(unseen)]
    movie[shared] = unseen

    by_user = rng.normal(0, 0.43, n_users)
    by_movie = rng.normal(0, 0.55, n_movies) + 0.2 * (np.log(popularity) - 4.7)
    taste = 3.2 + by_user[user] + by_movie[movie] + rng.normal(0, 0.92, n_ratings)
    shuffled = rng.permutation(n_movies)
    frame = pd.DataFrame({"user": user + 1, "movie": shuffled[movie] + 1, "rating": np.clip(np.rint(taste), 1, 5)})
    return frame.astype({"rating": np.float64})


def word_recognition() -> pd.DataFrame:
    """English Lexicon Project, lexical decision: 814 subjects, each about 3,374 of 80,962 items; 2.7 million rows.

    Every 24 subjects share out one shuffling of all items; 1.7 % of the trials are lost. The response is speed.
    """
    rng = np.random.default_rng(814)
    n_subjects, n_items, n_lists = 814, 80_962, 24
    shufflings = [rng.permutation(n_items) for _ in range(-(-n_subjects // n_lists))]
    lists = [part for shuffling in shufflings for part in np.array_split(shuffling, n_lists)][:n_subjects]
    item = np.concatenate(lists)
    subject = np.repeat(np.arange(n_subjects), [len(part) for part in lists])
    answered = rng.random(len(item)) > 0.017
    item, subject = item[answered], subject[answered]

    is_word = (np.arange(n_items) % 2).astype(np.float64)
    length = np.clip(np.rint(rng.normal(8, 2.4, n_items)), 1, 21)
    by_item, by_subject = rng.normal(0, 0.117, n_items), rng.normal(0, 0.247, n_subjects)
    fixed = 1.375 + 0.27 * is_word - 0.012 * (length - 8) - 0.034 * is_word * (length - 8)
    speed = fixed[item] + by_item[item] + by_subject[subject] + rng.normal(0, 0.344, len(item))
    return pd.DataFrame(
        {
            "item": item + 1,
            "subj": subject + 1,
            "isword": is_word[item],
            "wrdlen": length[item],
            "speed": np.round(speed, 6),
        }
    )


def school_years() -> pd.DataFrame:
    """Test scores of 200,000 students in three years, with 20,000 teachers in 2,000 schools of 100 districts.

    Each year 3 % of the students change school: within their district of 20 schools, but for 2 % of the moves, which
    go anywhere. Each year every student has one of the ten teachers of the present school.
    """
    rng = np.random.default_rng(200_000)
    n_students, n_schools, n_teachers, n_years, district_size = 200_000, 2_000, 20_000, 3, 20
    per_school = n_teachers // n_schools
    school = np.arange(n_students) * n_schools // n_students
    schools, teachers = [], []
    for year in range(n_years):
        if year > 0:
            moves = rng.random(n_students) < 0.03
            far = rng.random(n_students) < 0.02
            near_school = school // district_size * district_size + rng.integers(district_size, size=n_students)
            school = np.where(moves, np.where(far, rng.integers(n_schools, size=n_students), near_school), school)
        schools.append(school)
        teachers.append(school * per_school + rng.integers(per_school, size=n_students))

    school, teacher = np.concatenate(schools), np.concatenate(teachers)
    student = np.tile(np.arange(n_students), n_years)
    year = np.repeat(np.arange(n_years), n_students)
    score = (
        500.0
        + 12.0 * year
        + rng.normal(0, 25, n_students)[student]
        + rng.normal(0, 10, n_teachers)[teacher]
        + rng.normal(0, 8, n_schools)[school]
        + rng.normal(0, 20, len(student))
    )
    return pd.DataFrame(
        {
            "student": student + 1,
            "teacher": teacher + 1,
            "school": school + 1,
            "year": year.astype(np.float64),
            "score": np.round(score, 3),
        }
    )


def crossed(n_rows: int, n_a: int, n_b: int) -> pd.DataFrame:
    """Two crossed factors at random, every level seen, rows in no order."""
    rng = np.random.default_rng(n_rows)
    a = rng.permutation(np.concatenate([np.arange(n_a), rng.integers(n_a, size=n_rows - n_a)]))
    b = rng.permutation(np.concatenate([np.arange(n_b), rng.integers(n_b, size=n_rows - n_b)]))
    x = np.round(rng.standard_normal(n_rows), 6)
    y = 2.0 + 0.5 * x + rng.normal(0, 0.7, n_a)[a] + rng.normal(0, 0.5, n_b)[b] + rng.standard_normal(n_rows)
    return pd.DataFrame({"a": a, "b": b, "x": x, "y": np.round(y, 6)})


def nested_schools(n_rows: int, n_schools: int, n_districts: int) -> pd.DataFrame:
    """Schools in districts, a slope that varies by district, rows sorted by school."""
    rng = np.random.default_rng(n_schools)
    school = np.sort(np.concatenate([np.arange(n_schools), rng.integers(n_schools, size=n_rows - n_schools)]))
    district = school * n_districts // n_schools
    x = np.round(rng.standard_normal(n_rows), 6)
    intercepts, slopes = rng.normal(0, 0.5, n_districts), rng.normal(0, 0.2, n_districts)
    by_school = rng.normal(0, 0.4, n_schools)
    y = 1.0 + intercepts[district] + by_school[school] + (0.5 + slopes[district]) * x + rng.standard_normal(n_rows)
    return pd.DataFrame({"district": district, "school": school, "x": x, "y": np.round(y, 6)})
