"""Rollback: one script moves the pointer, raises the epoch, freezes learning and marks what is undone.

What was learned since goes back to quarantine in steps that any later run completes. Everything is logged with actor
and reason, and can be reversed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from learner import pointer
from learner.audit import Trail
from learner.buffer import Buffer
from learner.errors import ConflictError, CorruptError, UnknownIdError
from learner.gate import Gate, GateReport
from learner.outcomes import MoveOutcome
from learner.pointer import Moves
from learner.references import References
from learner.store import Keys, Store
from learner.texts import plain
from learner.types import FACTORY, Clock, Version, brief
from learner.updates import UpdateLog
from learner.versions import Versions

MARK = "rollback"
_STEP = 200


@dataclass(frozen=True, slots=True)
class RollbackPreview:
    """What a rollback would do. ``trained`` were learned since; ``waiting`` came from replies of the undone."""

    live: str
    to: str
    undone: tuple[str, ...]
    trained: tuple[str, ...]
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """What a rollback, or its undoing, did. ``pointer_ms`` is how long it took until every worker could see it.

    ``samples`` went to quarantine, ``returned`` are back where an earlier rollback found them.
    """

    live: str
    previous: str
    epoch: int
    undone: tuple[str, ...]
    samples: int
    returned: int
    pointer_ms: float


class Verifier(Protocol):
    """What a rollback asks of a bot."""

    def verify(self, folder: Path, version: Version) -> None:
        """Raise :class:`CorruptError` unless the version is whole, :class:`UnknownIdError` where there is none."""


class Rollback:
    """Take the bot back, stop it, freeze it; each act names its actor and reason."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        data_dir: Path,
        clock: Clock,
        bot: Verifier,
        buffer: Buffer,
        versions: Versions,
        updates: UpdateLog,
    ) -> None:
        self._store = store
        self._keys = keys
        self._data_dir = data_dir
        self._clock = clock
        self._bot = bot
        self._buffer = buffer
        self._versions = versions
        self._updates = updates

    def preview(self, to: str) -> RollbackPreview:
        """Return what a rollback to ``to`` would do, having verified the target.

        Raises
        ------
        UnknownIdError
            There is no such version.
        ConflictError
            It is the live one.
        CorruptError
            It does not verify; the message names one that does.
        """
        moves = self._versions.moves()
        target = self._target(to, moves)
        undone = moves.undone_by(target)
        trained = self._trained(moves.updates(undone))
        waiting = [i for i in self._buffer.answered_by(undone, moves.pending) if i not in trained]
        return RollbackPreview(moves.live, target, tuple(undone), tuple(trained), tuple(waiting))

    def apply(self, to: str, actor: str, reason: str) -> RollbackResult:
        """Roll back to ``to``; learning stays frozen until thawed. Raises as :meth:`preview`.

        Of the files only the target's are looked at before the pointer moves: the live version's may be damaged.
        """
        self.resume()
        started = time.perf_counter()
        moves = self._versions.moves()
        target = self._target(to, moves)
        undone = moves.undone_by(target)
        redone = [version_id for version_id in moves.ancestry(target) if version_id in moves.undone]
        event = {"id": uuid.uuid4().hex, "from": moves.live, "to": target, "undone": undone, "redone": redone}
        epoch = self._store.run(pointer.roll_back(self._keys, {**event, "reverses": "", **self._by(actor, reason)}))
        pointer_ms = round((time.perf_counter() - started) * 1000, 3)
        return RollbackResult(target, moves.live, epoch, tuple(undone), *self.resume(), pointer_ms)

    def resume(self) -> tuple[int, int]:
        """Finish a rollback, or its undoing; returns how many samples it quarantined and how many came back.

        Safe to repeat. What the undone versions learned, and what waits that came from their replies, goes to
        quarantine; what an earlier rollback put there of versions that are live again goes back to where it was.
        """
        left = self._versions.standing().rollback
        if not left:
            return 0, 0
        moves = self._versions.moves()
        epoch, actor, reason = int(left["epoch"]), str(left["actor"]), str(left["reason"])
        undone, redone = _strings(left["undone"]), _strings(left["redone"])
        again = self._trained(moves.updates(redone))
        taken = dict.fromkeys([*self._trained(moves.updates(undone)), *self._buffer.answered_by(undone, moves.pending)])
        moved = back = 0
        for step in _steps([i for i in taken if i not in again]):
            moved += _moved(self._buffer.requarantine(step, MARK, actor, epoch))
        for step in _steps(list(dict.fromkeys([*again, *self._buffer.taken_back(redone)]))):
            updates = {i: again[i] for i in step if i in again}
            back += _moved(self._buffer.bring_back(step, updates, actor, reason))
        done = {"rollback": left["id"], "count": moved, "returned": back, **self._by(actor, reason)}
        self._store.run(pointer.rollback_done(self._keys, done))
        return moved, back

    def undo(self, actor: str, reason: str = "") -> RollbackResult:
        """Reverse the last rollback: its version is live again, its samples that nobody touched are back; still frozen.

        What that rollback had made live again is undone again, its samples in quarantine.

        Raises
        ------
        ConflictError
            There is none to undo, or something was promoted since.
        """
        self.resume()
        moves = self._versions.moves()
        last = moves.last_rollback
        if not last:
            raise ConflictError("no rollback to undo: `tayguard rollback TO` makes one")
        started = time.perf_counter()
        to, undone, redone = str(last["from"]), _strings(last["redone"]), _strings(last["undone"])
        self._verify(to, moves)
        event = {
            "id": uuid.uuid4().hex,
            "from": last["to"],
            "to": to,
            "undone": undone,
            "redone": redone,
            **self._by(actor, reason),
        }
        epoch = self._store.run(pointer.roll_back(self._keys, {**event, "reverses": last["id"]}))
        pointer_ms = round((time.perf_counter() - started) * 1000, 3)
        return RollbackResult(to, str(last["to"]), epoch, tuple(undone), *self.resume(), pointer_ms)

    def freeze(self, actor: str, reason: str = "") -> int:
        """Stop learning until thawed; returns the epoch. Raises :class:`ConflictError` when it is frozen."""
        return self._switch("frozen", "frozen", "learning is frozen already", actor, reason, on=True)

    def thaw(self, actor: str, reason: str = "") -> int:
        """Let learning go on; returns the epoch. Raises :class:`ConflictError` when it is not frozen."""
        return self._switch("frozen", "thawed", "learning is not frozen", actor, reason, on=False)

    def stop(self, actor: str, reason: str = "") -> int:
        """Give every request the fixed reply from now on; returns the epoch."""
        return self._switch("stopped", "stopped", "it is stopped already", actor, reason, on=True)

    def start(self, actor: str, reason: str, gate: Gate, references: References) -> GateReport:
        """Serve again if the live version passes the gate against the factory; returns the gate's report.

        Raises
        ------
        ConflictError
            It is not stopped, or the gate did not pass: roll back first.
        """
        moves = self._versions.moves()
        if not moves.stopped:
            raise ConflictError("it is not stopped")
        live = self._versions.get(moves.live)
        report = gate.check(references.live(), self._versions.get(FACTORY), live)
        if report.outcome != "pass":
            found = "; ".join(report.lines())
            raise ConflictError(f"version {live.id[:12]} does not pass the gate ({found}): roll back first, then start")
        self._switch("stopped", "started", "it is not stopped", actor, reason, on=False)
        return report

    def start_ungated(self, actor: str, reason: str = "") -> int:
        """Serve again where there is no bot of ours to put through a gate; returns the epoch."""
        return self._switch("stopped", "started", "it is not stopped", actor, reason, on=False)

    def _switch(self, what: str, kind: str, already: str, actor: str, reason: str, *, on: bool) -> int:
        event = {"type": kind, "on": on, "already": already, **self._by(actor, reason)}
        return self._store.run(pointer.switch(self._keys, what, event))

    def _verify(self, target: str, moves: Moves) -> None:
        try:
            self._bot.verify(self._data_dir, self._versions.get(target))
        except (CorruptError, UnknownIdError) as exc:
            other = self._sound(moves, {target, moves.live})
            hint = f"version {brief(other.id)} verifies" if other else "no other version verifies: restore a backup"
            raise CorruptError(f"{exc}. Nothing was changed; {hint}") from exc

    def _sound(self, moves: Moves, but: set[str]) -> Version | None:
        """Return the version most lately live that verifies."""
        for _, version_id in reversed(moves.moves):
            if version_id in but or version_id in moves.undone:
                continue
            try:
                version = self._versions.get(version_id)
                self._bot.verify(self._data_dir, version)
            except (CorruptError, UnknownIdError):
                continue
            return version
        return None

    def _target(self, to: str, moves: Moves) -> str:
        """Return the version to go to, verified."""
        target = self._versions.resolve(to, moves)
        if target == moves.live:
            raise ConflictError(f"version {brief(target)} is live already: `tayguard versions` lists the others")
        self._verify(target, moves)
        return target

    def _trained(self, updates: Sequence[str]) -> dict[str, str]:
        """Return the samples of updates, each with its update; of those that cannot be read, as the log tells them."""
        found: dict[str, str] = {}
        unread: set[str] = set()
        for update in updates:
            try:
                found |= dict.fromkeys(self._updates.read(update).samples, update)
            except (CorruptError, UnknownIdError):
                unread.add(update)
        told = Trail(self._store, self._keys, self._data_dir).events(bodies=True) if unread else ()
        begun = [e.data for e in told if e.type == "update_begun" and e.data["update"] in unread]
        return found | {sample_id: event["update"] for event in begun for sample_id in event["samples"]}

    def _by(self, actor: str, reason: str) -> Mapping[str, Any]:
        return {"at_ms": self._clock(), "actor": plain(actor), "reason": plain(reason)}


def _steps(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _STEP):
        yield ids[start : start + _STEP]


def _moved(outcomes: Sequence[MoveOutcome]) -> int:
    return sum(outcome.result == "moved" for outcome in outcomes)


def _strings(value: object) -> list[str]:
    """Return a list that went through Lua, which writes an empty one as an object."""
    return [str(item) for item in value] if isinstance(value, list) else []
