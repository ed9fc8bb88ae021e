"""Power by simulation, against closed forms of balanced designs and against other orders of the same design."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedmodels as mm
from mixedmodels.design.subset import draw_levels
from mixedmodels.inference import simulated_tests
from mixedmodels.inference.simulated_tests import Study

SLEEP = mm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def fit() -> mm.LmmResult:
    return mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)


def noncentral_t(shift: float, df: float) -> float:
    """Return the power of a two-sided t test of level .05."""
    quantile = stats.t.ppf(0.975, df)
    return float(stats.nct.sf(quantile, df, shift) + stats.nct.cdf(-quantile, df, shift))


def assert_powers(table: pd.DataFrame, exact: list[float], n: int) -> None:
    """Compare simulated powers with exact ones, within four standard errors of the simulation."""
    for power, right in zip(table["power"], exact, strict=True):
        assert power == pytest.approx(right, abs=4 * np.sqrt(right * (1 - right) / n))


def arms(n: int, n_rows: int, labels: list[Any] | None = None) -> pd.DataFrame:
    """Return a design of n subjects, the first half in one arm and the rest in another, as people number them."""
    subject = np.repeat(np.arange(n) if labels is None else labels, n_rows)
    return pd.DataFrame({"subject": subject, "arm": np.repeat(["ctl", "trt"], n // 2 * n_rows)})


TRIAL = "y ~ arm + (1 | subject)"
TRUTH: dict[str, Any] = {"beta": [0.0, 1.5], "varcorr": {"subject": 1.3}, "sigma": 1.1}


def trial_power(control: int, treated: int, n_rows: int) -> float:
    """Return the power to find TRUTH's difference of arms of that many subjects, n_rows each."""
    variance = (1.3 + 1.1**2 / n_rows) * (1 / control + 1 / treated)
    return noncentral_t(1.5 / np.sqrt(variance), control + treated - 2)


def test_arms_sorted_by_the_labels_of_subjects_keep_their_proportions() -> None:
    sizes = {11: (6, 5), 12: (6, 6), 16: (8, 8), 20: (10, 10), 30: (15, 15)}
    table = mm.power(TRIAL, data=arms(20, 4), vary={"subject": list(sizes)}, n=1000, seed=1, progress=False, **TRUTH)
    assert list(table["n_obs"]) == [4 * k for k in sizes]
    assert_powers(table, [trial_power(*pair, 4) for pair in sizes.values()], 1000)
    assert table.attrs["notes"] == tuple(f"subject {k}: {a} ctl, {b} trt" for k, (a, b) in sizes.items())
    assert "subject 12: 6 ctl, 6 trt" in repr(table)


def test_names_and_the_order_of_rows_change_nothing() -> None:
    rng = np.random.default_rng(3)
    options: dict[str, Any] = {"vary": {"subject": [5, 9, 24]}, "n": 40, "seed": 2, "progress": False}
    data = arms(14, 4).assign(age=np.repeat(rng.normal(40, 9, 14), 4), t=np.tile(np.arange(4.0), 14))
    data = data.drop(index=rng.choice(len(data), 9, replace=False))
    formula, beta = "y ~ arm + age + t + (t | subject)", [0.0, 1.0, 0.1, 0.2]
    truth: dict[str, Any] = {"beta": beta, "varcorr": {"subject": [[1.0, 0.2], [0.2, 0.3]]}, "sigma": 1.0}
    table = mm.power(formula, "arm", data=data, **truth, **options)
    names = dict(zip(range(14), rng.permutation([f"p{i}" for i in range(14)]), strict=True))
    other = data.assign(subject=data["subject"].map(names)).sample(frac=1, random_state=1)
    again = mm.power(formula, "arm", data=other, **truth, **options)
    pd.testing.assert_frame_equal(table, again)
    assert table.attrs == again.attrs


