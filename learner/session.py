"""What a request learns from Redis when it begins, in one call: pointer, conversation and its lock, messages, retry."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from learner.store import Call, Keys
from learner.texts import dumps, open_text, plain
from learner.types import FACTORY

Seen = Literal["", "scored", "replaced", "blocked", "served"]
"""What became of a message before: ``replaced`` is one that the bot saw in part, and sees so again."""

Lock = Literal["got", "busy", "none"]


@dataclass(frozen=True, slots=True)
class Pointer:
    """What is live now. ``policy`` is the id of the live policy, empty before the first one was applied."""

    live: str
    previous: str
    epoch: int
    frozen: bool
    stopped: bool
    policy: str


@dataclass(frozen=True, slots=True)
class BeginRequest:
    """One request, as far as the store must know it.

    Attributes
    ----------
    conversation
        The conversation that the client named (better: a keyed hash of it), else None.
    prefixes
        HMACs of the message prefixes that end in an assistant turn, the longest first. Let the author be part of them.
    messages
        One HMAC per message, in order.
    idempotency
        HMAC of key, author and ``Idempotency-Key``, else None.
    lock_until_ms
        When the lock, and the claim on the Idempotency-Key, lapse if the process dies.
    lock
        Whether to take the conversation's lock; not where strangers may come the same way.
    """

    request_id: str
    now_ms: int
    conversation: str | None = None
    prefixes: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    idempotency: str | None = None
    lock_until_ms: int = 0
    lock: bool = True


@dataclass(frozen=True, slots=True)
class Idempotent:
    """What became of an earlier request with the same Idempotency-Key; ``answer`` is None while it runs."""

    state: Literal["running", "done"]
    request_id: str
    answer: Any


@dataclass(frozen=True, slots=True)
class Begin:
    """What the request pins and may do.

    ``lock`` is ``busy`` while another request of the conversation runs: wait and begin again. It is ``none`` where
    there is no conversation, and for a retry (``idempotent`` is not None). ``last_*`` speak of the turn before.
    """

    pointer: Pointer
    conversation: str | None
    lock: Lock
    seen: tuple[Seen, ...]
    last_reply: str
    last_request_id: str
    last_version: str
    idempotent: Idempotent | None

    @property
    def live(self) -> str:
        """The version to answer with."""
        return self.pointer.live

    @property
    def previous(self) -> str:
        """The version that was live before."""
        return self.pointer.previous

    @property
    def epoch(self) -> int:
        """The epoch to capture with."""
        return self.pointer.epoch

    @property
    def frozen(self) -> bool:
        """Whether learning is frozen."""
        return self.pointer.frozen

    @property
    def stopped(self) -> bool:
        """Whether every request gets the fixed reply."""
        return self.pointer.stopped

    @property
    def policy(self) -> str:
        """Id of the policy to judge with."""
        return self.pointer.policy


def pointer(keys: Keys) -> Call[Pointer]:
    """Read the pointer, for whoever polls."""
    return Call("pointer", (keys.prefix,), (), _pointer)


def begin(keys: Keys, request: BeginRequest) -> Call[Begin]:
    """Begin a request. Beginning again under the same request id takes the same lock once."""
    args = {name: value for name, value in asdict(request).items() if value is not None}
    if request.conversation is not None:
        args["conversation"] = plain(request.conversation)
    return Call("begin", (keys.prefix,), (dumps(args),), lambda answer: _begin(answer, len(request.messages)))


def release_lock(keys: Keys, conversation: str | None, request_id: str, idempotency: str | None = None) -> Call[bool]:
    """End a request that is not captured: give back its lock and its claim on the Idempotency-Key.

    A capture gives back both by itself. Releasing what another request holds does nothing.
    """
    args = (plain(conversation or ""), request_id, idempotency or "")
    return Call("release_lock", (keys.prefix,), args, lambda answer: bool(int(answer)))


def _pointer(answer: list[str]) -> Pointer:
    live, previous, epoch, frozen, stopped, policy = answer
    return Pointer(live or FACTORY, previous or FACTORY, int(epoch or 0), frozen == "1", stopped == "1", policy)


def _begin(answer: list[Any], n_messages: int) -> Begin:
    state, conversation, lock, seen, (reply, request_id, version), retry = answer
    return Begin(
        pointer=_pointer(state),
        conversation=conversation or None,
        lock=cast("Lock", lock),
        seen=cast("tuple[Seen, ...]", tuple(seen or [""] * n_messages)),
        last_reply=_last_reply(reply),
        last_request_id=request_id,
        last_version=version,
        idempotent=Idempotent(retry[0], retry[1], json.loads(retry[2]) if retry[2] else None) if retry else None,
    )


def _last_reply(stored: str) -> str:
    if not stored:
        return ""
    row = json.loads(stored)
    return open_text(row["reply"], row["author"])
