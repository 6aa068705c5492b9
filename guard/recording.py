"""Capture before acknowledging, and the promise behind a capture that was not confirmed: it is never learned.

A capture that fails or is late may still have happened, or happen later. So before the client is told ``no`` or
``unknown``, the request id is written to a file (synced), which stays until Redis has *disowned* that id. Disowning
quarantines the samples of an exchange that was captured after all, for good, and refuses a capture that comes later.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from guard.dialects.types import Captured
from guard.metrics import Metrics
from learner.capture import Capture, capture, disown
from learner.errors import LearnerError, StoreError
from learner.store import AsyncStore, Keys

_LOG = logging.getLogger("tayguard.recording")
_KEEP_DISOWNED_MS = 7 * 86_400_000


class Background:
    """Work that outlives the request that began it; every task is held until it is done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start ``work`` and return its task."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("work in the background failed", exc_info=task.exception())

    async def drain(self, timeout_s: float) -> None:
        """Wait until all of it is done, at most ``timeout_s`` seconds."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)


class Recorder:
    """Capture exchanges within ``deadline_s`` seconds; ``folder`` keeps the ids that are still to be disowned."""

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        *,
        folder: Path,
        clock: Callable[[], int],
        metrics: Metrics,
        deadline_s: float = 1.0,
    ) -> None:
        self._store, self._keys, self._folder = store, keys, folder
        self._clock, self._metrics, self._deadline_s = clock, metrics, deadline_s
        self._background = Background()
        self._unwritten: set[str] = set()
        self._kept: set[str] = set()

    async def capture(self, this: Capture) -> Captured:
        """Return whether ``this`` was captured; a request that is cancelled meanwhile does not cancel its capture."""
        captured: Captured = await asyncio.shield(self._background.spawn(self._capture(this)))
        return captured

    async def _capture(self, this: Capture) -> Captured:
        outcome: Captured = "yes"
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._store.run(capture(self._keys, this))
        except TimeoutError:
            outcome = "unknown"
        except LearnerError:
            outcome = "no"
        if outcome != "yes":
            await self._note(this.exchange.request_id)
        self._metrics.captures.labels(outcome).inc()
        return outcome

    async def _note(self, request_id: str) -> None:
        try:
            await asyncio.to_thread(_write_synced, self._folder / request_id)
        except OSError:
            self._unwritten.add(request_id)
            _LOG.exception("an unconfirmed exchange could not be noted on disk; it is kept in memory")

    async def sweep(self) -> int:
        """Disown what is noted, and return how many notes there are; raises :class:`StoreError` while Redis is away.

        A note that cannot be removed is logged and left alone until the next start.
        """
        try:
            noted = await asyncio.to_thread(_names_in, self._folder)
        except OSError:
            await self._disown(self._unwritten)
            raise
        await self._disown(noted | self._unwritten)
        return len(noted)

    async def _disown(self, request_ids: set[str]) -> None:
        for request_id in sorted(request_ids - self._kept):
            result = await self._store.run(disown(self._keys, request_id, self._clock(), _KEEP_DISOWNED_MS))
            fields = {"request_id": request_id, "result": result}
            _LOG.warning("an unconfirmed exchange will not be learned", extra={"fields": fields})
            self._unwritten.discard(request_id)
            try:
                await asyncio.to_thread((self._folder / request_id).unlink, missing_ok=True)
            except OSError:
                self._kept.add(request_id)
                _LOG.exception("the note of a disowned exchange could not be removed; mend the data folder's rights")

    async def close(self) -> None:
        """Wait for captures that are under way, then try once more to disown."""
        await self._background.drain(2 * self._deadline_s)
        try:
            await self.sweep()
        except StoreError:
            _LOG.warning("Redis is away; unconfirmed exchanges are disowned at the next start")
        except OSError:
            _LOG.exception("what is noted of unconfirmed exchanges cannot be read; it is tried again at the next start")


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _write_synced(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
