"""The lock on a data folder: one process tree at a time writes there."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from learner.errors import DataFolderError


class DataLock:
    """The one lock on a data folder. It is free when every process that inherited the handle is gone."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """The open file that redis-server inherits; only while the lock is held."""
        if self._descriptor is None:
            raise DataFolderError(f"{self._path} is not locked by this process; acquire it first")
        return self._descriptor

    def acquire(self, wait_s: float = 5.0) -> None:
        """Take the lock, waiting up to ``wait_s`` seconds for a server that is on its way out.

        Raises
        ------
        DataFolderError
            Another process has it; the message names its pid.
        """
        descriptor = self._open()
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                    os.close(descriptor)
                    raise DataFolderError(
                        f"{self._path.parent} is in use by process {holder or '?'}; "
                        "stop it, or choose another data folder"
                    ) from None
                time.sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def _open(self) -> int:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise DataFolderError(
                f"cannot write to {self._path.parent} ({exc.strerror}); choose another data folder"
            ) from exc

    def release(self) -> None:
        """Close our handle; the lock stays with a redis-server that inherited it until that is gone."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        if self._descriptor is None:
            self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
