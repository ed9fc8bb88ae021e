"""The rules of the house that a program can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "mixedmodels"
MODULES = sorted(SOURCE.rglob("*.py"))
ROWS = (
    {"errors"},
    {"covariance"},
    {"formula", "families", "interrupted", "vocabulary"},
    {"design"},
    {"texts"},
    {"fit"},
    {"inference"},
    {"predict"},
    {"diagnose"},
    {"display"},
    {"plot"},
    {"report"},
    {"result"},
    {"lmer", "mixedlm", "compare", "fit_each", "fit_many", "lmer_many", "power", "datasets"},
    {"data_file", "saved", "mmrm", "glmer", "from_statistics"},
    {"cli", "sklearn"},
    {"__init__", "__main__"},
)
DOORS = {"lmer", "mmrm", "glmer", "mixedlm", "saved", "cli", "__main__", "interrupted"}
FLOORS = ("reading", "description", "fitting", "answers")
"""The folders of the statsmodels door, upwards; its own modules are the roof."""


def room(path: Path) -> str:
    """Return the first part of a module's name below the package: ``fit`` for ``fit/problem.py``."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def row(name: str) -> int:
    """Return the height of a room; higher ones may import lower ones."""
    return next(height for height, rooms in enumerate(ROWS) if name in rooms)


def imported_names(path: Path) -> set[str]:
    """Return what a module imports of the package, inside functions, by name as text and for type checking too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                names += [alias.name for alias in node.names]
            case ast.ImportFrom():
                assert node.level == 0, f"{path.name}: imports name the whole module"
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(name))]):
                names.append(name)
    return {name for name in names if name.startswith("mixedmodels.")}


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms that a module imports."""
    return {name.split(".")[1] for name in imported_names(path)}


def imported_modules(path: Path) -> set[str]:
    """Return the modules that a module imports, by dotted name below the package; a folder is its first file."""
    names = {name.removeprefix("mixedmodels.") for name in imported_names(path)}
    return {name if name in DOTTED else name.rpartition(".")[0] for name in names} & DOTTED.keys()


def dotted(path: Path) -> str:
    """Return a module's name below the package: ``fit.problem`` for ``fit/problem.py``, ``plot`` for its folder."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def in_circles(arrows: dict[str, set[str]]) -> set[str]:
    """Return the modules from which following arrows leads back to them."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = list(arrows[start])
        while ahead:
            name = ahead.pop()
            if name not in seen:
                seen.add(name)
                ahead += arrows[name]
        return seen

    return {name for name in arrows if name in reached(name)}


DOTTED = {dotted(path): path for path in MODULES}


def called_names(path: Path) -> set[str]:
    """Return what a module calls: ``print``, ``warnings.warn``."""
    calls = (node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    return {ast.unparse(function) for function in calls}


def named(path: Path) -> str:
    """Return a module's path below the package, to name a test."""
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_come_from_lower_rows(path: Path) -> None:
    here = room(path)
    for other in imported_rooms(path) - {here, "_engine"}:
        assert row(other) < row(here), f"{named(path)} imports {other}"


def test_no_module_leads_back_to_itself() -> None:
    arrows = {name: imported_modules(path) - {name} for name, path in DOTTED.items()}
    assert not in_circles(arrows)


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) == "mixedlm"], ids=named)
def test_the_door_imports_from_lower_floors(path: Path) -> None:
    def floor(name: str) -> int:
        folder = name.split(".")[1] if name.count(".") else ""
        return FLOORS.index(folder) if folder in FLOORS else len(FLOORS)

    here = floor(dotted(path))
    for other in imported_modules(path):
        if other.startswith("mixedlm"):
            assert floor(other) <= here, f"{named(path)} imports {other}"


def test_circles_are_found() -> None:
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_only_fit_touches_the_engine(path: Path) -> None:
    assert "_engine" not in imported_rooms(path) or room(path) == "fit"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_nothing_below_the_doors_warns_or_prints(path: Path) -> None:
    assert room(path) in DOORS or not called_names(path) & {"print", "warnings.warn", "warn"}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_are_nouns_of_the_subject(path: Path) -> None:
    assert not {"util", "utils", "helper", "helpers", "misc", "common"} & set(
        path.relative_to(SOURCE).with_suffix("").parts
    )


def test_import_is_light() -> None:
    code = "import mixedmodels, sys; print([m for m in ('matplotlib', 'patsy', 'statsmodels') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
