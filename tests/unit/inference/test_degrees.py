"""The methods by name: what they need, what they refuse, what they cost."""

from __future__ import annotations

import math
import pickle

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

import mixedmodels as mm
from data_loader import load
from fixed_theta import reference_state
from mixedmodels.errors import InferenceError
from mixedmodels.fit.problem import Problem
from mixedmodels.inference.approximation import FTest, independent_rows
from mixedmodels.inference.curvature import inverse_root
from mixedmodels.inference.degrees import DDF_METHODS, FixedDegrees, approximation, estimate_rows, joint_test
from mixedmodels.inference.kenward_roger import scaled_f
from mixedmodels.inference.satterthwaite import joint_df
from mixedmodels.inference.wald import coef_table

SLEEP = "Reaction ~ Days + (Days | Subject)"


def test_names() -> None:
    assert DDF_METHODS == ("satterthwaite", "kenward-roger", "residual", "normal")
    state, _ = reference_state("sleepstudy_slope")
    for ddf in DDF_METHODS:
        assert len(approximation(state, ddf).notes) == 1


@pytest.mark.parametrize(
    ("ddf", "message"),
    [
        ("Satterthwaite", "Did you mean 'satterthwaite'"),
        ("kr", 'must be one of "satterthwaite", "kenward-roger", "residual", "normal".* mean \'kenward-roger\''),
        ("KR", "Did you mean 'kenward-roger'"),
        ("KENWARD-ROGER", "Did you mean 'kenward-roger'"),
        (5, "ddf=5 is not available"),
        (None, "ddf=None is not available"),
    ],
)
def test_unknown_names(ddf: object, message: str) -> None:
    with pytest.raises(InferenceError, match=message):
        approximation(reference_state("sleepstudy_slope")[0], ddf)


def test_kenward_roger_refuses_ml() -> None:
    state, _ = reference_state("sleepstudy_slope", "ML")
    for table in (coef_table, approximation):
        with pytest.raises(InferenceError, match=r"needs a REML fit.* Refit with reml=True"):
            table(state, "kenward-roger")


def test_a_method_of_ones_own() -> None:
    """Anything with a covariance and degrees of freedom serves every table."""
    state, _ = reference_state("sleepstudy_slope")
    own = FixedDegrees(state, 4 * state.sigma**2 * np.eye(2), 7.0, ("Twice as wide.",))
    table, plain = coef_table(state, own), coef_table(state, "normal")
    np.testing.assert_allclose(table["std_error"], 2 * plain["std_error"])
    assert (table["df"] == 7).all()
    assert joint_test(state, np.eye(2), own).den_df == 7


def test_nothing_to_test() -> None:
    with pytest.raises(InferenceError, match="nothing to test"):
        joint_test(reference_state("sleepstudy_slope")[0], np.zeros((1, 2)))


def test_second_derivatives_are_computed_when_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def count(name: str) -> None:
        original = getattr(Problem, name)

        def counted(self: Problem, *arguments: object) -> object:
            calls.append(name)
            return original(self, *arguments)

        monkeypatch.setattr(Problem, name, counted)

    count("information")
    count("covariance_derivatives")
    fit = mm.lmer(SLEEP, load("sleepstudy"))
    fit.summary(ddf="normal")
    assert calls == []
    for _ in range(2):
        fit.summary()
        fit.anova()
        fit.contrast("Days")
        fit.coef_table("kenward-roger")
        fit.anova(ddf="kenward-roger")
    assert sorted(calls) == ["covariance_derivatives", "information"]


def test_a_pickled_fit_answers_the_same() -> None:
    fit = mm.lmer("score ~ Machine + (0 + Machine | Worker)", load("Machines"))
    copy = pickle.loads(pickle.dumps(fit))
    for ddf in DDF_METHODS:
        np.testing.assert_allclose(copy.anova(ddf=ddf), fit.anova(ddf=ddf), rtol=1e-9)


def test_p_values_of_f() -> None:
    """With two numerator degrees of freedom the tail is (1 + 2 F / m)^(-m / 2), and exp(-F) for m infinite."""
    for F in (0.1, 3.0, 400.0):
        assert FTest(F, 2, 7.5).p_value == pytest.approx((1 + 2 * F / 7.5) ** -3.75, rel=1e-10)
        assert FTest(F, 2, math.inf).p_value == pytest.approx(math.exp(-F), rel=1e-10)
    assert FTest(9.0, 1, 4.0).p_value == pytest.approx(2 * stats.t.sf(3.0, 4.0), rel=1e-10)


def test_independent_rows() -> None:
    rows: npt.NDArray[np.float64] = np.array([[1.0, 0, 0], [0, 0, 0], [2, 0, 0], [1, 1, 0], [0, 3, 0], [0, 0, 1e-3]])
    assert independent_rows(rows) == [0, 3, 5]
    assert independent_rows(rows[1:2]) == []


def test_joint_df() -> None:
    """The harmonic formula; equal ones stay, and two or fewer have no mean."""
    assert joint_df(np.array([7.0, 7.0, 7.0])) == 7
    nu = np.array([5.0, 10.0])
    E = np.sum(nu / (nu - 2))
    assert joint_df(nu) == pytest.approx(2 * E / (E - 2))
    assert 5 < joint_df(nu) < 10
    assert joint_df(np.array([1.5, 30.0])) == 2
    assert joint_df(np.array([1.5])) == 1.5


