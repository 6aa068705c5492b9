"""Chatbots that speak another JSON than OpenAI's, as the upstream: Rasa's REST channel, and any API by a mapping.

They keep their conversations themselves, so they get the newest texts of one only, under a name that is ours: a keyed
hash, because a client's own could spell what nobody has judged. System messages are not for them.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

from guard.dialects import rasa
from guard.dialects.pointers import built, look
from guard.dialects.relay_settings import RelaySettings
from guard.dialects.types import TRUSTED_ROLES, Message, Piece
from guard.errors import BadRequestError
from guard.upstream import Asked
from guard.upstream_wire import Capped, HttpLimits, Wire, failed, parsed, said
from learner.types import UPSTREAM


def newest(messages: Sequence[Message]) -> str:
    """Return the texts after the last reply, or the last of a person where nothing came after it.

    >>> newest([Message("user", "a"), Message("assistant", "b"), Message("user", "c")])
    'c'
    """
    people = [one for one in messages if one.role not in TRUSTED_ROLES]
    after: list[str] = []
    for one in reversed(people):
        if one.role == "assistant":
            break
        after.insert(0, one.text)
    return "\n".join(after) or next((one.text for one in reversed(people) if one.role == "user"), "")


class _OneModel:
    """What every server without models has in common."""

    def __init__(self, name: str, wire: Wire, health: str) -> None:
        self._name, self._wire, self._health = name, wire, health

    def resolve(self, model: str) -> str:  # noqa: ARG002
        """Return the one name that all answers come under."""
        return self._name

    def version(self, live: str, model: str) -> str:  # noqa: ARG002
        """Return ``upstream:<name>``."""
        return UPSTREAM + self._name

    async def models(self) -> list[str]:
        """Return that name."""
        return [self._name]

    async def problem(self, live: str) -> str:  # noqa: ARG002
        """Return why the server cannot be reached, or an empty text."""
        return await self._wire.problem(self._health)

    async def follow(self, live: str, previous: str) -> None:
        """There is nothing to load."""

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.close()


def _check_one(asked: Asked) -> None:
    if asked.n > 1:
        raise BadRequestError("this upstream gives one answer to a message: leave out `n`", param="n")


class RasaUpstream(_OneModel):
    """A Rasa server at ``url`` with its REST channel on."""

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        limits: HttpLimits | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        super().__init__("rasa", Wire(url, headers=headers, limits=limits), "webhooks/rest/")

    async def stream(self, asked: Asked, version: str) -> AsyncIterator[Piece]:  # noqa: ARG002
        """Yield the bot's messages; none is an empty reply."""
        _check_one(asked)
        body = {"sender": asked.conversation, "message": newest(asked.messages)}
        path = "webhooks/rest/webhook" + ("?stream=true" if asked.stream else "")
        async with self._wire.slot(), self._wire.sent("POST", path, body) as answer:
            position = 0
            async for row in _rows(answer, stream=asked.stream):
                for piece in _rasa_pieces(row, position):
                    yield piece
                position += 1
        yield Piece(finish="stop")


async def _rows(answer: Capped, *, stream: bool) -> AsyncIterator[object]:
    if stream:
        async for line in answer.lines():
            if line.strip():
                yield parsed(line)
        return
    rows = parsed(await answer.whole())
    if not isinstance(rows, list):
        raise failed("the upstream's answer is not a list of messages")
    for row in rows:
        yield row


def _rasa_pieces(row: object, position: int) -> list[Piece]:
    try:
        return rasa.pieces_of(row, position)
    except (TypeError, ValueError, RecursionError) as exc:
        raise failed("the upstream's answer is not a list of messages") from exc


class RelayUpstream(_OneModel):
    """A JSON API by its mapping."""

    def __init__(
        self,
        name: str,
        relay: RelaySettings,
        *,
        key: str = "",
        limits: HttpLimits | None = None,
    ) -> None:
        headers = {**relay.headers, **({relay.key_header: relay.key_prefix + key} if key else {})}
        wire = Wire(relay.url, headers=headers, limits=limits)
        super().__init__(name, wire, relay.url)
        self._relay = relay

    async def stream(self, asked: Asked, version: str) -> AsyncIterator[Piece]:  # noqa: ARG002
        """Yield the reply, and what else is mapped as usage by its pointer."""
        _check_one(asked)
        relay = self._relay
        streamed = bool(relay.stream) and (asked.stream or not relay.stream_flag)
        body = _request(asked, relay, streamed=streamed)
        async with self._wire.slot(), self._wire.sent(relay.method, relay.url, body) as answer:
            if streamed:
                async for text in _texts(answer, relay):
                    yield Piece(text=text)
            else:
                for piece in _whole(parsed(await answer.whole()), relay):
                    yield piece
        yield Piece(finish="stop")


def _request(asked: Asked, relay: RelaySettings, *, streamed: bool) -> Any:  # noqa: ANN401 - JSON is anything
    values = {**relay.constants, relay.text: newest(asked.messages)}
    values |= {pointer: asked.options[pointer] for pointer in relay.forward if pointer in asked.options}
    values |= {pointer: name for pointer, name in _names(asked, relay) if pointer}
    if relay.stream_flag:
        values[relay.stream_flag] = streamed
    return built(values)


def _names(asked: Asked, relay: RelaySettings) -> list[tuple[str, str]]:
    return [(relay.author, asked.author), (relay.conversation, asked.conversation)]


def _whole(body: object, relay: RelaySettings) -> list[Piece]:
    try:
        text = said(look(body, relay.reply))
    except (LookupError, TypeError) as exc:
        raise failed(f"the upstream's answer has no text at {relay.reply}") from exc
    counts = {pointer: value for pointer in relay.passes if (value := _number(body, pointer)) is not None}
    return [Piece(text=text), *([Piece(usage=counts)] if counts else [])]


def _number(body: object, pointer: str) -> float | bool | None:
    """Return a finite number or a boolean; anything else could be text that nobody scored, or is no JSON."""
    try:
        value = look(body, pointer)
    except LookupError:
        return None
    return value if isinstance(value, bool | int | float) and math.isfinite(value) else None


async def _texts(answer: Capped, relay: RelaySettings) -> AsyncIterator[str]:
    """Yield the texts of a stream's events up to the one that ends it; without that one it was broken off."""
    async for data in _events(answer, relay):
        if relay.end and data == relay.end.encode():
            return
        event = parsed(data)
        try:
            text = said(look(event, relay.delta))
        except LookupError:
            text = ""
        except TypeError as exc:
            raise failed(f"an event of the upstream has no text at {relay.delta}") from exc
        if text:
            yield text
        if relay.done and _number(event, relay.done) is True:
            return
    raise failed("the upstream broke off its answer")


async def _events(answer: Capped, relay: RelaySettings) -> AsyncIterator[bytes]:
    data: list[bytes] = []
    async for line in answer.lines():
        if relay.stream == "ndjson":
            if line.strip():
                yield line.strip()
        elif line.startswith(b"data:"):
            data.append(line[5:].strip())
        elif not line and data:
            yield b"\n".join(data)
            data = []
    if data:
        yield b"\n".join(data)
