"""Processes that are forked from one that has fitted."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load

pytestmark = [
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore:.*use of fork\\(\\):DeprecationWarning"),
]

SECONDS = 60


def frame(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    g, x = rng.integers(0, 40, n), rng.normal(size=n)
    return {"g": g, "x": x, "y": x + rng.normal(size=40)[g] + rng.normal(size=n)}


def in_child(work) -> object:
    """Return what `work` returns in a forked process, which is killed if that takes too long."""
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    child = fork.Process(target=lambda: answers.put(work()))
    child.start()
    child.join(SECONDS)
    hangs = child.exitcode is None
    if hangs:
        child.kill()
        child.join()
    assert not hangs, f"the child did not end within {SECONDS} s"
    assert child.exitcode == 0
    return answers.get()


@pytest.mark.parametrize("n_threads", [0, 1, 2])
def test_a_child_fits_what_its_parent_fits(n_threads: int) -> None:
    data = frame(20_000)

    def deviance() -> float:
        return mm.lmer("y ~ x + (1 | g)", data, control=mm.Control(n_threads=n_threads)).deviance

    before = deviance()
    assert in_child(deviance) == before
    assert in_child(lambda: in_child(deviance)) == before
    assert deviance() == before


def test_a_child_uses_its_parents_fit() -> None:
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", load("sleepstudy"))

    def bootstrap() -> list[float]:
        return fit.bootstrap(5, seed=1, progress=False).replicates["sigma"].tolist()

    def predicted() -> list[float]:
        return fit.predict(interval="confidence")["lower"].tolist()

    for work in (bootstrap, predicted):
        assert in_child(work) == work()
