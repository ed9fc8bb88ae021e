"""drop1 and step where R has no numbers: twins, messy data, rows that stay, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mixedmodels as mm
from mixedmodels.inference import drop1

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")


def messy() -> pd.DataFrame:
    """Return unbalanced data with gaps, an empty cell, a far covariate, weights, and a column that others make up."""
    rng = np.random.default_rng(11)
    n = 240
    data = pd.DataFrame({
        "a": rng.choice(list("pqr"), n), "b": rng.choice(["low", "high"], n), "x": 1e6 + rng.normal(size=n),
        "z": rng.normal(size=n), "g": np.repeat(np.arange(24), 10), "h": rng.integers(0, 6, n),
        "w": rng.uniform(0.5, 2.0, n), "my col": rng.normal(size=n),
    })  # fmt: skip
    data = data[(data.a != "r") | (data.b != "high")].reset_index(drop=True)
    data["twice"] = 2 * data["z"]
    data["y"] = data["z"] + (data["a"] == "q") + rng.normal(size=24)[data["g"]] + rng.normal(size=len(data))
    data.loc[::17, "my col"] = np.nan
    data.loc[[3, 8], "y"] = np.nan
    return data


DATA = messy()
FULL = "y ~ a * b + x + z + `my col` + (z | g) + (1 | h)"


def test_the_last_numeric_term_is_its_t_test() -> None:
    fit = mm.lmer("y ~ a + x + z + (1 | g)", DATA, weights="w")
    for ddf in ("satterthwaite", "kenward-roger", "residual", "CR2"):
        table, coefficients = fit.drop1(ddf=ddf), fit.coef_table(ddf)
        for name in ("x", "z"):
            assert table.loc[name, "f_value"] == pytest.approx(coefficients.loc[name, "statistic"] ** 2, rel=1e-8)
            assert table.loc[name, "p_value"] == pytest.approx(coefficients.loc[name, "p_value"], rel=1e-7)


@pytest.mark.parametrize("coding", ["sum", "helmert"])
def test_no_coding_changes_it(coding: str) -> None:
    one, other = mm.lmer(FULL, DATA), mm.lmer(FULL, DATA, contrasts=coding)
    for test in ("F", "LRT"):
        pd.testing.assert_frame_equal(one.drop1(test), other.drop1(test), rtol=1e-5)


def test_the_likelihood_ratio_is_that_of_both_fits() -> None:
    """By hand, to the rows that the full model uses."""
    fit = mm.lmer(FULL, DATA, weights="w", offset="x")
    used = DATA.dropna()
    table = fit.drop1("LRT")
    ml = mm.lmer(FULL, used, weights="w", offset="x", reml=False)
    assert table.loc["<none>", ["aic", "deviance"]].tolist() == pytest.approx([ml.aic, ml.deviance], abs=1e-6)
    for name, text in (("a:b", "a:b"), ("x", "x"), ("z", "z"), ("my col", "`my col`")):
        smaller = mm.lmer(f"{FULL} - {text}", used, weights="w", offset="x", reml=False)
        assert table.loc[name, "chisq"] == pytest.approx(smaller.deviance - ml.deviance, abs=1e-5)
        assert table.loc[name, "df"] == ml.df_model_total - smaller.df_model_total
        assert table.loc[name, "n_params"] == smaller.df_model_total


def test_contained_terms_are_not_tested() -> None:
    assert list(mm.lmer("y ~ a * z + x + (1 | g)", DATA).drop1().index) == ["x", "a:z"]
    assert list(mm.lmer("y ~ a * b * z + (1 | g)", DATA).drop1().index) == ["a:b:z"]


def test_a_term_that_others_make_up_has_no_test() -> None:
    """Either of two columns that say the same can go without loss, whichever the fit kept."""
    fit = mm.lmer("y ~ z + twice + a + (1 | g)", DATA)
    for test, column in (("F", "num_df"), ("LRT", "df")):
        table = fit.drop1(test)
        assert table.loc[["z", "twice"], column].tolist() == [0, 0]
        assert table.loc[["z", "twice"], "p_value"].isna().all()
        assert table.loc["a", column] == 2


def test_fits_without_terms() -> None:
    fit = mm.lmer("y ~ 1 + (1 | g)", DATA)
    assert len(fit.drop1()) == 0
    assert list(fit.drop1("LRT").index) == ["<none>"]
    assert len(fit.step().fixed) == 0
    nothing = mm.lmer("y ~ 0 + (1 | g)", DATA)
    assert len(nothing.drop1()) == 0


def as_mapping(data: pd.DataFrame) -> dict[str, Any]:
    return {name: data[name].tolist() for name in data}


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas, as_mapping])
def test_all_models_have_the_rows_of_the_first(kind: Callable[[pd.DataFrame], Any]) -> None:
    """A column with gaps goes, its rows do not come back; weights and offsets given as arrays stay with their rows."""
    offset = np.sin(np.arange(len(DATA)))
    fit = mm.lmer(FULL, kind(DATA), weights=DATA["w"].to_numpy(), offset=offset)
    steps = fit.step()
    left = steps.fit
    assert steps.fixed.loc["my col", "eliminated"] > 0
    assert left.nobs == fit.nobs < DATA["y"].notna().sum()
    rows = DATA.dropna().index
    again = mm.lmer(left.formula, DATA.loc[rows], weights=DATA.loc[rows, "w"].to_numpy(), offset=offset[rows])
    assert left.deviance == pytest.approx(again.deviance, abs=1e-7)
    assert left.update(". ~ .").deviance == pytest.approx(left.deviance, abs=1e-7)


def test_what_is_kept_stays() -> None:
    fit = mm.lmer(FULL, DATA)
    left = fit.step(keep=["a:b", "x"])
    assert {"a:b", "x"} <= set(left.fixed.index[left.fixed["eliminated"] == 0])
    assert "a + b" in left.fit.formula
    alone = fit.step(alpha_random=1, alpha_fixed=1)
    assert alone.fit.deviance == pytest.approx(fit.deviance)
    assert (alone.fixed["eliminated"] == 0).all()


def test_the_last_random_term_stays() -> None:
    rng = np.random.default_rng(5)
    noise = DATA.assign(y=rng.normal(size=len(DATA)))
    steps = mm.lmer("y ~ z + (z | g) + (1 | h)", noise).step(alpha_random=1e-6)
    assert steps.fit.formula.count("|") == 1
    assert any("stays, since a mixed model has a random term" in note for note in steps.random.attrs["notes"])
    assert repr(steps).endswith(f"Left: {steps.fit.formula}")


def test_a_dot_stands_for_what_it_stood_for() -> None:
    """Columns left of a bar alone are not what the dot stands for."""
    data = DATA[["y", "a", "z", "g"]].assign(slope=DATA["x"] - 1e6)
    steps = mm.lmer("y ~ . - slope + (slope | g)", data).step(alpha_fixed=1e-12, alpha_random=1)
    assert "slope" not in steps.fixed.index
    assert set(steps.fixed.index) == {"a", "z"}


def test_a_split_category_keeps_its_intercept() -> None:
    """Without it, the columns that are left are no formula's: so it is not taken out."""
    rng = np.random.default_rng(2)
    data = DATA.assign(y=rng.normal(size=len(DATA)))
    steps = mm.lmer("y ~ z + (b || g)", data).step(alpha_random=1e-3)
    assert "(1 | g)" in steps.fit.formula


