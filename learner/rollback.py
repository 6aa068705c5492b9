"""Rollback: one script moves the pointer, raises the epoch, freezes learning and marks what is undone.

What was learned since goes back to quarantine in steps that any later run completes. Everything is logged with actor
and reason, and can be reversed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learner import pointer
from learner.buffer import Buffer
from learner.errors import ConflictError, CorruptError, UnknownIdError
from learner.gate import Gate, GateReport
from learner.outcomes import BufferSettings
from learner.pointer import Moves
from learner.references import References
from learner.store import Keys, Store
from learner.types import FACTORY, Bot, Clock, Version
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
    """What a rollback, or its undoing, did. ``pointer_ms`` is how long it took until every worker could see it."""

    live: str
    previous: str
    epoch: int
    undone: tuple[str, ...]
    samples: int
    pointer_ms: float


class Rollback:
    """Take the bot back, stop it, freeze it; each act names its actor and reason."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        data_dir: Path,
        clock: Clock,
        bot: Bot,
        buffer: Buffer,
        versions: Versions,
        updates: UpdateLog,
        settings: BufferSettings | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._data_dir = data_dir
        self._clock = clock
        self._bot = bot
        self._buffer = buffer
        self._versions = versions
        self._updates = updates
        self._settings = settings or BufferSettings()

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
        target = self._versions.resolve(to, moves)
        if target == moves.live:
            raise ConflictError(f"version {target[:12]} is live already: `tayguard versions` lists the others")
        self._verify(target, moves)
        undone = self._versions.undone_by(moves.live, target)
        trained = [sample_id for version in undone for sample_id in self._updates.read(version.update).samples]
        ids = [version.id for version in undone]
        waiting = [i for i in self._buffer.answered_by(ids) if i not in set(trained)]
        return RollbackPreview(moves.live, target, tuple(ids), tuple(trained), tuple(waiting))

    def apply(self, to: str, actor: str, reason: str) -> RollbackResult:
        """Roll back to ``to``; learning stays frozen until thawed. Raises as :meth:`preview`."""
        self.resume()
        started = time.perf_counter()
        plan = self.preview(to)
        undone = self._versions.moves().undone
        redone = [version.id for version in self._versions.ancestry(plan.to) if version.id in undone]
        event = {
            "id": uuid.uuid4().hex,
            "from": plan.live,
            "to": plan.to,
            "undone": list(plan.undone),
            "redone": redone,
        }
        epoch = self._store.run(pointer.roll_back(self._keys, {**event, "reverses": "", **self._by(actor, reason)}))
        pointer_ms = round((time.perf_counter() - started) * 1000, 3)
        count = self.resume()
        return RollbackResult(plan.to, plan.live, epoch, plan.undone, count, pointer_ms)

    def resume(self) -> int:
        """Put the samples of an unfinished rollback back in quarantine; returns how many moved. Safe to repeat."""
        moves = self._versions.moves()
        left = moves.rollback
        if not left:
            return 0
        epoch, undone, moved = int(left["epoch"]), _strings(left["undone"]), 0
        pairs = dict.fromkeys([*self._in_flight(moves.pending, undone), *self._buffer.answered_by(undone)], "")
        pairs |= self._trained(undone)
        ids = list(pairs)
        for start in range(0, len(ids), _STEP):
            step = ids[start : start + _STEP]
            note = pointer.note_before(self._keys, str(left["id"]), epoch, [(i, pairs[i]) for i in step])
            self._store.run(note)
            outcomes = self._buffer.requarantine(step, MARK, str(left["actor"]), epoch)
            moved += sum(outcome.result == "moved" for outcome in outcomes)
        by = self._by(str(left["actor"]), str(left["reason"]))
        self._store.run(pointer.rollback_done(self._keys, {"rollback": left["id"], "count": moved, **by}))
        return moved

    def undo(self, actor: str, reason: str = "") -> RollbackResult:
        """Reverse the last rollback: its version is live again, its samples that nobody touched are back; still frozen.

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
        to, undone = str(last["from"]), _strings(last["undone"])
        self._verify(to, moves)
        event = {
            "id": uuid.uuid4().hex,
            "from": last["to"],
            "to": to,
            "undone": [],
            "redone": undone,
            **self._by(actor, reason),
        }
        epoch = self._store.run(pointer.roll_back(self._keys, {**event, "reverses": last["id"]}))
        pointer_ms = round((time.perf_counter() - started) * 1000, 3)
        back = {"rollback": last["id"], "epoch": int(last["epoch"]), "mark": MARK, **self._by(actor, reason)}
        count = self._store.run(pointer.bring_back(self._keys, back, self._settings.ttl_ms))
        return RollbackResult(to, str(last["to"]), epoch, tuple(undone), count, pointer_ms)

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

    def _switch(self, what: str, kind: str, already: str, actor: str, reason: str, *, on: bool) -> int:
        event = {"type": kind, "on": on, "already": already, **self._by(actor, reason)}
        return self._store.run(pointer.switch(self._keys, what, event))

    def _verify(self, target: str, moves: Moves) -> None:
        try:
            self._bot.verify(self._data_dir, self._versions.get(target))
        except (CorruptError, UnknownIdError) as exc:
            other = self._sound(moves, {target, moves.live})
            hint = f"version {other.id[:12]} verifies" if other else "no other version verifies: restore a backup"
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

    def _trained(self, undone: Sequence[str]) -> dict[str, str]:
        """Return the samples that versions were trained on, with the update of each."""
        updates = [self._versions.get(version_id).update for version_id in undone]
        return {sample_id: update for update in updates for sample_id in self._updates.read(update).samples}

    def _in_flight(self, pending: str, undone: Sequence[str]) -> list[str]:
        """Return the samples of the update under way that came from replies of undone versions."""
        try:
            lines = self._updates.lineage(pending) if pending else []
        except (CorruptError, UnknownIdError):
            return []
        return [line.id for line in lines if line.version in undone]

    def _by(self, actor: str, reason: str) -> Mapping[str, Any]:
        return {"at_ms": self._clock(), "actor": actor, "reason": reason}


def _strings(value: object) -> list[str]:
    """Return a list that went through Lua, which writes an empty one as an object."""
    return [str(item) for item in value] if isinstance(value, list) else []
