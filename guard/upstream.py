"""The chatbot behind us: the protocol, and the embedded bot."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from guard.dialects.types import Message, Piece
from guard.errors import NotFoundError, UpstreamError, UpstreamTimeoutError
from guard.resident import Resident
from learner.types import Answerer, Turn

_LOG = logging.getLogger("tayguard.upstream")
_READERS = 32
"""Replies that the bot may be saying at once; they have threads of their own, so a bot that hangs keeps nobody else."""
_AHEAD = 64
"""Words that a bot may be ahead of its reader."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an upstream is asked: as turns for a bot, as raw messages for a server of the same dialect.

    ``author`` and ``conversation`` are keyed hashes.
    """

    model: str
    turns: tuple[Turn, ...]
    messages: tuple[Message, ...]
    stream: bool = False
    n: int = 1
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    author: str = ""
    conversation: str = ""


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
    """The bot in this process; ``timeout_s`` is how long it may take for its next words.

    With ``count_tokens`` a reply ends with its usage, in the tokens that the guard scores.
    """

    def __init__(
        self,
        bot: str,
        resident: Resident,
        *,
        timeout_s: float = 30.0,
        count_tokens: Callable[[str], int] | None = None,
    ) -> None:
        self._bot, self._resident, self._timeout_s = bot, resident, timeout_s
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="tayguard-bot")
        self._count_tokens = count_tokens

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
        said: list[str] = []
        for choice in range(asked.n):
            async with aclosing(self._read_ahead(answerer, asked, choice)) as texts:
                async for text in texts:
                    said.append(text)
                    yield Piece(choice, text)
            yield Piece(choice, finish="stop")
        if self._count_tokens is not None:
            yield Piece(usage=await asyncio.to_thread(_usage, self._count_tokens, asked.turns, said))

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
        """Let go of the threads; one that a bot keeps ends with its word."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _read_ahead(self, answerer: Answerer, asked: Asked, choice: int) -> AsyncGenerator[str]:
        """Yield the words that are ready together as one text: a hop between threads costs more than a word."""
        reader, ended = (
            _Reader(lambda: answerer.reply(asked.turns, seed=asked.seed, choice=choice), self._threads),
            False,
        )
        try:
            while not ended:
                async with asyncio.timeout(self._timeout_s):
                    text, ended = await reader.take()
                if text:
                    yield text
            await reader.task
        except TimeoutError as exc:
            raise UpstreamTimeoutError(f"the bot said nothing for {self._timeout_s:g} s") from exc
        except Exception as exc:
            _LOG.exception("the bot failed to answer")  # the edge to bots of others, which may raise anything
            raise UpstreamError("the bot failed to answer; its log knows more") from exc
        finally:
            reader.stop()


def _usage(count: Callable[[str], int], turns: Sequence[Turn], said: Sequence[str]) -> dict[str, int]:
    prompt, completion = sum(count(turn.text) for turn in turns), count("".join(said))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


class _Reader:
    """Reads a bot's words in a thread, a bounded number ahead of whoever takes them."""

    def __init__(self, begin: Callable[[], Iterator[str]], threads: Executor) -> None:
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._room = threading.Semaphore(_AHEAD)
        self._stopped = False
        self.queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.task = self._loop.run_in_executor(threads, self._read)
        self.task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _read(self) -> None:
        words: Iterator[str] = iter(())
        try:
            words = self._begin()
            for word in words:
                self._room.acquire()
                if self._stopped:
                    return
                self._loop.call_soon_threadsafe(self.queue.put_nowait, word)
        finally:
            if not self._stopped:
                self._loop.call_soon_threadsafe(self.queue.put_nowait, None)
            if isinstance(words, Generator):
                words.close()

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
