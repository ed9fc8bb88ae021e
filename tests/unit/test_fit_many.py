"""Many models in one call: what each is, what fails, what is done side by side, and what Ctrl-C leaves."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import threading
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import mixedmodels as mm

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")


def messy() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    data = pd.DataFrame({
        "y": rng.normal(size=240), "my z": rng.uniform(1, 2, 240), "x": rng.normal(size=240) + 1e6,
        "f": rng.choice(list("abc"), 240), "g": np.repeat(np.arange(24), 10),
        "part": np.repeat(["n", "s", "tiny", None], 60), "w": rng.uniform(0.5, 2, 240),
    })  # fmt: skip
    data.loc[data["part"] == "tiny", "y"] = np.nan
    data.loc[::13, "x"] = np.nan
    return data


DATA = messy()
MODULE: Any = import_module("mixedmodels.fit_many")  # as an attribute of the package it is the function
FORMULAS = {"small": "y ~ x + (1 | g)", "large": "y ~ x + f + (x | g)"}


def same(ours: mm.LmmResult, theirs: mm.LmmResult) -> None:
    assert ours.formula.replace(" ", "") == theirs.formula.replace(" ", "")
    assert ours.deviance == theirs.deviance
    assert ours.nobs == theirs.nobs
    assert ours.fe_params.to_dict() == theirs.fe_params.to_dict()


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_each_is_the_fit_by_itself(n_jobs: int) -> None:
    offset = np.cos(np.arange(240))
    many = mm.fit_many(
        FORMULAS, DATA, responses=["y", "my z"], split="part", weights="w", offset=offset,
        reml=False, n_jobs=n_jobs, progress=False,
    )  # fmt: skip
    assert many.names == ("model", "response", "part")
    assert len(many) == 2 * 2 * 3
    for (name, response, part), fit in many.fits.items():
        rows = np.flatnonzero(DATA["part"] == part)
        formula = FORMULAS[name].replace("y ~", f"{'`my z`' if ' ' in response else response} ~")
        same(fit, mm.lmer(formula, DATA.iloc[rows], weights="w", offset=offset[rows], reml=False))
        assert many[name, response, part] is fit
    assert list(many.fits) == [label for label in many.labels if label[1:] != ("y", "tiny")]


def test_failures_keep_their_place() -> None:
    many = mm.fit_many("y ~ x + (1 | g)", DATA, split="part", progress=False)
    assert list(many.table.index) == ["n", "s", "tiny"]
    assert "Values are missing in all 60 rows" in many.table.loc["tiny", "note"]
    assert many.table.loc["tiny"].drop("note").isna().all()
    assert many.table.loc["n", "nobs"] == many["n"].nobs
    rows = many.coef_table()
    assert list(rows.index.names) == ["part", "term"]
    np.testing.assert_array_equal(rows.loc["s"].drop(columns="note"), many["s"].coef_table())
    assert len(rows.loc["tiny"]) == 1
    assert rows.loc["tiny"].drop(columns="note").isna().all(axis=None)
    assert "tiny" in repr(many)
    assert "tiny" in many._repr_html_()
    with pytest.raises(mm.DataError, match="Values are missing in all 60 rows"):
        many["tiny"]
    with pytest.raises(mm.InferenceError, match="There is no model 'x'; models are told apart by part"):
        many["x"]


def test_notes_are_the_findings_that_a_fit_warns_of() -> None:
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"a": rng.normal(size=60), "g": np.repeat(np.arange(10), 6)})
    data["b"] = data["a"] - data.groupby("g")["a"].transform("mean")  # no variance between groups
    table = mm.fit_many("a ~ 1 + (1 | g)", data, responses=["a", "b"], progress=False).table
    assert table["note"].to_dict() == {"a": "singular" if table.loc["a", "is_singular"] else "", "b": "singular"}
    assert table.loc["b", "is_singular"]


def test_degrees_of_freedom_that_one_fit_does_not_have() -> None:
    many = mm.fit_many(FORMULAS, DATA, reml=False, progress=False)
    table = many.coef_table(ddf="kenward-roger")
    assert table["estimate"].isna().all()
    assert table["note"].str.contains("REML").all()
    with pytest.raises(mm.InferenceError, match="level is 2"):
        many.coef_table(level=2)


def test_what_all_fail_of_is_raised() -> None:
    with pytest.raises(mm.DataError, match=r"There is no column 'xx'.* Did you mean"):
        mm.fit_many("y ~ xx + (1 | g)", DATA, split="part", progress=False)


def test_kinds_of_data_and_of_formulas() -> None:
    here = mm.fit_many(["y ~ x + (1 | g)", "y ~ f + (1 | g)"], DATA, split="part", n_jobs=2, progress=False)
    polars = mm.fit_many(["y ~ x + (1 | g)", "y ~ f + (1 | g)"], pl.from_pandas(DATA), split="part", progress=False)
    lists = mm.fit_many(
        ("y ~ x + (1 | g)", "y ~ f + (1 | g)"),
        {name: DATA[name].tolist() for name in DATA},
        split="part",
        progress=False,
    )
    for other in (polars, lists):
        assert other.labels == here.labels
        for key, fit in here.fits.items():
            assert other.fits[key].deviance == pytest.approx(fit.deviance, abs=1e-9)
    one = mm.fit_many("~ x + (1 | g)", DATA, responses="log(`my z`)", progress=False)
    same(next(iter(one)), mm.lmer("log(`my z`) ~ x + (1 | g)", DATA))
    assert list(one.table.index) == ["~ x + (1 | g)"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"formulas": 3}, "formulas has 3"),
        ({"formulas": []}, r"formulas has \[\]"),
        ({"formulas": ["y ~ x + (1 | g)", 5]}, "formulas has 5"),
        ({"responses": []}, "responses is"),
        ({"responses": [1]}, "responses is"),
        ({"split": "prt"}, "no column 'prt'.* Did you mean 'part'"),
        ({"split": 4}, "split is 4"),
        ({"split": "w"}, "another value in each of its 240 rows"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"n_jobs": "all"}, "n_jobs"),
        ({"reml": "yes"}, "reml is 'yes'"),
        ({"family": "binomial"}, "no argument 'family'"),
    ],
)
def test_refusals(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(mm.MixedModelsError, match=says):
        mm.fit_many(**{"formulas": "y ~ x + (1 | g)", "data": DATA, "progress": False} | arguments)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_what_was_done_outlives_an_interruption(n_jobs: int) -> None:
    """In a process of its own: Ctrl-C as the fourth fit begins, when all but those that run are done."""
    code = f"""
        import os, signal, numpy as np, mixedmodels as mm
        import importlib, time
        module = importlib.import_module("mixedmodels.fit_many")
        fits, original = [], module.fit_identified
        def slow(*arguments, **options):
            fits.append(1)
            if len(fits) == 4:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.3)
            return original(*arguments, **options)
        module.fit_identified = slow
        sleep = mm.load_dataset("sleepstudy")
        try:
            mm.fit_many("Reaction ~ Days + (1 | Subject)", sleep, responses=["Reaction + %d" % k for k in range(200)],
                        n_jobs={n_jobs}, progress=False)
        except KeyboardInterrupt as error:
            done = error.partial
            print({4 - n_jobs} <= len(done.fits) < 200, done.table["note"].iloc[-1], len(done))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True Not fitted: interrupted. 200", done.stderr


