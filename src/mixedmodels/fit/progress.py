"""How far long work is: a bar, or plain lines without tqdm."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from time import monotonic

DELAY = 1.0
"""Seconds of work from which on something is shown."""

LINE_EVERY = 10.0
"""Seconds between plain lines."""


@contextmanager
def progress_bar(total: int, label: str, unit: str, shown: bool) -> Iterator[Callable[[int], object]]:
    """Give the function that counts what is done; the bar needs tqdm, and without it there are plain lines.

    Parameters
    ----------
    total
        Units of work.
    label, unit
        What is done, and what is counted.
    shown
        Whether to show anything.
    """
    if not shown:
        yield lambda _: None
        return
    if find_spec("tqdm") is None:
        yield _Lines(total, label, unit).update
        return
    from tqdm.auto import tqdm  # noqa: PLC0415  # optional

    with tqdm(total=total, desc=label, unit=unit, leave=False, delay=DELAY) as bar:
        yield bar.update


class _Lines:
    """Counts what is done and writes a line of it now and then, to where errors go, as tqdm does.

    Parameters
    ----------
    total, label, unit
        As for `progress_bar`.
    """

    def __init__(self, total: int, label: str, unit: str) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done, self.next_at = 0, monotonic() + DELAY

    def update(self, n: int) -> None:
        """Count, and write if it is time."""
        self.done += n
        now = monotonic()
        if now >= self.next_at and sys.stderr is not None:
            sys.stderr.write(f"{self.label}: {self.done} of {self.total} {self.unit}s\n")
            sys.stderr.flush()
            self.next_at = now + LINE_EVERY
