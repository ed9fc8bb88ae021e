"""Fits and predictions leave the process's filters of warnings alone, which all threads share."""

from __future__ import annotations

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import mixedmodels as mm

FORMULA = r"y ~ C(h) + poly(x, 2) + I(x**3) + I(t.str.contains('\d')) + (1 | g)"


def data() -> dict[str, object]:
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(15), 6)
    h, x, t = rng.integers(0, 5, 90), rng.normal(size=90), np.resize(np.array(["a1", "b"], dtype=object), 90)
    return {"y": rng.normal(size=90) + 3 * rng.normal(size=15)[g], "h": h, "x": x, "t": t, "g": g}


def test_no_filter_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = warnings.catch_warnings

    def refuse(**options: Any) -> Any:
        caller = sys._getframe(1).f_globals["__name__"]  # pandas sets some itself
        assert caller.partition(".")[0] != "mixedmodels", f"{caller} changes a filter of the process"
        return plain(**options)

    rows = data()
    mm.lmer(FORMULA, rows)  # modules that are loaded with the first fit may set theirs
    with monkeypatch.context() as patched:
        patched.setattr(warnings, "catch_warnings", refuse)
        fit = mm.lmer(FORMULA.replace("(x", "(2 * x"), rows)
        assert np.allclose(fit.predict(rows), fit.fittedvalues)
        with pytest.raises(mm.DataError, match=r"has the level 77|levels that the fit did not have: 77"):
            fit.predict(rows | {"h": np.full(90, 77)})


def test_threads_leave_the_filters() -> None:
    rows = data()
    mm.lmer(FORMULA, rows)
    before = list(warnings.filters)  # pandas sets some itself, none of which makes errors
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: mm.lmer(FORMULA, rows).predict(rows), range(32)))
    assert [found for found in warnings.filters if found[0] == "error" and found not in before] == []


def test_levels_that_are_left_out_are_refused() -> None:
    with pytest.raises(mm.DataError, match=r"its levels= do not have 4"):
        mm.lmer("y ~ C(h, levels=[0, 1, 2, 3]) + (1 | g)", data())
