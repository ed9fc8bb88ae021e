"""Profiles of structured random effects: identities with models that need no structure, and ends of ranges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.fit.structured_fit import StructuredState
from mixedmodels.inference.profiled_structured import StructuredProfiled


def machines() -> pd.DataFrame:
    """Return scores of workers at machines, some missing."""
    frame = mm.load_dataset("Machines")
    return frame[np.arange(len(frame)) % 7 != 3].reset_index(drop=True)


def test_uncorrelated_effects_have_the_profiles_of_nested_intercepts() -> None:
    structured = mm.lmer("score ~ Machine + homcs(0 + Machine | Worker)", machines(), reml=False)
    plain = mm.lmer("score ~ Machine + (1 | Worker) + (1 | Worker:Machine)", machines(), reml=False)
    assert structured.deviance == pytest.approx(plain.deviance, abs=1e-7)

    def total(p: dict[str, float]) -> float:
        return float(np.hypot(p["sd_Intercept|Worker"], p["sd_Intercept|Worker:Machine"]))

    def share(p: dict[str, float]) -> float:
        return p["sd_Intercept|Worker"] ** 2 / total(p) ** 2

    expected = plain.profile({"sd_homcs|Worker": total, "cor_homcs|Worker": share}, progress=False).conf_int()
    found = structured.conf_int("profile")
    width = (expected["upper"] - expected["lower"]).to_numpy()[:, None]
    np.testing.assert_allclose(found.loc[expected.index] / width, expected / width, atol=2e-3)
    fixed = plain.conf_int("profile", which=[*plain.fe_params.index, "sigma"])
    width = (fixed["upper"] - fixed["lower"]).to_numpy()[:, None]
    np.testing.assert_allclose(found.loc[fixed.index] / width, fixed / width, atol=1e-3)


def test_one_variance_for_all_is_a_nested_intercept() -> None:
    structured = mm.lmer("score ~ Machine + homdiag(0 + Machine | Worker)", machines())
    plain = mm.lmer("score ~ Machine + (1 | Worker:Machine)", machines())
    expected = plain.conf_int("profile").to_numpy()
    np.testing.assert_allclose(structured.conf_int("profile"), expected, rtol=1e-3)


def test_derivatives_of_the_parameters() -> None:
    for formula in ("score ~ Machine + toep(0 + Machine | Worker)", "score ~ Machine + rr(0 + Machine | Worker, d=2)"):
        state = mm.lmer(formula, machines()).state
        assert isinstance(state, StructuredState)
        known = StructuredProfiled(state)
        psi = known.psi + 0.05 * np.sin(1.0 + np.arange(len(known.psi)))
        h = 1e-5
        for parameter in known.map.parameters:
            surface = known._map.surface(parameter)
            value, gradient, _ = surface(psi)
            assert parameter.natural(value)[0] == pytest.approx(known.map.value(psi, parameter), rel=1e-9)
            apart = [surface(psi + h * e)[0] - surface(psi - h * e)[0] for e in np.eye(len(psi))]
            np.testing.assert_allclose(np.array(apart) / (2 * h), gradient, atol=1e-6)


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
def test_a_variance_of_zero_and_a_rank() -> None:
    data = machines()
    rng = np.random.default_rng(5)
    y = rng.standard_normal(len(data))
    data["noise"] = y - 0.9 * pd.Series(y).groupby([data["Worker"], data["Machine"]], observed=True).transform("mean")
    fit = mm.lmer("noise ~ Machine + homdiag(0 + Machine | Worker)", data)
    assert fit.is_singular
    plain = mm.lmer("noise ~ Machine + (1 | Worker:Machine)", data)
    found = fit.conf_int("profile", which="theta").to_numpy()
    assert found[0, 0] == 0
    np.testing.assert_allclose(found, plain.conf_int("profile", which="theta"), rtol=2e-3)
    rank = mm.lmer("score ~ Machine + rr(0 + Machine | Worker, d=1)", machines())
    limits = rank.conf_int("profile", which="theta")
    assert limits.drop(index=[name for name in limits.index if name.startswith("cor")]).notna().all(axis=None)
    with pytest.raises(mm.InferenceError, match="have no profile; name the parameters"):
        rank.profile({"twice": lambda p: 2 * p["sigma"]}, progress=False)
