"""The ASGI app of a worker: everything wired by hand from :class:`Deps`, in the order in which a request passes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from filters.guardian import Guardian
from filters.policy import Policy
from guard.auth import KeyRecord, KeyRing
from guard.bot_routes import Relayed, rasa_router, relay_router
from guard.cache import CacheLimits, ScoreCache, SharedScores
from guard.chat_routes import chat_router, feedback_router
from guard.check_routes import check_router
from guard.checking import Checks
from guard.dialects.openai_chat import Limits
from guard.dialects.plugins import Routes
from guard.dialects.relay_settings import RelaySettings
from guard.entry import Entry, EntryLimits
from guard.errors import BadRequestError, BusyError, ConversationBusyError, GuardError, NotFoundError
from guard.health import Health
from guard.judging import Judge
from guard.live import Live, policy_reader
from guard.metrics import CONTENT_TYPE, Metrics
from guard.passage import Learning
from guard.proxy import Hops, Proxy
from guard.recording import Recorder
from guard.scoring import Scoring, ScoringLimits
from guard.serving import BodyLimit, error_response
from guard.upstream import Upstream
from learner.errors import ConflictError, LearnerError, StoreError, UnknownIdError
from learner.outcomes import BufferSettings
from learner.store import AsyncStore, Keys

_LOG = logging.getLogger("tayguard.app")


@dataclass(frozen=True, slots=True)
class Deps:
    """What a worker is made of; wiring chooses it, :func:`create_app` puts it together.

    ``unconfirmed`` is a folder below the data folder; ``clock`` gives UTC milliseconds, ``monotonic`` seconds. The app
    closes ``upstream`` and ``store`` when it ends. ``policy_of`` reads a policy by its id; by default from the store.
    """

    keys: Keys
    store: AsyncStore
    guardian: Guardian
    upstream: Upstream
    hashed: Callable[[str, str], str]
    unconfirmed: Path
    clock: Callable[[], int]
    monotonic: Callable[[], float]
    default_policy: Policy
    policy_of: Callable[[str], Awaitable[Policy]] | None = None
    static_keys: Sequence[KeyRecord] = ()
    limits: Limits = field(default_factory=Limits)
    scoring: ScoringLimits = field(default_factory=ScoringLimits)
    cache: CacheLimits = field(default_factory=CacheLimits)
    entry: EntryLimits = field(default_factory=EntryLimits)
    learning: Learning = field(default_factory=Learning)
    feedback: BufferSettings = field(default_factory=BufferSettings)
    trust_system: bool = True
    capture_deadline_s: float = 1.0
    metrics_dir: str = ""
    poll_s: float = 0.25
    docs: bool = True
    routers: Sequence[APIRouter] = ()
    dialects: Sequence[Routes] = ()
    relays: Mapping[str, tuple[RelaySettings, Upstream]] = field(default_factory=dict)
    relays_teach: bool = False  # the embedded bot does not learn what people say to another one


@dataclass(frozen=True, slots=True)
class Running:
    """The parts of an app, for whoever must look inside: ``app.state.running``."""

    deps: Deps
    keyring: KeyRing
    live: Live
    scoring: Scoring
    cache: ScoreCache | None
    recorder: Recorder
    entry: Entry
    proxy: Proxy
    relays: Mapping[str, Relayed]
    checks: Checks
    health: Health
    metrics: Metrics


def create_app(deps: Deps) -> FastAPI:
    """Return the app; it starts with its lifespan."""
    running = _put_together(deps)
    docs = (
        {"docs_url": "/docs", "openapi_url": "/openapi.json"} if deps.docs else {"docs_url": None, "openapi_url": None}
    )
    app = FastAPI(title="tayguard", lifespan=_lifespan, redoc_url=None, **docs)
    app.state.running = running
    app.state.keyring = running.keyring
    app.include_router(chat_router(running.proxy, deps.upstream, deps.limits))
    app.include_router(rasa_router(running.proxy, deps.limits))
    app.include_router(relay_router(running.relays, deps.limits))
    app.include_router(check_router(running.checks, deps.limits, trust_system=deps.trust_system))
    app.include_router(feedback_router(deps.store, deps.keys, deps.hashed, deps.clock, deps.feedback, deps.limits))
    app.include_router(_operations(running))
    for router in (*deps.routers, *(routes(running.proxy, deps.limits) for routes in deps.dialects)):
        app.include_router(router)
    _map_errors(app, running.metrics)
    app.add_middleware(BodyLimit, max_bytes=deps.limits.max_body_bytes)
    return app


def _put_together(deps: Deps) -> Running:
    metrics = Metrics(deps.metrics_dir)
    keyring = KeyRing(deps.store, deps.keys, monotonic=deps.monotonic, static=deps.static_keys)
    live = Live(
        deps.store,
        deps.keys,
        deps.upstream,
        policy_of=deps.policy_of or policy_reader(deps.store, deps.keys),
        default_policy=deps.default_policy,
        monotonic=deps.monotonic,
    )
    scoring = Scoring(deps.scoring, metrics, deps.monotonic)
    recorder = Recorder(
        deps.store,
        deps.keys,
        folder=deps.unconfirmed,
        clock=deps.clock,
        metrics=metrics,
        deadline_s=deps.capture_deadline_s,
    )
    entry = Entry(deps.store, deps.keys, live, clock=deps.clock, limits=deps.entry)
    cache = _cache_of(deps, metrics)
    hops = Hops(entry, scoring, deps.guardian, deps.upstream, recorder, metrics, cache)
    proxy = _proxy(deps, hops, deps.learning)
    beside = deps.learning if deps.relays_teach else replace(deps.learning, mode="off")
    relays = {
        name: Relayed(settings, _proxy(deps, replace(hops, upstream=upstream), beside))
        for name, (settings, upstream) in deps.relays.items()
    }
    checks = Checks(
        deps.store,
        deps.keys,
        live,
        scoring,
        deps.guardian,
        metrics,
        hashed=deps.hashed,
        clock=deps.clock,
        monotonic=deps.monotonic,
        cache=cache,
    )
    judge = Judge(deps.guardian, deps.default_policy, scoring)
    health = Health(live, scoring, judge, deps.upstream, monotonic=deps.monotonic)
    return Running(deps, keyring, live, scoring, cache, recorder, entry, proxy, relays, checks, health, metrics)


def _proxy(deps: Deps, hops: Hops, learning: Learning) -> Proxy:
    return Proxy(
        hops,
        learning,
        hashed=deps.hashed,
        clock=deps.clock,
        trust_system=deps.trust_system,
        answer_s=deps.entry.answer_s,
    )


def _cache_of(deps: Deps, metrics: Metrics) -> ScoreCache | None:
    entries, clock, monotonic = deps.cache.entries, deps.clock, deps.monotonic
    if not entries:
        return None
    shared = SharedScores(deps.store, deps.keys, entries, clock=clock, monotonic=monotonic)
    return ScoreCache(entries, deps.hashed, metrics, shared if deps.cache.shared else None)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Warm up, poll while serving, and end in order: what is under way is captured before its store closes."""
    running: Running = app.state.running

    async def tick() -> None:
        await running.keyring.refresh()
        await running.recorder.sweep()

    with suppress(StoreError):
        await running.live.look()
    await running.health.warm_up()
    poller = asyncio.ensure_future(running.live.poll(running.deps.poll_s, tick))
    try:
        yield
    finally:
        running.health.draining = True
        running.live.end()
        poller.cancel()
        await asyncio.gather(poller, return_exceptions=True)
        await asyncio.gather(*(one.close() for one in (running.proxy, *(r.proxy for r in running.relays.values()))))
        await running.entry.close()
        await running.recorder.close()
        running.scoring.stop()
        if running.cache is not None:
            await running.cache.close()
        for upstream in (running.deps.upstream, *(one for _, one in running.deps.relays.values())):
            await upstream.close()
        await running.deps.store.close()


