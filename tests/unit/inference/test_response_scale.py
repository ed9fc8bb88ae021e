"""Means of transformed responses against the transformations themselves and closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.inference.response_scale import read_transformation

SLEEP = mm.load_dataset("sleepstudy").assign(kind=lambda data: np.where(data["Days"] % 2, "odd", "even"))
SLEEP["y"] = SLEEP["Reaction"] / 300
SLEEP["my y"] = SLEEP["y"]

FORWARD = {
    "log(y)": np.log,
    "np.log(`my y` + 0.5)": lambda y: np.log(y + 0.5),
    "log(2 * y + 1, 10)": lambda y: np.log10(2 * y + 1),
    "100 * log2(y)": lambda y: 100 * np.log2(y),
    "3 - log10(y) / 2": lambda y: 3 - np.log10(y) / 2,
    "log1p(y)": np.log1p,
    "I(y**2)": np.square,
    "y**3": lambda y: y**3,
    "y**-2": lambda y: y**-2.0,
    "1 / y": lambda y: 1 / y,
    "-1 / y": lambda y: -1 / y,
    "-(y**(1/3))": lambda y: -np.cbrt(y),
    "np.cbrt(y)": np.cbrt,
    "np.arcsinh(y)": np.arcsinh,
    "np.arcsin(sqrt(y / 2))": lambda y: np.arcsin(np.sqrt(y / 2)),
    "np.arctanh(y / 5)": lambda y: np.arctanh(y / 5),
    "exp(y)": np.exp,
    "expm1(y)": np.expm1,
    "1000 * y": lambda y: 1000 * y,
}


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")
@pytest.mark.parametrize("text", FORWARD)
def test_undoes_what_was_done(text: str) -> None:
    """Means forth again are those of the model; errors and limits are in proportion to the derivative."""
    fit = mm.lmer(f"{text} ~ kind + Days + (1 | Subject)", SLEEP)
    plain, back = fit.margins("kind"), fit.margins("kind", scale="response")
    np.testing.assert_allclose(FORWARD[text](back["estimate"]), plain["estimate"], rtol=1e-9)
    ends = np.sort(FORWARD[text](back[["ci_lower", "ci_upper"]].to_numpy()), axis=1)
    np.testing.assert_allclose(ends, plain[["ci_lower", "ci_upper"]], rtol=1e-9)
    assert (back["ci_lower"] < back["estimate"]).all()
    assert (back["estimate"] < back["ci_upper"]).all()
    h = 1e-6
    slope = (FORWARD[text](back["estimate"] + h) - FORWARD[text](back["estimate"] - h)) / (2 * h)
    np.testing.assert_allclose(back["std_error"] * slope.abs(), plain["std_error"], rtol=1e-6)
    pd.testing.assert_frame_equal(back[["df", "statistic", "p_value"]], plain[["df", "statistic", "p_value"]])


@pytest.mark.parametrize(
    ("text", "of", "values"),
    [
        ("log(y)", "y", SLEEP["y"]),
        ("log2(`my y` + 1)", "my y + 1", SLEEP["y"] + 1),
        ("log1p(y)", "1 + y", SLEEP["y"] + 1),
        ("5 - 3 * log10(y)", "y", SLEEP["y"]),
    ],
)
def test_differences_of_logarithms_are_ratios(text: str, of: str, values: pd.Series) -> None:
    """The ratio of geometric means, which one grouping factor without effect leaves them to be."""
    data = SLEEP.assign(z=values)
    fit = mm.lmer(f"{text} ~ kind + (1 | Subject)", data)
    table = fit.margins("kind", pairwise=True, scale="response")
    means = np.log(data["z"]).groupby(data["kind"]).mean()
    assert table.index.tolist() == ["even / odd"]
    assert table["estimate"].iloc[0] == pytest.approx(np.exp(means["even"] - means["odd"]), rel=1e-9)
    assert f"Ratios of {of}; tests are of differences on the scale of {text}." in table.attrs["notes"]


def test_means_of_a_lognormal() -> None:
    fit = mm.lmer("log(y) ~ kind + (1 | Subject)", SLEEP)
    variance = fit.scale + fit.varcorr["Subject"].iloc[0, 0]
    plain, mean = fit.margins("kind"), fit.margins("kind", scale="response", bias_adjust=True)
    np.testing.assert_allclose(mean["estimate"], np.exp(plain["estimate"] + variance / 2), rtol=1e-9)
    np.testing.assert_allclose(mean["std_error"], mean["estimate"] * plain["std_error"], rtol=1e-9)
    given = fit.margins("kind", scale="response", bias_adjust=float(np.sqrt(variance)))
    np.testing.assert_allclose(given, mean, rtol=1e-12)
    assert "with standard deviation" in " ".join(mean.attrs["notes"])


def test_one_sided_intervals_end_where_responses_do() -> None:
    fit = mm.lmer("log(y) ~ kind + (1 | Subject)", SLEEP)
    for arguments in ({}, {"bias_adjust": True}):
        below = fit.margins("kind", scale="response", side="less", **arguments)
        above = fit.margins("kind", scale="response", side="greater", **arguments)
        assert (below["ci_lower"] == 0).all()
        assert np.isinf(above["ci_upper"]).all()
        assert (above["ci_lower"] < above["estimate"]).all()


def test_contrasts_that_have_no_scale_of_their_own() -> None:
    fit = mm.lmer("sqrt(y) ~ kind + (1 | Subject)", SLEEP)
    table = fit.margins("kind", pairwise=True, scale="response")
    pd.testing.assert_frame_equal(table, fit.margins("kind", pairwise=True))
    assert any("stay on the scale of sqrt(y)" in note for note in table.attrs["notes"])
    middle = fit.margins("kind", contrasts={"middle": [0.5, 0.5]}, scale="response")
    assert middle["estimate"].iloc[0] == pytest.approx(fit.margins("kind")["estimate"].mean() ** 2)


def test_a_mean_out_of_range_has_no_value() -> None:
    """Weights of a regression far beyond the data: a square root below zero."""
    fit = mm.lmer("sqrt(y) ~ kind + Days + (1 | Subject)", SLEEP)
    table = fit.margins("kind", at={"Days": -200}, scale="response")
    assert table[["estimate", "std_error", "ci_lower", "ci_upper"]].isna().to_numpy().all()
    assert any("no response has as its sqrt(y)" in note for note in table.attrs["notes"])


@pytest.mark.parametrize("text", ["scale(y)", "np.sin(y)", "y * y", "log(y, y)", "y**0"])
def test_what_cannot_be_undone(text: str) -> None:
    from mixedmodels.formula.parse import parse_formula  # noqa: PLC0415 - needed here only

    fit = mm.lmer("log(y) ~ kind + (1 | Subject)", SLEEP)
    design = fit.state.design
    object.__setattr__(design, "response_name", text)
    object.__setattr__(design, "formula", parse_formula(f"{text} ~ kind + (1 | Subject)"))
    with pytest.raises(mm.InferenceError, match="cannot be undone; those that can are log"):
        read_transformation(fit.state)


def test_notes_say_which_scale() -> None:
    fit = mm.lmer("log(y) ~ kind + (1 | Subject)", SLEEP)
    assert "Means of log(y)." in fit.margins("kind").attrs["notes"]
    assert "Differences of log(y)." in fit.margins("kind", pairwise=True).attrs["notes"]
    tested = fit.margins("kind", null=0.1, side="less").attrs["notes"]
    assert "One-sided tests: of being below 0.1 on the scale of log(y)." in tested
