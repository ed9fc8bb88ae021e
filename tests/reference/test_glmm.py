"""Generalised models against polished optima of lme4 and glmmTMB; see the files' sources.

Laplace's approximation with observed weights: lme4's own is another criterion for links that are not canonical, so
those references are glmmTMB's. The standard errors in lme4's files are differences of a noisy criterion.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load

CASES = sorted((Path(__file__).parent / "glmm").glob("*.json"))
FAMILIES = {"Gamma": "gamma", "nbinom1": "negative_binomial_1", "nbinom2": "negative_binomial"}


NODES = [(path, name) for path in CASES for name in json.loads(path.read_text(encoding="utf-8"))["fits"]]


def fit_case(case: dict[str, Any], n_agq: int = 1) -> mm.GlmmResult:
    data = load(case["data"].split()[0])
    if "prop" in case["formula"]:
        data = data.assign(prop=data["yield"] / 100)
    family = FAMILIES.get(case["family"], case["family"])
    return mm.glmer(case["formula"].replace("^", "**"), data, family=family, link=case["link"], n_agq=n_agq)


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
@pytest.mark.parametrize(("path", "nodes"), NODES, ids=[f"{path.stem}-{nodes}" for path, nodes in NODES])
def test_optimum(path: Path, nodes: str) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    reference = case["fits"][nodes]
    fit = fit_case(case, int(nodes.removeprefix("nAGQ")))
    assert fit.converged
    # a criterion by lme4 is one step of its inner iteration late, and has a check without that
    value = reference.get("independent_check", {}).get("value", reference["minus2_loglik"])
    assert fit.deviance == pytest.approx(value, abs=1e-6)
    assert fit.df_model_total == reference["df"]
    by_lme4 = "se" not in reference["fixef"]
    se = np.array(reference["fixef"]["se_hessian" if by_lme4 else "se"])
    np.testing.assert_array_less(np.abs(fit.fe_params.to_numpy() - reference["fixef"]["estimate"]), 1e-5 * se)
    np.testing.assert_allclose(fit.bse_fe, se, rtol=1e-3 if by_lme4 else 1e-5)
    for term in reference["varcorr"]:
        sd = np.sqrt(np.diag(np.atleast_2d(term["cov"])))
        # glmmTMB estimates the logarithm of a standard deviation, which is 7e-6 where it is zero
        np.testing.assert_allclose(
            np.sqrt(np.diag(fit.varcorr[term["group"]])), sd, rtol=1e-5, atol=1e-5 if sd.max() < 1e-4 else 0.0
        )
    names, values = (np.atleast_1d(reference.get("other_parameters", {}).get(k, [])) for k in ("names", "estimate"))
    others = dict(zip(names, values, strict=True))
    if "betad" in others:
        # glmmTMB's dispersion parameter is the shape, the size, the precision or our dispersion, on the log scale
        ours = fit.dispersion
        assert ours is not None
        expected = np.exp(others["betad"] if case["family"] in {"beta", "nbinom1"} else -others["betad"])
        assert ours == pytest.approx(expected, rel=2e-5)


def contraception(shift: float = 0.0, scale: float = 1.0, n_agq: int = 1) -> mm.GlmmResult:
    data = load("Contraception")
    return mm.glmer("use ~ age + urban + (age | district)", data.assign(age=scale * data["age"] + shift), n_agq=n_agq)


MOVES = [(1e4, 1.0, 1), (0.0, 1e6, 1), (0.0, 1e-6, 1), (-3e5, 100.0, 1), (1e4, 1.0, 3), (0.0, 1e-6, 3)]


@pytest.mark.parametrize(("shift", "scale", "n_agq"), MOVES)
def test_units_and_origins_change_nothing(shift: float, scale: float, n_agq: int) -> None:
    plain, moved = contraception(n_agq=n_agq), contraception(shift, scale, n_agq)
    assert moved.deviance == pytest.approx(plain.deviance, abs=1e-7)
    assert moved.optimizer.n_iterations == plain.optimizer.n_iterations
    assert moved.fe_params["age"] * scale == pytest.approx(plain.fe_params["age"], rel=1e-5)
    assert moved.bse_fe["age"] * scale == pytest.approx(plain.bse_fe["age"], rel=1e-5)
    np.testing.assert_allclose(moved.fittedvalues, plain.fittedvalues, atol=1e-6)


def test_far_origin_of_a_random_slope() -> None:
    # the optimum that glmer and glmmTMB do not find at age + 10,000
    data = load("Contraception")
    fit = mm.glmer("use ~ age + I(age**2) + urban + livch + (1 | district)", data)
    assert fit.deviance == pytest.approx(2372.72858236404, abs=1e-6)


def test_rows_of_trials_are_rows_of_one_trial_each() -> None:
    grouped = load("cbpp")
    counts = [("incidence", 1), ("healthy", 0)]
    grouped = grouped.assign(healthy=grouped["size"] - grouped["incidence"])
    single = {
        name: np.concatenate([np.repeat(grouped[name].astype(str), grouped[count]) for count, _ in counts])
        for name in ("herd", "period")
    }
    single["y"] = np.concatenate([np.full(grouped[count].sum(), value) for count, value in counts])
    one = mm.glmer("cbind(incidence, healthy) ~ period + (1 | herd)", grouped)
    other = mm.glmer("y ~ period + (1 | herd)", single)
    share = mm.glmer("I(incidence / size) ~ period + (1 | herd)", grouped, weights="size")
    np.testing.assert_allclose(one.fe_params, other.fe_params, atol=1e-6)
    np.testing.assert_allclose(one.bse_fe, other.bse_fe, rtol=1e-5)
    assert share.deviance == pytest.approx(one.deviance, abs=1e-9)
