"""The routes of OpenAI's shape, and feedback."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from guard.access import requires
from guard.auth import Identity
from guard.dialects import openai_answer, openai_chat
from guard.dialects.types import Answer, Chat, Closed, Event, Head, Opened
from guard.errors import BadRequestError, GuardError, error_object
from guard.proxy import Proxy
from guard.serving import EventStream, until_gone
from guard.upstream import Upstream
from learner.buffer_calls import feedback
from learner.outcomes import BufferSettings
from learner.store import AsyncStore, Keys

Client = Annotated[Identity, Depends(requires("client"))]


def chat_router(proxy: Proxy, upstream: Upstream, limits: openai_chat.Limits) -> APIRouter:
    """Return ``POST /v1/chat/completions`` and ``GET /v1/models``."""
    router = APIRouter(prefix="/v1", tags=["chat"])

    @router.post("/chat/completions", response_model=None)
    async def chat_completions(request: Request, identity: Client) -> Response:
        body = openai_chat.parse_json(await request.body(), limits)
        chat = openai_chat.parse(body, request.headers, identity, limits)
        events = proxy.handle(chat)
        if not chat.stream:
            answer = await until_gone(request, gathered(events))
            return JSONResponse(openai_answer.render(answer), headers=outcome_headers(answer.head, answer.closed))
        head = await until_gone(request, opened(events))
        return EventStream(_chunks(events, head, chat), outcome_headers(head, None))

    @router.get("/models")
    async def models(identity: Client) -> dict[str, Any]:  # noqa: ARG001 - it checks the key
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": "tayguard"} for name in await upstream.models()
        ]
        return {"object": "list", "data": rows}

    return router


async def gathered(events: AsyncGenerator[Event]) -> Answer:
    """Return the whole answer of its events."""
    answer = Answer(await opened(events))
    async with aclosing(events):
        async for event in events:
            answer.add(event)
    return answer


async def opened(events: AsyncGenerator[Event]) -> Head:
    """Return the head that an answer begins with."""
    first = await anext(events)
    if not isinstance(first, Opened):
        raise GuardError("an answer must begin with its head")
    return first.head


async def _chunks(events: AsyncGenerator[Event], head: Head, chat: Chat) -> AsyncGenerator[bytes]:
    """Yield a stream's bytes; an error in mid-stream is its last data chunk, as OpenAI sends it."""
    renderer = openai_answer.StreamRenderer(head, include_usage=chat.include_usage)
    async with aclosing(events):
        try:
            async for event in events:
                yield renderer.render(event)
        except GuardError as exc:
            outcome = {"verdict": "unscored", "coverage": 0.0, "captured": "no"}
            yield openai_answer.sse({**error_object(exc), "tayguard": outcome}) + b"data: [DONE]\n\n"


def outcome_headers(head: Head, closed: Closed | None) -> dict[str, str]:
    """Return the answer's headers; of a stream they speak of the prompt, and nothing is captured yet."""
    return {
        "X-Tayguard-Request-Id": head.request_id,
        "X-Tayguard-Verdict": closed.verdict if closed else head.verdict,
        "X-Tayguard-Version": head.version,
        "X-Tayguard-Coverage": f"{closed.coverage if closed else head.coverage:.4g}",
        "X-Tayguard-Captured": closed.captured if closed else "unknown",
    }


def feedback_router(
    store: AsyncStore,
    keys: Keys,
    hashed: Callable[[str, str], str],
    clock: Callable[[], int],
    settings: BufferSettings,
    limits: openai_chat.Limits,
) -> APIRouter:
    """Return ``POST /v1/feedback``: untrusted, one rating per author and exchange, capped."""
    router = APIRouter(prefix="/v1", tags=["feedback"])

    @router.post("/feedback")
    async def give_feedback(request: Request, identity: Client) -> dict[str, str]:
        body = openai_chat.parse_json(await request.body(), limits)
        request_id, comment = body.get("request_id"), body.get("comment") or ""
        if not isinstance(request_id, str) or not request_id:
            raise BadRequestError("`request_id` must name an exchange (X-Tayguard-Request-Id)", param="request_id")
        if not isinstance(comment, str):
            raise BadRequestError("`comment` must be a string", param="comment")
        asserted = request.headers.get("x-tayguard-author", "") if identity.asserts_author else ""
        author = hashed(asserted, "author") if asserted else hashed(identity.key_id, "key")
        rating = _rating(body.get("rating"))
        result = await store.run(feedback(keys, request_id, author, rating, comment[:2000], clock(), settings))
        return {"request_id": request_id, "result": result}

    return router


def _rating(value: object) -> Literal["up", "down"]:
    """Return a rating as ``up`` or ``down``; 1 and -1, true and false, good and bad say the same."""
    words: dict[Any, Literal["up", "down"]] = {
        "up": "up",
        "good": "up",
        1: "up",
        "down": "down",
        "bad": "down",
        -1: "down",
        0: "down",
    }
    found = words.get(value) if isinstance(value, str | int) else None
    if found is None:
        raise BadRequestError("`rating` must be `up` or `down`", param="rating")
    return found
