"""Estimates and tests of many responses to one model, from fits side by side.

What takes a fit's object for one response is an array with the responses in front here; the formulas are those of
``satterthwaite`` and ``variance_parameters``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.fit.findings import NEGLIGIBLE_SD_SCALED
from mixedmodels.fit.information import Information
from mixedmodels.fit.side_by_side import CANNOT_FIT
from mixedmodels.inference.curvature import flat_directions, inverse_root, inverse_squares
from mixedmodels.inference.variance_parameters import CovarianceMap

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.problem import Problem
    from mixedmodels.fit.side_by_side import SideBySide


@dataclass(frozen=True)
class _Model:
    """A model with the engine's units of its random effects."""

    design: Design
    bases: list[Floats]


@dataclass(frozen=True)
class Tested:
    """Numbers of m responses, nan where there is no fit.

    Attributes
    ----------
    estimate, std_error, df
        Of the fixed effects, (m, n_fixed).
    varcorr
        Standard deviations and correlations, sigma last, (m, n_parameters).
    deviance
        -2 log-likelihood, (m,).
    converged, singular
        (m,).
    """

    estimate: Floats
    std_error: Floats
    df: Floats
    varcorr: Floats
    deviance: Floats
    converged: npt.NDArray[np.bool_]
    singular: npt.NDArray[np.bool_]


def tested(problem: Problem, fits: SideBySide, reml: bool) -> Tested:
    """Return estimates with Satterthwaite's degrees of freedom (Giesbrecht and Burns 1985).

    Parameters
    ----------
    problem
        The model.
    fits
        Its fits.
    reml
        Their criterion.
    """
    covariances = CovarianceMap(_Model(problem.design, problem.model.basis()))
    psi = np.column_stack([fits.engine_theta, np.log(fits.sigma)])
    length = np.linalg.norm(fits.root, axis=2)
    with np.errstate(invalid="ignore"):
        df = _row_df(problem, fits, fits.root / length[:, :, None], reml)
    return Tested(
        fits.beta,
        fits.sigma[:, None] * length,
        df,
        covariances.values(psi),
        fits.deviance,
        fits.status == 0,
        fits.singular,
    )


def _row_df(problem: Problem, fits: SideBySide, unit_rows: Floats, reml: bool) -> Floats:
    """Return 1 / (g'H^-1 g) of rows of length one in the coordinates of K, (m, n_rows)."""
    gradient = np.einsum("mra,miab,mrb->mri", unit_rows, fits.sensitivity, unit_rows, optimize=True)
    gradient = np.concatenate([gradient, np.full((*gradient.shape[:2], 1), 2.0)], axis=2)
    known = (fits.status != CANNOT_FIT) & np.isfinite(fits.hessian).all(axis=(1, 2))
    out = np.full(unit_rows.shape[:2], np.nan)
    regular = _has_first_order_effect(problem, fits.engine_theta)
    if len(problem.identification.flat(reml)):  # each has its own directions, which hang on theta
        for m in np.flatnonzero(known):
            information = Information(
                problem.model.parameters, fits.engine_theta[m], fits.hessian[m], fits.sensitivity[m]
            )
            flat = flat_directions(problem, reml, information)
            root = inverse_root(fits.hessian[m], flat, np.append(regular[m], True))
            out[m] = 1.0 / np.sum((gradient[m] @ root) ** 2, axis=1)
        return out
    for kind in np.unique(regular[known], axis=0):
        own = np.flatnonzero(known & (regular == kind).all(axis=1))
        used = np.flatnonzero(np.append(kind, True))
        out[own] = 1.0 / inverse_squares(fits.hessian[np.ix_(own, used, used)], gradient[own][:, :, used])
    return out


def _has_first_order_effect(problem: Problem, theta: Floats) -> npt.NDArray[np.bool_]:
    """Return which theta~ (m, n_theta) are in columns of Lambda~ that are not zero."""
    factor, _, column = problem.model.parameters.T
    places = np.stack([factor, column])
    same = (places[:, :, None] == places[:, None, :]).all(axis=0)
    return np.asarray(np.sqrt(theta**2 @ same.astype(np.float64)) > NEGLIGIBLE_SD_SCALED)
