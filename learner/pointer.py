"""Moves of the live pointer and the switches beside it, each one script that also logs it; and what is read of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from learner.folder import canonical
from learner.store import Call, Keys


@dataclass(frozen=True, slots=True)
class Moves:
    """Everything that Redis knows about versions, read in one call.

    ``moves`` are ``(at_ms, version)`` in order; ``pending`` is the update that was begun without an outcome, else
    empty; ``rollback`` is one whose samples are not all back in quarantine, ``last_rollback`` the one to undo.
    """

    records: Mapping[str, Mapping[str, Any]]
    moves: tuple[tuple[int, str], ...]
    undone: frozenset[str]
    live: str
    previous: str
    epoch: int
    frozen: bool
    stopped: bool
    pending: str
    rollback: Mapping[str, Any] | None
    last_rollback: Mapping[str, Any] | None


def read(keys: Keys) -> Call[Moves]:
    """Read versions, moves and switches as of one moment."""
    return Call("versions_read", (keys.prefix,), (), _moves)


def live_at(keys: Keys, at_ms: int) -> Call[str]:
    """Read what was live at a time; empty before the first version."""
    return Call("versions_live_at", (keys.prefix,), (at_ms,), str)


def register(keys: Keys, record: Mapping[str, Any], now_ms: int) -> Call[bool]:
    """Record a version once; a factory becomes live where nothing is. True when it was not recorded before."""
    return Call("version_register", (keys.prefix,), (_json(record), now_ms), lambda answer: bool(int(answer)))


def begin(keys: Keys, event: Mapping[str, Any]) -> Call[None]:
    """Begin an update that is written down; refused when lease, epoch or the live version moved meanwhile."""
    return Call("update_begin", (keys.prefix,), (_json(event),), lambda _answer: None)


def end(keys: Keys, event: Mapping[str, Any]) -> Call[None]:
    """Close an update that was not promoted."""
    return Call("update_end", (keys.prefix,), (_json(event),), lambda _answer: None)


def promote(keys: Keys, event: Mapping[str, Any], record: Mapping[str, Any]) -> Call[None]:
    """Make a candidate live if nothing changed since its draw; else a ``ConflictError`` says what did."""
    return Call("promote", (keys.prefix,), (_json(event), _json(record)), lambda _answer: None)


def roll_back(keys: Keys, event: Mapping[str, Any]) -> Call[int]:
    """Move the pointer back, raise the epoch, freeze, mark what is undone, leave the re-quarantine as pending work."""
    return Call("rollback", (keys.prefix,), (_json(event),), int)


def note_before(keys: Keys, rollback: str, epoch: int, samples: Sequence[tuple[str, str]]) -> Call[int]:
    """Note where samples ``(id, update that trained it)`` are before a rollback moves them, once."""
    pairs = canonical([list(pair) for pair in samples]).decode()
    return Call("rollback_note", (keys.prefix,), (rollback, pairs, epoch), int)


def rollback_done(keys: Keys, event: Mapping[str, Any]) -> Call[int]:
    """Close a rollback whose samples are all back in quarantine; once."""
    return Call("rollback_step", (keys.prefix,), (_json(event),), int)


def bring_back(keys: Keys, event: Mapping[str, Any], ttl_ms: Mapping[str, int]) -> Call[int]:
    """Bring the samples of an undone rollback back to where they were, if untouched; returns how many."""
    return Call("rollback_return", (keys.prefix,), (_json(event), _json(ttl_ms)), int)


def switch(keys: Keys, what: str, event: Mapping[str, Any]) -> Call[int]:
    """Turn ``frozen`` or ``stopped`` on or off, raise the epoch, log it; returns the epoch."""
    return Call("switch", (keys.prefix,), (what, _json(event)), int)


def _json(value: Mapping[str, Any]) -> str:
    return canonical(value).decode()


def _moves(answer: list[Any]) -> Moves:
    records, moves, undone, state = answer
    live, previous, epoch, frozen, stopped, pending, rollback, last = state
    pairs = [
        (int(float(at)), str(member).partition(":")[2]) for member, at in zip(moves[::2], moves[1::2], strict=True)
    ]
    return Moves(
        records={key: json.loads(value) for key, value in zip(records[::2], records[1::2], strict=True)},
        moves=tuple(pairs),
        undone=frozenset(undone),
        live=live,
        previous=previous,
        epoch=int(epoch or 0),
        frozen=frozen == "1",
        stopped=stopped == "1",
        pending=pending,
        rollback=json.loads(rollback) if rollback else None,
        last_rollback=json.loads(last) if last else None,
    )
