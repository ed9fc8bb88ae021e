"""Memory that is not there: a fit or a MemoryError at every limit, never the end of the process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import mixedmodels as mm
from mixedmodels.errors import NotEnoughMemoryError, memory_told
from mixedmodels.fit import memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses and /proc are Linux'")

UNDER_LIMITS = """
import os, resource, sys, traceback, warnings
import numpy as np
import scipy.linalg
import mixedmodels as mm
from mixedmodels.inference.bootstrap import bootstrap

warnings.simplefilter("ignore")
rng = np.random.default_rng(1)


def data(n, n_g, n_h, n_columns):
    g, h, X = rng.integers(0, n_g, n), rng.integers(0, n_h, n), rng.normal(size=(n, n_columns))
    y = rng.normal(size=n_g)[g] + rng.normal(size=n_h)[h] + X.sum(axis=1) + rng.normal(size=n)
    return {"y": y, "g": g, "h": h, **{f"x{j}": X[:, j] for j in range(n_columns)}}


CASES = {
    "dense": ("y ~ x0 + (1 | g) + (1 | h)", data(6_000, 500, 350, 1)),
    "sparse": ("y ~ x0 + (1 | g) + (1 | h)", data(4_000, 1_600, 1_500, 1)),
    "rows": ("y ~ x0 + (x0 | g)", data(100_000, 800, 2, 1)),
    "columns": ("y ~ " + " + ".join(f"x{j}" for j in range(40)) + " + (1 | g)", data(9_000, 300, 2, 40)),
}
AFTER = {
    "dense": ("f.summary('kenward-roger')", "f.predict(interval='prediction')", "f.bootstrap(3, progress=False)"),
    "sparse": ("f.random_effects_cov", "f.refit(f.fittedvalues + f.resid)"),
    "rows": ("f.simulate(50)",),
    "columns": ("f.summary('satterthwaite')",),
}
SMALL = mm.load_dataset("sleepstudy")


def size():
    return 1024 * int(open("/proc/self/status").read().split("VmSize:")[1].split()[0])


def take_buffers():
    # NumPy's and SciPy's OpenBLAS each take one at the first product; 0.3.23, which NumPy 1.26 has, asks for ever where
    # there is no room for it
    A = np.ones((300, 300))
    scipy.linalg.blas.dgemm(1.0, A, A @ A)


def under(limit, before, work):
    # a child for each limit: the engine's threads and buffers are new in it
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    code = 9
    try:
        take_buffers()
        f = before()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (size() + limit, hard))
        try:
            work(f)
            code = 0
        except MemoryError as error:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
            is_told = isinstance(error, mm.NotEnoughMemoryError) and str(error).endswith(".")
            mm.lmer("Reaction ~ Days + (Days | Subject)", SMALL)  # one can go on
            code = 3 if is_told else 4
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wrong(what, limits, before, work, must_fit):
    found = [under(int(1e6 * limit), before, work) for limit in limits]
    if any(code not in (0, 3) for code in found) or 3 not in found or (must_fit and found[-1] != 0):
        return [f"{what}: {dict(zip(limits, found))}"]
    return []


case, steps = sys.argv[1], [float(step) for step in sys.argv[2:]]
formula, frame = CASES[case]
mm.LinearMixedModel("Reaction ~ Days + (Days | Subject)", SMALL).design  # what is loaded at first use
mm.LmmResult, bootstrap
complaints = wrong("fit", [*steps, 60_000], lambda: None, lambda _: mm.lmer(formula, frame), True)
for question in AFTER[case]:
    answer = compile(question, "question", "eval")
    complaints += wrong(question, [1, 60], lambda: mm.lmer(formula, frame), lambda f: eval(answer, {"f": f}), False)
