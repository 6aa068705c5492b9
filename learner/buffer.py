"""The buffer: what is held, admitted and quarantined, and every way out of it; :mod:`learner.capture` fills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from learner import buffer_calls as calls
from learner.draw import fair_share
from learner.errors import UnknownIdError
from learner.outcomes import Admission, BufferSettings, FeedbackResult, MoveOutcome, Swept
from learner.queue import Query, Queue, Settled
from learner.samples import sample_of_row
from learner.store import Keys, Store
from learner.types import Clock, Sample

Judge = Callable[[Sample], Literal["hold", "quarantine", "reject"]]
"""The live policy's learn verdict on a sample's stored scores."""

_PAGE = 500
_Run = Callable[[Sequence[str], Mapping[str, Sample] | None], list[MoveOutcome]]


class Buffer:
    """Samples in motion, over Redis; ``settled`` finds those that are not.

    Methods that move samples answer one :class:`MoveOutcome` per id, in order: some may move and some not.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        clock: Clock,
        settings: BufferSettings | None = None,
        settled: Settled | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock
        self._settings = settings or BufferSettings()
        self._settled = settled
        self._queue = Queue(store, keys)

    def release(self, ids: Sequence[str], actor: str, reason: str = "") -> list[MoveOutcome]:
        """Admit quarantined samples, past cool-down and pattern rule, never past the author cap."""
        return self._move("released", ids, actor, reason, remember=True)

    def discard(self, ids: Sequence[str], actor: str, reason: str = "") -> list[MoveOutcome]:
        """Take quarantined samples out for good; their repeats that are still held will be quarantined."""
        return self._move("discarded", ids, actor, reason, remember=True)

    def reopen(self, ids: Sequence[str], actor: str, reason: str = "") -> list[MoveOutcome]:
        """Bring discarded, admitted or expired samples back before a reviewer, settled ones too."""
        return self._move("reopened", ids, actor, reason, remember=True)

    def undo(self, actor: str) -> list[MoveOutcome]:
        """Revert the actor's last decision where nothing happened to its samples since; empty when there is none."""
        outcomes = self._store.run(calls.undo(self._keys, actor, self._clock(), self._settings))
        missing = [outcome.id for outcome in outcomes if outcome.result == "missing"]
        if not missing:
            return outcomes
        last = self._settled.last_entry if self._settled else str
        restore = {sample_id: (sample, last(sample_id)) for sample_id, sample in self._bodies(missing).items()}
        return self._store.run(calls.undo(self._keys, actor, self._clock(), self._settings, restore))

    def quarantine(self, ids: Sequence[str], reason: str, actor: str = "learner") -> list[MoveOutcome]:
        """Put held or admitted samples before a reviewer."""
        return self._move("quarantined", ids, actor, reason)

    def expire(self, ids: Sequence[str], reason: str, actor: str = "learner") -> list[MoveOutcome]:
        """End samples in motion that nobody decided in time."""
        return self._move("expired", ids, actor, reason)

    def requarantine(self, ids: Sequence[str], reason: str, actor: str, epoch: int) -> list[MoveOutcome]:
        """Quarantine what a rollback took back: held, admitted and drawn samples, settled ones too.

        Doing it again for the same ``epoch`` moves nothing twice, also where a reviewer decided in between.
        """
        return self._move("requarantined", ids, actor, reason, epoch=epoch)

    def bring_back(self, ids: Sequence[str], updates: Mapping[str, str], actor: str, reason: str) -> list[MoveOutcome]:
        """Put what a rollback took back where it was, if untouched since and its version is live again.

        ``updates`` says which were trained, by an update that is live again: they are of it once more, wherever they
        are. Safe to repeat.
        """
        settings = self._settings

        def run(page: Sequence[str], restore: Mapping[str, Sample] | None) -> list[MoveOutcome]:
            call = calls.bring_back(self._keys, page, updates, actor, reason, self._clock(), settings, restore)
            return self._store.run(call)

        return self._paged(ids, run)

    def admit_due(
        self, *, token: int, epoch: int, judge: Judge | None = None, filters: Mapping[str, str] | None = None
    ) -> Admission:
        """Decide on held samples whose cool-down is over, the oldest first: pattern rule, feedback, live policy.

        Raises
        ------
        ConflictError
            The lease or the epoch is gone, or learning is frozen.
        """
        now, done, offset = self._clock(), Admission(), 0
        self._store.run(calls.may_learn(self._keys, token, epoch))
        while page := self._store.run(calls.rows(self._keys, "due", offset=offset, count=_PAGE, at_most=now)):
            page.sort(key=_log_order)
            samples = [sample_of_row(row) for row in page]
            vetoes = {s.id: reason for s in samples if (reason := objection(s, judge, filters))}
            ids = [sample.id for sample in samples]
            call = calls.admit(self._keys, ids, vetoes, token=token, epoch=epoch, at_ms=now, settings=self._settings)
            step = self._store.run(call)
            offset += len(page) - len(step.admitted) - len(step.quarantined)
            waiting = done.waiting + step.waiting
            done = Admission((*done.admitted, *step.admitted), {**done.quarantined, **step.quarantined}, waiting)
        return done

    def draw(
        self, limit: int, *, seed: int, token: int, epoch: int, judge: Judge, filters: Mapping[str, str]
    ) -> list[Sample]:
        """Choose admitted samples for an update, a fair share per author by ``seed``, within the day's caps.

        The live policy judges their stored scores again; what it would not hold, and what other filter versions scored,
        goes back to quarantine, save a reviewer's releases. Nothing is drawn until :meth:`mark_drawn`. Raises as
        :meth:`admit_due` does.
        """
        self._store.run(calls.may_learn(self._keys, token, epoch))
        fit: list[Sample] = []
        objections: dict[str, list[str]] = {}
        for sample in self._queue.all("admitted"):
            reason = objection(sample, judge, filters)
            if reason:
                objections.setdefault(reason, []).append(sample.id)
            else:
                fit.append(sample)
        for reason, ids in objections.items():
            self.quarantine(ids, reason)
        spent = self._store.run(calls.spent(self._keys, self._clock()))
        return fair_share(fit, limit, seed, spent, self._settings.caps)

    def mark_drawn(self, ids: Sequence[str], update: str, *, token: int, epoch: int) -> int:
        """Draw samples into an update, all or none; again for the same update draws nothing twice. Returns how many.

        Raises
        ------
        ConflictError
            A sample, the caps, the lease, the epoch or the freeze says no; the message says which.
        """
        now = self._clock()
        call = calls.mark_drawn(self._keys, ids, update, token=token, epoch=epoch, at_ms=now, settings=self._settings)
        return self._store.run(call)

    def undraw(self, ids: Sequence[str], update: str, *, token: int, reason: str) -> int:
        """Give samples of an update that came to nothing back, and the caps what they took. Returns how many."""
        now = self._clock()
        call = calls.undraw(self._keys, ids, update, token=token, reason=reason, at_ms=now, settings=self._settings)
        return self._store.run(call)

    def sweep(self) -> Swept:
        """Delete what is past its deadline; expire samples that are, and those over the queues' limits."""
        now, deleted, expired = self._clock(), 0, []
        while count := self._store.run(calls.sweep(self._keys, now, _PAGE)):
            deleted += count
        while late := self._store.run(calls.rows(self._keys, "late", count=_PAGE, at_most=now)):
            moved = [o.id for o in self.expire([row["id"] for row in late], "deadline") if o.result == "moved"]
            if not moved:
                break  # somebody else decides on them just now
            expired += moved
        over = self._queue.over_limits(self._settings)
        self.expire(over, "queue_limit")
        return Swept(deleted, (*expired, *over))

    def feedback(
        self, request_id: str, author: str, rating: Literal["up", "down"], comment: str = ""
    ) -> FeedbackResult:
        """Record a rating; see :func:`learner.buffer_calls.feedback`, which workers run themselves."""
        call = calls.feedback(self._keys, request_id, author, rating, comment, self._clock(), self._settings)
        return self._store.run(call)

    def get(self, sample_id: str) -> Sample:
        """Return a sample, in motion or settled.

        Raises
        ------
        UnknownIdError
            There is none.
        """
        rows = self._store.run(calls.rows_of(self._keys, [sample_id]))
        if rows:
            return sample_of_row(rows[0])
        found = self._settled.sample(sample_id) if self._settled else None
        if found is None:
            raise UnknownIdError(
                f"no sample is called {sample_id[:80]!r}; `tayguard review list` shows those there are"
            )
        return found

    def notes(self, sample_id: str) -> dict[str, str]:
        """Return what a row says beside its sample: reason, since_ms, good, bad, appealed; empty when settled."""
        rows = self._store.run(calls.rows_of(self._keys, [sample_id]))
        names = ("reason", "since_ms", "good", "bad", "appealed")
        return {name: rows[0][name] for name in names if name in rows[0]} if rows else {}

    def find(self, query: Query | None = None) -> list[Sample]:
        """Return the samples that a query asks for, in its order."""
        return self._queue.find(query or Query(), self._settled)

    def answered_by(self, versions: Sequence[str], pending: str = "") -> list[str]:
        """Return ids of what waits, or trains in the update ``pending``, and came from replies of ``versions``."""
        return self._queue.answered_by(versions, pending)

    def taken_back(self, versions: Sequence[str]) -> list[str]:
        """Return ids of what a rollback put in quarantine, untouched since, that came from replies of ``versions``."""
        return self._queue.taken_back(versions)

    def counts(self) -> dict[str, int]:
        """Return how many samples each state holds in Redis, those drawn apart."""
        names = ("held", "admitted", "drawn", "quarantined", "discarded", "expired", "revoked")
        return self._store.run(calls.counts(self._keys, names))

    def _move(
        self, event: str, ids: Sequence[str], actor: str, reason: str, *, remember: bool = False, epoch: int = 0
    ) -> list[MoveOutcome]:
        more = False

        def run(page: Sequence[str], restore: Mapping[str, Sample] | None) -> list[MoveOutcome]:
            nonlocal more
            decision = calls.Decision(event, actor, reason, self._clock(), self._settings, remember, epoch, more)
            found = self._store.run(calls.decide(self._keys, decision, page, restore))
            more = more or any(outcome.result == "moved" for outcome in found)
            return found

        return self._paged(ids, run)

    def _paged(self, ids: Sequence[str], run: _Run) -> list[MoveOutcome]:
        """Run a script for pages of ids; those that have settled are restored and run once more."""
        outcomes: list[MoveOutcome] = []
        for start in range(0, len(ids), _PAGE):
            found = run(ids[start : start + _PAGE], None)
            bodies = self._bodies([outcome.id for outcome in found if outcome.result == "unknown"])
            by_id = {outcome.id: outcome for outcome in run(list(bodies), bodies)} if bodies else {}
            outcomes += [by_id.get(outcome.id, outcome) for outcome in found]
        return outcomes

    def _bodies(self, ids: Sequence[str]) -> dict[str, Sample]:
        if self._settled is None:
            return {}
        found = {sample_id: self._settled.sample(sample_id) for sample_id in ids}
        return {sample_id: sample for sample_id, sample in found.items() if sample is not None}


def objection(sample: Sample, judge: Judge | None, filters: Mapping[str, str] | None) -> str:
    """Return why a sample may not be learned by today's policy and filters; empty when it may.

    A reviewer's release stands over scores and thresholds.
    """
    if sample.released_by:
        return ""
    if sample.coverage < 1.0:
        return "unscored"
    if filters is not None and dict(sample.filters) != dict(filters):
        return "stale_scores"
    return "policy" if judge is not None and judge(sample) != "hold" else ""


def _log_order(row: Mapping[str, str]) -> tuple[int, ...]:
    return tuple(int(part) for part in row.get("seq", "0-0").split("-"))
