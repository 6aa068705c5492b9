"""The calls behind :class:`learner.buffer.Buffer`: pure builders, one script each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from learner.capture import DAY_MS
from learner.outcomes import Admission, BufferSettings, FeedbackResult, MoveOutcome, Result
from learner.samples import row_fields
from learner.states import TRANSITIONS
from learner.store import Call, Keys
from learner.texts import dumps, plain, seal_fields, seal_text
from learner.types import Sample, SampleState

Row = dict[str, str]
How = Literal["ids", "state", "due", "late", "author", "version"]

_COUNTS = {"released": "released", "discarded": "discarded"}


@dataclass(frozen=True, slots=True)
class Decision:
    """One event for many samples. ``remember`` lets its actor undo it; ``more`` adds to the decision before it."""

    event: str
    actor: str
    reason: str
    at_ms: int
    settings: BufferSettings
    remember: bool = False
    epoch: int = 0
    more: bool = False


def decide(
    keys: Keys, decision: Decision, ids: Sequence[str], restore: Mapping[str, Sample] | None = None
) -> Call[list[MoveOutcome]]:
    """Move samples by one event; ``restore`` brings settled ones back first."""
    transition = TRANSITIONS[decision.event]
    order = {
        "event": decision.event,
        "sources": transition.sources,
        "to": transition.target,
        "actor": plain(decision.actor),
        "reason": plain(decision.reason),
        "at_ms": decision.at_ms,
        "ttl_ms": decision.settings.ttl_ms,
        "ids": [plain(i) for i in ids],
        "epoch": decision.epoch,
        "remember": decision.remember,
        "remember_ms": DAY_MS,
        "more": decision.more,
        "released": plain(decision.actor) if decision.event == "released" else "",
    }
    if decision.event in _COUNTS:
        order["counts"] = _COUNTS[decision.event]
    return Call("decide", (keys.prefix,), (dumps(order), *_restored(restore)), _outcomes)


def bring_back(
    keys: Keys,
    ids: Sequence[str],
    updates: Mapping[str, str],
    actor: str,
    reason: str,
    at_ms: int,
    settings: BufferSettings,
    restore: Mapping[str, Sample] | None = None,
) -> Call[list[MoveOutcome]]:
    """Put samples back where a rollback found them; ``updates`` (by id) are live again."""
    order = {
        "ids": ids,
        "updates": updates,
        "actor": plain(actor),
        "reason": plain(reason),
        "at_ms": at_ms,
        "ttl_ms": settings.ttl_ms,
    }
    return Call("rollback_return", (keys.prefix,), (dumps(order), *_restored(restore)), _outcomes)


def _restored(samples: Mapping[str, Sample] | None) -> list[str]:
    """Return what scripts make rows of again, three arguments each."""
    rows: list[str] = []
    for sample_id, sample in (samples or {}).items():
        rows += (sample_id, dumps(row_fields(sample)), _body(sample))
    return rows


def undo(
    keys: Keys,
    actor: str,
    at_ms: int,
    settings: BufferSettings,
    restore: Mapping[str, tuple[Sample, str]] | None = None,
) -> Call[list[MoveOutcome]]:
    """Revert an actor's last decision.

    Without ``restore``, the ids of samples that have settled come back as ``missing`` and nothing moves; then give
    those there are, each with the log entry of its last event.
    """
    order = {"actor": plain(actor), "at_ms": at_ms, "ttl_ms": settings.ttl_ms, "restored": restore is not None}
    rows: list[str] = []
    for sample_id, (sample, last) in (restore or {}).items():
        rows += (sample_id, dumps({**row_fields(sample), "last": last}), _body(sample))
    return Call("undo", (keys.prefix,), (dumps(order), *rows), _outcomes)


def _body(sample: Sample) -> str:
    return dumps(seal_fields(asdict(sample), sample.author))


def admit(
    keys: Keys,
    ids: Sequence[str],
    vetoes: Mapping[str, str],
    *,
    token: int,
    epoch: int,
    at_ms: int,
    settings: BufferSettings,
) -> Call[Admission]:
    """Decide on held samples in the order of ``ids``; ``vetoes`` go to quarantine with their reason."""
    order = {
        "token": token,
        "epoch": epoch,
        "at_ms": at_ms,
        "ids": ids,
        "vetoes": vetoes,
        "k": settings.k_authors,
        "young_ms": settings.young_ms,
        "ttl_ms": settings.ttl_ms,
        "actor": "learner",
    }
    return Call("admit", (keys.prefix,), (dumps(order),), _admission)


def may_learn(keys: Keys, token: int, epoch: int) -> Call[str]:
    """Refuse, as :class:`~learner.errors.ConflictError`, a learner that lost its lease, its epoch or its permission."""
    return Call("may_learn", (keys.prefix,), (token, epoch), str)


def mark_drawn(
    keys: Keys, ids: Sequence[str], update: str, *, token: int, epoch: int, at_ms: int, settings: BufferSettings
) -> Call[int]:
    """Draw samples into an update, all or none."""
    order = {"ids": ids, "update": update, "token": token, "epoch": epoch, "at_ms": at_ms, "caps": settings.caps}
    return Call("mark_drawn", (keys.prefix,), (dumps({**order, "actor": "learner"}),), int)


def undraw(
    keys: Keys, ids: Sequence[str], update: str, *, token: int, reason: str, at_ms: int, settings: BufferSettings
) -> Call[int]:
    """Give samples of an update back, undrawn, and the caps what they took."""
    order = {"ids": ids, "update": update, "token": token, "at_ms": at_ms, "ttl_ms": settings.ttl_ms}
    return Call("undraw", (keys.prefix,), (dumps({**order, "actor": "learner", "reason": plain(reason)}),), int)


def rows(
    keys: Keys, how: How, what: str = "", *, offset: int = 0, count: int = 500, at_most: int = 0
) -> Call[list[Row]]:
    """Read samples as rows, by index and in its order."""
    return Call("rows", (keys.prefix,), (how, plain(what), offset, count, at_most), _rows)


def rows_of(keys: Keys, ids: Sequence[str]) -> Call[list[Row]]:
    """Read samples as rows, by id; those that are not in motion are left out."""
    return rows(keys, "ids", dumps([plain(i) for i in ids]))


def counts(keys: Keys, names: Sequence[str]) -> Call[dict[str, int]]:
    """Count the samples of states (and of ``drawn``)."""
    return Call("counts", (keys.prefix,), tuple(names), lambda answer: dict(zip(names, answer, strict=True)))


def spent(keys: Keys, at_ms: int) -> Call[dict[str, int]]:
    """Read what the day's draws took: ``a:`` author, ``c:`` conversation or ``*`` to samples."""
    return Call("spent", (keys.prefix,), (at_ms,), lambda a: {k: int(v) for k, v in zip(a[::2], a[1::2], strict=True)})


