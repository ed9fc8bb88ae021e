"""Designs against R's model matrices, levels and counts: every lmer case of ``reference/lmm``."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_loader import load
from mixedmodels.design.build import build_design
from mixedmodels.design.design import Design
from mixedmodels.formula.parse import parse_formula

LMM = Path(__file__).parents[2] / "reference" / "lmm"
CASES = sorted(path.stem for path in LMM.glob("*.json"))


@cache
def reference(case: str) -> dict[str, Any]:
    """Return R's file of a case."""
    return json.loads((LMM / f"{case}.json").read_text(encoding="utf-8"))


@cache
def design_of(case: str) -> Design:
    """Return our design of a case."""
    theirs = reference(case)
    formula = theirs["formula"].split(", weights")[0]
    return build_design(parse_formula(formula), load(theirs["data"]), weights=theirs["weights"])


def meaning(name: str) -> frozenset[str]:
    """Return a column's factors free of dialect: R's ``I(Time^2):SexF`` is formulaic's ``Sex[T.F]:I(Time ** 2)``."""
    plain = name.replace(" ", "").replace("**", "^").replace("(Intercept)", "Intercept")
    return frozenset(re.sub(r"\[(?:T\.)?(.*?)\]", r"\1", plain).split(":"))


def test_all_cases_are_here() -> None:
    assert len(CASES) == 31


@pytest.mark.parametrize("case", CASES)
def test_sizes(case: str) -> None:
    design, theirs = design_of(case), reference(case)
    assert design.n_obs == theirs["n"]
    assert design.n_rows == theirs["n_rows_in_file"]
    assert sum(design.n_dropped.values()) == theirs["n_rows_in_file"] - theirs["n"]
    assert design.X.shape[1] == theirs["p"] + len(theirs.get("columns_dropped") or [])
    assert sum(f.n_levels * f.n_effects for f in design.factors) == theirs["q"]
    assert sum(f.n_theta for f in design.factors) == theirs["n_theta"]
    assert {f.name: f.n_levels for f in design.factors} == {
        name: factor["n_levels"] for name, factor in theirs["grouping_factors"].items()
    }


@pytest.mark.parametrize("case", CASES)
def test_rows(case: str) -> None:
    design, theirs = design_of(case), reference(case)
    rows = np.arange(design.n_rows) if design.rows is None else design.rows
    assert (rows[:10] + 1).tolist() == theirs["rows_first10"]


@pytest.mark.parametrize("case", CASES)
def test_model_matrix(case: str) -> None:
    design, theirs = design_of(case), reference(case)
    ours = {meaning(name): j for j, name in enumerate(design.x_names)}
    columns = [ours[meaning(name)] for name in theirs["fixed_terms"]["columns"]]
    assert len(set(columns)) == theirs["p"]
    np.testing.assert_allclose(design.X[:3, columns], theirs["model_matrix_first3"], rtol=1e-12)
    assert design.X.flags.c_contiguous


@pytest.mark.parametrize("case", CASES)
def test_response(case: str) -> None:
    design, fit = design_of(case), reference(case)["fits"]["REML"]
    y = np.add(fit["fitted_first10"], fit["residuals_first10"])
    np.testing.assert_allclose(design.y[:10], y, rtol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_levels_and_effects(case: str) -> None:
    design, fit = design_of(case), reference(case)["fits"]["REML"]
    ours = {factor.name: factor for factor in design.factors}
    for ranef in fit["ranef"]:
        factor = ours[ranef["group"]]
        assert list(map(str, factor.levels[:10])) == ranef["levels"]
        assert [meaning(c) for c in factor.columns] == [meaning(c) for c in ranef["columns"]]


@pytest.mark.parametrize("case", CASES)
def test_order_of_factors_and_blocks(case: str) -> None:
    design, fit = design_of(case), reference(case)["fits"]["REML"]
    theirs = [(entry["group"], len(entry["columns"])) for entry in fit["varcorr"]]
    ours = [(factor.name, size) for factor in design.factors for size in factor.block_sizes]
    assert ours == theirs
    names = [name.replace("(Intercept)", "Intercept") for name in fit["theta"]["names"]]
    if not any(f.Z is not None and "[" in "".join(f.columns) for f in design.factors):
        assert [name.replace(" ", "") for name in design.theta_names] == [name.replace(" ", "") for name in names]


@pytest.mark.parametrize("case", CASES)
def test_fitted_values_from_r_s_effects(case: str) -> None:
    """X beta + Z b + offset with R's estimates is R's fitted value wherever R lists the row's levels."""
    design, theirs = design_of(case), reference(case)
    fit = theirs["fits"]["REML"]
    ours = {meaning(name): j for j, name in enumerate(design.x_names)}
    columns = [ours[meaning(name)] for name in fit["fixef"]["names"]]
    fitted = design.X[:10, columns] @ fit["fixef"]["estimate"]
    known = np.ones(10, dtype=bool)
    effects = {ranef["group"]: ranef for ranef in fit["ranef"]}
    for factor in design.factors:
        ranef, codes = effects[factor.name], factor.codes[:10]
        known &= codes < len(ranef["levels"])
        b = np.asarray(ranef["values"])[np.minimum(codes, len(ranef["levels"]) - 1)]
        Z = np.ones((10, 1)) if factor.Z is None else factor.Z[:10]
        fitted += np.sum(Z * b, axis=1)
    if design.offset is not None:
        fitted += design.offset[:10]
    np.testing.assert_allclose(fitted[known], np.asarray(fit["fitted_first10"])[known], rtol=1e-8)
