"""Rows left out: which, and for what reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mixedmodels.design.build import build_design
from mixedmodels.design.design import Design
from mixedmodels.errors import DataError
from mixedmodels.formula.parse import parse_formula

RNG = np.random.default_rng(3)
N = 40


def frame() -> pd.DataFrame:
    """Return complete data."""
    return pd.DataFrame(
        {
            "y": RNG.normal(size=N),
            "x": RNG.uniform(1, 2, N),
            "w": RNG.uniform(1, 2, N),
            "t": RNG.uniform(1, 2, N),
            "f": np.tile(["a", "b", "c", "d"], N // 4),
            "g": np.repeat(np.arange(8.0), N // 8),
            "other": np.full(N, np.nan),
        }
    )


def design(formula: str, data: Any, **arguments: Any) -> Design:
    """Return the design of a formula."""
    return build_design(parse_formula(formula), data, **arguments)


def test_complete_data_lose_no_rows() -> None:
    made = design("y ~ x + (1|g)", frame())
    assert made.rows is None
    assert made.n_dropped == {}
    assert (made.n_rows, made.n_obs) == (N, N)
    assert not made.findings


def test_rows_are_counted_under_their_first_reason() -> None:
    data = frame()
    data.loc[[3, 4], "y"] = np.nan
    data.loc[[4, 5], "x"] = np.nan
    data.loc[[5, 6], "g"] = np.nan
    data.loc[[6, 7], "w"] = np.nan
    data.loc[[7, 8], "t"] = np.nan
    data.loc[9, "f"] = None
    made = design("y ~ x + offset(t) + (f|g)", data, weights="w")
    assert made.n_dropped == {"missing y": 2, "missing x": 1, "missing f": 1, "missing g": 1, "missing t": 2}
    assert sum(made.n_dropped.values()) == made.n_rows - made.n_obs == 7
    assert made.rows is not None
    assert made.rows.tolist() == [i for i in range(N) if i not in range(3, 10)]
    finding = made.findings[0]
    assert finding.kind == "dropped_rows"
    assert finding.message.startswith("Left out 7 of 40 rows: missing y 2, missing x 1")
    assert finding.data["by_reason"] == made.n_dropped


def test_arrays_with_gaps() -> None:
    weights, offset = np.ones(N), np.zeros(N)
    weights[2], offset[[2, 5]] = np.nan, np.nan
    made = design("y ~ x + (1|g)", frame(), weights=weights, offset=offset)
    assert made.n_dropped == {"missing (weights)": 1, "missing (offset)": 1}
    assert made.weights is not None
    assert made.offset is not None
    assert len(made.weights) == len(made.offset) == N - 2


def test_values_lost_by_a_transformation() -> None:
    data = frame()
    data.loc[[0, 1], "x"] = -1.0
    data.loc[[1, 2], "y"] = -2.0
    data["y"] = data["y"].where(data["y"] == -2.0, data["y"].abs() + 1)
    data.loc[3, "x"] = np.nan
    made = design("log(y) ~ log(x) + (1|g)", data)
    assert made.n_dropped == {"missing x": 1, "missing log(y)": 2, "missing log(x)": 1}
    assert made.rows is not None
    assert made.rows[0] == 4
    assert np.isfinite(made.X).all()
    in_random_part = design("x ~ 1 + (log(y)|g)", data)
    assert in_random_part.n_dropped == {"missing x": 1, "missing log(y)": 2}


def test_transformations_see_the_rows_used_only() -> None:
    data = frame()
    data.loc[:4, "y"] = np.nan
    data.loc[6, "x"] = np.nan
    used = data.drop(index=[0, 1, 2, 3, 4, 6])
    made = design("y ~ scale(x) + poly(t, 2) + (scale(x)|g)", data)
    np.testing.assert_allclose(made.X[:, 1], (used["x"] - used["x"].mean()) / used["x"].std())
    np.testing.assert_allclose(made.X[:, 2:].T @ made.X[:, 2:], np.eye(2), atol=1e-12)


def test_levels_lost_with_their_rows() -> None:
    data = frame()
    data.loc[data["f"] == "a", "y"] = np.nan
    data.loc[data["g"] == 3, "y"] = np.nan
    for f in (data["f"], data["f"].astype("category")):
        made = design("y ~ f + (1|g)", data.assign(f=f))
        assert made.x_names == ("Intercept", "f[T.c]", "f[T.d]")
        assert made.factors[0].levels.tolist() == [0, 1, 2, 4, 5, 6, 7]
        assert made.factors[0].codes.max() == 6


def test_all_rows_missing() -> None:
    with pytest.raises(DataError, match=r"missing in all 40 rows \(missing other 40\): none can be used"):
        design("y ~ other + (1|g)", frame())
    with pytest.raises(DataError, match=r"missing in all 40 rows \(missing log\(x\) 40\)"):
        design("y ~ log(x) + (1|g)", frame().assign(x=-1.0))
    with pytest.raises(DataError, match="missing in all 40 rows"):
        design("y ~ x + (1|g)", frame().assign(g=[None] * N))


def test_missing_values_may_be_refused() -> None:
    data = frame()
    data.loc[[3, 4], "y"] = np.nan
    data.loc[[4, 5, 6], "g"] = np.nan
    with pytest.raises(DataError, match=r"Values are missing in 4 of 40 rows \(y 2, g 3\).*missing='drop'"):
        design("y ~ x + (1|g)", data, missing="raise")
    with pytest.raises(DataError, match=r"Values are missing in 1 of 40 rows \(log\(x\) 1\)"):
        design("y ~ log(x) + (1|g)", frame().assign(x=[-1.0] + [1.0, 2.0, 3.0] * 13), missing="raise")
    assert design("y ~ x + (1|g)", frame(), missing="raise").n_obs == N
    with pytest.raises(DataError, match="missing must be 'drop' or 'raise', not 'ignore'"):
        design("y ~ x + (1|g)", frame(), missing="ignore")


@pytest.mark.parametrize("term", ["lag(x)", "x.shift(1)", "x.diff()"])
def test_gaps_that_come_back_are_named(term: str) -> None:
    """Each time the first row is left out, the next one has nothing before it."""
    with pytest.raises(DataError, match=r"is missing in further rows .* computed from other rows\. Make it a column"):
        design(f"y ~ {term} + (1|g)", frame())