def test_nothing_done_is_no_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MODULE, "build_problem", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        mm.fit_many(FORMULAS, DATA, n_jobs=1, progress=False)
    assert caught.value.partial is None  # type: ignore[attr-defined]


def test_models_are_fitted_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two meet in the middle of their fits, which none passes alone."""
    meeting = threading.Barrier(2, timeout=20)
    original = MODULE.fit_identified

    def meet(*arguments: Any, **options: Any) -> Any:
        meeting.wait()
        return original(*arguments, **options)

    monkeypatch.setattr(MODULE, "fit_identified", meet)
    assert len(mm.fit_many(FORMULAS, DATA, n_jobs=2, progress=False).fits) == 2


def test_rows_without_a_value_of_the_split_are_told() -> None:
    data = DATA.assign(part=DATA["part"].where(np.arange(len(DATA)) % 5 > 0))
    n = int(data["part"].isna().sum())
    many = mm.fit_many("y ~ x + (1 | g)", data, split="part", progress=False)
    note = f"Rows in no part, because part is missing there: {n}."
    assert all(note in told for told in (many.table.attrs["notes"], many.coef_table().attrs["notes"], repr(many)))
    without = mm.fit_many("y ~ x + (1 | g)", data.dropna(subset="part"), split="part", progress=False)
    assert not without.table.attrs.get("notes")
    pd.testing.assert_frame_equal(many.coef_table(), without.coef_table())
    with pytest.raises(mm.DataError, match=f"'part' of split has missing values in {n} rows"):
        mm.fit_many("y ~ x + (1 | g)", data, split="part", missing="raise", progress=False)


def test_models_of_one_name_are_refused() -> None:
    one = "y ~ x + (1 | g)"
    for arguments, what in (
        ({"formulas": [one, one]}, f"formulas has '{re.escape(one)}' twice"),
        ({"formulas": {1: one, "1": FORMULAS["large"]}}, "formulas has '1' twice"),
        ({"formulas": one, "responses": ["y", "w", "y"]}, "responses has 'y' twice"),
    ):
        with pytest.raises(mm.FormulaError, match=what):
            mm.fit_many(data=DATA, progress=False, **arguments)  # type: ignore[arg-type]
    assert len(mm.fit_many([one, one.replace(" ", "")], DATA, progress=False).fits) == 2


# Files


def kept(path: Any, **changes: Any) -> mm.ManyFits:
    arguments: dict[str, Any] = {"formulas": FORMULAS, "data": DATA, "split": "part", "n_jobs": 1, "progress": False}
    return mm.fit_many(**arguments | {"weights": "w", "path": path} | changes)


def alike(one: mm.ManyFits, other: mm.ManyFits) -> None:
    pd.testing.assert_frame_equal(one.table, other.table)
    pd.testing.assert_frame_equal(one.coef_table(), other.coef_table())
    assert (one.table.attrs, one.labels, one.notes) == (other.table.attrs, other.labels, other.notes)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupted_run_goes_on_from_its_file(n_jobs: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, original, fitted = tmp_path / "many", MODULE.fit_identified, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        fitted.append(1)
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(MODULE, "fit_identified", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        kept(path, n_jobs=n_jobs)
    part = caught.value.partial  # type: ignore[attr-defined]
    with pytest.warns(mm.PartialResultWarning, match=r"fit_many was interrupted: \d of 6 models were done") as told:
        found = mm.load(path)
    assert told[0].filename == __file__
    alike(found, part)
    n_fitted = len(part.fits)
    assert part.table.attrs["notes"][-1] == part.notes[0]
    fitted[:] = [1] * 3
    whole = kept(path, n_jobs=n_jobs)
    assert len(fitted) - 3 == 4 - n_fitted  # two of the six fail before they are fitted
    alike(whole, kept(None))
    alike(whole, mm.load(path))
    fitted.clear()
    alike(kept(path), whole)
    assert not fitted


def test_fits_of_a_file_answer_as_those_that_were_just_made(tmp_path: Any) -> None:
    new, again, found = kept(tmp_path / "many"), kept(tmp_path / "many"), mm.load(tmp_path / "many")
    for key, fit in new.fits.items():
        for other in (again.fits[key], found.fits[key]):
            same(other, fit)
            assert other.conf_int(method="profile").equals(fit.conf_int(method="profile"))
        same(again.fits[key].update("my z ~ x + (1 | g)".replace("my z", "`my z`")), mm.lmer(
            "`my z` ~ x + (1 | g)", DATA[DATA["part"] == key[1]], weights="w"
        ))  # fmt: skip
    with pytest.raises(mm.DataError, match="Values are missing in all 60 rows"):
        found["small", "tiny"]
    assert set(found["small", "n"].call.data) == {"y", "x", "g", "w"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reml": False}, "with reml=True, not False"),
        ({"control": mm.Control(max_iterations=7)}, "with control={"),
        ({"split": None}, "of 6 other models"),
        (
            {"formulas": {"small": FORMULAS["small"], "large": "y ~ x + (1 | g)"}},
            r"whose \('large', 'n'\) is of another",
        ),
        ({"weights": None}, r"whose \('small', 'n'\) is of another formula or other data"),
        ({"data": DATA.assign(y=DATA["y"] + 1e-14)}, r"whose \('small', 'n'\) is of another formula"),
        ({"data": DATA.assign(g=DATA["g"] + 100)}, r"whose \('small', 'n'\) is of another formula or other data"),
        ({"data": DATA.drop(columns="x")}, r"whose \('small', 'n'\) cannot be fitted now: There is no column 'x'"),
    ],
)
def test_files_of_other_fits_are_refused(changes: dict[str, Any], says: str, tmp_path: Any) -> None:
    path = tmp_path / "many"
    kept(path)
    before = path.read_bytes()
    with pytest.raises(mm.InferenceError, match=f"many' holds a set of fits {says}.*"):
        kept(path, **changes)
    assert path.read_bytes() == before


def test_every_kind_of_error_comes_back_from_a_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [mm.FormulaError("no", "y ~", 2), mm.UnknownColumnError("no 'x'"), MemoryError("full")]
    original, raised = MODULE.build_problem, iter([*errors, mm.NotEnoughMemoryError("x")])

    def fails(call: Any) -> Any:
        for error in raised:
            raise error
        return original(call)

    monkeypatch.setattr(MODULE, "build_problem", fails)
    responses = ["y", "my z", "x", "w", "log(w)"]
    new = mm.fit_many("~ 1 + (1 | g)", DATA, responses=responses, n_jobs=1, path=tmp_path / "a", progress=False)
    for one, other in zip(new.outcomes[:4], mm.load(tmp_path / "a").outcomes[:4], strict=True):
        assert type(one) is type(other)
        assert str(one) == str(other)
        assert vars(one) == vars(other)
    assert len(new.fits) == 1
    assert len(mm.fit_many("~ 1 + (1 | g)", DATA, responses=responses, path=tmp_path / "a", progress=False).fits) == 5
