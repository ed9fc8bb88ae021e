"""What is compared, what is nested and what is refused; numbers are in the reference tests."""

from __future__ import annotations

import numpy as np
import pytest

import mixedmodels as mm

SLEEP = mm.load_dataset("sleepstudy")
MACHINES = mm.load_dataset("Machines")
COLUMNS = ["n_params", "aic", "bic", "llf", "deviance", "chisq", "df", "p_value"]


def fit(right: str, reml: bool = True) -> mm.LmmResult:
    return mm.lmer(f"Reaction ~ {right}", SLEEP, reml=reml)


def test_published_test() -> None:
    table = mm.compare(fit("Days + (Days | Subject)", False), fit("Days + (1 | Subject)", False))
    assert list(table.columns) == COLUMNS
    assert table["n_params"].to_list() == [4, 6]
    assert table["chisq"].iloc[1] == pytest.approx(42.1393, abs=1e-4)
    assert table["p_value"].iloc[1] == pytest.approx(7.0724e-10, rel=1e-4)


def test_other_fixed_parts_are_fitted_by_ml_and_it_says_so() -> None:
    fits = fit("1 + (1 | Subject)"), fit("Days + (1 | Subject)")
    table = mm.compare(*fits)
    by_ml = mm.compare(*(f.update(reml=False) for f in fits))
    np.testing.assert_allclose(table["deviance"], by_ml["deviance"], atol=1e-8)
    assert "Fitted anew by ML, because their fixed parts or weights differ" in repr(table)
    assert fits[0].reml
    with pytest.raises(mm.InferenceError, match="do not compare, because their fixed parts or weights differ"):
        mm.compare(*fits, refit=False)


def test_same_fixed_parts_stay_with_reml() -> None:
    table = mm.compare(fit("Days + (1 | Subject)"), fit("Days + (Days | Subject)"), refit=False)
    assert table["deviance"].iloc[1] == pytest.approx(1743.628272, abs=1e-5)


def test_ml_and_reml_together() -> None:
    table = mm.compare(fit("Days + (1 | Subject)"), fit("Days + (Days | Subject)", False))
    assert table["deviance"].iloc[1] == pytest.approx(1751.939344, abs=1e-5)
    assert "some were fitted by ML" in table.attrs["notes"][0]


@pytest.mark.parametrize(
    ("small", "large", "nested"),
    [
        ("Days + (1 | Subject)", "Days + (Days || Subject)", True),
        ("Days + (Days || Subject)", "Days + (Days | Subject)", True),
        ("Days + (I(Days + 1) + 0 | Subject)", "Days + (Days | Subject)", True),
        ("Days + (I(Days + 1) + 0 | Subject)", "Days + (Days || Subject)", False),
        ("I(Days**2) + (1 | Subject)", "Days + (Days | Subject)", False),
        ("I(Days - 4) + (1 | Subject)", "Days + I(Days**2) + (1 | Subject)", True),
    ],
)
def test_nesting(small: str, large: str, nested: bool) -> None:
    table = mm.compare(fit(small, False), fit(large, False))
    assert np.isfinite(table["p_value"].iloc[1]) == nested
    assert any("nested" in note for note in table.attrs["notes"]) != nested


