"""Whether this worker is ready: models loaded, a canary scored, Redis and the upstream reachable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from filters.types import Item
from guard.judging import Judge
from guard.live import Live
from guard.scoring import Scoring
from guard.turns import ScoredText
from guard.upstream import Upstream

CANARY = "Good morning, how are you today?"


class Health:
    """Answers ``/readyz``; what costs something is asked at most every ``max_age_s`` seconds.

    While something is wrong it is asked ten times as often. However many ask, it is asked once at a time.
    """

    def __init__(
        self,
        live: Live,
        scoring: Scoring,
        judge: Judge,
        upstream: Upstream,
        *,
        monotonic: Callable[[], float],
        max_age_s: float = 2.0,
    ) -> None:
        self._live, self._scoring, self._judge, self._upstream = live, scoring, judge, upstream
        self._monotonic, self._max_age_s = monotonic, max_age_s
        self._checked_at = float("-inf")
        self._problems: dict[str, str] = {}
        self._checking: asyncio.Task[None] | None = None
        self.draining = False

    async def warm_up(self) -> None:
        """Score the canary once, so that the first message finds everything loaded."""
        await self.problems()

    async def problems(self) -> dict[str, str]:
        """Return what is not as it should be, part to reason; empty when ready."""
        if self.draining:
            return {"worker": "shutting down"}
        max_age_s = self._max_age_s if not self._problems else self._max_age_s / 10
        if self._monotonic() - self._checked_at >= max_age_s:
            if self._checking is None or self._checking.done():
                self._checking = asyncio.ensure_future(self._check_again())
            await asyncio.shield(self._checking)
        poll = self._live.problem
        redis = "Redis has not answered for a second" if self._live.age_s > 1.0 and not poll else ""
        scoring = "scoring keeps failing" if self._scoring.breaker.is_open else ""
        now = {"redis": redis, "poll": poll, "scoring": scoring}
        return {**self._problems, **{part: reason for part, reason in now.items() if reason}}

    async def _check_again(self) -> None:
        self._problems = await self._check()
        self._checked_at = self._monotonic()

    async def _check(self) -> dict[str, str]:
        pointer = self._live.pointer
        canary = await self._judge.prompt([ScoredText(CANARY, ())], Item(CANARY))
        unscored = [
            scores.error or "not scored in full" for scores in canary.scores if not scored_well(scores.coverage)
        ]
        upstream = await self._upstream.problem(pointer.live) if pointer else "nobody knows yet what is live"
        found = {"canary": "; ".join(unscored), "upstream": upstream}
        return {part: reason for part, reason in found.items() if reason}


def scored_well(coverage: float) -> bool:
    """Return whether a text of this coverage counts as scored.

    >>> scored_well(1.0), scored_well(0.99)
    (True, False)
    """
    return coverage >= 1.0
