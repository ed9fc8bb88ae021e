"""Limits of the optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields

import pytest

import mixedmodels as mm
from mixedmodels.errors import FitError
from mixedmodels.fit.control import Control

COUNTS = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
SLEEP = mm.load_dataset("sleepstudy")
GROWING = {"residual": "ar1(Days | Subject)", "variance": "exp(Days)"}


def test_defaults_are_allowed() -> None:
    assert Control() == Control(max_iterations=200, n_starts=0, n_threads=0)


@pytest.mark.parametrize("limit", fields(Control), ids=lambda limit: limit.name)
def test_bad_values_are_named(limit) -> None:
    at_least = limit.metadata["at_least"]
    for value in (at_least - 1, limit.metadata["at_most"] + 1, 10**30, 1.5, "many", True, None):
        with pytest.raises(FitError, match=f"^{limit.name} is {value!r}; it must be a whole number of {at_least} to"):
            Control(**{limit.name: value})


def test_limits_are_allowed() -> None:
    assert Control(n_threads=256, n_starts=10_000, max_iterations=1_000_000).n_threads == 256


def test_nothing_changes_it() -> None:
    with pytest.raises(FrozenInstanceError):
        Control().max_iterations = 3


@pytest.mark.parametrize(
    ("fit", "n_there"),
    [
        (lambda control: mm.glmer(COUNTS, mm.load_dataset("cbpp"), "binomial", control=control), 4),
        (lambda control: mm.lmer("Reaction ~ cs(Days | Subject)", SLEEP, control=control), None),
        (lambda control: mm.lmer("Reaction ~ Days", SLEEP, **GROWING, control=control), None),
        (lambda control: mm.mmrm("Reaction ~ 1 + cs(Days | Subject)", SLEEP, control=control), 1),
    ],
    ids=["generalised", "structured effects", "correlated residuals", "visits"],
)
def test_more_starts_than_a_model_has_are_refused(fit: Callable[[Control], object], n_there: int | None) -> None:
    with pytest.raises(mm.FitError, match=rf"n_starts=100 is given for a model that has {n_there or ''}"):
        fit(Control(n_starts=100))
    fit(Control(n_starts=n_there or 1))
