"""What a reviewer looks through: samples by state, author, label and time, in an order, in motion and settled alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from learner import buffer_calls as calls
from learner.buffer_calls import Row
from learner.outcomes import BufferSettings
from learner.samples import risk_of, sample_of_row, uncertainty_of
from learner.states import MOVING
from learner.store import Keys, Store
from learner.types import Sample, SampleState

_PAGE = 500


class Settled(Protocol):
    """Where samples are found that Redis no longer holds; see :class:`learner.index.Index`."""

    def sample(self, sample_id: str) -> Sample | None:
        """Return a settled sample, or None."""

    def last_entry(self, sample_id: str) -> str:
        """Return the id of the log entry of a sample's last settled event; empty when there is none."""

    def samples(self, *, state: SampleState | None, author: str | None, limit: int) -> list[Sample]:
        """Return settled samples, the newest first."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which samples, in which order. ``state`` None is every state in motion; ``author`` is the keyed hash.

    ``risk`` puts the highest score first, ``uncertainty`` what is nearest to its threshold, ``age`` the oldest.
    """

    state: SampleState | None = "quarantined"
    label: str | None = None
    author: str | None = None
    cohort: str | None = None
    version: str | None = None
    since_ms: int | None = None
    order: Literal["risk", "uncertainty", "age"] = "risk"
    limit: int = 50

    def wants(self, sample: Sample) -> bool:
        """Whether a sample is among those asked for."""
        return (
            (self.state is None or sample.state == self.state)
            and (self.label is None or any(reason.get("label") == self.label for reason in sample.reasons))
            and (self.author is None or sample.author == self.author)
            and (self.cohort is None or sample.cohort == self.cohort)
            and (self.version is None or sample.version == self.version)
            and (self.since_ms is None or sample.captured_ms >= self.since_ms)
        )

    def key(self, sample: Sample) -> tuple[float, int, str]:
        """Return what samples are sorted by."""
        first = {"risk": -risk_of(sample), "uncertainty": -uncertainty_of(sample), "age": 0.0}[self.order]
        return first, sample.captured_ms, sample.id


class Queue:
    """Read the samples of Redis, page by page."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def all(self, name: str) -> Iterator[Sample]:
        """Yield every sample of a state, in the order of its index; each once, also while others move."""
        seen: set[str] = set()
        offset = 0
        while page := self._store.run(calls.rows(self._keys, "state", name, offset=offset, count=_PAGE)):
            for row in page:
                if row["id"] not in seen:
                    seen.add(row["id"])
                    yield sample_of_row(row)
            offset += len(page)

    def find(self, query: Query, settled: Settled | None) -> list[Sample]:
        """Return what ``query`` asks for."""
        found = {sample.id: sample for sample in self._candidates(query) if query.wants(sample)}
        if settled is not None and query.state is not None and query.state not in MOVING:
            for sample in settled.samples(state=query.state, author=query.author, limit=10 * query.limit):
                if sample.id not in found and query.wants(sample) and not self._in_motion(sample.id):
                    found[sample.id] = sample
        return sorted(found.values(), key=query.key)[: query.limit]

    def _candidates(self, query: Query) -> Iterator[Sample]:
        if query.author is not None:
            rows = self._store.run(calls.rows(self._keys, "author", query.author))
            yield from (sample_of_row(row) for row in rows)
            return
        for state in MOVING if query.state is None else (query.state,):
            yield from self.all(state)
            if state == "admitted":
                yield from self.all("drawn")

    def _in_motion(self, sample_id: str) -> bool:
        return bool(self._store.run(calls.rows_of(self._keys, [sample_id])))

    def answered_by(self, versions: Sequence[str], pending: str) -> list[str]:
        """Return ids of held and admitted samples from replies of ``versions``: undrawn, or drawn into ``pending``."""
        rows = self._from(versions)
        return [row["id"] for row in rows if row["state"] in ("held", "admitted") and row["update"] in ("", pending)]

    def taken_back(self, versions: Sequence[str]) -> list[str]:
        """Return ids of samples from replies of ``versions`` that a rollback put in quarantine, untouched since."""
        return [row["id"] for row in self._from(versions) if row.get("was_state")]

    def _from(self, versions: Sequence[str]) -> Iterator[Row]:
        for version in versions:
            yield from self._store.run(calls.rows(self._keys, "version", version))

    def over_limits(self, settings: BufferSettings) -> list[str]:
        """Return ids that are over the queues' limits: the oldest held, then the least risky quarantined."""
        counts = self._store.run(calls.counts(self._keys, ("held", "quarantined")))
        over: list[str] = []
        if (extra := counts["held"] - settings.max_held) > 0:
            over += [row["id"] for row in self._store.run(calls.rows(self._keys, "state", "held", count=extra))]
        if (extra := counts["quarantined"] - settings.max_quarantined) > 0:
            waiting = sorted(self.all("quarantined"), key=lambda s: (risk_of(s), s.captured_ms, s.id))
            over += [sample.id for sample in waiting[:extra]]
        return over
