"""Files that are either whole or not there: written aside, flushed, renamed, and their folder flushed.

Names are content addresses, so writing a thing twice is the same as writing it once.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from learner.errors import ConflictError, CorruptError, DataFolderError, LearnerError

_CHUNK = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE}


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the one JSON spelling of a value: sorted keys, no spaces, UTF-8; ASCII where a lone surrogate is in it.

    >>> canonical({"b": 1, "a": "é"}).decode()
    '{"a":"é","b":1}'
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256(data: bytes) -> str:
    """Return the hex sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hex sha256 of a file; raises :class:`CorruptError` when it cannot be read."""
    try:
        with path.open("rb", buffering=0) as handle:
            digest = hashlib.sha256()
            while data := handle.read(_CHUNK):
                digest.update(data)
            return digest.hexdigest()
    except OSError as exc:
        raise unreadable(exc, f"{path.name} in {path.parent.name} cannot be read ({exc.strerror})") from exc


def unreadable(exc: OSError, message: str) -> LearnerError:
    """Return what to raise for a file that cannot be read: it is damaged, unless too many files are open."""
    if exc.errno in _TOO_MANY_OPEN:
        return DataFolderError("too many files are open: raise the limit (`ulimit -n`), then start again")
    return CorruptError(message)


def sync_folder(path: Path) -> None:
    """Flush the names in a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _failed(what: str, exc: OSError) -> LearnerError:
    if exc.errno in _TOO_MANY_OPEN:
        return unreadable(exc, what)
    if exc.errno in _FULL:
        return DataFolderError(
            f"disk full at {what}: free space in the data folder, then run it again; nothing was kept"
        )
    return DataFolderError(f"cannot write at {what} ({exc.strerror}): check the data folder's permissions")


def write_file(path: Path, data: bytes, what: str) -> None:
    """Put ``data`` at ``path`` as one step; ``what`` names the act in the error.

    Raises
    ------
    DataFolderError
        The disk is full or not writable; nothing is left behind.
    """
    _put(path, data, what, Path.replace)


def write_new(path: Path, data: bytes, what: str) -> None:
    """Put ``data`` at ``path`` as one step where nothing is.

    Raises
    ------
    ConflictError
        Something is there; it stays as it is.
    DataFolderError
        The disk is full or not writable; nothing is left behind.
    """
    _put(path, data, what, _publish)


def _publish(aside: Path, path: Path) -> None:
    path.hardlink_to(aside)
    aside.unlink()


def _put(path: Path, data: bytes, what: str, publish: Callable[[Path, Path], object]) -> None:
    aside = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(aside, data)
        publish(aside, path)
        sync_folder(path.parent)
    except FileExistsError as exc:
        aside.unlink(missing_ok=True)
        raise ConflictError(f"{path.parent.name}/{path.name} is there already: another process was first") from exc
    except OSError as exc:
        aside.unlink(missing_ok=True)
        raise _failed(what, exc) from exc


def write_folder(path: Path, files: Mapping[str, bytes], what: str) -> None:
    """Put a folder with ``files`` at ``path`` as one step; one that is already there, content-addressed, stays.

    Raises
    ------
    DataFolderError
        The disk is full or not writable; nothing is left behind.
    """
    aside = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if all((path / name).is_file() and (path / name).read_bytes() == data for name, data in files.items()):
                return
            path.rename(path.parent / f".damaged.{path.name}.{uuid.uuid4().hex}")
        aside.mkdir()
        for name, data in files.items():
            _write(aside / name, data)
        sync_folder(aside)
        aside.rename(path)
        sync_folder(path.parent)
    except OSError as exc:
        shutil.rmtree(aside, ignore_errors=True)
        raise _failed(what, exc) from exc


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises :class:`CorruptError` naming the file when there is none."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as exc:
        raise unreadable(exc, f"{path.parent.name}/{path.name} is missing or not readable") from exc
    except ValueError as exc:
        raise CorruptError(f"{path.parent.name}/{path.name} is not readable") from exc
    if not isinstance(value, dict):
        raise CorruptError(f"{path.parent.name}/{path.name} is not what it should be")
    return value
