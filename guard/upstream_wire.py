"""The wire to a chatbot's server: sizes, silences and errors. This is the home of httpx.

Our key, never the client's; no redirects; nothing of its error texts reaches a client, because nobody has scored them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from guard.errors import (
    BadRequestError,
    NotFoundError,
    OverloadedError,
    UpstreamError,
    UpstreamLimitError,
    UpstreamTimeoutError,
)

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


class Wire:
    """Requests to one server, a bounded number at once. A path may be a whole address."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        limits: HttpLimits | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.limits = limits or HttpLimits()
        self._slots = asyncio.Semaphore(self.limits.max_concurrent)
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            headers={**(headers or {}), "Accept-Encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=self.limits.connect_s),
            limits=httpx.Limits(max_connections=None),
            transport=transport,
        )

    async def problem(self, path: str) -> str:
        """Return why the server cannot be reached, or an empty text; any answer of its own counts as reached."""
        try:
            async with asyncio.timeout(self.limits.connect_s), self._http.stream("GET", path) as response:
                return f"the upstream answers HTTP {response.status_code}" if response.status_code >= 500 else ""
        except (httpx.HTTPError, TimeoutError) as exc:
            return f"the upstream cannot be reached ({type(exc).__name__})"

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the places at the upstream."""
        wait_s = self.limits.timeout_s
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
    async def sent(self, method: str, path: str, body: object = None) -> AsyncIterator[Capped]:
        """Give the body of an answer that is a success."""
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                request = self._http.build_request(method, path, json=body)
                response = await self._http.send(request, stream=True)
        except TimeoutError as exc:
            raise UpstreamTimeoutError(
                f"the upstream did not answer within {self.limits.timeout_s:g} s{_LATER}"
            ) from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise failed("the upstream cannot be reached") from exc
        try:
            _check_status(response)
            _check_encoding(response)
            yield Capped(response, self.limits)
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
    raise failed(f"the upstream answered HTTP {status}")


def failed(what: str) -> UpstreamError:
    """Return the error of an upstream that did not answer as it should."""
    return UpstreamError(what + _LATER)


def _check_encoding(response: httpx.Response) -> None:
    """Refuse a compressed answer: what it would unpack to is not bounded."""
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise failed("the upstream compresses its answer, which it was asked not to")


class Capped:
    """A response's body, in lines or whole, with a limit on its size and on every silence."""

    def __init__(self, response: httpx.Response, limits: HttpLimits) -> None:
        self._response, self._limits = response, limits

    async def whole(self) -> bytes:
        """Return all of it."""
        return b"".join([chunk async for chunk in self._chunks(self._limits.timeout_s)])

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield its lines, as they come."""
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
                raise failed("the upstream broke off its answer") from exc
            if chunk is None:
                return
            received += len(chunk)
            if received > self._limits.max_bytes:
                raise failed(f"the upstream's answer is over {self._limits.max_bytes} bytes")
            yield chunk


def parsed(data: bytes) -> Any:  # noqa: ANN401 - JSON is anything
    """Return an answer's JSON; raises :class:`UpstreamError`."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise failed("the upstream's answer is not valid JSON") from exc


def said(value: object) -> str:
    """Return a text that the upstream sent, none for null; half a character becomes ``?``."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("a text must be a string")
    return value.encode("utf-8", "replace").decode()
