"""What plots are asked for: a fit and arguments, read or refused in a sentence."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

from mixedmodels.errors import InferenceError
from mixedmodels.inference.wald import check_level
from mixedmodels.vocabulary import refuses_unknown

P = ParamSpec("P")
R = TypeVar("R")


def draws_a_fit(plot: Callable[P, R]) -> Callable[P, R]:
    """Return a plot that refuses, in words, what is no fit and arguments of another kind.

    Parameters
    ----------
    plot
        Takes a fit, or several, before its other arguments.
    """
    return _draws(plot, "state", "a fit, as lmer returns it")


def draws_correlated_residuals(plot: Callable[P, R]) -> Callable[P, R]:
    """Return a plot that refuses, in words, what is no fit of mmrm and arguments of another kind.

    Parameters
    ----------
    plot
        Takes a fit before its other arguments.
    """
    return _draws(plot, "residual_parameters", "a fit with correlated residuals, as mmrm returns it")


def draws_a_generalized_fit(plot: Callable[P, R]) -> Callable[P, R]:
    """Return a plot that refuses, in words, what is no fit of glmer and arguments of another kind.

    Parameters
    ----------
    plot
        Takes a fit before its other arguments.
    """
    return _draws(plot, "family", "a generalised model, as glmer returns it")


def draws_a_bootstrap(plot: Callable[P, R]) -> Callable[P, R]:
    """Return a plot that refuses, in words, what is no bootstrap and arguments of another kind.

    Parameters
    ----------
    plot
        Takes a bootstrap before its other arguments.
    """
    return _draws(plot, "replicates", "a bootstrap, as fit.bootstrap() returns it")


def _draws(plot: Callable[P, R], attribute: str, what: str) -> Callable[P, R]:
    checked, name = refuses_unknown(plot), plot.__qualname__
    first = next(iter(inspect.signature(plot).parameters.values()))

    @wraps(plot)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        n_fits = len(args) if first.kind is first.VAR_POSITIONAL else 1
        for given in (*args[:n_fits], *(value for key, value in kwargs.items() if key == first.name)):
            if not hasattr(given, attribute):
                raise InferenceError(f"plot.{name} draws {what}; it was given {type(given).__name__!r}.")
        return checked(*args, **kwargs)

    return drawn


def read_texts(name: str, given: object) -> list[str]:
    """Return a text, or a list of them, as a list; none for None.

    Raises
    ------
    InferenceError
        If it is neither.
    """
    texts = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise InferenceError(f"{name} is of type {type(given).__name__!r}; it must be a text or a list of texts.")
    return list(texts)


def read_levels(levels: object) -> list[float]:
    """Return coverages between 0 and 1.

    Raises
    ------
    InferenceError
        If they are no list of such, or there is none.
    """
    found = list(levels) if isinstance(levels, Iterable) and not isinstance(levels, str | bytes) else []
    if not found:
        raise InferenceError(f"levels is of type {type(levels).__name__!r}; it must be a list, such as (0.5, 0.95).")
    for level in found:
        check_level(level)
    return found
