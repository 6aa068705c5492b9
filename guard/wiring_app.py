"""Put a worker's app together: the part of the wiring that serves."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fastapi import FastAPI

from guard.admin import admin_router
from guard.app import Deps, create_app
from guard.auth import ROLES, KeyRecord, record_for
from guard.cache import CacheLimits
from guard.console import console_router
from guard.dialects import plugins as dialect_plugins
from guard.dialects.openai_chat import Limits
from guard.dialects.relay_settings import RelaySettings
from guard.entry import EntryLimits
from guard.operations import Operations
from guard.passage import Learning
from guard.process import key_path
from guard.resident import Resident
from guard.scoring import ScoringLimits
from guard.settings import ConfigurationError, Settings
from guard.upstream import EmbeddedUpstream, Upstream
from guard.upstream_http import HttpLimits, HttpUpstream
from guard.upstream_mapped import RasaUpstream, RelayUpstream
from guard.wiring import Wiring, buffer_settings, deadlines_of, first_policy, now_ms
from learner.store import AsyncStore
from learner.types import Answerer


def embedded_record(data_dir: Path) -> KeyRecord:
    """Return the record of the key in the data folder, which has every role and asserts authors."""
    secret = key_path(data_dir).read_text("ascii").strip()
    return record_for(secret, ROLES, asserts_author=True, note="the key in the data folder")


def upstream_of(wiring: Wiring) -> Upstream:
    """Return the chatbot behind us: the embedded bot, or the server that the settings name.

    Raises
    ------
    ConfigurationError
        The variable that should hold the upstream's key is not set.
    """
    settings = wiring.settings.upstream
    relay = settings.dialect.partition("relay:")[2]
    if relay:
        return _relay(wiring, relay, wiring.settings.relay[relay].model_copy(update={"passes": ()}))
    if not settings.url:
        count, wait_s = wiring.encoder.count_tokens, settings.timeout_s
        return EmbeddedUpstream(wiring.settings.bot.id, _resident(wiring), timeout_s=wait_s, count_tokens=count)

    key, limits = _key("upstream", settings.key_env), _http_limits(wiring)
    if settings.dialect == "rasa":
        return RasaUpstream(settings.url, key=key, limits=limits)
    routes = tuple(settings.routes.values())
    return HttpUpstream(settings.url, key=key, model=settings.model, routes=routes, limits=limits)


def _key(section: str, variable: str) -> str:
    key = os.environ.get(variable, "") if variable else ""
    if variable and not key:
        raise ConfigurationError(f"{section}.key_env names {variable}, and that variable is not set")
    return key


def _http_limits(wiring: Wiring) -> HttpLimits:
    settings = wiring.settings.upstream
    return HttpLimits(timeout_s=settings.timeout_s, idle_s=settings.idle_s, max_concurrent=settings.max_concurrent)


def _relay(wiring: Wiring, name: str, relay: RelaySettings) -> RelayUpstream:
    return RelayUpstream(name, relay, key=_key(f"relay.{name}", relay.key_env), limits=_http_limits(wiring))


def _resident(wiring: Wiring) -> Resident:

    def load(version_id: str) -> Answerer:
        version = wiring.versions.get(version_id)
        wiring.bot.verify(wiring.data_dir, version)
        return wiring.bot.load(wiring.data_dir, version)

    return Resident(load, monotonic=time.monotonic)


def app_of(wiring: Wiring, *, loopback: bool, metrics_dir: str = "") -> FastAPI:
    """Return a worker's app, its models loaded."""
    settings = wiring.settings
    operations = Operations(wiring)
    scoring = settings.scoring
    deps = Deps(
        keys=wiring.keys,
        store=AsyncStore(wiring.redis_url, timeout_s=settings.store.timeout_s),
        guardian=wiring.guardian,
        upstream=upstream_of(wiring),
        hashed=wiring.hashed,
        unconfirmed=wiring.data_dir / "unconfirmed",
        clock=now_ms,
        monotonic=time.monotonic,
        default_policy=first_policy(settings),
        static_keys=(embedded_record(wiring.data_dir),) if loopback else (),
        limits=Limits(**settings.limits.model_dump(include=set(Limits.__dataclass_fields__))),
        scoring=ScoringLimits(
            threads=scoring.threads,
            queue=scoring.queue,
            timeout_s=scoring.deadline_s,
            max_units=settings.limits.max_units,
        ),
        cache=CacheLimits(entries=scoring.cache_entries, shared=scoring.cache_shared),
        entry=_entry(settings),
        learning=_learning(settings),
        trust_system=settings.server.trust_system,
        feedback=buffer_settings(settings),
        capture_deadline_s=settings.store.timeout_s,
        metrics_dir=metrics_dir,
        docs=False,
        relays={name: (relay, _relay(wiring, name, relay)) for name, relay in settings.relay.items()},
        relays_teach=settings.upstream.external,
        dialects=tuple(map(dialect_plugins.load, settings.server.dialects)),
        routers=(admin_router(operations), console_router(operations.status, docs=settings.server.docs)),
    )
    return create_app(deps)


def _entry(settings: Settings) -> EntryLimits:
    answer_s = settings.upstream.answer_s
    return EntryLimits(wait_s=settings.limits.conversation_wait_s, lock_s=answer_s + 60.0, answer_s=answer_s)


def _learning(settings: Settings) -> Learning:
    learning = settings.learning
    return Learning(
        mode=learning.mode,
        cool_down_s=learning.cool_down_s,
        learn_anonymous=learning.learn_anonymous,
        deadlines=deadlines_of(settings),
    )
