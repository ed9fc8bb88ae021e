"""Power of generalised models by simulation, against z, chi-squared and noncentral t tests of balanced designs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

import mixedmodels as mm
from mixedmodels.fit.stated import with_fixed_effects

N_SITES, TRIALS = 12, 40
pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")  # no variance is what they are for

QUIET: dict[str, Any] = {"seed": 1, "progress": False}


def alike(values: dict[str, float]) -> pd.DataFrame:
    """Return sites with a row for each arm, all with the same responses, so that their variance is zero."""
    arms = list(values)
    site, arm = np.repeat(np.arange(N_SITES), len(arms)), np.tile(arms, N_SITES)
    return pd.DataFrame({"site": site, "arm": arm, "n": TRIALS, "y": [values[a] for a in arm]})


@pytest.fixture(scope="module")
def shares() -> mm.GlmmResult:
    return mm.glmer("cbind(y, n - y) ~ arm + (1 | site)", alike({"a": 15, "b": 20}))


@pytest.fixture(scope="module")
def counts() -> mm.GlmmResult:
    return mm.glmer("y ~ arm + (1 | site)", alike({"a": 5, "b": 7, "c": 6}), "poisson")


def z_power(size: float, std_error: float) -> float:
    """Return the power of a two-sided z test of level .05."""
    quantile, shift = stats.norm.ppf(0.975), size / std_error
    return float(stats.norm.sf(quantile - shift) + stats.norm.cdf(-quantile - shift))


def assert_share(found: float, right: float, n: int) -> None:
    """Compare a share of n simulations with a chance, within four standard errors of the simulation."""
    assert found == pytest.approx(right, abs=4 * np.sqrt(right * (1 - right) / n))


@pytest.mark.parametrize("size", [0.25, 0.4])
def test_a_log_odds_ratio_without_variance_among_sites_has_the_power_of_the_z_test(
    shares: mm.GlmmResult, size: float
) -> None:
    p = expit([-0.5, -0.5 + size])
    exact = z_power(size, np.sqrt(np.sum(1 / (N_SITES * TRIALS * p * (1 - p)))))
    assert 0.3 < exact < 0.95
    row = mm.power(shares, "arm[T.b]", beta={"Intercept": -0.5}, size=size, n=500, **QUIET).iloc[0]
    assert_share(row["power"], exact, 500)
    assert row["lower"] < row["power"] < row["upper"]
    assert (row["n_obs"], row["n_failed"]) == (2 * N_SITES, 0)


def test_a_log_rate_ratio_without_variance_among_sites_has_the_power_of_the_z_test(counts: mm.GlmmResult) -> None:
    beta = {"Intercept": np.log(5), "arm[T.b]": np.log(1.5), "arm[T.c]": 0.0}
    exact = z_power(np.log(1.5), np.sqrt((1 / 5 + 1 / 7.5) / N_SITES))
    assert 0.3 < exact < 0.95
    row = mm.power(counts, "arm[T.b]", beta=beta, n=500, **QUIET).iloc[0]
    assert_share(row["power"], exact, 500)


def test_a_term_has_the_power_of_the_noncentral_chi_squared(counts: mm.GlmmResult) -> None:
    eta = np.log(5) + np.array([0.0, 0.3, 0.1])
    weights = N_SITES * np.exp(eta)
    noncentrality = np.sum(weights * (eta - weights @ eta / weights.sum()) ** 2)
    exact = stats.ncx2.sf(stats.chi2.ppf(0.95, 2), 2, noncentrality)
    assert 0.3 < exact < 0.95
    row = mm.power(counts, beta=[np.log(5), 0.3, 0.1], n=500, **QUIET).iloc[0]
    assert_share(row["power"], exact, 500)
    assert row[["type_s", "type_m"]].isna().all()


def test_arms_of_sites_that_differ_have_the_power_of_a_noncentral_t() -> None:
    """Logarithms of large counts, one a site, are normal; a variance by maximum likelihood divides by n, not n - 2."""
    scores = stats.norm.ppf((np.arange(10) + 0.5) / 10)
    data = pd.DataFrame({"site": np.arange(20), "arm": np.repeat(["a", "b"], 10)})
    data["y"] = np.round(np.exp(8 + 0.5 * np.tile(scores, 2)))
    fit = mm.glmer("y ~ arm + (1 | site)", data, "poisson")
    variance = fit.varcorr["site"].iloc[0, 0] + np.exp(-8)
    shift, quantile = 0.5 / np.sqrt(variance / 5), stats.norm.ppf(0.975) * np.sqrt(18 / 20)
    exact = stats.nct.sf(quantile, 18, shift) + stats.nct.cdf(-quantile, 18, shift)
    assert 0.3 < exact < 0.95
    row = mm.power(fit, "arm[T.b]", beta={"Intercept": 8.0}, size=0.5, n=500, **QUIET).iloc[0]
    assert_share(row["power"], exact, 500)


def test_the_rate_of_false_alarms_is_alpha(shares: mm.GlmmResult, counts: mm.GlmmResult) -> None:
    for fit in (shares, counts):
        row = mm.power(fit, "arm[T.b]", size=0, alpha=0.1, n=500, **QUIET).iloc[0]
        assert_share(row["power"], 0.1, 500)
        assert np.isnan(row["type_m"])


def test_separated_responses_find_nothing_and_constant_ones_fail() -> None:
    """With 6 sites of 2 trials an arm, chances of responses that do not vary are known."""
    data = pd.DataFrame({"site": np.repeat(np.arange(6), 2), "arm": np.tile(["a", "b"], 6), "n": 2})
    fit = mm.glmer("cbind(y, n - y) ~ arm + (1 | site)", data.assign(y=1))
    separated = mm.power(fit, "arm[T.b]", beta={"Intercept": 0.0}, size=30.0, n=50, **QUIET).iloc[0]
    assert (separated["power"], separated["n_failed"]) == (0.0, 0)
    three = mm.glmer("y ~ arm + (1 | site)", alike({"a": 2, "b": 2, "c": 2}), "poisson")
    joint = mm.power(three, "arm", beta=[1.0, -40.0, 0.0], n=20, **QUIET).iloc[0]  # no counts at all in an arm
    assert (joint["power"], joint["n_failed"]) == (0.0, 0)
    constant = mm.power(fit, "arm[T.b]", beta={"Intercept": -3.0}, size=0.0, n=300, **QUIET).iloc[0]
    assert_share(constant["n_failed"] / 300, (1 - expit(-3.0)) ** 24, 300)
    with pytest.raises(mm.InferenceError, match="No simulated response could be fitted"):
        mm.power(fit, "arm[T.b]", beta={"Intercept": -40.0}, size=0.0, n=3, **QUIET)


def test_true_effects_have_several_spellings_and_streams_their_own_place(shares: mm.GlmmResult) -> None:
    """The fit's own are those of None, and more simulations begin with the same ones."""
    own = mm.power(shares, n=30, **QUIET)
    coefficient = shares.fe_params["arm[T.b]"]
    for stated in ({"size": coefficient}, {"beta": shares.fe_params}, {"beta": shares.fe_params.to_numpy()}):
        effect = "arm[T.b]" if "size" in stated else "arm"
        pd.testing.assert_frame_equal(mm.power(shares, effect, n=30, **stated, **QUIET), own)  # type: ignore[arg-type]
    more = mm.power(shares, n=40, **QUIET)
    assert 0 <= 40 * more["power"].iloc[0] - 30 * own["power"].iloc[0] <= 10


