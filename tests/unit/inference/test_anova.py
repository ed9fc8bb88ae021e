"""Anova tables: their shape, their terms, and what the types say where they differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load
from fixed_theta import reference_state
from mixedmodels.errors import InferenceError
from mixedmodels.inference.anova import anova


def unbalanced() -> pd.DataFrame:
    data = load("Oats").assign(nitro=lambda d: d["nitro"].astype(str))
    return data[(data.index % 7 != 0) & (data.index % 11 != 3)]


def test_columns_and_terms() -> None:
    table = anova(reference_state("alfalfa_split")[0])
    assert list(table) == ["sum_sq", "mean_sq", "num_df", "den_df", "f_value", "p_value"]
    assert list(table.index) == ["Date", "Variety", "Date:Variety"]
    np.testing.assert_allclose(table["sum_sq"], table["num_df"] * table["mean_sq"])


def test_without_terms_there_are_no_rows() -> None:
    assert anova(reference_state("dyestuff_ri")[0]).empty


@pytest.mark.parametrize("ddf", ["residual", "normal"])
def test_a_term_of_one_column_is_the_square_of_its_t(ddf: str) -> None:
    state, _ = reference_state("sleepstudy_slope")
    fit = mm.LmmResult(state)
    row, coefficient = fit.anova(ddf=ddf).loc["Days"], fit.coef_table(ddf).loc["Days"]
    assert row["f_value"] == pytest.approx(coefficient["statistic"] ** 2)
    assert row["p_value"] == pytest.approx(coefficient["p_value"])
    assert row["den_df"] == coefficient["df"]
    assert row["mean_sq"] == pytest.approx(row["f_value"] * state.sigma**2)


@pytest.mark.parametrize("type_", [0, 4, "3", "III", None, 2.5])
def test_types_are_one_two_three(type_: object) -> None:
    with pytest.raises(InferenceError, match=r"type is .*; it must be 1, 2 or 3"):
        anova(reference_state("sleepstudy_slope")[0], type_)


@pytest.mark.parametrize(("type_", "meant"), [("III", 3), ("2", 2)])
def test_types_of_r_get_a_hint(type_: str, meant: int) -> None:
    with pytest.raises(InferenceError, match=rf"Did you mean type={meant}\?"):
        anova(reference_state("sleepstudy_slope")[0], type_)


def test_another_fit_is_for_compare() -> None:
    fit = mm.lmer("yield ~ Variety + (1 | Block)", unbalanced())
    with pytest.raises(InferenceError, match=r"use mixedmodels\.compare\(fit, other\)"):
        fit.anova(fit)


def test_type_1_goes_by_order_and_the_others_do_not() -> None:
    one = mm.lmer("yield ~ nitro * Variety + (1 | Block)", unbalanced())
    other = mm.lmer("yield ~ Variety * nitro + (1 | Block)", unbalanced())
    names = {"nitro": "nitro", "Variety": "Variety", "nitro:Variety": "Variety:nitro"}
    for type_ in (2, 3):
        np.testing.assert_allclose(
            one.anova(type_)["f_value"].to_numpy(), other.anova(type_).loc[list(names.values()), "f_value"], rtol=1e-6
        )
    assert abs(one.anova(1).loc["nitro", "f_value"] - other.anova(1).loc["nitro", "f_value"]) > 0.01


def test_type_2_of_main_effects_is_type_1_at_the_end_of_a_model_without_interaction() -> None:
    """Its hypothesis is that the term's coefficients are zero when the interaction is left out of least squares."""
    fit = mm.lmer("yield ~ nitro * Variety + (1 | Block)", unbalanced())
    first = mm.lmer("yield ~ Variety + nitro + nitro:Variety + (1 | Block)", unbalanced())
    pd.testing.assert_series_equal(fit.anova(2).loc["nitro"], first.anova(1).loc["nitro"], rtol=1e-6)


def test_type_3_compares_means_with_equal_weights() -> None:
    """Where every cell is filled, the hypothesis is that the unweighted means of the levels are equal."""
    fit = mm.lmer("yield ~ nitro * Variety + (1 | Block)", unbalanced())
    means = [
        f"Variety[T.{v}] + ({' + '.join(f'nitro[T.{n}]:Variety[T.{v}]' for n in ('0.2', '0.4', '0.6'))}) / 4"
        for v in ("Marvellous", "Victory")
    ]
    joint = fit.contrast(means, joint=True).loc["joint"]
    row = fit.anova(3).loc["Variety"]
    assert row["f_value"] == pytest.approx(joint["statistic"])
    assert row["den_df"] == pytest.approx(joint["df"])


def test_an_aliased_term_has_no_test() -> None:
    data = load("sleepstudy").assign(hours=lambda d: 24 * d["Days"])
    with pytest.warns(mm.RankDeficiencyWarning):
        fit = mm.lmer("Reaction ~ Days + hours + (1 | Subject)", data)
    table = fit.anova()
    assert "Read tests of type 3 with care: the column hours was dropped" in repr(table)
    assert "Read tests of type 2 with care" in repr(fit.anova(type=2))
    assert "with care" not in repr(fit.anova(type=1))
    assert table.loc["hours", "num_df"] == 0
    assert table.loc["hours"].drop("num_df").isna().all()
    assert table.loc["Days", "num_df"] == 1


def test_columns_of_one_expression_are_one_term() -> None:
    fit = mm.lmer("Reaction ~ poly(Days, 2) + (1 | Subject)", load("sleepstudy"))
    other = mm.lmer("Reaction ~ Days + I(Days**2) + (1 | Subject)", load("sleepstudy"))
    joint = other.contrast(["Days", "I(Days**2)"], joint=True).loc["joint"]
    row = fit.anova().loc["poly(Days, 2)"]
    assert (row["num_df"], row["f_value"]) == (2, pytest.approx(joint["statistic"]))


def test_contrasts_that_the_user_gave_as_a_matrix() -> None:
    data = unbalanced()
    plain = mm.lmer("yield ~ Variety + nitro + (1 | Block)", data)
    matrix = "{'a': [1, -1, 0], 'b': [1, 1, -2]}"
    own = mm.lmer(f"yield ~ C(Variety, contr.custom({matrix})) + nitro + (1 | Block)", data)
    np.testing.assert_allclose(own.anova()["f_value"], plain.anova()["f_value"], rtol=1e-6)