sys.exit("; ".join(complaints) or 0)
"""
"""Forks children of a process that has loaded all, each with a limit of addresses above what it has by then."""


@linux
@pytest.mark.parametrize("case", ["dense", "sparse", "rows", "columns"])
def test_under_a_limit_there_is_a_fit_or_a_memory_error(case: str) -> None:
    steps = ["2", "5", "10", "40", "90", "300", "700", "1100"]
    run = [sys.executable, "-c", UNDER_LIMITS, case, *steps]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def crossed(n_h: int, n_g: int = 400, n: int = 4_000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    g, h = rng.integers(0, n_g, n), rng.integers(0, n_h, n)
    return {"y": rng.normal(size=n_g)[g] + rng.normal(size=n_h)[h] + rng.normal(size=n), "g": g, "h": h}


def bytes_of(formula: str, data: dict[str, np.ndarray]) -> float:
    return mm.LinearMixedModel(formula, data).problem.model.bytes_of_a_fit


def test_a_dense_rest_grows_as_its_square_and_one_factor_as_its_levels() -> None:
    two = [bytes_of("y ~ 1 + (1 | g) + (1 | h)", crossed(n_h, n_g=2 * n_h, n=40 * n_h)) for n_h in (400, 800)]
    assert 3.5 < two[1] / two[0] < 4.1
    one = [bytes_of("y ~ 1 + (1 | g)", crossed(2, n_g=n_g, n=50_000)) for n_g in (1_000, 2_000)]
    assert one[1] / one[0] == pytest.approx(2, rel=0.01)


def test_more_than_is_available_is_refused_with_the_numbers_and_what_would_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 12_345_678_901)
    formula = "y ~ 1 + (1 | g) + (1 | h)"
    mm.lmer(formula, crossed(60))
    monkeypatch.setattr(memory, "available_memory", lambda: 100_000)
    sentence = (
        r"needs [\d.]+ GB of memory for a fit, and 0.0001 GB are available. Most is for the 250 effects of h, which "
        r"meet in levels of g and so share one dense matrix of 250 x 250: fewer levels or effects of h need less.$"
    )
    with pytest.raises(NotEnoughMemoryError, match=sentence):
        mm.lmer(formula, crossed(250), method="exact")
    assert "sampled" in str(mm.lmer(formula, crossed(250)).summary()).splitlines()[0]
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000)
    with pytest.raises(MemoryError, match="400 effects of g with 1 fixed columns: fewer levels or columns need less"):
        mm.lmer("y ~ 1 + (1 | g)", crossed(2))
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    mm.lmer(formula, crossed(60))


@linux
def test_what_is_available_is_less_than_the_machine_has() -> None:
    with open("/proc/meminfo", encoding="ascii") as file:
        sizes = {name: 1024 * int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in file)}
    assert 0 < (memory.available_memory() or 1) <= sizes["MemTotal"] + sizes.get("SwapTotal", 0)


def test_want_of_memory_is_told_once_and_other_errors_pass() -> None:
    with (
        pytest.raises(NotEnoughMemoryError, match=r"^f\(\) needs more memory than there is: no room. Free"),
        memory_told("f()"),
    ):
        raise MemoryError("no room")
    told = NotEnoughMemoryError("Said before.")
    with pytest.raises(NotEnoughMemoryError) as passed, memory_told("f()"):
        raise told
    assert passed.value is told
    with pytest.raises(ZeroDivisionError), memory_told("f()"):
        raise ZeroDivisionError
    assert issubclass(NotEnoughMemoryError, mm.MixedModelsError)


def test_numpy_s_error_at_a_door_is_one_of_ours() -> None:
    fit = mm.lmer("y ~ 1 + (1 | g)", crossed(2, n=800))
    with pytest.raises(
        NotEnoughMemoryError, match=r"LmmResult.simulate\(\) needs more memory than there is: Unable to allocate"
    ):
        fit.simulate(10**12)


def test_a_replicate_without_memory_is_no_failure_to_count() -> None:
    fit = mm.lmer("y ~ 1 + (1 | g)", crossed(2, n=800))

    def statistic(refit: mm.LmmResult) -> list[float]:
        if refit.state is not fit.state:
            raise MemoryError("no room")
        return [1.0]

    with pytest.raises(NotEnoughMemoryError, match=r"bootstrap.* no room"):
        fit.bootstrap(3, statistic=statistic, progress=False)
