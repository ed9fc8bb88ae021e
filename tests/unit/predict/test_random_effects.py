"""Conditional modes and their covariances, beside R's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from fixed_theta import reference_state
from mixedmodels.errors import InferenceError
from mixedmodels.predict.random_effects import coef_by_level, random_effects, random_effects_cov


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("name", ["sleepstudy_slope", "cbpp_weights", "penicillin_crossed", "machines_noint"])
def test_as_r_reports(name: str, method: str) -> None:
    state, theirs = reference_state(name, method)
    modes, covariances = random_effects(state), random_effects_cov(state)
    assert list(modes) == list(covariances) == [ranef["group"] for ranef in theirs["ranef"]]
    for ranef in theirs["ranef"]:
        ours = modes[ranef["group"]]
        assert ours.index.name == ranef["group"]
        assert [str(level) for level in ours.index[:10]] == ranef["levels"]
        np.testing.assert_allclose(ours.iloc[:10], ranef["values"], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(covariances[ranef["group"]][:10], ranef["cond_var"], rtol=1e-6)


def test_changing_a_frame_leaves_the_fit_alone() -> None:
    state, _ = reference_state("sleepstudy_slope")
    before = state.b[0].copy()
    frame = random_effects(state)["Subject"]
    frame.iloc[:] = 0.0
    np.testing.assert_array_equal(state.b[0], before)


def test_coefficients_by_level_want_one_factor() -> None:
    one, _ = reference_state("sleepstudy_slope")
    pd.testing.assert_frame_equal(coef_by_level(one), coef_by_level(one, "Subject"))
    with pytest.raises(InferenceError, match=r"no grouping factor 'subject'; .* Did you mean 'Subject'"):
        coef_by_level(one, "subject")
    with pytest.raises(InferenceError, match="several grouping factors: plate, sample"):
        coef_by_level(reference_state("penicillin_crossed")[0])


def test_fixed_effects_without_a_random_one_are_the_same_at_every_level() -> None:
    state, _ = reference_state("machines_noint")
    table, modes = coef_by_level(state, "Worker"), random_effects(state)["Worker"]
    assert table.columns.tolist() == list(dict.fromkeys([*state.fixed_names, *modes]))
    for name, beta in zip(state.fixed_names, state.beta, strict=True):
        np.testing.assert_allclose(table[name], beta + modes[name] if name in modes else np.full(len(table), beta))


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_an_interaction_in_the_other_order_is_the_same_effect() -> None:
    rng = np.random.default_rng(3)
    h, x, f = np.repeat(np.arange(10), 12), rng.normal(size=120), np.tile(["a", "b", "c:d"], 40)
    data = {"h": h, "x": x, "f": f, "y": rng.normal(size=(10, 2))[h] @ [1, 1] + rng.normal(size=10)[h] * x + x}
    data["y"] = data["y"] + np.where(f == "b", rng.normal(9, 1, size=10)[h] * x, 0.0) + rng.normal(size=120)
    one, other = (mm.lmer(formula, data) for formula in ("y ~ x * f + (f * x || h)", "y ~ f * x + (f * x || h)"))
    swapped = other.coef_by_level().rename(columns={"f[T.b]:x": "x:f[T.b]", "f[T.c:d]:x": "x:f[T.c:d]"})
    pd.testing.assert_frame_equal(one.coef_by_level(), swapped, check_like=True, rtol=1e-4)
