"""Parts of data are read one ahead, in a thread that ends with its reader."""

import threading
from collections.abc import Iterator

import pytest

from mixedmodels.design.read_ahead import read_ahead


def _threads() -> int:
    return sum("reads ahead" in thread.name for thread in threading.enumerate())


def test_parts_come_in_their_order_and_the_thread_ends() -> None:
    assert list(read_ahead(range(1000))) == list(range(1000))
    assert list(read_ahead([])) == []
    assert _threads() == 0


def test_the_next_part_is_read_while_one_is_worked_on() -> None:
    second = threading.Event()

    def parts() -> Iterator[int]:
        yield 1
        second.set()
        yield 2

    reading = read_ahead(parts())
    assert next(reading) == 1
    assert second.wait(10)
    assert list(reading) == [2]


def test_what_is_raised_comes_after_the_parts_before_it() -> None:
    def parts() -> Iterator[int]:
        yield 1
        raise ValueError("the second part is damaged")

    reading = read_ahead(parts())
    assert next(reading) == 1
    with pytest.raises(ValueError, match="the second part is damaged"):
        next(reading)
    assert _threads() == 0


def test_nothing_more_is_read_once_the_caller_stops() -> None:
    met: list[int] = []

    def parts() -> Iterator[int]:
        for k in range(1000):
            met.append(k)
            yield k

    for k in read_ahead(parts()):
        if k == 3:
            break
    assert _threads() == 0
    assert len(met) < 10
