"""Files of results."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from mixedmodels.errors import DataError
from mixedmodels.fit import storage


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "fit.mm"
    storage.save({"a": [1, 2]}, path)
    assert storage.load(path) == {"a": [1, 2]}
    assert storage.load(str(path)) == {"a": [1, 2]}


def test_last_line_tells_the_version(tmp_path: Path) -> None:
    path = tmp_path / "fit.mm"
    storage.save(None, path)
    last = path.read_bytes().splitlines()[-1]
    assert json.loads(last.removeprefix(storage.MAGIC)).keys() == {"format", "version"}


def test_a_file_is_a_pickle_too(tmp_path: Path) -> None:
    path = tmp_path / "fit.mm"
    storage.save({"a": b"\nmixedmodels \n"}, path)
    with path.open("rb") as file:
        assert pickle.load(file) == storage.load(path) == {"a": b"\nmixedmodels \n"}


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mixed feelings\n")
    with pytest.raises(DataError, match=r"notes\.txt' is not a result saved by mixedmodels"):
        storage.load(path)


def test_later_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fit.mm"
    header = json.dumps({"format": storage.FORMAT + 1, "version": "99.0"})
    path.write_bytes(b"whatever\n" + storage.MAGIC + header.encode() + b"\n")
    with pytest.raises(DataError, match=r"saved by mixedmodels 99\.0 .* Upgrade mixedmodels"):
        storage.load(path)


def test_paths_that_do_not_exist_are_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "fit.mm"
    with pytest.raises(DataError, match=r"fit\.mm' cannot be written: No such file or directory"):
        storage.save(None, path)
    with pytest.raises(DataError, match=r"fit\.mm' cannot be read: No such file or directory"):
        storage.load(path)
