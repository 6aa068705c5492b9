"""Moves of the live pointer and the switches beside it, each one script that also logs it; and what is read of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from learner.folder import canonical
from learner.store import Call, Keys


@dataclass(frozen=True, slots=True)
class Standing:
    """The pointer and the switches, read in one call that does not grow with the number of versions.

    ``pending`` is the update that was begun without an outcome, else empty; ``rollback`` is one, or
    its undoing, whose samples are not all where they belong, ``last_rollback`` the one to undo.
    """

    undone: frozenset[str]
    live: str
    previous: str
    epoch: int
    frozen: bool
    stopped: bool
    pending: str
    rollback: Mapping[str, Any] | None
    last_rollback: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Moves(Standing):
    """Everything that Redis knows about versions, read in one call. ``moves`` are ``(at_ms, version)`` in order."""

    records: Mapping[str, Mapping[str, Any]]
    moves: tuple[tuple[int, str], ...]

    def ancestry(self, version_id: str) -> list[str]:
        """Return a version's id and its ancestors', itself first, as far as they are recorded."""
        found: dict[str, None] = {}
        while version_id and version_id not in found:
            found[version_id] = None
            version_id = str(self.records.get(version_id, {}).get("parent", ""))
        return list(found)

    def undone_by(self, to: str) -> list[str]:
        """Return what going from the live version to ``to`` takes back: ancestors of the first, none of the second."""
        kept = set(self.ancestry(to))
        return [version_id for version_id in self.ancestry(self.live) if version_id not in kept]

    def updates(self, versions: Sequence[str]) -> list[str]:
        """Return the updates that made versions, in their order; what learned nothing has none."""
        records = [self.records.get(version_id, {}) for version_id in versions]
        return [str(record["update"]) for record in records if record.get("parent") and record.get("update")]


def standing(keys: Keys) -> Call[Standing]:
    """Read the pointer and the switches as of one moment."""
    return Call("versions_read", (keys.prefix,), ("",), lambda answer: Standing(**_standing(answer)))


def read(keys: Keys) -> Call[Moves]:
    """Read versions, moves and switches as of one moment."""
    return Call("versions_read", (keys.prefix,), ("all",), _moves)


def live_at(keys: Keys, at_ms: int) -> Call[str]:
    """Read what was live at a time; empty before the first version."""
    return Call("versions_live_at", (keys.prefix,), (at_ms,), str)


def register(keys: Keys, record: Mapping[str, Any], now_ms: int, instead_of: str | None = None) -> Call[bool]:
    """Record a version once; a factory becomes live where nothing is. True when it was not recorded before.

    It also takes the place of ``instead_of``, if that is live: a bot's version behind an upstream, or the reverse.
    """
    args = (_json(record), now_ms, "-" if instead_of is None else instead_of)
    return Call("version_register", (keys.prefix,), args, lambda answer: bool(int(answer)))


def begin(keys: Keys, event: Mapping[str, Any]) -> Call[None]:
    """Begin an update that is written down; refused when lease, epoch or the live version moved meanwhile."""
    return Call("update_begin", (keys.prefix,), (_json(event),), lambda _answer: None)


def end(keys: Keys, event: Mapping[str, Any]) -> Call[None]:
    """Close an update that was not promoted."""
    return Call("update_end", (keys.prefix,), (_json(event),), lambda _answer: None)


def promote(keys: Keys, event: Mapping[str, Any], record: Mapping[str, Any], samples: Sequence[str]) -> Call[None]:
    """Make a candidate live if nothing changed since its draw, its ``samples`` neither; else a ``ConflictError``."""
    args = (_json(event), _json(record), canonical(list(samples)).decode())
    return Call("promote", (keys.prefix,), args, lambda _answer: None)


def roll_back(keys: Keys, event: Mapping[str, Any]) -> Call[int]:
    """Move the pointer back, raise the epoch, freeze, mark what is undone, leave its samples as pending work."""
    return Call("rollback", (keys.prefix,), (_json(event),), int)


def rollback_done(keys: Keys, event: Mapping[str, Any]) -> Call[int]:
    """Close a rollback, or its undoing, whose samples are all where they belong; once."""
    return Call("rollback_step", (keys.prefix,), (_json(event),), int)


def switch(keys: Keys, what: str, event: Mapping[str, Any]) -> Call[int]:
    """Turn ``frozen`` or ``stopped`` on or off, raise the epoch, log it; returns the epoch."""
    return Call("switch", (keys.prefix,), (what, _json(event)), int)


def _json(value: Mapping[str, Any]) -> str:
    return canonical(value).decode()


def _standing(answer: list[Any]) -> dict[str, Any]:
    undone, state = answer[:2]
    live, previous, epoch, frozen, stopped, pending, rollback, last = state
    return {
        "undone": frozenset(undone),
        "live": live,
        "previous": previous,
        "epoch": int(epoch or 0),
        "frozen": frozen == "1",
        "stopped": stopped == "1",
        "pending": pending,
        "rollback": json.loads(rollback) if rollback else None,
        "last_rollback": json.loads(last) if last else None,
    }


def _moves(answer: list[Any]) -> Moves:
    records, moves = answer[2:]
    pairs = [
        (int(float(at)), str(member).partition(":")[2]) for member, at in zip(moves[::2], moves[1::2], strict=True)
    ]
    found = {key: json.loads(value) for key, value in zip(records[::2], records[1::2], strict=True)}
    return Moves(**_standing(answer), records=found, moves=tuple(pairs))
