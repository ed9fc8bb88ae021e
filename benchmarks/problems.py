"""The benchmark problems: data, model, aim, and how each peer is asked for the same model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import lookalikes
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

DATA = Path(__file__).resolve().parents[1] / "src" / "mixedmodels" / "datasets" / "files"


@dataclass(frozen=True)
class OneGrouping:
    """A model as statsmodels' ``mixedlm`` takes it; ``groups=None`` puts all rows in one group (crossed factors)."""

    fixed: str
    groups: str | None
    re_formula: str | None = None
    vc_formula: dict[str, str] | None = None


@dataclass(frozen=True)
class Problem:
    """One row of the table.

    Attributes
    ----------
    name, title
        What the command line and the report call it.
    data, make
        Name of the data set, which problems may share, and the function that makes it.
    formula
        As lme4 writes it; also ours and mixedlm's.
    n_theta
        Number of covariance parameters.
    aim
        Seconds of lme4 over ours that we want to reach.
    one_grouping
        For statsmodels and mixedlm-rs; None if they cannot express the model.
    """

    name: str
    title: str
    data: str
    make: Callable[[], pd.DataFrame]
    formula: str
    n_theta: int
    aim: float
    one_grouping: OneGrouping | None = None


def _shipped(file: str, factors: tuple[str, ...]) -> pd.DataFrame:
    """A data set of the package, its factors as categories."""
    return pd.read_csv(DATA / file, dtype=dict.fromkeys(factors, str)).astype(dict.fromkeys(factors, "category"))


def _crossed_intercepts(fixed: str, *factors: str) -> OneGrouping:
    return OneGrouping(fixed, groups=None, vc_formula={factor: f"0 + C({factor})" for factor in factors})


INSTEVAL_FACTORS = ("s", "d", "dept")
_insteval = Problem(
    name="insteval",
    title="InstEval, three crossed intercepts",
    data="insteval",
    make=partial(_shipped, "InstEval.csv.gz", INSTEVAL_FACTORS),
    formula="y ~ service + (1 | s) + (1 | d) + (1 | dept)",
    n_theta=3,
    aim=15,
    one_grouping=_crossed_intercepts("y ~ service", *INSTEVAL_FACTORS),
)
_kb07 = Problem(
    name="kb07",
    title="kb07 look-alike, main-effect slopes",
    data="kb07",
    make=lookalikes.reading_times,
    formula="rt ~ 1 + S * P * C + (1 + S + P + C | subj) + (1 + S + P + C | item)",
    n_theta=20,
    aim=100,
)

PROBLEMS: tuple[Problem, ...] = (
    Problem(
        name="sleepstudy",
        title="sleepstudy",
        data="sleepstudy",
        make=partial(_shipped, "sleepstudy.csv", ("Subject",)),
        formula="Reaction ~ Days + (Days | Subject)",
        n_theta=3,
        aim=6,
        one_grouping=OneGrouping("Reaction ~ Days", groups="Subject", re_formula="~ Days"),
    ),
    _insteval,
    replace(
        _insteval,
        name="insteval_slope",
        title="InstEval, slope by department",
        formula="y ~ service + (1 | s) + (1 | d) + (1 + service | dept)",
        n_theta=5,
        aim=50,
        one_grouping=None,
    ),
    _kb07,
    replace(
        _kb07,
        name="kb07_maximal",
        title="kb07 look-alike, maximal",
        formula="rt ~ 1 + S * P * C + (1 + S * P * C | subj) + (1 + S * P * C | item)",
        n_theta=72,
        aim=1000,
    ),
    Problem(
        name="mrk17",
        title="mrk17 look-alike, 32 fixed effects",
        data="mrk17",
        make=lookalikes.lexical_decisions,
        formula="speed ~ 1 + F * P * Q * lQ * lT + (1 + F + P + Q + lQ + lT | subj) + (1 + P + Q + lQ + lT | item)",
        n_theta=36,
        aim=400,
    ),
    Problem(
        name="growth",
        title="1,000,000 rows, 50,000 groups, slopes",
        data="growth",
        make=partial(lookalikes.growth, 1_000_000, 50_000, slope_sd=0.3),
        formula="y ~ x + (x | g)",
        n_theta=3,
        aim=40,
        one_grouping=OneGrouping("y ~ x", groups="g", re_formula="~ x"),
    ),
    Problem(
        name="movielens",
        title="MovieLens-1M look-alike",
        data="movielens",
        make=lookalikes.film_ratings,
        formula="rating ~ 1 + (1 | user) + (1 | movie)",
        n_theta=2,
        aim=15,
        one_grouping=_crossed_intercepts("rating ~ 1", "user", "movie"),
    ),
    Problem(
        name="lexicon",
        title="English Lexicon look-alike, 2.7 M rows",
        data="lexicon",
        make=lookalikes.word_recognition,
        formula="speed ~ 1 + isword * wrdlen + (1 | item) + (1 | subj)",
        n_theta=2,
        aim=15,
        one_grouping=_crossed_intercepts("speed ~ 1 + isword * wrdlen", "item", "subj"),
    ),
    Problem(
        name="schools",
        title="3 years of 200,000 students, teachers, schools",
        data="schools",
        make=lookalikes.school_years,
        formula="score ~ 1 + year + (1 | student) + (1 | teacher) + (1 | school)",
        n_theta=3,
        aim=30,
        one_grouping=_crossed_intercepts("score ~ 1 + year", "student", "teacher", "school"),
    ),
    Problem(
        name="intercepts",
        title="500,000 rows, 125,000 groups, intercepts",
        data="intercepts",
        make=partial(lookalikes.growth, 500_000, 125_000, slope_sd=0.0),
        formula="y ~ x + (1 | g)",
        n_theta=1,
        aim=60,
        one_grouping=OneGrouping("y ~ x", groups="g"),
    ),
    Problem(
        name="crossed",
        title="200,000 rows, 20,000 x 4,000 crossed",
        data="crossed",
        make=partial(lookalikes.crossed, 200_000, 20_000, 4_000),
        formula="y ~ x + (1 | a) + (1 | b)",
        n_theta=2,
        aim=9,
        one_grouping=_crossed_intercepts("y ~ x", "a", "b"),
    ),
    Problem(
        name="districts",
        title="1,000,000 rows, 10,000 schools in 400 districts",
        data="districts",
        make=partial(lookalikes.nested_schools, 1_000_000, 10_000, 400),
        formula="y ~ x + (x | district) + (1 | school)",
        n_theta=4,
        aim=60,
        one_grouping=OneGrouping("y ~ x", groups="district", re_formula="~ x", vc_formula={"school": "0 + C(school)"}),
    ),
)


def find_problem(name: str) -> Problem:
    """The problem of that name."""
    return next(problem for problem in PROBLEMS if problem.name == name)


def cached_data(problem: Problem, cache: Path) -> tuple[Path, Path]:
    """Paths of the parquet file (Python) and the csv file (R) with the problem's data, written on first use."""
    parquet, text = (cache / f"{problem.data}{suffix}" for suffix in (".parquet", ".csv"))
    if not (parquet.exists() and text.exists()):
        cache.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pandas(problem.make(), preserve_index=False)
        pa.csv.write_csv(table, text)
        pq.write_table(table, parquet)
    return parquet, text
