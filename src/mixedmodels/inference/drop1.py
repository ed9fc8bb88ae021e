"""What each term of the fixed part is worth that can be taken out: the fit against the fit without it.

A term can go if no other has all of its variables, so that what is left is the model of a formula. Its test is that of
the columns by which the model with it is larger than the model without it: an F test of the fit (as
``lmerTest::drop1`` does), or the likelihood ratio of both models fitted by ML.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.design.fixed_terms import term_matrix
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.long_work import carry_out
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.sampled_fit import refuse_sampled
from mixedmodels.inference import criteria
from mixedmodels.inference.anova import f_row, f_table
from mixedmodels.inference.approximation import doubts
from mixedmodels.inference.degrees import approximation
from mixedmodels.inference.marginality import TermContrasts
from mixedmodels.texts.noted_frame import show_notes

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.fit.records import FitState
    from mixedmodels.inference.approximation import Approximation

TESTS = ("F", "LRT")
TEST_BY_TEXT = {"chisq": "LRT", "lr": "LRT", "likelihood": "LRT", "f": "F", "lrt": "LRT"}
LRT_COLUMNS = ("n_params", "aic", "deviance", "chisq", "df", "p_value")
FULL = "<none>"
_Row = tuple[int, float, float, float, float, float]


def drop1(
    state: FitState,
    test: str = "F",
    ddf: str | Approximation = "satterthwaite",
) -> pd.DataFrame:
    """Return tests of the fixed-effect terms that can be taken out one at a time.

    Parameters
    ----------
    state
        The fit.
    test
        ``"F"``, or ``"LRT"``: the likelihood ratio of fits by ML to the same rows.
    ddf
        For ``"F"``, as for ``degrees.approximation``.

    Returns
    -------
    pandas.DataFrame
        By term, in the order of the formula. ``"F"``: the columns of ``anova``. ``"LRT"``: ``n_params, aic, deviance,
        chisq, df, p_value`` of the model without the term, and of the fit in the first row, ``"<none>"``. A term whose
        columns all depend on other terms has 0 degrees of freedom and no test.

    Raises
    ------
    InferenceError
        If an argument is not allowed, or ``ddf`` does not apply to this fit.
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` is the table of the models that were fitted, None if there are none.
    """
    _check_test(test)
    contrasts = TermContrasts.of(state)
    terms = [k for k in range(len(contrasts.terms)) if contrasts.can_go(k)]
    names = [contrasts.terms[k].name for k in terms]
    if test == "F":
        method = approximation(state, ddf)
        rows = [f_row(state, contrasts.last(k), method) for k in terms]
        table = f_table(rows, names)
        table.attrs["notes"] = doubts(method)
        return show_notes(table)
    refuse_sampled(state, "drop1(test='LRT')")
    tests: list[_Row] = []

    def blocks() -> Iterator[int]:
        for row in _likelihood_ratios(state, contrasts, terms):
            tests.append(row)
            yield 1

    def made() -> pd.DataFrame | None:
        if not tests or (names and len(tests) == 1):
            return None
        index = pd.Index([FULL, *names][: len(tests)], name="term")
        table = pd.DataFrame(tests, index=index, columns=list(LRT_COLUMNS)).astype({"df": "Int64"})
        notes = ["Fitted anew by ML."] if state.reml else []
        if len(tests) <= len(names):
            notes.append(f"The tests were interrupted: {len(tests) - 1} of {len(names)} were made.")
        table.attrs["notes"] = tuple(notes)
        return show_notes(table)

    return carry_out(blocks(), len(names) + 1, "drop1", shown=False, made=made)


def _check_test(test: object) -> None:
    if not isinstance(test, str) or test not in TESTS:
        meant = TEST_BY_TEXT.get(str(test).casefold())
        hint = f" Did you mean {meant!r}?" if meant else nearest(str(test), TESTS)
        raise InferenceError(f"test is {test!r}; it must be 'F' or 'LRT', the likelihood ratio.{hint}")


def _likelihood_ratios(state: FitState, contrasts: TermContrasts, terms: list[int]) -> Iterator[_Row]:
    """Yield the row of the fit, and of the model without each term."""
    full = fit_problem(state.problem, reml=False, control=state.control) if state.reml else state
    R = term_matrix(state.design)
    yield full.n_params, criteria.aic(full), full.optimum.deviance, math.nan, math.nan, math.nan
    for k in terms:
        kept = contrasts.without(k)
        df = full.n_fixed - len(kept)
        if not df:
            yield full.n_params, criteria.aic(full), full.optimum.deviance, math.nan, 0, math.nan
            continue
        design = with_fixed_columns(state.design, R.matrix[:, kept])
        smaller = fit_problem(Problem(design, n_threads=state.control.n_threads), reml=False, control=state.control)
        chisq = smaller.optimum.deviance - full.optimum.deviance
        p_value = float(special.chdtrc(df, max(chisq, 0.0)))
        yield smaller.n_params, criteria.aic(smaller), smaller.optimum.deviance, chisq, df, p_value


def with_fixed_columns(design: Design, X: np.ndarray) -> Design:
    """Return the design with other fixed columns, which have no names worth showing; the rows stay."""
    names = tuple(f"x{j}" for j in range(X.shape[1]))
    return replace(design, X=np.ascontiguousarray(X), x_names=names)
