"""A progress bar for long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

DELAY = 1.0
"""Seconds of work from which on a bar is shown."""


@contextmanager
def progress_bar(total: int, label: str, unit: str, shown: bool) -> Iterator[Callable[[int], object]]:
    """Give the function that counts what is done; the bar needs tqdm, and without it there is none.

    Parameters
    ----------
    total
        Units of work.
    label, unit
        What is done, and what is counted.
    shown
        Whether to show a bar.
    """
    if not (shown and find_spec("tqdm")):
        yield lambda _: None
        return
    from tqdm.auto import tqdm  # noqa: PLC0415  # optional

    with tqdm(total=total, desc=label, unit=unit, leave=False, delay=DELAY) as bar:
        yield bar.update
