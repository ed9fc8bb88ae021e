"""Limits of the optimiser."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from mixedmodels.errors import FitError
from mixedmodels.fit.control import Control


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
