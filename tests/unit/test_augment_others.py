"""Rows with what generalised models and those with correlated residuals say of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load

HERDS = load("cbpp")
SICK = mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", HERDS, "binomial")
WINE = mm.glmer("rating ~ temp + contact + (1 | judge)", load("wine"), "ordinal")
TEETH = mm.load_dataset("Orthodont")
TEETH["visit"] = TEETH["age"].astype(int).astype("category")
HOLES = TEETH.assign(distance=TEETH["distance"].where(np.arange(len(TEETH)) % 7 != 3))
with pytest.warns(mm.DroppedRowsWarning):
    VISITS = mm.mmrm("distance ~ age * Sex + us(visit | Subject)", HOLES, ddf="kenward-roger")
with pytest.warns(mm.DroppedRowsWarning):
    LATER = mm.lmer("distance ~ age * Sex + (1 | Subject)", HOLES, residual="ar1(visit | Subject)")


def test_a_generalised_model() -> None:
    rows = SICK.augment(modes=True)
    assert list(rows[list(HERDS)].columns) == list(HERDS)
    np.testing.assert_allclose(rows[".fitted"], SICK.fittedvalues)
    np.testing.assert_allclose(rows[".link"], np.log(rows[".fitted"] / (1 - rows[".fitted"])))
    np.testing.assert_allclose(rows[".resid"], SICK.residuals("deviance"))
    np.testing.assert_allclose(rows[".pearson"], SICK.residuals("pearson"))
    np.testing.assert_allclose(rows[".response"], HERDS["incidence"] / HERDS["size"] - rows[".fitted"])
    own = SICK.random_effects["herd"]["Intercept"]
    np.testing.assert_allclose(rows[".b_Intercept|herd"], own.loc[HERDS["herd"]])
    eta = np.log(rows[".fixed"] / (1 - rows[".fixed"])) + rows[".b_Intercept|herd"]
    np.testing.assert_allclose(eta, rows[".link"])


def test_drawn_residuals_repeat_with_their_seed() -> None:
    np.testing.assert_array_equal(SICK.augment(seed=4)[".quantile"], SICK.residuals("quantile", seed=4))
    assert (SICK.augment(seed=4)[".quantile"] != SICK.augment(seed=5)[".quantile"]).any()


def test_new_rows_of_a_generalised_model() -> None:
    new = pd.DataFrame({"period": ["1", "2"], "herd": ["3", "nowhere"]}, index=[9, 9])
    with pytest.raises(mm.DataError, match="'nowhere'"):
        SICK.augment(new)
    rows = SICK.augment(new, new_levels="population", modes=True, interval="confidence")
    assert list(rows.index) == [9, 9]
    expected = SICK.predict(new, new_levels="population", interval="confidence")
    np.testing.assert_allclose(rows[[".fitted", ".se", ".lower", ".upper"]], expected)
    assert rows[".b_Intercept|herd"].iloc[1] == 0
    assert rows[".fitted"].iloc[1] == pytest.approx(rows[".fixed"].iloc[1])
    assert ".resid" not in rows


def test_ordered_categories_have_a_column_each() -> None:
    rows = WINE.augment()
    chances = rows[[f".fitted_{k}" for k in range(1, 6)]]
    np.testing.assert_allclose(chances, WINE.fittedvalues)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_allclose(rows[".link"], WINE.linear_predictor)
    np.testing.assert_allclose(rows[".resid"], WINE.residuals("probability"))
    with pytest.raises(mm.InferenceError, match="no intervals of the chances"):
        WINE.augment(interval="confidence")


@pytest.mark.parametrize("fit", [VISITS, LATER], ids=["mmrm", "lmer"])
def test_correlated_residuals(fit: mm.MmrmResult) -> None:
    rows = fit.augment()
    assert list(rows.index) == list(HOLES.index[HOLES["distance"].notna()])
    np.testing.assert_allclose(rows[".fitted"] + rows[".resid"], rows["distance"])
    np.testing.assert_allclose(rows[".fitted"], fit.fittedvalues)
    np.testing.assert_allclose(rows[".normalized"], fit.residuals("normalized"))
    np.testing.assert_allclose(rows[".pearson"], fit.residuals("pearson"))
    pd.testing.assert_frame_equal(fit.augment(HOLES), rows)
    limits = fit.augment(interval="confidence")[[".se", ".lower", ".upper"]]
    expected = fit.predict(interval="confidence", ddf=fit.ddf)[["se", "lower", "upper"]]
    np.testing.assert_allclose(limits, expected)


def test_random_effects_beside_correlated_residuals() -> None:
    rows = LATER.augment(modes=True)
    np.testing.assert_allclose(rows[".fixed"] + rows[".b_Intercept|Subject"], rows[".fitted"])
    assert ".fixed" not in VISITS.augment(modes=True)


def test_new_visits_are_predicted_from_those_that_were_seen() -> None:
    unseen = HOLES[HOLES["distance"].isna()].drop(columns="distance")
    rows = LATER.augment(unseen)
    np.testing.assert_allclose(rows[".fitted"], LATER.predict(unseen, conditional=True))
    np.testing.assert_allclose(rows[".fixed"], LATER.predict(unseen))
    assert ".resid" not in rows
    known = TEETH[HOLES["distance"].isna()]
    np.testing.assert_allclose(VISITS.augment(known)[".resid"], known["distance"] - VISITS.predict(known))


def test_modes_of_a_linear_model() -> None:
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", load("sleepstudy"))
    rows = fit.augment(modes=True)
    own = fit.random_effects["Subject"].loc[rows["Subject"].astype(str)]
    np.testing.assert_allclose(rows[".b_Days|Subject"], own["Days"])
    sums = rows[".fixed"] + rows[".b_Intercept|Subject"] + rows["Days"] * rows[".b_Days|Subject"]
    np.testing.assert_allclose(sums, rows[".fitted"])


@pytest.mark.parametrize("fit", [SICK, VISITS, LATER], ids=["glmer", "mmrm", "lmer"])
def test_data_that_are_not_there_are_asked_for(fit: mm.GlmmResult | mm.MmrmResult) -> None:
    bare = type(fit)(fit.state)
    with pytest.raises(mm.InferenceError, match="augment needs the data"):
        bare.augment()
    assert len(bare.augment(fit.call.data)) == fit.nobs
