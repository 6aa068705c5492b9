"""Answers in OpenAI's shape: a chat completion, or server-sent events. ``logprobs`` are always null."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from guard.dialects.types import Answer, Choice, Closed, Delta, Event, Finish, Head, Usage


def render(answer: Answer) -> dict[str, Any]:
    """Return a whole answer as a chat completion."""
    choices = [
        {"index": index, "message": _rendered_message(choice), "logprobs": None, "finish_reason": choice.finish}
        for index, choice in sorted(answer.choices.items())
    ]
    body = {**_envelope(answer.head, "chat.completion"), "choices": choices}
    body["usage"] = answer.usage or {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return body


def _rendered_message(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": choice.refusal or None}
    if choice.tools:
        message["content"] = choice.text or None
        message["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in choice.tools]
    return message


def _envelope(head: Head, kind: str) -> dict[str, Any]:
    identity = {"id": f"chatcmpl-{head.request_id}", "object": kind, "created": head.created_s}
    return {**identity, "model": head.model, "system_fingerprint": None}


class StreamRenderer:
    """Turn the events of one answer into server-sent events; the last data chunk carries the verdict and the capture.

    A chunk without choices breaks clients that did not ask for one, so the chunk that ends the last choice waits for
    the capture and carries its outcome; with ``include_usage`` the chunk with the usage does.
    """

    def __init__(self, head: Head, *, include_usage: bool) -> None:
        self._head, self._include_usage = head, include_usage
        self._begun: set[int] = set()
        self._usage: Mapping[str, Any] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        self._waiting: dict[str, Any] | None = None

    def render(self, event: Event) -> bytes:
        """Return what leaves with an event; empty where nothing does."""
        if isinstance(event, Usage):
            self._usage = event.counts
        if isinstance(event, Delta):
            return self._flush() + sse(self._chunk(event.choice, _rendered_delta(event)))
        if isinstance(event, Finish):
            # A stream that has let text out already ends there: the policy's message would read as part of the reply.
            first = {"content": event.message} if event.message and event.choice not in self._begun else {}
            before = self._flush() + (sse(self._chunk(event.choice, first)) if first else b"")
            self._waiting = self._chunk(event.choice, {}, event.reason)
            return before
        if isinstance(event, Closed):
            return self._closing(event)
        return b""

    def _closing(self, closed: Closed) -> bytes:
        last = self._waiting
        before = b""
        if self._include_usage or last is None:
            before = self._flush()
            last = {**_envelope(self._head, "chat.completion.chunk"), "choices": [], "usage": self._usage}
        last["tayguard"] = {"verdict": closed.verdict, "coverage": closed.coverage, "captured": closed.captured}
        return before + sse(last) + b"data: [DONE]\n\n"

    def _flush(self) -> bytes:
        waiting, self._waiting = self._waiting, None
        return sse(waiting) if waiting else b""

    def _chunk(self, index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        if index not in self._begun:
            self._begun.add(index)
            delta = {"role": "assistant", "content": "", **delta}
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        body: dict[str, Any] = {**_envelope(self._head, "chat.completion.chunk"), "choices": [choice]}
        if self._include_usage:
            body["usage"] = None
        return body


def _rendered_delta(event: Delta) -> dict[str, Any]:
    fields = {"content": event.text, "refusal": event.refusal, "tool_calls": list(event.tools)}
    return {name: value for name, value in fields.items() if value}


def sse(body: Mapping[str, Any]) -> bytes:
    """Return one server-sent event.

    >>> sse({"a": 1}).endswith(bytes([10, 10]))
    True
    """
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
