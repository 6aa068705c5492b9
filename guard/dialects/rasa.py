"""Rasa's REST channel: ``{"sender", "message"}`` to a :class:`Chat`, and an answer to a list of messages.

A blank line parts two messages of a reply, as Rasa's own channel splits a text. Buttons and other parts travel as tool
calls do: held until the reply is complete, and judged with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from guard.auth import Identity
from guard.dialects.openai_chat import Limits
from guard.dialects.types import Answer, Chat, Delta, Event, Finish, Message, Piece
from guard.errors import BadRequestError

BETWEEN = "\n\n"
_CHOICES = ("buttons", "quick_replies")
_OTHERS = ("image", "attachment", "custom", "elements")


def parse(
    body: Mapping[str, Any], headers: Mapping[str, str], identity: Identity, limits: Limits, *, stream: bool
) -> Chat:
    """Return the chat of a parsed body. ``sender`` names the conversation and, of keys that assert it, the author.

    ``metadata`` and ``input_channel`` stay here: they could carry text that nobody scores.
    """
    text, sender = body.get("message"), body.get("sender")
    if not isinstance(text, str) or not text.strip():
        raise BadRequestError("`message` must be a text", param="message")
    if len(text) > limits.max_text_chars:
        raise BadRequestError(f"`message` may have {limits.max_text_chars} characters", param="message")
    if sender is not None and not isinstance(sender, str):
        raise BadRequestError("`sender` must be a string", param="sender")
    return Chat(
        identity=identity,
        model="",
        messages=(Message("user", text, raw={"role": "user", "content": text}),),
        stream=stream,
        author=(headers.get("x-tayguard-author", "") or sender or "") if identity.asserts_author else "",
        conversation=headers.get("x-tayguard-conversation", "") or sender or "",
        idempotency_key=headers.get("idempotency-key", ""),
        language=headers.get("accept-language", "en")[:2].lower() or "en",
    )


def render(answer: Answer, recipient: str) -> list[dict[str, Any]]:
    """Return a whole answer as messages of the bot."""
    choice = answer.choices[0]
    texts = [text for text in f"{choice.text}{BETWEEN}{choice.refusal}".split(BETWEEN) if text.strip()]
    return _messages(recipient, texts, choice.tools)


class StreamRenderer:
    """Turn the events of one answer into lines of JSON: a message each, as Rasa streams."""

    def __init__(self, recipient: str) -> None:
        self._recipient, self._rest, self._begun = recipient, "", False

    def render(self, event: Event) -> bytes:
        """Return the messages that are complete with an event."""
        texts: list[str] = []
        tools: Sequence[Mapping[str, Any]] = ()
        if isinstance(event, Delta):
            *texts, self._rest = (self._rest + event.text).split(BETWEEN)
            texts, tools = [*texts, event.refusal], event.tools
            if tools or event.refusal:  # what is held comes last: the text before it is complete
                texts, self._rest = [*texts[:-1], self._rest, event.refusal], ""
        elif isinstance(event, Finish):
            # What was judged before the first bad unit leaves; the policy's message is one of its own after it.
            texts, self._rest = [self._rest, event.message], ""
        rows = _messages(self._recipient, [text for text in texts if text.strip()], tools)
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _messages(recipient: str, texts: Sequence[str], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    to = {"recipient_id": recipient}
    return [*({**to, "text": text.strip("\n")} for text in texts), *({**to, **_part(call)} for call in tools)]


def _part(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    if function["name"] in (*_CHOICES, *_OTHERS):
        return {function["name"]: json.loads(function["arguments"])}
    return {"custom": {"tool_call": {"name": function["name"], "arguments": function["arguments"]}}}


def pieces_of(row: object, position: int) -> list[Piece]:
    """Return what the bot's message at a position says; raises :class:`TypeError` where it is none."""
    if not isinstance(row, dict):
        raise TypeError("a message must be an object")
    pieces = []
    text = row.get("text")
    if text is not None:
        if not isinstance(text, str):
            raise TypeError("a text must be a string")
        pieces.append(Piece(text=(BETWEEN if position else "") + text.encode("utf-8", "replace").decode()))
    for at, name in enumerate((*_CHOICES, *_OTHERS)):
        if not row.get(name):
            continue
        part = [_choice(one) for one in row[name]] if name in _CHOICES else row[name]
        told = json.dumps(part, ensure_ascii=False).encode("utf-8", "replace").decode()
        fragment = {"index": position * 10 + at, "function": {"name": name, "arguments": told}}
        pieces.append(Piece(tools=(fragment,), unread=0 if name in _CHOICES else 1))
    return pieces


def _choice(one: object) -> dict[str, str]:
    if not isinstance(one, dict):
        raise TypeError("a button must be an object")
    found = {name: one.get(name) or "" for name in ("title", "payload")}
    if not all(isinstance(value, str) for value in found.values()):
        raise TypeError("a button's title and payload must be strings")
    return found
