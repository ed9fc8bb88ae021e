"""Parts of a design: grouping factors, and what building it noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.covariance.correlation import Visits
from mixedmodels.covariance.relationship import Relationship

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Finding:
    """Something a user should know, kept as data.

    Attributes
    ----------
    kind
        ``"dropped_rows"``, ``"dropped_columns"``, ``"singular"``, ``"not_converged"``, ``"other_optima"``,
        ``"badly_scaled"``, ``"nearly_dependent_columns"``, ``"double_bar_split"``, ``"few_levels"``,
        ``"few_repeats"``, ``"small_residual"``, ``"numbers_among_labels"``, ``"laplace_inaccurate"``, ...
    message
        One or two sentences in plain words.
    data
        The facts behind the sentence.
    """

    kind: str
    message: str
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class EffectTerm:
    """One random term of a grouping factor, where a structure restricts the covariances of some.

    Attributes
    ----------
    structure
        One of ``effect_kinds.KINDS``.
    n_effects
        Columns of the term.
    rank
        Of a reduced rank; else 0.
    visits
        What the effects belong to: levels in their order where they are those of a category.
    """

    structure: str
    n_effects: int
    rank: int
    visits: Visits


@dataclass(frozen=True)
class RandomFactor:
    """One grouping factor with the columns of all its terms.

    Attributes
    ----------
    name
        ``"Subject"``, ``"cask:batch"``.
    levels
        Labels of the levels present, in the order of the codes, length n_levels.
    codes
        Level of each row, shape (n_obs,).
    columns
        Names of the random effects, length n_effects, such as ``("Intercept", "Days")``.
    Z
        Their values, shape (n_obs, n_effects), C order; None for the single column of ones.
    block_sizes
        Sizes of the blocks along the diagonal of this factor's Lambda, in column order; their absolute values sum to
        n_effects. ``(2,)`` is one unstructured 2 x 2 block, ``(1, 1)`` two uncorrelated effects; ``-3`` is three
        uncorrelated effects with one common variance (tied).
    terms
        The terms in column order, if the covariance of one is a function of fewer parameters than its block has; else
        none.
    relationship
        Known covariances among the levels, which are all of its own; None where they are independent.
    """

    name: str
    levels: pd.Index
    codes: Codes
    columns: tuple[str, ...]
    Z: Floats | None
    block_sizes: tuple[int, ...]
    terms: tuple[EffectTerm, ...] = ()
    relationship: Relationship | None = None

    @cached_property
    def n_levels(self) -> int:
        """Number of levels present in the data."""
        return len(self.levels)

    @property
    def n_effects(self) -> int:
        """Random effects of each level."""
        return len(self.columns)

    @property
    def n_theta(self) -> int:
        """Covariance parameters of this factor."""
        return sum(b * (b + 1) // 2 if b > 0 else 1 for b in self.block_sizes)
