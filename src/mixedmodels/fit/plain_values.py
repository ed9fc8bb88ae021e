"""Values as JSON and arrays, and back: nothing of it is a program, so that reading it runs none.

Texts, truth, whole numbers, finite fractions and None are themselves in JSON; everything else is a list that starts
with what it is. Objects of classes that are in a table are their attributes. What is in no table is left out, by name.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from mixedmodels.design.left_out import LeftOut
from mixedmodels.errors import DataError
from mixedmodels.fit.archive import KINDS
from mixedmodels.fit.forms import FORMS

Array = npt.NDArray[Any]

TEXTS: Mapping[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    float: ("float", repr, float),
    complex: ("complex", repr, complex),
    bytes: ("bytes", bytes.hex, bytes.fromhex),
    Decimal: ("decimal", str, Decimal),
    dt.date: ("date", dt.date.isoformat, dt.date.fromisoformat),
    dt.time: ("time", dt.time.isoformat, dt.time.fromisoformat),
    dt.datetime: ("datetime", dt.datetime.isoformat, dt.datetime.fromisoformat),
}
"""Values that a text tells: what they are called, how they become a text, and back."""


def left_out(value: object, length: int | None = None) -> LeftOut:
    """Return what stands for a value of a class that no table knows."""
    named = value if callable(value) and hasattr(value, "__qualname__") else type(value)
    kind = "the class" if isinstance(value, type) else "the function" if named is value else "an object of the class"
    return LeftOut(f"{kind} '{named.__module__}.{named.__qualname__}'", length)


@dataclass(frozen=True)
class Kept:
    """How objects of a class are kept.

    Attributes
    ----------
    cls
        The class; also of names, for enumerations.
    attributes
        Those that are kept; by default those that a dataclass declares.
    make
        Makes an object of them; by default they are set on a bare one.
    """

    cls: type
    attributes: tuple[str, ...] = ()
    make: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not self.attributes and is_dataclass(self.cls):
            object.__setattr__(self, "attributes", tuple(field.name for field in fields(self.cls)))

    def made(self, values: Mapping[str, Any]) -> Any:
        """Return the object with these attributes.

        Raises
        ------
        DataError
            If the class has others: another version wrote it.
        """
        if unknown := set(values) - set(self.attributes):
            raise DataError(f"a {self.cls.__name__} with {sorted(unknown)} is of another version")
        if self.make is not None:
            return self.make(**values)
        made: Any = object.__new__(self.cls)
        for name, value in {**self._defaults(), **values}.items():
            object.__setattr__(made, name, value)
        if missing := [name for name in self.attributes if not hasattr(made, name)]:
            raise DataError(f"a {self.cls.__name__} without {missing} is of another version")
        return made

    def _defaults(self) -> dict[str, Any]:
        declared = fields(self.cls) if is_dataclass(self.cls) else ()
        plain = {field.name: field.default for field in declared if field.default is not MISSING}
        made = {f.name: f.default_factory() for f in declared if f.default_factory is not MISSING}
        return plain | made


class Table:
    """The classes whose objects are kept, by what they are called in files.

    Parameters
    ----------
    kept
        A class each.
    """

    def __init__(self, kept: Iterable[Kept]) -> None:
        self.kept = {each.cls.__qualname__: each for each in kept}
        self.names = {each.cls: name for name, each in self.kept.items()}


TOGETHER = {form.name: form.together for form in FORMS}


class Packer:
    """Makes JSON of values, and keeps their arrays aside.

    Parameters
    ----------
    table
        The classes that are known.

    Attributes
    ----------
    arrays
        In the order in which they were met.
    left_out
        What is not in the JSON, for sentences.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.arrays: list[Array] = []
        self.left_out: list[str] = []
        self._met: dict[int, tuple[int, object]] = {}  # the objects too, so that no other gets the number of one

    def pack(self, value: Any) -> Any:
        """Return the JSON of a value; what was packed before is referred to."""
        kind = type(value)
        if value is None or kind in (str, bool, int) or (kind is float and isfinite(value)):
            return value
        if kind in TEXTS and getattr(value, "tzinfo", None) is None:
            name, text, _ = TEXTS[kind]
            return [name, text(value)]
        if id(value) in self._met:
            return ["again", self._met[id(value)][0]]
        packed = self._packed(value)
        if packed is None:
            what = value.what if isinstance(value, LeftOut) else left_out(value).what
            self.left_out.append(what)
            return ["left out", what, value.length if isinstance(value, LeftOut) else None]
        self._met[id(value)] = (len(self._met), value)
        return ["kept", len(self._met) - 1, packed]

    def _packed(self, value: Any) -> list[Any] | None:
        kind = type(value)
        if kind in self.table.names:
            name = self.table.names[kind]
            if isinstance(value, Enum):
                return ["member", name, value.name]
            attributes = self.table.kept[name].attributes
            return ["record", name, {attribute: self.pack(getattr(value, attribute)) for attribute in attributes}]
        if isinstance(value, type) and value in self.table.names:
            return ["class", self.table.names[value]]
        if kind is np.ndarray and value.dtype.kind in KINDS:
            self.arrays.append(value)
            return ["array", len(self.arrays) - 1]
        form = next((form for form in FORMS if form.holds(value)), None)
        return None if form is None else [form.name, *map(self.pack, form.apart(value))]


class Unpacker:
    """Makes values of JSON and arrays.

    Parameters
    ----------
    table
        The classes that may be made.
    arrays
        As a `Packer` kept them.
    """

    def __init__(self, table: Table, arrays: Sequence[Array]) -> None:
        self.table, self.arrays = table, arrays
        self._met: dict[int, Any] = {}

    def unpack(self, packed: Any) -> Any:
        """Return the value of JSON.

        Raises
        ------
        Exception
            Of any kind, if a `Packer` did not make it.
        """
        if not isinstance(packed, list):
            return packed
        kind, *parts = packed
        if kind == "again":
            return self._met[parts[0]]
        if kind == "kept":
            self._met[parts[0]] = made = self._made(*parts[1])
            return made
        if kind == "left out":
            return LeftOut(*parts)
        return next(read for name, _, read in TEXTS.values() if name == kind)(*parts)

    def _made(self, kind: str, *parts: Any) -> Any:
        if kind == "array":
            return self.arrays[parts[0]]
        if kind in ("record", "class", "member"):
            kept = self.table.kept[parts[0]]
            if kind == "class":
                return kept.cls
            if kind == "member":
                return kept.cls.__members__[parts[1]]  # type: ignore[attr-defined]
            return kept.made({name: self.unpack(value) for name, value in parts[1].items()})
        return TOGETHER[kind](*map(self.unpack, parts))
