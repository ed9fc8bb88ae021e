"""Marginal means against averages of balanced data, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

OATS = mm.load_dataset("Oats")
SLEEP = mm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def oats() -> mm.LmmResult:
    return mm.lmer("yield ~ Variety * C(nitro) + (1 | Block/Variety)", OATS)


def test_means_of_a_balanced_design_are_averages(oats: mm.LmmResult) -> None:
    expected = OATS.groupby("Variety", observed=True)["yield"].mean()
    table = oats.margins("Variety")
    np.testing.assert_allclose(table["estimate"], expected.loc[table.index], rtol=1e-9)
    cells = OATS.groupby(["nitro", "Variety"], observed=True)["yield"].mean()
    table = oats.margins("Variety", by="nitro")
    assert table.index.names == ["nitro", "Variety"]
    np.testing.assert_allclose(table["estimate"], cells.loc[table.index], rtol=1e-9)


def test_differences_are_those_of_the_means(oats: mm.LmmResult) -> None:
    means = oats.margins("nitro")["estimate"]
    pairs = oats.margins("nitro", pairwise=True)
    assert pairs.index[0] == f"{means.index[0]} - {means.index[1]}"
    np.testing.assert_allclose(pairs["estimate"].iloc[0], means.iloc[0] - means.iloc[1], rtol=1e-9)
    control = oats.margins("nitro", control=0.0)
    np.testing.assert_allclose(control["estimate"], means.iloc[1:] - means.iloc[0], rtol=1e-9)


def test_intervals_cover_zero_where_the_test_does_not_reject(oats: mm.LmmResult) -> None:
    for arguments in ({"pairwise": True}, {"control": 0.0}, {"pairwise": True, "adjust": "sidak"}):
        table = oats.margins("nitro", **arguments)
        covered = (table["ci_lower"] < 0) & (table["ci_upper"] > 0)
        assert ((table["p_value"] > 0.05) == covered).all()


def test_coding_changes_nothing() -> None:
    data = mm.load_dataset("cake")
    text = "angle ~ {} * temp + (1 | recipe:replicate)"
    a = mm.lmer(text.format("recipe"), data).margins("recipe", at={"temp": 200})
    b = mm.lmer(text.format("C(recipe, contr.sum)"), data).margins("recipe", at={"temp": 200})
    pd.testing.assert_frame_equal(a, b, rtol=1e-6)


def test_offset_and_covariate_mean() -> None:
    data = SLEEP.assign(known=50.0, kind=np.where(SLEEP["Days"] % 2, "odd", "even"))
    plain = mm.lmer("Reaction ~ Days + kind + (1 | Subject)", data).margins("kind")
    offset = mm.lmer("Reaction ~ Days + kind + offset(known) + (1 | Subject)", data).margins("kind")
    np.testing.assert_allclose(plain["estimate"], offset["estimate"], rtol=1e-9)
    assert plain.attrs["notes"][0] == "At the mean of Days."
    assert "At the mean of Days." in repr(plain)


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.RankDeficiencyWarning")
def test_a_difference_is_known_where_its_means_are_not() -> None:
    """An empty cell of A and B leaves no mean of C, but A:B cancels in differences of C."""
    rng = np.random.default_rng(5)
    a, b, c = (np.array(list("pqr"))[rng.integers(0, k, 200)] for k in (3, 2, 3))
    keep = ~((a == "r") & (b == "q"))
    data = pd.DataFrame({"A": a, "B": b, "C": c, "s": rng.integers(0, 20, 200), "y": rng.normal(size=200)})[keep]
    fit = mm.lmer("y ~ A*B + C + (1 | s)", data)
    with pytest.raises(mm.InferenceError, match="None of these means can be estimated"):
        fit.margins("C")
    table = fit.margins("C", pairwise=True, adjust="none")
    contrasts = fit.contrast(["-C[T.q]", "-C[T.r]", "C[T.q] - C[T.r]"])
    np.testing.assert_allclose(table, contrasts, rtol=1e-9)


def test_empty_cells_are_missing() -> None:
    data = OATS[(OATS["Variety"] != "Victory") | (OATS["nitro"] != 0.6)]
    with pytest.warns(mm.RankDeficiencyWarning):
        fit = mm.lmer("yield ~ Variety * C(nitro) + (1 | Block)", data)
    table = fit.margins("Variety", by="nitro")
    cells = data.groupby(["nitro", "Variety"], observed=True)["yield"].mean()
    assert table["estimate"].isna().sum() == 1
    assert np.isnan(table["estimate"].loc[0.6, "Victory"])
    np.testing.assert_allclose(table["estimate"].loc[0.4, "Victory"], cells.loc[0.4, "Victory"], rtol=1e-9)
    pairs = fit.margins("Variety", by="nitro", pairwise=True)
    assert pairs["p_value"].isna().sum() == 2
    because = "because the column Variety[T.Victory]:C(nitro)[T.0.6] was dropped (all zero or a combination of others)."
    assert table.attrs["notes"][0] == f"Cannot be estimated: 0.6 Victory, {because}"
    lost = fit.margins("Variety", pairwise=True).attrs["notes"][0]
    assert lost == f"Cannot be estimated: Golden Rain - Victory, Marvellous - Victory, {because}"
    assert "Cannot" not in repr(fit.margins("Variety", at={"nitro": [0.0]}))


@pytest.fixture(scope="module")
def cuts() -> pd.DataFrame:
    """Return controls of one kind and treatments of two, which also have a number within their arm."""
    rng = np.random.default_rng(11)
    data = pd.DataFrame({"arm": np.repeat(["ctl", "trt"], [30, 60]), "kind": np.repeat(["c1", "t1", "t2"], 30)})
    data = data.assign(number=data["kind"].str[1], site=np.tile(np.arange(10), 9), sex=np.tile(["f", "m", "m"], 30))
    return data.assign(y=rng.normal(size=90) + rng.normal(size=10)[data["site"]])


NESTED = pytest.mark.filterwarnings("ignore::mixedmodels.errors.RankDeficiencyWarning")


@NESTED
@pytest.mark.parametrize("fixed", ["arm/kind", "arm + kind", "kind + arm", "arm/number"])
def test_nested_means_are_those_of_the_model_of_the_inner_levels(cuts: pd.DataFrame, fixed: str) -> None:
    right = mm.lmer("y ~ kind + (1 | site)", cuts).margins("kind")["estimate"]
    inner = fixed.replace("/", " ").replace("+", " ").split()
    fit = mm.lmer(f"y ~ {fixed} + (1 | site)", cuts)
    outer = fit.margins("arm")
    np.testing.assert_allclose(outer["estimate"], [right["c1"], (right["t1"] + right["t2"]) / 2], rtol=1e-7)
    assert outer.attrs["notes"][0] == f"{next(name for name in inner if name != 'arm')} is nested in arm."
    means = fit.margins(next(name for name in inner if name != "arm"))
    np.testing.assert_allclose(means["estimate"], right, rtol=1e-7)
    if "number" in inner:
        assert means.index.tolist() == [("1", "ctl"), ("1", "trt"), ("2", "trt")]
    else:
        assert means.index.tolist() == ["c1", "t1", "t2"]


@NESTED
def test_comparisons_of_nested_levels(cuts: pd.DataFrame) -> None:
    fit = mm.lmer("y ~ arm/kind + (1 | site)", cuts)
    pairs = fit.margins("kind", by="arm", pairwise=True)  # one control has nothing to be compared with
    assert pairs.index.tolist() == [("trt", "t1 - t2")]
    assert fit.margins("kind", pairwise="trt.vs.ctrl").index.tolist() == ["t1 - c1", "t2 - c1"]
    assert fit.margins("kind", by="arm", control="t2").index.tolist() == [("trt", "t1 - t2")]
    with pytest.raises(mm.InferenceError, match="There is only one mean, and so no difference"):
        fit.margins("kind", by="arm", control="c1")
    with pytest.raises(mm.InferenceError, match=r"There is no level 't3' to compare with; .* 'c1', 't1', 't2'"):
        fit.margins("kind", by="arm", control="t3")
    np.testing.assert_allclose(
        fit.margins("kind", at={"arm": "trt"})["estimate"], fit.margins("kind")["estimate"].iloc[1:], rtol=1e-9
    )


def test_interactions_with_what_is_averaged_are_named(cuts: pd.DataFrame) -> None:
    data = cuts.assign(x=np.random.default_rng(1).normal(size=90))
    plain = mm.lmer("y ~ kind + sex + x + (1 | site)", data)
    assert "interact" not in repr(plain.margins("sex"))
    fit = mm.lmer("y ~ kind * sex + sex:x + x + (1 | site)", data)
    notes = fit.margins("sex").attrs["notes"]
    assert "sex interacts with kind: averages over kind may mislead." in notes
    assert "sex interacts with x: what holds at the mean of x may mislead." in notes
    for table in (
        fit.margins(["sex", "kind"], at={"x": 0}),
        fit.margins("kind", by="sex", at={"x": 0}),
        fit.margins("sex", at={"kind": "t1", "x": 0}),
    ):
        assert "interact" not in repr(table)
    assert "kind interacts with sex" in repr(fit.margins("kind", pairwise=True))


def test_ways_to_ask_for_comparisons(oats: mm.LmmResult) -> None:
    pd.testing.assert_frame_equal(oats.margins("nitro", pairwise="pairwise"), oats.margins("nitro", pairwise=True))
    first = oats.margins("nitro", by="Variety", pairwise="trt.vs.ctrl")
    pd.testing.assert_frame_equal(first, oats.margins("nitro", by="Variety", control=0.0))
    both = oats.margins("nitro", pairwise="trt.vs.ctrl", control=0.4)
    pd.testing.assert_frame_equal(both, oats.margins("nitro", control=0.4))


def test_booleans_have_two_levels() -> None:
    """As in emmeans; the same rows by a text column say the same."""
    rich = OATS.assign(rich=OATS["nitro"] > 0.3)
    named = rich.assign(rich=np.where(rich["rich"], "True", "False"))
    a, b = (mm.lmer("yield ~ rich * Variety + (1 | Block)", data) for data in (rich, named))
    for arguments in ({"specs": "rich"}, {"specs": "Variety"}, {"specs": "Variety", "weights": "proportional"}):
        np.testing.assert_allclose(a.margins(**arguments), b.margins(**arguments), rtol=1e-6, atol=1e-9)
    held = a.margins("Variety", at={"rich": True})
    np.testing.assert_allclose(held, b.margins("Variety", at={"rich": "True"}), rtol=1e-6, atol=1e-9)


def test_number_that_is_also_a_factor_has_its_levels() -> None:
    with pytest.warns(mm.RankDeficiencyWarning):
        both = mm.lmer("yield ~ nitro + C(nitro) + (1 | Block)", OATS).margins("nitro")
    levels = mm.lmer("yield ~ C(nitro) + (1 | Block)", OATS).margins("nitro")
    pd.testing.assert_frame_equal(both, levels, rtol=1e-6)
    cut = mm.lmer("yield ~ nitro + C(nitro > 0.3) + (1 | Block)", OATS)
    with pytest.raises(mm.InferenceError, match="'nitro' is continuous"):
        cut.margins("nitro")


def test_proportions_of_rows_that_there_are_none_of() -> None:
    data = OATS[(OATS["Block"] != "I") | (OATS["nitro"] != 0.0)]
    fit = mm.lmer("yield ~ Variety + C(nitro) + Block + (1 | Block:Variety)", data)
    with pytest.raises(mm.InferenceError, match="No row has these levels of nitro and Block together"):
        fit.margins("Variety", weights="proportional", at={"nitro": 0.0, "Block": "I"})


def test_whole_numbers_are_labelled_as_such() -> None:
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    assert fit.margins("Days", at={"Days": [0, 5]}, pairwise=True).index.tolist() == ["0 - 5"]
    assert fit.margins("Days", at={"Days": [0, 7.5]}, pairwise=True).index.tolist() == ["0.0 - 7.5"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"specs": "Days"}, "'Days' is continuous"),
    ({"specs": "kinds"}, "There is no variable 'kinds' .* Did you mean 'kind'"),
    ({"specs": "kind", "by": "kind"}, "in specs and in by"),
    ({"specs": []}, "names no variable"),
    ({"specs": "kind", "at": {"Dayz": 1}}, "There is no variable 'Dayz'"),
    ({"specs": "kind", "at": {"Days": "x"}}, "'Days' is numeric"),
    ({"specs": "kind", "at": {"Days": []}}, "no values for 'Days'"),
    ({"specs": "kind", "at": {"kind": "evn"}}, "no level 'evn'; its levels are 'even', 'odd'. Did you mean 'even'"),
    ({"specs": "kind", "control": "evn"}, "no level 'evn' to compare with"),
    ({"specs": "kind", "pairwise": True, "control": "odd"}, "Give one of them"),
    ({"specs": "kind", "pairwise": True, "adjust": "dunnett"}, "differences from a control"),
    ({"specs": "kind", "control": "odd", "adjust": "tukey"}, "for all pairs"),
    ({"specs": "kind", "adjust": "holm"}, "adjust is for differences"),
    ({"specs": "kind", "pairwise": True, "adjust": "fdrs"}, "must be one of .* Did you mean 'fdr'"),
    ({"specs": "kind", "weights": "cell"}, "weights is 'cell'; .* Did you mean 'cells'"),
    ({"specs": "kind", "contrasts": "pairwize"}, "contrasts is 'pairwize'; kinds .* Did you mean 'pairwise'"),
    ({"specs": "kind", "contrasts": "mean", "pairwise": True}, "Give one of them"),
    ({"specs": "kind", "contrasts": "mean", "control": "odd"}, "Give one of them"),
    ({"specs": "kind", "contrasts": "mean", "adjust": "tukey"}, 'is for all pairs; use "fdr"'),
    ({"specs": "kind", "contrasts": {"a": [1, -1, 0]}}, "'a' has 3 weights, but there are 2 means: 'even', 'odd'"),
    ({"specs": "kind", "contrasts": {"a": {"evn": 1}}}, "'a' weighs 'evn', which is no mean; .* Did you mean 'even'"),
    ({"specs": "kind", "contrasts": {"a": {"even": "x"}}}, "weight of 'even' in the contrast 'a' is 'x'"),
    ({"specs": "kind", "contrasts": {"a": [0, 0]}}, "weights of the contrast 'a' must be finite, and one at least"),
    ({"specs": "kind", "contrasts": {"a": 5}}, "'a' is 5; it must be weights"),
    ({"specs": "kind", "contrasts": {}}, "contrasts is empty"),
    ({"specs": "kind", "contrasts": 7}, "C1.* is|contrasts is 7"),
    ({"specs": ["kind", "half"], "contrasts": {"kind": "mean"}}, "no kind for 'half'"),
    ({"specs": ["kind", "half"], "contrasts": {"kind": "mean", "half": "meen"}}, "contrasts of 'half' is 'meen'"),
    ({"specs": "kind", "side": "bigger"}, "side is 'bigger'; it must be one of \"two-sided\""),
    ({"specs": "kind", "null": "0"}, "null is '0'; it must be a number"),
    ({"specs": "kind", "null": np.nan}, "null is nan"),
    ({"specs": "kind", "delta": -1}, "a margin is not below zero"),
    ({"specs": "kind", "pairwise": True, "side": "less", "adjust": "tukey"}, "for two-sided tests"),
    ({"specs": "kind", "pairwise": True, "side": "less", "adjust": "scheffe"}, "for two-sided tests"),
    ({"specs": "kind", "pairwise": True, "delta": 1, "adjust": "mvt"}, "not for tests of equivalence"),
    ({"specs": "kind", "scale": "respons"}, "scale is 'respons'; .* Did you mean 'response'"),
    ({"specs": "kind", "scale": "response"}, "'Reaction' is a column as it is"),
    ({"specs": "kind", "bias_adjust": True}, "for means on the scale of the response"),
    ({"specs": "kind", "bias_adjust": -1}, "bias_adjust is -1"),
    ({"specs": "kind", "ddf": "satterthwait"}, "Did you mean 'satterthwaite'"),
    ({"specs": "kind", "pairwise": "trt.vs.ctr"}, "pairwise is 'trt.vs.ctr'; .* Did you mean 'trt.vs.ctrl'"),
    ({"specs": "kind", "pairwise": "trt.vs.ctrl", "adjust": "tukey"}, "for all pairs"),
    ({"specs": 5}, "specs is 5; it must be the name of a variable"),
    ({"specs": "kind", "at": "Days"}, "at is 'Days'; it must map variables"),
    ({"specs": "kind", "at": {"Days": [1, 1]}}, "has the value 1.0 of 'Days' twice"),
    ({"specs": "kind", "level": 95}, "level is 95"),
    ({"specs": "half", "at": {"half": 0.3}}, r"no level 0\.3; its levels are 0\.0, 0\.5\.$"),
    ({"specs": "half", "control": 0.4}, r"no level 0\.4 to compare with; there are 0\.0, 0\.5\.$"),
    ({"specs": "kind", "pairwise": True, "at": {"kind": "odd"}}, "only one mean"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    odd = SLEEP["Days"] % 2
    data = SLEEP.assign(kind=np.where(odd, "odd", "even"), half=np.where(SLEEP["Days"] > 4, 0.5, 0.0))
    with pytest.raises(mm.InferenceError, match=message):
        mm.lmer("Reaction ~ Days + kind + C(half) + (1 | Subject)", data).margins(**arguments)


@pytest.mark.parametrize("kind", ["naive", "nanoseconds", "utc", "dates"])
def test_dates_as_categories_have_their_means(kind: str) -> None:
    """The means of a factor with the same levels."""
    data = mm.load_dataset("sleepstudy")
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(data["Days"] // 4, unit="D")
    kinds = {
        "naive": day,
        "nanoseconds": day.astype("datetime64[ns]"),
        "utc": day.dt.tz_localize("UTC"),
        "dates": day.dt.date,
    }
    means = mm.lmer("Reaction ~ C(day) + (1 | Subject)", data.assign(day=kinds[kind])).margins("day")
    named = mm.lmer("Reaction ~ day + (1 | Subject)", data.assign(day=day.astype(str))).margins("day")
    np.testing.assert_allclose(means, named, rtol=1e-9)
    assert [str(label)[:10] for label in means.index] == ["2024-01-01", "2024-01-02", "2024-01-03"]


def test_intervals_are_named_as_they_are_printed() -> None:
    data = mm.load_dataset("sleepstudy")
    data["days"] = pd.cut(data["Days"], [-1, 2, 5, 9])
    fit = mm.lmer("Reaction ~ days + (1 | Subject)", data)
    level = data["days"].cat.categories[1]
    assert fit.margins("days", control="(2, 5]").equals(fit.margins("days", control=level))
    assert fit.margins("days", at={"days": "(2, 5]"}).equals(fit.margins("days", at={"days": [level]}))
    with pytest.raises(mm.InferenceError, match=r"no level '\(2,5\]' to compare with; there are '\(-1, 2\]', '\(2, 5"):
        fit.margins("days", control="(2,5]")


def test_a_number_in_a_condition_is_held_at_its_mean() -> None:
    """As a number written otherwise, and as emmeans does."""
    rng = np.random.default_rng(8)
    g = np.repeat(np.arange(10), 12)
    data = pd.DataFrame({"g": g, "x": rng.normal(1, 1, 120), "f": rng.choice(list("ab"), 120)})
    data["y"] = data["x"] + rng.normal(size=10)[g] + rng.normal(size=120)
    condition = mm.lmer("y ~ I(x > 1.5) + f + (1 | g)", data)
    number = mm.lmer("y ~ np.where(x > 1.5, 1, 0) + f + (1 | g)", data)
    for arguments in ({}, {"at": {"x": [0, 2]}}):
        np.testing.assert_allclose(condition.margins("f", **arguments), number.margins("f", **arguments), rtol=1e-6)
    with pytest.raises(mm.InferenceError, match="'x' is continuous"):
        condition.margins("x")


def test_means_that_cannot_differ_are_equal_without_a_test() -> None:
    """A category that only changes the slope of a centred covariate makes no difference at its mean."""
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 6), "x": rng.normal(3, 1, 72), "f": np.tile(list("abc"), 24)})
    data["y"] = rng.normal(size=12)[data.g] + data.x * (1 + (data.f == "b")) + rng.normal(size=72)
    fit = mm.lmer("y ~ center(x) + center(x):f + (1 | g)", data)
    for adjust in ("tukey", "holm"):
        table = fit.margins("f", pairwise=True, adjust=adjust)
        assert (table[["estimate", "std_error", "ci_lower", "ci_upper"]] == 0).to_numpy().all()
        assert table[["statistic", "p_value"]].isna().to_numpy().all()
        assert table.attrs["notes"][0] == "Without test, since no coefficient plays a part there: a - b, a - c, b - c."
    moved = fit.margins("f", pairwise=True, adjust="none", at={"x": data.x.mean() + 1})
    slope = -fit.coef_table().loc["center(x):f[T.b]"]
    np.testing.assert_allclose(moved.loc["a - b", ["estimate", "statistic"]], slope[["estimate", "statistic"]])
