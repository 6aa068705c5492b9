"""Any OpenAI-compatible server as the upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import httpx

from guard.dialects.types import MODEL_NAME, Finished, Piece
from guard.errors import BadRequestError
from guard.upstream import Asked
from guard.upstream_wire import Capped, HttpLimits, Wire, failed, parsed, said
from learner.types import UPSTREAM

__all__ = ["HttpLimits", "HttpUpstream"]

_FINISHED: dict[str, Finished] = {
    "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls", "content_filter": "content_filter",
}  # fmt: skip


class HttpUpstream:
    """A server at ``url`` that speaks OpenAI chat completions. A set ``model`` is asked for whatever a client names.

    With ``routes``, models by name, the live pointer says which model is asked, the first where it names none of them.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        model: str = "",
        routes: Sequence[str] = (),
        limits: HttpLimits | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._routes = tuple(routes)
        self._model = self._routes[0] if self._routes else model
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._wire = Wire(url, headers=headers, limits=limits, transport=transport)

    def resolve(self, model: str) -> str:
        """Return the configured model, else the one that the client names."""
        if not (self._model or model):
            raise BadRequestError("name a `model`", param="model")
        return self._model or model

    def version(self, live: str, model: str) -> str:
        """Return ``upstream:<model>``: of the live route, else of the model that was asked for."""
        return UPSTREAM + (self._routed(live) or model)

    def _routed(self, live: str) -> str:
        """Return the live route's model, empty without routes."""
        model = live.removeprefix(UPSTREAM)
        return model if model in self._routes else self._routes[0] if self._routes else ""

    async def stream(self, asked: Asked, version: str) -> AsyncIterator[Piece]:
        """Yield the reply of the model that the version names."""
        body = _body(asked, version.removeprefix(UPSTREAM))
        async with self._wire.slot(), self._wire.sent("POST", "chat/completions", body) as lines:
            if asked.stream:
                async for piece in _streamed(lines):
                    yield _checked(piece, asked.n)
                return
            whole = _object(await lines.whole())
            for piece in _pieces(whole, "message"):
                yield _checked(piece, asked.n)

    async def models(self) -> list[str]:
        """Return the configured model, else the names that the server lists."""
        if self._model:
            return [self._model]
        async with self._wire.sent("GET", "models") as lines:
            rows = _object(await lines.whole()).get("data")
        if not isinstance(rows, list):
            raise failed("the upstream's list of models cannot be read")
        names = [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
        return [name for name in names if MODEL_NAME.fullmatch(name)]

    async def problem(self, live: str) -> str:  # noqa: ARG002
        """Return why the server cannot be reached, or an empty text; any answer of its own counts as reached."""
        return await self._wire.problem("models")

    async def follow(self, live: str, previous: str) -> None:  # noqa: ARG002
        """Note the live route; there is nothing to load."""
        self._model = self._routed(live) or self._model

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.close()


def _body(asked: Asked, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {**asked.options, "model": model, "messages": [dict(m.raw) for m in asked.messages]}
    if asked.n > 1:
        body["n"] = asked.n
    if asked.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


async def _streamed(body: Capped) -> AsyncIterator[Piece]:
    """Yield the pieces of server-sent events, until ``[DONE]`` or the end: then every choice must have finished."""
    open_choices: set[int] = set()
    begun = False
    async for line in body.lines():
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            break
        for piece in _pieces(_object(data), "delta"):
            if piece.usage is None:
                begun = True
                (open_choices.discard if piece.finish else open_choices.add)(piece.choice)
            yield piece
    if open_choices or not begun:
        raise failed("the upstream broke off its answer")


def _object(data: bytes) -> dict[str, Any]:
    value = parsed(data)
    if not isinstance(value, dict):
        raise failed("the upstream's answer is not a chat completion")
    if value.get("error"):
        raise failed("the upstream answered with an error")
    return value


def _pieces(body: Mapping[str, Any], field: str) -> Iterator[Piece]:
    """Yield the pieces of a completion (``message``) or a chunk (``delta``)."""
    try:
        for row in body.get("choices") or []:
            told = row.get(field) or {}
            finish = row.get("finish_reason") or (None if field == "delta" else "stop")
            yield Piece(
                choice=int(row.get("index") or 0),
                text=said(told.get("content")),
                refusal=said(told.get("refusal")),
                tools=_tools(told.get("tool_calls") or []),
                finish=_FINISHED.get(finish, "stop") if finish else None,
            )
        if body.get("usage"):
            yield Piece(usage=_usage(body["usage"]))
    except (AttributeError, TypeError, ValueError, KeyError, OverflowError) as exc:
        raise failed("the upstream's answer is not a chat completion") from exc


def _tools(calls: list[Any]) -> tuple[dict[str, Any], ...]:
    """Return tool call fragments with just the fields that will be judged; ids are ours to give."""
    found = []
    for position, call in enumerate(calls):
        function = call.get("function") or {}
        named = {name: said(function.get(name)) for name in ("name", "arguments")}
        found.append({"index": int(call.get("index", position)), "function": named})
    return tuple(found)


def _usage(usage: Mapping[str, Any]) -> dict[str, int]:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: int(usage.get(name) or 0) for name in names}


def _checked(piece: Piece, n: int) -> Piece:
    if not 0 <= piece.choice < n:
        raise failed("the upstream answered with a choice that was not asked for")
    return piece
