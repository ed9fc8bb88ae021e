"""Sizes of effects against effectsize, parameters, performance and published equations: ``sizes.R``'s numbers.

Closed forms 1e-9 relative; ends of intervals 1e-7 against R's noncentral F, 1e-4 against effectsize, which searches
them with few digits; what depends on R's optimum 1e-5.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA
from mixedmodels.inference.effect_sizes import size_with_interval
from reference.test_lmm import canonical

FILE = json.loads((Path(__file__).parent / "sizes.json").read_text(encoding="utf-8"))
FITS = FILE["fits"]

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


def frame(name: str) -> pd.DataFrame:
    data = pd.read_csv(DATA / f"{name}.csv")
    row = np.arange(1, len(data) + 1)
    if name == "dietox":
        return data.assign(Pig=data["Pig"].astype(str))[row % 7 != 0]
    if name == "Penicillin":
        return data.assign(late=row % 5)
    subject = pd.Categorical(data["Subject"].astype(str)).codes + 1
    data = data.assign(Subject=data["Subject"].astype(str), z=np.sin(row * 2.7), arm=np.array(["a", "b"])[subject % 2])
    raw = data["Days"] + data["z"]
    return data.assign(age=30 + subject * 7 % 11, centred=raw - raw.groupby(data["Subject"]).transform("mean"))


@cache
def fitted(name: str) -> mm.LmmResult:
    fit = mm.lmer(FITS[name]["formula"], frame(FITS[name]["data"]))
    assert fit.nobs == FITS[name]["n"]
    return fit


@pytest.mark.parametrize("case", FILE["closed"], ids=lambda case: str(case["test"]))
def test_sizes_of_tests(case: dict[str, list[float]]) -> None:
    for kind in ("eta", "epsilon", "omega"):
        ours = size_with_interval(kind, *case["test"], level=0.95)
        assert ours[0] == pytest.approx(case[kind][0], rel=1e-9)
        assert ours[1:] == pytest.approx(case[kind][1:], abs=1e-4)
    if case["ends"]:
        assert size_with_interval("eta", *case["test"], level=0.95)[1:] == pytest.approx(case["ends"], abs=1e-7)


@pytest.mark.parametrize("name", FITS)
def test_sizes_of_terms(name: str) -> None:
    theirs = FITS[name]["f"]
    for kind in ("eta", "omega"):
        table = fitted(name).effect_sizes(kind)
        names = {canonical(str(term)): term for term in table.index}
        terms, sizes = np.atleast_1d(theirs["terms"]), np.atleast_1d(theirs[kind])
        ours = [table.loc[names[canonical(term)], f"{kind}_sq"] for term in terms]
        np.testing.assert_allclose(ours, sizes, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", ["refit", "basic", "pseudo"])
@pytest.mark.parametrize("name", FITS)
def test_standardised_coefficients(name: str, method: str) -> None:
    theirs = {canonical(term): value for term, value in FITS[name][method].items() if value is not None}
    if not theirs:
        with pytest.raises(mm.InferenceError, match="one grouping factor"):
            fitted(name).standardized(method)
        return
    table = fitted(name).standardized(method)
    ours = {canonical(str(term)): value for term, value in table["estimate"].items()}
    for term, value in theirs.items():
        assert ours[term] == pytest.approx(value, rel=1e-4, abs=1e-7)
    assert len(table) == len(FITS[name][method])


@pytest.mark.parametrize("name", FITS)
def test_intraclass_correlations(name: str) -> None:
    theirs = FITS[name]["icc"]
    table = fitted(name).variance_shares("factor")
    if isinstance(theirs, float):
        assert table["icc"].iloc[1] == pytest.approx(theirs, rel=1e-5)
        return
    for group in theirs:
        assert table.loc[group["Group"], "icc"] == pytest.approx(group["ICC"], rel=1e-5)


@pytest.mark.parametrize("name", [name for name in FITS if "level" in FITS[name]])
def test_rights_and_sterba(name: str) -> None:
    theirs = FITS[name]["level"]
    variance = fitted(name).variance_shares("level")["variance"]
    ours = {"fixed_within": variance["fixed, within"], "fixed_between": variance["fixed, between"]}
    ours |= {
        f"random_{part}": variance[variance.index.str.endswith(f"), {part}")].sum() for part in ("within", "between")
    }
    ours["residual"] = variance["residual"]
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", FITS)
def test_part_r2(name: str) -> None:
    table = fitted(name).part_r2()
    theirs = FITS[name]["part"]
    names = {canonical(str(term)): term for term in table.index[1:]}
    assert set(names) == set(map(canonical, theirs))
    for term, value in theirs.items():
        assert table.loc[names[canonical(term)], "part_r2"] == pytest.approx(value, rel=1e-3, abs=1e-7)
