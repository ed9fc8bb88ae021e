"""Formulas of the door that strangers write: what can be run by them, and that the rest is refused before it is run."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import patsy
import pytest

import mixedmodels as mm
from data_loader import load
from mixedmodels.mixedlm.reading.restricted import CODINGS, FUNCTIONS

PASTES = load("Pastes").assign(x=lambda d: np.arange(len(d)) % 7 + 1.0, id=lambda d: np.arange(len(d)) % 3 + 1.0)
PASTES.columns = [{"x": "a name"}.get(name, name) for name in PASTES.columns]
PASTES = PASTES.assign(z=PASTES["a name"])

ALLOWED: list[dict[str, Any]] = [
    {"formula": "strength ~ z + I(z**2)"},
    {"formula": "np.log(strength) ~ C(cask, Treatment('b')) * standardize(z)", "re_formula": "~center(z)"},
    {"formula": "strength ~ Q('a name') + C(cask, Sum) + id"},
    {"formula": "strength ~ bs(z, df=4) + np.minimum(z, 3)", "vc_formula": {"cask": "0 + C(cask)"}},
    {"formula": "strength ~ 0 + cr(z, df=3) + np.exp(id) + I(2.0 * -z % 3 // 1)", "re_formula": "~0 + I(z / 9)"},
]
REFUSED = [
    "np.load('x')",
    "I(np.fromfile('x'))",
    "I(z.map(print))",
    "I(z.__class__)",
    "np.log.__call__(z)",
    "I([x for x in z])",
    "I((lambda: 1)())",
    "I(z[0])",
    "I('a' * 9)",
    "I(9**9**9)",
    "I(z**101)",
    "I(1 if z else 2)",
    "I(*z)",
    "eval('1')",
    "open('x')",
    "__import__('os')",
    "C(cask, breakpoint)",
    "C(cask, contrast=exit)",
    "C(cask, levels=print)",
    "exit",
    "I(PASTES)",
    "of_the_caller(z)",
    "C(cask, np.eye(3))",
    "ContrastMatrix(z, z)",
    "patsy.dmatrix(z)",
    "np.lib.format.open_memmap('x')",
]


def of_the_caller(values: Any) -> Any:
    return values


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
@pytest.mark.parametrize("formulas", ALLOWED)
def test_restricted_fits_are_the_same(formulas: dict[str, Any]) -> None:
    restricted = mm.mixedlm(data=PASTES, groups="batch", **formulas, evaluate="restricted").fit()
    other = mm.mixedlm(data=PASTES, groups="batch", **formulas).fit()
    assert restricted.llf == other.llf
    new = PASTES.iloc[:12]
    for fit in (restricted, pickle.loads(pickle.dumps(restricted))):
        found = fit.predict(new, random_effects="conditional")
        np.testing.assert_array_equal(found, other.predict(new, random_effects="conditional"))


@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"formula": f"strength ~ z + {text}"},
        lambda text: {"formula": f"I({text}) ~ z"},
        lambda text: {"formula": "strength ~ z", "re_formula": f"~{text}"},
        lambda text: {"formula": "strength ~ z", "vc_formula": {"v": f"0 + {text}"}},
        lambda text: {"formula": f"strength ~ z:{text}"},
    ],
)
@pytest.mark.parametrize("expression", REFUSED)
def test_anything_else_is_refused(expression: str, place: Any) -> None:
    with pytest.raises(
        (mm.FormulaError, mm.DataError), match=r"evaluate='restricted'|There is no column|cannot be read"
    ):
        mm.mixedlm(data=PASTES, groups="batch", **place(expression), evaluate="restricted")


def test_refusals_come_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(mm.FormulaError, match=r"has 'z\.map', which is no listed function\. With evaluate"):
        mm.mixedlm("strength ~ I(z.map(print))", PASTES, groups="batch", evaluate="restricted")
    with pytest.raises(mm.DataError, match="There is no column 'print'"):
        mm.mixedlm("strength ~ C(cask, print)", PASTES, groups="batch", evaluate="restricted")
    assert capsys.readouterr().out == ""


def test_there_are_two_ways() -> None:
    for wrong in ("restrict", None, 1):
        with pytest.raises(mm.DataError, match=r"evaluate is .* must be one of 'python', 'restricted'"):
            mm.mixedlm("strength ~ z", PASTES, groups="batch", evaluate=wrong)
    with pytest.raises(mm.DataError, match="eval_env goes with evaluate='python'"):
        mm.mixedlm("strength ~ z", PASTES, groups="batch", evaluate="restricted", eval_env=1)


def test_listed_functions_are_patsys() -> None:
    known = {*patsy.builtins.__all__, *vars(patsy)}
    assert known >= FUNCTIONS > CODINGS