def test_refusals() -> None:
    fit = mm.lmer("y ~ a + z + (1 | g)", DATA)
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: fit.drop1("Chisq"), "must be 'F' or 'LRT'.* Did you mean 'LRT'"),
        (lambda: fit.drop1(ddf="satterthwait"), "Did you mean 'satterthwaite'"),
        (lambda: fit.step(keep="zz"), "keep names 'zz', which is no term of the fixed part; there are a, z"),
        (lambda: fit.step(alpha_fixed=5), "alpha_fixed is 5"),
        (lambda: fit.step(alpha_random=0), "alpha_random is 0"),
        (lambda: fit.refit(np.sin(np.arange(len(DATA)))).step(), "step needs the data of the fit"),
        (lambda: mm.step, "fit.drop1\\(\\) or fit.step\\(\\)"),
    ]
    for ask, says in cases:
        with pytest.raises(mm.MixedModelsError, match=says):
            ask()


def test_an_interrupt_of_drop1_keeps_the_tests_that_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    data = mm.load_dataset("sleepstudy").assign(w=lambda d: d["Days"] % 3, v=lambda d: d["Days"] % 2)
    fit = mm.lmer("Reaction ~ Days + w + v + (1 | Subject)", data)
    whole, refit, calls = fit.drop1("LRT"), drop1.fit_problem, iter(range(9))

    def impatient(*arguments: Any, **options: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return refit(*arguments, **options)

    monkeypatch.setattr(drop1, "fit_problem", impatient)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit.drop1("LRT")
    part = caught.value.partial  # type: ignore[attr-defined]
    pd.testing.assert_frame_equal(part, whole.iloc[:3])
    assert part.attrs["notes"][-1] == "The tests were interrupted: 2 of 3 were made."
    assert part.attrs["notes"][-1] in repr(part)
    calls = iter([0, 3])
    with pytest.raises(KeyboardInterrupt) as caught:
        fit.drop1("LRT")
    assert caught.value.partial is None  # type: ignore[attr-defined]