def feedback(
    keys: Keys,
    request_id: str,
    author: str,
    rating: Literal["up", "down"],
    comment: str,
    at_ms: int,
    settings: BufferSettings,
) -> Call[FeedbackResult]:
    """Record one rating of one exchange: the first by each author counts, up to the author's cap of the day.

    Raises
    ------
    UnknownIdError
        No exchange of late has this request id.
    """
    who = plain(author)
    order = {
        "request_id": plain(request_id),
        "author": who,
        "rating": rating,
        "at_ms": at_ms,
        "cap": settings.feedback_cap,
        "keep_ms": settings.deadlines.exchange_ms,
        "author_ms": settings.deadlines.author_ms,
    }
    event = {
        "type": "feedback",
        "at_ms": at_ms,
        "actor": "client",
        "reason": "",
        "request_id": request_id,
        "author": who,
    }
    event |= {"rating": rating, "comment": seal_text(comment, who)}
    return Call("feedback", (keys.prefix,), (dumps(order), dumps(event)), lambda a: cast("FeedbackResult", a))


def appeal(
    keys: Keys, request_id: str, author: str, comment: str, at_ms: int
) -> Call[Literal["appealed", "duplicate"]]:
    """Note that a person asks for a second look at an exchange; raises as :func:`feedback` does."""
    who = plain(author)
    event = {
        "type": "appealed",
        "at_ms": at_ms,
        "actor": "client",
        "reason": "",
        "request_id": request_id,
        "author": who,
    }
    event["comment"] = seal_text(comment, who)
    return Call("appeal", (keys.prefix,), (plain(request_id), dumps(event)), lambda answer: answer)


def sweep(keys: Keys, now_ms: int, at_most: int = 500) -> Call[int]:
    """Delete keys whose deadline has passed; returns how many."""
    return Call("sweep", (keys.prefix,), (now_ms, at_most), int)


def _outcomes(answer: list[list[Any]]) -> list[MoveOutcome]:
    return [
        MoveOutcome(i, cast("Result", result), cast("SampleState | None", state or None), detail)
        for i, result, state, detail in answer
    ]


def _admission(answer: list[Any]) -> Admission:
    admitted, quarantined, waiting = answer
    return Admission(tuple(admitted), dict(quarantined), int(waiting))


def _rows(answer: list[list[str]]) -> list[Row]:
    return [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in answer]
