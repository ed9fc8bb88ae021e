"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import IO
from uuid import uuid4

from mixedmodels.errors import DataError


def write_whole(path: str | PathLike[str], write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside the one meant, and put it in its place once the disk has it; until then the old one stays.

    Parameters
    ----------
    path
        The file; a link is followed, and the permissions of a file that is there are kept.
    write
        Writes to an open file.

    Raises
    ------
    DataError
        If the file cannot be written: a full disk, no such folder, no permission.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
    try:
        if target.is_dir():
            raise IsADirectoryError(None, "It is a folder")
        try:
            with beside.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        kept = " The file that was there is as it was." if target.is_file() else ""
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror or error}.{kept}") from error


def check_place(path: str | PathLike[str]) -> None:
    """Refuse a place that no file can be written to, before there is anything to write.

    Parameters
    ----------
    path
        The file that is to be.

    Raises
    ------
    DataError
        If its folder is not there, or may not be written to.
    """
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise DataError(
            f"{str(path)!r} cannot be written: there is no folder {str(folder)!r}. Make it, or give another path."
        )
    if not os.access(folder, os.W_OK):
        raise DataError(
            f"{str(path)!r} cannot be written: the folder {str(folder)!r} may only be read. Give another path."
        )


def read_whole(path: str | PathLike[str]) -> bytes:
    """Return what a file holds.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
