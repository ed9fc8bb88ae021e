"""Files of results: archives and pickles."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from mixedmodels.errors import DataError
from mixedmodels.fit import archive, storage
from mixedmodels.fit.control import Control


def save(path: Path, value: object = None) -> Path:
    storage.save_records(path, "fit", value, (), {})
    return path


def load(path: Path) -> Any:
    return storage.load_records(path, ("fit",), ())


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = save(tmp_path / "fit.mm", {"a": [1, np.arange(3)], "b": Control(n_starts=2)})
    again = load(path)
    assert again["b"] == Control(n_starts=2)
    np.testing.assert_array_equal(again["a"][1], [0, 1, 2])


def test_a_file_is_a_zip_that_says_what_it_is(tmp_path: Path) -> None:
    with ZipFile(save(tmp_path / "fit.mm", [np.arange(3.0), test_other_files_are_refused])) as file:
        assert file.testzip() is None
        about = json.loads(file.read("about.json"))
        assert file.read("arrays/0") == np.arange(3.0).tobytes()
    assert about["format"] == archive.FORMAT
    assert about["written by"].keys() == {"mixedmodels", "formulaic", "numpy", "pandas"}
    assert about["left out"] == [f"the function '{__name__}.test_other_files_are_refused'"]


def test_the_same_result_is_the_same_file(tmp_path: Path) -> None:
    first, second = (save(tmp_path / name, {"a": np.arange(3)}) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_every_bit_is_watched(tmp_path: Path) -> None:
    path = save(tmp_path / "fit.mm", [np.arange(3), "text"])
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DataError):
            load(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            load(path)


@pytest.mark.parametrize("content", [b"", b"mixed feelings\n", b"PK\x03\x04 but no more", b"PK\x05\x06" + bytes(18)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"notes\.txt' is not a result saved by mixedmodels"):
        load(path)


class Program:
    """Runs when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_pickles_are_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "fit.mm", tmp_path / "trace"
    storage.save_pickle(Program(trace), path)
    with pytest.raises(DataError, match=r"is a pickle, as mixedmodels 0\.1 .* trust=True\) reads it"):
        load(path)
    assert storage.is_pickle(path)
    assert not trace.exists()
    storage.load_pickle(path)
    assert trace.exists()


FORGED = [
    ["kept", 0, ["record", "os.system", {"command": "true"}]],
    ["kept", 0, ["record", "Control", {"n_threads": 1, "no": 1}]],
    ["kept", 0, ["class", "Path"]],
    ["kept", 0, ["array", 3]],
    ["again", 7],
    ["nothing"],
    [],
    ["kept", 0, ["dtype", ["O"]]],
]


@pytest.mark.parametrize("content", FORGED, ids=str)
def test_forged_records_are_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "fit.mm"
    archive.write_archive(path, {"kind": "fit"}, content, [])
    with pytest.raises(DataError, match="cannot be read as a fit"):
        load(path)


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fit.mm"
    archive.write_archive(path, {"kind": "fit"}, ["array", 0], [np.array([None])])
    with pytest.raises(DataError, match=r"an array of .* has no place in it"):
        load(path)


def test_deep_records_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fit.mm"
    archive.write_archive(path, {"kind": "fit"}, _nested(300), [])
    with pytest.raises(DataError, match="cannot be read as a fit"):
        load(path)


def _nested(depth: int) -> Any:
    value: Any = ["again", 9]
    for k in range(depth):
        value = ["kept", k, ["list", value]]
    return value


def test_later_formats_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FORMAT", archive.FORMAT + 1)
    path = save(tmp_path / "fit.mm")
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"saved by mixedmodels .* in format 3; .* Upgrade mixedmodels"):
        load(path)


def test_other_kinds_are_named(tmp_path: Path) -> None:
    path = tmp_path / "boot.mm"
    storage.save_records(path, "bootstrap", None, (), {})
    with pytest.raises(DataError, match="holds a bootstrap, not a fit"):
        load(path)


def test_paths_that_do_not_exist_are_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "fit.mm"
    with pytest.raises(DataError, match=r"fit\.mm' cannot be written: No such file or directory"):
        save(path)
    with pytest.raises(DataError, match=r"fit\.mm' cannot be read: No such file or directory"):
        load(path)


def test_a_pickle_ends_with_the_version(tmp_path: Path) -> None:
    path = tmp_path / "fit.mm"
    storage.save_pickle({"a": b"\nmixedmodels \n"}, path)
    last = path.read_bytes().splitlines()[-1]
    assert json.loads(last.removeprefix(storage.MAGIC)).keys() == {"format", "version"}
    with path.open("rb") as file:
        assert pickle.load(file) == storage.load_pickle(path) == {"a": b"\nmixedmodels \n"}


def test_damaged_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fit.mm"
    storage.save_pickle({"a": 1}, path)
    path.write_bytes(b"\x80\x05oh" + path.read_bytes()[4:])
    with pytest.raises(DataError, match="cannot be read as a result"):
        storage.load_pickle(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match="is not a result saved by mixedmodels"):
        storage.load_pickle(path)
