"""The trail of everything that happened, and whether its chain is unbroken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learner.errors import CorruptError, UnknownIdError
from learner.index import Index
from learner.samples import exchange_from_json
from learner.segments import GENESIS, Head, Segments, hash_of
from learner.settler import read_log
from learner.store import Keys, Store
from learner.types import Exchange

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the trail; ``seq`` is None until it is sealed."""

    seq: int | None
    id: str
    at_ms: int
    type: str
    data: dict[str, Any]

    @property
    def actor(self) -> str:
        """Who did it."""
        return str(self.data.get("actor", ""))

    @property
    def reason(self) -> str:
        """Why, in the words of the actor or the machine."""
        return str(self.data.get("reason", ""))


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a check of the chain found; ``problem`` is empty when the chain is whole."""

    entries: int
    head: Head
    problem: str = ""

    @property
    def whole(self) -> bool:
        """Whether no line was changed, removed or cut off."""
        return not self.problem


def verify(data_dir: Path, expected: Head | None = None) -> AuditReport:
    """Check every line of every segment; ``expected`` is a head exported earlier, which must still be in the chain."""
    segments, head, seen = Segments(data_dir), Head(0, GENESIS), expected is None or expected.seq == 0
    for name in segments.names():
        for line in segments.lines(name):
            place = f"log/{name}, byte {line.offset}"
            try:
                record = line.record()
            except CorruptError as exc:
                return AuditReport(head.seq, head, str(exc))
            if not line.raw.endswith(b"\n") or record.get("hash") != hash_of(line.raw):
                return AuditReport(head.seq, head, f"{place}: the line was changed after it was sealed")
            if record.get("prev") != head.hash or record.get("seq") != head.seq + 1:
                return AuditReport(head.seq, head, f"{place}: lines before it are missing or were exchanged")
            head = Head(head.seq + 1, str(record["hash"]), str(record["id"]))
            if expected is not None and head.seq == expected.seq:
                if head.hash != expected.hash:
                    return AuditReport(head.seq, head, f"{place}: the chain was rewritten, its head was {expected}")
                seen = True
    if not seen:
        return AuditReport(
            head.seq, head, f"the chain ends at line {head.seq}; its head was {expected}: the tail was cut"
        )
    return AuditReport(head.seq, head)


class Trail:
    """Read what happened: sealed and not yet sealed, each event once."""

    def __init__(self, store: Store, keys: Keys, data_dir: Path) -> None:
        self._store = store
        self._keys = keys
        self._segments = Segments(data_dir)
        self._index = Index(data_dir)

    def events(self, *, since_ms: int = 0, bodies: bool = False) -> Iterator[Event]:
        """Yield events, the oldest first; without ``bodies`` those of exchanges leave their texts out."""
        last, segment = "", ""
        while True:
            page = self._page(last, bodies=bodies)
            # What left the log was sealed before: what is new in the segments now comes before this page.
            new = self._segments.names(segment)
            segment = new[-1] if new else segment
            for event in self._sealed(new, last, bodies=bodies) if new else page:
                last = event.id
                if event.at_ms >= since_ms:
                    yield event
            if not new and not page:
                return

    def _sealed(self, names: Sequence[str], after: str, *, bodies: bool) -> Iterator[Event]:
        for name in names:
            for line in self._segments.lines(name):
                r = line.record()
                if _order(r["id"]) > _order(after):
                    yield _event(r["seq"], r["id"], r["at"], r["event"], r["data"], bodies=bodies)

    def _page(self, after: str, *, bodies: bool) -> list[Event]:
        """Return the next events that are not sealed."""
        found = []
        for entry, event in self._store.run(read_log(self._keys, after, _PAGE)):
            data = {name: value for name, value in event.items() if name not in ("type", "at_ms")}
            kind = str(event.get("type", ""))
            found.append(_event(None, entry, event.get("at_ms", 0), kind, data, bodies=bodies))
        return found

    def _unsettled(self, *, bodies: bool) -> Iterator[Event]:
        after = self._segments.head().entry
        while page := self._page(after, bodies=bodies):
            yield from page
            after = page[-1].id

    def exchange(self, request_id: str) -> Exchange:
        """Return an exchange, settled or not.

        Raises
        ------
        UnknownIdError
            None has this request id.
        """
        for _ in range(2):  # it may be sealed between the two looks
            self._index.update()
            found = self._index.exchange(request_id)
            if found is not None:
                return found
            for event in self._unsettled(bodies=True):
                if event.type == "exchange" and event.data.get("request_id") == request_id:
                    return exchange_from_json(event.data["exchange"])
        raise UnknownIdError(f"no exchange has the request id {request_id[:80]!r}; it stands in X-Tayguard-Request-Id")

    def history(self, sample_id: str) -> list[Event]:
        """Return what happened to a sample, the oldest first, without texts."""
        while True:
            names = self._segments.names()
            self._index.update()
            records = self._index.history(sample_id)
            recent = [
                e for e in self._unsettled(bodies=False) if any(m[0] == sample_id for m in e.data.get("moves", ()))
            ]
            if self._segments.names() == names:  # else something was sealed between the two looks
                break
        sealed = [_event(r["seq"], r["id"], r["at"], r["event"], r["data"], bodies=False) for r in records]
        return sealed + recent


def _order(entry: str) -> tuple[int, ...]:
    """Return what orders ids of log entries."""
    return tuple(int(part) for part in entry.split("-") if part)


def _event(seq: int | None, entry: str, at_ms: int, kind: str, data: dict[str, Any], *, bodies: bool) -> Event:
    kept = data if bodies else {name: value for name, value in data.items() if name not in _BODIES}
    return Event(seq, entry, at_ms, kind, kept)


_BODIES = ("exchange", "samples", "comment", "raw")
