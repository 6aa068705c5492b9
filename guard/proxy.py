"""What happens to one message: begin, read, judge, ask, hold back, capture, answer."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from types import AsyncGeneratorType

from filters.guardian import Guardian
from filters.policy import REPLACES, Message, Policy
from filters.types import Item
from guard.cache import ScoreCache
from guard.dialects.types import (
    Answer,
    Chat,
    Closed,
    Event,
    Finish,
    Finished,
    Opened,
    Piece,
    Usage,
    answer_from_json,
)
from guard.entry import Entry
from guard.errors import (
    BadRequestError,
    GuardError,
    UpstreamError,
    UpstreamNotReadyError,
    UpstreamTimeoutError,
)
from guard.hold import HeldChoice
from guard.judging import Judge
from guard.logs import message_event
from guard.metrics import Metrics
from guard.passage import Learning, Passage, capture_of, fingerprint_of, finish_of, outcome_of
from guard.recording import Background, Recorder
from guard.replacing import judged_prompt
from guard.scoring import Scoring
from guard.turns import Hashed, Reading, names_of, read
from guard.upstream import Asked, Upstream
from learner.errors import StoreError
from learner.session import Begin
from learner.texts import open_text

_RELEASE_PAUSES_S = (0.1, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Hops:
    """Everything a message passes, in order."""

    entry: Entry
    scoring: Scoring
    guardian: Guardian
    upstream: Upstream
    recorder: Recorder
    metrics: Metrics
    cache: ScoreCache | None = None


class Proxy:
    """Answer chats. ``clock`` gives UTC milliseconds; ``hashed`` is the data folder's keyed hash.

    ``answer_s`` is what the upstream may take for an answer in all.
    """

    def __init__(
        self,
        hops: Hops,
        learning: Learning,
        *,
        hashed: Hashed,
        clock: Callable[[], int],
        trust_system: bool = True,
        answer_s: float = 60.0,
    ) -> None:
        self._hops, self._learning, self._answer_s = hops, learning, answer_s
        self._hashed, self._clock, self._trust_system = hashed, clock, trust_system
        self._background = Background()

    async def handle(self, chat: Chat) -> AsyncGenerator[Event]:
        """Yield the events of the answer: :class:`Opened` first, :class:`Closed` last.

        Raises
        ------
        GuardError
            Before the first event: answer with the error. Later: end the stream with it.
        """
        names = names_of(chat, self._hashed)
        passage = Passage(chat, names, f"req_{secrets.token_hex(12)}", self._clock())
        try:
            with self._hops.metrics.timed("total", passage.spent_ms):
                async with aclosing(self._story(passage)) as events:
                    async for event in events:
                        yield event
        except GuardError as exc:
            passage.error = type(exc).__name__
            passage.finish = "upstream_error" if isinstance(exc, UpstreamError) else "refused"
            raise
        except Exception as exc:  # the edge: counted as failed, not as a client that left, and raised on
            passage.error, passage.finish = type(exc).__name__, "failed"
            raise
        finally:
            self._leave(passage)

    async def _story(self, passage: Passage) -> AsyncGenerator[Event]:
        chat, hops = passage.chat, self._hops
        passage.model = hops.upstream.resolve(chat.model)
        if not hops.entry.shadow:
            hops.scoring.check_queue()
        with hops.metrics.timed("begin", passage.spent_ms):
            passage.begun = begun = await hops.entry.begin(passage)
        if begun is None:
            events = self._fixed(passage, "unavailable")
        elif begun.stopped:
            events = self._fixed(passage, "stopped")
        elif begun.idempotent is not None:
            events = self._again(passage, begun)
        else:
            events = self._answered(passage, begun)
        async with aclosing(events):
            async for event in events:
                yield event

    async def _answered(self, passage: Passage, begun: Begin) -> AsyncGenerator[Event]:
        """Judge the prompt, ask the upstream unless it is blocked, release what may leave, capture, close."""
        chat, hops, policy = passage.chat, self._hops, _policy_of(passage)
        passage.version = hops.upstream.version(begun.live, passage.model)
        last_reply = begun.last_reply if _conversation(passage) else ""
        reading = read(chat, begun.seen, last_reply=last_reply, trust_system=self._trust_system, shadow=policy.shadow)
        item = Item("", "in", last_reply or None, passage.names.author, _conversation(passage), passage.started_ms)
        judge = Judge(hops.guardian, policy, hops.scoring, hops.cache)
        with hops.metrics.timed("prompt", passage.spent_ms):
            reading, prompt = await judged_prompt(judge, chat, reading, item)
            passage.reading, passage.prompt = reading, prompt
        if policy.lets_through(prompt.verdict, "in"):
            events = self._asked(passage, judge, reading)
        else:
            kind: Message = "blocked" if prompt.verdict.serve == "block" else "unscored"
            events = _message_events(passage, kind, "content_filter")
        passage.answer = Answer(passage.head(), chat.stream)
        try:
            async with aclosing(events):
                async for event in events:
                    passage.answer.add(event)
                    yield event
        except UpstreamNotReadyError:
            if any(held.heard for held in passage.held):
                raise
            async with aclosing(self._fixed(passage, "unavailable")) as fixed:
                async for event in fixed:
                    yield event
            return
        yield await self._close(passage)

    async def _asked(self, passage: Passage, judge: Judge, reading: Reading) -> AsyncGenerator[Event]:
        """Yield the upstream's reply as far as it may leave; once every choice is cut, the upstream is cancelled."""
        chat, metrics = passage.chat, self._hops.metrics
        item = Item("", "out", reading.prompt, passage.names.author, _conversation(passage), passage.started_ms)
        passage.held = [HeldChoice(judge, item, choice, chat.language) for choice in range(chat.n)]
        asked = Asked(
            passage.model,
            reading.turns,
            reading.passed_on,
            chat.stream,
            chat.n,
            chat.seed,
            dict(chat.options),
            author=passage.names.author,
            conversation=_conversation(passage) or passage.request_id,
        )
        opened = False
        pieces = self._hops.upstream.stream(asked, passage.version)
        async with aclosing(_timed_pieces(pieces, passage, metrics, self._answer_s)) as timed:
            async for piece in timed:
                if not opened:
                    opened = True
                    yield Opened(passage.head())
                if piece.usage is not None:
                    yield Usage(piece.usage)
                    continue
                with metrics.timed("hold", passage.spent_ms):
                    events = await passage.held[piece.choice].take(piece)
                for event in events:
                    yield event
                ends = [held.finish for held in passage.held]
                if all(ends) and "content_filter" in ends:
                    break
        if not all(held.finish for held in passage.held):
            raise UpstreamError(
                "the upstream broke off its answer; try again later, or have its operator look at its log"
            )

    async def _close(self, passage: Passage) -> Closed:
        """Capture, and only then say so."""
        passage.finish = finish_of(passage)
        if not passage.store_down and passage.answer is not None:
            passage.answer.closed = Closed(passage.verdict, passage.coverage, "yes")
            capture = capture_of(passage, self._learning, self._hashed, self._clock(), acknowledged=True)
            passage.settled = True
            with self._hops.metrics.timed("capture", passage.spent_ms):
                passage.captured = await self._hops.recorder.capture(capture)
            if passage.captured != "yes":
                self._background.spawn(self._release(passage))
        return Closed(passage.verdict, passage.coverage, passage.captured)

    async def _fixed(self, passage: Passage, kind: Message) -> AsyncGenerator[Event]:
        """Yield the policy's fixed reply; nothing was scored, nothing reaches the bot, nothing is captured."""
        passage.finish = kind
        async for event in _message_events(passage, kind, "stop"):
            yield event
        yield Closed(passage.verdict, passage.coverage, "no")

    async def _again(self, passage: Passage, begun: Begin) -> AsyncGenerator[Event]:
        """Yield the answer that the first request with this Idempotency-Key got."""
        stored = begun.idempotent.answer if begun.idempotent else None
        passage.finish = "repeated"
        if not stored:
            raise BadRequestError("the answer under this Idempotency-Key is no longer here; use a new key")
        if stored["asked"] != fingerprint_of(passage.chat, passage.names, self._hashed):
            raise BadRequestError(
                "this Idempotency-Key was used for another request; use a new one", code="idempotency_key_reused"
            )
        answer = answer_from_json(json.loads(open_text(stored["body"], stored["author"])))
        passage.version, passage.captured = answer.head.version, answer.closed.captured
        for event in answer.events():
            yield event

    def _leave(self, passage: Passage) -> None:
        """Count and log the message; what was not captured as answered is captured as not acknowledged."""
        if not passage.finish:
            passage.finish = "disconnected"
        if passage.begun is not None and not passage.settled and not passage.store_down:
            self._background.spawn(self._abandon(passage))
        metrics = self._hops.metrics
        metrics.messages.labels(outcome_of(passage)).inc()
        metrics.observe_hops(passage.spent_ms)
        for side, judgement in (("in", passage.prompt), ("out", passage.reply)):
            if judgement is not None:
                broken = judgement.broken and judgement.verdict.serve == "unscored"
                metrics.verdicts.labels(side, "broken" if broken else judgement.verdict.serve).inc()
                for reason in judgement.verdict.reasons:
                    purpose = "replace" if reason.detail == REPLACES else reason.purpose
                    metrics.reasons.labels(side, reason.label, purpose).inc()
        message_event(passage.log_fields())

    async def _abandon(self, passage: Passage) -> None:
        if passage.prompt is not None and passage.finish in ("disconnected", "upstream_error", "refused", "failed"):
            await self._hops.recorder.capture(
                capture_of(passage, self._learning, self._hashed, self._clock(), acknowledged=False)
            )
        await self._release(passage)

    async def _release(self, passage: Passage) -> None:
        """Give back the conversation and the Idempotency-Key; where Redis stays away, both lapse by themselves."""
        for pause_s in _RELEASE_PAUSES_S:
            try:
                await self._hops.entry.end(passage)
            except StoreError:
                await asyncio.sleep(pause_s)
            else:
                return

    async def close(self) -> None:
        """Wait for what goes on behind answered requests."""
        await self._background.drain(5.0)


