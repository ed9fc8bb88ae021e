"""Likelihood-ratio tests and criteria of several fits to the same rows (Wilks 1938)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import pandas as pd
from scipy import special

from mixedmodels.errors import InferenceError
from mixedmodels.fit.correlated_fit import CorrelatedState, fit_correlated
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.marginal_fit import MarginalState, fit_marginal
from mixedmodels.fit.records import FitState
from mixedmodels.fit.sampled_fit import SampledState
from mixedmodels.inference import criteria
from mixedmodels.inference.nesting import is_nested, same_fixed_part, same_rows

if TYPE_CHECKING:
    from mixedmodels.fit.records import FixedFit

MISSED = 1e-4
"""A larger deviance of the larger of two nested models that is more than rounding."""

SPECIAL_CASES = {(("poisson", "log"), ("negative_binomial", "log"))}
"""Kinds of fits of which one is the other with a variance of zero."""

LARGEST_ERROR = 0.05
"""Monte Carlo standard error of a difference of criteria up to which fits are compared."""

COLUMNS = ("n_params", "aic", "bic", "llf", "deviance", "chisq", "df", "p_value")


def compare_states(states: Sequence[FixedFit], refit: bool = True, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Return likelihoods, criteria and likelihood-ratio tests of fits, fewest parameters first.

    Parameters
    ----------
    states
        Two or more fits of the same rows.
    refit
        Fit by ML where REML criteria do not compare: where fixed parts differ, or some fits are by ML.
    names
        One a fit; None for their formulas.

    Returns
    -------
    pandas.DataFrame
        ``n_params, aic, bic, llf, deviance, chisq, df, p_value``, indexed by name or formula. The test is that of the
        row above against this one, with the parameters more that the data determine; it is missing where the row above
        is not nested in this one. ``attrs["notes"]`` says what was fitted anew and how to read the p-values.

    Raises
    ------
    InferenceError
        If there are fewer than two fits, they use different rows or responses, or their criteria do not compare.
    """
    if len(states) < 2:
        raise InferenceError(f"A comparison needs at least two fits; there is {len(states)}.")
    if len({state.has_residual for state in states}) > 1:
        raise InferenceError(
            "Linear and generalised models do not compare: the likelihoods are of responses of different kinds."
        )
    n_agq = {state.n_agq for state in states}
    if len(n_agq) > 1:
        raise InferenceError(
            f"These fits have n_agq={' and '.join(map(str, sorted(n_agq)))}: approximations of a likelihood by "
            "different numbers of nodes do not compare. Fit all with the same n_agq."
        )
    for number, state in enumerate(states[1:], start=2):
        _check_rows(states[0], state, number)
    fitted, notes = _comparable(states, refit)
    order = sorted(range(len(fitted)), key=lambda i: fitted[i].n_params)
    fitted = [fitted[i] for i in order]
    labels = _labels(fitted) if names is None else [names[i] for i in order]
    tests = [(math.nan, math.nan, math.nan), *(_test(small, large) for small, large in pairwise(fitted))]
    rows = [(*_criteria(state), *test) for state, test in zip(fitted, tests, strict=True)]
    table = pd.DataFrame(rows, index=pd.Index(labels, name="model"), columns=list(COLUMNS))
    table["df"] = table["df"].astype("Int64")
    formulas = zip(labels, fitted, strict=True) if names is not None else ()
    of_names = (f"{name}: {state.design.formula.described}" for name, state in formulas)
    table.attrs["notes"] = (*of_names, *notes, *_check_sampled(fitted), *_test_notes(fitted, labels))
    return table


def check_names(names: object, n_fits: int) -> list[str]:
    """Return the names of fits.

    Raises
    ------
    InferenceError
        If they are not texts, one for each fit and no two the same.
    """
    given = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    texts = [name for name in given if isinstance(name, str)]
    if len(texts) < len(given):
        raise InferenceError(f"names is {names!r}; it must be a list of texts, one for each fit.")
    if len(texts) != n_fits:
        raise InferenceError(f"names has {len(texts)} names for {n_fits} fits. Give one for each.")
    twice = next((name for name in texts if texts.count(name) > 1), None)
    if twice is not None:
        raise InferenceError(f"names has {twice!r} twice. Give each fit a name of its own.")
    return texts


def _check_rows(first: FixedFit, other: FixedFit, number: int) -> None:
    """Raise unless both fits use the same rows and response."""
    a, b = first.design, other.design
    if a.stand_in is not None or b.stand_in is not None:
        raise InferenceError(
            "A comparison needs the rows of the fits, which a fit to data read in parts does not keep. Where two such "
            "fits have the same rows, and the same fixed part or maximum likelihood, the difference of their deviances "
            "has the usual law."
        )
    if same_rows(a, b):
        return
    advice = "Fit both to the same complete rows."
    if a.n_obs != b.n_obs:
        raise InferenceError(
            f"Fit {number}, {b.formula.text!r}, uses {b.n_obs} rows and the first {a.n_obs}, so their likelihoods do "
            f"not compare. {advice}"
        )
    if a.response_name != b.response_name:
        raise InferenceError(
            f"Fit {number} explains {b.response_name!r} and the first {a.response_name!r}; likelihoods of different "
            "responses do not compare. Fit both to the same response."
        )
    raise InferenceError(
        f"Fit {number}, {b.formula.text!r}, uses {b.n_obs} rows as the first does, but not the same ones, or with "
        f"other values of {b.response_name!r}. {advice}"
    )


