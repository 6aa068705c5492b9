"""One update: admit what is due, draw, write it down, train a candidate, gate it, promote it or hold.

Every step can be cut off: what was begun without an outcome is taken up by the next run, which promotes the same bytes,
or gives the samples back where the world has moved on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from learner import lease, pointer
from learner.errors import CapacityError, ConflictError, CorruptError, UnknownIdError
from learner.gate import GateReport
from learner.queue import Query
from learner.run_outcome import Judging, Outcome, Parts, TrainerSettings
from learner.split import TRIALS_MAX, find_culprits
from learner.types import Sample, Update, Version
from learner.updates import seed_of

ACTOR = "learner"


class Trainer:
    """Run updates one at a time; ``judging`` is asked for the live policy at every run."""

    def __init__(
        self, parts: Parts, judging: Callable[[], Judging], holder: str, settings: TrainerSettings | None = None
    ) -> None:
        self._parts = parts
        self._judging = judging
        self._holder = holder
        self._settings = settings or TrainerSettings()

    def run_once(self) -> Outcome:
        """Make one update if anything is due, and say what came of it."""
        parts = self._parts
        token = self._lease()
        if token is None:
            return Outcome("busy", "another learner is at work: nothing to do here")
        parts.versions.ensure_factory(parts.bot)
        parts.rollback.resume()
        moves = parts.versions.moves()
        if moves.frozen or moves.stopped:
            self._abandon(moves.pending, "learning is frozen")
            how = "`tayguard start`" if moves.stopped and not moves.frozen else "`tayguard thaw`"
            return Outcome("frozen", f"learning is frozen: {how} lets it go on")
        if moves.pending:
            resumed = self._resume(moves.pending, token)
            if resumed:
                return resumed
        try:
            return self._new_update(token, parts.versions.moves().epoch)
        except ConflictError as exc:
            return Outcome("held", f"held: {exc}")

    def _lease(self) -> int | None:
        parts = self._parts
        return parts.store.run(lease.acquire(parts.keys, self._holder, parts.clock(), self._settings.lease_ms))

    def _new_update(self, token: int, epoch: int) -> Outcome:
        parts, judging = self._parts, self._judging()
        parts.buffer.admit_due(token=token, epoch=epoch, judge=judging.judge, filters=judging.filters)
        parent = parts.versions.moves().live
        seed = seed_of(parent, ())
        limit = self._settings.batch_max
        samples = parts.buffer.draw(
            limit, seed=seed, token=token, epoch=epoch, judge=judging.judge, filters=judging.filters
        )
        samples = self._without_undone(samples)
        if not samples:
            return self._nothing()
        update = self._write(parent, samples, epoch)
        self._begin(update, token)
        return self._run(update, samples, token)

    def _without_undone(self, samples: Sequence[Sample]) -> list[Sample]:
        """Put what came from replies of undone versions back before a reviewer, unless one released it."""
        undone = self._parts.versions.moves().undone
        tainted = [sample.id for sample in samples if sample.version in undone and not sample.released_by]
        self._parts.buffer.quarantine(tainted, "rollback")
        return [sample for sample in samples if sample.id not in set(tainted)]

    def _nothing(self) -> Outcome:
        held = self._parts.buffer.find(Query(state="held", order="age", limit=1_000_000))
        if not held:
            return Outcome(
                "nothing", "nothing to learn: no sample is held; quarantined ones wait for `tayguard review`"
            )
        now, soonest = self._parts.clock(), min(sample.due_ms for sample in held)
        if soonest <= now:
            text = f"nothing to learn yet: {len(held)} held, some past their cool-down but short of supporters or caps"
        else:
            text = f"nothing to learn yet: {len(held)} held, the next is due in {_span(soonest - now)}"
        return Outcome("nothing", text, held=len(held), next_due_ms=soonest)

    def _write(self, parent: str, samples: Sequence[Sample], epoch: int) -> Update:
        parts = self._parts
        now, hyper = parts.clock(), parts.bot.hyper()
        return parts.updates.write(parts.bot, parent, samples, epoch=epoch, created_ms=now, hyper=hyper)

    def _begin(self, update: Update, token: int) -> None:
        event = self._event(update, token, "drawn") | {
            "samples": list(update.samples),
            "inputs": update.inputs,
            "seed": update.seed,
        }
        self._parts.store.run(pointer.begin(self._parts.keys, event))
        try:
            self._parts.buffer.mark_drawn(update.samples, update.id, token=token, epoch=update.epoch)
        except ConflictError:
            self._end(update, "conflict", back=True, token=token)
            raise

    def _run(self, update: Update, samples: Sequence[Sample], token: int) -> Outcome:
        """Train, gate and promote an update whose samples are drawn."""
        try:
            candidate = self._train(update)
        except CapacityError as exc:
            self._end(update, "capacity", back=True, token=token)
            return Outcome("held", f"held: {exc}", update=update.id, samples=update.samples)
        report = self._gate(update.parent, candidate, samples)
        self._lease()
        if report.outcome == "pass":
            return self._promote(update, candidate, report, token)
        if report.outcome == "inconclusive":
            self._end(update, "inconclusive", back=True, token=token)
            text = f"held: the gate is inconclusive ({'; '.join(report.lines())})"
            return Outcome("held", text, candidate.id, update.id, update.samples, gate=report)
        return self._reject(update, candidate, samples, report, token)

    def _train(self, update: Update) -> Version:
        parts = self._parts
        parent = parts.versions.get(update.parent)
        parts.bot.verify(parts.data_dir, parent)
        return parts.bot.train(parts.data_dir, parent, update, parts.updates.inputs(update))

    def _gate(self, parent: str, candidate: Version, samples: Sequence[Sample]) -> GateReport:
        parts = self._parts
        return parts.gate.check(parts.references.live(), parts.versions.get(parent), candidate, samples)

    def _promote(self, update: Update, candidate: Version, report: GateReport, token: int) -> Outcome:
        parts = self._parts
        event = self._event(update, token, "gate passed") | {"version": candidate.id, "gate": report.outcome}
        record = parts.versions.record_of(
            candidate, bot=parts.bot.name, created_ms=parts.clock(), gate=report.to_json()
        )
        try:
            parts.store.run(pointer.promote(parts.keys, event, record))
        except ConflictError as exc:
            self._end(update, "conflict", back=True, token=token)
            text = f"held: {exc}; its {len(update.samples)} samples wait for the next update"
            return Outcome("held", text, candidate.id, update.id, update.samples, gate=report)
        text = f"learned {len(update.samples)} samples: version {candidate.id[:12]} is live"
        return Outcome("promoted", text, candidate.id, update.id, update.samples, gate=report)

    def _reject(
        self, update: Update, candidate: Version, samples: Sequence[Sample], report: GateReport, token: int
    ) -> Outcome:
        """Quarantine the authors whose samples fail the gate by themselves, else the batch; others are tried again."""

        def passes(part: Sequence[Sample]) -> bool:
            self._lease()
            trial = self._write(update.parent, part, update.epoch)
            return self._gate(update.parent, self._train(trial), part).outcome != "fail"

        culprits = find_culprits(samples, passes, TRIALS_MAX - 1)
        ids = tuple(sample.id for sample in culprits)
        self._parts.buffer.quarantine(ids, "gate")
        self._end(update, "fail", back=True, token=token)
        found = "; ".join(report.lines())
        text = f"rejected: the gate failed ({found}); {len(ids)} of {len(samples)} samples are in quarantine"
        return Outcome("rejected", text, candidate.id, update.id, update.samples, ids, report)

    def _resume(self, update_id: str, token: int) -> Outcome | None:
        """Finish an update that a crash cut off, or give its samples back; None when there is nothing to finish."""
        try:
            update = self._parts.updates.read(update_id)
            samples = [self._parts.buffer.get(sample_id) for sample_id in update.samples]
            self._begin(update, token)
        except (ConflictError, CorruptError, UnknownIdError) as exc:
            self._abandon(update_id, f"cannot be resumed: {exc}")
            return None
        return self._run(update, samples, token)

    def _abandon(self, update_id: str, reason: str) -> None:
        if not update_id:
            return
        parts = self._parts
        try:
            update = parts.updates.read(update_id)
            parts.buffer.undraw(update.samples, update_id, token=self._lease() or 0, reason=reason)
        except (CorruptError, UnknownIdError):
            reason = f"{reason}; its file is gone"
        event = {"update": update_id, "outcome": "abandoned", "at_ms": parts.clock(), "actor": ACTOR, "reason": reason}
        parts.store.run(pointer.end(parts.keys, event))

    def _end(self, update: Update, outcome: str, *, back: bool, token: int) -> None:
        parts = self._parts
        if back:
            parts.buffer.undraw(update.samples, update.id, token=token, reason=outcome)
        event = {"update": update.id, "outcome": outcome, "at_ms": parts.clock(), "actor": ACTOR, "reason": outcome}
        parts.store.run(pointer.end(parts.keys, event))

    def _event(self, update: Update, token: int, reason: str) -> dict[str, Any]:
        at_ms = self._parts.clock()
        event: dict[str, Any] = {"update": update.id, "parent": update.parent, "epoch": update.epoch, "token": token}
        return {**event, "at_ms": at_ms, "actor": ACTOR, "reason": reason}


def _span(ms: int) -> str:
    """Return a time span for people.

    >>> _span(5_400_000)
    '1 h 30 min'
    """
    minutes = max(1, round(ms / 60_000))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