def _operations(running: Running) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        problems = await running.health.problems()
        status = {"status": "not ready" if problems else "ready", "problems": problems}
        return JSONResponse(status, 503 if problems else 200)

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(running.metrics.render(), media_type=CONTENT_TYPE)

    return router


def _map_errors(app: FastAPI, metrics: Metrics) -> None:
    """Answer every error with OpenAI's error object."""

    async def answered(request: Request, exc: Exception) -> Response:
        error = _as_guard_error(request, exc)
        response = error_response(error, request.url.path)
        metrics.http_errors.labels(str(response.status_code)).inc()
        return response

    async def unexpected(request: Request, exc: Exception) -> Response:
        _LOG.error("a request failed unexpectedly", exc_info=exc)
        return await answered(request, GuardError("something went wrong here; the log knows more"))

    async def gone(request: Request, exc: Exception) -> Response:  # noqa: ARG001 - the framework passes both
        return Response(status_code=499)

    for kind in (GuardError, LearnerError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answered)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, unexpected)


def _as_guard_error(request: Request, exc: Exception) -> GuardError:
    if isinstance(exc, GuardError):
        return exc
    if isinstance(exc, UnknownIdError):
        return NotFoundError(str(exc))
    if isinstance(exc, ConflictError):
        return ConversationBusyError(str(exc), code="conflict", retry_after="1")
    if isinstance(exc, StoreError):
        return BusyError("Redis does not answer; try again soon", code="store_unavailable", retry_after="1")
    if isinstance(exc, RequestValidationError):
        first = exc.errors()[0]
        return BadRequestError(first["msg"], param=".".join(str(part) for part in first["loc"][1:]) or None)
    if isinstance(exc, HTTPException) and exc.status_code == 404:
        where = f"{request.method} {request.url.path}"
        return NotFoundError(f"there is no route {where} here; unknown routes are never passed on to the upstream")
    if isinstance(exc, HTTPException) and exc.status_code == 405:
        return NotFoundError(f"{request.url.path} does not take {request.method}; see the README's list of routes")
    if isinstance(exc, HTTPException) and exc.status_code < 500:
        return BadRequestError(str(exc.detail))
    return GuardError(str(exc) or "something went wrong here; the log knows more")
