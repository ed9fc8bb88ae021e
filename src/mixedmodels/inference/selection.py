"""Which parameters a question is about: names, or a group of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.wald import names_in

GROUPS: Mapping[str, str] = MappingProxyType({
    "beta": "fixed", "beta_": "fixed", "theta": "variance", "theta_": "variance", "variance": "variance",
})  # fmt: skip
"""Words for all fixed effects, and for all standard deviations, correlations and sigma; lme4's end in a line."""


def select(which: str | Iterable[str], fixed: Sequence[str], variance: Sequence[str]) -> list[Any]:
    """Return the names that are meant, in the order asked for, each once; those of no parameter stay as they are.

    A word for a group is the parameter of that name where there is one; ``"beta_"`` and ``"theta_"`` are then free.

    Parameters
    ----------
    which
        One name or several, words of ``GROUPS`` among them: ``"beta"``, or ``["Days", "theta"]``.
    fixed, variance
        Names of the fixed effects, and of standard deviations, correlations and sigma.

    Raises
    ------
    InferenceError
        If there are tables among the names.

    Examples
    --------
    >>> select(["sigma", "beta"], ["Intercept", "Days"], ["sd_Intercept|Subject", "sigma"])
    ['sigma', 'Intercept', 'Days']
    """
    groups = {"fixed": fixed, "variance": variance}
    chosen: list[Any] = []
    for name in names_in(which):
        is_group = isinstance(name, str) and name in GROUPS and name not in fixed and name not in variance
        chosen += groups[GROUPS[name]] if is_group else [name]
    return list(dict.fromkeys(chosen))


def unknown_parameter(name: object, known: Iterable[str], what: str = "") -> InferenceError:
    """Return the complaint that there is no such parameter.

    Parameters
    ----------
    name
        What was asked for.
    known
        Names of parameters.
    what
        What the parameter is wanted for, with a space before.
    """
    names = tuple(known)
    return InferenceError(
        f"There is no parameter {name!r}{what}; there are {', '.join(names)}, and 'beta' and 'theta' for all fixed "
        f"effects and all variance parameters.{nearest(str(name), (*names, *GROUPS))}"
    )
