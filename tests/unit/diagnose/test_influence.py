"""Influence that is interrupted; its numbers are in the reference tests."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.diagnose import deleted_linear


def test_an_interrupt_gives_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", mm.load_dataset("sleepstudy"))
    whole = fit.influence("Subject")
    assert whole.notes == []
    refit = deleted_linear._refit
    calls = iter(range(100))

    def impatient(*arguments: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return refit(*arguments)

    monkeypatch.setattr(deleted_linear, "_refit", impatient)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit.influence("Subject")
    partial = caught.value.partial  # type: ignore[attr-defined]
    for name in ("fe_params", "variance_parameters", "dfbetas"):
        pd.testing.assert_frame_equal(getattr(partial, name), getattr(whole, name).iloc[:3])
    pd.testing.assert_series_equal(partial.cooks_distance, whole.cooks_distance.iloc[:3])
    assert partial.notes == ["Influence was interrupted: 3 of 18 deletions were made."]
    assert partial.notes[0] in repr(partial)
    calls = iter([3])
    with pytest.raises(KeyboardInterrupt) as caught:
        fit.influence("Subject")
    assert caught.value.partial is None  # type: ignore[attr-defined]
