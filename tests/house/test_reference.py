"""The reference has every public name, what it shows documents each of its arguments, and findings are explained."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cached_property, reduce
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mixedmodels as mm
from mixedmodels import errors, families, plot

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "api.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^\.\. auto(?:function|class):: mixedmodels\.(\S+)$", PAGE, re.MULTILINE)


def found(name: str) -> Any:
    """Return what the page shows under a dotted name below the package."""
    *module, last = name.split(".")
    try:
        return reduce(getattr, name.split("."), mm)
    except AttributeError:
        return getattr(import_module(".".join(["mixedmodels", *module])), last)


def documented(doc: str | None) -> set[str]:
    """Return the names under the headings ``Parameters`` and ``Attributes`` of a docstring."""
    names = set[str]()
    for section in re.findall(
        r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", inspect.cleandoc(doc or ""), re.M | re.S
    ):
        heads = (line for line in section.splitlines() if line and not line[0].isspace())
        names |= {name.strip().lstrip("*") for head in heads for name in head.split(":")[0].split(",")}
    return names


def callables() -> Iterator[tuple[str, Any]]:
    """Yield what the page shows, and the public methods of its classes."""
    for name in SHOWN:
        shown = found(name)
        yield name, shown
        if inspect.isclass(shown):
            for method, value in inspect.getmembers(shown, callable):
                ours = str(getattr(value, "__module__", "")).startswith("mixedmodels")
                if ours and not method.startswith("_") and not inspect.isclass(value):
                    yield f"{name}.{method}", value


@pytest.mark.parametrize(("name", "value"), [pytest.param(*pair, id=pair[0]) for pair in callables()])
def test_every_argument_is_documented(name: str, value: Any) -> None:
    arguments = {one for one in inspect.signature(value).parameters if not one.startswith("_")} - {"self", "cls"}
    assert not arguments - documented(value.__doc__), name


def test_first_lines_of_properties_have_no_colon() -> None:
    """Sphinx takes what stands before a colon there for the type."""
    classes = filter(inspect.isclass, map(found, SHOWN))
    docs = {
        f"{shown.__name__}.{name}": inspect.cleandoc(value.__doc__ or "").partition("\n")[0]
        for shown in classes
        for name, value in vars(shown).items()
        if isinstance(value, property | cached_property)
    }
    assert not [name for name, line in docs.items() if ": " in line]


def test_every_public_name_is_shown() -> None:
    elsewhere = {"families", "plot", "__version__"} | set(vars(errors))
    assert set(mm.__all__) - elsewhere <= set(SHOWN)
    assert {f"plot.{name}" for name in plot.__all__} <= set(SHOWN)
    assert {f"families.{family.__name__}" for family in families.BY_NAME.values()} <= set(SHOWN)


def test_every_finding_is_explained() -> None:
    page = (DOCS / "how-to" / "warnings.md").read_text(encoding="utf-8")
    sources = Path(mm.__file__).parent.rglob("*.py")
    calls = [node for path in sources for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    kinds = {
        node.args[0].value
        for node in calls
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding" and isinstance(node.args[0], ast.Constant)
    }
    assert len(kinds) > 10
    assert not {kind for kind in kinds if f"| `{kind}` |" not in page}
