"""``[relay.NAME]``: where text, author, conversation and reply stand in another chatbot's JSON."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from guard.dialects.pointers import built, is_index, tokens_of

_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_RESERVED = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "content-encoding"}


def _checked(pointer: str) -> str:
    if pointer and (not tokens_of(pointer) or is_index(tokens_of(pointer)[0])):
        raise ValueError(f"{pointer!r} must name a field of an object")
    return pointer


Pointer = Annotated[str, AfterValidator(_checked)]


class RelaySettings(BaseModel):
    """A chatbot with a JSON API of its own; every place is a JSON pointer (RFC 6901)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        pattern=r"^https?://[^\s/]+[^\s]*$", description="Full address of the API; a client never chooses it."
    )
    method: Literal["POST", "PUT"] = Field(default="POST", description="Method of the requests to it.")
    key_env: str = Field(default="", description="Name of the environment variable that holds its key.")
    key_header: str = Field(default="Authorization", description="Header that carries the key.")
    key_prefix: str = Field(default="Bearer ", description="What stands before the key in it.")
    headers: dict[str, str] = Field(default={}, description="Headers that every request gets.")
    constants: dict[Pointer, Any] = Field(default={}, description="Values that every request gets, by pointer.")
    text: Pointer = Field(min_length=1, description="Where the text stands in a request.")
    author: Pointer = Field(
        default="", description="Where the author stands in a request; believed of keys that assert authors."
    )
    conversation: Pointer = Field(default="", description="Where the conversation stands in a request.")
    forward: tuple[Pointer, ...] = Field(
        default=(), description="Other fields of a request that are forwarded; text in them is scored with the prompt."
    )
    reply: Pointer = Field(min_length=1, description="Where the reply stands in an answer.")
    passes: tuple[Pointer, ...] = Field(
        default=(), description="Numbers and booleans of an unstreamed answer that are passed on; nothing else is."
    )
    stream: Literal["", "sse", "ndjson"] = Field(
        default="", description="How answers stream: server-sent events, lines of JSON, or not at all."
    )
    stream_flag: Pointer = Field(
        default="", description="Where a request asks for a stream with true; empty: every answer streams."
    )
    delta: Pointer = Field(default="", description="Where the text stands in an event of the stream.")
    done: Pointer = Field(default="", description="Where the last event of the stream says true.")
    end: str = Field(default="", max_length=64, description="What the last event of the stream is, as in `[DONE]`.")

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        for name in ("forward", "passes"):
            for pointer in getattr(self, name):
                if not pointer or any(map(is_index, tokens_of(pointer))):
                    raise ValueError(f"{name}: {pointer!r} must name fields of objects, no position in a list")
        groups = {
            "text, author, conversation, stream_flag, forward and constants": (
                self.text, self.author, self.conversation, self.stream_flag, *self.forward, *self.constants,
            ),
            "reply and passes": (self.reply, *self.passes),
            "delta and done": (self.delta, self.done),
        }  # fmt: skip
        for names, group in groups.items():
            _stand_together(names, [pointer for pointer in group if pointer])
        return self

    @model_validator(mode="after")
    def _streams_whole(self) -> Self:
        if self.stream and not self.delta:
            raise ValueError("stream needs delta: where the text stands in an event")
        if self.stream and not (self.done or self.end):
            raise ValueError("stream needs done or end: how the last event can be told, or a broken stream looks whole")
        if not self.stream and (self.delta or self.done or self.end or self.stream_flag):
            raise ValueError("delta, done, end and stream_flag need stream = sse or ndjson")
        if "\n" in self.end or "\r" in self.end:
            raise ValueError("end must be one line")
        return self

    @model_validator(mode="after")
    def _headers_can_be_sent(self) -> Self:
        for name, value in {**self.headers, self.key_header: self.key_prefix}.items():
            if (
                not _HEADER.fullmatch(name)
                or name.lower() in _RESERVED
                or not (value.isascii() and value.isprintable())
            ):
                raise ValueError(f"header {name!r} cannot be sent: use letters, digits and -, and printable ASCII")
        return self


def _stand_together(names: str, pointers: list[str]) -> None:
    if len(set(pointers)) < len(pointers):
        raise ValueError(f"{names} must be different pointers")
    try:
        built(dict(zip(pointers, pointers, strict=True)))
    except ValueError as exc:
        raise ValueError(f"{names}: {exc}") from exc
