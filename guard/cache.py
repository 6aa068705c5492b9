"""Scores of units that were scored before: in this worker, then in Redis. Never verdicts, never what is not whole.

A key is the HMAC, with the data folder's secret, of all that the scores depend on (``Fold.material``: text, context,
prompt, direction, filters and their versions); the policy is not among it and runs every time. An entry holds numbers,
labels and places, never a text, and its key cannot be made without the secret. What the cache does not know, or cannot
say, is scored: Redis away, late or damaged is a miss, never an error.

What comes out is bit for bit what went in. The shipped encoder itself gives a unit scores that differ by up to 1e-6
with the units that share its pass (streamed or whole, for one); known scores may differ as much from another pass's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from filters.guardian import Fold
from filters.packed import packed, unpacked
from filters.types import Scores
from filters.units import Unit
from guard.metrics import Metrics
from guard.scoring import Breaker
from guard.turns import Hashed
from learner.errors import LearnerError
from learner.store import AsyncStore, Call, Keys

_LOG = logging.getLogger("tayguard.cache")
PURPOSE = "scores 1"
"""What the HMACs are for; another form of entry gets another number."""

TTL_MS = 6 * 3600 * 1000
READ_S = 0.05
"""How long Redis may take to say what it knows: a few passes. Later is a miss."""

AT_ONCE = 256
"""Units asked of Redis, or kept there, in one call; between as many the event loop goes on."""

MAX_WAITING = 2048
"""Entries on their way to Redis; more are kept in the worker only."""


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """``entries`` is how many units a worker remembers, and Redis; 0: nothing. ``shared``: over Redis as well."""

    entries: int = 0
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A unit with the scores known of it; without a ``key`` nothing is known of it, ever."""

    unit: Unit
    key: str = ""
    scores: tuple[Scores, ...] | None = None


class LocalScores:
    """Packed scores of the units asked for last, ``entries`` at most."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._packed: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._packed)

    def get(self, key: str) -> str | None:
        """Return a unit's packed scores, which are the youngest from now on."""
        found = self._packed.get(key)
        if found is not None:
            self._packed.move_to_end(key)
        return found

    def put(self, key: str, text: str) -> None:
        """Remember a unit's packed scores; the oldest go."""
        self._packed[key] = text
        self._packed.move_to_end(key)
        while len(self._packed) > self._entries:
            self._packed.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget a unit."""
        self._packed.pop(key, None)


class SharedScores:
    """Packed scores in Redis, for all workers; kept there in the background. ``clock`` gives UTC milliseconds."""

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        entries: int,
        *,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        read_s: float = READ_S,
    ) -> None:
        self._store, self._keys, self._entries = store, keys, entries
        self._clock, self._read_s = clock, read_s
        self._breaker = Breaker(3, 5.0, monotonic)
        self._waiting: dict[str, str] = {}
        self._keeping: asyncio.Task[None] | None = None

    async def get_many(self, keys: Sequence[str]) -> list[str | None]:
        """Return units' packed scores, in order; nothing at all where Redis does not answer in time."""
        if not keys or not self._breaker.admit():
            return [None] * len(keys)
        try:
            async with asyncio.timeout(self._read_s):
                parts = [keys[at : at + AT_ONCE] for at in range(0, len(keys), AT_ONCE)]
                found = [one for part in parts for one in await self._store.run(self._read(part))]
        except (LearnerError, TimeoutError):
            self._breaker.failed()
            return [None] * len(keys)
        self._breaker.succeeded()
        return found

    def put(self, key: str, text: str) -> None:
        """Keep a unit's packed scores soon; where too many wait already, not at all."""
        if len(self._waiting) >= MAX_WAITING:
            return
        self._waiting[key] = text
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.ensure_future(self._keep())

    async def close(self) -> None:
        """Keep what waits, or give it up where Redis does not answer."""
        if self._keeping is not None:
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def _keep(self) -> None:
        while self._waiting:
            some = list(self._waiting.items())[:AT_ONCE]
            for key, _ in some:
                del self._waiting[key]
            try:
                await self._store.run(self._put(some))
            except LearnerError as exc:
                self._waiting.clear()
                self._breaker.failed()
                _LOG.debug("scores were not kept in Redis (%s); they are scored again", type(exc).__name__)

    def _read(self, keys: Sequence[str]) -> Call[list[str | None]]:
        return Call("scores_read", (self._keys.prefix,), tuple(keys), list)

    def _put(self, some: Sequence[tuple[str, str]]) -> Call[Any]:
        rows = (value for row in some for value in row)
        return Call("scores_keep", (self._keys.prefix,), (self._clock(), TTL_MS, self._entries, *rows), int)


class ScoreCache:
    """Look in the worker first, then in Redis where ``shared`` is given."""

    def __init__(self, entries: int, hashed: Hashed, metrics: Metrics, shared: SharedScores | None = None) -> None:
        self._hashed, self._metrics, self._shared = hashed, metrics, shared
        self._local = LocalScores(entries)

    async def look(self, fold: Fold, units: Sequence[Unit]) -> list[Known]:
        """Return a fold's units with what is known of their scores."""
        known = []
        for at, unit in enumerate(units, 1):
            if not at % AT_ONCE:
                await asyncio.sleep(0)
            material = fold.material(unit)
            key = self._hashed(material.decode(), PURPOSE) if material is not None else ""
            known.append(self._with(Known(unit, key), self._local.get(key) if key else None, "local"))
        if self._shared is None:
            return known
        return await self._look_further(self._shared, known)

    def keep(self, known: Known, found: tuple[Scores, ...]) -> None:
        """Keep a unit's fresh scores, if they are whole."""
        text = packed(found) if known.key else None
        if text is None:
            return
        self._remember(known.key, text)
        if self._shared is not None:
            self._shared.put(known.key, text)

    async def close(self) -> None:
        """Let what is on its way to Redis arrive."""
        if self._shared is not None:
            await self._shared.close()

    async def _look_further(self, shared: SharedScores, known: list[Known]) -> list[Known]:
        missing = [one.key for one in known if one.key and one.scores is None]
        texts = dict(zip(missing, await shared.get_many(missing), strict=True))
        found = []
        for at, one in enumerate(known, 1):
            if not at % AT_ONCE:
                await asyncio.sleep(0)
            if one.key in texts and one.scores is None:
                text = texts[one.key]
                one = self._with(one, text, "shared")  # noqa: PLW2901
                if one.scores is not None and text is not None:
                    self._remember(one.key, text)
            found.append(one)
        return found

    def _with(self, known: Known, text: str | None, level: str) -> Known:
        """Return the unit with its scores; what cannot be read is a miss."""
        if not known.key:
            return known
        try:
            scores = unpacked(text) if text is not None else None
        except ValueError:
            self._local.drop(known.key)
            scores = None
        self._metrics.score_cache.labels(level, "no" if scores is None else "yes").inc()
        return known if scores is None else replace(known, scores=scores)

    def _remember(self, key: str, text: str) -> None:
        self._local.put(key, text)
        self._metrics.score_cache_entries.set(len(self._local))
