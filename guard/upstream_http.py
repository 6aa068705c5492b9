"""Any OpenAI-compatible server as the upstream. This is the home of httpx.

Our key, never the client's; no redirects; nothing of its error texts reaches a client, because nobody has scored them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from guard.dialects.types import Finished, Piece
from guard.errors import BadRequestError, NotFoundError, UpstreamError, UpstreamLimitError, UpstreamTimeoutError
from guard.upstream import Asked

_FINISHED: dict[str, Finished] = {
    "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls", "content_filter": "content_filter",
}  # fmt: skip
_RETRY_AFTER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """``timeout_s``: until the reply begins; ``idle_s``: between its pieces."""

    timeout_s: float = 60.0
    idle_s: float = 20.0
    connect_s: float = 5.0
    max_concurrent: int = 32
    max_bytes: int = 8_000_000


class HttpUpstream:
    """A server at ``url`` that speaks OpenAI chat completions. A set ``model`` is asked for whatever a client names."""

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        model: str = "",
        limits: HttpLimits | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._limits = limits or HttpLimits()
        self._model = model
        self._slots = asyncio.Semaphore(self._limits.max_concurrent)
        headers = {"Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            headers=headers,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=self._limits.connect_s),
            limits=httpx.Limits(max_connections=None),
            transport=transport,
        )

    def resolve(self, model: str) -> str:
        """Return the configured model, else the one that the client names."""
        if not (self._model or model):
            raise BadRequestError("name a `model`", param="model")
        return self._model or model

    def version(self, live: str, model: str) -> str:  # noqa: ARG002
        """Return ``upstream:<model>``: a server behind a URL has no versions of ours."""
        return f"upstream:{model}"

    async def stream(self, asked: Asked, version: str) -> AsyncIterator[Piece]:  # noqa: ARG002
        """Yield the reply of the server."""
        async with self._slots, self._sent("POST", "chat/completions", _body(asked)) as response:
            lines = _Capped(response, self._limits)
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
        async with self._sent("GET", "models") as response:
            rows = _object(await _Capped(response, self._limits).whole()).get("data")
        if not isinstance(rows, list):
            raise UpstreamError("the upstream's list of models cannot be read")
        return [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]

    async def problem(self, live: str) -> str:  # noqa: ARG002
        """Return why the server cannot be reached, or an empty text; any answer of its own counts as reached."""
        try:
            async with asyncio.timeout(self._limits.connect_s), self._http.stream("GET", "models") as response:
                return f"the upstream answers HTTP {response.status_code}" if response.status_code >= 500 else ""
        except (httpx.HTTPError, TimeoutError) as exc:
            return f"the upstream cannot be reached ({type(exc).__name__})"

    async def follow(self, live: str, previous: str) -> None:
        """Do nothing: there is nothing to load."""

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    @asynccontextmanager
    async def _sent(self, method: str, path: str, body: object = None) -> AsyncIterator[httpx.Response]:
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                request = self._http.build_request(method, path, json=body)
                response = await self._http.send(request, stream=True)
        except TimeoutError as exc:
            raise UpstreamTimeoutError(f"the upstream did not answer within {self._limits.timeout_s:g} s") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise UpstreamError("the upstream cannot be reached; its operator knows more") from exc
        try:
            _check_status(response)
            yield response
        finally:
            await response.aclose()


def _check_status(response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    if status == 429:
        after = response.headers.get("retry-after", "")
        after = after if _RETRY_AFTER.fullmatch(after) else "1"
        raise UpstreamLimitError("the upstream asks for patience", retry_after=after)
    if status == 404:
        raise NotFoundError("the upstream has no such model", code="model_not_found", param="model")
    if status in (400, 413, 422):
        raise BadRequestError(f"the upstream refuses this request (HTTP {status})", code="upstream_refused")
    raise UpstreamError(f"the upstream answered HTTP {status}")


def _body(asked: Asked) -> dict[str, Any]:
    body: dict[str, Any] = {**asked.options, "model": asked.model, "messages": [dict(m.raw) for m in asked.messages]}
    if asked.n > 1:
        body["n"] = asked.n
    if asked.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


class _Capped:
    """A response's body, in lines or whole, with a limit on its size and on every silence."""

    def __init__(self, response: httpx.Response, limits: HttpLimits) -> None:
        self._response, self._limits = response, limits

    async def whole(self) -> bytes:
        return b"".join([chunk async for chunk in self._chunks(self._limits.timeout_s)])

    async def lines(self) -> AsyncIterator[bytes]:
        rest = b""
        async for chunk in self._chunks(self._limits.idle_s):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.rstrip(b"\r")
        if rest:
            yield rest.rstrip(b"\r")

    async def _chunks(self, wait_s: float) -> AsyncIterator[bytes]:
        received = 0
        chunks = self._response.aiter_bytes()
        while True:
            try:
                async with asyncio.timeout(wait_s):
                    chunk = await anext(chunks, None)
            except TimeoutError as exc:
                raise UpstreamTimeoutError(f"the upstream was silent for {wait_s:g} s") from exc
            except httpx.HTTPError as exc:
                raise UpstreamError("the upstream broke off its answer") from exc
            if chunk is None:
                return
            received += len(chunk)
            if received > self._limits.max_bytes:
                raise UpstreamError(f"the upstream's answer is over {self._limits.max_bytes} bytes")
            yield chunk


async def _streamed(body: _Capped) -> AsyncIterator[Piece]:
    """Yield the pieces of server-sent events; every choice that began is ended."""
    open_choices: set[int] = set()
    async for line in body.lines():
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            for choice in sorted(open_choices):
                yield Piece(choice, finish="stop")
            return
        for piece in _pieces(_object(data), "delta"):
            (open_choices.discard if piece.finish else open_choices.add)(piece.choice)
            yield piece
    raise UpstreamError("the upstream broke off its answer")


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise UpstreamError("the upstream's answer is not valid JSON") from exc
    if not isinstance(value, dict) or value.get("error"):
        raise UpstreamError("the upstream answered with an error")
    return value


def _pieces(body: Mapping[str, Any], field: str) -> Iterator[Piece]:
    """Yield the pieces of a completion (``message``) or a chunk (``delta``)."""
    try:
        for row in body.get("choices") or []:
            said = row.get(field) or {}
            finish = row.get("finish_reason") or (None if field == "delta" else "stop")
            yield Piece(
                choice=int(row.get("index") or 0),
                text=_text(said.get("content")),
                refusal=_text(said.get("refusal")),
                tools=_tools(said.get("tool_calls") or []),
                finish=_FINISHED.get(finish, "stop") if finish else None,
            )
        if body.get("usage"):
            yield Piece(usage=_usage(body["usage"]))
    except (AttributeError, TypeError, ValueError, KeyError) as exc:
        raise UpstreamError("the upstream's answer is not a chat completion") from exc


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("a text must be a string")
    return value.encode("utf-8", "replace").decode()


def _tools(calls: list[Any]) -> tuple[dict[str, Any], ...]:
    """Return tool call fragments with just the fields that will be judged."""
    found = []
    for position, call in enumerate(calls):
        function = call.get("function") or {}
        named = {name: _text(function.get(name)) for name in ("name", "arguments")}
        found.append({"index": int(call.get("index", position)), "id": _text(call.get("id")), "function": named})
    return tuple(found)


def _usage(usage: Mapping[str, Any]) -> dict[str, int]:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: int(usage.get(name) or 0) for name in names}


def _checked(piece: Piece, n: int) -> Piece:
    if not 0 <= piece.choice < n:
        raise UpstreamError("the upstream answered with a choice that was not asked for")
    return piece