def test_more_rows_within_levels_have_the_power_of_the_noncentral_t() -> None:
    table = mm.power(
        TRIAL,
        data=arms(2, 2),  # one subject an arm shows the design
        vary={"subject": [10, 16]},
        within={"subject": [2, 8]},
        n=1000,
        seed=1,
        progress=False,
        **TRUTH,
    )
    assert table.index.names == ["subject", "rows per subject"]
    assert list(table["n_obs"]) == [20, 80, 32, 128]
    assert_powers(table, [trial_power(k // 2, k // 2, r) for k, r in table.index], 1000)
    assert table.attrs["notes"] == ("subject 10: 5 ctl, 5 trt", "subject 16: 8 ctl, 8 trt")


def test_a_crossed_design_of_stated_parameters_has_the_power_of_the_noncentral_t() -> None:
    """Subjects by items, two conditions in Latin squares: the additive model's residual degrees of freedom."""
    cells = pd.MultiIndex.from_product([range(4), range(4)], names=["subject", "item"]).to_frame(index=False)
    cells["condition"] = np.where((cells["subject"] + cells["item"]) % 2, "a", "b")
    table = mm.power(
        "y ~ condition + (1 | subject) + (1 | item)",
        data=cells,
        beta={"Intercept": 0, "condition[T.b]": 0.8},
        varcorr={"subject": 4.0, "item": 9.0},
        sigma=1.0,
        vary={"subject": [8], "item": [4, 6, 10]},
        n=800,
        seed=5,
        progress=False,
    )
    assert list(table["n_obs"]) == [32, 48, 80]
    exact = [noncentral_t(0.8 / np.sqrt(4 / (8 * k)), 8 * k - (8 + k - 1) - 1) for k in (4, 6, 10)]
    assert_powers(table, exact, 800)


def test_a_term_of_stated_parameters_has_the_power_of_the_noncentral_f() -> None:
    """Arms of one, two and three parts; the power of unequal arms by the F test of their means."""
    design = pd.DataFrame({"g": np.repeat(range(6), 3), "arm": np.repeat(list("abbccc"), 3)})
    truth = {"beta": [1.0, 0.5, 1.6], "varcorr": {"g": 0.5}, "sigma": 1.0}
    table = mm.power("y ~ arm + (1 | g)", "arm", data=design, vary={"g": [18]}, n=1000, seed=2, progress=False, **truth)
    assert table.attrs["notes"] == ("g 18: 3 a, 6 b, 9 c",)
    sizes, means = np.array([3, 6, 9]), np.array([0.0, 0.5, 1.6])
    noncentrality = np.sum(sizes * (means - sizes @ means / 18) ** 2) / (0.5 + 1 / 3)
    exact = stats.ncf.sf(stats.f.ppf(0.95, 2, 15), 2, 15, noncentrality)
    assert_powers(table, [exact], 1000)


def test_schools_come_with_their_classes_and_classes_are_shared_out_among_schools() -> None:
    """Nested factors: varied together too, and refused only where there would be fewer classes than schools."""
    design = pd.DataFrame({"school": np.repeat(range(4), 6), "kind": np.repeat(["pub", "priv"], 12)})
    design["room"] = np.repeat(np.arange(12), 2)
    formula = "y ~ kind + (1 | school) + (1 | room)"
    options: dict[str, Any] = {"beta": [0, 1], "varcorr": {"school": 1, "room": 1}, "sigma": 1, "n": 2}

    def notes(**sizes: Any) -> tuple[str, ...]:
        made: tuple[str, ...] = mm.power(formula, data=design, progress=False, **options, **sizes).attrs["notes"]
        return made

    assert notes(vary={"school": [10]}) == ("school 10: 5 priv, 5 pub; with 30 levels of room",)
    (rooms,) = notes(vary={"room": [20]})
    assert rooms == "room 20: 5 priv school=2, 5 priv school=3, 5 pub school=0, 5 pub school=1; with 4 levels of school"
    schools, rooms = notes(vary={"school": [6], "room": [12]})
    assert (schools, rooms[:7]) == ("school 6: 3 priv, 3 pub", "room 12")
    with pytest.raises(mm.InferenceError, match="There cannot be 6 levels of school and 5 levels of room"):
        notes(vary={"school": [6], "room": [5]})


def test_parameters_of_a_fit_can_be_changed(fit: mm.LmmResult) -> None:
    options: dict[str, Any] = {"n": 30, "seed": 1, "progress": False}
    same = mm.power(
        fit,
        "Days",
        beta=fit.fe_params.drop("Days"),
        varcorr=fit.varcorr,
        sigma=fit.sigma,
        size=4,
        vary={"Subject": [10]},
        **options,
    )
    pd.testing.assert_frame_equal(same, mm.power(fit, "Days", size=4, vary={"Subject": [10]}, **options))
    stated = mm.power(
        fit.formula,
        "Days",
        data=SLEEP.drop(columns="Reaction"),
        beta={"Intercept": 0.0, "Days": 4.0},
        varcorr=fit.varcorr,
        sigma=fit.sigma,
        vary={"Subject": [10]},
        **options,
    )
    pd.testing.assert_frame_equal(stated, same)
    pd.testing.assert_frame_equal(mm.power(fit, "Days", beta={"Days": 4}, vary={"Subject": [10]}, **options), same)


def test_the_effect_has_one_true_value(fit: mm.LmmResult) -> None:
    options: dict[str, Any] = {"varcorr": fit.varcorr, "sigma": 25.0, "n": 5, "seed": 1, "progress": False}
    for beta in ({"Intercept": 0.0, "Days": 4.0}, [0.0, 4.0], fit.fe_params):
        for model, data in ((fit, None), (fit.formula, SLEEP)):
            with pytest.raises(mm.InferenceError, match="size and beta both have a true value for 'Days'; leave one"):
                mm.power(model, data=data, beta=beta, size=4, **options)
    sized = mm.power(fit.formula, data=SLEEP, beta={"Intercept": 0.0}, size=4, **options)
    pd.testing.assert_frame_equal(sized, mm.power(fit.formula, data=SLEEP, beta=[0.0, 4.0], **options))


def test_a_design_may_hold_the_response_with_gaps_and_come_from_any_frame() -> None:
    options: dict[str, Any] = {**TRUTH, "n": 20, "seed": 1, "progress": False}
    data = arms(8, 3)
    table = mm.power(TRIAL, data=data, **options)
    gaps = mm.power(TRIAL.replace("y ~", "np.log(y) ~"), data=data.assign(y=[np.nan] * 24), **options)
    mapping = mm.power(TRIAL, data={name: data[name].to_numpy() for name in data}, **options)
    rest = mm.power("y ~ . + (1 | subject)", data=data.assign(y=1.0), **options)
    for other in (gaps, mapping, rest):
        pd.testing.assert_frame_equal(other, table)
    with pytest.raises(mm.DataError, match=r"missing in 3 of 24 rows of the design \(missing arm 3\)"):
        mm.power(TRIAL, data=data.assign(arm=data["arm"].where(data["subject"] != 2)), **options)


def test_what_cannot_be_built_is_refused_in_a_sentence() -> None:
    design = pd.DataFrame({"g": np.repeat(range(6), 3), "arm": np.repeat(list("aabbcc"), 3)})
    options: dict[str, Any] = {"beta": [1, 0, 1], "varcorr": {"g": 1}, "sigma": 1, "n": 2, "progress": False}
    with pytest.raises(mm.InferenceError, match=r"With 2 levels of g not all fixed effects .* \(g 2: 1 a, 1 c\)"):
        mm.power("y ~ arm + (1 | g)", "arm", data=design, vary={"g": [2]}, **options)
    with pytest.raises(mm.InferenceError, match=r"With 1 row in each level of g the model cannot be fitted"):
        mm.power("y ~ arm + (1 | g)", "arm", data=design, within={"g": [1]}, **options)


def test_one_level_and_one_row_show_a_design() -> None:
    """A paired t test from one pair, and clinics in two arms from a patient in each."""
    pair = pd.DataFrame({"g": [1, 1], "c": ["a", "b"]})
    truth: dict[str, Any] = {"beta": [0.0, 0.9], "varcorr": {"g": 4.0}, "sigma": 1.0, "n": 1000, "seed": 1}
    table = mm.power("y ~ c + (1 | g)", data=pair, vary={"g": [12]}, progress=False, **truth)
    assert_powers(table, [noncentral_t(0.9 / np.sqrt(2 / 12), 11)], 1000)
    clinics = pd.DataFrame({"subject": [1, 2], "arm": ["ctl", "trt"]})
    options: dict[str, Any] = {"vary": {"subject": [12]}, "within": {"subject": [4]}, "n": 1000, "seed": 3}
    assert_powers(mm.power(TRIAL, data=clinics, progress=False, **options, **TRUTH), [trial_power(6, 6, 4)], 1000)
    with pytest.raises(mm.InferenceError, match=r"With 1 level of g the model cannot be fitted\. The grouping"):
        mm.power("y ~ c + (1 | g)", data=pair, **truth)


@pytest.mark.parametrize("seed", [0, 1])
def test_predictors_may_be_drawn_from_any_seed(seed: int) -> None:
    """Also from the one that most people take first."""
    rng = np.random.default_rng(seed)
    d = pd.DataFrame({"x": rng.standard_normal(60), "g": np.repeat(np.arange(10), 6)})
    d["y"] = d["x"] + rng.normal(size=10)[d["g"]] + rng.normal(size=60)
    for model in (mm.lmer("y ~ x + (1 | g)", d), "y ~ x + (1 | g)"):
        stated: dict[str, Any] = {} if not isinstance(model, str) else {"data": d[["x", "g"]]}
        table = mm.power(model, "x", **stated, beta=[0, 1], varcorr={"g": 1}, sigma=1, n=20, seed=1, progress=False)
        assert table["power"].iloc[0] > 0.9


def test_fixed_effects_for_every_level_are_refused() -> None:
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 3), "x": np.tile([0.0, 1.0, 2.0], 6)})
    truth: dict[str, Any] = {"beta": [0.0] * 6 + [1.0], "varcorr": {"g": 1.0}, "sigma": 1.0, "n": 2}
    with pytest.raises(mm.InferenceError, match=r"With 6 levels of g the model cannot be fitted\. The fixed part has"):
        mm.power("y ~ g + x + (1 | g)", "x", data=data, **truth)


