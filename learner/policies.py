"""Policies in the store: immutable by content, and a pointer to the live one that only an audited script moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from learner.folder import canonical
from learner.store import Call, Keys
from learner.texts import plain


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an application: the policy that is live now, the epoch, and whether anything changed."""

    policy: str
    epoch: int
    changed: bool


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy's canonical JSON (empty where there is none), with the ids of the live one and the one before it."""

    live: str
    previous: str
    json: str


def apply(
    keys: Keys, policy_id: str, body: str, *, actor: str, reason: str, at_ms: int, how: Literal["first", "set"] = "set"
) -> Call[Applied]:
    """Make a policy live and raise the epoch; ``first`` does nothing where one is live already."""
    by = {"actor": plain(actor), "reason": plain(reason), "at_ms": at_ms}
    event = {"type": "policy", "policy": policy_id, **by}
    return Call("policy_apply", (keys.prefix,), (body, canonical(event).decode(), how), _applied)


def read(keys: Keys, policy_id: str = "") -> Call[StoredPolicy]:
    """Read a policy, or the live one."""
    return Call("policy_read", (keys.prefix,), (policy_id,), lambda answer: StoredPolicy(*answer))


def _applied(answer: list[Any]) -> Applied:
    return Applied(str(answer[0]), int(answer[1]), answer[2] == "1")
