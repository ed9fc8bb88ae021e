"""Formulas of number columns as they are need no evaluation; nothing tells that they had none."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.mixedlm.reading import formulas

RNG = np.random.default_rng(7)
DATA = pd.DataFrame({"g": np.repeat(np.arange(8), 6), "u": RNG.normal(size=48), "k": RNG.integers(0, 4, 48)})
DATA["v"] = DATA.u + RNG.normal(size=8)[DATA.g] * (1 + 0.5 * DATA.u) + RNG.normal(size=48)
DATA["f"] = np.where(DATA.k > 1, "b", "a")

FORMULAS = [("v ~ u", None), ("v ~ u + k", "~u"), ("v ~ 0 + u", None), ("v ~ k + u - 1", "~0 + u"), ("v ~ 1", "~k")]


def by_patsy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "infos_of_numbers", lambda text: None)


def all_of(result: mm.MixedLMResults) -> dict[str, object]:
    info = result.model.data.design_info
    new = DATA.iloc[5:20].assign(u=lambda d: d.u + 1)
    return {
        "params": result.params.to_dict(),
        "names": (result.model.exog_names, result.model.endog_names, list(result.params.index)),
        "arrays": (result.model.exog.tobytes(), result.model.endog.tobytes(), result.model.exog_re.tobytes()),
        "columns": (
            info.column_names,
            info.term_names,
            {k: (s.start, s.stop) for k, s in info.term_name_slices.items()},
        ),
        "predictions": np.asarray(result.predict(new)).tobytes(),
        "summary": str(result.summary()),
    }


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
@pytest.mark.parametrize(("formula", "re_formula"), FORMULAS)
def test_they_are_what_patsy_makes_of_them(
    formula: str, re_formula: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = mm.mixedlm(formula, DATA, groups="g", re_formula=re_formula).fit()
    assert formulas.infos_of_numbers(formula) is not None
    by_patsy(monkeypatch)
    there = mm.mixedlm(formula, DATA, groups="g", re_formula=re_formula).fit()
    assert all_of(here) == all_of(there)
    again = pickle.loads(pickle.dumps(here))
    assert all_of(again) == all_of(there)


@pytest.mark.parametrize(
    "data",
    [
        DATA.assign(u=DATA.f),
        DATA.assign(u=DATA.u > 0),
        DATA.assign(u=pd.Categorical(DATA.k)),
        DATA.assign(u=DATA.u.astype("Float64")),
        DATA.assign(u=DATA.k.astype("int8")),
        DATA.assign(u=DATA.u.astype("float32")),
        DATA.assign(u=DATA.u.where(DATA.u < 1)),
    ],
    ids=["text", "boolean", "category", "nullable", "bytes", "single", "missing"],
)
def test_after_numbers_other_columns_are_read_as_what_they_are(
    data: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = mm.mixedlm("v ~ u", DATA, groups="g").fit()
    here = mm.mixedlm("v ~ u", data, groups="g", missing="drop").fit()
    assert mm.mixedlm("v ~ u", DATA, groups="g").fit().params.equals(numbers.params)
    by_patsy(monkeypatch)
    there = mm.mixedlm("v ~ u", data, groups="g", missing="drop").fit()
    assert here.params.equals(there.params)
    assert here.model.exog_names == there.model.exog_names


def test_what_is_refused_is_refused_after_numbers_too() -> None:
    mm.mixedlm("v ~ u", DATA, groups="g").fit()
    with pytest.raises(mm.DataError, match="no column 'u'"):
        mm.mixedlm("v ~ u", DATA.drop(columns="u"), groups="g")
    with pytest.raises(mm.DataError, match="missing values"):
        mm.mixedlm("v ~ u", DATA.assign(u=DATA.u.where(DATA.u < 1)), groups="g")
    with pytest.raises(mm.MixedModelsError):
        mm.mixedlm("v ~ u", DATA.assign(u=np.where(DATA.u > 1, np.inf, DATA.u)), groups="g").fit()


def test_a_name_that_the_caller_knows_is_left_to_patsy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in statsmodels, new data without a column take the caller's variable of that name."""

    def predicted() -> bytes:
        w = np.arange(3.0)
        result = mm.mixedlm("v ~ w", DATA.assign(w=DATA.u), groups="g").fit()
        assert w.tolist() == [0, 1, 2]
        return np.asarray(result.predict(pd.DataFrame({"g": [0, 1, 2]}))).tobytes()

    def unknown() -> None:
        result = mm.mixedlm("v ~ w", DATA.assign(w=DATA.u), groups="g").fit()
        with pytest.raises(mm.DataError, match="no column 'w'"):
            result.predict(pd.DataFrame({"g": [0, 1, 2]}))

    unknown()
    here = predicted()
    unknown()
    by_patsy(monkeypatch)
    assert here == predicted()
    unknown()


def test_no_more_formulas_are_remembered_than_said() -> None:
    assert formulas.infos_of_numbers.cache_info().maxsize is not None
    for text in ("v ~ u:k", "v ~ np.log(u)", "v ~ C(k)", "v ~ Q('u')", "v ~ u + I(u**2)", "log(v) ~ u", "v ~ 0"):
        assert formulas.infos_of_numbers(text) is None
