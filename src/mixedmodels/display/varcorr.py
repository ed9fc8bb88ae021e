"""The random-effects covariances as a printable table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.display.table import Table
from mixedmodels.errors import unknown_group
from mixedmodels.inference.covariances import FactorCovariance, covariance_frame, factor_covariances
from mixedmodels.texts.layout import n_columns, text_width
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.texts.numbers import column, fixed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import MixedFit

CORRELATION_SIZE = 7
"""Columns that a correlation takes with the gap before it."""


class VarCorr(Mapping[str, pd.DataFrame]):
    """Covariances of the random effects, printed with standard deviations and correlations.

    A mapping: ``varcorr["Subject"]`` is the covariance DataFrame of that factor's effects, in squared units of the
    response.

    Attributes
    ----------
    factors
        The covariances, most levels first.
    sigma
        Residual standard deviation; None where rows have no residual.
    """

    def __init__(self, factors: Sequence[FactorCovariance], sigma: float | None) -> None:
        self.factors = tuple(factors)
        self.sigma = sigma

    @classmethod
    def from_state(cls, state: MixedFit) -> VarCorr:
        """Return the covariances of a fit.

        Parameters
        ----------
        state
            The fit as numbers.
        """
        return cls(factor_covariances(state), state.sigma if state.has_residual else None)

    def __getitem__(self, group: str) -> pd.DataFrame:
        for factor in self.factors:
            if factor.group == group:
                return show_notes(factor.frame())
        raise unknown_group(group, self)

    def __iter__(self) -> Iterator[str]:
        return (factor.group for factor in self.factors)

    def __len__(self) -> int:
        return len(self.factors)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a parameter: ``group, effect_1, effect_2, covariance, sd_or_corr``, the residual last."""
        return show_notes(covariance_frame(self.factors, self.sigma))

    def tables(self, width: int | None = None) -> tuple[Table, ...]:
        """Return the table of variances with correlations beside them, and in tables of their own where they are many.

        Parameters
        ----------
        width
            Columns of a line; None for those of the terminal.
        """
        width = text_width(width)
        beside = [0 if factor.structures else _n_correlations(factor) for factor in self.factors]
        apart: list[FactorCovariance] = []
        variances = self._variances(beside)
        while any(beside) and variances.grid().least_width() > width:
            largest = beside.index(max(beside))
            beside[largest] = 0
            apart.append(self.factors[largest])
            variances = self._variances(beside)
        correlations = [
            table
            for factor in self.factors
            if factor in apart
            if not factor.structures
            for table in correlation_tables(
                f"Correlations in {factor.group}", factor.effects, factor.correlation, width
            )
        ]
        return variances, *self._structures(), *correlations

    def _structures(self) -> list[Table]:
        """Return the table of the correlations of structures, if there are any."""
        rows = [(f.group, name, fixed(value, 3)) for f in self.factors for name, value in f.structures]
        header = ("Group", "Structure", "Corr.")
        return [Table("Correlations of structures", header, tuple(rows), "lln", n_labels=2)] if rows else []

    def _variances(self, widths: Sequence[int]) -> Table:
        n_corr = max(widths, default=0)
        residual = [] if self.sigma is None else [self.sigma]
        variances = column([v for f in self.factors for v in np.diag(f.covariance)] + [s**2 for s in residual])
        sds = column([s for f in self.factors for s in f.sd] + residual)
        rows: list[tuple[str, ...]] = []
        for factor, width in zip(self.factors, widths, strict=True):
            for i, effect in enumerate(factor.effects):
                name = (factor.group, str(factor.n_levels)) if i == 0 else ("", "")
                correlations = _correlations_beside(factor, i, width)
                blank = [""] * (n_corr - len(correlations))
                rows.append((*name, effect, variances[len(rows)], sds[len(rows)], *correlations, *blank))
        if residual:
            rows.append(("Residual", "", "", variances[-1], sds[-1], *[""] * n_corr))
        header = ("Group", "Levels", "Effect", "Variance", "Std. dev.", *(["Corr."] + [""] * n_corr)[:n_corr])
        return Table("Random effects", header, tuple(rows), "lrlnn" + "n" * n_corr, n_labels=3)

    def __str__(self) -> str:
        width = text_width()
        return "\n\n".join(table.to_text(width) for table in self.tables(width))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "\n".join(table.to_html() for table in self.tables())


def correlation_tables(title: str, names: Sequence[str], correlation: Floats, width: int) -> list[Table]:
    """Return the lower triangle of a correlation matrix, columns numbered, cut where it is too wide.

    Parameters
    ----------
    title
        What is correlated.
    names
        Names of the rows, length p; they are numbered.
    correlation
        (p, p).
    width
        Columns of a line.
    """
    p = len(names)
    labels = [f"{i + 1} {name}" for i, name in enumerate(names)]
    longest = max((n for n in map(n_columns, labels) if n <= width // 2), default=0)
    at_once = max((width - longest) // CORRELATION_SIZE, 1)
    tables = []
    for first in range(0, p - 1, at_once):
        columns = range(first, min(first + at_once, p - 1))
        rows = tuple(
            (labels[i], *[fixed(float(correlation[i, j]), 2) if j < i else "" for j in columns])
            for i in range(first, p)
        )
        header = ("", *[str(j + 1) for j in columns])
        tables.append(Table(title if first == 0 else f"{title} (continued)", header, rows, "l" + "n" * len(columns)))
    return tables


def _n_correlations(factor: FactorCovariance) -> int:
    """Return how many columns the lower triangle of the estimated correlations has."""
    with_pairs = np.flatnonzero(np.tril(factor.estimated, -1).any(axis=0))
    return int(with_pairs.max(initial=-1)) + 1


def _correlations_beside(factor: FactorCovariance, i: int, width: int) -> list[str]:
    """Return the first correlations of an effect with those above it, blank where none is estimated."""
    n = min(i, width)
    estimated = factor.estimated[i, :n]
    return [fixed(float(r), 2) if e else "" for r, e in zip(factor.correlation[i, :n], estimated, strict=True)]
