"""Hypotheses, margins and weights of means by their definitions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedmodels as mm

OATS = mm.load_dataset("Oats")


@pytest.fixture(scope="module")
def oats() -> mm.LmmResult:
    return mm.lmer("yield ~ Variety + C(nitro) + (1 | Block/Variety)", OATS.iloc[:-5])


@pytest.mark.parametrize("delta", [5.0, 20.0, 40.0])
def test_equivalence_is_an_interval_of_twice_the_tails_within_the_margins(oats: mm.LmmResult, delta: float) -> None:
    test = oats.margins("nitro", pairwise=True, adjust="none", delta=delta)
    interval = oats.margins("nitro", pairwise=True, adjust="none", level=0.9)
    within = (interval["ci_lower"] > -delta) & (interval["ci_upper"] < delta)
    assert ((test["p_value"] < 0.05) == within).all()


def test_one_sided_intervals_end_where_the_test_does(oats: mm.LmmResult) -> None:
    for side, end in (("greater", "ci_lower"), ("less", "ci_upper")):
        for adjust in ("none", "mvt", "bonferroni"):
            table = oats.margins("nitro", pairwise=True, adjust=adjust, side=side)
            for label, row in table.iterrows():
                at = oats.margins("nitro", pairwise=True, adjust=adjust, side=side, null=row[end])
                if adjust == "mvt":
                    assert at.loc[label, "p_value"] == pytest.approx(0.05, abs=1e-6)
                else:
                    assert at.loc[label, "p_value"] == pytest.approx(0.05, rel=1e-6)
            assert np.isinf(table["ci_upper" if side == "greater" else "ci_lower"]).all()
            assert "inf" in repr(table)


def test_a_margin_moves_the_null(oats: mm.LmmResult) -> None:
    inferior = oats.margins("nitro", control=0.0, delta=3, side="greater", adjust="holm")
    moved = oats.margins("nitro", control=0.0, null=-3, side="greater", adjust="holm")
    pd.testing.assert_series_equal(inferior["p_value"], moved["p_value"])
    superior = oats.margins("Variety", null=100, delta=3, side="less")
    moved = oats.margins("Variety", null=103, side="less")
    pd.testing.assert_series_equal(superior["statistic"], moved["statistic"])
    np.testing.assert_allclose(superior["p_value"], stats.t.cdf(superior["statistic"], superior["df"]), rtol=1e-9)


def test_weights_by_cells_are_raw_averages_of_a_saturated_model() -> None:
    """The mean of a saturated fixed part at a level, weighted by its own rows, is that of its fitted values."""
    data = OATS.drop(index=[0, 1, 2, 7, 20, 21, 33, 60])
    fit = mm.lmer("yield ~ Variety * C(nitro) + (1 | Block)", data)
    population = fit.predict(random_effects="population")
    raw = population.groupby(data["Variety"], observed=True).mean()
    table = fit.margins("Variety", weights="cells")
    np.testing.assert_allclose(table["estimate"], raw.loc[table.index], rtol=1e-10)
    assert "Averaged over nitro with weights proportional to each mean's own rows." in table.attrs["notes"]


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")
def test_weights_by_products_are_those_of_independent_variables() -> None:
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.repeat(np.arange(20), 10)})
    for name in "abc":
        data[name] = rng.choice(["p", "q", "r"], 200, p=[0.5, 0.3, 0.2])
    data["y"] = rng.normal(size=200)
    fit = mm.lmer("y ~ a * b * c + (1 | g)", data)
    cells = fit.margins(["a", "b", "c"])["estimate"].unstack("a")
    shares = [data[name].value_counts(normalize=True).sort_index() for name in "bc"]
    expected = np.outer(*shares).ravel() @ cells.to_numpy()
    np.testing.assert_allclose(fit.margins("a", weights="outer")["estimate"], expected, rtol=1e-9)


def test_a_level_without_rows_has_no_mean_by_its_own_rows() -> None:
    data = OATS[(OATS["Variety"] != "Victory") | (OATS["nitro"] != 0.6)]
    fit = mm.lmer("yield ~ Variety + C(nitro) + (1 | Block)", data)
    table = fit.margins(["Variety", "nitro"], weights="cells")
    assert not table["estimate"].isna().any()  # nothing is averaged over
    table = fit.margins("Variety", at={"nitro": 0.6}, weights="cells")
    assert table.index[table["estimate"].isna()].tolist() == ["Victory"]
    assert table.attrs["notes"][0] == "Cannot be estimated: Victory, because no row has these levels."
    pairs = fit.margins("Variety", at={"nitro": 0.6}, weights="cells", pairwise=True)
    assert pairs["estimate"].isna().tolist() == [False, True, True]


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")
def test_families_within_several_by() -> None:
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.repeat(np.arange(20), 12)})
    for name in "abc":
        data[name] = rng.choice(["p", "q"] if name != "a" else ["p", "q", "r"], 240)
    data["y"] = rng.normal(size=240)
    fit = mm.lmer("y ~ a * b * c + (1 | g)", data)
    both = fit.margins("a", by=["b", "c"], pairwise=True)
    assert both.index.names == ["b", "c", "contrast"]
    alone = fit.margins("a", by="b", at={"c": "q"}, pairwise=True)
    np.testing.assert_allclose(both.xs("q", level="c"), alone, rtol=1e-10)


def test_defaults_of_adjustment(oats: mm.LmmResult) -> None:
    expected = {
        "pairwise": "Tukey's method",
        "consecutive": "the multivariate t distribution",
        "control": "Dunnett's method",
        "mean": "Benjamini and Hochberg's method",
        "polynomial": "not adjusted",
    }
    for kind, words in expected.items():
        assert any(words in note for note in oats.margins("nitro", contrasts=kind).attrs["notes"])
    assert any("multivariate t" in n for n in oats.margins("nitro", pairwise=True, side="less").attrs["notes"])
    assert any("Holm's" in n for n in oats.margins("nitro", pairwise=True, delta=2).attrs["notes"])
    notes = oats.margins("nitro", contrasts="polynomial").attrs["notes"]
    assert "Polynomials take the levels of nitro as equally far apart." in notes
    products = oats.margins(["Variety", "nitro"], contrasts={"Variety": "pairwise", "nitro": "poly"}).attrs["notes"]
    assert "Polynomials take the levels of nitro as equally far apart." in products


def test_a_boolean_of_numpy_asks_for_pairs(oats: mm.LmmResult) -> None:
    assert oats.margins("nitro", pairwise=np.True_).equals(oats.margins("nitro", pairwise=True))
    assert oats.margins("nitro", pairwise=np.False_).equals(oats.margins("nitro"))
