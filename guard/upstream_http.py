"""Any OpenAI-compatible server as the upstream. This is the home of httpx.

Our key, never the client's; no redirects; nothing of its error texts reaches a client, because nobody has scored them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from guard.dialects.types import MODEL_NAME, Finished, Piece
from guard.errors import (
    BadRequestError,
    NotFoundError,
    OverloadedError,
    UpstreamError,
    UpstreamLimitError,
    UpstreamTimeoutError,
)
from guard.upstream import Asked
from learner.types import UPSTREAM

_FINISHED: dict[str, Finished] = {
    "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls", "content_filter": "content_filter",
}  # fmt: skip
_LATER = "; try again later, or have its operator look at its log"
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
        self._limits = limits or HttpLimits()
        self._routes = tuple(routes)
        self._model = self._routes[0] if self._routes else model
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
        async with self._slot(), self._sent("POST", "chat/completions", body) as response:
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
            raise _failed("the upstream's list of models cannot be read")
        names = [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
        return [name for name in names if MODEL_NAME.fullmatch(name)]

    async def problem(self, live: str) -> str:  # noqa: ARG002
        """Return why the server cannot be reached, or an empty text; any answer of its own counts as reached."""
        try:
            async with asyncio.timeout(self._limits.connect_s), self._http.stream("GET", "models") as response:
                return f"the upstream answers HTTP {response.status_code}" if response.status_code >= 500 else ""
        except (httpx.HTTPError, TimeoutError) as exc:
            return f"the upstream cannot be reached ({type(exc).__name__})"

    async def follow(self, live: str, previous: str) -> None:  # noqa: ARG002
        """Note the live route; there is nothing to load."""
        self._model = self._routed(live) or self._model

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        wait_s = self._limits.timeout_s
        try:
            async with asyncio.timeout(wait_s):
                await self._slots.acquire()
        except TimeoutError as exc:
            raise OverloadedError(
                f"the upstream answers others; none of them was done within {wait_s:g} s; try again soon",
                retry_after="1",
            ) from exc
        try:
            yield
        finally:
            self._slots.release()

    @asynccontextmanager
    async def _sent(self, method: str, path: str, body: object = None) -> AsyncIterator[httpx.Response]:
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                request = self._http.build_request(method, path, json=body)
                response = await self._http.send(request, stream=True)
        except TimeoutError as exc:
            raise UpstreamTimeoutError(
                f"the upstream did not answer within {self._limits.timeout_s:g} s{_LATER}"
            ) from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise _failed("the upstream cannot be reached") from exc
        try:
            _check_status(response)
            _check_encoding(response)
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
        raise UpstreamLimitError("the upstream asks for patience; try again after Retry-After", retry_after=after)
    if status == 404:
        text = "the upstream has no such model: ask for another, or mend upstream.url in the settings"
        raise NotFoundError(text, code="model_not_found", param="model")
    if status in (400, 413, 422):
        text = f"the upstream refuses this request (HTTP {status}): leave out what its model does not take"
        raise BadRequestError(text, code="upstream_refused")
    if status in (401, 403):
        raise UpstreamError(f"the upstream refuses our key (HTTP {status}): its operator mends upstream.key_env")
    if 300 <= status < 400:
        raise UpstreamError(f"the upstream answered HTTP {status}: its operator mends upstream.url")
    raise _failed(f"the upstream answered HTTP {status}")


def _failed(what: str) -> UpstreamError:
    return UpstreamError(what + _LATER)


def _check_encoding(response: httpx.Response) -> None:
    """Refuse a compressed answer: what it would unpack to is not bounded."""
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise _failed("the upstream compresses its answer, which it was asked not to")


def _body(asked: Asked, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {**asked.options, "model": model, "messages": [dict(m.raw) for m in asked.messages]}
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
        rest: list[bytes] = []
        async for chunk in self._chunks(self._limits.idle_s):
            more, *lines = chunk.split(b"\n")
            rest.append(more)
            for line in lines:
                yield b"".join(rest).rstrip(b"\r")
                rest = [line]
        yield b"".join(rest).rstrip(b"\r")

    async def _chunks(self, wait_s: float) -> AsyncIterator[bytes]:
        received = 0
        chunks = self._response.aiter_bytes()
        while True:
            try:
                async with asyncio.timeout(wait_s):
                    chunk = await anext(chunks, None)
            except TimeoutError as exc:
                raise UpstreamTimeoutError(f"the upstream was silent for {wait_s:g} s{_LATER}") from exc
            except httpx.HTTPError as exc:
                raise _failed("the upstream broke off its answer") from exc
            if chunk is None:
                return
            received += len(chunk)
            if received > self._limits.max_bytes:
                raise _failed(f"the upstream's answer is over {self._limits.max_bytes} bytes")
            yield chunk


async def _streamed(body: _Capped) -> AsyncIterator[Piece]:
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
        raise _failed("the upstream broke off its answer")


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise _failed("the upstream's answer is not valid JSON") from exc
    if not isinstance(value, dict):
        raise _failed("the upstream's answer is not a chat completion")
    if value.get("error"):
        raise _failed("the upstream answered with an error")
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
    except (AttributeError, TypeError, ValueError, KeyError, OverflowError) as exc:
        raise _failed("the upstream's answer is not a chat completion") from exc


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("a text must be a string")
    return value.encode("utf-8", "replace").decode()


def _tools(calls: list[Any]) -> tuple[dict[str, Any], ...]:
    """Return tool call fragments with just the fields that will be judged; ids are ours to give."""
    found = []
    for position, call in enumerate(calls):
        function = call.get("function") or {}
        named = {name: _text(function.get(name)) for name in ("name", "arguments")}
        found.append({"index": int(call.get("index", position)), "function": named})
    return tuple(found)


def _usage(usage: Mapping[str, Any]) -> dict[str, int]:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: int(usage.get(name) or 0) for name in names}


def _checked(piece: Piece, n: int) -> Piece:
    if not 0 <= piece.choice < n:
        raise _failed("the upstream answered with a choice that was not asked for")
    return piece
