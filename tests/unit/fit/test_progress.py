"""Long work shows how far it is, short work nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import mixedmodels as mm
from mixedmodels.fit import progress

LONG_WORK: dict[str, Callable[[mm.LmmResult, bool], object]] = {
    "bootstrap": lambda fit, shown: fit.bootstrap(3, seed=1, progress=shown),
    "influence": lambda fit, shown: fit.influence("Subject", progress=shown),
    "power": lambda fit, shown: mm.power(fit, "Days", n=2, seed=1, progress=shown),
    "profile": lambda fit, shown: fit.profile("sigma", progress=shown),
}


@pytest.mark.parametrize("label", list(LONG_WORK))
def test_progress(label: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", mm.load_dataset("sleepstudy"))
    LONG_WORK[label](fit, True)
    assert capsys.readouterr().err == ""  # it takes less than the delay
    monkeypatch.setattr(progress, "DELAY", 0.0)
    LONG_WORK[label](fit, True)
    assert label in capsys.readouterr().err
    LONG_WORK[label](fit, False)
    assert capsys.readouterr().err == ""
