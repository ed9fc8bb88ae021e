"""Degrees of freedom and anova tables against lmerTest and pbkrtest: the reference fits, and ``anova.R``'s.

Standard errors 1e-6 relative, degrees of freedom, F and sums of squares 1e-5 (1e-4 where R optimised to fewer digits).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA
from reference.test_lmm import CASES, Case, canonical, case

ANOVA = json.loads((Path(__file__).parent / "anova.json").read_text(encoding="utf-8"))
TYPES = {1: "I", 2: "II", 3: "III"}
METHODS = ("satterthwaite", "kenward-roger")

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


@pytest.fixture(params=[(name, method) for name in CASES for method in ("ML", "REML")], ids="-".join)
def compared(request: pytest.FixtureRequest) -> Case:
    """Every reference case by both methods."""
    return case(*request.param)


def agree(ours: pd.DataFrame, theirs: dict[str, Any], rtol: float) -> None:
    """Compare two tables by their terms; a term that R leaves out has no test here."""
    names = {canonical(str(name)): name for name in ours.index}
    table = ours.loc[[names.pop(canonical(term)) for term in theirs["terms"]]]
    assert (ours.loc[list(names.values()), "num_df"] == 0).all()
    np.testing.assert_array_equal(table["num_df"], theirs["num_df"])
    np.testing.assert_allclose(table["den_df"], np.array(theirs["den_df"], float), rtol=rtol)
    np.testing.assert_allclose(table["f_value"], theirs["F"], rtol=rtol)
    np.testing.assert_allclose(table["p_value"], theirs["p"], rtol=100 * rtol)
    if "sum_sq" in theirs:
        np.testing.assert_allclose(table["sum_sq"], theirs["sum_sq"], rtol=rtol)


def test_satterthwaite(compared: Case) -> None:
    theirs = compared.theirs["satterthwaite"]
    table = compared.fit.coef_table().iloc[compared.fixed]
    np.testing.assert_allclose(table["df"], np.array(theirs["df"], float), rtol=1e-5)
    np.testing.assert_allclose(table["p_value"], theirs["p"], rtol=1e-3, atol=1e-300)


def test_kenward_roger(compared: Case) -> None:
    theirs = compared.theirs.get("kenward_roger")
    if not theirs:
        pytest.skip("R has none: the fit is by ML or costs too much there")
    table = compared.fit.coef_table("kenward-roger").iloc[compared.fixed]
    np.testing.assert_allclose(table["std_error"], theirs["se"], rtol=1e-6)
    np.testing.assert_allclose(table["df"], theirs["df"], rtol=1e-5)
    np.testing.assert_allclose(table["p_value"], theirs["p"], rtol=1e-3)
    if theirs.get("anova_III"):
        agree(compared.fit.anova(ddf="kenward-roger"), theirs["anova_III"], 1e-5)


@pytest.mark.parametrize("type_", TYPES)
def test_anova_satterthwaite(compared: Case, type_: int) -> None:
    theirs = (compared.theirs.get("anova_satterthwaite") or {}).get(TYPES[type_])
    if not theirs:
        assert not len(compared.fit.anova(type_))
        return
    agree(compared.fit.anova(type_), theirs, 1e-5)


def data_of(file: dict[str, Any]) -> pd.DataFrame:
    """Return the data that ``anova.R`` used: levels in the order of their appearance."""
    frame = pd.read_csv(DATA / f"{file['data'][0]}.csv", keep_default_na=False, na_values=["NA"])
    changes = file["change"][0].split(", ")
    factors = {"Block", "Variety", "recipe", "replicate", "Pig", "Evit", "Cu", "Machine", "Worker"}
    if "numeric" not in changes:
        factors.add("nitro")
    for name in factors & set(frame):
        text = frame[name].astype(str)
        frame[name] = pd.Categorical(text, categories=text.unique())
    if "hole" in changes:
        nitro = frame["nitro"].astype(str).astype(float)
        frame = frame[(frame["Variety"] != "Victory") | (nitro != 0.6)]
    if "thinned" in changes:
        row = frame.index + 1
        frame = frame[(row % 7 != 0) & (row % 11 != 3)]
    return frame


def fitted(name: str, contrasts: dict[str, str] | None = None) -> mm.LmmResult:
    """Return our fit of one case of ``anova.json``."""
    fit = mm.lmer(ANOVA[name]["formula"][0], data_of(ANOVA[name]), contrasts=contrasts)
    assert fit.nobs == ANOVA[name]["n"][0]
    return fit


@pytest.mark.parametrize("ddf", METHODS)
@pytest.mark.parametrize("name", ANOVA)
def test_unbalanced_data(name: str, ddf: str) -> None:
    fit = fitted(name)
    assert fit.deviance == pytest.approx(ANOVA[name]["minus2_loglik"][0], abs=1e-5)
    for type_, roman in TYPES.items():
        if name != "no_main_effect" or type_ == 1:
            agree(fit.anova(type_, ddf), ANOVA[name][ddf][roman], 1e-4)


def test_a_factor_is_contained_in_its_interaction_without_the_other_main_effect() -> None:
    """The same model in two formulas has the same test; lmerTest takes the reference level of nitro instead."""
    for ddf in METHODS:
        without, full = fitted("no_main_effect").anova(3, ddf), ANOVA["unbalanced"][ddf]["III"]
        place = full["terms"].index("Variety")
        assert without.loc["Variety", "f_value"] == pytest.approx(full["F"][place], rel=1e-4)
        assert without.loc["Variety", "den_df"] == pytest.approx(full["den_df"][place], rel=1e-4)


CODED = ("unbalanced", "empty_cell_unbalanced", "no_main_effect", "slopes_within", "three_way")


@pytest.mark.parametrize("coding", ["sum", "helmert", "poly", "diff"])
@pytest.mark.parametrize("name", CODED)
def test_any_coding(name: str, coding: str) -> None:
    """The tables of the treatment coding come out under any other."""
    treatment = fitted(name)
    other = fitted(name, {factor: coding for factor in ("Variety", "Evit") if factor in treatment.state.design.columns})
    for type_ in TYPES:
        for ddf in METHODS:
            pd.testing.assert_frame_equal(other.anova(type_, ddf), treatment.anova(type_, ddf), rtol=1e-5)
