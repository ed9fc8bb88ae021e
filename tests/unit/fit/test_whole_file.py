"""Files that are written whole."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

import pytest

from mixedmodels.errors import DataError
from mixedmodels.fit.whole_file import read_whole, write_whole


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"first", b"second, longer"):
        write_whole(path, lambda file, content=content: file.write(content))  # type: ignore[misc]
        assert read_whole(path) == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_the_old_file_survives_what_ends_half_way(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write(file: IO[bytes]) -> None:
        file.write(b"half")
        raise error

    with pytest.raises(DataError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        write_whole(path, write)
    if isinstance(error, OSError):
        assert "cannot be written: No space left on device. The file that was there is as it was." in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_when_it_is_told_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        write_whole(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"old"


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_whole(link, lambda file: file.write(b"new"))
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_folders_are_not_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: It is a folder"):
        write_whole(tmp_path, lambda file: file.write(b""))
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_whole(tmp_path)
