"""Questions with odd arguments: each is answered, or refused in the package's words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mixedmodels as mm

ODD: tuple[Any, ...] = (
    5, -1, 0, 1.5, float("nan"), None, "nonsense", "", True, [], [1, 2], (), {}, {"x": 1}, b"x", np.array([1.0, 2.0]),
    np.zeros((2, 2)), pd.DataFrame(), pd.Series([1.0, 2.0]), object(), len,
)  # fmt: skip
PLACES = ("path", "fname")
"""Arguments that name a file: a text would make one."""
SLOW = ("report", "plot")
"""What draws: asked for with a few odd arguments elsewhere, not with all."""
OF_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def methods(owner: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public methods of an object, those of its class too."""
    for name in dir(type(owner)):
        found = inspect.getattr_static(type(owner), name)
        if not name.startswith("_") and (inspect.isfunction(found) or isinstance(found, classmethod | staticmethod)):
            yield name, getattr(owner, name)


def show(owner: object) -> None:
    """Ask for everything that a result shows by itself."""
    repr(owner), str(owner), getattr(owner, "_repr_html_", str)()
    if isinstance(owner, pd.DataFrame | pd.Series):
        return
    for name in dir(type(owner)):
        if not name.startswith("_") and isinstance(inspect.getattr_static(type(owner), name), property):
            with suppress(mm.MixedModelsError):
                repr(getattr(owner, name))


def ask(question: str, method: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Return the answer, or None if it is refused in the package's words."""
    try:
        answer = method(**arguments)
        if not isinstance(answer, mm.LmmResult):
            show(answer)
    except mm.MixedModelsError:
        return None
    except Exception as error:
        raise AssertionError(f"{question}({arguments}) raised {type(error).__name__}: {error}") from error
    return answer


def ask_oddly(question: str, method: Callable[..., Any], usual: Mapping[str, Any], odds: Collection[Any] = ODD) -> None:
    """Ask with the usual arguments, each in turn another kind of thing, where none is missing then."""
    parameters = inspect.signature(method).parameters.values()
    needed = {p.name for p in parameters if p.default is p.empty and p.kind not in OF_MANY}
    for parameter in parameters:
        if parameter.kind in OF_MANY or needed - {*usual, parameter.name}:
            continue
        for odd in odds:
            if not (parameter.name in PLACES and isinstance(odd, str | bytes | int)):
                ask(question, method, {**usual, parameter.name: odd})


def ask_all(
    question: str,
    owner: object,
    place: Path,
    usual: Mapping[str, tuple[dict[str, Any], ...]],
    left_out: Collection[str] = SLOW,
) -> list[Any]:
    """Ask an object everything, as usual and oddly, and return the usual answers.

    Parameters
    ----------
    question
        What the object is called.
    owner
        The object.
    place
        A file that may be written.
    usual
        Arguments of some methods; others are asked without any.
    left_out
        Names of methods that are not asked.
    """
    answers = []
    for name, method in methods(owner):
        if name in left_out:
            continue
        parameters = inspect.signature(method).parameters.values()
        files = {parameter.name: place for parameter in parameters if parameter.name in PLACES}
        for arguments in usual.get(name, (files,)):
            if all(p.default is not p.empty or p.name in arguments or p.kind in OF_MANY for p in parameters):
                answers.append(ask(f"{question}.{name}", method, arguments))
        ask_oddly(f"{question}.{name}", method, usual.get(name, (files,))[0])
    return answers
