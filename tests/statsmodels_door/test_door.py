"""Our MixedLM beside statsmodels' own: likelihoods, tables, and the tools that take its models and results."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load
from mixedmodels import MixedLM, MixedLMParams, MixedLMResults, VCSpec, mixedlm

pytest.importorskip("statsmodels", reason="statsmodels, which these tests look at, is not installed")

import statsmodels.formula.api as smf
from statsmodels.iolib.summary2 import summary_col
from statsmodels.regression import mixed_linear_model as theirs
from statsmodels.stats.mediation import Mediation
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

DIETOX = load("dietox").assign(Weight=lambda d: d["Weight"].astype(float), Time=lambda d: d["Time"].astype(float))
PASTES = load("Pastes")
MODELS: dict[str, tuple[str, pd.DataFrame, dict[str, Any]]] = {
    "intercept": ("Weight ~ Time", DIETOX[:240], {"groups": "Pig"}),
    "slopes": ("Weight ~ Time", DIETOX[:240], {"groups": "Pig", "re_formula": "~Time"}),
    "nested": (
        "strength ~ 1",
        PASTES,
        {"groups": "batch", "re_formula": "1", "vc_formula": {"cask": "0 + C(cask)"}},
    ),
    "components": ("strength ~ 1", PASTES, {"groups": "batch", "vc_formula": {"cask": "0 + C(cask)"}}),
}


def both(name: str) -> tuple[MixedLM, Any]:
    """Return our model and theirs."""
    formula, data, options = MODELS[name]
    return mixedlm(formula, data, **options), smf.mixedlm(formula, data, **options)


def parameters(model: MixedLM, seed: int) -> MixedLMParams:
    """Return some parameters, fixed effects near their estimates."""
    random = np.random.default_rng(seed)
    root = np.tril(random.uniform(0.2, 1.0, (model.k_re, model.k_re)))
    vcomp = random.uniform(0.3, 2.0, model.k_vc)
    fixed, _ = model.get_fe_params(root @ root.T, vcomp)
    return MixedLMParams.from_components(fixed + random.normal(size=model.k_fe) / 50, root @ root.T, vcomp=vcomp)


def as_theirs(params: MixedLMParams) -> Any:
    return theirs.MixedLMParams.from_components(params.fe_params, params.cov_re, vcomp=params.vcomp)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_likelihood_and_derivatives_are_theirs(name: str, reml: bool, seed: int) -> None:
    ours, their = both(name)
    their.reml, their.cov_pen, their.fe_pen, their._freepat = reml, None, None, None
    their._cov_sing = 0
    params = parameters(ours, seed)
    for profile_fe in (True, False):
        expected = their.loglike(as_theirs(params), profile_fe=profile_fe)
        assert ours.loglike(params, profile_fe=profile_fe, reml=reml) == pytest.approx(expected, rel=1e-10)
    # Their score and Hessian are those at the generalised least squares estimate.
    params.fe_params = ours.get_fe_params(params.cov_re, params.vcomp)[0]
    for found, expected in zip(
        ours.score_full(params, reml=reml), their.score_full(as_theirs(params), calc_fe=True), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    expected = their.hessian(as_theirs(params))[0]
    size = np.sqrt(np.abs(np.diag(expected)))
    difference = (ours.hessian(params, reml=reml)[0] - expected) / np.outer(size, size)
    assert np.abs(difference).max() < 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_names_are_theirs(name: str) -> None:
    ours, their = both(name)
    assert ours.exog_names == their.exog_names
    assert ours.data.param_names == their.data.param_names
    assert ours.group_labels == their.group_labels
    assert ours.row_indices == {label: list(rows) for label, rows in their.row_indices.items()}


def test_the_users_guide_but_for_one_standard_error() -> None:
    ours, their = (door("Weight ~ Time", DIETOX, groups="Pig").fit().summary() for door in (mixedlm, smf.mixedlm))
    assert str(their).count("  2.149") == 1
    assert str(ours) == str(their).replace("  2.149", "  6.939")
    assert ours.tables[0].to_numpy().tolist() == their.tables[0].to_numpy().tolist()
    assert ours.tables[1].columns.tolist() == their.tables[1].columns.tolist()


@pytest.mark.filterwarnings("ignore")
def test_the_users_guide_with_slopes_but_for_standard_errors_of_variances() -> None:
    options = {"groups": "Pig", "re_formula": "~Time"}
    ours = mixedlm("Weight ~ Time", DIETOX, **options).fit().summary()
    their = smf.mixedlm("Weight ~ Time", DIETOX, **options).fit(method="lbfgs").summary()
    # They stop short of the optimum, which shows in the third digit after the point of the variances.
    assert ours.tables[1].index.tolist() == their.tables[1].index.tolist()
    columns = ["Coef.", "Std.Err.", "[0.025", "0.975]"]
    found, expected = (table.tables[1].iloc[:2][columns].astype(float) for table in (ours, their))
    np.testing.assert_allclose(found, expected, atol=1.1e-3)
    found, expected = (table.tables[1]["Coef."].astype(float)[2:] for table in (ours, their))
    np.testing.assert_allclose(found, expected, atol=0.011)


def test_summary_col() -> None:
    fits = [door("Weight ~ Time", DIETOX, groups="Pig").fit() for door in (mixedlm, smf.mixedlm)]
    assert str(summary_col([fits[0]])) == str(summary_col([fits[1]]))
    assert "Weight I Weight II" in str(summary_col(fits))


def mediated() -> pd.DataFrame:
    random = np.random.default_rng(1)
    g = np.repeat(np.arange(40), 5)
    x = random.normal(size=200)
    m = 0.8 * x + random.normal(size=40)[g] + random.normal(size=200)
    y = 0.5 * x + 0.7 * m + random.normal(size=40)[g] + random.normal(size=200)
    return pd.DataFrame({"x": x, "m": m, "y": y, "g": g})


def test_mediation() -> None:
    data = mediated()
    found, expected = (
        Mediation(door("y ~ x + m", data, groups="g"), door("m ~ x", data, groups="g"), "x", "m")
        .fit(n_rep=20, rng=np.random.default_rng(3))
        .summary()
        for door in (mixedlm, smf.mixedlm)
    )
    pd.testing.assert_frame_equal(found, expected, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")
def test_mediation_by_bootstrap() -> None:
    data = mediated()
    analysis = Mediation(mixedlm("y ~ x + m", data, groups="g"), mixedlm("m ~ x", data, groups="g"), "x", "m")
    table = analysis.fit(method="bootstrap", n_rep=10, rng=np.random.default_rng(3)).summary()
    assert 0.3 < table.loc["ACME (average)", "Estimate"] < 0.9


def test_names_are_importable_from_the_package() -> None:
    door = sys.modules["mixedmodels.mixedlm"]
    for name in ("MixedLM", "mixedlm", "MixedLMResults", "MixedLMParams", "VCSpec"):
        assert getattr(mm, name) == getattr(door, name)
        assert name in mm.__all__
    assert issubclass(MixedLMResults, mm.LmmResult)
    assert VCSpec(["a"], [[["b"]]], [[np.ones((2, 1))]]).names == ["a"]


@pytest.mark.parametrize("name", MODELS)
def test_pickles_and_files(name: str, tmp_path: Path) -> None:
    fit = both(name)[0].fit()
    fit.save(str(tmp_path / "fit"))
    for copied in (
        pickle.loads(pickle.dumps(fit)),
        MixedLMResults.load(str(tmp_path / "fit")),
        mm.load(tmp_path / "fit", trust=True),
    ):
        assert type(copied) is MixedLMResults
        assert str(copied.summary()) == str(fit.summary())
        pd.testing.assert_series_equal(copied.resid, fit.resid)
        np.testing.assert_allclose(copied.model.fit().params, fit.params, rtol=1e-12)
        for label, effects in fit.random_effects.items():
            pd.testing.assert_series_equal(copied.random_effects[label], effects)
    pickle.loads(pickle.dumps(fit.model)).fit()
    pickle.loads(pickle.dumps(fit.params_object))


def test_statsmodels_is_never_imported() -> None:
    code = """
import sys
import mixedmodels as mm
data = mm.load_dataset("sleepstudy")
fit = mm.mixedlm("Reaction ~ Days", data, groups="Subject", re_formula="~Days").fit()
str(fit.summary()), fit.t_test("Days = 0"), fit.bse_re, fit.random_effects, fit.profile_re(0, "re", 1, None, 1, None)
fit.model.fit_regularized(alpha=0.1), fit.model.fit(method="bfgs"), fit.wald_test_terms()
print("statsmodels" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_our_warnings_are_also_theirs() -> None:
    with pytest.warns(SingularMatrixWarning, match="effects"):
        mixedlm("Weight ~ C(Cu)", DIETOX, groups="Pig").fit()


def test_every_difference_in_the_docs_is_a_test() -> None:
    page = (Path(__file__).parents[2] / "docs" / "coming-from-statsmodels.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert named
    assert [name for name in sorted(named) if f"def {name}(" not in source] == []
    assert all(f"| E{k} |" in page for k in range(1, 25))
