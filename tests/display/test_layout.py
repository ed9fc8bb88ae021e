"""How wide texts are, and tables that are too wide for a line."""

from __future__ import annotations

import os
import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedmodels as mm
from mixedmodels.texts.layout import DEFAULT_WIDTH, Grid, fold_sentence, n_columns, text_width

NUMBERS = ("-1.50", "12.25")


def test_default_width_is_that_of_columns_or_eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    for told in ("", "0", "wide", "-3"):
        monkeypatch.setenv("COLUMNS", told)
        assert text_width() == DEFAULT_WIDTH
    monkeypatch.setenv("COLUMNS", "132")
    assert text_width() == 132
    assert text_width(100) == 100
    monkeypatch.setenv("COLUMNS", "7")
    assert text_width() == 60


def test_width_follows_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    monkeypatch.delenv("COLUMNS", raising=False)
    main, side = pty.openpty()
    try:
        with os.fdopen(side, "w", closefd=False) as terminal:
            for columns, width in ((117, 117), (0, DEFAULT_WIDTH), (20, 60)):
                fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
                monkeypatch.setattr(sys, "stdout", terminal)
                assert text_width() == width
    finally:
        os.close(main)
        os.close(side)
    monkeypatch.setattr(sys, "stdout", None)
    assert text_width() == DEFAULT_WIDTH


@pytest.mark.parametrize("width", [59, 0, "100", 80.0, True])
def test_odd_widths_are_refused(width: object) -> None:
    with pytest.raises(mm.InferenceError, match=r"width is .*; it must be a whole number of columns, 60 or more"):
        text_width(width)


def test_whole_numbers_of_numpy_are_widths() -> None:
    assert text_width(np.int64(70)) == 70


def test_columns_of_signs() -> None:
    assert [n_columns(text) for text in ("abc", "Größe", "温度", "e\u0301")] == [3, 5, 4, 1]
    grid = Grid(("", "x"), (("温度", "1"), ("abc", "22")), "ln")
    assert {n_columns(line) for line in grid.lines(60) if not line.startswith("-")} == {8}


def test_sentences_break_between_words_and_not_in_names() -> None:
    text = "y ~ x + (1 | `a name`)"
    assert fold_sentence(text, 20) == ["y ~ x + (1 |", "`a name`)"]
    assert fold_sentence("one two", 5, "- ", "  ") == ["- one", "  two"]
    assert fold_sentence("", 80) == []
    assert max(map(len, fold_sentence("word " * 60, 140))) <= 100


def test_long_labels_stand_above_their_rows_and_short_ones_never() -> None:
    long, short = "first[level]:second[level]", "c" * 12
    grid = Grid(("", "x" * 20, "y" * 20), ((long, *NUMBERS), (short, *NUMBERS)), "lnn", ruled=False)
    assert [line.split() for line in grid.lines(60)] == [
        ["x" * 20, "y" * 20],
        [long],
        [*NUMBERS],
        [short, *NUMBERS],
    ]
    blocks = Grid(("", "x" * 24, "y" * 24), ((long, *NUMBERS), (short, *NUMBERS)), "lnn", ruled=False).lines(60)
    assert [line.split() for line in blocks] == [
        ["x" * 24], [long], ["-1.50"], [short, "-1.50"], [], ["y" * 24], [long], ["12.25"], [short, "12.25"],
    ]  # fmt: skip


def test_blocks_have_the_rows_that_have_values_there() -> None:
    rows = (("first", "1", ""), ("part", "", ""), ("second", "", "2"))
    lines = Grid(("", "x" * 40, "y" * 40), rows, "lnn", ruled=False).lines(60)
    assert [line.split() for line in lines] == [
        ["x" * 40], ["first", "1"], ["part"], [], ["y" * 40], ["part"], ["second", "2"],
    ]  # fmt: skip


def test_leading_labels_become_headings() -> None:
    grid = Grid(
        ("Group", "Levels", "Effect", "x" * 40),
        (("g" * 10, "12", "Intercept", "1"), ("", "", "slope", "2"), ("Residual", "", "", "3")),
        "lrln",
        n_labels=3,
    )
    lines = grid.lines(60)
    assert lines[0].split() == ["Effect", "x" * 40]
    assert [line.split() for line in lines[2:]] == [
        ["Group", "g" * 10, "Levels", "12"],
        ["Intercept", "1"],
        ["slope", "2"],
        ["Residual", "3"],
    ]
    assert grid.lines(80)[0].split() == ["Group", "Levels", "Effect", "x" * 40]


def test_sentences_in_the_last_column_are_folded() -> None:
    grid = Grid(("", "words"), (("a", "one two three " * 6), ("b", "short")), "ll", ruled=False)
    lines = grid.lines(60)
    assert len(lines) == 4
    assert lines[2].startswith("   one") or lines[2].startswith("   two") or lines[2].startswith("   three")
    assert " ".join(" ".join(lines[1:-1]).split()[1:]) == ("one two three " * 6).strip()


LABELS = st.text("abcdef[]:_", min_size=1, max_size=45)
CELLS = st.from_regex(r"-?[0-9]{1,6}\.[0-9]{1,4}", fullmatch=True)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.integers(60, 140), st.integers(1, 9), st.integers(1, 6))
def test_any_table_fits_and_is_whole(data: st.DataObject, width: int, n_values: int, n_rows: int) -> None:
    header = ("name", *[data.draw(st.text("wxyz", min_size=1, max_size=12)) for _ in range(n_values)])
    rows = tuple(
        (data.draw(LABELS), *[data.draw(CELLS) for _ in range(n_values)]) for _ in range(n_rows)
    )  # fmt: skip
    lines = Grid(header, rows, "l" + "n" * n_values).lines(width)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for text in (*header, *(cell for row in rows for cell in row)):
        assert text in words
    numbers = [word for word in words if word in {cell for row in rows for cell in row[1:]}]
    assert len(numbers) == n_rows * n_values
    for label, *_ in rows:
        assert len(label) > width / 5 or label not in map(str.strip, lines)
