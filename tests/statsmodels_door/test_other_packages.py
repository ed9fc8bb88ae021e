"""Packages that are written for statsmodels' results: what they make of its own is what they should make of ours."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

sm = pytest.importorskip("statsmodels.api", reason="their results")
smf = pytest.importorskip("statsmodels.formula.api", reason="their results")

DIETOX = mm.load_dataset("dietox")
OUR = mm.mixedlm("Weight ~ Time", DIETOX, groups="Pig").fit(reml=False)
THEIR = smf.mixedlm("Weight ~ Time", DIETOX, groups="Pig").fit(reml=False, gtol=1e-8)


def test_stargazer() -> None:
    stargazer = pytest.importorskip("stargazer.stargazer")
    own = 'N. of groups</td><td>72</td></tr><tr><td style="text-align: left">'  # ours alone are counted
    fit = mm.mixedlm("Weight ~ Time", DIETOX, groups="Pig").fit(reml=False)  # made after stargazer was loaded
    their, our = (stargazer.Stargazer([one]).render_html() for one in (THEIR, fit))
    residual = np.sqrt((THEIR.resid**2).sum() / THEIR.df_resid)
    expected = their.replace(f"{residual:.3f} (df=859)", f"{np.sqrt(fit.scale):.3f} (df=859)")
    assert our.replace(own, "") == expected
    loaded = pickle.loads(pickle.dumps(OUR))
    assert stargazer.Stargazer([loaded, fit]).render_latex().count("15.72") == 2
    arrays = mm.MixedLM(OUR.model.endog, OUR.model.exog, OUR.model.groups).fit()
    assert "Group Var" in stargazer.Stargazer([arrays]).render_latex()


def test_results_load_no_other_package() -> None:
    code = "import sys, mixedmodels as mm; mm.mixedlm('Weight ~ Time', mm.load_dataset('dietox'), groups='Pig').fit()"
    run = [
        sys.executable,
        "-c",
        f"{code}; print(*{{'stargazer', 'statsmodels', 'marginaleffects'}} & set(sys.modules))",
    ]
    assert not subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.filterwarnings("ignore:.*invalid escape sequence")
def test_pystout(tmp_path: Path) -> None:
    pystout = pytest.importorskip("pystout").pystout
    our = mm.mixedlm("Weight ~ Time", DIETOX, groups="Pig").fit(reml=False)
    our.__module__ = "statsmodels"  # it looks at nothing else to know a result
    for name, fit in (("our", our), ("their", THEIR)):
        pystout([fit], file=str(tmp_path / name), digits=2, modstat={"nobs": "N", "aic": "AIC", "bic": "BIC"})
    assert (tmp_path / "our").read_text() == (tmp_path / "their").read_text()
    assert type(pickle.loads(pickle.dumps(our))) is mm.MixedLMResults


def test_marginaleffects_takes_the_adapter_alone() -> None:
    me = pytest.importorskip("marginaleffects")
    with pytest.raises(ValueError, match="Unknown model type"):
        me.avg_slopes(OUR, variables="Time")
    found = me.avg_slopes(OUR.to_marginaleffects("normal"), variables="Time", eps_vcov=1.0).data
    np.testing.assert_allclose(found["estimate"][0], THEIR.fe_params["Time"], rtol=1e-5)
    np.testing.assert_allclose(found["std_error"][0], THEIR.bse_fe["Time"], rtol=1e-4)


def lines(figure: Any) -> list[Any]:
    return [line.get_xydata() for ax in figure.axes for line in ax.lines]


@pytest.mark.parametrize("column", ["Time", 1])
def test_graphics_of_components_and_residuals(column: Any) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    our, their = (sm.graphics.plot_ccpr(fit, column) for fit in (OUR, THEIR))
    for ours, theirs in zip(lines(our), lines(their), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
    for draw in (sm.graphics.plot_ccpr_grid, sm.graphics.plot_partregress_grid):
        assert len(draw(OUR).axes) == len(draw(THEIR).axes)
    pyplot.close("all")


def test_results_without_labels() -> None:
    plain = OUR._results
    for name in ("params", "bse", "tvalues", "pvalues", "fe_params", "resid", "cov_re"):
        assert isinstance(getattr(plain, name), np.ndarray)
        np.testing.assert_array_equal(getattr(plain, name), getattr(OUR, name))
    assert isinstance(OUR.params, pd.Series)
    np.testing.assert_array_equal(plain.conf_int(), OUR.conf_int())


def test_saved_files_are_pickles(tmp_path: Path) -> None:
    path = str(tmp_path / "fit.pickle")
    OUR.save(path)
    with open(path, "rb") as file:
        by_pickle = pickle.load(file)
    ours = (mm.load(path, trust=True), mm.MixedLMResults.load(path))
    for loaded in (by_pickle, pd.read_pickle(path), sm.load(path), *ours):
        pd.testing.assert_series_equal(loaded.params, OUR.params)
        assert str(loaded.summary()) == str(OUR.summary())
