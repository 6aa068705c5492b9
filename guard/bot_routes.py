"""The routes of other chatbots' shapes: Rasa's REST channel, and any JSON API by a mapping in the settings."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from guard.chat_routes import Client, gathered, opened, outcome_headers
from guard.dialects import rasa, relay
from guard.dialects.openai_chat import Limits, parse_json
from guard.dialects.relay_settings import RelaySettings
from guard.dialects.types import Event
from guard.errors import BadRequestError, GuardError, NotFoundError, error_object
from guard.proxy import Proxy
from guard.serving import EventStream, until_gone

UNSCORED: dict[str, Any] = {"verdict": "unscored", "coverage": 0.0, "captured": "no"}


@dataclass(frozen=True, slots=True)
class Relayed:
    """One relay: its mapping, and the proxy in front of its upstream."""

    settings: RelaySettings
    proxy: Proxy


class JsonLines(EventStream):
    """A stream of lines of JSON."""

    media_type = "application/x-ndjson"


def rasa_router(proxy: Proxy, limits: Limits) -> APIRouter:
    """Return ``POST /webhooks/rest/webhook``."""
    router = APIRouter(prefix="/webhooks/rest", tags=["rasa"])

    @router.post("/webhook", response_model=None)
    async def webhook(request: Request, identity: Client, stream: str = "") -> Response:
        """Take ``{"sender", "message"}``; answer a list of messages, or with ``?stream=true`` a line of JSON each."""
        if stream.lower() not in ("", "true", "false"):
            raise BadRequestError("`stream` must be true or false", param="stream")
        body = parse_json(await request.body(), limits)
        chat = rasa.parse(body, request.headers, identity, limits, stream=stream.lower() == "true")
        recipient = body.get("sender") or "default"
        events = proxy.handle(chat)
        if not chat.stream:
            answer = await until_gone(request, gathered(events))
            return JSONResponse(rasa.render(answer, recipient), headers=outcome_headers(answer.head, answer.closed))
        head = await until_gone(request, opened(events))
        chunks = _chunks(events, rasa.StreamRenderer(recipient).render, _rasa_failure)
        return EventStream(chunks, outcome_headers(head, None))

    return router


def relay_router(relays: Mapping[str, Relayed], limits: Limits) -> APIRouter:
    """Return ``POST /v1/relay/NAME``."""
    router = APIRouter(prefix="/v1/relay", tags=["relay"])

    @router.post("/{name}", response_model=None)
    async def relayed(name: str, request: Request, identity: Client) -> Response:
        """Take and answer the JSON that ``[relay.NAME]`` of the settings maps."""
        if name not in relays:
            raise NotFoundError("there is no such relay here: the settings name them as [relay.NAME]", param="name")
        settings = relays[name].settings
        chat = relay.parse(parse_json(await request.body(), limits), request.headers, identity, limits, settings)
        events = relays[name].proxy.handle(chat)
        if not chat.stream:
            answer = await until_gone(request, gathered(events))
            return JSONResponse(relay.render(answer, settings), headers=outcome_headers(answer.head, answer.closed))
        head = await until_gone(request, opened(events))
        renderer = relay.StreamRenderer(settings)
        chunks = _chunks(events, renderer.render, lambda exc: renderer.last(UNSCORED, error_object(exc)))
        kind = EventStream if settings.stream == "sse" else JsonLines
        return kind(chunks, outcome_headers(head, None))

    return router


def _rasa_failure(error: GuardError) -> bytes:
    raise error  # Rasa has no line for it: the stream breaks off, and no reader takes it for whole


async def _chunks(
    events: AsyncGenerator[Event], render: Callable[[Event], bytes], failure: Callable[[GuardError], bytes]
) -> AsyncGenerator[bytes]:
    """Yield a stream's bytes; an error in mid-stream ends it as its dialect can say."""
    async with aclosing(events):
        try:
            async for event in events:
                yield render(event)
        except GuardError as exc:
            yield failure(exc)
