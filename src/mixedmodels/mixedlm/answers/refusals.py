"""What a fit with parameters held or penalised cannot say, although an ``LmmResult`` is asked for it.

A penalised fit is no maximum of the likelihood. Where a covariance is held at a value, what fits all covariances anew,
counts them or takes them for estimated is about another model. An effect whose variance is held at zero, or a block of
zero covariances, is no part of the structure that is fitted, so all is as if the model had been written without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import signature
from typing import Any, Protocol, TypeVar

from mixedmodels.errors import InferenceError
from mixedmodels.mixedlm.fitting.record import FitRecord
from mixedmodels.result.lmm import LmmResult

Class = TypeVar("Class", bound=type)

OF_FREE_COVARIANCES = ("bootstrap", "criteria", "glance", "influence", "profile", "ranova", "report", "to_dict",
                       "variance_parameters")  # fmt: skip
"""Fit all covariances anew, or count or vary them."""
BY_DEGREES_OF_FREEDOM = ("anova", "coef_table", "contrast", "margins", "tidy", "to_marginaleffects")
"""Right at held covariances, save for degrees of freedom that come from their estimation."""
OF_FIXED_EFFECTS = ("cooks_distance", "cov_fe_robust", "hat_values", "vif")
"""Right at held covariances."""
FROM_ESTIMATED_COVARIANCES = ("satterthwaite", "kenward-roger")


class Questioned(Protocol):
    """A result that may have to refuse."""

    record: FitRecord

    @property
    def held_covariances(self) -> list[str]:
        """Names of the covariances that are held at a value."""


def refuse_if_penalized(record: FitRecord, what: str) -> None:
    """Refuse what is for maximum-likelihood estimates.

    Raises
    ------
    InferenceError
        If there was a penalty.
    """
    if record.is_penalized:
        raise InferenceError(
            f"{what} is for estimates by maximum likelihood, and a penalty moved those of this fit; bse and "
            "conf_int come from the curvature there."
        )


def refuse_if_covariances_held(names: Sequence[str], what: str) -> None:
    """Refuse what fits all covariances anew, or counts them.

    Raises
    ------
    InferenceError
        If some are held at a value.
    """
    if names:
        raise InferenceError(
            f"{what} takes all covariances for estimated, and this fit holds {', '.join(names)}. Standard errors and "
            "profile_re respect that; responses of simulate can be given to refit, which holds them too."
        )


def refuse_degrees_of_freedom(names: Sequence[str], what: str, ddf: object) -> None:
    """Refuse degrees of freedom that come from the estimation of all covariances.

    Raises
    ------
    InferenceError
        If some are held at a value.
    """
    if names and isinstance(ddf, str) and ddf in FROM_ESTIMATED_COVARIANCES:
        raise InferenceError(
            f"{what} with ddf={ddf!r} takes all covariances for estimated, and this fit holds {', '.join(names)}. "
            "Pass ddf='normal'."
        )


def refuse_new_rows(record: FitRecord, what: str) -> None:
    """Refuse what needs the distribution of new rows where fixed effects are not all estimates.

    Raises
    ------
    InferenceError
        Some were held or penalised.
    """
    if record.holds.beta or record.is_penalized:
        raise InferenceError(
            f"{what} for new data are not there where fixed effects were held or penalised; predict without "
            "interval gives their values."
        )


def refuse_interval(record: FitRecord, names: Sequence[str], asked: Mapping[str, Any]) -> None:
    """Refuse an interval of predictions that a fit cannot give.

    Parameters
    ----------
    record, names
        The fit, and the names of its covariances that are held.
    asked
        Arguments of ``LmmResult.predict``.

    Raises
    ------
    InferenceError
        It was penalised, or takes covariances for estimated that are held.
    """
    if asked.get("interval") is not None:
        refuse_if_penalized(record, "An interval of predict")
        refuse_degrees_of_freedom(names, "An interval of predict", asked.get("ddf", "satterthwaite"))
        if asked.get("correction") is not None:
            refuse_if_covariances_held(names, "The correction of an interval")


def refusing(cls: Class) -> Class:
    """Return the class of results with the questions of ``LmmResult`` refused where they have no right answer."""
    for names, refuse in (
        (OF_FREE_COVARIANCES, _of_free_covariances),
        (BY_DEGREES_OF_FREEDOM, _by_degrees_of_freedom),
        (OF_FIXED_EFFECTS, None),
    ):
        for name in names:
            setattr(cls, name, _guarded(getattr(LmmResult, name), refuse))
    return cls


Refusal = Callable[..., None]


def _guarded(method: Callable[..., Any], refuse: Refusal | None) -> Callable[..., Any]:
    @wraps(method)
    def guarded(self: Questioned, *args: Any, **kwargs: Any) -> Any:
        refuse_if_penalized(self.record, method.__name__)
        if refuse is not None:
            refuse(self, method, args, kwargs)
        return method(self, *args, **kwargs)

    return guarded


def _of_free_covariances(self: Questioned, method: Callable[..., Any], *_: object) -> None:
    refuse_if_covariances_held(self.held_covariances, method.__name__)


def _by_degrees_of_freedom(
    self: Questioned, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    given = signature(method).bind(self, *args, **kwargs)
    given.apply_defaults()
    refuse_degrees_of_freedom(self.held_covariances, method.__name__, given.arguments["ddf"])
