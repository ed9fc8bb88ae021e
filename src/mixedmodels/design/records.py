"""What a formula and data become: arrays with names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from mixedmodels.design.frame import Column
    from mixedmodels.design.recipe import DesignRecipe
    from mixedmodels.formula.terms import Formula

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Finding:
    """Something a user should know, kept as data.

    Attributes
    ----------
    kind
        ``"dropped_rows"``, ``"dropped_columns"``, ``"singular"``, ``"not_converged"``, ``"other_optima"``,
        ``"badly_scaled"``, ``"double_bar_split"``, ``"few_levels"``, ...
    message
        One or two sentences in plain words.
    data
        The facts behind the sentence.
    """

    kind: str
    message: str
    data: Mapping[str, object] = field(default_factory=dict)


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
    """

    name: str
    levels: pd.Index
    codes: Codes
    columns: tuple[str, ...]
    Z: Floats | None
    block_sizes: tuple[int, ...]

    @property
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


@dataclass(frozen=True)
class Design:
    """A model's arrays after rows with missing values are gone.

    Attributes
    ----------
    formula
        The parsed formula.
    response_name
        Text of the left-hand side.
    y, X, x_names
        Response as given, (n_obs,), fixed columns (n_obs, n_columns), C order, aliased ones still among them, and
        their names.
    offset, weights
        (n_obs,) or None.
    factors
        Grouping factors, most levels first (ties in order of appearance), which is the order of theta.
    rows
        Positions in the user's data of the rows that are used, or None when all are.
    n_rows
        Rows in the user's data.
    n_dropped
        Rows left out, by reason: ``{"missing Reaction": 2}``; a row counts once, under its first reason.
    findings
        What building the design noticed.
    recipe
        How new data become rows of the same design.
    columns
        The data columns of the fixed part and left of the bars at the rows used, by name.
    labels
        Index of the rows used in a pandas frame, or None where it is their position or there is none.
    """

    formula: Formula
    response_name: str
    y: Floats
    X: Floats
    x_names: tuple[str, ...]
    offset: Floats | None
    weights: Floats | None
    factors: tuple[RandomFactor, ...]
    rows: npt.NDArray[np.intp] | None
    n_rows: int
    n_dropped: Mapping[str, int]
    findings: tuple[Finding, ...]
    recipe: DesignRecipe
    columns: Mapping[str, Column] = field(default_factory=dict)
    labels: pd.Index | None = None

    @property
    def row_labels(self) -> pd.Index:
        """Labels of the rows used: the index of a pandas frame, or positions in the data."""
        if self.labels is not None:
            return self.labels
        return pd.RangeIndex(self.n_obs) if self.rows is None else pd.Index(self.rows)

    @property
    def n_obs(self) -> int:
        """Rows used."""
        return len(self.y)

    @property
    def theta_names(self) -> tuple[str, ...]:
        """Names of theta in lme4's style, ``Subject.Intercept``; ``Subject.Days.Intercept`` off the diagonal."""
        names = []
        for f in self.factors:
            start = 0
            for size in f.block_sizes:
                block = f.columns[start : start + abs(size)]
                for j, column in enumerate(block if size > 0 else block[:1]):
                    names.append(f"{f.name}.{column}")
                    names.extend(f"{f.name}.{row}.{column}" for row in block[j + 1 :] if size > 0)
                start += abs(size)
        return tuple(names)
