"""Variances, standard deviations and correlations of the random effects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.covariance.unstructured import relative_factor, split_theta
from mixedmodels.fit.structured_fit import StructuredState

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import MixedFit


@dataclass(frozen=True)
class FactorCovariance:
    """Covariance of the random effects of one grouping factor.

    Attributes
    ----------
    group, n_levels
        The factor and its number of levels.
    effects
        Names of its random effects, length n_effects.
    covariance
        sigma^2 Lambda Lambda', (n_effects, n_effects), in squared units of the response.
    estimated
        Which elements the model estimates; the others are zero by ``||``.
    structures
        Names and values of the correlations that a structure of the covariance has; none where there is no structure.
    """

    group: str
    n_levels: int
    effects: tuple[str, ...]
    covariance: Floats
    estimated: npt.NDArray[np.bool_]
    structures: tuple[tuple[str, float], ...] = ()

    @cached_property
    def sd(self) -> Floats:
        """Standard deviations, (n_effects,)."""
        return np.sqrt(np.diag(self.covariance))

    @cached_property
    def correlation(self) -> Floats:
        """Correlations, (n_effects, n_effects); nan where they are not estimated or a variance is zero."""
        scale = np.where(self.sd > 0, self.sd, np.nan)
        correlation = np.clip(self.covariance / np.outer(scale, scale), -1, 1)
        return np.where(self.estimated, correlation, np.nan)

    def frame(self) -> pd.DataFrame:
        """Return the covariance with the effects as both index and columns."""
        return pd.DataFrame(self.covariance, index=list(self.effects), columns=list(self.effects))


def factor_roots(state: MixedFit) -> list[Floats]:
    """Return sigma Lambda of each grouping factor, (n_effects, n_effects), most levels first.

    The variance of z'b is the square of z'(sigma Lambda), in which a far origin costs half the digits that it costs in
    z' Sigma z.
    """
    factors = state.design.factors
    if not factors:  # beside a structure of the residuals
        return []
    parts = split_theta(state.theta, [f.n_theta for f in factors])
    return [state.sigma * relative_factor(part, f.block_sizes) for f, part in zip(factors, parts, strict=True)]


def factor_covariances(state: MixedFit) -> tuple[FactorCovariance, ...]:
    """Return the random-effects covariance of each grouping factor, most levels first."""
    out = []
    own = state.structure_correlations if isinstance(state, StructuredState) else {}
    for factor, root in zip(state.design.factors, factor_roots(state), strict=True):
        covariance = root @ root.T
        estimated = _same_block(factor.block_sizes)
        structures = own.get(factor.name, ())
        out.append(FactorCovariance(factor.name, factor.n_levels, factor.columns, covariance, estimated, structures))
    return tuple(out)


def _same_block(block_sizes: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return which elements of a factor's covariance are estimated; a tied block has its diagonal only."""
    sizes = [size for block in block_sizes for size in ([block] if block > 0 else [1] * -block)]
    block = np.repeat(np.arange(len(sizes)), sizes)
    return np.asarray(block[:, None] == block[None, :])


def covariance_frame(factors: tuple[FactorCovariance, ...], sigma: float | None) -> pd.DataFrame:
    """Return variances, then covariances, of each factor and the residual variance, if there is one, one row each.

    Returns
    -------
    pandas.DataFrame
        ``group, effect_1, effect_2, covariance, sd_or_corr``: for a variance ``effect_2`` is None and ``sd_or_corr``
        the standard deviation, for a covariance it is the correlation. The residual is the last row.
    """
    rows: list[tuple[str, str | None, str | None, float, float]] = []
    for f in factors:
        variances = zip(f.effects, np.diag(f.covariance), f.sd, strict=True)
        rows += [(f.group, effect, None, float(variance), float(sd)) for effect, variance, sd in variances]
        correlation = f.correlation
        rows += [
            (f.group, f.effects[j], f.effects[i], float(f.covariance[i, j]), float(correlation[i, j]))
            for j, i in zip(*np.triu_indices(len(f.effects), 1), strict=True)
            if f.estimated[i, j]
        ]
    if sigma is not None:
        rows.append(("Residual", None, None, sigma**2, sigma))
    return pd.DataFrame(rows, columns=["group", "effect_1", "effect_2", "covariance", "sd_or_corr"])
