"""Power of repeated measures by simulation, against noncentral t and F of complete designs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedmodels as mm
from mixedmodels.fit.stated import with_fixed_effects
from mixedmodels.inference.replicated_marginal import marginal_draw

N_ARM, VISITS = 9, ("c", "a", "b")
"""The first level, c, is the last visit, so that the coefficient of the arm is the difference there."""
QUIET: dict[str, Any] = {"seed": 1, "progress": False}


def trial() -> pd.DataFrame:
    """Return two arms of people with three visits."""
    rng = np.random.default_rng(5)
    n = 2 * N_ARM
    root = np.linalg.cholesky(np.array([[4.0, 2.0, 1.0], [2.0, 3.0, 1.0], [1.0, 1.0, 2.0]]))
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(n), 3),
            "arm": np.repeat(["x", "y"], 3 * N_ARM),
            "visit": pd.Categorical(np.tile(["a", "b", "c"], n), VISITS),
            "y": (10 + rng.standard_normal((n, 3)) @ root.T).ravel(),
        }
    )


@pytest.fixture(scope="module")
def unstructured() -> mm.MmrmResult:
    return mm.mmrm("y ~ arm * visit + us(visit | id)", trial())


@pytest.fixture(scope="module")
def symmetric() -> mm.MmrmResult:
    return mm.mmrm("y ~ arm * visit + cs(visit | id)", trial())


def t_power(shift: float, df: int, quantile: float | None = None) -> float:
    """Return the power of a two-sided t test of level .05, or with another critical value."""
    quantile = stats.t.ppf(0.975, df) if quantile is None else quantile
    return float(stats.nct.sf(quantile, df, shift) + stats.nct.cdf(-quantile, df, shift))


def assert_share(found: float, right: float, n: int) -> None:
    """Compare a share of n simulations with a chance, within four standard errors of the simulation."""
    assert found == pytest.approx(right, abs=4 * np.sqrt(right * (1 - right) / n))


@pytest.mark.parametrize("ddf", [None, "kenward-roger", "normal"])
def test_a_difference_at_the_last_visit_has_the_power_of_the_t_test(unstructured: mm.MmrmResult, ddf: str) -> None:
    """Of complete data with a mean for each arm and visit the test is that of the visit alone."""
    covariance = unstructured.residual_covariance
    assert isinstance(covariance, pd.DataFrame)
    size = 1.3 * np.sqrt(covariance.loc["c", "c"])
    critical = stats.norm.ppf(0.975) if ddf == "normal" else None
    exact = t_power(1.3 * np.sqrt(N_ARM / 2), 2 * (N_ARM - 1), critical)
    assert 0.3 < exact < 0.95
    table = mm.power(unstructured, "arm[T.y]", size=size, n=400, ddf=ddf, **QUIET)
    row = table.iloc[0]
    assert_share(row["power"], exact, 400)
    assert row["lower"] < row["power"] < row["upper"]
    assert (table.index.name, table.index[0], row["n_obs"], row["n_failed"]) == ("id", 18, 54, 0)


def test_compound_symmetry_has_the_t_and_f_tests_of_differences_within_people(symmetric: mm.MmrmResult) -> None:
    covariance = symmetric.residual_covariance
    assert isinstance(covariance, pd.DataFrame)
    within, df = covariance.loc["a", "a"] - covariance.loc["a", "b"], 4 * (N_ARM - 1)
    size = 1.2 * np.sqrt(within)
    exact = t_power(1.2 * np.sqrt(N_ARM / 4), df)
    assert 0.3 < exact < 0.95
    beta = symmetric.fe_params * 0
    name = "arm[T.y]:visit[T.a]"
    row = mm.power(symmetric, name, beta=beta.drop(name), size=size, n=400, **QUIET).iloc[0]
    assert_share(row["power"], exact, 400)
    beta[name] = size
    noncentrality = N_ARM / 2 * (2 / 3) * 1.2**2
    exact = float(stats.ncf.sf(stats.f.ppf(0.95, 2, df), 2, df, noncentrality))
    assert 0.3 < exact < 0.95
    row = mm.power(symmetric, "arm:visit", beta=beta, n=400, **QUIET).iloc[0]
    assert_share(row["power"], exact, 400)
    assert row[["type_s", "type_m"]].isna().all()


def test_the_rate_of_false_alarms_is_alpha(unstructured: mm.MmrmResult, symmetric: mm.MmrmResult) -> None:
    for fit, effect in ((unstructured, "arm[T.y]"), (symmetric, "arm[T.y]:visit[T.a]")):
        row = mm.power(fit, effect, size=0, alpha=0.1, n=400, **QUIET).iloc[0]
        assert_share(row["power"], 0.1, 400)
        assert np.isnan(row["type_m"])


def test_people_who_were_not_seen_at_the_last_visit_count_as_in_the_pilot() -> None:
    """The tests are those of new fits to frames of the rows that were seen, responses drawn person by person."""
    data = trial()
    data = data[~((data["visit"] == "c") & (data["id"] % 3 == 0))].reset_index(drop=True)
    fit = mm.mmrm("y ~ arm * visit + us(visit | id)", data)
    n, size = 60, 1.5
    row = mm.power(fit, "arm[T.y]", size=size, n=n, **QUIET).iloc[0]
    assert (row["n_obs"], row["n_failed"]) == (48, 0)
    draw = marginal_draw(with_fixed_effects(fit.state, {"arm[T.y]": size}))
    drawn = [draw(np.random.default_rng(np.random.SeedSequence(1, spawn_key=(0, j)))) for j in range(n)]
    tables = [mm.mmrm("y ~ arm * visit + us(visit | id)", data.assign(y=y)).coef_table() for y in drawn]
    assert row["power"] * n == pytest.approx(sum(table.loc["arm[T.y]", "p_value"] < 0.05 for table in tables))
    shift = fit.fittedvalues.to_numpy() + (size - fit.fe_params["arm[T.y]"]) * (data["arm"] == "y").to_numpy()
    many = np.array([draw(np.random.default_rng(j)) for j in range(2000)]) - shift
    covariance = fit.residual_covariance
    assert isinstance(covariance, pd.DataFrame)
    visit, person = data["visit"].astype(str).to_numpy(), data["id"].to_numpy()
    right = covariance.loc[visit, visit].to_numpy() * (person[:, None] == person)
    variance = np.diag(right)
    errors = np.sqrt((np.outer(variance, variance) + right**2) / 2000)
    assert np.abs((many.T @ many / 2000 - right) / errors).max() < 5


def test_true_effects_have_several_spellings_and_streams_their_own_place(unstructured: mm.MmrmResult) -> None:
    """The fit's own are those of None, and more simulations begin with the same ones."""
    own = mm.power(unstructured, "arm[T.y]", n=30, **QUIET)
    for stated in (
        {"size": unstructured.fe_params["arm[T.y]"]},
        {"beta": unstructured.fe_params},
        {"beta": unstructured.fe_params.to_numpy(), "ddf": "satterthwaite"},
    ):
        again = mm.power(unstructured, "arm[T.y]", n=30, **stated, **QUIET)
        pd.testing.assert_frame_equal(again, own)
    more = mm.power(unstructured, "arm[T.y]", n=40, **QUIET)
    assert 0 <= round(40 * more["power"].iloc[0]) - round(30 * own["power"].iloc[0]) <= 10


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"vary": {"id": [20]}}, "vary is not available yet for a fit of mmrm"),
        ({"within": {"id": [4]}}, "within is not available yet"),
        ({"varcorr": {"id": 1.0}, "sigma": 1.0}, "varcorr and sigma are not available yet"),
        ({"path": "power"}, "path is not available yet"),
        ({"ddf": "kr"}, "ddf='kr' is not available"),
        ({"ddf": 3}, "ddf is that of one fit"),
        ({"data": pd.DataFrame()}, "data goes with a formula"),
        ({"size": 1.0, "beta": [0.0] * 6}, "size and beta both have a true value"),
        ({"beta": {"arm": 1.0}}, "There is no fixed effect 'arm'"),
        ({"effect": "arms"}, "There is no fixed effect 'arms'"),
    ],
)
def test_what_is_not_there_is_refused_by_name(unstructured: mm.MmrmResult, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(mm.InferenceError, match=words):
        mm.power(unstructured, **{"effect": "arm[T.y]", **asked}, n=2, **QUIET)


def test_maximum_likelihood_has_no_kenward_roger_and_other_correlated_fits_no_power() -> None:
    ml = mm.mmrm("y ~ arm * visit + us(visit | id)", trial(), reml=False)
    with pytest.raises(mm.InferenceError, match="REML"):
        mm.power(ml, "arm[T.y]", n=2, ddf="kenward-roger", **QUIET)
    other = mm.lmer("y ~ arm * visit + (1 | id)", trial(), variance="ident(arm)")
    with pytest.raises(mm.InferenceError, match="power is not available yet for models with residual, variance"):
        mm.power(other, "arm[T.y]", n=2, **QUIET)  # type: ignore[arg-type]  # which it refuses
