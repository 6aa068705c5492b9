"""Capture: one script that logs an exchange, holds its samples and moves its conversation on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from learner.samples import Mode, row_fields, samples_of
from learner.session import Seen
from learner.store import Call, Keys
from learner.texts import dumps, plain, seal_fields, seal_text
from learner.types import Exchange, Sample

__all__ = ["Capture", "Deadlines", "Mode", "capture", "disown", "samples_of"]

MAX_MESSAGES = 2000
"""Messages of a conversation that are remembered; the oldest are scored again when they come back."""

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long what a capture leaves in Redis is kept, in milliseconds from its capture.

    ``exchange_ms`` is the time in which feedback and appeals may name the exchange. Samples end as ``expired``, with an
    event; what is not a sample is deleted.
    """

    exchange_ms: int = DAY_MS
    idempotency_ms: int = DAY_MS
    conversation_ms: int = 7 * DAY_MS
    author_ms: int = 365 * DAY_MS
    held_ms: int = 14 * DAY_MS
    quarantined_ms: int = 30 * DAY_MS


@dataclass(frozen=True, slots=True)
class Capture:
    """One exchange as it is captured.

    Attributes
    ----------
    messages
        HMAC of each message that was scored, and of the reply (``served``), to what became of it.
    prefix
        HMAC of the messages with the reply: the name by which the next request finds the conversation.
    answer
        What a retry with the same Idempotency-Key is answered; any JSON.
    last_reply
        What the conversation remembers as its turn before, where that is not the reply (a reply that was cut: nothing).
    keeps_turn
        Whether the turn before stays what it was: the bot never saw the prompt, so the next turn answers that one.
    """

    exchange: Exchange
    samples: tuple[Sample, ...] = ()
    messages: Mapping[str, Seen] = field(default_factory=dict)
    prefix: str | None = None
    answer: Any = None
    idempotency: str | None = None
    last_reply: str | None = None
    keeps_turn: bool = False
    deadlines: Deadlines = field(default_factory=Deadlines)


def disown(
    keys: Keys, request_id: str, at_ms: int, keep_ms: int = 7 * DAY_MS
) -> Call[Literal["prevented", "quarantined", "nothing"]]:
    """Make sure that an exchange is never learned whose client was told ``captured: no`` or ``unknown``.

    It holds whether the capture came through or still comes (within ``keep_ms``): call it until it succeeds. A capture
    that comes later is logged and makes no sample.
    """
    return Call("disown", (keys.prefix,), (plain(request_id), at_ms, keep_ms), lambda answer: answer)


def capture(keys: Keys, this: Capture) -> Call[Literal["captured", "duplicate", "disowned"]]:
    """Log an exchange with its samples: ``duplicate`` when its request, or another under its Idempotency-Key, was.

    ``disowned`` means logged, but too late to be learned (:func:`disown` came first).

    The conversation is ``exchange.conversation``; its lock is given back. A sample whose version a rollback took back
    meanwhile enters quarantine, whatever its verdict said.
    """
    exchange = this.exchange
    last_reply = exchange.reply if this.last_reply is None else this.last_reply
    args = (
        dumps(_head(this)),
        _event(exchange, this.samples),
        dumps({"author": exchange.author, "reply": seal_text(last_reply, exchange.author)}),
        dumps(this.answer),
        *(dumps(seal_fields(asdict(sample), sample.author)) for sample in this.samples),
    )
    return Call("capture", (keys.prefix,), args, lambda answer: answer)


def _head(this: Capture) -> dict[str, Any]:
    exchange = this.exchange
    head = {
        "request_id": exchange.request_id,
        "author": plain(exchange.author),
        "conversation": plain(exchange.conversation),
        "version": plain(exchange.version),
        "at_ms": exchange.finished_ms,
        "idempotency": this.idempotency,
        "prefix": this.prefix,
        "messages": [[hmac, seen] for hmac, seen in this.messages.items()],
        "max_messages": MAX_MESSAGES,
        "keep": asdict(this.deadlines),
        "keeps_turn": this.keeps_turn,
        "samples": [row_fields(sample) for sample in this.samples],
    }
    return {name: value for name, value in head.items() if value is not None}


def _event(exchange: Exchange, samples: tuple[Sample, ...]) -> str:
    """Return the event's JSON without its opening brace: the script puts the moves it decides before it.

    The samples in it leave out their texts, which the exchange has.
    """
    event = {
        "type": "exchange",
        "at_ms": exchange.finished_ms,
        "actor": "proxy",
        "reason": "",
        "request_id": exchange.request_id,
        "exchange": seal_fields(asdict(exchange), exchange.author),
        "samples": [
            {name: value for name, value in asdict(sample).items() if name not in ("prompt", "reply")}
            for sample in samples
        ],
    }
    return dumps(event)[1:]
