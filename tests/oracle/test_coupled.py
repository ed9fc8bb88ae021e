"""Random effects that join more rows than a block can have: Henderson's equations against blocks of rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.design import block_rows
from mixedmodels.design.build import build_design
from mixedmodels.diagnose.deleted_marginal import DeletedMarginal
from mixedmodels.errors import InferenceError
from mixedmodels.fit.correlated import CorrelatedProblem
from mixedmodels.fit.correlated_fit import fit_correlated
from mixedmodels.fit.coupled import CoupledProblem
from mixedmodels.fit.subjects import by_pattern, draw_residuals
from mixedmodels.formula.parse import parse_correlated_formula
from mixedmodels.inference.bootstrap import bootstrap
from mixedmodels.inference.profile import Profile, profile
from mixedmodels.inference.profiled_correlated import CorrelatedProfiled
from mixedmodels.inference.replicated_correlated import CorrelatedReplicated
from oracle.test_correlated import CASES, Floats, anywhere, frame

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")

WITH_EFFECTS = [name for name, (formula, *_) in CASES.items() if "|" in formula]


def both(name: str) -> tuple[CorrelatedProblem, CoupledProblem]:
    """Return the problem of a case by blocks of rows and by Henderson's equations."""
    formula, residual, variance, weights, sigma = CASES[name]
    design = build_design(parse_correlated_formula(formula, residual, variance), frame(), weights=weights)
    return CorrelatedProblem(design, sigma=sigma), CoupledProblem(design, sigma=sigma)


def crossed(n_subjects: int = 120, n_items: int = 60) -> pd.DataFrame:
    """Return subjects who meet items at visits, residuals an autoregression, so many that M is sparse."""
    rng = np.random.default_rng(4)
    visit = np.tile(np.arange(5), n_subjects)
    subject, item = np.repeat(np.arange(n_subjects), 5), rng.integers(0, n_items, 5 * n_subjects)
    root = np.linalg.cholesky(0.6 ** np.abs(np.subtract.outer(np.arange(5), np.arange(5))))
    x = rng.standard_normal(5 * n_subjects)
    residual = (rng.standard_normal((n_subjects, 5)) @ root.T).ravel()
    y = (
        1
        + 0.5 * x
        + 0.8 * rng.standard_normal(n_subjects)[subject]
        + 0.6 * rng.standard_normal(n_items)[item]
        + residual
    )
    read = pd.DataFrame({"id": subject, "visit": visit, "item": item, "x": x, "y": y, "half": 5 * item // n_items})
    return read[rng.random(len(read)) > 0.1].reset_index(drop=True)


def close(ours: Floats, theirs: Floats, size: float, tolerance: float) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", WITH_EFFECTS)
def test_both_routes_are_one_answer(name: str, reml: bool) -> None:
    blocks, ours = both(name)
    point = anywhere(blocks)
    theirs, found = blocks.slopes(point, reml), ours.slopes(point, reml)
    size = float(np.abs(theirs.hessian).max())
    assert ours.value(point, reml) == pytest.approx(blocks.value(point, reml), rel=1e-12)
    close(found.gradient, theirs.gradient, size, 1e-12)
    close(found.hessian, theirs.hessian, size, 1e-7)  # differences, far from an optimum
    close(found.expected, theirs.expected, size, 1e-7)
    close(found.sensitivity, theirs.sensitivity, float(np.abs(theirs.sensitivity).max()), 1e-11)
    close(found.pull, theirs.pull, float(np.abs(theirs.pull).max()), 1e-11)


def test_a_sparse_model_has_the_derivatives_of_its_blocks() -> None:
    formula = parse_correlated_formula("y ~ x + (1 + x | id) + (1 | item)", "ar1(visit | id)", "exp(x)")
    design = build_design(formula, crossed())
    blocks, ours = CorrelatedProblem(design), CoupledProblem(design)
    point = anywhere(blocks)
    assert not block_rows.joins_too_many(design)
    for reml in (True, False):
        theirs, found = blocks.slopes(point, reml), ours.slopes(point, reml)
        size = float(np.abs(theirs.hessian).max())
        assert ours.value(point, reml) == pytest.approx(blocks.value(point, reml), rel=1e-12)
        close(found.gradient, theirs.gradient, size, 1e-12)
        close(found.hessian, theirs.hessian, size, 1e-7)
        close(found.expected, theirs.expected, size, 1e-7)
    singular = point.copy()
    singular[-1] = 0.0  # no variance of items
    found, theirs = ours.slopes(singular, True), blocks.slopes(singular, True)
    close(found.gradient, theirs.gradient, float(np.abs(theirs.hessian).max()), 1e-12)
    close(found.hessian, theirs.hessian, float(np.abs(theirs.hessian).max()), 1e-7)


def test_fits_by_both_routes_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    data, call = crossed(), ("y ~ x + (1 + x | id) + (1 | item)", "ar1(visit | id)")
    dense = mm.lmer(call[0], data, residual=call[1])
    monkeypatch.setattr(block_rows, "MAX_ROWS", 100)
    sparse = mm.lmer(call[0], data, residual=call[1])
    assert type(sparse.state.problem) is CoupledProblem
    assert type(dense.state.problem) is CorrelatedProblem
    assert sparse.state.optimum.converged
    assert sparse.deviance == pytest.approx(dense.deviance, rel=1e-11)
    for ours, theirs in zip(sparse.state.b, dense.state.b, strict=True):
        close(ours, theirs, float(np.abs(theirs).max()), 1e-5)
    variances = zip(sparse.state.conditional_covariance(), dense.state.conditional_covariance(), strict=True)
    for ours, theirs in variances:
        close(ours, theirs, float(np.abs(theirs).max()), 1e-5)
    ours, theirs = sparse.coef_table(), dense.coef_table()
    np.testing.assert_allclose(ours["estimate"], theirs["estimate"], rtol=1e-6)
    np.testing.assert_allclose(ours["std_error"], theirs["std_error"], rtol=1e-6)
    np.testing.assert_allclose(ours["df"], theirs["df"], rtol=1e-4)
    np.testing.assert_allclose(sparse.residuals("normalized"), dense.residuals("normalized"), atol=1e-5)


def test_conditional_variances_at_one_point() -> None:
    blocks, ours = both("crossed")
    dense = fit_correlated(blocks, reml=True)
    sparse = replace(dense, problem=ours)
    for one, other in zip(sparse.conditional_covariance(), dense.conditional_covariance(), strict=True):
        close(one, other, float(np.abs(other).max()), 1e-11)


def test_order_of_rows_and_units_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_rows, "MAX_ROWS", 100)
    data = crossed()
    first = mm.lmer("y ~ x + (1 | id) + (1 | item)", data, residual="ar1(visit | id)")
    shuffled = data.sample(frac=1, random_state=1).assign(y=lambda d: 1e6 * d["y"], visit=lambda d: d["visit"] + 1000)
    second = mm.lmer("y ~ x + (1 | id) + (1 | item)", shuffled, residual="ar1(visit | id)")
    np.testing.assert_allclose(second.fe_params, 1e6 * first.fe_params, rtol=1e-7)
    ours, theirs = second.residual_parameters(), first.residual_parameters()
    np.testing.assert_allclose(ours["estimate"].iloc[-1], theirs["estimate"].iloc[-1], rtol=1e-6)


def test_what_needs_the_covariance_of_all_rows_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_rows, "MAX_ROWS", 100)
    data = crossed()
    fit = mm.lmer("y ~ x + (1 | id) + (1 | item)", data, residual="ar1(visit | id)")
    for call in (
        lambda: fit.coef_table(ddf="kenward-roger"),
        lambda: fit.cov_fe_robust("CR0"),
        lambda: fit.predict(data, conditional=True),
    ):
        with pytest.raises(InferenceError, match=r"levels of id, item join more than"):
            call()


