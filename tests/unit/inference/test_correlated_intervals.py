"""Intervals, profiles and bootstraps where residuals have something on them and random effects stand beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.inference.profiled_correlated import CorrelatedProfiled


def children() -> pd.DataFrame:
    """Return visits of children, some of them missing."""
    frame = mm.load_dataset("Orthodont")
    frame["v"] = ((frame["age"] - 8) / 2).astype(int)
    return frame[np.arange(len(frame)) % 7 != 3].reset_index(drop=True)


def fitted(formula: str, data: pd.DataFrame | None = None, **more: object) -> mm.CorrelatedResult:
    """Return a fit with something on its residuals."""
    fit = mm.lmer(formula, children() if data is None else data, **more)  # type: ignore[call-overload]  # any argument
    assert isinstance(fit, mm.CorrelatedResult)
    return fit


@pytest.mark.parametrize(
    ("formula", "more"),
    [
        ("distance ~ age + (age | Subject)", {"variance": "ident(Sex) * power(age)"}),
        ("distance ~ age + (age | Subject)", {"residual": "ar1h(v | Sex / Subject)"}),
        ("distance ~ age + (1 | Subject)", {"residual": "us(v | Subject)", "variance": "exp(age)"}),
        ("distance ~ age + (1 | Subject)", {"residual": "exp(age | Subject, nugget=True)", "weights": "w"}),
        ("distance ~ age + (1 | Subject)", {"sigma": 1.3, "variance": "ident(Sex)"}),
    ],
)
@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
def test_derivatives_of_the_parameters(formula: str, more: dict[str, object]) -> None:
    fit = fitted(formula, children().assign(w=lambda d: 1.0 + d["v"] % 2), **more)
    known = CorrelatedProfiled(fit.state)
    covariance, k = fit.state.problem.covariance, fit.state.n_covariance
    point = known.map.point(known.psi + 0.1 * np.sin(1.0 + np.arange(k)))
    np.testing.assert_allclose(known.map.point(known.map.psi(point)), point, rtol=1e-12, atol=1e-12)
    h = 1e-4
    for parameter in known.map.parameters:
        surface = known.map.surface(parameter)
        value, gradient, hessian = surface(point)
        natural = known.map.values_at(point)[known.map.parameters.index(parameter)]
        assert parameter.natural(value)[0] == pytest.approx(natural, rel=1e-12)
        ahead = [surface(covariance.moved(point, h * unit))[0] for unit in np.eye(k)]
        behind = [surface(covariance.moved(point, -h * unit))[0] for unit in np.eye(k)]
        np.testing.assert_allclose((np.array(ahead) - behind) / (2 * h), gradient, atol=1e-6)
        bend = (np.array(ahead) + behind - 2 * value) / h**2
        np.testing.assert_allclose(bend, np.diag(hessian), atol=1e-5 * max(1.0, float(np.abs(hessian).max())))


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("formula", ["distance ~ age + Sex + (age | Subject)", "distance ~ age + Sex + (1 | Subject)"])
def test_independent_residuals_have_the_profiles_of_lmer(formula: str, reml: bool) -> None:
    ours = fitted(formula, residual="id(v | Subject)", reml=reml)
    theirs = mm.lmer(formula, children(), reml=reml)
    expected = theirs.conf_int("profile").rename({"sigma": "sd"})
    found = ours.conf_int("profile")
    assert list(found.index) == list(expected.index)
    width = (expected["upper"] - expected["lower"]).to_numpy()[:, None]
    np.testing.assert_allclose(found / width, expected / width, atol=1e-3)
    for scale in ("sd", "log"):
        plain = theirs.variance_parameters(scale).rename({"sigma": "sd"})
        np.testing.assert_allclose(ours.variance_parameters(scale), plain, rtol=5e-3, atol=1e-4)
    squares = ours.variance_parameters("variance")
    assert list(squares.index)[-1] == "var"
    assert squares["estimate"].iloc[-1] == pytest.approx(ours.sigma**2, rel=1e-8)


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
def test_a_variance_of_zero_has_an_interval_from_zero() -> None:
    data = children()
    rng = np.random.default_rng(3)
    data["noise"] = rng.standard_normal(len(data))
    means = data.groupby("Subject", observed=True)["noise"].transform("mean")
    data["noise"] -= 0.9 * means
    ours = fitted("noise ~ age + (1 | Subject)", data, residual="id(v | Subject)")
    assert ours.is_singular
    with pytest.warns(mm.SingularFitWarning):
        theirs = mm.lmer("noise ~ age + (1 | Subject)", data)
    found, expected = (fit.conf_int("profile") for fit in (ours, theirs))
    assert found.loc["sd_Intercept|Subject", "lower"] == 0
    np.testing.assert_allclose(found, expected.rename({"sigma": "sd"}), rtol=2e-3)


def test_units_change_intervals_as_they_change_parameters() -> None:
    plain = fitted("distance ~ age + (1 | Subject)", variance="ident(Sex) * power(age)")
    data = children().assign(distance=lambda d: 1e6 * d["distance"])
    large = fitted("distance ~ age + (1 | Subject)", data, variance="ident(Sex) * power(age)")
    a, b = plain.conf_int("profile"), large.conf_int("profile")
    unit = np.array([1e6 if name not in ("sd ratio(Sex Female)", "power(age)") else 1.0 for name in a.index])
    np.testing.assert_allclose(b.to_numpy() / unit[:, None], a, rtol=1e-5)
    days = children().assign(age=lambda d: 1e-4 * d["age"])
    small = fitted("distance ~ age + (1 | Subject)", days, variance="exp(age)")
    usual = fitted("distance ~ age + (1 | Subject)", variance="exp(age)")
    limits = [fit.conf_int("profile", which="rate(age)").to_numpy() for fit in (small, usual)]
    np.testing.assert_allclose(1e-4 * limits[0], limits[1], rtol=1e-5)


def test_replicates_are_refits_and_cases_those_of_lmer(tmp_path: Path) -> None:
    fit = fitted("distance ~ age + (1 | Subject)", residual="ar1(v | Subject)", variance="ident(Sex)")
    made = fit.bootstrap(8, seed=4, progress=False)
    assert made.n_failed == 0
    assert list(made.replicates.columns) == list(fit.conf_int().index)
    first = fit._replicated().draw("parametric")(
        np.random.Generator(np.random.Philox(np.random.SeedSequence(4, spawn_key=(0,))))
    )
    again = fit.refit(first)
    parameters = [*again.fe_params, *again.variance_parameters()["estimate"]]
    np.testing.assert_allclose(made.replicates.iloc[0], parameters, rtol=1e-6)
    fit.bootstrap(4, seed=4, path=tmp_path / "boot", progress=False)
    pd.testing.assert_frame_equal(mm.load(tmp_path / "boot").replicates, made.replicates[:4])
    assert fit.conf_int("bootstrap", n=8, seed=4).notna().all(axis=None)

    whole = mm.load_dataset("Orthodont").assign(v=lambda d: ((d["age"] - 8) / 2).astype(int))
    ours = fitted("distance ~ age + (1 | Subject)", whole, residual="id(v | Subject)").bootstrap(
        8, seed=2, kind="cases", progress=False
    )
    theirs = mm.lmer("distance ~ age + (1 | Subject)", whole).bootstrap(8, seed=2, kind="cases", progress=False)
    np.testing.assert_allclose(ours.replicates, theirs.replicates, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_said() -> None:
    data = children()
    V = np.diag(np.linspace(0.5, 1.5, len(data)))
    known = fitted("distance ~ age + (1 | Subject)", data, residual=V)
    with pytest.raises(mm.InferenceError, match="kind"):
        known.bootstrap(2, kind="cases", progress=False)
    with pytest.raises(mm.InferenceError, match="have no profile; name the parameters"):
        known.profile({"ratio": lambda p: p["sd"] / p["sd_Intercept|Subject"]}, progress=False)
