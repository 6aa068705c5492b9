"""The versions a worker has loaded: the live one and the one before it, so that a rollback's target is in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from guard.errors import UpstreamNotReadyError
from learner.errors import LearnerError
from learner.types import Answerer


class Resident:
    """Loaded versions by id. ``load`` verifies and loads one, in a thread; ``monotonic`` gives seconds.

    A version that a request has in hand stays alive with it, whatever becomes live meanwhile.
    """

    def __init__(
        self, load: Callable[[str], Answerer], *, monotonic: Callable[[], float], retry_s: float = 5.0
    ) -> None:
        self._load, self._monotonic, self._retry_s = load, monotonic, retry_s
        self._loaded: dict[str, Answerer] = {}
        self._loading: dict[str, asyncio.Task[Answerer]] = {}
        self._failed: dict[str, tuple[float, str]] = {}

    @property
    def versions(self) -> tuple[str, ...]:
        """Ids of the loaded versions."""
        return tuple(self._loaded)

    def problem(self, version: str) -> str:
        """Return why a version cannot answer, or an empty text."""
        if version in self._loaded:
            return ""
        return self._failed.get(version, (0.0, f"version {version} is not loaded yet"))[1]

    async def answerer(self, version: str) -> Answerer:
        """Return a loaded version, loading it if need be; raises :class:`UpstreamNotReadyError` if it cannot be."""
        found = self._loaded.get(version)
        if found is not None:
            return found
        failed_at, reason = self._failed.get(version, (0.0, ""))
        if reason and self._monotonic() - failed_at < self._retry_s:
            raise UpstreamNotReadyError(reason)
        task = self._loading.get(version)
        if task is None:
            task = self._loading[version] = asyncio.ensure_future(self._load_now(version))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def follow(self, live: str, previous: str) -> None:
        """Load both and let go of all others; one that does not load stays a problem and is tried again later."""
        for version in (live, previous):
            try:
                await self.answerer(version)
            except UpstreamNotReadyError:
                continue
        for version in set(self._loaded) - {live, previous}:
            if live in self._loaded:
                del self._loaded[version]

    async def _load_now(self, version: str) -> Answerer:
        try:
            answerer = await asyncio.to_thread(self._load, version)
        except (LearnerError, OSError) as exc:
            reason = f"version {version} does not load ({exc}); roll back to another with `tayguard rollback`"
            self._failed[version] = (self._monotonic(), reason)
            raise UpstreamNotReadyError(reason) from exc
        else:
            self._failed.pop(version, None)
            self._loaded[version] = answerer
            return answerer
        finally:
            del self._loading[version]
