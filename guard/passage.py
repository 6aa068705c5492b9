"""One message on its way through the guard: what each hop found out about it, and what is captured and logged of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from filters.policy import BARRED, Policy, worst_serve
from filters.types import Scores, ServeVerdict, Verdict
from filters.wire import scores_to_json, verdict_to_json
from guard.dialects.types import Answer, Captured, Chat, Head, answer_to_json
from guard.hold import HeldChoice
from guard.judging import Judgement
from guard.scoring import merged
from guard.turns import Names, Reading, reply_names
from learner.capture import Capture, Deadlines, samples_of
from learner.samples import Mode
from learner.session import Begin, Seen
from learner.texts import dumps, seal_text
from learner.types import Exchange, Sample


@dataclass(frozen=True, slots=True)
class Learning:
    """What may be learned from exchanges, and how long what a capture leaves in Redis is kept."""

    mode: Mode = "imitate"
    cool_down_s: float = 21_600
    learn_anonymous: bool = False
    deadlines: Deadlines = field(default_factory=Deadlines)


@dataclass(slots=True)
class Passage:
    """One message; the hops fill it in from top to bottom."""

    chat: Chat
    names: Names
    request_id: str
    started_ms: int
    model: str = ""
    begun: Begin | None = None
    store_down: bool = False
    policy: Policy | None = None
    reading: Reading | None = None
    version: str = ""
    prompt: Judgement | None = None
    held: list[HeldChoice] = field(default_factory=list)
    answer: Answer | None = None
    finish: str = ""
    captured: Captured = "no"
    settled: bool = False
    error: str = ""
    spent_ms: dict[str, float] = field(default_factory=dict)

    @property
    def reply(self) -> Judgement | None:
        """The judgement of all choices together, None before the reply has begun."""
        if not self.held or self.policy is None or not any(held.heard or held.finish for held in self.held):
            return None
        each = [held.judgement for held in self.held if held.heard or held.finish]
        scores = merged([one.scores for one in each])
        verdict = self.policy.decide(scores, "out")
        worst = worst_serve(*(one.verdict.serve for one in each), verdict.serve)
        barred = [reason for one in each for reason in one.verdict.reasons if reason.label == BARRED]
        verdict = replace(verdict, serve=worst, reasons=(*verdict.reasons, *barred))
        return Judgement(verdict, scores, tuple(one.verdict for one in each))

    @property
    def verdict(self) -> ServeVerdict:
        """The worse verdict of prompt and reply; *unscored* before there is one."""
        found = [one.verdict.serve for one in (self.prompt, self.reply) if one is not None]
        return worst_serve(*found) if found else "unscored"

    @property
    def coverage(self) -> float:
        """The smaller coverage of prompt and reply, in [0, 1]."""
        return min((one.verdict.coverage for one in (self.prompt, self.reply) if one is not None), default=0.0)

    def head(self) -> Head:
        """Return what is known when the answer begins."""
        prompt = self.prompt.verdict if self.prompt else None
        return Head(
            request_id=self.request_id,
            model=self.model or self.chat.model,
            created_s=self.started_ms // 1000,
            version=self.version,
            verdict=prompt.serve if prompt else "unscored",
            coverage=prompt.coverage if prompt else 0.0,
        )

    def log_fields(self) -> dict[str, Any]:
        """Return the canonical event: ids, verdicts, labels, milliseconds, never a text."""
        verdicts = {"in": self.prompt, "out": self.reply}
        return {
            "request_id": self.request_id,
            "key": self.chat.identity.key_id,
            "author": self.names.author,
            "conversation": self.begun.conversation if self.begun else None,
            "model": self.model,
            "version": self.version,
            "policy": self.policy.id if self.policy else "",
            "stream": self.chat.stream,
            "n": self.chat.n,
            "verdict": self.verdict,
            "verdicts": {side: one.verdict.serve for side, one in verdicts.items() if one},
            "broken": [side for side, one in verdicts.items() if one and one.broken],
            "reasons": sorted({r.label for one in verdicts.values() if one for r in one.verdict.reasons}),
            "coverage": round(self.coverage, 4),
            "captured": self.captured,
            "finish": self.finish,
            "error": self.error,
            "ms": {hop: round(spent, 2) for hop, spent in self.spent_ms.items()},
        }


def finish_of(passage: Passage) -> str:
    """Return how the first choice ended, or ``content_filter`` where any was cut."""
    ends: Sequence[str] = (
        [choice.finish for _, choice in sorted(passage.answer.choices.items())] if passage.answer else []
    )
    return "content_filter" if "content_filter" in ends else (ends[0] if ends else "stop")


def outcome_of(passage: Passage) -> str:
    """Return how a message ended, as the metrics name it."""
    if passage.finish in ("stopped", "unavailable", "repeated", "disconnected", "upstream_error", "refused", "failed"):
        return passage.finish
    if passage.verdict == "unscored" and any(one is not None and one.broken for one in (passage.prompt, passage.reply)):
        return "broken"
    return passage.verdict


def fingerprint_of(chat: Chat, names: Names, hashed: Callable[[str, str], str]) -> str:
    """Return a keyed hash of what is asked, so that one Idempotency-Key stands for one request."""
    return hashed(dumps([chat.model, chat.n, names.messages, dict(chat.options)]), "idempotency")


def capture_of(
    passage: Passage, learning: Learning, hashed: Callable[[str, str], str], now_ms: int, *, acknowledged: bool
) -> Capture:
    """Return the capture of a passage that was judged; one that is not acknowledged leaves nothing to learn from."""
    if passage.begun is None or passage.policy is None or passage.prompt is None or passage.reading is None:
        raise ValueError("a passage without a judged prompt cannot be captured")
    served, prefix = reply_names(passage.names, passage.answer or Answer(passage.head()), hashed)
    neutral = Judgement(Verdict("allow", "hold", policy=passage.policy.id), ())
    reply = passage.reply or neutral
    exchange = _exchange(passage, passage.prompt, reply, prefix, now_ms)
    samples = samples_of(
        exchange,
        passage.prompt.verdict,
        reply.verdict,
        mode=learning.mode,
        cool_down_s=learning.cool_down_s,
        hashed=hashed,
        learn_anonymous=learning.learn_anonymous,
        previous_version=passage.begun.last_version,
    )
    clean = len(passage.held) == 1 and reply.verdict.serve == "allow" and passage.finish in ("stop", "length")
    messages = _became(passage.reading, passage.prompt, passage.names, shadow=passage.policy.shadow)
    unseen = not passage.policy.lets_through(passage.prompt.verdict, "in")  # the bot was never asked
    if not acknowledged:
        left = _for_review_only(samples)
        return Capture(exchange, left, messages, last_reply="", keeps_turn=unseen, deadlines=learning.deadlines)
    return Capture(
        exchange,
        samples,
        {**messages, **dict.fromkeys(served, "served")},
        prefix=prefix,
        answer=_stored_answer(passage, hashed) if passage.names.idempotency else None,
        idempotency=passage.names.idempotency,
        last_reply=exchange.reply if clean else "",
        keeps_turn=unseen,
        deadlines=learning.deadlines,
    )


def _exchange(passage: Passage, prompt: Judgement, reply: Judgement, prefix: str, now_ms: int) -> Exchange:
    begun, reading = passage.begun, passage.reading
    if begun is None or reading is None:
        raise ValueError("a passage that has not begun is no exchange")
    return Exchange(
        request_id=passage.request_id,
        author=passage.names.author,
        conversation=begun.conversation or prefix,
        key_id=passage.chat.identity.key_id,
        prompt=reading.prompt,
        reply="\n".join(held.heard for held in passage.held),
        previous=reading.previous,
        version=passage.version,
        epoch=begun.epoch,
        started_ms=passage.started_ms,
        finished_ms=now_ms,
        finish=passage.finish,
        prompt_verdict=verdict_to_json(prompt.verdict),
        reply_verdict=verdict_to_json(reply.verdict),
        scores={"in": _scores(prompt.scores), "out": _scores(reply.scores)},
        model=passage.model,
        anonymous=passage.names.anonymous,
    )


def _scores(scores: tuple[Scores, ...]) -> dict[str, Any]:
    return {one.filter: scores_to_json(one) for one in scores}


def _for_review_only(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    return tuple(replace(sample, learnable=False) for sample in samples if sample.state == "quarantined")


def _became(reading: Reading, prompt: Judgement, names: Names, *, shadow: bool = False) -> dict[str, Seen]:
    """Return what became of each scored message; of one that was not scored nothing is kept, so it is scored again."""
    became: dict[str, Seen] = {}
    if shadow:  # nothing is kept away from the bot, now or later
        return {names.messages[at]: "scored" for text in reading.texts for at in text.messages}
    each = list(zip(reading.texts, prompt.each, strict=True))
    for text, verdict in each:
        if len(text.messages) == 1 and verdict.serve != "unscored":
            became[names.messages[text.messages[0]]] = "blocked" if verdict.serve == "block" else "scored"
    became |= {names.messages[at]: "replaced" for at in reading.replaced if became.get(names.messages[at]) == "scored"}
    joined = [text.messages for text, verdict in each if len(text.messages) > 1 and verdict.serve == "block"]
    together = {names.messages[i] for positions in joined for i in positions}
    if together and "blocked" not in became.values():
        return {**became, **dict.fromkeys(together, "blocked")}
    # Blocked together, and one of them alone as well: whether the others are clean without it, the next look says.
    return {name: seen for name, seen in became.items() if seen == "blocked" or name not in together}


def _stored_answer(passage: Passage, hashed: Callable[[str, str], str]) -> Mapping[str, Any] | None:
    if passage.answer is None:
        return None
    body = dumps(answer_to_json(passage.answer))
    asked = fingerprint_of(passage.chat, passage.names, hashed)
    return {"asked": asked, "body": seal_text(body, passage.names.author), "author": passage.names.author}
