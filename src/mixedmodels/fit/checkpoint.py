"""Long work is kept in a file while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from mixedmodels.errors import DataError

EVERY = 1.0
"""Seconds of work between two writings."""

SHARE = 0.05
"""Share of the time that writing may take."""


class Checkpoint:
    """Writes what is done now and then.

    Parameters
    ----------
    write
        Writes it; None keeps nothing.
    """

    def __init__(self, write: Callable[[], object] | None) -> None:
        self.write = write
        self.next_at = monotonic() + EVERY
        self.is_written = False

    def offer(self) -> None:
        """Write if it is time; where that was possible before and is no longer, as on a full disk, it is tried again.

        Raises
        ------
        DataError
            If it cannot be written, and never was.
        """
        if monotonic() < self.next_at:
            return
        try:
            self.keep()
        except DataError:
            if not self.is_written:
                raise
            self.next_at = monotonic() + EVERY

    def keep(self) -> None:
        """Write.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        if self.write is None:
            return
        began = monotonic()
        self.write()
        self.is_written = True
        self.next_at = monotonic() + max(EVERY, (monotonic() - began) / SHARE)
