"""Any JSON API by a mapping: a request to a :class:`Chat`, and the events of its answer to JSON of the API's shape.

Only what is mapped leaves, in either direction: a field that nobody mapped could carry text that nobody scored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from guard.auth import Identity
from guard.dialects.openai_chat import Limits
from guard.dialects.pointers import built, look
from guard.dialects.relay_settings import RelaySettings
from guard.dialects.types import Answer, Chat, Closed, Delta, Event, Finish, Message
from guard.errors import BadRequestError


def parse(
    body: Mapping[str, Any], headers: Mapping[str, str], identity: Identity, limits: Limits, relay: RelaySettings
) -> Chat:
    """Return the chat of a parsed body, or raise :class:`BadRequestError` naming the pointer."""
    text = _found(body, relay.text)
    if not isinstance(text, str) or not text.strip():
        raise BadRequestError(f"`{relay.text}` must be a text", param=relay.text)
    options = {pointer: value for pointer in relay.forward if (value := _found(body, pointer)) is not None}
    extra = "\n".join(one for value in options.values() for one in strings_of(value))
    if len(text) + len(extra) > limits.max_text_chars:
        raise BadRequestError(f"a request may have {limits.max_text_chars} characters of text", param=relay.text)
    author = headers.get("x-tayguard-author", "") or _name(body, relay.author)
    return Chat(
        identity=identity,
        model="",
        messages=(Message("user", text, extra, raw={"role": "user", "content": text}),),
        stream=streams(body, relay),
        options=options,
        author=author if identity.asserts_author else "",
        conversation=headers.get("x-tayguard-conversation", "") or _name(body, relay.conversation),
        idempotency_key=headers.get("idempotency-key", ""),
        language=headers.get("accept-language", "en")[:2].lower() or "en",
    )


def streams(body: Mapping[str, Any], relay: RelaySettings) -> bool:
    """Return whether a request is answered by a stream."""
    if not relay.stream or not relay.stream_flag:
        return bool(relay.stream)
    flag = _found(body, relay.stream_flag)
    if flag is not None and not isinstance(flag, bool):
        raise BadRequestError(f"`{relay.stream_flag}` must be true or false", param=relay.stream_flag)
    return bool(flag)


def strings_of(value: object) -> Iterator[str]:
    """Yield every text in a JSON value, names of fields included.

    >>> list(strings_of({"a": ["b", 1]}))
    ['a', 'b']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from strings_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings_of(one)


def _found(body: Mapping[str, Any], pointer: str) -> Any:  # noqa: ANN401 - JSON is anything
    try:
        return look(body, pointer)
    except LookupError:
        return None


def _name(body: Mapping[str, Any], pointer: str) -> str:
    value = _found(body, pointer) if pointer else None
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRequestError(f"`{pointer}` must be a string or a number", param=pointer)
    return str(value)


def render(answer: Answer, relay: RelaySettings) -> Any:  # noqa: ANN401 - JSON is anything
    """Return a whole answer in the API's shape: the reply, and the numbers that are passed on."""
    choice = answer.choices[0]
    counts = {pointer: value for pointer, value in (answer.usage or {}).items() if pointer in relay.passes}
    return built({relay.reply: choice.text or choice.refusal, **counts})


class StreamRenderer:
    """Turn the events of one answer into the API's stream; its last event carries the verdict and the capture."""

    def __init__(self, relay: RelaySettings) -> None:
        self._relay, self._begun = relay, False

    def render(self, event: Event) -> bytes:
        """Return what leaves with an event; empty where nothing does."""
        text = ""
        if isinstance(event, Delta):
            text = event.text + event.refusal
        elif isinstance(event, Finish) and not self._begun:
            text = event.message
        elif isinstance(event, Closed):
            return self.last({"verdict": event.verdict, "coverage": event.coverage, "captured": event.captured})
        if not text:
            return b""
        self._begun = True
        return self._event({self._relay.delta: text, **({self._relay.done: False} if self._relay.done else {})})

    def last(self, outcome: Mapping[str, Any], error: Mapping[str, Any] | None = None) -> bytes:
        """Return the end of a stream that is valid in the API's shape."""
        done = {self._relay.done: True} if self._relay.done else {}
        end = self._framed(self._relay.end.encode()) if self._relay.end else b""
        return self._event({self._relay.delta: "", **done}, {**(error or {}), "tayguard": dict(outcome)}) + end

    def _event(self, values: dict[str, Any], beside: Mapping[str, Any] | None = None) -> bytes:
        body = {**(beside or {}), **built(values)}
        return self._framed(json.dumps(body, separators=(",", ":")).encode())

    def _framed(self, data: bytes) -> bytes:
        return b"data: " + data + b"\n\n" if self._relay.stream == "sse" else data + b"\n"
