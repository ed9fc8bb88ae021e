"""Random effects group by group: their covariances against dense algebra, and what asking again gives."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import block_diag

import mixedmodels as mm

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")


def uneven(seed: int = 0) -> pd.DataFrame:
    """Groups of 1 to 9 rows, in no order, with few or many halves; some have no row where ``on`` is 1."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 10, 25)
    g = rng.permutation(np.repeat(np.arange(25), sizes))
    n = len(g)
    h, x, on = rng.integers(0, 4, n), rng.normal(size=n), (rng.integers(0, 2, n) * (g > 4)).astype(float)
    y = rng.normal(size=25)[g] + 0.5 * rng.normal(size=100)[4 * g + h] + on * rng.normal(size=25)[g]
    return pd.DataFrame({"g": [f"g{k:02d}" for k in g], "h": h, "x": x, "on": on, "y": y + x + rng.normal(size=n)})


MODELS: dict[str, dict[str, Any]] = {
    "intercepts": {},
    "slopes": {"re_formula": "~x"},
    "halves": {"re_formula": "1", "vc_formula": {"h": "0 + C(h)"}},
    "only components": {"vc_formula": {"h": "0 + C(h)", "on": "0 + on"}},
    "tied columns": {"re_formula": "~x", "vc_formula": {"both": "0 + on + I(x**2)"}},
    "slopes by half": {"re_formula": "1", "vc_formula": {"hx": "0 + C(h):x", "h": "0 + C(h)"}},
}


@pytest.mark.parametrize("arguments", MODELS.values(), ids=MODELS)
def test_covariances_are_those_of_dense_algebra(arguments: dict[str, Any]) -> None:
    fit = mm.mixedlm("y ~ x", uneven(), groups="g", **arguments).fit()
    model, found = fit.model, fit.random_effects_cov
    assert list(found) == model.group_labels
    for k, label in enumerate(model.group_labels):
        designs = [np.asarray(mats[k]) for mats in model.exog_vc.mats]
        own = [] if model.exog_re is None else [model.exog_re_li[k]]
        Z = np.hstack([*own, *designs])
        parts = [v * np.eye(Q.shape[1]) for v, Q in zip(fit.vcomp, designs, strict=True)]
        D = block_diag(np.asarray(fit.cov_re), *parts)[: Z.shape[1], : Z.shape[1]]
        V = Z @ D @ Z.T + fit.scale * np.eye(len(Z))
        np.testing.assert_allclose(found[label], D - D @ Z.T @ np.linalg.solve(V, Z @ D), atol=1e-8)
        assert list(found[label].index) == list(found[label].columns) == list(fit.random_effects[label].index)


@pytest.mark.parametrize("arguments", MODELS.values(), ids=MODELS)
def test_groups_without_columns_of_a_component(arguments: dict[str, Any]) -> None:
    model = mm.mixedlm("y ~ x", uneven(), groups="g", **arguments)
    spec = model.exog_vc
    if not spec.names:
        return
    empty = [[mat if k % 3 else np.zeros((len(mat), 0)) for k, mat in enumerate(mats)] for mats in spec.mats]
    labels = [[its if k % 3 else [] for k, its in enumerate(colnames)] for colnames in spec.colnames]
    fit = mm.MixedLM(
        model.endog, model.exog, model.groups, model.exog_re, exog_vc=mm.VCSpec(spec.names, labels, empty)
    ).fit()
    kept = [k for k in range(25) if k % 3]
    whole = mm.MixedLM(model.endog, model.exog, model.groups, model.exog_re, exog_vc=spec).fit(
        start_params=fit.params_object, do_cg=False
    )
    for k in kept:
        label = model.group_labels[k]
        scaled = fit.random_effects_cov[label] / fit.scale
        pd.testing.assert_frame_equal(scaled, whole.random_effects_cov[label] / whole.scale, rtol=1e-8)
    without = model.group_labels[0]
    assert fit.random_effects_cov[without].shape == (model.k_re, model.k_re)


def test_asking_again_builds_nothing_and_spoils_nothing() -> None:
    fit = mm.mixedlm("y ~ x", uneven(), groups="g").fit()
    for name in ("random_effects", "random_effects_cov"):
        first, second = getattr(fit, name), getattr(fit, name)
        assert first["g03"] is second["g03"]
        del first["g03"]
        first["g04"] = None
        assert list(getattr(fit, name)) == fit.model.group_labels
        assert getattr(fit, name)["g04"] is second["g04"]


def test_what_is_kept_for_groups_is_not_saved(tmp_path: Path) -> None:
    fit = mm.mixedlm("y ~ x", uneven(), groups="g").fit()
    before = len(pickle.dumps(fit))
    means, covariances = fit.random_effects, fit.random_effects_cov
    assert len(pickle.dumps(fit)) < 1.05 * before
    fit.save(tmp_path / "fit")
    again = mm.MixedLMResults.load(tmp_path / "fit")
    pd.testing.assert_series_equal(again.random_effects["g07"], means["g07"])
    pd.testing.assert_frame_equal(again.random_effects_cov["g07"], covariances["g07"])
    fit.remove_data()
    pd.testing.assert_series_equal(fit.random_effects["g07"], means["g07"])
    with pytest.raises(mm.InferenceError, match="random_effects_cov needs the rows"):
        _ = fit.random_effects_cov
