"""Means that are no linear functions of the fixed effects, and contrasts among them, by the delta method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.inference.approximation import RowEstimates
from mixedmodels.inference.comparisons import contrast_names, contrast_weights, labels_index, row_tests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixedmodels.design.records import Floats
    from mixedmodels.inference.comparisons import Comparison, Hypothesis
    from mixedmodels.inference.grid_average import GridMeans


@dataclass(frozen=True)
class Values:
    """Numbers of each mean, one a category or one alone.

    Attributes
    ----------
    mean
        (n_means, n_numbers), NaN where unknown.
    slopes
        In the parameters, (n_means, n_numbers, n_parameters).
    covariance
        Of the parameters, (n_parameters, n_parameters).
    categories
        What the numbers are of, and the name of that; None for one number.
    """

    mean: Floats
    slopes: Floats
    covariance: Floats
    categories: pd.Index | None

    @property
    def response(self) -> str:
        """What the numbers are of the categories of; nothing for one number."""
        return "" if self.categories is None else str(self.categories.name)

    def combined(self, weights: Floats, rows: Sequence[int], k: int) -> tuple[Floats, Floats]:
        """Return combinations of some means' k-th numbers, and their covariance.

        Parameters
        ----------
        weights
            (n_combinations, n_some).
        rows
            Which means, (n_some,).
        k
            Which number.
        """
        unknown = np.isnan(self.mean[rows, k])
        mean = weights @ np.where(unknown, 0.0, self.mean[rows, k])
        mean[np.abs(weights) @ unknown > 0] = np.nan
        slopes = weights @ self.slopes[rows, k]
        return mean, slopes @ self.covariance @ slopes.T


def mean_table(values: Values, means: GridMeans, hypothesis: Hypothesis) -> tuple[pd.DataFrame, RowEstimates]:
    """Return the means with tests and intervals, a row each, and their estimates.

    Parameters
    ----------
    values, means
        The numbers of the means, and their names.
    hypothesis
        What is tested.
    """
    names = (*means.by, *means.specs)
    variance = np.einsum("mkj,jl,mkl->mk", values.slopes, values.covariance, values.slopes)
    se = np.sqrt(np.where(np.isnan(values.mean), np.nan, np.maximum(variance, 0.0)))
    cells = means.cells
    if values.categories is not None:
        names = (*names, values.response)
        cells = [(*cell, category) for cell in cells for category in values.categories]
    rows = RowEstimates(values.mean.ravel(), se.ravel(), np.full(se.size, math.inf))
    return row_tests(rows, labels_index(names, cells), hypothesis), rows


def contrast_tables(
    values: Values, means: GridMeans, comparison: Comparison, hypothesis: Hypothesis, minus: str = "-"
) -> list[pd.DataFrame]:
    """Return the contrasts of each family: within a combination of ``by``, and a category.

    Parameters
    ----------
    values, means
        The numbers of the means, and their names.
    comparison, hypothesis
        Which contrasts, and what is tested of them.
    minus
        The sign of a difference in names.

    Raises
    ------
    InferenceError
        If contrasts cannot be read, or there are none.
    """
    names = contrast_names(means, comparison)
    n_by = len(means.by)
    if values.categories is not None:
        names = (*names[:n_by], values.response, *names[n_by:])
    tables = []
    for by, members, weights in contrast_weights(means, comparison, minus):
        for k in range(values.mean.shape[1]):
            estimate, covariance = values.combined(weights.rows, members, k)
            se = np.sqrt(np.where(np.isnan(estimate), np.nan, np.maximum(np.diag(covariance), 0.0)))
            rows = RowEstimates(estimate, se, np.full(len(se), math.inf))
            known = se > 0
            own = () if values.categories is None else (values.categories[k],)
            index = labels_index(names, [(*by, *own, *label) for label in weights.labels])
            joint = covariance[np.ix_(known, known)] if known.any() else None
            adjusted = row_tests(
                rows, index, hypothesis, adjust=comparison.adjust, n_means=len(members), covariance=joint
            )
            tables.append(adjusted)
    return tables