def test_refits_without_an_item_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    data, call = crossed(60, 30), ("y ~ x + (1 | id) + (1 | item)", "ar1(visit | id)")
    dense = mm.lmer(call[0], data, residual=call[1])
    monkeypatch.setattr(block_rows, "MAX_ROWS", 100)
    sparse = mm.lmer(call[0], data, residual=call[1])
    assert type(sparse.state.problem) is CoupledProblem
    rest = np.flatnonzero(data["item"] != 3)
    ours = DeletedMarginal(sparse.state).refit(rest)
    monkeypatch.undo()
    theirs = DeletedMarginal(dense.state).refit(rest)
    np.testing.assert_allclose(ours.beta, theirs.beta, rtol=1e-6)
    np.testing.assert_allclose(ours.std_errors, theirs.std_errors, rtol=1e-6)
    assert not np.allclose(ours.beta, dense.state.beta, rtol=1e-4)


def test_profiles_are_those_of_blocks() -> None:
    formula = parse_correlated_formula("y ~ x + (1 | item)", "ar1(visit | id)", None)
    design = build_design(formula, crossed(30, 12))
    which = ["sd_Intercept|item"]
    blocks, ours = (
        profile(CorrelatedProfiled(fit_correlated(problem, reml=True)), Profile, which).conf_int()
        for problem in (CorrelatedProblem(design), CoupledProblem(design))
    )
    np.testing.assert_allclose(ours, blocks, rtol=1e-4)


def test_draws_have_the_covariance_of_blocks() -> None:
    formula = parse_correlated_formula("y ~ x + (1 + x | id) + (1 | item)", "ar1(visit | id)", "exp(x)")
    data = crossed(12, 5)
    design = build_design(formula, data.assign(w=1.0 + np.arange(len(data)) % 3), weights="w")
    by_blocks, ours = (
        fit_correlated(problem, reml=True) for problem in (CorrelatedProblem(design), CoupledProblem(design))
    )
    V = np.zeros((design.n_obs, design.n_obs))
    for some in by_pattern(replace(by_blocks, point=ours.point)):
        for rows, roots in zip(some.rows, some.roots, strict=True):
            V[np.ix_(rows, rows)] = some.covariance / np.outer(roots, roots)
    n = 40_000
    drawn = draw_residuals(ours, n, np.random.default_rng(1))
    spread = np.sqrt((np.outer(np.diag(V), np.diag(V)) + V**2) / n)
    assert np.abs((drawn @ drawn.T / n - V) / spread).max() < 5.0
    made = bootstrap(CorrelatedReplicated(ours, mm.CorrelatedResult), 3, seed=1, progress=False)
    assert made.n_failed == 0
    assert made.replicates.notna().all(axis=None)
