"""Several models side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mixedmodels.display import numbers
from mixedmodels.display.summary import Summary
from mixedmodels.display.table import Table
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference import criteria
from mixedmodels.inference.covariances import covariance_frame, factor_covariances
from mixedmodels.inference.degrees import approximation
from mixedmodels.inference.nesting import same_rows
from mixedmodels.inference.wald import coef_table

if TYPE_CHECKING:
    import pandas as pd

    from mixedmodels.fit.records import FitState, Fitted

BELOW = ("std_error", "interval", "p_value", "nothing")
"""What may stand below an estimate."""

Row = tuple[str, ...]


def table(
    *fits: Fitted,
    names: Sequence[str] | None = None,
    below: str = "std_error",
    ddf: str = "satterthwaite",
    level: float = 0.95,
) -> Summary:
    """Return models side by side: fixed effects, standard deviations and correlations, sizes and criteria.

    Parameters
    ----------
    fits
        The fits, a column each.
    names
        Their names; None numbers them. Their formulas stand below the table.
    below
        What stands below each estimate: ``"std_error"``, ``"interval"``, ``"p_value"`` or ``"nothing"``.
    ddf, level
        As for ``coef_table``; they matter to intervals and p-values.

    Returns
    -------
    Summary
        Text, with ``.to_html()``, ``.to_latex()`` and ``.to_markdown()``.

    Raises
    ------
    InferenceError
        If there is no fit among the arguments, or ``names``, ``below``, ``ddf`` or ``level`` is not allowed.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> sleep = mm.load_dataset("sleepstudy")
    >>> one = mm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    >>> two = mm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> print(mm.table(one, two).splitlines()[0])
    Linear mixed models of Reaction
    """
    _check(fits, names, below)
    for fit in fits:
        fit.check_estimated("table")
    states = [fit.state for fit in fits]
    labels = [f"({i + 1})" for i in range(len(fits))] if names is None else list(names)
    rows = [
        *_fixed_rows([coef_table(state, ddf, level) for state in states], below),
        *_random_rows(states),
        *_fact_rows(states),
    ]
    responses = {state.design.response_name for state in states}
    heading = "Linear mixed models" + (f" of {responses.pop()}" if len(responses) == 1 else "")
    body = Table("", ("", *labels), tuple(rows), "l" + "r" * len(fits))
    notes = [*_formula_notes(labels, states), *_notes(states, below, ddf, level)]
    return Summary(heading, "", [body], notes)


def _check(fits: Sequence[object], names: Sequence[str] | None, below: str) -> None:
    if not fits:
        raise InferenceError("table needs one fit at least, such as table(fit1, fit2).")
    for position, fit in enumerate(fits, 1):
        if not hasattr(fit, "state"):
            raise InferenceError(
                f"table takes fits, as in table(fit1, fit2); argument {position} is of type {type(fit).__name__!r}."
            )
    if names is not None and len(names) != len(fits):
        raise InferenceError(f"names has {len(names)} names for {len(fits)} fits. Give one for each.")
    if below not in BELOW:
        known = ", ".join(f'"{name}"' for name in BELOW)
        raise InferenceError(f"below is {below!r}; it must be one of {known}.{nearest(str(below), BELOW)}")


def _fixed_rows(tables: Sequence[pd.DataFrame], below: str) -> Iterator[Row]:
    """Yield two rows a term, each term with as many decimals as the model that knows it best allows."""
    terms = list(dict.fromkeys(str(term) for t in tables for term in t.index))
    if not terms:
        return
    places = numbers.places([error for t in tables for error in t["std_error"]])
    place_of: dict[str, int] = {}
    for (term, _), place in zip(((str(term), t) for t in tables for term in t.index), places, strict=True):
        place_of[term] = max(place, place_of.get(term, place))
    for term in terms:
        cells = [_cells(t.loc[[term]].iloc[0], place_of[term], below) if term in t.index else ("", "") for t in tables]
        yield (term, *(estimate for estimate, _ in cells))
        if below != "nothing":
            yield ("", *(text for _, text in cells))


def _cells(row: pd.Series[Any], place: int, below: str) -> tuple[str, str]:
    shown = row[["estimate", "std_error", "ci_lower", "ci_upper"]].tolist()
    estimate, error, lower, upper = numbers.to_place(shown, place)
    texts = {
        "std_error": f"({error})",
        "interval": f"[{lower}, {upper}]",
        "p_value": f"({numbers.p_value(row['p_value'])})",
        "nothing": "",
    }
    return estimate + (" " if below != "nothing" else ""), texts[below]


def _random_rows(states: Sequence[FitState]) -> Iterator[Row]:
    """Yield standard deviations, then correlations, of each grouping factor, and the residual's."""
    found = [_random_parameters(state) for state in states]
    keys = list(dict.fromkeys(key for parameters in found for key in parameters))
    groups = list(dict.fromkeys(group for group, _, _ in keys if group != "Residual"))
    digits = numbers.column([value for parameters in found for key, value in parameters.items() if not key[2]])
    texts = iter(digits)
    shown = [
        {key: numbers.fixed(value, 2) if key[2] else next(texts) for key, value in parameters.items()}
        for parameters in found
    ]
    yield ("Standard deviations and correlations", *[""] * len(states))
    for group, one, other in sorted(keys, key=lambda key: [*groups, "Residual"].index(key[0])):
        label = f"{one} with {other} by {group}" if other else f"{one} by {group}" if one else "Residual"
        yield (f"  {label}", *(parameters.get((group, one, other), "") for parameters in shown))


