"""Known sampling covariances against metafor's rma.mv, by ``known_residual.R``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import sparse

import mixedmodels as mm

Floats = npt.NDArray[np.float64]

METAFOR: dict[str, Any] = json.loads((Path(__file__).parent / "known_residual.json").read_text(encoding="utf-8"))
FORMULAS = {
    "berkey_outcomes": "yi ~ 0 + outcome + (0 + outcome | trial)",
    "berkey_years": "yi ~ outcome * I(year - 1983) + (1 | trial)",
    "simulated": "yi ~ 1 + (1 | study)",
    "simulated_dose": "yi ~ dose + (1 | study / effect)",
    "simulated_fixed": "yi ~ dose",
}
CASES = [(name, method) for name in FORMULAS for method in ("ML", "REML")]


def rows_of(name: str) -> tuple[pd.DataFrame, Floats]:
    """Return the effects of a case, and the covariance of their errors."""
    which = name.partition("_")[0]
    return pd.DataFrame(METAFOR["data"][which]), np.array(METAFOR["V"][which])


def fitted(name: str, method: str, data: pd.DataFrame, V: object) -> mm.CorrelatedResult:
    fit = mm.lmer(FORMULAS[name], data, residual=V, sigma=1, reml=method == "REML")  # type: ignore[call-overload]
    assert isinstance(fit, mm.CorrelatedResult)
    return fit


def variances(fit: mm.CorrelatedResult) -> Floats:
    """Return the covariances of the random effects, each factor's lower triangle."""
    matrices = [fit.varcorr[group].to_numpy() for group in fit.varcorr]
    return np.concatenate([np.zeros(0), *(matrix[np.tril_indices(len(matrix))] for matrix in matrices)])


def expected_variances(theirs: dict[str, Any]) -> Floats:
    """Return metafor's, of the same order; its nested factors are from the outer one inwards."""
    if theirs["tau2"] == 0:
        return np.atleast_1d(theirs["sigma2"])[::-1]
    a, b = theirs["tau2"]
    return np.array([a, theirs["rho"] * np.sqrt(a * b), b])


@pytest.mark.parametrize(("name", "method"), CASES)
def test_estimates_errors_and_likelihoods(name: str, method: str) -> None:
    theirs, fit = METAFOR[method][name], fitted(name, method, *rows_of(name))
    np.testing.assert_allclose(fit.fe_params, np.atleast_1d(theirs["estimates"]), rtol=1e-6)
    np.testing.assert_allclose(fit.bse_fe, np.atleast_1d(theirs["std_errors"]), rtol=1e-6)
    np.testing.assert_allclose(fit.cov_fe, np.atleast_2d(theirs["covariance"]), rtol=1e-6)
    if name != "simulated_fixed":
        np.testing.assert_allclose(variances(fit), expected_variances(theirs), rtol=1e-6)
    added = theirs["log_det_xx"] / 2 if method == "REML" else 0.0  # metafor adds it to its restricted likelihood
    assert fit.llf == pytest.approx(theirs["log_likelihood"] - added, rel=1e-6)
    assert fit.sigma == 1


@pytest.mark.parametrize(("name", "method"), CASES)
def test_the_order_of_the_rows_and_the_unit_change_nothing(name: str, method: str) -> None:
    data, V = rows_of(name)
    fit = fitted(name, method, data, V)
    order = np.random.default_rng(5).permutation(len(data))
    other = fitted(name, method, data.iloc[order].assign(yi=lambda d: 1000 * d["yi"]), 1e6 * V[np.ix_(order, order)])
    np.testing.assert_allclose(other.fe_params, 1000 * fit.fe_params, rtol=1e-7)
    np.testing.assert_allclose(other.bse_fe, 1000 * fit.bse_fe, rtol=1e-7)
    np.testing.assert_allclose(variances(other), 1e6 * variances(fit), rtol=1e-6)
    dof = len(data) - (len(fit.fe_params) if method == "REML" else 0)
    assert other.llf == pytest.approx(fit.llf - dof * np.log(1000), abs=1e-7)


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_an_array_a_frame_and_sparse_matrices_are_one(method: str) -> None:
    data, V = rows_of("simulated_dose")
    fit = fitted("simulated_dose", method, data, V)
    for other in (V.tolist(), pd.DataFrame(V), sparse.csr_array(V), sparse.coo_matrix(V)):
        assert fitted("simulated_dose", method, data, other).llf == fit.llf
