"""Complete designs, whose criterion has one optimum: one start finds it (rust/src/complete.rs)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm
from boundary.search import assert_optimal

pytestmark = pytest.mark.filterwarnings(
    "ignore::mixedmodels.errors.SingularFitWarning", "ignore::mixedmodels.errors.IdentificationWarning"
)

M = 14


def subjects(seed: int = 0, n_rows: int = 6) -> pd.DataFrame:
    """Return M subjects at the same places x, with treatment t, age a, conditions c in each and weights w by place."""
    rng = np.random.default_rng(seed)
    g, k = np.divmod(np.arange(M * n_rows), n_rows)
    x = rng.normal(size=n_rows)
    b = rng.normal(size=(M, 2)) * rng.choice([0.0, 0.1, 0.5, 2.0], 2)
    if rng.random() < 0.3:
        b[:, 1] = rng.normal() * b[:, 0]
    y = 1.0 + x[k] + b[g, 0] + b[g, 1] * x[k] + rng.normal(size=len(g))
    data = pd.DataFrame({"y": y, "x": x[k], "g": g, "t": g % 2 == 0, "a": rng.normal(size=M)[g]})
    return data.assign(c=pd.Categorical(k % 3), w=1.0 + k, v=1.0 + (g + k) % 3, z=rng.normal(size=len(g)))


def has_one_start(formula: str, data: pd.DataFrame, reml: bool = True, **arguments: object) -> bool:
    """Return whether a fit takes no more evaluations than one from the first start alone; others take more."""
    model = mm.LinearMixedModel(formula, data, **arguments).problem.model
    usual, one, four = (model.minimize(reml, None, 200, n).n_evaluations for n in (0, 1, 4))
    assert one < four
    assert usual in (one, four)
    return bool(usual == one)


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize(
    ("formula", "arguments"),
    [
        ("y ~ 1 + (1|g)", {}),
        ("y ~ x + (x|g)", {}),
        ("y ~ x * t + (x|g)", {}),
        ("y ~ x * (t + a) + (x|g)", {}),
        ("y ~ x + t + (1|g)", {}),
        ("y ~ x + I(x**2) + I(x**3) + (x|g)", {}),
        ("y ~ c + (c|g)", {}),
        ("y ~ c * x + (0 + c|g)", {}),
        ("y ~ 0 + x + (0 + x|g)", {}),
        ("y ~ x + (x|g)", {"weights": "w"}),
    ],
)
def test_one_start_is_enough_for_complete_designs(formula: str, arguments: dict[str, object], reml: bool) -> None:
    for seed in range(4):
        data = subjects(seed)
        assert has_one_start(formula, data, reml, **arguments)
        assert_optimal(mm.LinearMixedModel(formula, data, **arguments), reml=reml)


@pytest.mark.parametrize(
    ("formula", "arguments"),
    [
        ("y ~ x + t + (x|g)", {}),  # a parameter for the intercepts' means and none for the slopes'
        ("y ~ 1 + (x|g)", {}),
        ("y ~ x + z + (x|g)", {}),  # a column between and within subjects
        ("y ~ x + (x||g)", {}),
        ("y ~ x + (z|g)", {}),
        ("y ~ x + (1|g) + (1|c)", {}),
        ("y ~ x + (x|g)", {"weights": "v"}),
    ],
)
def test_other_designs_have_several_starts(formula: str, arguments: dict[str, object]) -> None:
    assert not has_one_start(formula, subjects(), **arguments)


def test_one_row_less_is_no_complete_design() -> None:
    assert not has_one_start("y ~ x + (x|g)", subjects().iloc[1:])
    assert not has_one_start("y ~ 1 + (1|g)", subjects().iloc[1:])


def far(column: npt.NDArray[np.float64], spreads: float) -> npt.NDArray[np.float64]:
    return column + spreads * column.std()


@pytest.mark.parametrize("spreads", [1e3, 1e6])
def test_origin_units_and_order_of_rows_do_not_matter(spreads: float) -> None:
    data = subjects()
    assert has_one_start("y ~ x + (x|g)", data.assign(x=far(data.x.to_numpy(), spreads)))
    assert has_one_start("y ~ x + (x|g)", data.assign(x=1e-9 * data.x, y=1e9 * data.y))
    assert has_one_start("y ~ x + (x|g)", data.sample(frac=1.0, random_state=1))


@pytest.mark.parametrize("seed", range(6))
def test_the_optimum_is_the_closed_form(seed: int) -> None:
    """Within subjects least squares, between them the covariance of their coefficients (Lange and Laird 1989)."""
    data = subjects(seed)
    fit = mm.LinearMixedModel("y ~ x + (x|g)", data).fit()
    Z = np.column_stack([np.ones(6), data.x[:6]])
    Y = data.y.to_numpy().reshape(M, 6).T
    coefficients = np.linalg.lstsq(Z, Y, rcond=None)[0]
    variance = ((Y - Z @ coefficients) ** 2).sum() / (M * 4)
    covariance = np.cov(coefficients) - variance * np.linalg.inv(Z.T @ Z)
    np.testing.assert_allclose(fit.fe_params, coefficients.mean(axis=1), rtol=1e-9)
    if np.linalg.eigvalsh(covariance)[0] < 0:  # outside of what a covariance can be
        assert fit.is_singular
    else:
        assert not fit.is_singular
        np.testing.assert_allclose(fit.sigma**2, variance, rtol=1e-5)
        np.testing.assert_allclose(fit.varcorr["g"], covariance, rtol=1e-4, atol=1e-5 * variance)
