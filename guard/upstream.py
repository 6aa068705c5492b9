"""The chatbot behind us: the protocol, and the embedded bot."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from guard.dialects.types import Message, Piece
from guard.errors import NotFoundError, UpstreamError, UpstreamTimeoutError
from guard.resident import Resident
from learner.types import Turn

_AHEAD = 64
"""Words that a bot may be ahead of its reader."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an upstream is asked: as turns for a bot, as raw messages for a server of the same dialect."""

    model: str
    turns: tuple[Turn, ...]
    messages: tuple[Message, ...]
    stream: bool = False
    n: int = 1
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


class Upstream(Protocol):
    """A chatbot that answers in pieces."""

    def resolve(self, model: str) -> str:
        """Return the model that answers to a name; raises :class:`NotFoundError` where none does."""

    def version(self, live: str, model: str) -> str:
        """Return the version that answers, given the live one."""

    def stream(self, asked: Asked, version: str) -> AsyncIterator[Piece]:
        """Yield the reply; closing the iterator cancels it. Raises :class:`~guard.errors.UpstreamError`."""

    async def models(self) -> list[str]:
        """Return the names of the models."""

    async def problem(self, live: str) -> str:
        """Return why it cannot answer now, or an empty text."""

    async def follow(self, live: str, previous: str) -> None:
        """Make ready what is live now."""

    async def close(self) -> None:
        """Let go of connections."""


class EmbeddedUpstream:
    """The bot in this process; ``timeout_s`` is how long it may take for its next words."""

    def __init__(self, bot: str, resident: Resident, *, timeout_s: float = 30.0) -> None:
        self._bot, self._resident, self._timeout_s = bot, resident, timeout_s

    def resolve(self, model: str) -> str:
        """Return the bot's id; it also answers to ``default`` and to no name."""
        if model not in ("", "default", self._bot):
            raise NotFoundError(
                f"there is no such model here; ask for {self._bot!r}", code="model_not_found", param="model"
            )
        return self._bot

    def version(self, live: str, model: str) -> str:  # noqa: ARG002
        """Return the live version."""
        return live

    async def stream(self, asked: Asked, version: str) -> AsyncIterator[Piece]:
        """Yield the reply of the pinned version, choice after choice."""
        answerer = await self._resident.answerer(version)
        for choice in range(asked.n):
            words = answerer.reply(asked.turns, seed=asked.seed, choice=choice)
            async with aclosing(_read_ahead(words, self._timeout_s)) as texts:
                async for text in texts:
                    yield Piece(choice, text)
            yield Piece(choice, finish="stop")

    async def models(self) -> list[str]:
        """Return the bot's id."""
        return [self._bot]

    async def problem(self, live: str) -> str:
        """Return why the live version cannot answer, or an empty text."""
        return self._resident.problem(live)

    async def follow(self, live: str, previous: str) -> None:
        """Load the live version and the one before it."""
        await self._resident.follow(live, previous)

    async def close(self) -> None:
        """Do nothing: a bot has no connections."""


class _Reader:
    """Reads a bot's words in a thread, a bounded number ahead of whoever takes them."""

    def __init__(self, words: Iterator[str]) -> None:
        self._words = words
        self._loop = asyncio.get_running_loop()
        self._room = threading.Semaphore(_AHEAD)
        self._stopped = False
        self.queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.task = asyncio.ensure_future(asyncio.to_thread(self._read))
        self.task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _read(self) -> None:
        try:
            for word in self._words:
                self._room.acquire()
                if self._stopped:
                    return
                self._loop.call_soon_threadsafe(self.queue.put_nowait, word)
        finally:
            if not self._stopped:
                self._loop.call_soon_threadsafe(self.queue.put_nowait, None)
            if isinstance(self._words, Generator):
                self._words.close()

    async def take(self) -> tuple[str, bool]:
        """Return all words that are there, at least one, and whether they are the last."""
        taken = [await self.queue.get()]
        while not self.queue.empty():
            taken.append(self.queue.get_nowait())
        words = [word for word in taken if word is not None]
        self._room.release(max(1, len(words)))
        return "".join(words), len(words) < len(taken)

    def stop(self) -> None:
        """Let the thread end at its next word."""
        self._stopped = True
        self._room.release()


async def _read_ahead(words: Iterator[str], timeout_s: float) -> AsyncGenerator[str]:
    """Yield the words that are ready together as one text: a hop between threads costs more than a word."""
    reader, ended = _Reader(words), False
    try:
        while not ended:
            async with asyncio.timeout(timeout_s):
                text, ended = await reader.take()
            if text:
                yield text
        await reader.task
    except TimeoutError as exc:
        raise UpstreamTimeoutError(f"the bot said nothing for {timeout_s:g} s") from exc
    except (ArithmeticError, LookupError, ValueError) as exc:
        raise UpstreamError("the bot failed to answer; its log knows more") from exc
    finally:
        reader.stop()
