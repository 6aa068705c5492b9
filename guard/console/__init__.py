"""The pages for people: rendered on the server, every value escaped, no script and no style in the page itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from learner.errors import LearnerError

HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def console_router(status: Callable[[], Mapping[str, Any]], *, docs: bool) -> APIRouter:
    """Return ``/console`` and, where asked for, ``/docs`` with ``/openapi.json``.

    ``status`` is plain code and runs in a thread; it gives what ``tayguard status`` shows, of which the page takes what
    no stranger wrote.
    """
    router = APIRouter(include_in_schema=False)
    pages = Environment(loader=FileSystemLoader(HERE / "pages"), autoescape=True, undefined=StrictUndefined)

    @router.get("/console")
    async def console() -> HTMLResponse:
        try:
            found: Mapping[str, Any] | None = await asyncio.to_thread(status)
        except LearnerError:
            found = None
        return HTMLResponse(pages.get_template("console.html").render(status=found, docs=docs), headers=HEADERS)

    @router.get("/console/style.css")
    async def style() -> Response:
        text = (HERE / "assets" / "style.css").read_text("utf-8")
        return Response(text, media_type="text/css", headers=HEADERS)

    if docs:
        _docs(router, pages)
    return router


def _docs(router: APIRouter, pages: Environment) -> None:
    @router.get("/openapi.json")
    async def openapi(request: Request) -> dict[str, Any]:
        schema: dict[str, Any] = request.app.openapi()
        return schema

    @router.get("/docs")
    async def docs(request: Request) -> HTMLResponse:
        schema = request.app.openapi()
        rows = [
            {
                "method": method.upper(),
                "path": path,
                "what": operation.get("description") or operation.get("summary", ""),
            }
            for path, operations in schema["paths"].items()
            for method, operation in operations.items()
        ]
        return HTMLResponse(pages.get_template("docs.html").render(rows=rows), headers=HEADERS)
