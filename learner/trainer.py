"""One update: admit what is due, draw, write it down, train a candidate, gate it, promote it or hold.

Every step can be cut off: what was begun without an outcome is taken up by the next run, which promotes the same bytes,
or gives the samples back where the world has moved on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from learner import lease, pointer
from learner.errors import CapacityError, ConflictError, CorruptError, DataFolderError, UnknownIdError
from learner.gate import GateReport
from learner.queue import Query
from learner.run_outcome import Judging, Outcome, Parts, TrainerSettings
from learner.split import TRIALS_MAX, find_culprits
from learner.types import FACTORY, Sample, Update, Version
from learner.updates import seed_of

ACTOR = "learner"
_UNREADABLE = (CorruptError, DataFolderError, UnknownIdError)
"""What files raise: damaged, missing, the disk full, too many open."""


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
        try:
            return self._run_as_it_stands(parts.versions.standing(), token)
        except ConflictError as exc:
            return Outcome("held", f"held: {exc}")

    def _run_as_it_stands(self, standing: pointer.Standing, token: int) -> Outcome:
        if standing.frozen or standing.stopped:
            self._abandon(standing.pending, "learning is frozen")
            how = "`tayguard start`" if standing.stopped and not standing.frozen else "`tayguard thaw`"
            return Outcome("frozen", f"learning is frozen: {how} lets it go on")
        if standing.pending:
            resumed = self._resume(standing.pending, token)
            if resumed:
                return resumed
        return self._new_update(token, self._parts.versions.standing().epoch)

    def _lease(self) -> int | None:
        parts = self._parts
        return parts.store.run(lease.acquire(parts.keys, self._holder, parts.clock(), self._settings.lease_ms))

    def _new_update(self, token: int, epoch: int) -> Outcome:
        parts, judging = self._parts, self._judging()
        parts.buffer.admit_due(token=token, epoch=epoch, judge=judging.judge, filters=judging.filters)
        parent = parts.versions.standing().live
        seed = seed_of(parent, ())
        limit = self._settings.batch_max
        samples = parts.buffer.draw(
            limit, seed=seed, token=token, epoch=epoch, judge=judging.judge, filters=judging.filters
        )
        samples = self._without_undone(samples)
        if not samples:
            return self._nothing()
        self._verified(parent)
        update = self._write(parent, samples, epoch)
        self._begin(update, token)
        return self._run(update, samples, token)

    def _verified(self, version_id: str) -> None:
        """Raise :class:`CorruptError` unless a version is whole, before anything is drawn to build on it."""
        self._parts.bot.verify(self._parts.data_dir, self._parts.versions.get(version_id))

    def _without_undone(self, samples: Sequence[Sample]) -> list[Sample]:
        """Put what came from replies of undone versions back before a reviewer, unless one released it."""
        undone = self._parts.versions.standing().undone
        tainted = [sample.id for sample in samples if sample.version in undone and not sample.released_by]
        self._parts.buffer.quarantine(tainted, "rollback")
        return [sample for sample in samples if sample.id not in set(tainted)]

    def _nothing(self) -> Outcome:
        held = self._parts.buffer.find(Query(state="held", order="age", limit=1_000_000))
        over = self._parts.buffer.counts()["admitted"]
        now, soonest = self._parts.clock(), min((sample.due_ms for sample in held), default=None)
        if over:
            capped = f"{over} admitted, over the day's caps of their author, their conversation or all"
            text = f"nothing to learn now: {capped}; a new day (UTC) begins anew"
        elif soonest is None:
            text = "nothing to learn: no sample is held; quarantined ones wait for `tayguard review`"
        elif soonest <= now:
            text = (
                f"nothing to learn yet: {len(held)} held, some past their cool-down but short of supporters or ratings"
            )
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
            "seed": str(update.seed),
        }
        self._parts.store.run(pointer.begin(self._parts.keys, event))
        self._parts.buffer.mark_drawn(update.samples, update.id, token=token, epoch=update.epoch)

    def _run(self, update: Update, samples: Sequence[Sample], token: int) -> Outcome:
        """Train, gate and promote an update whose samples are drawn. Files that fail end it, and the error goes on."""
        try:
            return self._trained(update, samples, token)
        except CapacityError as exc:
            self._end(update, "capacity", token=token)
            return Outcome("held", f"held: {exc}", update=update.id, samples=update.samples)
        except _UNREADABLE:
            self._end(update, "failed", token=token)
            raise

    def _trained(self, update: Update, samples: Sequence[Sample], token: int) -> Outcome:
        candidate = self._train(update)
        report = self._gate(update.parent, candidate, samples)
        self._lease()
        if report.outcome == "pass":
            return self._promote(update, candidate, report, token)
        if report.outcome == "inconclusive":
            self._end(update, "inconclusive", token=token)
            text = f"held: the gate is inconclusive ({'; '.join(report.lines())})"
            return Outcome("held", text, candidate.id, update.id, update.samples, gate=report)
        return self._reject(update, candidate, samples, report, token)

    def _train(self, update: Update) -> Version:
        parts = self._parts
        parent = parts.versions.get(update.parent)
        return parts.bot.train(parts.data_dir, parent, update, parts.updates.inputs(update))

    def _gate(self, parent: str, candidate: Version, samples: Sequence[Sample]) -> GateReport:
        parts = self._parts
        before, factory = parts.versions.get(parent), parts.versions.get(FACTORY)
        return parts.gate.check(parts.references.live(), before, candidate, samples, factory)

    def _promote(self, update: Update, candidate: Version, report: GateReport, token: int) -> Outcome:
        parts = self._parts
        event = self._event(update, token, "gate passed") | {"version": candidate.id, "gate": report.outcome}
        record = parts.versions.record_of(
            candidate, bot=parts.bot.name, created_ms=parts.clock(), gate=report.to_json()
        )
        try:
            parts.store.run(pointer.promote(parts.keys, event, record, update.samples))
        except ConflictError as exc:
            self._end(update, "conflict", token=token)
            text = f"held: {exc}; what is still admitted waits for the next update"
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
        self._end(update, "fail", token=token)
        found = "; ".join(report.lines())
        text = f"rejected: the gate failed ({found}); {len(ids)} of {len(samples)} samples are in quarantine"
        return Outcome("rejected", text, candidate.id, update.id, update.samples, ids, report)

    def _resume(self, update_id: str, token: int) -> Outcome | None:
        """Finish an update that a crash cut off, or give its samples back; None when there is nothing to finish."""
        try:
            update = self._parts.updates.read(update_id)
            self._verified(update.parent)
            samples = [self._parts.buffer.get(sample_id) for sample_id in update.samples]
            self._begin(update, token)
        except (ConflictError, *_UNREADABLE) as exc:
            self._abandon(update_id, f"cannot be resumed: {exc}")
            return None
        return self._run(update, samples, token)

    def _abandon(self, update_id: str, reason: str) -> None:
        if not update_id:
            return
        parts = self._parts
        try:
            ids: Sequence[str] = parts.updates.read(update_id).samples
        except (CorruptError, UnknownIdError):
            drawn = parts.buffer.find(Query(state="admitted", order="age", limit=1_000_000))
            ids, reason = [s.id for s in drawn if s.update == update_id], f"{reason}; its file is gone"
        parts.buffer.undraw(ids, update_id, token=self._lease() or 0, reason=reason)
        event = {"update": update_id, "outcome": "abandoned", "at_ms": parts.clock(), "actor": ACTOR, "reason": reason}
        parts.store.run(pointer.end(parts.keys, event))

    def _end(self, update: Update, outcome: str, *, token: int) -> None:
        parts = self._parts
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
