"""Subjects as chains: rows in the order of time, and how far neighbours are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mixedmodels.covariance.kinds import CORRELATIONS, correlation_of

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.design.residual_rows import ResidualRows

    Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Chains:
    """Rows by subject and time; neighbours of one group that are equally far apart are one class.

    Attributes
    ----------
    order
        Rows by subject and time, (n_obs,).
    lengths, groups
        Rows of each subject, and its group.
    links
        Class of each two neighbours, in their order, (n_obs - n_subjects,).
    gaps, class_groups
        Of each class, (C,), by group: the distance, and the group.
    """

    order: Indices
    lengths: Indices
    groups: Indices
    links: npt.NDArray[np.int32]
    gaps: Floats
    class_groups: Indices

    @property
    def group_sizes(self) -> Floats:
        """Rows of each group, (G,)."""
        return np.bincount(self.groups, self.lengths).astype(np.float64)


def are_chains(design: Design) -> bool:
    """Return whether all that is random are residuals of one variance, correlated through neighbours in time."""
    own = design.residual
    if own is None or design.factors or design.variance or own.term.kind not in CORRELATIONS:
        return False
    positions, correlation = own.visits.positions, correlation_of(own.term.kind)
    is_line = positions is None or positions.shape[1] == 1
    return is_line and len(own.visits) > 1 and correlation is not None and correlation.is_chain


def find_chains(rows: ResidualRows) -> Chains:
    """Return the chains of a design.

    Parameters
    ----------
    rows
        Of the design; visits that are no numbers are one step apart.
    """
    positions = rows.visits.positions
    at = rows.visit.astype(np.float64) if positions is None else positions[rows.visit, 0]
    order = np.lexsort((at, rows.subject))
    is_neighbour = np.diff(rows.subject[order]) == 0
    first = np.append(0, np.flatnonzero(~is_neighbour) + 1)
    gaps, links = np.unique(np.diff(at[order])[is_neighbour], return_inverse=True)
    group = rows.group[order].astype(np.int64)
    class_groups = np.zeros(len(gaps), dtype=np.int64)
    if len(rows.groups) > 1:
        key = group[1:][is_neighbour] * len(gaps) + links.ravel()
        classes, links = np.unique(key, return_inverse=True)
        class_groups, places = np.divmod(classes, max(len(gaps), 1))
        gaps = gaps[places]
    return Chains(
        order=order.astype(np.int64),
        lengths=np.diff(np.append(first, len(order))).astype(np.int64),
        groups=group[first],
        links=links.ravel().astype(np.int32),
        gaps=gaps,
        class_groups=class_groups,
    )
