"""Whatever is typed, on whatever data: a result, or an error of ours that one sentence says."""

from __future__ import annotations

import random
import warnings

import pandas as pd
import pytest

import mixedmodels as mm
from unit.formula.random_formulas import random_formula, random_frame

N_FORMULAS = 60


def check_sentence(error: mm.MixedModelsError) -> None:
    """A message is one line, with the formula and a caret below where a place is shown, without inner names."""
    message = str(error)
    shows_place = isinstance(error, mm.FormulaError) and error.text is not None
    assert message.count("\n") == (2 if shows_place else 0)
    assert message.replace("\n", "").isprintable()
    assert 0 < len(message.split("\n", maxsplit=1)[0]) < 800
    for inner in ("np.int", "np.float", "Timestamp(", "_column_", "_quoted_", "Factor(", "<lambda>"):
        assert inner not in message or inner in str(getattr(error, "text", ""))


def try_out(formula: str, data: pd.DataFrame) -> bool:
    """Return whether a formula can be fitted; the fit is printed and predicts."""
    try:
        fit = mm.lmer(formula, data)
        str(fit.summary())
        fit.predict(data.iloc[:5], new_levels="population")
    except mm.MixedModelsError as error:
        check_sentence(error)
        return False
    return True


@pytest.mark.parametrize("seed", range(8))
def test_only_results_or_errors_of_ours(seed: int) -> None:
    draw = random.Random(seed)
    fitted = []
    for _ in range(N_FORMULAS):
        data, formula = random_frame(draw), random_formula(draw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mm.MixedModelsWarning)
            try:
                fitted.append(try_out(formula, data))
            except BaseException as error:
                error.add_note(f"{formula!r} on {dict(data.dtypes)}, {len(data)} rows")
                raise
    assert 0.15 < sum(fitted) / N_FORMULAS < 0.85