def test_rare_labels_keep_a_level() -> None:
    design = pd.DataFrame({"g": np.repeat(range(20), 2), "arm": np.repeat(["a"] * 19 + ["b"], 2)})
    table = mm.power(
        "y ~ arm + (1 | g)", data=design, vary={"g": [4]}, beta=[0, 1], varcorr={"g": 1}, sigma=1, n=2, progress=False
    )
    assert table.attrs["notes"] == ("g 4: 3 a, 1 b",)


def test_paired_design_has_the_power_of_the_noncentral_t() -> None:
    """Two conditions once a subject: the paired t test, whose power is known."""
    rng = np.random.default_rng(0)
    subject, condition = np.repeat(np.arange(12), 2), np.tile([0.0, 1.0], 12)
    y = rng.normal(size=12)[subject] * 2 + rng.normal(size=24)
    fit = mm.lmer("y ~ condition + (1 | subject)", {"y": y, "condition": condition, "subject": subject})
    effect = 1.2 * fit.sigma
    table = mm.power(fit, "condition", n=600, size=effect, seed=1, progress=False)
    shift = effect / (fit.sigma * np.sqrt(2 / 12))
    exact = stats.nct.sf(stats.t.ppf(0.975, 11), 11, shift) + stats.nct.cdf(-stats.t.ppf(0.975, 11), 11, shift)
    row = table.iloc[0]
    assert row["power"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 600))
    assert row["lower"] < row["power"] < row["upper"]
    assert row["type_m"] >= 1


