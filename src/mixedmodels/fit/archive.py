"""Files of JSON and arrays: a zip, sealed by a checksum of all of it.

Every part has the zip's own checksum; the seal, which is the zip's comment, covers what lies between the parts too. The
arrays lie in the file as they do in memory, not compressed: a small file cannot become a large one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from os import PathLike
from typing import IO, Any, Literal
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt

from mixedmodels.errors import DataError
from mixedmodels.fit.whole_file import write_whole

Array = npt.NDArray[Any]

SEAL = b"mixedmodels sha256 "
LENGTH_OF_SEAL = len(SEAL) + 64
FORMAT = 2
"""Counts the changes that older versions cannot read; format 1 was a pickle."""
KINDS = "biufcmMSU"
"""Kinds of numbers, dates and texts that an array may hold: no objects."""
PACKAGES = ("mixedmodels", "formulaic", "numpy", "pandas")


def write_archive(path: str | PathLike[str], about: dict[str, Any], content: Any, arrays: Sequence[Array]) -> None:
    """Write JSON and arrays to a file.

    Parameters
    ----------
    path
        The file.
    about
        What a reader of the zip is to know first; format and versions are added.
    content, arrays
        What it holds.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    about = {"format": FORMAT, **about, "written by": {name: version(name) for name in PACKAGES}}
    layout = [[a.dtype.str, list(a.shape), _order(a)] for a in arrays]
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as file:
        file.writestr(ZipInfo("about.json"), json.dumps(about, indent=1, allow_nan=False))
        file.writestr(ZipInfo("content.json"), json.dumps(content, allow_nan=False))
        file.writestr(ZipInfo("arrays.json"), json.dumps(layout))
        for k, array in enumerate(arrays):
            file.writestr(ZipInfo(f"arrays/{k}"), array.tobytes(order=_order(array)))
        file.comment = SEAL + b"0" * 64
    body = buffer.getbuffer()[: -len(file.comment)]
    seal = SEAL + sha256(body).hexdigest().encode()

    def write(target: IO[bytes]) -> None:
        target.write(body)
        target.write(seal)

    write_whole(path, write)


def is_archive(data: bytes) -> bool:
    """Return whether a file begins like one of these, whole or not."""
    return data.startswith(b"PK\x03\x04") and data[30:40] == b"about.json"


def read_archive(data: bytes, name: str) -> tuple[dict[str, Any], Any, list[Array]]:
    """Return what `write_archive` was told: what it is about, JSON and arrays.

    Parameters
    ----------
    data
        What the file holds.
    name
        Of the file, for messages.

    Raises
    ------
    DataError
        If the file is damaged, or a later version wrote it in another format.
    """
    body, seal = data[:-LENGTH_OF_SEAL], data[-LENGTH_OF_SEAL:]
    if seal != SEAL + sha256(body).hexdigest().encode():
        raise DataError(f"{name!r} is damaged: its checksum is not that of what it holds. Take another copy.")
    try:
        with ZipFile(BytesIO(data)) as file:
            about = json.loads(file.read("about.json"))
            if about["format"] != FORMAT:
                raise DataError(
                    f"{name!r} was saved by mixedmodels {about['written by']['mixedmodels']} in format "
                    f"{about['format']}; this is mixedmodels {version('mixedmodels')}, which reads format {FORMAT}. "
                    "Upgrade mixedmodels."
                )
            layout = json.loads(file.read("arrays.json"))
            arrays = [_array(file.read(f"arrays/{k}"), *each) for k, each in enumerate(layout)]
            return about, json.loads(file.read("content.json")), arrays
    except (BadZipFile, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name!r} is not a result saved by mixedmodels: {error}.") from error


def _order(array: Array) -> Literal["C", "F"]:
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


def _array(data: bytes, dtype: str, shape: list[int], order: Literal["C", "F"]) -> Array:
    kind = np.dtype(dtype)
    if kind.kind not in KINDS:
        raise DataError(f"an array of {dtype} has no place in it")
    values = np.frombuffer(data, dtype=kind) if kind.itemsize else np.zeros(shape, dtype=kind)
    return values.copy().reshape(tuple(shape), order=order)
