"""Slopes against coefficients, derivatives by hand and the invariance of what they mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

SLEEP = mm.load_dataset("sleepstudy")
COLUMNS = ["estimate", "std_error", "df", "statistic", "p_value", "ci_lower", "ci_upper"]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(30), 8)
    frame = pd.DataFrame({"g": g, "x": rng.uniform(0.5, 6, 240), "z": rng.normal(2, 1, 240)})
    frame["arm"] = np.array(["new", "old", "none"])[g % 3]
    frame["sex"] = rng.choice(["f", "m"], 240)
    slope = {"new": 1.0, "old": 0.3, "none": 0.0}
    frame["y"] = frame["arm"].map(slope) * frame["x"] + rng.normal(size=30)[g] + 0.4 * frame["z"] + rng.normal(size=240)
    return frame


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger", "residual", "normal", "robust"])
def test_a_coefficient_is_a_slope(ddf: str) -> None:
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    np.testing.assert_allclose(fit.slopes("Days", ddf=ddf)[COLUMNS], fit.coef_table(ddf).loc[["Days"]], rtol=1e-7)


CURVES = {
    "x + I(x**2)": lambda b, x: b[1] + 2 * b[2] * x,
    "log(x)": lambda b, x: b[1] / x,
    "I(x**2) + I(x**3)": lambda b, x: 2 * b[1] * x + 3 * b[2] * x**2,
    "sqrt(x) + exp(-x)": lambda b, x: b[1] / (2 * np.sqrt(x)) - b[2] * np.exp(-x),
    "np.sin(2 * x) + x": lambda b, x: 2 * b[1] * np.cos(2 * x) + b[2],
    "center(x) + I(center(x)**2)": lambda b, x: b[1] + 2 * b[2] * (x - MEAN[0]),
    "I(1 / x)": lambda b, x: -b[1] / x**2,
}
MEAN = [0.0]


@pytest.mark.parametrize("text", CURVES)
def test_derivatives_by_hand(data: pd.DataFrame, text: str) -> None:
    MEAN[0] = data["x"].mean()
    fit = mm.lmer(f"y ~ {text} + (1 | g)", data)
    x = np.array([0.5, 1.0, 3.0, 6.0])
    table = fit.slopes("x", by="x", at={"x": x})
    np.testing.assert_allclose(table["estimate"], CURVES[text](fit.fe_params.to_numpy(), x), rtol=1e-8)
    at_mean = fit.slopes("x")
    assert at_mean["estimate"].iloc[0] == pytest.approx(
        CURVES[text](fit.fe_params.to_numpy(), data["x"].mean()), rel=1e-8
    )
    assert "At the mean of x." in at_mean.attrs["notes"]
    assert "At the mean of x." not in table.attrs["notes"]


def test_a_line_is_exact(data: pd.DataFrame) -> None:
    fit = mm.lmer("y ~ x * arm + z + (1 | g)", data)
    table = fit.slopes("x", by="arm")
    b = fit.fe_params
    assert table["estimate"].loc["new"] == b["x"]
    np.testing.assert_allclose(table["estimate"].loc["old"], b["x"] + b["x:arm[T.old]"], rtol=1e-14)
    assert not any("At the mean" in note for note in table.attrs["notes"] if "of x" in note)


def test_one_curve_in_several_forms(data: pd.DataFrame) -> None:
    at: dict[str, Any] = {"by": "x", "at": {"x": [0.7, 2.0, 5.5]}}
    forms = ["x + I(x**2) + I(x**3)", "poly(x, 3)", "poly(x, 3, raw=True)", "bs(x, df=3)"]
    tables = [mm.lmer(f"y ~ {form} + (1 | g)", data).slopes("x", **at) for form in forms]
    for table in tables[1:]:
        np.testing.assert_allclose(table, tables[0], rtol=2e-5)


def test_splines_at_their_ends(data: pd.DataFrame) -> None:
    """Beyond its ends a spline is not known; there the derivative is that of the side which is."""
    fit = mm.lmer("y ~ bs(x, df=5) + (1 | g)", data)
    ends = [data["x"].min(), data["x"].max()]
    table = fit.slopes("x", by="x", at={"x": ends})
    inside = fit.slopes("x", by="x", at={"x": [ends[0] + 1e-5, ends[1] - 1e-5]})
    np.testing.assert_allclose(table["estimate"], inside["estimate"], rtol=1e-3)


def test_other_names_of_the_coding_change_nothing(data: pd.DataFrame) -> None:
    tables = [
        mm.lmer(f"y ~ x * C(arm, contr.{coding}) + sex + (1 | g)", data).slopes("x", by="arm", pairwise=True)
        for coding in ("treatment", "sum", "helmert", "poly")
    ]
    for table in tables[1:]:
        np.testing.assert_allclose(table, tables[0], rtol=1e-6)


def test_ordered_levels_as_any_others(data: pd.DataFrame) -> None:
    ordered = data.assign(arm=pd.Categorical(data["arm"], ["none", "old", "new"], ordered=True))
    a = mm.lmer("y ~ x * arm + (1 | g)", data).slopes("x", by="arm")
    b = mm.lmer("y ~ x * arm + (1 | g)", ordered).slopes("x", by="arm")
    assert b.index.tolist() == ["none", "old", "new"]
    np.testing.assert_allclose(a.loc[b.index], b, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.RankDeficiencyWarning")
@pytest.mark.parametrize("origin", [1e3, 1e6, 1e9])
def test_far_origins(data: pd.DataFrame, origin: float) -> None:
    far = data.assign(x=data["x"] + origin)
    arguments: dict[str, Any] = {"by": "arm", "pairwise": True}
    near = mm.lmer("y ~ x * arm + (1 | g)", data).slopes("x", **arguments)
    there = mm.lmer("y ~ x * arm + (1 | g)", far).slopes("x", **arguments)
    np.testing.assert_allclose(there, near, rtol=1e-5)
    curve = "y ~ poly(x, 2) + (1 | g)"
    near = mm.lmer(curve, data).slopes("x", by="x", at={"x": [1, 4]})
    there = mm.lmer(curve, far).slopes("x", by="x", at={"x": [origin + 1, origin + 4]})
    np.testing.assert_allclose(there, near, rtol=1e-4)


def test_units_of_both(data: pd.DataFrame) -> None:
    fit = mm.lmer("y ~ x * arm + (x | g)", data)
    scaled = mm.lmer("y ~ x * arm + (x | g)", data.assign(x=data["x"] * 1000, y=data["y"] * 7))
    a, b = fit.slopes("x", by="arm"), scaled.slopes("x", by="arm")
    np.testing.assert_allclose(b["estimate"], a["estimate"] * 7 / 1000, rtol=1e-5)
    np.testing.assert_allclose(b["p_value"], a["p_value"], rtol=1e-4)


def test_weights_and_offset(data: pd.DataFrame) -> None:
    known = data.assign(w=np.linspace(0.5, 2, len(data)), base=3 * data["z"])
    weighed = mm.lmer("y ~ x * arm + offset(base) + (1 | g)", known, weights="w")
    table = weighed.slopes("x", by="arm")
    assert table["estimate"].loc["new"] == pytest.approx(weighed.fe_params["x"], rel=1e-12)
    moved = mm.lmer("y ~ x + offset(2 * x) + (1 | g)", data)
    with pytest.raises(mm.InferenceError, match=r"The offset '2 \* x' changes with 'x'"):
        moved.slopes("x")


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.RankDeficiencyWarning")
def test_cells_without_rows(data: pd.DataFrame) -> None:
    there = data[(data["arm"] != "old") | (data["sex"] != "m")]
    fit = mm.lmer("y ~ x * arm * sex + (1 | g)", there)
    table = fit.slopes("x", by=["arm", "sex"])
    assert table.index[table["estimate"].isna()].tolist() == [("old", "m")]
    assert table.attrs["notes"][1].startswith("Cannot be estimated: old m, because the columns")
    own = mm.lmer("y ~ x * cell + (1 | g)", there.assign(cell=there["arm"] + there["sex"])).slopes("x", by="cell")
    known = table.dropna()
    np.testing.assert_allclose(known, own.loc[[a + b for a, b in known.index]], rtol=1e-6)
    assert fit.slopes("x", by="arm")["estimate"].isna().tolist() == [False, False, True]


def test_averages_and_what_hides_in_them(data: pd.DataFrame) -> None:
    fit = mm.lmer("y ~ x * arm + x * z + sex + (1 | g)", data)
    table = fit.slopes("x")
    b = fit.fe_params
    parts = [b.get(f"x:arm[T.{arm}]", 0.0) for arm in ("new", "none", "old")]
    expected = b["x"] + np.mean(parts) + b["x:z"] * data["z"].mean()
    assert table["estimate"].iloc[0] == pytest.approx(expected, rel=1e-10)
    notes = " ".join(table.attrs["notes"])
    assert "x interacts with arm: averages over arm may mislead." in notes
    assert "x interacts with z: what holds at the mean of z may mislead." in notes
    assert "sex interacts" not in notes


def test_slopes_of_a_transformed_response(data: pd.DataFrame) -> None:
    fit = mm.lmer("np.arcsinh(y) ~ x + (1 | g)", data)
    assert fit.slopes("x").attrs["notes"][0] == "Slopes of np.arcsinh(y) in x."


BAD: list[tuple[dict[str, Any], str]] = [
    ({"variable": "arm"}, "'arm' is not a number and has no slope"),
    ({"variable": "yes"}, "'yes' is not a number"),
    ({"variable": "step"}, "'step' is not a number"),
    ({"variable": "xx"}, "There is no variable 'xx' .* Did you mean 'x'"),
    ({"variable": "x", "by": "g"}, r"'g' is a grouping factor; slopes of its levels are slopes_by_level\(..., 'g'\)"),
    ({"variable": "x", "by": "z"}, "'z' is continuous and has no levels"),
    ({"variable": "x", "by": "arm", "within": "arm"}, "in by and in within"),
    ({"variable": "x", "pairwise": True}, "only one slope"),
    ({"variable": "x", "within": "arm", "pairwise": True}, "only one slope"),
    ({"variable": "x", "by": "arm", "adjust": "holm"}, "adjust is for differences"),
    ({"variable": "x", "at": {"arm": "nw"}}, "no level 'nw'"),
    ({"variable": "x", "weights": "rows"}, "weights is 'rows'"),
    ({"variable": "x", "at": {"x": -3}}, "around x = -3|cannot be computed|infinite|missing"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input(data: pd.DataFrame, arguments: dict[str, Any], message: str) -> None:
    more = data.assign(yes=data["z"] > 2, step=np.arange(len(data)) % 3)
    fit = mm.lmer("y ~ x + log(x) + arm + z + yes + C(step) + (1 | g)", more)
    with pytest.raises(mm.MixedModelsError, match=message):
        fit.slopes(**arguments)


def test_a_model_of_statsmodels_door() -> None:
    """Formulas that patsy reads say the same."""
    door = mm.mixedlm("Reaction ~ Days + I(Days**2)", SLEEP, groups=SLEEP["Subject"], re_formula="~Days").fit()
    own = mm.lmer("Reaction ~ Days + I(Days**2) + (Days | Subject)", SLEEP)
    at: dict[str, Any] = {"by": "Days", "at": {"Days": [0, 8]}}
    np.testing.assert_allclose(door.slopes("Days", **at), own.slopes("Days", **at), rtol=1e-5)
    np.testing.assert_allclose(door.joint_tests(), own.joint_tests(), rtol=1e-5)
    assert door.slopes("Days").attrs["notes"][:2] == ("Slopes in Days.", "At the mean of Days.")


def test_adjustments_are_within_the_levels_of_within(data: pd.DataFrame) -> None:
    fit = mm.lmer("y ~ x * arm * sex + (1 | g)", data)
    notes = fit.slopes("x", by="arm", within="sex", pairwise=True).attrs["notes"]
    assert "P-values and intervals are adjusted by Tukey's method within each level of within." in notes
