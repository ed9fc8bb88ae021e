"""Every example in a docstring or a page is run, and prints what it says."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
from pathlib import Path

import pytest

import mixedmodels

ROOT = Path(__file__).parents[2]
MODULES = [
    m.name for m in pkgutil.walk_packages(mixedmodels.__path__, "mixedmodels.") if not m.name.endswith("__main__")
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLE = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n*^```text\n(?P<printed>.*?)^```\n)?", re.DOTALL | re.MULTILINE
)


def words_by_line(text: str) -> list[str]:
    """Return the lines that have text, without the space at their ends."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.fixture(autouse=True)
def default_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples are as wide as by default, whatever the terminal that runs them."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.mark.parametrize("name", ["mixedmodels", *MODULES])
def test_docstrings(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The python blocks of a page run one after the other; a text block below one is what it prints."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for example in EXAMPLE.finditer(page.read_text(encoding="utf-8")):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(example["code"], page.name, "exec"), names)
        if example["printed"] is not None:
            assert words_by_line(printed.getvalue()) == words_by_line(example["printed"])
