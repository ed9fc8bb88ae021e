"""Ctrl-C ends what the engine does, wherever it is, and leaves a process that can fit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself Ctrl-C")

SECONDS = 3

# prints the seconds between the signal and the exception; "late" where the work ended before the signal
SCRIPT = """
import os, signal, threading, time, warnings

import numpy as np

import mixedmodels as mm

warnings.simplefilter("ignore")


def crossed(n, a, b):
    rng = np.random.default_rng(0)
    g, h, x = rng.integers(0, a, n), rng.integers(0, b, n), rng.normal(size=n)
    return {{"g": g, "h": h, "x": x, "y": x + rng.normal(size=a)[g] + rng.normal(size=b)[h] + rng.normal(size=n)}}


def ring():
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)


sent = []
small = crossed(200, 10, 10)
mm.lmer("y ~ x + (1 | g)", small).coef_table()  # imports end before the signal
{setting}
timer = threading.Timer(0.2, ring)
timer.start()
try:
    {work}
    timer.cancel()
    print("late")
except KeyboardInterrupt:
    print(time.perf_counter() - sent[0])
print(mm.lmer("y ~ x + (1 | g)", small).converged, mm.lmer("y ~ x + (1 | g)", crossed(10000, 10, 10)).converged)
"""

LARGE = "data = crossed(20000, 1500, 1500)"
LARGE_FITTED = LARGE + "; fit = mm.lmer('y ~ x + (1 | g) + (1 | h)', data)"
FITTED = "fit = mm.lmer('y ~ x + (1 | g) + (1 | h)', crossed(8000, 600, 500))"

WORK = {
    "fit": (LARGE, "mm.lmer('y ~ x + (x | g) + (x | h)', data)"),
    "fit of one thread": (LARGE, "mm.lmer('y ~ x + (x | g) + (x | h)', data, control=mm.Control(n_threads=1))"),
    "fit by sampling": (
        "data = crossed(1000000, 100000, 50000)",
        "mm.lmer('y ~ x + (x | g) + (x | h)', data, method='sampled', progress=False)",
    ),
    "profile": (FITTED, "fit.profile()"),
    "Kenward-Roger": (LARGE_FITTED, "fit.coef_table(ddf='kenward-roger')"),
    "refits": (FITTED, "fit.bootstrap(2000, seed=1, progress=False)"),
}


@pytest.mark.parametrize("name", WORK)
def test_ctrl_c_is_heard(name: str) -> None:
    setting, work = WORK[name]
    script = SCRIPT.format(setting=setting, work=work)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    seconds, again = ran.stdout.splitlines()
    assert seconds != "late", "the work is too short for this test"
    assert float(seconds) < SECONDS
    assert again == "True True"
