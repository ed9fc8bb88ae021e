"""Every lmer fit of ``reference/lmm`` against R's polished optimum, ML and REML.

Tolerances are those the package promises: criterion 1e-6 (1e-5 above 10,000 rows), fixed effects 1e-5 of their
standard error, standard errors and covariances 1e-5 relative, theta 1e-4, sigma 1e-6 relative, random effects and
their conditional variances 1e-4 of their standard deviation, and 1e-8 for the criterion at a given theta.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load

LMM = Path(__file__).resolve().parent / "lmm"
CASES = sorted(path.stem for path in LMM.glob("*.json"))
LARGE = 10_000

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


def canonical(name: str) -> frozenset[str]:
    """Return a column's name free of dialect: R's ``SexFemale:age`` and formulaic's ``age:Sex[T.Female]`` are one."""
    plain = name.replace(" ", "").replace("**", "^").replace("(Intercept)", "Intercept")
    return frozenset(re.sub(r"\[(?:T\.)?(.*?)\]", r"\1", plain).split(":"))


def same_order(ours: list[str], theirs: list[str]) -> list[int]:
    """Return where R's columns are among ours."""
    where = {canonical(name): i for i, name in enumerate(ours)}
    assert len(where) == len(theirs) == len(ours)
    return [where[canonical(name)] for name in theirs]


Block = tuple[str, tuple[frozenset[str], ...]]


@dataclass(frozen=True)
class Case:
    """One fit of ours beside R's."""

    name: str
    method: str

    @cached_property
    def file(self) -> dict[str, Any]:
        """The whole reference file."""
        return json.loads((LMM / f"{self.name}.json").read_text(encoding="utf-8"))

    @cached_property
    def theirs(self) -> dict[str, Any]:
        """R's fit."""
        return self.file["fits"][self.method]

    @property
    def reml(self) -> bool:
        """True if the restricted likelihood is maximised."""
        return self.method == "REML"

    @cached_property
    def model(self) -> mm.LinearMixedModel:
        """Our model, unfitted."""
        return mm.LinearMixedModel(self.file["formula"], load(self.file["data"]), weights=self.file["weights"])

    @cached_property
    def fit(self) -> mm.LmmResult:
        """Our fit."""
        return mm.lmer(self.file["formula"], load(self.file["data"]), weights=self.file["weights"], reml=self.reml)

    @property
    def criterion_tol(self) -> float:
        """Largest difference allowed at the optimum."""
        return 1e-5 if self.file["n"] > LARGE else 1e-6

    @cached_property
    def fixed(self) -> list[int]:
        """Where R's fixed effects are among ours."""
        return same_order(list(self.fit.fe_params.index), self.theirs["fixef"]["names"])

    def our_theta(self, theirs: list[float]) -> np.ndarray:
        """Return R's theta in the order of ours."""
        by_block: dict[Block, list[float]] = {}
        start = 0
        for block in self.theirs["varcorr"]:
            size = len(block["columns"])
            stop = start + size * (size + 1) // 2
            by_block[block["group"], tuple(map(canonical, block["columns"]))] = theirs[start:stop]
            start = stop
        ours: list[float] = []
        for factor in self.model.design.factors:
            start = 0
            for size in factor.block_sizes:
                columns = factor.columns[start : start + size]
                ours += by_block.pop((factor.name, tuple(map(canonical, columns))))
                start += size
        assert not by_block
        return np.array(ours)


@cache
def case(name: str, method: str) -> Case:
    """Return one case; fits are shared by the tests."""
    return Case(name, method)


@pytest.fixture(params=[(name, method) for name in CASES for method in ("ML", "REML")], ids="-".join)
def compared(request: pytest.FixtureRequest) -> Case:
    """Every case by both methods."""
    return case(*request.param)


@pytest.fixture
def regular(compared: Case) -> Case:
    """Those whose optimum is not on the boundary, where theta is unique."""
    if compared.theirs["is_singular"]:
        pytest.skip("theta and what follows from it are not unique on the boundary")
    return compared


def test_all_cases_are_here() -> None:
    assert len(CASES) == 31


def test_data_are_the_same(compared: Case) -> None:
    fit, file = compared.fit, compared.file
    assert fit.nobs == file["n"]
    assert fit.n_groups == {group: facts["n_levels"] for group, facts in file["grouping_factors"].items()}
    assert fit.df_model_total == compared.theirs["df"]


def test_criterion_at_given_theta(compared: Case) -> None:
    for at in compared.theirs["criterion_at"]:
        value = compared.model.deviance(compared.our_theta(at["theta"]), reml=compared.reml)
        assert value == pytest.approx(at["value"], rel=0, abs=1e-8)


