"""Reading the next part of data while the one before it is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")

_END = object()


def read_ahead(parts: Iterable[T]) -> Iterator[T]:
    """Yield what an iterable does, which goes one further in a thread of its own.

    What it raises is raised here. Nothing more is read once the caller stops.
    """
    met: Queue[tuple[object, BaseException | None]] = Queue(maxsize=1)
    stopped = Event()

    def read() -> None:
        error: BaseException | None = None
        try:
            for part in parts:
                met.put((part, None))
                if stopped.is_set():
                    return
        except BaseException as raised:
            error = raised
        met.put((_END, error))

    thread = Thread(target=read, name="mixedmodels reads ahead", daemon=True)
    thread.start()
    try:
        while True:
            part, error = met.get()
            if error is not None:
                raise error
            if part is _END:
                return
            yield part  # type: ignore[misc]  # it is one of the parts
    finally:
        stopped.set()
        while thread.is_alive():
            _take_what_is_there(met)
            thread.join(0.05)


def _take_what_is_there(met: Queue[tuple[object, BaseException | None]]) -> None:
    """Make room, so that the thread comes to its end."""
    while not met.empty():
        met.get()
