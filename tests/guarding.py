"""Run the guard's app on a real port, wired by hand from small fakes and the real Redis, for tests of the wire."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import openai
import uvicorn

from filters import Guardian, Policy
from guard.app import Deps, Running, create_app
from guard.auth import new_secret, record_for
from guard.resident import Resident
from guard.upstream import EmbeddedUpstream
from learner.secrets import KeyedHash
from learner.store import AsyncStore, Keys, Store
from tests.fakes import ScriptedBot, WordFilter

POLICY = Policy.from_toml(
    """
[thresholds.in]
red = { flag = 0.5, block = 0.9, quarantine = 0.5 }
[thresholds.out]
red = { flag = 0.5, block = 0.9, quarantine = 0.5 }
[messages.blocked]
en = "BLOCKED"
[messages.unscored]
en = "UNSCORED"
[messages.stopped]
en = "STOPPED"
[messages.unavailable]
en = "UNAVAILABLE"
"""
)
ALL_ROLES = ("client", "integrator", "reviewer", "operator", "auditor")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def embedded(bot: ScriptedBot) -> EmbeddedUpstream:
    """Return the upstream of a scripted bot, whatever version is live."""
    return EmbeddedUpstream("tay", Resident(lambda _: bot, monotonic=time.monotonic), timeout_s=20)


@dataclass(frozen=True)
class Guarded:
    """A running guard: its address, its key with every role, and the parts inside."""

    url: str
    secret: str
    running: Running
    keys: Keys
    store: Store

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    @contextmanager
    def client(self, secret: str = "", **headers: str) -> Iterator[openai.OpenAI]:
        """Give the unmodified openai client."""
        with openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=secret or self.secret, max_retries=0, default_headers=headers
        ) as client:
            yield client

    def chat(self, text: Any, *, author: str = "au1", conversation: str = "", **more: Any) -> httpx.Response:
        """Post one chat; ``text`` is the user's turn or the list of messages."""
        messages = [{"role": "user", "content": text}] if isinstance(text, str) else text
        headers = {**self.headers, **more.pop("headers", {}), "X-Tayguard-Author": author}
        if conversation:
            headers["X-Tayguard-Conversation"] = conversation
        body = {"model": "tay", "messages": messages, **more}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=30)

    def events(self, kind: str = "exchange") -> list[dict[str, Any]]:
        """Return the log's events of a kind, oldest first."""
        rows = self.store._redis.xrange(self.keys.log)
        return [event for _, row in rows if (event := json.loads(row["e"]))["type"] == kind]

    def samples(self) -> list[dict[str, str]]:
        """Return every sample's row."""
        redis = self.store._redis
        return [redis.hgetall(key) for key in redis.keys(self.keys.sample("*"))]


@contextmanager
def serving(redis_url: str, keys: Keys, **changes: Any) -> Iterator[Guarded]:
    """Give a running guard; ``changes`` replace fields of its :class:`Deps`."""
    secret = new_secret()
    with tempfile.TemporaryDirectory() as folder:
        deps = Deps(
            keys=keys,
            store=AsyncStore(redis_url),
            guardian=Guardian([WordFilter()], POLICY),
            upstream=embedded(ScriptedBot()),
            hashed=KeyedHash(b"k" * 32),
            unconfirmed=Path(folder) / "unconfirmed",
            clock=now_ms,
            monotonic=time.monotonic,
            default_policy=POLICY,
            static_keys=(record_for(secret, ALL_ROLES, asserts_author=True),),
            poll_s=0.1,
        )
        app = create_app(replace(deps, **changes))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", access_log=False))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        store = Store(redis_url)
        try:
            yield Guarded(_address(server, thread), secret, app.state.running, keys, store)
        finally:
            store.close()
            server.should_exit = True
            thread.join(15)
            assert not thread.is_alive(), "the guard did not stop"


def _address(server: uvicorn.Server, thread: threading.Thread) -> str:
    while not server.started:
        assert thread.is_alive(), "the guard did not start"
        time.sleep(0.005)
    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


def until(check: Any, seconds: float = 10.0) -> Any:
    """Return the first true result of ``check``."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


def chunks_of(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the data chunks of a finished stream, which must end as one."""
    lines = [line for line in response.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def text_of(chunks: list[dict[str, Any]], choice: int = 0) -> str:
    """Return the text that a stream's chunks give one choice."""
    rows = [row for chunk in chunks for row in chunk.get("choices", []) if row["index"] == choice]
    return "".join(row["delta"].get("content") or "" for row in rows)
