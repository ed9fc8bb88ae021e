"""Long work is kept in a file while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

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

    def offer(self) -> None:
        """Write if it is time."""
        if monotonic() >= self.next_at:
            self.keep()

    def keep(self) -> None:
        """Write."""
        if self.write is None:
            return
        began = monotonic()
        self.write()
        self.next_at = monotonic() + max(EVERY, (monotonic() - began) / SHARE)
