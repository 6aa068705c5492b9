"""The routes that score for integrators: OpenAI moderations, Perspective's ``comments:analyze``, and our own checks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from guard.access import requires
from guard.auth import Identity, KeyRing
from guard.checking import Checks
from guard.dialects import checks as own
from guard.dialects import openai_moderations, perspective
from guard.dialects.google_errors import PREFIX
from guard.dialects.openai_chat import Limits, parse_json
from guard.serving import until_gone


async def _with_key(request: Request) -> Identity:
    """Return who asks, by the header, or by ``?key=`` as Google's clients send it; it is not logged anywhere."""
    ring: KeyRing = request.app.state.keyring
    key = request.query_params.get("key", "") or request.headers.get("x-goog-api-key", "")
    who = await ring.identify(request.headers.get("authorization", "") or f"Bearer {key}")
    who.require("integrator")
    return who


Integrator = Annotated[Identity, Depends(requires("integrator"))]
WithKey = Annotated[Identity, Depends(_with_key)]


def check_router(checks: Checks, limits: Limits, *, trust_system: bool) -> APIRouter:
    """Return the three routes; a client that goes away ends the work for it."""
    router = APIRouter(tags=["checks"])

    @router.post("/v1/moderations", response_model=None)
    async def moderations(request: Request, identity: Integrator) -> Response:
        body = parse_json(await request.body(), limits)
        chat = openai_moderations.parse(body, request.headers, identity, limits)
        checked = await until_gone(request, checks.run("moderations", chat, openai_moderations.groups_of(chat)))
        return JSONResponse(openai_moderations.render(checked), headers=checked.headers)

    @router.post(f"{PREFIX}comments:analyze", response_model=None)
    async def analyze(request: Request, identity: WithKey) -> Response:
        body = parse_json(await request.body(), limits)
        asked = perspective.parse(body, request.headers, identity, limits, checks.languages)
        checked = await until_gone(request, checks.run("perspective", asked.chat, (asked.group,)))
        return JSONResponse(perspective.render(asked, checked), headers=checked.headers)

    @router.post("/v1/checks", response_model=None)
    async def check(request: Request, identity: Integrator) -> Response:
        body = parse_json(await request.body(), limits)
        chat, direction = own.parse(body, request.headers, identity, limits)
        groups = own.groups_of(chat, direction, trust_system=trust_system)
        checked = await until_gone(request, checks.run("checks", chat, groups))
        return JSONResponse(own.render(chat, checked), headers=checked.headers)

    return router