def test_nested_grouping() -> None:
    fits = [mm.lmer(f"score ~ Machine + {r}", MACHINES) for r in ("(1 | Worker)", "(1 | Worker/Machine)")]
    assert mm.compare(*fits)["chisq"].iloc[1] == pytest.approx(71.190634, abs=1e-5)
    other = mm.lmer("score ~ Machine + (1 | Worker:Machine)", MACHINES)
    assert mm.compare(fits[0], other)["p_value"].isna().all()


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
@pytest.mark.parametrize(
    ("small", "large", "nested"),
    [
        ("(1 | Worker/Machine)", "(Machine | Worker)", True),
        ("(1 | Worker:Machine)", "(0 + Machine | Worker)", True),
        ("(1 | Worker/Machine)", "(Machine || Worker)", False),
        ("(1 | Worker) + (1 | Worker:third)", "(Machine | Worker)", False),
        ("(1 | Worker) + (1 | Worker:Machine:half)", "(Machine | Worker)", False),
        ("(1 | Worker) + (1 | Worker:position)", "(position | Worker)", False),
        ("(1 | Worker) + (1 | Worker:half)", "(half | Worker)", True),
    ],
)
def test_cells_of_a_level_are_compound_symmetry(small: str, large: str, nested: bool) -> None:
    data = MACHINES.assign(third=np.arange(54) % 3, position=np.arange(54) // 18, half=np.arange(54) % 2)
    fits = [mm.lmer(f"score ~ 1 + {random}", data, reml=False) for random in (small, large)]
    table = mm.compare(*fits)
    assert np.isfinite(table["chisq"].iloc[1]) == nested
    if nested:
        assert table["chisq"].iloc[1] >= 0


def test_missed_optimum_of_the_larger_model() -> None:
    control = mm.Control(max_iterations=1, n_starts=1)
    with pytest.warns(mm.ConvergenceWarning):
        poor = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP, control=control, start=np.array([50.0, 0.0, 50.0]))
    table = mm.compare(fit("Days + (1 | Subject)"), poor)
    assert table["chisq"].iloc[1] < -1e-4
    assert np.isnan(table["p_value"].iloc[1])
    assert any("its optimum was missed" in note for note in table.attrs["notes"])


def test_refusals() -> None:
    one = fit("Days + (1 | Subject)")
    with pytest.raises(mm.InferenceError, match="at least two"):
        mm.compare(one)
    with pytest.raises(mm.InferenceError, match="argument 2 is a str"):
        mm.compare(one, "Days")
    with pytest.raises(mm.InferenceError, match="uses 170 rows and the first 180"):
        mm.compare(one, mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP.iloc[:170]))
    with pytest.raises(mm.InferenceError, match="different responses"):
        mm.compare(one, mm.lmer("log(Reaction) ~ Days + (1 | Subject)", SLEEP))
    hole = [SLEEP.assign(Reaction=SLEEP["Reaction"].where(SLEEP.index != i)) for i in (0, 1)]
    with pytest.warns(mm.DroppedRowsWarning):
        fits = [mm.lmer("Reaction ~ Days + (1 | Subject)", data) for data in hole]
    with pytest.raises(mm.InferenceError, match="not the same ones"):
        mm.compare(*fits)


def test_names_stay_with_their_fits_and_two_models_fit_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    large, small = fit("Days + (Days | Subject)"), fit("Days + (1 | Subject)")
    table = mm.compare(large, small, names=["slopes", "intercepts"])
    assert list(table.index) == ["intercepts", "slopes"]
    assert table.loc["slopes", "deviance"] == large.deviance
    assert "slopes: Reaction ~ Days + (Days | Subject)" in table.attrs["notes"]
    for printed in (repr(table), repr(mm.compare(large, small))):
        assert max(map(len, printed.splitlines())) <= 100
    assert "(1 | Subject)" in mm.compare(large, small).index[0]


def test_what_was_taken_away_is_said() -> None:
    cake = mm.lmer("angle ~ recipe * temp + (1 | replicate)", mm.load_dataset("cake"), reml=False)
    table = mm.compare(cake, cake.update(". ~ . - recipe:temp"))
    assert table.index[0] == "angle ~ recipe * temp - recipe:temp + (1 | replicate)"
    assert "- recipe:temp" in repr(table)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], "names has 1 names for 2 fits. Give one for each"),
        (["a", "a"], "names has 'a' twice"),
        ("ab", "names has 1 names"),
        ([1, 2], "it must be a list of texts"),
    ],
)
def test_odd_names_are_refused(names: object, message: str) -> None:
    with pytest.raises(mm.InferenceError, match=message):
        mm.compare(fit("Days + (1 | Subject)"), fit("Days + (Days | Subject)"), names=names)
