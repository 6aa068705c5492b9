"""Judge texts for integrators: the proxy's own judgement, with no bot behind it. Nothing is captured or learned.

An emergency stop keeps people from the bot; no text reaches the bot from here, so checks go on. While Redis is away
they go on by the policy that was live when it last answered, and say so; where none is known they are refused.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from filters.errors import FilterError
from filters.guardian import Guardian
from filters.policy import Policy, worst_serve
from filters.types import Direction, Item, ServeVerdict
from guard.cache import ScoreCache
from guard.dialects.types import Chat
from guard.errors import BusyError, GuardError
from guard.judging import Judge, Judgement
from guard.live import Live
from guard.logs import MESSAGES
from guard.metrics import Metrics
from guard.scoring import NotScoredError, Scoring, absent
from guard.turns import Hashed, ScoredText, names_of
from learner.errors import LearnerError, StoreError, UnknownIdError
from learner.session import pointer
from learner.store import AsyncStore, Keys

Endpoint = Literal["moderations", "perspective", "checks"]

_LOG = logging.getLogger("tayguard.checking")


@dataclass(frozen=True, slots=True)
class Group:
    """Texts that are judged as one turn: a run of messages joined and alone, a reply, or one input of a list."""

    texts: tuple[ScoredText, ...]
    direction: Direction = "in"
    prompt: str | None = None

    @property
    def messages(self) -> tuple[int, ...]:
        """Positions of the messages in it."""
        return tuple(sorted({position for text in self.texts for position in text.messages}))


@dataclass(frozen=True, slots=True)
class Checked:
    """One judgement per group, by one policy. ``current``: that policy was read for this very request."""

    request_id: str
    policy: Policy
    current: bool
    filters: Mapping[str, str]
    groups: tuple[Group, ...]
    judgements: tuple[Judgement, ...]

    @property
    def serve(self) -> ServeVerdict:
        """The worst verdict."""
        return worst_serve(*(one.verdict.serve for one in self.judgements))

    @property
    def coverage(self) -> float:
        """The smallest coverage, in [0, 1]."""
        return min(one.verdict.coverage for one in self.judgements)

    @property
    def outcome(self) -> str:
        """How the check ended, as the metrics name it: the verdict, or ``broken`` where a filter failed."""
        broken = self.serve == "unscored" and any(one.broken for one in self.judgements)
        return "broken" if broken else self.serve

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        return {
            "X-Tayguard-Request-Id": self.request_id,
            "X-Tayguard-Verdict": self.serve,
            "X-Tayguard-Coverage": f"{self.coverage:.4g}",
            "X-Tayguard-Captured": "no",
        }

    def lets_through(self, index: int) -> bool:
        """Return whether the policy would serve a group."""
        return self.policy.lets_through(self.judgements[index].verdict, self.groups[index].direction)


class Checks:
    """Judge groups of texts. ``clock`` gives UTC milliseconds, ``monotonic`` seconds.

    ``grace_s`` is how long Redis may take to say which policy is live. A request's size is bounded before anything is
    scored; ``timeout_s`` is for filters that turn slow: so long after a request began no further group of it is judged.
    """

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        live: Live,
        scoring: Scoring,
        guardian: Guardian,
        metrics: Metrics,
        *,
        hashed: Hashed,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        grace_s: float = 1.0,
        timeout_s: float = 300.0,
        cache: ScoreCache | None = None,
    ) -> None:
        self._store, self._keys, self._live = store, keys, live
        self._scoring, self._guardian, self._metrics = scoring, guardian, metrics
        self._hashed, self._clock, self._monotonic, self._grace_s = hashed, clock, monotonic, grace_s
        self._timeout_s, self._cache = timeout_s, cache

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that some filter was trained for; English where none says."""
        found = {code for one in self._guardian.filters for code in getattr(one, "languages", ())}
        return tuple(sorted(found, key=lambda code: (code != "en", code))) or ("en",)

    async def run(self, endpoint: Endpoint, chat: Chat, groups: Sequence[Group]) -> Checked:
        """Return the judgements of ``groups``, said in the context of ``chat``.

        Raises
        ------
        BusyError
            Too many texts wait already, or no policy is known; the client may try again.
        TooLargeError
            All groups together are more units than a request may have; none was scored.
        """
        request_id, outcome = f"chk_{secrets.token_hex(12)}", "failed"
        spent_ms: dict[str, float] = {}
        checked = None
        try:
            with self._metrics.timed("check", spent_ms):
                self._scoring.check_queue()
                policy, current = await self._pinned()
                judgements = await self._judged(policy, chat, groups)
            checked = Checked(request_id, policy, current, self._guardian.versions, tuple(groups), judgements)
            outcome = checked.outcome
        except (GuardError, LearnerError):
            outcome = "refused"
            raise
        except asyncio.CancelledError:
            outcome = "disconnected"
            raise
        finally:
            self._metrics.checks.labels(endpoint, outcome).inc()
            self._metrics.observe_hops(spent_ms)
            fields = {
                "request_id": request_id,
                "key": chat.identity.key_id,
                "endpoint": endpoint,
                "outcome": outcome,
                "ms": {hop: round(spent, 2) for hop, spent in spent_ms.items()},
                **(self._observed(checked) if checked else {}),
            }
            MESSAGES.info("check", extra={"fields": fields})
        return checked

    async def _pinned(self) -> tuple[Policy, bool]:
        """Return the live policy, and whether Redis has just said so."""
        try:
            try:
                async with asyncio.timeout(self._grace_s):
                    now = await self._store.run(pointer(self._keys))
            except (StoreError, TimeoutError):
                if self._live.pointer is None:
                    raise BusyError(
                        "Redis has not answered yet, so no policy is known; try again soon",
                        code="store_unavailable",
                        retry_after="1",
                    ) from None
                return await self._live.policy(self._live.pointer.policy), False
            self._live.saw(now)
            return await self._live.policy(now.policy), True
        except (UnknownIdError, FilterError) as exc:
            _LOG.exception("the live policy cannot be read; apply one with `tayguard policy apply FILE`")
            raise BusyError(
                "the live policy cannot be read; the operator's log says why",
                code="policy_unavailable",
                retry_after="1",
            ) from exc

    async def _judged(self, policy: Policy, chat: Chat, groups: Sequence[Group]) -> tuple[Judgement, ...]:
        """Return one judgement per group, in order."""
        names = names_of(chat, self._hashed)
        judge = Judge(self._guardian, policy, self._scoring, self._cache)
        until_s = self._monotonic() + self._timeout_s
        items = [
            Item("", group.direction, group.prompt, names.author, names.conversation, self._clock()) for group in groups
        ]
        divided = await judge.divide([(group.texts, item) for group, item in zip(groups, items, strict=True)])
        return tuple(
            [
                await judge.whole(one) if self._monotonic() < until_s else self._too_late(policy, group)
                for group, one in zip(groups, divided, strict=True)
            ]
        )

    def _too_late(self, policy: Policy, group: Group) -> Judgement:
        self._metrics.scoring_failures.labels("timeout").inc()
        error = NotScoredError("timeout", f"the texts before it took {self._timeout_s:g} s")
        scores = (absent(error, group.direction),)
        verdict = policy.decide(scores, group.direction)
        return Judgement(verdict, scores, (verdict,) * len(group.texts))

    def _observed(self, checked: Checked) -> dict[str, object]:
        """Count every judgement, and return what the log says of them all: never a text or a score."""
        for group, one in zip(checked.groups, checked.judgements, strict=True):
            broken = one.broken and one.verdict.serve == "unscored"
            self._metrics.verdicts.labels(group.direction, "broken" if broken else one.verdict.serve).inc()
            for reason in one.verdict.reasons:
                self._metrics.reasons.labels(group.direction, reason.label, reason.purpose).inc()
        return {
            "policy": checked.policy.id,
            "policy_current": checked.current,
            "verdict": checked.serve,
            "reasons": sorted({reason.label for one in checked.judgements for reason in one.verdict.reasons}),
            "coverage": round(checked.coverage, 4),
        }