def _policy_of(passage: Passage) -> Policy:
    if passage.policy is None:
        raise GuardError("no policy is pinned")
    return passage.policy


def _conversation(passage: Passage) -> str | None:
    """Return the conversation for filters; strangers who came the same way are none."""
    named = passage.names.conversation is not None or not passage.names.anonymous
    return passage.begun.conversation if passage.begun and named else None


async def _message_events(passage: Passage, kind: Message, reason: Finished) -> AsyncGenerator[Event]:
    yield Opened(passage.head())
    for choice in range(passage.chat.n):
        yield Finish(choice, reason, _policy_of(passage).message(kind, passage.chat.language))


async def _timed_pieces(
    pieces: AsyncIterator[Piece], passage: Passage, metrics: Metrics, answer_s: float
) -> AsyncGenerator[Piece]:
    """Yield the pieces, all within one deadline, and count the time that the upstream took for them."""
    until_s = asyncio.get_running_loop().time() + answer_s
    try:
        while True:
            with metrics.timed("upstream", passage.spent_ms):
                piece = await _piece_until(pieces, until_s, answer_s)
            if piece is None:
                return
            yield piece
    except UpstreamError as exc:
        metrics.upstream_errors.labels(type(exc).__name__).inc()
        raise
    finally:
        if isinstance(pieces, AsyncGeneratorType):
            await pieces.aclose()


async def _piece_until(pieces: AsyncIterator[Piece], until_s: float, answer_s: float) -> Piece | None:
    try:
        async with asyncio.timeout_at(until_s):
            return await anext(pieces, None)
    except TimeoutError as exc:
        raise UpstreamTimeoutError(f"the upstream was not done within {answer_s:g} s") from exc
