"""Formulas that strangers write: what can be run by them, and that the rest is refused before anything is run."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mixedmodels as mm
from mixedmodels.design.functions import FUNCTIONS as KNOWN
from mixedmodels.formula.restricted import CODINGS, FUNCTIONS, OF_NUMPY

DATA = mm.load_dataset("sleepstudy").assign(arm=lambda d: d["Subject"].astype(str).str[-1], z=np.arange(180) % 7 + 1.0)

ALLOWED = [
    "Reaction ~ Days + (Days | Subject)",
    "log(Reaction) ~ poly(Days, 2) + I(z**2) + (1 | Subject)",
    "Reaction ~ C(arm, contr.treatment('4')) * Days + (1 | Subject)",
    "Reaction ~ bs(Days, knots=[2, 5], degree=2) + np.minimum(z, 3) + (0 + I(Days / 10) | Subject)",
    "Reaction ~ I(arm == '4') + I((Days > 2) & ~(z < 3)) + offset(2 * z) + (1 | Subject)",
    "np.log10(Reaction) ~ scale(Days) + I(z**-1) + I(2.0 * -z % 3 // 1) + (1 | Subject)",
    "Reaction ~ np.where(z > 3, 1, 0) + round(Days / 2, 1) + I(Days**z * 0) + (1 | Subject:C(z > 3))",
]
REFUSED = [
    "np.load('x')",
    "I(np.fromfile('x'))",
    "I(Days.map(print))",
    "I(Days.__class__)",
    "I(().__class__.__base__)",
    "np.abs.__call__(Days)",
    "I([x for x in Days])",
    "I((lambda: 1)())",
    "I(Days[0])",
    "I(f'{Days}')",
    "I('a' * 9)",
    "I([1] * 9)",
    "I(9**9**9)",
    "I((TRUE * 9)**100)",
    "I(Days**(9**9))",
    "I(Days**101)",
    "I(1 << 9)",
    "I(1 if Days else 2)",
    "I(Days and 2)",
    "I(*Days)",
    "I(**Days)",
    "I(Days := 1)",
    "eval('1')",
    "str(Days)",
    "map(print, Days)",
    "hashed(Days, levels=3, hash_func=print)",
    "contr.custom(Days)",
    "{Days.sum()}",
    "C(arm, np.eye(3))",
    "np.lib.format.open_memmap('x')",
]


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
@pytest.mark.parametrize("formula", ALLOWED)
def test_restricted_fits_are_the_same(formula: str) -> None:
    restricted = mm.lmer(formula, DATA, evaluate="restricted")
    assert restricted.deviance == mm.lmer(formula, DATA).deviance


@pytest.mark.parametrize(
    "place",
    [
        "Reaction ~ {} + (1 | Subject)",
        "Reaction ~ 1 + ({} | Subject)",
        "{} ~ 1 + (1 | Subject)",
        "Reaction ~ offset({}) + (1 | Subject)",
        "Reaction ~ Days + (1 | Subject:{})",
    ],
)
@pytest.mark.parametrize("expression", REFUSED)
def test_anything_else_is_refused(expression: str, place: str) -> None:
    with pytest.raises(mm.FormulaError):
        mm.lmer(place.format(expression), DATA, evaluate="restricted")


def test_refusals_come_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    formula = "Reaction ~ I(Days.map(print)) + (1 | Subject)"
    with pytest.raises(mm.FormulaError, match=r"has 'Days\.map', which is no listed function\. With evaluate"):
        mm.lmer(formula, DATA, evaluate="restricted")
    assert capsys.readouterr().out == ""


def test_updates_stay_restricted(tmp_path: Path) -> None:
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", DATA, evaluate="restricted")
    fit.save(tmp_path / "fit")
    for each in (fit, fit.update(reml=False), mm.load(tmp_path / "fit"), pickle.loads(pickle.dumps(fit))):
        with pytest.raises(mm.FormulaError, match="no listed function"):
            each.update(". ~ . + I(Days.abs())")
    assert fit.update(". ~ . + log(z)").nobs == 180


def test_contrasts_are_restricted_too() -> None:
    formula = "Reaction ~ arm + (1 | Subject)"
    mm.lmer(formula, DATA, contrasts={"arm": "treatment('4')"}, evaluate="restricted")
    with pytest.raises(mm.FormulaError, match="which is no listed function"):
        mm.lmer(formula, DATA, contrasts={"arm": "np.load('x')"}, evaluate="restricted")


def test_there_are_two_ways() -> None:
    with pytest.raises(mm.FormulaError, match=r"evaluate is 'restrict'; it must be .* Did you mean 'restricted'"):
        mm.lmer("Reaction ~ Days + (1 | Subject)", DATA, evaluate="restrict")


def test_listed_functions_are_known() -> None:
    assert set(KNOWN) | {"abs", "round"} >= FUNCTIONS
    assert all(hasattr(np, name) for name in OF_NUMPY)
    assert all(hasattr(KNOWN["contr"], name) for name in CODINGS)
    assert not any(hasattr(getattr(np, name), "load") for name in OF_NUMPY)


def test_the_command_refuses_python_when_told() -> None:
    command = [sys.executable, "-m", "mixedmodels", "fit", "sleepstudy", "Reaction ~ I(Days.abs()) + (1 | Subject)"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    done = subprocess.run([*command, "--no-python"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'Days.abs', which is no listed function" in done.stderr


def test_the_command_opens_local_files_only() -> None:
    for address in ("http://127.0.0.1:9/data.csv", "s3://bucket/data.parquet", "file:///data.csv"):
        command = [sys.executable, "-m", "mixedmodels", "fit", address, "y ~ 1 + (1 | g)"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "this command opens local files only" in done.stderr
