"""Which terms are tested how; numbers are in the reference tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedmodels as mm
from mixedmodels.inference import ranova
from mixedmodels.inference.exact_rlrt import simulate_rlrt

SLEEP = mm.load_dataset("sleepstudy")
MACHINES = mm.load_dataset("Machines")


@pytest.mark.parametrize(
    ("data", "formula", "labels", "dfs"),
    [
        ("sleep", "Reaction ~ Days + (Days | Subject)", ["Days in (Days | Subject)"], [2]),
        ("sleep", "Reaction ~ Days + (0 + Days | Subject)", ["(0 + Days | Subject)"], [1]),
        (
            "sleep",
            "Reaction ~ Days + (Days || Subject)",
            ["1 in (Days || Subject)", "Days in (Days || Subject)"],
            [1, 1],
        ),
        ("machines", "score ~ Machine + (0 + Machine | Worker)", ["Machine in (0 + Machine | Worker)"], [5]),
        ("machines", "score ~ Machine + (1 | Worker/Machine)", ["(1 | Machine:Worker)", "(1 | Worker)"], [1, 1]),
    ],
)
def test_reductions(data: str, formula: str, labels: list[str], dfs: list[int]) -> None:
    table = mm.lmer(formula, SLEEP if data == "sleep" else MACHINES).ranova()
    assert sorted(table.index[1:]) == sorted(labels)
    assert table["df"].iloc[1:].to_list() == dfs
    assert table.index[0] == "<none>"


def test_reduced_models_are_those_one_would_fit() -> None:
    table = mm.lmer("score ~ Machine + (Machine | Worker)", MACHINES).ranova()
    intercepts = mm.lmer("score ~ Machine + (1 | Worker)", MACHINES)
    assert table["llf"].iloc[1] == pytest.approx(intercepts.llf, abs=1e-7)
    squares = mm.lmer("Reaction ~ Days + (Days + I(Days**2) | Subject)", SLEEP).ranova()
    line = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    assert squares["llf"].iloc[2] == pytest.approx(line.llf, abs=1e-6)


def test_reductions_leave_no_trace() -> None:
    fit = mm.lmer("score ~ Machine + (Machine | Worker)", MACHINES)
    before = fit.predict(MACHINES.iloc[:5]).to_numpy()
    fit.ranova()
    assert (fit.predict(MACHINES.iloc[:5]).to_numpy() == before).all()


def test_a_seed_is_an_integer() -> None:
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"))
    with pytest.raises(mm.InferenceError, match="seed is -1; it must be an integer"):
        fit.ranova(n_exact=10, seed=-1)


def test_same_seed_same_numbers() -> None:
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"))
    first, second = (fit.ranova(n_exact=n, seed=5)["p_exact"].iloc[1] for n in (500, np.int64(500)))
    assert first == second


def test_exact_law_where_it_is_not_known() -> None:
    with pytest.raises(mm.InferenceError, match="3 variance parameters"):
        mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP).ranova(n_exact=100)
    with pytest.raises(mm.InferenceError, match="this one is by ML"):
        mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP, reml=False).ranova(n_exact=100)
    with pytest.raises(mm.InferenceError, match="n_exact is -1"):
        mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP).ranova(n_exact=-1)


def test_exact_p_values_without_a_fixed_part() -> None:
    levels, rows, n = 8, 6, 4000
    y = np.random.default_rng(0).normal(size=levels * rows)
    design = mm.LinearMixedModel("y ~ 0 + (1 | g)", {"y": y, "g": np.repeat(np.arange(levels), rows)}).design
    share = np.mean(simulate_rlrt(design, n, seed=1) <= 1e-9)
    zero = stats.f.cdf(1, levels, levels * (rows - 1))  # where F is below one, in a balanced design
    assert abs(share - zero) < 4 * np.sqrt(zero * (1 - zero) / n)


def test_an_interrupt_keeps_the_tests_that_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = mm.lmer("Reaction ~ Days + (Days || Subject)", SLEEP)
    whole, test, calls = fit.ranova(), ranova._test, iter(range(9))

    def impatient(*arguments: Any) -> Any:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return test(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(ranova, "_test", impatient)
        with pytest.raises(KeyboardInterrupt) as caught:
            fit.ranova()
    part = caught.value.partial  # type: ignore[attr-defined]
    pd.testing.assert_frame_equal(part, whole.iloc[:2])
    assert part.attrs["notes"][-1] == "The tests were interrupted: 1 of 2 were made."
    assert part.attrs["notes"][-1] in repr(part)
    assert not any("interrupted" in note for note in whole.attrs["notes"])

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    one = mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    monkeypatch.setattr(ranova, "simulate_rlrt", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        one.ranova(n_exact=100, seed=1)
    part = caught.value.partial  # type: ignore[attr-defined]
    pd.testing.assert_frame_equal(part, one.ranova())
    assert part.attrs["notes"][-1] == "The simulation of the exact law was interrupted."