def test_power_of_a_term_is_that_of_the_noncentral_f() -> None:
    """Three treatments once a subject: a complete block design, whose F test and power are known."""
    rng = np.random.default_rng(1)
    subject, treatment = np.repeat(np.arange(10), 3), np.tile(["a", "b", "c"], 10)
    y = rng.normal(size=10)[subject] * 3 + rng.normal(size=30) + 1.2 * (treatment == "c")
    fit = mm.lmer("y ~ treatment + (1 | subject)", {"y": y, "treatment": treatment, "subject": subject})
    means = fit.margins("treatment")["estimate"]
    noncentrality = 10 * np.sum((means - means.mean()) ** 2) / fit.scale
    exact = stats.ncf.sf(stats.f.ppf(0.95, 2, 18), 2, 18, noncentrality)
    assert 0.2 < exact < 0.95
    row = mm.power(fit, "treatment", n=600, seed=1, progress=False).iloc[0]
    assert row["power"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 600))
    assert row[["type_s", "type_m"]].isna().all()
    with pytest.raises(
        mm.InferenceError, match=r"size is the true value of one coefficient, and 'treatment' is a term"
    ):
        mm.power(fit, "treatment", size=1.0)
    with pytest.raises(mm.InferenceError, match=r"no fixed effect 'treatmen'; .*Did you mean 'treatment'"):
        mm.power(fit, "treatmen")


