"""Fits without rows, levels or subjects: brute force at the doors, dense algebra at fixed V, and what fails by name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.diagnose import deleted_generalized
from mixedmodels.diagnose.influence import Influence, _Deletions
from mixedmodels.fit.subjects import by_pattern

Floats = npt.NDArray[np.float64]

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")


def counts() -> pd.DataFrame:
    """Return counts of 12 places in two crossed classifications."""
    rng = np.random.default_rng(11)
    g, h = np.repeat(np.arange(12), 8), np.tile(np.arange(8), 12)
    x = rng.standard_normal(96)
    eta = 0.5 + 0.4 * x + 0.5 * rng.standard_normal(12)[g] + 0.3 * rng.standard_normal(8)[h]
    grade = np.digitize(eta + rng.logistic(size=96), [0.0, 1.0])
    return pd.DataFrame({"y": rng.poisson(np.exp(eta)), "z": grade, "x": x, "g": g, "h": h, "e": 0.1 * x})


MODELS = {
    "poisson": lambda d: mm.glmer("y ~ x + (x || g) + (1 | h)", d, "poisson", offset="e"),
    "negative binomial": lambda d: mm.glmer("y ~ x + (1 | g)", d, "negative_binomial"),
    "quadrature": lambda d: mm.glmer("y ~ x + (1 | g)", d, "poisson", n_agq=7),
    "ordinal": lambda d: mm.glmer("z ~ x + (1 | g)", d, "ordinal"),
    "visits": lambda d: mm.mmrm("x ~ y + ar1(h | g)", d),
    "weights and variances": lambda d: mm.lmer(
        "x ~ y + (1 | g)", d.assign(w=1.0 + d["h"] % 3), residual="ar1(h | g)", variance="power(h)", weights="w"
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("by", ["g", None])
def test_exact_deletions_are_fits_of_the_rest(name: str, by: str | None) -> None:
    data = counts().assign(h=lambda d: d["h"] + 1)
    fit = MODELS[name](data)
    ours = fit.influence(by, progress=False) if by else _first_rows(fit)
    assert not ours.failures
    for label in (0, 7):
        kept = data[data["g"] != label] if by else data.drop(index=label)
        rest = MODELS[name](kept)
        error = rest.bse_fe.to_numpy()
        np.testing.assert_allclose((ours.fe_params.loc[label] - rest.fe_params) / error, 0, atol=2e-4)
        change = fit.fe_params - rest.fe_params
        np.testing.assert_allclose(ours.dfbetas.loc[label], change / error, rtol=1e-3, atol=1e-4)
        if name != "ordinal":  # whose first threshold counts
            cook = change @ np.linalg.solve(fit.cov_fe, change) / len(change)
            assert ours.cooks_distance.loc[label] == pytest.approx(cook, rel=2e-3, abs=1e-6)
        expected = dict(_variances(rest))
        for found, value in ours.variance_parameters.loc[label].items():
            assert value == pytest.approx(expected[found], rel=1e-3, abs=1e-3)


def _variances(fit: mm.GlmmResult | mm.MmrmResult) -> Iterator[tuple[str, float]]:
    """Yield the parameters of a fit's covariance, dispersion and thresholds as other methods have them."""
    for _, row in fit.tidy("ran_pars").iterrows():
        kind, _, term = row["term"].partition("__")
        yield (f"{kind}_{term}|{row['group']}" if term else row["term"]), row["estimate"]
    if isinstance(fit, mm.CorrelatedResult):
        yield "sd_Intercept|g", fit.varcorr.to_frame()["sd_or_corr"].iloc[0]
    if isinstance(fit, mm.GlmmResult):
        yield "dispersion", fit.scale
        if fit.family.name == "ordinal":
            yield from fit.thresholds.items()


def _first_rows(fit: mm.GlmmResult) -> Influence:
    """Return two deletions of rows."""
    deleted = fit._deleted()
    made = {i: deleted.refit(np.delete(np.arange(fit.nobs), i)) for i in (0, 7)}
    out = _Deletions(deleted, pd.Index(list(made)), True)
    for one in made.values():
        out.add(one)
    whole = out.made()
    assert whole is not None
    return whole


def dense_step(fit: mm.MmrmResult, out: npt.NDArray[np.intp]) -> Floats:
    """Return the fixed effects of generalised least squares on the rows that stay, V of the fit held."""
    state = fit.state
    V = np.zeros((fit.nobs, fit.nobs))
    for some in by_pattern(state):
        for rows, roots in zip(some.rows, some.roots, strict=True):
            V[np.ix_(rows, rows)] = some.covariance / np.outer(roots, roots)
    rest = np.delete(np.arange(fit.nobs), out)
    X, y, V = state.design.X[rest], state.design.y[rest], V[np.ix_(rest, rest)]
    return np.linalg.solve(X.T @ np.linalg.solve(V, X), X.T @ np.linalg.solve(V, y))


