"""The balanced one-way layout, whose estimates are ratios of mean squares (Searle, Casella and McCulloch 1992, 4.3)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")

J, M = 6, 5
N = J * M


def layout(ratio: float, seed: int = 0) -> pd.DataFrame:
    """Return J groups of M rows whose mean squares have this ratio, F, exactly; that within groups is 1."""
    rng = np.random.default_rng(seed)
    means, within = rng.normal(size=J), rng.normal(size=(J, M))
    means -= means.mean()
    within -= within.mean(axis=1, keepdims=True)
    means *= np.sqrt(ratio * (J - 1) / M / (means @ means))
    within *= np.sqrt(J * (M - 1) / (within**2).sum())
    return pd.DataFrame({"y": (3.0 + means[:, None] + within).ravel(), "g": np.repeat(np.arange(J), M)})


def criterion(theta: npt.ArrayLike, ratio: float, reml: bool) -> npt.NDArray[np.float64]:
    """Return the criterion from the two sums of squares; V has eigenvalues 1 + M theta^2 and 1."""
    top = 1 + M * np.square(theta)
    m = N - reml
    sum_of_squares = J * (M - 1) + (J - 1) * ratio / top
    return J * np.log(top) + m * (1 + np.log(2 * np.pi * sum_of_squares / m)) + reml * np.log(N / top)


def estimate(ratio: float, reml: bool) -> float:
    """Return the theta that minimises it."""
    return np.sqrt(max(0.0, (ratio if reml else ratio * (J - 1) / J) - 1) / M)


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.9, 0.99, 0.999, 1.001, 1.01, 1.1, 1.19, 1.201, 1.25, 2.0, 30.0])
def test_no_false_zero_and_no_false_variance(ratio: float, reml: bool) -> None:
    fit = mm.lmer("y ~ 1 + (1 | g)", layout(ratio), reml=reml)
    theta = estimate(ratio, reml)
    assert fit.converged
    assert fit.deviance == pytest.approx(criterion(theta, ratio, reml), rel=0, abs=1e-9)
    assert fit.is_singular == (theta == 0)
    assert fit.theta.iloc[0] == pytest.approx(theta, rel=1e-3, abs=0)
    if theta == 0:
        assert fit.theta.iloc[0] == 0.0
        assert fit.varcorr["g"].iloc[0, 0] == 0.0
        assert (fit.random_effects["g"] == 0).all(axis=None)
        assert [finding.kind for finding in fit.findings].count("singular") == 1


@pytest.mark.parametrize("start", [0.0, 1e-8, 1e-3, 1.0, 100.0, -1.0])
@pytest.mark.parametrize("ratio", [0.5, 1.01, 4.0])
def test_any_start_leads_there(ratio: float, start: float) -> None:
    """From zero too, which is a stationary point of every criterion."""
    fit = mm.lmer("y ~ 1 + (1 | g)", layout(ratio), start=[start])
    assert fit.deviance == pytest.approx(criterion(estimate(ratio, True), ratio, True), rel=0, abs=1e-8)


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("sd", [1e1, 1e2, 1e3, 1e4, 1e5])
def test_nearly_deterministic_groups(sd: float, reml: bool) -> None:
    """Groups that differ by up to 100,000 residual standard deviations.

    Rounding of the products is then 1e-16 sd^2 of the residual sum of squares; estimates feel its square root.
    """
    ratio = M * sd**2
    fit = mm.lmer("y ~ 1 + (1 | g)", layout(ratio), reml=reml)
    rounding = 1e-15 * sd**2
    assert fit.converged
    assert fit.deviance == pytest.approx(criterion(estimate(ratio, reml), ratio, reml), rel=0, abs=1e-6 + N * rounding)
    assert fit.sigma == pytest.approx(1.0, rel=1e-5 + np.sqrt(rounding))
    assert fit.theta.iloc[0] == pytest.approx(estimate(ratio, reml), rel=1e-4 + np.sqrt(rounding))
    assert not fit.is_singular


@pytest.mark.parametrize("noise", [0.0, 1e-13])
def test_perfect_fit_is_refused(noise: float) -> None:
    """Rows that do not differ within groups leave no residual variance: the likelihood has no maximum."""
    rng = np.random.default_rng(1)
    data = layout(2.0).assign(y=lambda d: rng.normal(size=J)[d["g"]] + noise * rng.normal(size=N))
    with pytest.raises(mm.MixedModelsError, match="y"):
        mm.lmer("y ~ 1 + (1 | g)", data)