def _random_parameters(state: FitState) -> dict[tuple[str, str, str], float]:
    frame = covariance_frame(factor_covariances(state), state.sigma)
    return {
        (group, one or "", other or ""): value
        for group, one, other, value in zip(
            frame["group"],
            frame["effect_1"].fillna(""),
            frame["effect_2"].fillna(""),
            frame["sd_or_corr"],
            strict=True,
        )
    }


def _fact_rows(states: Sequence[FitState]) -> Iterator[Row]:
    yield ("Fit", *[""] * len(states))
    yield ("  Observations", *(str(state.design.n_obs) for state in states))
    for name in dict.fromkeys(factor.name for state in states for factor in state.design.factors):
        counts = [{f.name: str(f.n_levels) for f in state.design.factors} for state in states]
        yield (f"  Levels of {name}", *(count.get(name, "") for count in counts))
    yield ("  Parameters", *(str(state.n_params) for state in states))
    yield ("  Method", *("REML" if state.reml else "ML" for state in states))
    facts: Mapping[str, Callable[[FitState], float]] = {
        "Log-likelihood": criteria.log_likelihood,
        "AIC": criteria.aic,
        "BIC": criteria.bic,
    }
    for label, value in facts.items():
        yield (f"  {label}", *(numbers.criterion(value(state)) for state in states))


def _formula_notes(labels: Sequence[str], states: Sequence[FitState]) -> Iterator[str]:
    for label, state in zip(labels, states, strict=True):
        yield f"{label}: {state.design.formula.text}"


def _notes(states: Sequence[FitState], below: str, ddf: str, level: float) -> Iterator[str]:
    if below == "std_error":
        yield "Standard errors in parentheses."
    elif below == "p_value":
        yield "P-values in parentheses."
    elif below == "interval":
        yield f"{100 * level:g} % intervals in brackets."
    if below in ("interval", "p_value"):
        yield from dict.fromkeys(note for state in states for note in approximation(state, ddf).notes)
    designs = [state.design for state in states]
    if len({design.n_obs for design in designs}) > 1:
        yield "The models use different numbers of rows; their criteria cannot be compared."
    elif not all(same_rows(designs[0], design) for design in designs):
        different = "responses" if len({design.response_name for design in designs}) > 1 else "rows or responses"
        yield f"The models use different {different}; their criteria cannot be compared."
    elif len({state.reml for state in states}) > 1:
        yield "Criteria of REML and ML fits cannot be compared."
    elif states[0].reml and len({state.fixed_names for state in states}) > 1:
        yield "Criteria of REML fits with different fixed effects cannot be compared; fit them with reml=False."
    singular = [str(i + 1) for i, state in enumerate(states) if state.is_singular]
    if singular:
        yield f"Singular fit: {'model' if len(singular) == 1 else 'models'} {', '.join(singular)}."
    failed = [str(i + 1) for i, state in enumerate(states) if not state.optimum.converged]
    if failed:
        yield f"Not converged: {'model' if len(failed) == 1 else 'models'} {', '.join(failed)}."
