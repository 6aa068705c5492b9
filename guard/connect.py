"""Reach a data folder's store from a command: the running server's Redis, or one started for as long as it takes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from guard.settings import ConfigurationError, Settings
from learner.embedded import DataLock, EmbeddedRedis, record_version, socket_url
from learner.errors import DataFolderError, StoreError
from learner.store import Keys, Store

_MARK = "serving"
_LOOK_AGAIN_S = 0.05


@contextlib.contextmanager
def marked_as_serving(data_dir: Path) -> Iterator[None]:
    """Tell commands that this process's Redis stays: they may use it instead of waiting for the lock."""
    path = data_dir / _MARK
    path.write_text(f"{os.getpid()}\n", "ascii")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[str]:
    """Give the URL of the guard's Redis for the duration of a command.

    Raises
    ------
    StoreError
        Redis does not answer.
    DataFolderError
        Another command holds the data folder for longer than ``store.lock_s``.
    """
    if settings.store.redis_url:
        yield _checked(settings, settings.store.redis_url)
        return
    lock = DataLock(settings.store.data_dir)
    if not _locked_by_us(lock, settings):
        yield socket_url(settings.store.data_dir)
        return
    with lock, EmbeddedRedis(settings.store.data_dir, settings.store.redis_server or None, lock=lock) as server:
        yield _checked(settings, server.url)


def _checked(settings: Settings, url: str) -> str:
    try:
        with contextlib.closing(Store(url)) as store:
            record_version(Keys(settings.bot.id), store)
    except StoreError as exc:
        raise StoreError(no_redis(settings, exc)) from exc
    except ValueError as exc:
        raise ConfigurationError(f"store.redis_url is not a Redis URL: {exc}") from exc
    return url


def no_redis(settings: Settings, why: StoreError) -> str:
    """Return why there is no Redis, and what to do about it."""
    remedy = " Set store.redis_url to a Redis that answers, or leave it empty" if settings.store.redis_url else ""
    return f"{why}{remedy}"


def _locked_by_us(lock: DataLock, settings: Settings) -> bool:
    """Take the lock, or return False once a server is found that serves this folder."""
    end = time.monotonic() + settings.store.lock_s
    while True:
        try:
            lock.acquire(0.0)
        except DataFolderError:
            if _serves(settings.store.data_dir):
                return False
            if time.monotonic() >= end:
                raise
            time.sleep(_LOOK_AGAIN_S)
        else:
            return True


def _serves(data_dir: Path) -> bool:
    """Return whether the process that holds the lock has marked itself as serving, and its Redis answers."""
    try:
        marked = (data_dir / _MARK).read_text("ascii").strip()
        held = (data_dir / "lock").read_text("ascii").strip()
    except OSError:
        return False
    if not marked or marked != held:
        return False
    try:
        with contextlib.closing(Store(socket_url(data_dir), timeout_s=2.0)) as store:
            store.ping()
    except StoreError:
        return False
    return True
