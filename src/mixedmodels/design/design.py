"""What a formula and data become: arrays with names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.absorbed import AbsorbedColumns, absorb_columns

if TYPE_CHECKING:
    from mixedmodels.design.absorbed import Absorbed
    from mixedmodels.design.frame import Column
    from mixedmodels.design.known_residual import KnownResidual
    from mixedmodels.design.recipe import DesignRecipe
    from mixedmodels.design.records import Finding, Floats, RandomFactor
    from mixedmodels.design.residual_rows import ResidualRows, VarianceColumn
    from mixedmodels.design.stand_in import StandIn
    from mixedmodels.formula.terms import Formula


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
    residual
        Subjects and visits, where residuals of a subject are correlated; else None.
    variance
        What the variance functions of the residuals are of.
    known_residual
        The covariance of the residuals, where it is known but for sigma^2; else None.
    stand_in
        What stands for rows that were read in parts and not kept; None where they are here.
    trials
        What the responses are successes among, (n_obs,), where the formula says it; else None.
    absorbed
        Factors of fixed effects that have no columns in X, or None.
    categories
        What the responses are positions of, in order, where they are categories; else none.
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
    residual: ResidualRows | None = None
    variance: tuple[VarianceColumn, ...] = ()
    known_residual: KnownResidual | None = None
    stand_in: StandIn | None = None
    trials: Floats | None = None
    absorbed: Absorbed | None = None
    categories: tuple[Any, ...] = ()

    @cached_property
    def absorbed_columns(self) -> AbsorbedColumns:
        """What the absorbed levels leave of X."""
        assert self.absorbed is not None
        return absorb_columns(self.absorbed, self.X)

    @property
    def n_absorbed(self) -> int:
        """Fixed effects that are absorbed, those of levels that are combinations of others not among them."""
        return 0 if self.absorbed is None else self.absorbed.rank

    @property
    def is_structured(self) -> bool:
        """Whether the covariance of random effects is a function of fewer parameters than theta."""
        return any(factor.terms for factor in self.factors)

    @property
    def is_related(self) -> bool:
        """Whether levels of a grouping factor have known covariances."""
        return any(factor.relationship is not None for factor in self.factors)

    @property
    def moment_rows(self) -> Floats:
        """X, or fewer rows whose columns have the same means and, over the number of rows, the same products.

        Of X it is what absorbed levels leave, which is what tells columns apart.
        """
        if self.absorbed is not None:
            return self.absorbed_columns.X
        return self.X if self.stand_in is None else self.stand_in.X

    @property
    def moment_effects(self) -> tuple[Floats | None, ...]:
        """Z of each factor, None for ones; or fewer rows that have, over their number, the same products."""
        return tuple(f.Z for f in self.factors) if self.stand_in is None else self.stand_in.Z

    @property
    def cells(self) -> Mapping[str, Column]:
        """The data columns of the fixed part, or those of fewer rows which each stand for ``frequency`` rows."""
        return self.columns if self.stand_in is None else self.stand_in.cells

    @property
    def frequency(self) -> Floats | None:
        """How many rows each row of ``cells`` stands for; None if it is one."""
        return None if self.stand_in is None else self.stand_in.frequency

    @property
    def mean_offset(self) -> float:
        """Mean of the offset over the rows, 0 without one."""
        if self.stand_in is not None:
            return self.stand_in.mean_offset
        return 0.0 if self.offset is None else float(self.offset.mean())

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
    def used_columns(self) -> tuple[str, ...]:
        """Columns of the data that anything of the model is read or computed from."""
        return tuple(
            dict.fromkeys([*(name for names in self.recipe.sources.values() for name in names), *self.columns])
        )

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
