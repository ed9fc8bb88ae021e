"""Bootstraps in files: saved, loaded, killed and gone on with."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.fit import checkpoint
from mixedmodels.inference.bootstrap import Bootstrap

SLEEP = mm.load_dataset("sleepstudy")
KINDS = ("parametric", "residual", "cases")


@pytest.fixture(scope="module")
def fit() -> mm.LmmResult:
    return mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)


def assert_same(one: Bootstrap, other: Bootstrap) -> None:
    pd.testing.assert_frame_equal(one.replicates, other.replicates, check_exact=True)
    pd.testing.assert_frame_equal(one.std_errors, other.std_errors, check_exact=True)
    assert (one.n_failed, one.n_singular, one.failures) == (other.n_failed, other.n_singular, other.failures)
    assert one.n_asked == other.n_asked


@pytest.mark.parametrize("kind", KINDS)
def test_pickled_and_saved_ones_go_on_with_the_same_numbers(fit: mm.LmmResult, kind: str, tmp_path: Path) -> None:
    boot, whole = (fit.bootstrap(n, seed=1, kind=kind, progress=False) for n in (10, 25))
    boot.save(tmp_path / "boot")
    for again in (pickle.loads(pickle.dumps(boot)), mm.load(tmp_path / "boot")):
        assert_same(again, boot)
        assert_same(again.extend(15), whole)
        for interval in ("percentile", "basic", "bca", "studentized"):
            pd.testing.assert_frame_equal(again.conf_int(interval), boot.conf_int(interval))
        assert repr(again) == repr(boot)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_gone_on_with(fit: mm.LmmResult, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "boot"
    fit.bootstrap(10, seed=3, kind=kind, path=path, progress=False)
    again = fit.bootstrap(25, kind=kind, path=path, progress=False)
    assert_same(again, fit.bootstrap(25, seed=3, kind=kind, progress=False))
    assert_same(mm.load(path), again)
    assert len(fit.bootstrap(5, kind=kind, path=path, progress=False).replicates) == 25


def test_intervals_of_a_kept_bootstrap(fit: mm.LmmResult, tmp_path: Path) -> None:
    path = tmp_path / "boot"
    fit.bootstrap(10, seed=3, path=path, progress=False)
    kept = fit.conf_int(method="bootstrap", n=25, path=path)
    pd.testing.assert_frame_equal(kept, fit.conf_int(method="bootstrap", n=25, seed=3))
    assert len(mm.load(path).replicates) == 25


def widest(result: mm.LmmResult) -> dict[str, float]:
    """Return a statistic of the user's."""
    return {"widest": float(result.random_effects["Subject"]["Days"].max())}


def test_a_statistic_is_named_in_the_file_and_given_again(fit: mm.LmmResult, tmp_path: Path) -> None:
    path = tmp_path / "boot"
    boot = fit.bootstrap(6, seed=3, statistic=widest, path=path, progress=False)
    with ZipFile(path) as file:
        assert json.loads(file.read("about.json"))["left out"] == [f"the function '{__name__}.widest'"]
    again = mm.load(path)
    pd.testing.assert_frame_equal(again.conf_int(), boot.conf_int())
    for ask in (lambda: again.extend(1), lambda: again.conf_int("bca")):
        with pytest.raises(mm.InferenceError, match=r"needs the function '.*widest', which the file of the bootstrap"):
            ask()
    more = fit.bootstrap(9, statistic=widest, path=path, progress=False)
    assert_same(more, fit.bootstrap(9, seed=3, statistic=widest, progress=False))


def test_files_of_something_else_are_refused(fit: mm.LmmResult, tmp_path: Path) -> None:
    path = tmp_path / "boot"
    fit.bootstrap(3, seed=3, path=path, progress=False)
    with pytest.raises(mm.InferenceError, match="holds a bootstrap with kind='parametric', not 'residual'"):
        fit.bootstrap(5, kind="residual", path=path, progress=False)
    with pytest.raises(mm.InferenceError, match="holds a bootstrap with seed=3, not 4"):
        fit.bootstrap(5, seed=4, path=path, progress=False)
    with pytest.raises(mm.InferenceError, match="of another statistic"):
        fit.bootstrap(5, statistic=widest, path=path, progress=False)
    for other in (
        fit.update(reml=False),
        fit.refit(SLEEP["Reaction"] + 1),
        mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP),
    ):
        with pytest.raises(mm.InferenceError, match="of another fit: its model, data or parameters differ"):
            other.bootstrap(5, path=path, progress=False)
    assert len(mm.load(path).replicates) == 3
    fit.save(path)
    with pytest.raises(mm.DataError, match="holds a fit, not a bootstrap"):
        fit.bootstrap(5, path=path, progress=False)


def test_an_interrupt_leaves_the_file(fit: mm.LmmResult, tmp_path: Path) -> None:
    path = tmp_path / "boot"
    calls = iter(range(100))

    def impatient(result: mm.LmmResult) -> float:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return result.sigma

    with pytest.raises(KeyboardInterrupt):
        fit.bootstrap(20, seed=1, statistic=impatient, path=path, progress=False)
    note = "The bootstrap was interrupted: 3 of 20 replicates were made."
    with pytest.warns(mm.PartialResultWarning, match=note) as warned:
        kept = mm.load(path)
    assert warned[0].filename == __file__
    for ask in (kept.conf_int, kept.summary):
        with pytest.warns(mm.PartialResultWarning, match=note) as warned:
            table = ask()
        assert warned[0].filename == __file__
        assert table.attrs["notes"] == kept.notes == [note]
    assert note in repr(kept)
    whole = fit.bootstrap(5, statistic=lambda result: result.sigma, path=path, progress=False)
    assert whole.notes == whole.conf_int().attrs["notes"] == []


def test_an_interrupt_before_the_first_replicate(fit: mm.LmmResult) -> None:
    calls = iter(range(3))

    def impatient(result: mm.LmmResult) -> float:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return result.sigma

    with pytest.raises(KeyboardInterrupt) as caught:
        fit.bootstrap(20, seed=1, statistic=impatient, progress=False)
    assert caught.value.partial is None  # type: ignore[attr-defined]


def test_writing_takes_a_small_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    written = []
    monkeypatch.setattr(checkpoint, "monotonic", lambda: now)

    def write() -> None:
        nonlocal now
        now += 3.0
        written.append(now)

    kept = checkpoint.Checkpoint(write)
    while now < 200:
        now += 0.5
        kept.offer()
    assert written == [4.0, 67.0, 130.0, 193.0]  # 3 seconds in each 63: after one, then when they are 5 in 100


def test_a_fit_of_the_door(tmp_path: Path) -> None:
    fit = mm.mixedlm("Reaction ~ Days", SLEEP, groups="Subject").fit()
    boot = fit.bootstrap(4, seed=1, progress=False)
    boot.save(tmp_path / "boot")
    again = mm.load(tmp_path / "boot")
    assert_same(again.extend(2), fit.bootstrap(6, seed=1, progress=False))
    np.testing.assert_array_equal(again.estimates, boot.estimates)
