"""Results as files."""

from __future__ import annotations

import json
import pickle
from importlib.metadata import version
from os import PathLike
from typing import IO, Any

from mixedmodels.errors import DataError
from mixedmodels.fit.whole_file import read_whole, write_whole

MAGIC = b"mixedmodels "

FORMAT = 1
"""Counts the changes of the records that older versions cannot read."""


def save(result: object, path: str | PathLike[str]) -> None:
    """Write a result: its pickle, which ``pickle.load`` reads too, then one line that says which version wrote it.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    trailer = json.dumps({"format": FORMAT, "version": version("mixedmodels")})

    def write(file: IO[bytes]) -> None:
        pickle.dump(result, file, protocol=pickle.HIGHEST_PROTOCOL)
        file.write(b"\n" + MAGIC + trailer.encode() + b"\n")

    write_whole(path, write)


def load(path: str | PathLike[str]) -> Any:
    """Return a result that ``LmmResult.save`` wrote; it answers everything that the original did.

    Parameters
    ----------
    path
        The file. It holds a pickle, which can run code: load only files that you trust.

    Raises
    ------
    DataError
        If the file cannot be read or is not a saved result, or a later version wrote it in another format.
    """
    pickled, _, line = read_whole(path).removesuffix(b"\n").rpartition(b"\n")
    if not line.startswith(MAGIC):
        raise DataError(f"{str(path)!r} is not a result saved by mixedmodels.")
    writer = json.loads(line.removeprefix(MAGIC))
    if writer["format"] > FORMAT:
        raise DataError(
            f"{str(path)!r} was saved by mixedmodels {writer['version']} in format {writer['format']}; this is "
            f"mixedmodels {version('mixedmodels')}, which reads formats up to {FORMAT}. Upgrade mixedmodels."
        )
    return pickle.loads(pickled)
