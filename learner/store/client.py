"""Run Lua scripts on Redis, from async code and from plain code, over one definition of each call.

A :class:`Call` is data: a script, its keys, its arguments and how to read the answer. :class:`AsyncStore` (workers) and
:class:`Store` (learner, command line) run it. Redis' exceptions end here, as :class:`~learner.errors.StoreError` or,
for an error that a script raises as ``TG:<kind>:<message>``, as the learner error of that kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Generic, TypeVar

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from learner import errors

T = TypeVar("T")

_KINDS: dict[str, type[errors.LearnerError]] = {
    "conflict": errors.ConflictError,
    "unknown": errors.UnknownIdError,
}

_REMEDIES = {
    "OOM": "Redis is at its maxmemory; raise it (its policy must be noeviction)",
    "READONLY": "this Redis is a read-only replica; point redis_url at the primary",
    "MISCONF": "Redis cannot write to its disk; make room there or mend its permissions",
    "LOADING": "Redis is still loading its data; try again in a moment",
    "BUSY": "Redis is busy with a script; try again in a moment",
    "NOAUTH": "Redis wants a password; put it into redis_url",
    "WRONGPASS": "Redis refused the password; correct it in redis_url",
    "MASTERDOWN": "this Redis lost its primary; point redis_url at the primary",
    "CLUSTERDOWN": "the Redis cluster is down; try again when it is whole",
}

_CLASSES = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "AuthenticationError": "NOAUTH",
    "AuthenticationWrongNumberOfArgsError": "NOAUTH",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
}
"""Answers that the redis package makes a class of, without their code."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One script call.

    ``script`` names a file in ``learner/store/lua``; ``decode`` turns Redis' answer into the result.
    """

    script: str
    keys: tuple[str, ...]
    args: tuple[str | int | float | bytes, ...]
    decode: Callable[[Any], T]


@cache
def script_source(name: str) -> tuple[str, str]:
    """Return a script's source, the shared prelude before it, and the sha1 that Redis knows it by."""
    folder = resources.files("learner.store") / "lua"
    source = (folder / "prelude.lua").read_text("utf-8") + (folder / f"{name}.lua").read_text("utf-8")
    return source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def _translated(error: Exception) -> errors.LearnerError:
    """Map an exception of the redis package to ours.

    >>> type(_translated(ResponseError("TG:conflict:the epoch has moved"))).__name__
    'ConflictError'
    >>> str(_translated(ResponseError("READONLY You can't write against a read only replica.")))
    'this Redis is a read-only replica; point redis_url at the primary'
    """
    text = str(error)
    if isinstance(error, ResponseError) and "TG:" in text:
        kind, _, message = text[text.index("TG:") + 3 :].partition(":")
        message = message.partition(" script: ")[0].strip()
        return _KINDS.get(kind, errors.LearnerError)(message)
    code = _CLASSES.get(type(error).__name__, "")
    for known, remedy in _REMEDIES.items():
        # The code begins an answer; where a script failed inside, it stands in the middle after a dash.
        if known == code or text.startswith(f"{known} ") or f"-{known} " in text:
            return errors.StoreError(remedy)
    return errors.StoreError(f"Redis did not answer as it should ({text}); is it running and reachable?")


def _options(timeout_s: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
    }


class AsyncStore:
    """Run calls from async code; a call fails with :class:`StoreError` when a step of it takes ``timeout_s`` seconds.

    With every connection in use, a call waits for one, as long.
    """

    def __init__(self, url: str, *, timeout_s: float = 1.0, max_connections: int = 64) -> None:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url, max_connections=max_connections, timeout=timeout_s, **_options(timeout_s)
        )
        self._redis = redis.asyncio.Redis.from_pool(pool)

    async def run(self, call: Call[T]) -> T:
        """Run ``call`` and return its decoded answer.

        Raises
        ------
        StoreError
            Redis is out of reach or refused; the call may have happened or not.
        LearnerError
            The script refused, as the leaf it named.
        """
        source, sha = script_source(call.script)
        values = (*call.keys, *call.args)
        try:
            try:
                answer: Any = await self._redis.evalsha(sha, len(call.keys), *values)
            except NoScriptError:
                answer = await self._redis.eval(source, len(call.keys), *values)
        except (RedisError, OSError) as exc:
            raise _translated(exc) from exc
        return call.decode(answer)

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()


class Store:
    """Run calls from plain code; one fails with :class:`StoreError` when a step of it takes ``timeout_s`` seconds."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        self._redis = redis.Redis.from_url(url, **_options(timeout_s))

    def run(self, call: Call[T]) -> T:
        """Run ``call`` and return its decoded answer; raises as :meth:`AsyncStore.run` does."""
        source, sha = script_source(call.script)
        values = (*call.keys, *call.args)
        try:
            try:
                answer: Any = self._redis.evalsha(sha, len(call.keys), *values)
            except NoScriptError:
                answer = self._redis.eval(source, len(call.keys), *values)
        except (RedisError, OSError) as exc:
            raise _translated(exc) from exc
        return call.decode(answer)

    def ping(self) -> None:
        """Raise :class:`StoreError` unless Redis answers with its data loaded."""
        try:
            self._redis.ping()
        except (RedisError, OSError) as exc:
            raise _translated(exc) from exc

    def server_version(self) -> str:
        """Return the server's version, such as ``6.2.14``."""
        try:
            info: Any = self._redis.info("server")
        except (RedisError, OSError) as exc:
            raise _translated(exc) from exc
        return str(info["redis_version"])

    def close(self) -> None:
        """Close every connection."""
        self._redis.close()