def test_power_of_a_term_of_one_column_is_that_of_its_coefficient() -> None:
    data = mm.load_dataset("Orthodont")
    fit = mm.lmer("distance ~ age + Sex + (1 | Subject)", data)
    term, coefficient = (mm.power(fit, name, n=20, seed=3, progress=False) for name in ("Sex", fit.fe_params.index[-1]))
    pd.testing.assert_frame_equal(term.iloc[:, :4], coefficient.iloc[:, :4])


def test_power_grows_with_levels(fit: mm.LmmResult) -> None:
    table = mm.power(fit, "Days", n=60, vary={"Subject": [4, 30]}, size=5.0, seed=2, progress=False)
    assert list(table["n_obs"]) == [40, 300]
    assert table["power"].iloc[0] < table["power"].iloc[1]
    assert table.index.name == "Subject"


def test_copies_of_levels_bring_the_levels_nested_in_them() -> None:
    fit = mm.lmer("strength ~ 1 + (1 | batch/cask)", mm.load_dataset("Pastes"))
    design = draw_levels(fit.state.design, "batch", np.arange(25) % 10)
    assert [(f.name, f.n_levels) for f in design.factors] == [("cask:batch", 75), ("batch", 25)]
    assert design.n_obs == 25 * 6
    assert set(np.bincount(design.factors[0].codes)) == {2}
    crossed = mm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mm.load_dataset("Penicillin")).state.design
    both = draw_levels(draw_levels(crossed, "plate", np.arange(30) % 24), "sample", np.arange(3))
    assert [(f.name, f.n_levels) for f in both.factors] == [("plate", 30), ("sample", 3)]
    assert both.n_obs == 90


def test_power_over_two_factors_of_a_weighted_model_by_kenward_roger() -> None:
    rng = np.random.default_rng(3)
    a, b = np.repeat(np.arange(12), 6), np.tile(np.arange(6), 12)
    w = rng.uniform(0.5, 4, 72)
    x = rng.normal(size=72)
    y = rng.normal(size=12)[a] + rng.normal(size=6)[b] + rng.normal(size=72) / np.sqrt(w)
    model = mm.LinearMixedModel("y ~ x + (1 | a) + (1 | b)", {"y": y, "x": x, "a": a, "b": b}, weights=w)
    options = {"n": 40, "vary": {"a": [6, 12], "b": [3, 6]}, "seed": 4, "ddf": "kenward-roger", "progress": False}
    table = mm.power(model, "x", size=0.3, **options)
    assert list(table.index) == [(6, 3), (6, 6), (12, 3), (12, 6)]
    assert list(table.index.names) == ["a", "b"]
    assert table.loc[(6, 3), "power"] < table.loc[(12, 6), "power"]
    pd.testing.assert_frame_equal(table, mm.power(model.fit(), "x", size=0.3, **options))