def _comparable(states: Sequence[FixedFit], refit: bool) -> tuple[list[FixedFit], list[str]]:
    """Return the fits with criteria that compare, and what was done for it."""
    if not any(state.reml for state in states):
        return list(states), []
    same = all(same_fixed_part(states[0], state) for state in states[1:])
    if same and all(state.reml for state in states):
        return list(states), ["Fits by REML; their fixed parts are the same."]
    reason = "some were fitted by ML" if same else "their fixed parts or weights differ"
    if not refit:
        raise InferenceError(
            f"REML criteria of these fits do not compare, because {reason}. "
            "Leave refit out, or fit them with reml=False."
        )
    fitted = [_by_ml(state) if state.reml else state for state in states]
    return fitted, [f"Fitted anew by ML, because {reason} and REML criteria then do not compare."]


def _by_ml(state: FixedFit) -> FixedFit:
    """Return the same model fitted by ML."""
    if isinstance(state, CorrelatedState):
        return fit_correlated(state.problem, reml=False, control=state.control)
    if isinstance(state, MarginalState):
        return fit_marginal(state.problem, reml=False, control=state.control)
    assert isinstance(state, FitState)
    return fit_problem(state.problem, reml=False, control=state.control)


def _criteria(state: FixedFit) -> tuple[int, float, float, float, float]:
    return (
        state.n_params,
        criteria.aic(state),
        criteria.bic(state),
        criteria.log_likelihood(state),
        state.optimum.deviance,
    )


def _test(small: FixedFit, large: FixedFit) -> tuple[float, float, float]:
    """Return chi-squared, its degrees of freedom and the p-value; NaN if the models are not nested."""
    df = large.n_determined - small.n_determined
    if df == 0 or not _is_seen_nested(small, large):
        return math.nan, math.nan, math.nan
    chisq = small.optimum.deviance - large.optimum.deviance
    return chisq, df, math.nan if chisq < -MISSED else float(special.chdtrc(df, max(chisq, 0.0)))


def _is_seen_nested(small: FixedFit, large: FixedFit) -> bool:
    return (small.kind == large.kind or (small.kind, large.kind) in SPECIAL_CASES) and is_nested(small, large)


def _n_variances(state: FixedFit) -> int:
    return sum(factor.n_effects for factor in state.design.factors)


def _labels(states: Sequence[FixedFit]) -> list[str]:
    """Return the formulas; those that are not unique get a number."""
    texts = [state.design.formula.described for state in states]
    return [
        text if texts.count(text) == 1 else f"{text} ({texts[: i + 1].count(text)})" for i, text in enumerate(texts)
    ]


def _check_sampled(states: Sequence[FixedFit]) -> tuple[str, ...]:
    """Return the note on criteria by sampling, of which a difference must be worth more than its error."""
    errors = [state.monte_carlo for state in states if isinstance(state, SampledState) and state.monte_carlo]
    if not errors:
        return ()
    own = [error.std_error for error in errors] if len(errors) < len(states) else []  # beside exact criteria
    error = max([*own, *(a.of_difference(b) for a, b in combinations(errors, 2))])
    if error > LARGEST_ERROR:
        raise InferenceError(
            "The criteria of these fits are sampled, and a difference of two has a Monte Carlo standard error of up "
            f"to {error:.2g}; a comparison allows {LARGEST_ERROR}. Fit them with method='exact'."
        )
    return (f"Sampled criteria: a difference of two has a Monte Carlo standard error of at most {error:.2g}.",)


def _test_notes(states: Sequence[FixedFit], labels: Sequence[str]) -> Iterator[str]:
    variance_tested = False
    for (small, large), (above, here) in zip(pairwise(states), pairwise(labels), strict=True):
        if not _is_seen_nested(small, large):
            yield f"No test of {here}: {above} is not seen to be nested in it."
        elif small.n_determined == large.n_determined:
            which = "" if small.n_params == large.n_params else " that the data determine"
            yield f"No test of {here}: it has as many parameters{which} as {above}."
        elif small.optimum.deviance < large.optimum.deviance - MISSED:
            yield f"{here} fits worse than {above}, which is nested in it: so its optimum was missed."
        variance_tested |= _n_variances(small) < _n_variances(large) or small.kind != large.kind
    if variance_tested:
        rest = "; see ranova." if states[0].has_residual else "; of one variance alone they are half of these."
        yield f"P-values of tests of a variance are too large, because zero is on its boundary{rest}"
    bad = [label for label, state in zip(labels, states, strict=True) if not state.optimum.converged]
    if bad:
        yield f"Not converged: {', '.join(bad)}."
