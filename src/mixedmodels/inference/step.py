"""Backward elimination: the random part first, then the fixed part, one term at a time (``lmerTest::step``).

The random term with the largest p-value of `ranova` goes while that is above its level, then the fixed term with the
largest p-value of `drop1`. Every model is fitted by the criterion of the first, to the rows of the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.call import build_problem, with_rows, without_stale_contrasts
from mixedmodels.fit.fit import fit_identified
from mixedmodels.fit.sampled_fit import refuse_sampled
from mixedmodels.formula.reduced import with_fixed_terms, with_random_terms
from mixedmodels.inference.drop1 import drop1
from mixedmodels.inference.marginality import TermContrasts
from mixedmodels.inference.random_reductions import reductions
from mixedmodels.inference.ranova import ranova
from mixedmodels.inference.wald import names_in

if TYPE_CHECKING:
    from mixedmodels.fit.call import Call
    from mixedmodels.fit.records import FitState


@dataclass(frozen=True)
class Elimination:
    """What went, in which order, and what is left.

    Attributes
    ----------
    random
        The fit, then the random terms that went, each as `ranova` tested it when it went, then those that are left:
        ``eliminated`` (1, 2, ...; 0 for those left) and the columns of `ranova`.
    fixed
        The fixed terms likewise: ``eliminated`` and the columns of `drop1`.
    state, call
        The model that is left.
    """

    random: pd.DataFrame
    fixed: pd.DataFrame
    state: FitState
    call: Call


@dataclass
class _Model:
    """The model as far as it is reduced."""

    state: FitState
    call: Call

    def reduce(self, formula: str) -> None:
        """Fit with another formula to the same rows."""
        call = without_stale_contrasts(replace(self.call, formula=formula))
        problem = build_problem(call)
        before = self.state.design
        if problem.design.n_obs != before.n_obs:  # a variable that is gone had missing values
            assert before.rows is not None
            call = with_rows(call, before.rows)
            problem = build_problem(call)
        self.state = fit_identified(problem, reml=self.state.reml, control=self.state.control)
        self.call = call


def step(
    state: FitState,
    call: Call,
    *,
    alpha_random: float = 0.1,
    alpha_fixed: float = 0.05,
    keep: str | Iterable[str] = (),
    ddf: str = "satterthwaite",
) -> Elimination:
    """Return what backward elimination leaves of a model, and what it took out.

    Parameters
    ----------
    state, call
        The fit and what made it.
    alpha_random, alpha_fixed
        The largest p-value of a term that stays; 1 leaves that part as it is. For random terms it is the naive one,
        which is too large: hence the larger default.
    keep
        Fixed terms that stay.
    ddf
        As for ``degrees.approximation``.

    Raises
    ------
    InferenceError
        If an argument is not allowed, or ``ddf`` does not apply.
    """
    refuse_sampled(state, "step()")
    for name, alpha in (("alpha_random", alpha_random), ("alpha_fixed", alpha_fixed)):
        if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.number) or not 0 < alpha <= 1:
            raise InferenceError(
                f"{name} is {alpha!r}; it must lie between 0 and 1, such as 0.05, or be 1 for no test."
            )
    kept = _check_keep(state, keep)
    model = _Model(state, call)
    random, notes = _reduce_random(model, alpha_random)
    fixed = _reduce_fixed(model, alpha_fixed, kept, ddf)
    random.attrs["notes"] = tuple(notes)
    return Elimination(random, fixed, model.state, model.call)


def _check_keep(state: FitState, keep: str | Iterable[str]) -> list[str]:
    known = [term.name for term in TermContrasts.of(state).terms]
    names = names_in(keep)
    for name in names:
        if name not in known:
            listed = f"there are {', '.join(known)}" if known else "there is none"
            raise InferenceError(
                f"keep names {name!r}, which is no term of the fixed part; {listed}.{nearest(str(name), known)}"
            )
    return names


def _reduce_random(model: _Model, alpha: float) -> tuple[pd.DataFrame, list[str]]:
    """Reduce the random part; return its table and what to say below it."""
    rows: list[pd.DataFrame] = []
    notes = []
    while True:
        table = ranova(model.state)
        if not rows:
            rows.append(table.iloc[:1].assign(eliminated=pd.array([None], dtype="Int64")))
        smaller = dict(zip(table.index[1:], reductions(model.state.design), strict=True))
        stuck = {label for label, reduction in smaller.items() if not reduction.random}
        candidates = table["p_value"].iloc[1:].drop(list(stuck))
        above = candidates[candidates > alpha]
        if above.empty:
            break
        label = above.idxmax()
        rows.append(table.loc[[label]].assign(eliminated=len(rows)))
        random = smaller[label].random
        assert random is not None
        model.reduce(with_random_terms(model.state.design.formula, random))
    left = table.iloc[1:]
    for label in stuck & set(left.index[left["p_value"] > alpha]):
        why = "a mixed model has a random term" if smaller[label].random == () else "no formula says what would be left"
        notes.append(f"{label} stays, since {why}.")
    rows.append(left.assign(eliminated=0))
    return _joined(rows), [*notes, *table.attrs["notes"]]


def _reduce_fixed(model: _Model, alpha: float, keep: list[str], ddf: str) -> pd.DataFrame:
    """Reduce the fixed part; return its table."""
    rows: list[pd.DataFrame] = []
    while True:
        table = drop1(model.state, "F", ddf)
        candidates = table["p_value"].drop([name for name in keep if name in table.index])
        above = candidates[candidates > alpha]
        if above.empty:
            break
        name = str(above.idxmax())
        rows.append(table.loc[[name]].assign(eliminated=len(rows) + 1))
        design = model.state.design
        others = [term.name for term in TermContrasts.of(model.state).terms if term.name != name]
        model.reduce(with_fixed_terms(design.formula, others, tuple(design.columns)))
    rows.append(table.assign(eliminated=0))
    joined = _joined(rows)
    joined.attrs["notes"] = table.attrs["notes"]
    return joined


def _joined(rows: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows below one another, ``eliminated`` first."""
    parts = [part for part in rows if len(part)] or rows[:1]  # what is empty has no types of columns
    table = pd.concat([part.assign(eliminated=part["eliminated"].astype("Int64")) for part in parts])
    table.attrs.clear()
    return table[["eliminated", *(name for name in table if name != "eliminated")]]
