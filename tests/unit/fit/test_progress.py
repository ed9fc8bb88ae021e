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


def test_plain_lines_without_tqdm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "find_spec", lambda _: None)
    now = iter([0.0, 0.5, 1.5, 5.0, 12.0])  # when it began, and at each count
    monkeypatch.setattr(progress, "monotonic", lambda: next(now))
    with progress.progress_bar(40, "bootstrap", "fit", True) as advance:
        for _ in range(4):
            advance(10)
    assert capsys.readouterr().err == "bootstrap: 20 of 40 fits\nbootstrap: 40 of 40 fits\n"
