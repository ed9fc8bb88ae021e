"""Simulated residuals that are interrupted; what they are is in the tests of checks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.diagnose import simulated_residuals


def test_an_interrupt_gives_those_of_the_simulations_that_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", mm.load_dataset("sleepstudy"))
    few, responses = fit.simulated_residuals(7, seed=1), simulated_residuals.responses
    assert few.notes == []

    def impatient(*arguments: Any, **options: Any) -> Iterator[Any]:
        yield from islice(responses(*arguments, **options), 7)
        raise KeyboardInterrupt

    monkeypatch.setattr(simulated_residuals, "responses", impatient)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit.simulated_residuals(50, seed=1)
    part = caught.value.partial  # type: ignore[attr-defined]
    pd.testing.assert_series_equal(part.scaled, few.scaled)
    pd.testing.assert_frame_equal(part.tests, few.tests)
    assert part.notes == ["The simulation was interrupted: 7 of 50 responses were drawn."]
    assert part.notes[0] in repr(part)