def test_criterion_at_optimum(compared: Case) -> None:
    fit, theirs, tol = compared.fit, compared.theirs, compared.criterion_tol
    assert fit.converged
    assert fit.deviance == pytest.approx(theirs["minus2_loglik"], rel=0, abs=tol)
    assert fit.llf == pytest.approx(theirs["logLik"], rel=0, abs=tol)
    assert fit.aic == pytest.approx(theirs["AIC"], rel=0, abs=tol)
    assert fit.bic == pytest.approx(theirs["BIC"], rel=0, abs=tol)


def test_singular_fits_are_called_singular(compared: Case) -> None:
    assert compared.fit.is_singular == compared.theirs["is_singular"]


def test_fixed_effects(compared: Case) -> None:
    fit, fixef = compared.fit, compared.theirs["fixef"]
    se = np.array(fixef["se"])
    difference = fit.fe_params.to_numpy()[compared.fixed] - fixef["estimate"]
    assert np.abs(difference / se).max() < 1e-5
    np.testing.assert_allclose(fit.bse_fe.to_numpy()[compared.fixed], se, rtol=1e-5)
    cov = fit.cov_fe.to_numpy()[np.ix_(compared.fixed, compared.fixed)]
    assert np.abs((cov - compared.theirs["vcov_fixef"]) / np.outer(se, se)).max() < 1e-5


def test_dropped_columns(compared: Case) -> None:
    dropped = [finding for finding in compared.fit.findings if finding.kind == "dropped_columns"]
    assert bool(dropped) == bool(compared.file.get("columns_dropped"))


def test_theta(regular: Case) -> None:
    theirs = regular.our_theta(regular.theirs["theta"]["value"])
    np.testing.assert_allclose(regular.fit.theta, theirs, rtol=0, atol=1e-4)


def test_covariances(compared: Case) -> None:
    fit, theirs = compared.fit, compared.theirs
    assert fit.sigma == pytest.approx(theirs["sigma"], rel=1e-6)
    assert fit.scale == pytest.approx(theirs["sigma"] ** 2, rel=2e-6)
    for block in theirs["varcorr"]:
        ours = fit.varcorr[block["group"]]
        names = {canonical(name): name for name in ours.index}
        columns = [names[canonical(name)] for name in block["columns"]]
        sd = np.array(block["sd"])
        allowed = 1e-5 * np.outer(sd, sd) + 1e-10 * theirs["sigma"] ** 2
        assert (np.abs(ours.loc[columns, columns].to_numpy() - block["cov"]) <= allowed).all()


def test_random_effects(regular: Case) -> None:
    fit = regular.fit
    for theirs in regular.theirs["ranef"]:
        ours = fit.random_effects[theirs["group"]]
        assert len(ours) == theirs["n_levels"]
        rows = [[str(level) for level in ours.index].index(level) for level in theirs["levels"]]
        columns = same_order(list(ours.columns), theirs["columns"])
        sd = np.sqrt(np.diag(fit.varcorr[theirs["group"]]))[columns]
        values = ours.to_numpy()[:, columns]
        assert (np.abs(values[rows] - theirs["values"]) <= 1e-4 * sd).all()
        assert (values**2).sum() == pytest.approx(theirs["sum_of_squares_all_levels"], rel=1e-4)
        cov = fit.random_effects_cov[theirs["group"]][rows][:, columns][:, :, columns]
        cond_sd = np.array(theirs["cond_sd"])
        assert (np.abs(cov - theirs["cond_var"]) <= 1e-4 * cond_sd[:, :, None] * cond_sd[:, None, :]).all()


def test_fitted_values(compared: Case) -> None:
    fit, theirs = compared.fit, compared.theirs
    fitted, resid = np.asarray(fit.fittedvalues), np.asarray(fit.resid)
    pearson = np.asarray(fit.residuals(kind="pearson"))
    tol = 1e-5 * np.std(theirs["residuals_first10"])
    np.testing.assert_allclose(fitted[:10], theirs["fitted_first10"], rtol=0, atol=tol)
    np.testing.assert_allclose(resid[:10], theirs["residuals_first10"], rtol=0, atol=tol)
    np.testing.assert_allclose(pearson[:10], theirs["pearson_residuals_first10"], rtol=0, atol=1e-5 * theirs["sigma"])
    assert fitted.sum() == pytest.approx(theirs["sums"]["fitted"], rel=1e-6, abs=1e-6 * np.abs(fitted).sum())
    assert (fitted**2).sum() == pytest.approx(theirs["sums"]["fitted_sq"], rel=1e-6)
    assert (resid**2).sum() == pytest.approx(theirs["sums"]["residuals_sq"], rel=1e-6)


def test_better_of_two_optima() -> None:
    two = case("mmmec_two_optima", "ML")
    worse = two.theirs["optimizer"]["from_default_start"]
    assert two.fit.deviance < worse - 1.9
    assert two.fit.deviance == pytest.approx(two.theirs["minus2_loglik"], rel=0, abs=1e-6)
    assert "other_optima" in {finding.kind for finding in two.fit.findings}
