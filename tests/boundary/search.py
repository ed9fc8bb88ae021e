"""A search from many starts with a general optimiser: slow, and it knows nothing of boundaries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.optimize as so

import mixedmodels as mm

TOL = 1e-6
"""No fit may end higher above the best known criterion than this."""


def on_diagonal(model: mm.LinearMixedModel) -> npt.NDArray[np.bool_]:
    """Return where theta is on the diagonal of Lambda, (n_theta,)."""
    blocks = [size for factor in model.design.factors for size in factor.block_sizes]
    return np.array([i == j for size in blocks for j in range(size) for i in range(j, size)])


def lowest(model: mm.LinearMixedModel, *, reml: bool, n_starts: int = 10, seed: int = 0) -> float:
    """Return the lowest criterion found by BFGS from starts of every size, near the boundary and far from it.

    The criterion is even in the columns of Lambda, so that no bounds are needed. The twins vouch for its values.
    """
    rng = np.random.default_rng(seed)
    diagonal = on_diagonal(model).astype(float)
    starts = [diagonal, 0.05 * diagonal]
    starts += [10 ** rng.uniform(-2, 1) * rng.normal(size=len(diagonal)) for _ in range(n_starts - len(starts))]

    def value(theta: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        return model.deviance(theta, reml=reml), model.gradient(theta, reml=reml)

    found = [so.minimize(value, start, jac=True, method="BFGS", options={"gtol": 1e-7}).fun for start in starts]
    return min(*found, model.deviance(np.zeros(len(diagonal)), reml=reml))


def assert_optimal(model: mm.LinearMixedModel, *, reml: bool, n_starts: int = 10) -> mm.LmmResult:
    """Assert that the fit is as low as many starts get, and that what it calls zero is zero; return it."""
    fit = model.fit(reml=reml)
    theta = np.asarray(fit.theta)
    best = lowest(model, reml=reml, n_starts=n_starts)
    assert fit.deviance <= best + TOL, f"{fit.deviance - best:.3g} above the best of {n_starts} starts"
    assert fit.converged
    assert abs(model.deviance(theta, reml=reml) - fit.deviance) < 1e-8
    diagonal = on_diagonal(model)
    assert (theta[diagonal] >= 0).all()
    assert fit.is_singular == (theta[diagonal] == 0).any()
    for j in np.flatnonzero(diagonal & (theta > 0) & (theta < 1e-4)):
        without = np.where(np.arange(len(theta)) == j, 0.0, theta)
        assert model.deviance(without, reml=reml) > fit.deviance + 1e-10, f"theta[{j}] = {theta[j]:.3g} is zero"
    return fit