def test_the_rate_of_false_alarms_is_alpha(fit: mm.LmmResult) -> None:
    row = mm.power(fit, "Days", n=800, size=0.0, alpha=0.1, seed=5, progress=False).iloc[0]
    assert row["power"] == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 800))
    assert np.isnan(row[["type_s", "type_m"]].to_numpy(dtype=float)).all()
    assert row["n_obs"] == 180


def test_weak_effects_are_exaggerated_and_of_the_wrong_sign(fit: mm.LmmResult) -> None:
    """Gelman and Carlin (2014), for an estimate of known normal distribution: here the balanced design's t."""
    size = 0.5 * fit.bse_fe["Days"]
    row = mm.power(fit, "Days", n=1500, size=size, seed=6, progress=False).iloc[0]
    draws = np.random.default_rng(0)
    s = fit.bse_fe["Days"]
    estimate = size + s * draws.standard_normal(400_000)
    own_se = s * np.sqrt(draws.chisquare(17, 400_000) / 17)
    found = estimate[np.abs(estimate / own_se) > stats.t.ppf(0.975, 17)]
    assert row["type_s"] == pytest.approx(np.mean(found < 0), abs=0.07)
    assert row["type_m"] == pytest.approx(np.mean(np.abs(found)) / size, rel=0.12)


def test_bad_input(fit: mm.LmmResult) -> None:
    with pytest.raises(mm.InferenceError, match=r"no fixed effect 'days'"):
        mm.power(fit, "days")
    with pytest.raises(mm.InferenceError, match=r"no grouping factor 'subject'.*Did you mean 'Subject'"):
        mm.power(fit, "Days", n=2, vary={"subject": [5]})
    with pytest.raises(mm.InferenceError, match="n is 0; the number of simulations"):
        mm.power(fit, "Days", n=0)
    with pytest.raises(mm.InferenceError, match="ddf='kr' is not available"):
        mm.power(fit, "Days", n=2, ddf="kr", progress=False)
    with pytest.raises(mm.InferenceError, match="model is 3; it must be a fit, as lmer, glmer or mmrm returns it"):
        mm.power(3, "Days")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(mm.InferenceError, match="effect is 3; it must be the name"):
        mm.power(fit, 3)  # type: ignore[arg-type]  # what is refused
    orthodont = mm.lmer("distance ~ age + Sex + (1 | Subject)", mm.load_dataset("Orthodont"))
    with pytest.raises(mm.InferenceError, match=r"effect is None; .*: Intercept, age, Sex\[T.Female\], Sex"):
        mm.power(orthodont)
    options: list[tuple[dict[str, Any], str]] = [
        ({"alpha": 5}, "alpha is 5"),
        ({"alpha": "a"}, "alpha is 'a'"),
        ({"size": "a"}, "size is 'a'; the true value"),
        ({"seed": -1}, "seed is -1"),
        ({"data": SLEEP}, "data goes with a formula"),
        ({"vary": {}}, "vary is empty"),
        ({"vary": 10}, "vary is 10; it must hold a grouping factor"),
        ({"vary": {"Subject": 10}}, r"vary has 10 for 'Subject'; it must be a list"),
        ({"vary": {"Subject": []}}, r"vary has \[\] for 'Subject'; it must be a list"),
        ({"vary": {"Subject": [1]}}, "vary asks for 1 levels of 'Subject'; it must be an integer, at least 2"),
        ({"vary": {3: [10]}}, "There is no grouping factor 3"),
        ({"within": {"Subject": [0]}}, "within asks for 0 rows in each level of 'Subject'"),
        ({"within": {"Days": [2]}}, "There is no grouping factor 'Days'"),
        ({"beta": {"days": 1}}, "There is no fixed effect 'days'; .* Did you mean 'Days'"),
    ]
    for option, message in options:
        with pytest.raises(mm.InferenceError, match=message):
            mm.power(fit, "Days", **option)
    nested = mm.lmer("strength ~ 1 + (1 | batch/cask)", mm.load_dataset("Pastes"))
    with pytest.raises(mm.InferenceError, match="within names batch and cask:batch; there can be"):
        mm.power(nested, "Intercept", within={"batch": [5], "cask:batch": [2]})