@pytest.mark.parametrize("family", ["binomial", "betabinomial"])
def test_stated_effects_move_nothing_else(family: str) -> None:
    data = mm.load_dataset("cbpp")
    state = mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family).state
    np.testing.assert_allclose(with_fixed_effects(state, state.beta).psi, state.psi, rtol=0, atol=1e-12)
    moved = with_fixed_effects(state, {"period[T.4]": 1.0})
    beta = state.problem.model.estimates(moved.psi)[1]
    np.testing.assert_allclose(beta, [*state.beta[:3], 1.0], rtol=1e-10)
    own = state.beta_in_psi
    assert np.array_equal(np.delete(moved.psi, np.r_[own]), np.delete(state.psi, np.r_[own]))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"vary": {"sites": [20]}}, "no grouping factor 'sites'"),
        ({"varcorr": {"sites": 1.0}}, "no grouping factor 'sites'"),
        ({"sigma": 1.0}, "sigma is not for the family 'binomial', which has no residual"),
        ({"ddf": "satterthwaite"}, "ddf is not for a generalised model"),
        ({"data": pd.DataFrame()}, "data goes with a formula"),
        ({"size": 1.0, "beta": [0.0, 1.0]}, "size and beta both have a true value"),
        ({"beta": {"arm": 1.0}}, "There is no fixed effect 'arm'"),
        ({"effect": "arms"}, "There is no fixed effect 'arms'"),
    ],
)
def test_what_is_not_there_is_refused_by_name(shares: mm.GlmmResult, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(mm.InferenceError, match=words):
        mm.power(shares, **{"effect": "arm[T.b]", **asked}, n=2, **QUIET)


@pytest.mark.parametrize("sites", [6, 24])
def test_more_levels_have_the_power_of_the_z_test(shares: mm.GlmmResult, sites: int) -> None:
    p = expit([-0.5, -0.2])
    exact = z_power(0.3, np.sqrt(np.sum(1 / (sites * TRIALS * p * (1 - p)))))
    assert 0.1 < exact < 0.95
    options = {"beta": {"Intercept": -0.5}, "size": 0.3, "n": 500, **QUIET}
    row = mm.power(shares, "arm[T.b]", vary={"site": [sites]}, **options).iloc[0]
    assert_share(row["power"], exact, 500)
    assert row["n_obs"] == 2 * sites
    rows = mm.power(shares, "arm[T.b]", within={"site": [2 * sites // 6]}, **options).iloc[0]
    exact = z_power(0.3, np.sqrt(np.sum(1 / (sites / 6 * N_SITES * TRIALS * p * (1 - p)))))
    assert_share(rows["power"], exact, 500)


def test_stated_variances_of_sites_have_the_power_of_a_noncentral_t() -> None:
    """Sites of one arm each, with large counts: their logarithms are normal, with the variance that is stated."""
    data = pd.DataFrame({"site": np.arange(20), "arm": np.repeat(["a", "b"], 10)})
    data["y"] = np.round(np.exp(8 + 0.1 * np.tile(stats.norm.ppf((np.arange(10) + 0.5) / 10), 2)))
    fit = mm.glmer("y ~ arm + (1 | site)", data, "poisson")
    variance = 0.25 + np.exp(-8)
    shift, quantile = 0.5 / np.sqrt(variance / 20), stats.norm.ppf(0.975) * np.sqrt(78 / 80)
    exact = stats.nct.sf(quantile, 78, shift) + stats.nct.cdf(-quantile, 78, shift)
    options = {"beta": {"Intercept": 8.0}, "size": 0.5, "varcorr": {"site": 0.25}, "vary": {"site": [80]}}
    row = mm.power(fit, "arm[T.b]", n=300, **options, **QUIET).iloc[0]
    assert 0.3 < exact < 0.995
    assert_share(row["power"], exact, 300)


def test_a_design_asked_for_as_it_is_is_the_fit_s_own(counts: mm.GlmmResult, tmp_path: Path) -> None:
    own = mm.power(counts, "arm[T.b]", n=20, **QUIET)
    asked = mm.power(counts, "arm[T.b]", n=20, vary={"site": [N_SITES]}, **QUIET)
    assert own["power"].iloc[0] == asked["power"].iloc[0]
    path = tmp_path / "power"
    some = mm.power(counts, "arm[T.b]", n=8, vary={"site": [20]}, path=path, **QUIET)
    assert len(some) == 1
    kept = mm.power(counts, "arm[T.b]", n=20, vary={"site": [20]}, path=path, **QUIET)
    pd.testing.assert_frame_equal(kept, mm.power(counts, "arm[T.b]", n=20, vary={"site": [20]}, **QUIET))


def test_power_of_ordered_categories_and_of_zeros_with_a_chance() -> None:
    rng = np.random.default_rng(4)
    g, x = np.repeat(np.arange(20), 12), np.tile([0.0, 1.0], 120)
    rating = np.searchsorted([-1.0, 0.5], 0.6 * x + rng.logistic(size=240)) + 1
    data = pd.DataFrame({"g": g, "x": x, "rating": rating})
    ordered = mm.glmer("rating ~ x + (1 | g)", data, "ordinal")
    row = mm.power(ordered, "x", size=0.6, varcorr={"g": 0.0}, n=300, **QUIET).iloc[0]
    assert_share(row["power"], z_power(0.6, float(ordered.bse_fe["x"])), 300)
    more = mm.power(ordered, "x", size=0.6, varcorr={"g": 0.0}, n=300, vary={"g": [40]}, **QUIET).iloc[0]
    assert_share(more["power"], z_power(0.6, float(ordered.bse_fe["x"]) / np.sqrt(2)), 300)
    with pytest.raises(mm.InferenceError, match="thresholds are those of the fit"):
        mm.power(ordered, "x", beta={"Intercept": 1.0}, n=2, **QUIET)
    counted = data.assign(y=rng.poisson(np.exp(1 + 0.2 * x)) * (rng.uniform(size=240) > 0.3))
    zeros = mm.glmer("y ~ x + (1 | g)", counted, "hurdle_poisson")
    row = mm.power(zeros, "x", size=0.2, varcorr={"g": 0.0}, n=300, **QUIET).iloc[0]
    assert_share(row["power"], z_power(0.2, float(zeros.bse_fe["x"])), 300)
    with pytest.raises(mm.InferenceError, match="vary is not available yet for the family 'hurdle_poisson'"):
        mm.power(zeros, "x", n=2, vary={"g": [40]}, **QUIET)
    with pytest.raises(TypeError, match="family"):
        mm.power("y ~ x + (1 | g)", "x", data=data, family="poisson", beta=[0, 1])  # type: ignore[call-arg]
