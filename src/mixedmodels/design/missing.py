"""Which rows are used, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mixedmodels.design.frame import Column, Mask
from mixedmodels.design.records import Finding
from mixedmodels.errors import DataError

Gaps = Sequence[tuple[str, Mask]]
"""What is missing (a column or an expression), and in which of the rows still used."""


@dataclass(frozen=True)
class UsedRows:
    """Rows that are used.

    Attributes
    ----------
    n_rows
        Rows in the user's data.
    positions
        Those used, or None for all.
    n_dropped
        Rows left out, by their first reason.
    """

    n_rows: int
    positions: npt.NDArray[np.intp] | None = None
    n_dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_used(self) -> int:
        """Number of rows used."""
        return self.n_rows if self.positions is None else len(self.positions)

    @property
    def n_left_out(self) -> int:
        """Number of the other rows."""
        return self.n_rows - self.n_used

    @property
    def left_out(self) -> str:
        """The sentence that says how many rows are left out, and why."""
        return rows_left_out(self.n_rows, self.n_dropped)

    def without(self, gaps: Gaps) -> UsedRows:
        """Return the rows that remain when those with gaps are left out.

        Raises
        ------
        DataError
            None remain.
        """
        remaining = self.remaining(gaps)
        if not remaining.n_used:
            told = _listed(remaining.n_dropped)
            raise DataError(f"Values are missing in all {self.n_rows} rows ({told}): none can be used.")
        return remaining

    def remaining(self, gaps: Gaps) -> UsedRows:
        """Return the rows that remain when those with gaps are left out, which may be none."""
        if not gaps:
            return self
        incomplete = np.zeros(self.n_used, dtype=bool)
        n_dropped = dict(self.n_dropped)
        for name, mask in gaps:
            reason = f"missing {name}"
            n_dropped[reason] = n_dropped.get(reason, 0) + int(np.count_nonzero(mask & ~incomplete))
            incomplete |= mask
        positions = np.flatnonzero(~incomplete)
        reasons = {reason: count for reason, count in n_dropped.items() if count}
        return UsedRows(self.n_rows, positions if self.positions is None else self.positions[positions], reasons)

    def take(self, columns: Mapping[str, Column]) -> dict[str, Column]:
        """Return the columns at the rows used."""
        return {name: c if self.positions is None else c.take(self.positions) for name, c in columns.items()}

    def findings(self) -> list[Finding]:
        """Return what to tell the user about rows left out."""
        if self.positions is None:
            return []
        return dropped_rows(self.n_rows, self.n_dropped)


def rows_left_out(n_rows: int, n_dropped: Mapping[str, int]) -> str:
    """Return the sentence that says how many of some rows are left out, and why, each by its first reason."""
    return f"Left out {sum(n_dropped.values())} of {n_rows} rows: {_listed(n_dropped)}."


def dropped_rows(n_rows: int, n_dropped: Mapping[str, int]) -> list[Finding]:
    """Return what to tell the user about rows left out."""
    if not n_dropped:
        return []
    facts = {"n_dropped": sum(n_dropped.values()), "n_rows": n_rows, "by_reason": dict(n_dropped)}
    return [Finding("dropped_rows", rows_left_out(n_rows, n_dropped), facts)]


def refuse(gaps: Gaps, n_rows: int) -> None:
    """Complain about any gaps, with their numbers by column.

    Raises
    ------
    DataError
        There are gaps.
    """
    if gaps:
        counts = ", ".join(f"{name} {np.count_nonzero(mask)}" for name, mask in gaps)
        n = np.count_nonzero(np.logical_or.reduce([mask for _, mask in gaps]))
        raise DataError(
            f"Values are missing in {n} of {n_rows} rows ({counts}). "
            "Fill them in, or pass missing='drop' to leave these rows out."
        )


def _listed(n_dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in n_dropped.items())