def test_without_a_fit_everything_is_stated() -> None:
    data = arms(8, 3)
    with pytest.raises(mm.InferenceError, match="data is None; with a formula it must hold the design"):
        mm.power(TRIAL, **TRUTH)
    with pytest.raises(mm.InferenceError, match=r"beta and sigma are missing: beta=\{'Intercept': 0, 'arm"):
        mm.power(TRIAL, data=data, varcorr={"subject": 1})
    with pytest.raises(mm.InferenceError, match=r"beta has no value for 'Intercept'; without a fit it needs one"):
        mm.power(TRIAL, data=data, **{**TRUTH, "beta": {"arm[T.trt]": 1}})
    with pytest.raises(
        mm.InferenceError, match=r"value for 'arm\[T.trt\]'; .* It has one for 'arm', which the model does"
    ):
        mm.power(TRIAL, data=data, **{**TRUTH, "beta": {"Intercept": 0, "arm": 1}})
    with pytest.raises(mm.InferenceError, match=r"varcorr has no value for 'subject'; without a fit it needs one\.$"):
        mm.power(TRIAL, data=data, **{**TRUTH, "varcorr": {}})


def test_formulas_of_strangers(capsys: pytest.CaptureFixture[str]) -> None:
    """Run by `power` as by `lmer`: what is not listed is refused before anything is run."""
    known = {"beta": [0.0, 1.0], "varcorr": {"Subject": 1.0}, "sigma": 1.0, "n": 2, "seed": 1, "progress": False}
    stated = {"data": SLEEP, **known}
    formula = "Reaction ~ log1p(Days) + (1 | Subject)"
    restricted = mm.power(formula, evaluate="restricted", **stated)
    pd.testing.assert_frame_equal(restricted, mm.power(formula, **stated))
    for expression in ("I(Days.map(print))", "open('x')"):
        with pytest.raises(mm.FormulaError, match="which is no listed function"):
            mm.power(f"Reaction ~ {expression} + (1 | Subject)", evaluate="restricted", **stated)
    assert capsys.readouterr().out == ""
    with pytest.raises(mm.FormulaError, match="evaluate is 'restrict'; it must be"):
        mm.power(formula, evaluate="restrict", **stated)
    with pytest.raises(mm.InferenceError, match="evaluate is 'restricted', and goes with a formula"):
        mm.power(mm.lmer(formula, SLEEP), evaluate="restricted", n=2)


def test_an_interrupt_gives_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    options: dict[str, Any] = {"size": 4, "vary": {"Subject": [6, 9, 12]}, "seed": 1, "progress": False}
    whole = mm.power(fit, "Days", n=8, **options)
    block = Study._block
    calls = iter(range(100))

    def impatient(study: Any, numbers: range) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return block(study, numbers)

    monkeypatch.setattr(simulated_tests, "MAX_BLOCK", 4)
    monkeypatch.setattr(Study, "_block", impatient)
    with pytest.raises(KeyboardInterrupt) as caught:
        mm.power(fit, "Days", n=8, **options)
    partial = caught.value.partial  # type: ignore[attr-defined]
    assert partial.index.tolist() == [6, 9]
    pd.testing.assert_series_equal(partial.loc[6], whole.loc[6])
    assert partial.attrs["notes"][-1] == "The simulation was interrupted: of 8 responses a design there are 8, 4, 0."
    assert partial.attrs["notes"][-1] in repr(partial)
    assert not any("interrupted" in note for note in whole.attrs["notes"])
    calls = iter([3])
    with pytest.raises(KeyboardInterrupt) as caught:
        mm.power(fit, "Days", n=8, **options)
    assert caught.value.partial is None  # type: ignore[attr-defined]
