"""The first hop: one call to Redis pins pointer and policy, takes the conversation's lock and claims the retry key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from filters.errors import PolicyError
from guard.errors import ConversationBusyError
from guard.live import Live
from guard.passage import Passage
from guard.recording import Background
from learner.errors import StoreError, UnknownIdError
from learner.session import Begin, BeginRequest, Seen, begin, release_lock
from learner.store import AsyncStore, Keys

_LOG = logging.getLogger("tayguard.entry")


@dataclass(frozen=True, slots=True)
class EntryLimits:
    """``wait_s``: for the request before of the same conversation; ``grace_s``: how old a pointer may be.

    After ``lock_s`` the lock of a worker that died lapses: more than an answer may take in all, ``answer_s``, with its
    scoring.
    """

    wait_s: float = 30.0
    grace_s: float = 1.0
    lock_s: float = 120.0
    answer_s: float = 60.0


class Entry:
    """Begin requests and end those that are not captured; ``clock`` gives UTC milliseconds."""

    def __init__(
        self, store: AsyncStore, keys: Keys, live: Live, *, clock: Callable[[], int], limits: EntryLimits
    ) -> None:
        self._store, self._keys, self._live = store, keys, live
        self._clock, self._limits = clock, limits
        self._background = Background()

    @property
    def shadow(self) -> bool:
        """Whether, as far as is known here, verdicts change no answer."""
        return self._live.last_policy.shadow

    async def begin(self, passage: Passage) -> Begin | None:
        """Return what the request pins, or None when the store is away; waits for the request before it.

        Raises
        ------
        ConversationBusyError
            The request before it took too long; the client may try again.
        """
        request = self._request(passage)
        until_ms = self._clock() + self._limits.wait_s * 1000
        try:
            return await self._begin_until(passage, request, until_ms)
        except asyncio.CancelledError:
            self._background.spawn(self._undo(request))
            raise

    async def _begin_until(self, passage: Passage, request: BeginRequest, until_ms: float) -> Begin | None:
        pause_s = 0.02
        while True:
            now_ms = self._clock()
            lock_until_ms = now_ms + int(self._limits.lock_s * 1000)
            begun = await self._begin(passage, replace(request, now_ms=now_ms, lock_until_ms=lock_until_ms))
            if begun is None or begun.stopped or not _must_wait(begun):
                return begun
            if now_ms >= until_ms and self.shadow:
                return self._without_store(passage)
            if now_ms >= until_ms:
                raise ConversationBusyError(
                    "the request before this one is still being answered; try again", retry_after="1"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(0.1, pause_s * 2)

    def _request(self, passage: Passage) -> BeginRequest:
        names = passage.names
        return BeginRequest(
            request_id=passage.request_id,
            now_ms=0,
            conversation=names.conversation,
            prefixes=() if names.conversation else names.prefixes,
            messages=names.messages,
            idempotency=names.idempotency,
            lock=not names.anonymous or names.conversation is not None,
        )

    async def _begin(self, passage: Passage, request: BeginRequest) -> Begin | None:
        while True:
            try:
                async with asyncio.timeout(self._limits.grace_s):
                    begun = await self._store.run(begin(self._keys, request))
                self._live.saw(begun.pointer)
                passage.policy = await self._live.policy(begun.policy)
            except (UnknownIdError, PolicyError):
                _LOG.exception("the live policy cannot be read; apply one with `tayguard policy apply FILE`")
                self._background.spawn(self._undo(request))
                passage.policy = self._live.last_policy
                return self._without_store(passage) if self.shadow else None
            except (StoreError, TimeoutError):
                if self._live.age_s > self._limits.grace_s or self._goes_on:
                    self._background.spawn(self._undo(request))
                    return self._without_store(passage)
                await asyncio.sleep(0.05)
            else:
                return begun

    @property
    def _goes_on(self) -> bool:
        return self.shadow or self._live.last_policy.on_store_down == "serve"

    def _without_store(self, passage: Passage) -> Begin | None:
        """Return what a request may go on with that is not captured, None where it gets the fixed reply."""
        passage.store_down = True
        passage.policy = self._live.last_policy
        pointer = self._live.pointer
        if pointer is None or not self._goes_on:
            return None
        seen: tuple[Seen, ...] = tuple("" for _ in passage.names.messages)
        return Begin(pointer, None, "none", seen, "", "", "", None)

    async def end(self, passage: Passage) -> None:
        """Give back what a request holds that is not captured as answered."""
        begun = passage.begun
        if begun is None or passage.store_down:
            return
        await self._store.run(
            release_lock(self._keys, begun.conversation, passage.request_id, passage.names.idempotency)
        )

    async def _undo(self, request: BeginRequest) -> None:
        """Give back what a begin may have taken whose answer never came; where Redis stays away, the lock lapses."""
        try:
            begun = await self._store.run(begin(self._keys, request))
            await self._store.run(release_lock(self._keys, begun.conversation, request.request_id, request.idempotency))
        except StoreError:
            return

    async def close(self) -> None:
        """Wait for what is still given back."""
        await self._background.drain(2.0)


def _must_wait(begun: Begin) -> bool:
    return begun.lock == "busy" or (begun.idempotent is not None and begun.idempotent.state == "running")
