"""From an exchange to its candidates for training, and samples as rows and as JSON."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Literal

from filters.types import LEARN_ORDER, Verdict
from learner.texts import open_fields, open_text, plain
from learner.types import Exchange, Sample, SampleKind

Mode = Literal["imitate", "reinforce", "off"]
Hashed = Callable[[str, str], str]
"""A keyed hash of a text for a purpose; see :class:`learner.secrets.KeyedHash`."""

ANONYMOUS = "anonymous"
"""Author of every sample whose author nobody asserted: all of them are under one cap."""


def pattern_of(prompt: str, reply: str, hashed: Hashed) -> str:
    """Return the keyed hash that exact repeats of a pair share, whatever their case, spacing and punctuation.

    >>> pattern_of("Hi!", "You  are nice.", lambda t, _: t) == pattern_of("hi", "you are nice", lambda t, _: t)
    True
    """
    return hashed(f"{_normal(prompt)}\n{_normal(reply)}", "pattern")


def _normal(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(c if unicodedata.category(c)[0] in "LMNS" else " " for c in folded).split()
    return " ".join(words) or " ".join(folded.split())


def samples_of(
    exchange: Exchange,
    prompt_verdict: Verdict,
    reply_verdict: Verdict,
    *,
    mode: Mode,
    cool_down_s: float,
    hashed: Hashed,
    learn_anonymous: bool = False,
    previous_version: str = "",
) -> tuple[Sample, ...]:
    """Return what may be learned from an exchange, or must be reviewed: none or one sample.

    ``previous_version`` gave ``exchange.previous``. ``exchange.scores`` holds the scores of the prompt under ``in``,
    those of the reply under ``out``. A sample that nobody can learn from (no turn before it) is made only for review.
    """
    if mode == "imitate":
        kind: SampleKind = "turn"
        verdicts: tuple[Verdict, ...] = (prompt_verdict,)
        if _learn_of(reply_verdict) != "hold":
            kind, verdicts = "exchange", (prompt_verdict, reply_verdict)
    else:
        kind, verdicts = "exchange", (prompt_verdict, reply_verdict)
    learn = max((_learn_of(v) for v in verdicts), key=LEARN_ORDER.index)
    learnable = mode != "off" and (kind == "turn" or mode == "reinforce")
    learnable = learnable and bool(exchange.previous if kind == "turn" else exchange.reply)
    if learn == "reject" or (learn == "hold" and not (learnable and (learn_anonymous or not exchange.anonymous))):
        return ()
    return (_sample(exchange, kind, verdicts, learn == "hold", learnable, cool_down_s, hashed, previous_version),)


def _learn_of(verdict: Verdict) -> Literal["hold", "quarantine", "reject"]:
    """Return the learn verdict, made ``quarantine`` where what was served was not clean: unscored is never held."""
    return (
        "quarantine"
        if verdict.learn == "hold" and (verdict.serve != "allow" or verdict.coverage < 1)
        else verdict.learn
    )


def _sample(
    exchange: Exchange,
    kind: SampleKind,
    verdicts: tuple[Verdict, ...],
    clean: bool,  # noqa: FBT001 - private
    learnable: bool,  # noqa: FBT001 - private
    cool_down_s: float,
    hashed: Hashed,
    previous_version: str,
) -> Sample:
    prompt, reply = texts_of(kind, exchange.previous, exchange.prompt, exchange.reply)
    stored = (exchange.prompt_verdict,) if kind == "turn" else (exchange.prompt_verdict, exchange.reply_verdict)
    sides = ("in",) if kind == "turn" else ("in", "out")
    return Sample(
        id=f"{exchange.request_id}.{kind[0]}",
        kind=kind,
        state="held" if clean else "quarantined",
        request_id=exchange.request_id,
        author=ANONYMOUS if exchange.anonymous else exchange.author,
        conversation=exchange.conversation,
        prompt=prompt,
        reply=reply,
        pattern=pattern_of(prompt, reply, hashed),
        captured_ms=exchange.finished_ms,
        due_ms=exchange.finished_ms + int(cool_down_s * 1000),
        version=previous_version or exchange.version if kind == "turn" else exchange.version,
        policy=verdicts[0].policy,
        filters={name: version for v in verdicts for name, version in v.filters.items()},
        scores={side: exchange.scores[side] for side in sides if side in exchange.scores},
        reasons=tuple(reason for verdict in stored for reason in verdict.get("reasons", ())),
        coverage=min(verdict.coverage for verdict in verdicts),
        learnable=learnable,
    )


def texts_of(kind: SampleKind, previous: str, prompt: str, reply: str) -> tuple[str, str]:
    """Return the prompt and the reply to learn: a turn answers the turn before it.

    >>> texts_of("turn", "how are you?", "fine", "good!")
    ('how are you?', 'fine')
    """
    return (previous, prompt) if kind == "turn" else (prompt, reply)


def risk_of(sample: Sample) -> float:
    """Return the highest score among a sample's reasons, in [0, 1]; one without a score (unscored) counts as 1."""
    return max((1.0 if r.get("score") is None else float(r["score"]) for r in sample.reasons), default=0.0)


def uncertainty_of(sample: Sample) -> float:
    """Return how near a sample's nearest reason is to its threshold, in [0, 1]; 1 is on it."""
    gaps = [
        abs(r["score"] - r["threshold"]) for r in sample.reasons if None not in (r.get("score"), r.get("threshold"))
    ]
    return 1.0 - min(gaps, default=1.0)


def row_fields(sample: Sample) -> dict[str, Any]:
    """Return the fields of a sample's row, its texts and scores left to the body: what scripts decide by."""
    names = ("id", "kind", "state", "author", "version", "pattern", "due_ms", "captured_ms", "request_id", "update")
    row: dict[str, Any] = {name: getattr(sample, name) for name in names}
    for name in ("author", "version", "conversation", "released_by"):
        row[name] = plain(getattr(sample, name))
    row["learnable"] = int(sample.learnable)
    row["risk"] = round(risk_of(sample), 6)
    return row


def sample_from_json(row: Mapping[str, Any]) -> Sample:
    """Return a sample from its fields as JSON; those that it does not know are left out."""
    known = {name: row[name] for name in Sample.__dataclass_fields__ if name in row}
    return Sample(**{**known, "reasons": tuple(known.get("reasons", ()))})


def sample_of_row(row: Mapping[str, str]) -> Sample:
    """Return the sample of a Redis hash: its body, overridden by the fields that change."""
    body = json.loads(row["body"])
    body = open_fields(body, body["author"])
    changed = {name: row[name] for name in ("state", "update", "released_by")}
    return sample_from_json({**body, **changed, "learnable": row["learnable"] == "1"})


def exchange_from_json(row: Mapping[str, Any]) -> Exchange:
    """Return the exchange that was logged as ``row``, its texts opened."""
    known = {name: row[name] for name in Exchange.__dataclass_fields__ if name in row}
    texts = {name: open_text(known[name], known["author"]) for name in ("prompt", "reply", "previous")}
    return Exchange(**{**known, **texts})