def test_curvature_leaves_out_what_is_flat_or_irregular() -> None:
    H = np.diag([4.0, 1e8, 1e-12, -3.0, 9.0])
    H[0, 1] = H[1, 0] = 1e4
    root = inverse_root(H, np.zeros((0, 5)), np.array([True, True, True, True, False]))
    assert root.shape == (5, 3)
    inverse = root @ root.T
    np.testing.assert_allclose(inverse[:2, :2], np.linalg.inv(H[:2, :2]), rtol=1e-9)
    assert inverse[2, 2] == pytest.approx(1e12)
    assert (inverse[3:] == 0).all()


def test_curvature_beside_a_flat_direction_is_that_of_the_smaller_problem() -> None:
    """With H = A'BA and A (1, 2, -1)' = 0, the inverse on the rest gives every estimable combination its variance."""
    A = np.array([[1.0, 0, 1], [0, 1, 2]])
    B = np.array([[3.0, 1], [1, 2]])
    root = inverse_root(A.T @ B @ A, np.array([[1.0, 2, -1]]))
    np.testing.assert_allclose(A @ root @ root.T @ A.T, np.linalg.inv(B), rtol=1e-10)


def test_an_f_of_no_moments_is_missing() -> None:
    """With a2 > q its mean, 1 / (1 - a2 / q), is negative; pbkrtest gives -.0654 degrees of freedom and F < 0 here."""
    assert np.isnan(scaled_f(3, 6.347687349147453, 6.411915761918511)).all()
    assert np.isnan(FTest(np.nan, 3, np.nan).p_value)


def test_scaled_f_is_exact_for_hotelling() -> None:
    """n - q degrees of freedom and the factor (n - q) / (n - 1), for q contrasts of n subjects."""
    for n, q in ((6, 2), (20, 5), (3, 2)):
        # A Wishart matrix M of n - 1 degrees of freedom, mean I: Var(tr M) and the mean of tr((M - I)^2).
        scale, den_df = scaled_f(q, 2 * q / (n - 1), q * (q + 1) / (n - 1))
        assert den_df == pytest.approx(n - q)
        assert scale == pytest.approx((n - q) / (n - 1))
    assert scaled_f(1, 0.25, 0.25) == (1.0, 8.0)


def test_rows_have_their_own_degrees_of_freedom() -> None:
    state, _ = reference_state("beets_kr")
    table = coef_table(state)
    rows = estimate_rows(state, np.eye(state.n_fixed)[::-1])
    np.testing.assert_allclose(rows.df[::-1], table["df"])


@pytest.mark.parametrize(("origin", "tol"), [(1e3, 1e-7), (1e5, 1e-9), (1e6, 1e-8)])
@pytest.mark.parametrize("ddf", ["satterthwaite", "normal"])
def test_standard_errors_of_means_do_not_depend_on_the_origin(origin: float, tol: float, ddf: str) -> None:
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(np.arange(10), 8), "z": rng.normal(size=80), "f": np.tile(["a", "b"], 40)})
    data["y"] = rng.normal(size=10)[data.g] + data.z + rng.normal(size=80)
    near = mm.lmer("y ~ z * f + (1 | g)", data)
    far = mm.lmer("y ~ z * f + (1 | g)", data.assign(z=data.z + origin))
    columns = ["estimate", "std_error", "ci_lower"]
    for pairwise in (False, True):
        expected = near.margins("f", pairwise=pairwise, ddf=ddf)[columns]
        np.testing.assert_allclose(far.margins("f", pairwise=pairwise, ddf=ddf)[columns], expected, rtol=100 * tol)
    rows = near.contrast(np.array([[1, 0.5, 0, 0]]), ddf=ddf)["std_error"]
    again = far.contrast(np.array([[1, 0.5 + origin, 0, 0]]), ddf=ddf)["std_error"]
    np.testing.assert_allclose(again, rows, rtol=tol)


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
@pytest.mark.parametrize("ddf", ["satterthwaite", "normal"])
def test_every_table_of_tests_says_why_degrees_of_freedom_may_be_wrong(ddf: str) -> None:
    data = load("Dyestuff2").assign(x=lambda frame: np.arange(len(frame)) % 3)
    told: list[bool] = []
    for fit in (mm.lmer("Yield ~ x + (1 | Batch)", data), mm.lmer(SLEEP.replace("Days", "x"), sleep_of_x())):
        tables = [
            fit.coef_table(ddf), fit.anova(ddf=ddf), fit.anova(type=1, ddf=ddf), fit.drop1(ddf=ddf),
            fit.joint_tests(ddf=ddf), fit.contrast("x = 0", ddf), fit.contrast("x = 0", ddf, joint=True),
            fit.slopes("x", ddf=ddf), fit.step(ddf=ddf).fixed, fit.conf_int(ddf=ddf),
        ]  # fmt: skip
        tables += [fit.effect_sizes(ddf=ddf)] if ddf == "satterthwaite" else []
        notes = [any("so may be too large" in note for note in table.attrs["notes"]) for table in tables]
        assert set(notes) == {fit.is_singular and ddf == "satterthwaite"}
        assert all("so may be too large" not in note for note in fit.conf_int(which="theta").attrs["notes"])
        told.append(notes[0])
    assert told == [ddf == "satterthwaite", False]


def sleep_of_x() -> pd.DataFrame:
    return load("sleepstudy").rename(columns={"Days": "x"})
