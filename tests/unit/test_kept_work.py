"""Long work in files: killed and gone on with, refused where it is of something else, and what a full disk does."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.diagnose import influence
from mixedmodels.fit import checkpoint
from mixedmodels.fit.long_work import carry_out
from mixedmodels.fit_many import ManyFits

SLEEP = mm.load_dataset("sleepstudy")
VARY = {"Subject": [6, 9]}
RESPONSES = [f"Reaction + {k}" for k in range(40)]


def messy() -> pd.DataFrame:
    """Return crossed levels, an empty one, a level of one row, and rows named by a date and a number."""
    rng = np.random.default_rng(8)
    n = 60
    days = pd.date_range("2024-03-30", periods=n, tz="Europe/Paris")
    data = pd.DataFrame(
        {"x": rng.normal(1e9, 1.0, n), "w": rng.uniform(0.2, 3.0, n), "item": rng.integers(0, 5, n)},
        index=pd.MultiIndex.from_arrays([days, np.arange(n)], names=["day", "row"]),
    )
    data["who"] = pd.Categorical(rng.choice(list("abcde"), n), categories=list("edcbaz"))
    data.iloc[0, data.columns.get_loc("who")] = "z"
    data["y"] = rng.normal(size=n) + data["who"].cat.codes + rng.normal(size=5)[data["item"]]
    data.iloc[3, data.columns.get_loc("y")] = np.nan
    return data


def sleep_fit() -> mm.LmmResult:
    return mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)


def same(one: Any, other: Any) -> bool:
    """Return whether two results are the same to the last bit."""
    return pickle.dumps(plain(one)) == pickle.dumps(plain(other))


def plain(value: Any) -> Any:
    if isinstance(value, ManyFits):
        return [plain(value.table.drop(columns="note")), plain(value.coef_table().drop(columns="note")), value.notes]
    if isinstance(value, pd.DataFrame):
        return [list(map(str, value.index)), list(value.columns), value.to_numpy().tolist(), list(value.attrs["notes"])]
    if isinstance(value, pd.Series):
        return plain(value.to_frame())
    frames = ("replicates", "std_errors") if hasattr(value, "replicates") else ("fe_params", "dfbetas")
    more = [] if hasattr(value, "replicates") else [plain(value.variance_parameters), plain(value.cooks_distance)]
    return [getattr(value, name).to_numpy().tolist() for name in frames], more, value.failures, value.notes


def loaded(path: Path) -> Any:
    """Return what a file holds, whole or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.PartialResultWarning)
        return mm.load(path)


START = """
import sys, time
import mixedmodels as mm
import mixedmodels.fit_many
from mixedmodels.diagnose import deleted_linear
from mixedmodels.fit import checkpoint
from mixedmodels.inference import simulated_tests

checkpoint.EVERY = 0.05
simulated_tests.MAX_BLOCK = 1
fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))

def slowly(owner, name, seconds=0.01):
    method = getattr(owner, name)
    def slow(*arguments):
        time.sleep(seconds)
        return method(*arguments)
    setattr(owner, name, slow)

def slow_sigma(result):
    time.sleep(0.01)
    return result.sigma

slowly(deleted_linear, "_refit")
slowly(sys.modules["mixedmodels.fit_many"], "build_problem", 1.0)
RESPONSES = [f"Reaction + {k}" for k in range(40)]
slowly(simulated_tests.Study, "_test")
path = sys.argv[1]
"""


def n_replicates(boot: Any) -> int:
    return len(boot.replicates)