@pytest.mark.parametrize("name", ["visits", "weights and variances"])
def test_one_step_is_least_squares_of_the_rest(name: str) -> None:
    data = counts().assign(h=lambda d: d["h"] + 1)
    fit = MODELS[name](data)
    by_row, by_place = fit.influence(method="one-step"), fit.influence("g", "one-step", progress=False)
    for i in (0, 50):
        np.testing.assert_allclose(by_row.fe_params.iloc[i], dense_step(fit, np.array([i])), rtol=1e-9)
    for g in (0, 7):
        expected = dense_step(fit, np.flatnonzero(data["g"] == g))
        np.testing.assert_allclose(by_place.fe_params.loc[g], expected, rtol=1e-9)
        change = fit.fe_params.to_numpy() - expected
        cook = change @ np.linalg.solve(fit.cov_fe.to_numpy(), change) / len(change)
        assert by_place.cooks_distance.loc[g] == pytest.approx(cook, rel=1e-8)


def test_one_step_of_parts_of_blocks() -> None:
    data = counts().assign(t=lambda d: d["h"] + 1, half=lambda d: d["h"] // 4)
    fit = mm.lmer("x ~ y + (1 | g) + (1 | g:half)", data, variance="power(t)")
    found = fit.influence("g:half", "one-step", progress=False)
    out = np.flatnonzero((data["g"] == 3) & (data["half"] == 1))
    level = list(found.fe_params.index)[7]
    assert "3" in str(level)
    assert "1" in str(level)
    np.testing.assert_allclose(found.fe_params.iloc[7], dense_step(fit, out), rtol=1e-9)


@pytest.mark.parametrize("name", ["poisson", "negative binomial", "ordinal"])
@pytest.mark.parametrize("by", ["g", None])
def test_one_step_is_near_the_refit(name: str, by: str | None) -> None:
    fit = MODELS[name](counts())
    exact, near = fit.influence(by, progress=False), fit.influence(by, "one-step", progress=False)
    for column in exact.fe_params:
        ours, theirs = near.fe_params[column] - fit.fe_params[column], exact.fe_params[column] - fit.fe_params[column]
        assert np.corrcoef(ours, theirs)[0, 1] > 0.9
        assert 0.7 < np.polyfit(theirs, ours, 1)[0] < 1.3


def test_one_step_of_a_row_is_that_of_its_level() -> None:
    """Where each level has one row the two ways to the step must agree."""
    data = counts().assign(row=np.arange(96))
    fit = mm.glmer("y ~ x + (1 | row)", data, "poisson")
    by_row, by_level = fit.influence(method="one-step"), fit.influence("row", "one-step", progress=False)
    np.testing.assert_allclose(by_row.fe_params, by_level.fe_params, rtol=1e-8)
    np.testing.assert_allclose(by_row.cooks_distance, by_level.cooks_distance, rtol=1e-6)


def test_what_cannot_be_fitted_without_it_is_a_row_with_the_reason() -> None:
    data = counts().assign(only=lambda d: np.where(d["g"] == 3, "a", "b"))
    fit = mm.glmer("y ~ x + only + (1 | g)", data, "poisson")
    for method in ("exact", "one-step"):
        found = fit.influence("g", method, progress=False)
        assert found.failures == {3: "a fixed effect cannot be estimated without it"}
        assert found.fe_params.loc[3].isna().all()
        assert found.fe_params.drop(3).notna().all(axis=None)
    trial = mm.mmrm("x ~ y + only + ar1(h | g)", data)
    for method in ("exact", "one-step"):
        assert trial.influence("g", method, progress=False).failures == found.failures
    data = data.assign(z=np.where(data["g"] == 5, 2, data["z"] % 2))
    found = mm.glmer("z ~ x + (1 | g)", data, "ordinal").influence("g", progress=False)
    assert found.failures == {5: "a category of the response has no rows without it"}
    with pytest.raises(mm.InferenceError, match="'place'"):
        fit.influence("place")
    with pytest.raises(mm.InferenceError, match="'jackknife' is not available"):
        trial.influence("g", "jackknife")


def test_an_interrupt_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = MODELS["quadrature"](counts())
    whole, fit_again = fit.influence("g", progress=False), deleted_generalized.fit_generalized

    def impatient(problem: object, **arguments: object) -> object:
        if 5 not in problem.design.factors[0].levels:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return fit_again(problem, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(deleted_generalized, "fit_generalized", impatient)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit.influence("g", progress=False)
    partial = caught.value.partial  # type: ignore[attr-defined]
    pd.testing.assert_frame_equal(partial.fe_params, whole.fe_params.iloc[:5])
    assert partial.notes == ["Influence was interrupted: 5 of 12 deletions were made."]