KILLED: dict[str, tuple[str, Callable[[Any], int], Callable[[mm.LmmResult, int, Path | None], Any]]] = {
    "bootstrap": (
        "fit.bootstrap(100_000, seed=7, statistic=slow_sigma, path=path, progress=False)",
        n_replicates,
        lambda fit, n, path: fit.bootstrap(
            n + 5, seed=None if path else 7, statistic=lambda result: result.sigma, path=path, progress=False
        ),
    ),
    "power": (
        "mm.power(fit, 'Days', n=100_000, size=4, vary={'Subject': [6, 9]}, seed=7, path=path, progress=False)",
        lambda table: int(table.attrs["notes"][-1].rpartition(" ")[0].rpartition(" ")[2].strip(",")),
        lambda fit, n, path: mm.power(
            fit, "Days", n=n + 5, size=4, vary=VARY, seed=None if path else 7, path=path, progress=False
        ),
    ),
    "fits": (
        "mm.fit_many('Reaction ~ Days + (1 | Subject)', mm.load_dataset('sleepstudy'), responses=RESPONSES, n_jobs=2, "
        "path=path, progress=False)",
        lambda many: len(many.fits),
        lambda fit, n, path: mm.fit_many(
            "Reaction ~ Days + (1 | Subject)", SLEEP, responses=RESPONSES, n_jobs=1, path=path, progress=False
        ),
    ),
    "influence": (
        "fit.influence(path=path, progress=False)",
        lambda result: len(result.cooks_distance),
        lambda fit, n, path: fit.influence(path=path, progress=False),
    ),
}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
@pytest.mark.parametrize("what", KILLED)
def test_a_killed_run_goes_on_from_its_file(what: str, tmp_path: Path) -> None:
    line, count, ask = KILLED[what]
    path = tmp_path / what
    with subprocess.Popen([sys.executable, "-c", f"{START}\n{line}", path]) as run:
        deadline = time.monotonic() + 60
        written = 0
        while written < 3 and time.monotonic() < deadline:  # it is killed anywhere, in the middle of writing too
            time.sleep(0.02)
            written += path.exists() and count(loaded(path)) > 2
        os.kill(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
    with pytest.warns(mm.PartialResultWarning, match="was interrupted"):
        n = count(mm.load(path))
    assert n > 2
    fit = sleep_fit()
    whole = ask(fit, n, path)
    assert same(whole, ask(fit, n, None))
    assert same(whole, mm.load(path))


def test_a_file_of_power_answers_other_levels_and_numbers_of_responses(tmp_path: Path) -> None:
    fit = sleep_fit()

    def ask(**options: Any) -> pd.DataFrame:
        return mm.power(fit, "Days", size=4, vary=VARY, progress=False, **options)

    path = tmp_path / "power"
    first = ask(seed=1, n=6, path=path)
    assert same(first, mm.load(path))
    for options in ({"n": 9, "alpha": 0.01}, {"n": 4, "level": 0.5}, {"n": 9, "alpha": 0.5}):
        again = ask(path=path, **options)
        assert same(again, ask(seed=1, **options))
        assert again.attrs["notes"] == first.attrs["notes"]


def test_files_of_other_simulations_are_refused(tmp_path: Path) -> None:
    fit, path = sleep_fit(), tmp_path / "power"
    arguments: dict[str, Any] = {"size": 4, "vary": VARY, "n": 3, "seed": 1, "path": path, "progress": False}
    mm.power(fit, "Days", **arguments)
    before = path.read_bytes()
    for change, words in (
        ({"seed": 2}, "with seed=1, not 2"),
        ({"ddf": "normal"}, "with ddf='satterthwaite', not 'normal'"),
        ({"vary": {"Subject": [6]}}, r"with vary={'Subject': \[6, 9\]}, not {'Subject': \[6\]}"),
        ({"within": {"Subject": [4]}}, "with within=None, not {'Subject'"),
        ({"effect": "Intercept"}, "with effect='Days', not 'Intercept'"),
        ({"size": 5}, "of another fit: its model, data or parameters differ"),
        ({"sigma": 5}, "of another fit: its model, data or parameters differ"),
    ):
        with pytest.raises(mm.InferenceError, match=f"power' holds a simulation of power {words}.*Give another path"):
            mm.power(fit, **{"effect": "Days", **arguments, **change})  # type: ignore[arg-type]
    with pytest.raises(mm.DataError, match="holds a simulation of power, not a study of influence"):
        fit.influence("Subject", path=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("by", [None, "who", "item"])
@pytest.mark.parametrize("method", ["exact", "one-step"])
@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
def test_influence_is_taken_up_where_it_was_left(
    by: str | None, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = mm.lmer("y ~ x + (1 | who) + (1 | item)", messy(), weights="w")
    whole = fit.influence(by, method)
    path = tmp_path / "influence"
    without, calls = influence._Deletions.without, iter(range(100))

    def impatient(*arguments: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return without(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(influence._Deletions, "without", impatient)
        if by is not None or method == "exact":
            with pytest.raises(KeyboardInterrupt) as caught:
                fit.influence(by, method, path=path)
            part = caught.value.partial  # type: ignore[attr-defined]
            assert same(part, loaded(path))
            assert part.notes == part.fe_params.attrs["notes"] == part.cooks_distance.attrs["notes"]
            assert part.notes[0].startswith("Influence was interrupted: 3 of ")
    assert same(fit.influence(by, method, path=path), whole)
    assert same(mm.load(path), whole)
    assert list(mm.load(path).cooks_distance.index) == list(whole.cooks_distance.index)
    for other in (fit.update(reml=False), fit.refit(fit.fittedvalues + fit.resid.to_numpy()[::-1])):
        with pytest.raises(mm.InferenceError, match="holds a study of influence of another fit"):
            other.influence(by, method, path=path)
    with pytest.raises(mm.InferenceError, match=f"holds a study of influence with by={by!r}, not '(who|item)'"):
        fit.influence("item" if by == "who" else "who", method, path=path)
    data = messy().reset_index()
    renamed = mm.lmer(fit.formula, data.assign(who=data["who"].cat.rename_categories({"z": "q"})), weights="w")
    if by != "item":
        with pytest.raises(mm.InferenceError, match="holds a study of influence of rows or levels with other names"):
            renamed.influence(by, method, path=path)


@pytest.mark.parametrize("what", KILLED)
def test_damaged_files_are_refused(what: str, tmp_path: Path) -> None:
    path, fit, ask = tmp_path / what, sleep_fit(), KILLED[what][2]
    ask(fit, 3, None)
    path.write_bytes(b"")
    with pytest.raises(mm.DataError, match="is not a result saved by mixedmodels"):
        ask(fit, 3, path)
    path.unlink()
    fit.influence("Subject", path=path, progress=False)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(mm.DataError, match=f"{what}' is damaged"):
        ask(fit, 3, path)


@pytest.mark.parametrize("what", KILLED)
def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*arguments: Any, **options: Any) -> None:
        raise AssertionError("work has begun")

    for module in ("inference.bootstrap", "power", "fit_many", "diagnose.influence"):
        monkeypatch.setattr(import_module(f"mixedmodels.{module}"), "carry_out", work)
    ask, fit = KILLED[what][2], sleep_fit()
    with pytest.raises(mm.DataError, match=r"cannot be written: there is no folder '.*no'\. Make it, or give another"):
        ask(fit, 3, tmp_path / "no" / "folder")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(mm.DataError, match=r"cannot be written: the folder '.*' may only be read\. Give another path"):
        ask(fit, 3, tmp_path / "file")


# What the three share


class Counting:
    """Work of ten blocks of one, and a file that some writings to fail."""

    def __init__(self, full: set[int]) -> None:
        self.full = full
        self.done: list[int] = []
        self.written: list[list[int]] = []
        self.tries = 0

    def blocks(self, ends: BaseException | None = None) -> Iterator[int]:
        for i in range(10):
            if i == 7 and ends is not None:
                raise ends
            self.done.append(i)
            yield 1

    def made(self) -> list[int] | None:
        return list(self.done) or None

    def keep(self) -> None:
        self.tries += 1
        if self.tries in self.full:
            raise mm.DataError("no room")
        self.written.append(list(self.done))

    def carry_out(self, ends: BaseException | None = None) -> list[int]:
        return carry_out(self.blocks(ends), 10, "count", shown=False, made=self.made, keep=self.keep)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be time to write after each block."""
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    monkeypatch.setattr(checkpoint, "monotonic", lambda: 0.0)


@pytest.mark.usefixtures("always")
def test_a_disk_that_is_full_for_a_while_ends_nothing() -> None:
    work = Counting(full={3, 4, 5})
    assert work.carry_out() == list(range(10))
    assert [len(w) for w in work.written] == [1, 2, 6, 7, 8, 9, 10, 10]


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(("full", "n_made"), [({1}, 1), ({11}, 10)])
def test_a_full_disk_is_told_at_first_and_at_last_with_what_was_made(full: set[int], n_made: int) -> None:
    work = Counting(full)
    with pytest.raises(mm.DataError, match="no room") as caught:
        work.carry_out()
    assert caught.value.partial == list(range(n_made))  # type: ignore[attr-defined]


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), MemoryError(), SystemExit(1)], ids=repr)
def test_what_ends_work_is_raised_again_and_what_was_made_is_written(ends: BaseException) -> None:
    for full in (set(), {1}):
        work = Counting(full)
        with pytest.raises(type(ends)) as caught:
            work.carry_out(ends)
        assert caught.value.partial == list(range(7))  # type: ignore[attr-defined]
        assert work.written == ([] if full else [list(range(7))])
    assert ends.__notes__ == ["no room"]


def test_a_full_disk_at_the_end_leaves_the_replicates_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fit, path = sleep_fit(), tmp_path / "boot"
    fit.bootstrap(3, seed=1, path=path, progress=False)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(mm.DataError, match=r"No space left on device\. The file that was") as caught:
        fit.bootstrap(8, path=path, progress=False)
    monkeypatch.undo()
    assert same(caught.value.partial, fit.bootstrap(8, seed=1, progress=False))  # type: ignore[attr-defined]
    assert n_replicates(mm.load(path)) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["boot"]
