"""One SQLite file that finds what is settled: names and places, never texts; rebuilt from the segments at will."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from learner.errors import DataFolderError
from learner.samples import exchange_from_json, sample_from_json, texts_of
from learner.segments import Line, Segments
from learner.texts import plain
from learner.types import Exchange, Sample, SampleState

_SCHEMA = """
CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 1), segment TEXT);
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, id TEXT, at INTEGER, event TEXT, actor TEXT, live TEXT,
    segment TEXT, offset INTEGER);
CREATE TABLE IF NOT EXISTS exchanges (request_id TEXT PRIMARY KEY, author TEXT, conversation TEXT, version TEXT,
    at INTEGER, segment TEXT, offset INTEGER);
CREATE TABLE IF NOT EXISTS samples (id TEXT PRIMARY KEY, request_id TEXT, author TEXT, version TEXT, state TEXT,
    update_id TEXT, released_by TEXT, learnable INTEGER, since INTEGER, segment TEXT, offset INTEGER);
CREATE TABLE IF NOT EXISTS sample_events (sample TEXT, seq INTEGER, PRIMARY KEY (sample, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS samples_by_state ON samples (state, since);
CREATE INDEX IF NOT EXISTS samples_by_author ON samples (author, since);
CREATE INDEX IF NOT EXISTS exchanges_by_version ON exchanges (version, at);
CREATE INDEX IF NOT EXISTS events_by_time ON events (at) WHERE live <> '';
"""

_LIVE = {"factory": "version", "route": "version", "promoted": "version", "rollback": "to", "rollback_undone": "to"}
"""Events that move the live pointer, and where they name the version."""


class Index:
    """Find settled samples, exchanges and events. Safe to use from several processes and threads."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "index.sqlite"
        self._segments = Segments(data_dir)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as db:
                db.executescript(_SCHEMA)
                yield db
        except sqlite3.OperationalError as exc:
            raise DataFolderError(
                f"{self._path} cannot be used ({exc}); check the disk and the folder's owner"
            ) from exc
        except sqlite3.DatabaseError as exc:
            raise DataFolderError(f"{self._path} is damaged ({exc}); delete it, it is rebuilt from the log") from exc

    def rebuild(self) -> int:
        """Make the index anew from every segment; returns the number of events."""
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        return self.update()

    def update(self) -> int:
        """Take in the segments that are new; returns the number of events taken in."""
        count = 0
        with self._open() as db:
            for name in self._segments.names(_done(db)):
                db.execute("BEGIN IMMEDIATE")
                if name in self._segments.names(_done(db)):  # else another process was quicker
                    for line in self._segments.lines(name):
                        _take_in(db, line)
                        count += 1
                    db.execute("INSERT OR REPLACE INTO progress VALUES (1, ?)", (name,))
                db.execute("COMMIT")
        return count

    def sample(self, sample_id: str) -> Sample | None:
        """Return a settled sample in the state it settled in, or None."""
        with self._open() as db:
            row = db.execute(f"{_SELECT} WHERE id = ?", (plain(sample_id),)).fetchone()
        return self._sample(row) if row else None

    def last_entry(self, sample_id: str) -> str:
        """Return the id of the log entry of a sample's last settled event; empty when there is none."""
        with self._open() as db:
            query = "SELECT id FROM sample_events JOIN events USING (seq) WHERE sample = ? ORDER BY seq DESC LIMIT 1"
            row = db.execute(query, (plain(sample_id),)).fetchone()
        return str(row[0]) if row else ""

    def samples(self, *, state: SampleState | None = None, author: str | None = None, limit: int = 50) -> list[Sample]:
        """Return settled samples, the newest first."""
        where = "WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR author = ?2) ORDER BY since DESC LIMIT ?3"
        with self._open() as db:
            rows = db.execute(
                f"{_SELECT} {where}", (state, None if author is None else plain(author), limit)
            ).fetchall()
        return [self._sample(row) for row in rows]

    def exchange(self, request_id: str) -> Exchange | None:
        """Return a settled exchange, or None."""
        with self._open() as db:
            query = "SELECT segment, offset FROM exchanges WHERE request_id = ?"
            row = db.execute(query, (plain(request_id),)).fetchone()
        return exchange_from_json(self._record(*row)["data"]["exchange"]) if row else None

    def served_by(self, version: str, limit: int = 50) -> list[str]:
        """Return request ids of the settled exchanges that a version answered, the newest first."""
        with self._open() as db:
            query = "SELECT request_id FROM exchanges WHERE version = ? ORDER BY at DESC LIMIT ?"
            return [row[0] for row in db.execute(query, (plain(version), limit))]

    def history(self, sample_id: str) -> list[dict[str, Any]]:
        """Return the settled events of a sample, the oldest first, as segment records."""
        with self._open() as db:
            query = "SELECT segment, offset FROM sample_events JOIN events USING (seq) WHERE sample = ? ORDER BY seq"
            rows = db.execute(query, (plain(sample_id),)).fetchall()
        return [self._record(*row) for row in rows]

    def live_at(self, at_ms: int) -> str:
        """Return the version that settled events made live at a time; empty when none had."""
        with self._open() as db:
            query = "SELECT live FROM events WHERE live <> '' AND at <= ? ORDER BY at DESC, seq DESC LIMIT 1"
            row = db.execute(query, (at_ms,)).fetchone()
        return str(row[0]) if row else ""

    def _record(self, segment: str, offset: int) -> dict[str, Any]:
        return self._segments.line_at(segment, offset).record()

    def _sample(self, row: tuple[Any, ...]) -> Sample:
        sample_id, state, update, released_by, learnable, segment, offset = row
        data = self._record(segment, offset)["data"]
        found = next(sample for sample in data["samples"] if sample["id"] == sample_id)
        exchange = exchange_from_json(data["exchange"])
        prompt, reply = texts_of(found["kind"], exchange.previous, exchange.prompt, exchange.reply)
        changed = {"state": state, "update": update, "released_by": released_by}
        changed["learnable"] = bool(learnable) and found["learnable"]
        return sample_from_json({**found, **changed, "prompt": prompt, "reply": reply})


_MOVE = "UPDATE samples SET state = ?, released_by = ?, update_id = ?, since = ? WHERE id = ?"
_SELECT = "SELECT id, state, update_id, released_by, learnable, segment, offset FROM samples"


def _done(db: sqlite3.Connection) -> str:
    """Return the segment that was taken in last; empty before the first."""
    row = db.execute("SELECT segment FROM progress").fetchone()
    return str(row[0]) if row else ""


def _take_in(db: sqlite3.Connection, line: Line) -> None:
    record = line.record()
    seq, at, event, data = record["seq"], record["at"], record["event"], record["data"]
    live = plain(str(data.get(_LIVE[event], ""))) if event in _LIVE else ""
    row = (seq, record["id"], at, plain(event), plain(str(data.get("actor", ""))), live, line.segment, line.offset)
    db.execute("INSERT OR REPLACE INTO events VALUES (?,?,?,?,?,?,?,?)", row)
    if event == "exchange":
        _take_in_exchange(db, line, data, at)
    elif event == "unacknowledged":
        db.execute("UPDATE samples SET learnable = 0 WHERE id = ?", (data["sample"],))
    for sample_id, _source, state, _reason, *rest in data.get("moves", ()):
        released_by, update = rest or ("", "")
        db.execute(_MOVE, (state, released_by, update, at, sample_id))
        db.execute("INSERT OR IGNORE INTO sample_events VALUES (?, ?)", (sample_id, seq))


def _take_in_exchange(db: sqlite3.Connection, line: Line, data: dict[str, Any], at: int) -> None:
    exchange = data["exchange"]
    names = [plain(exchange[name]) for name in ("request_id", "author", "conversation", "version")]
    db.execute("INSERT OR REPLACE INTO exchanges VALUES (?,?,?,?,?,?,?)", (*names, at, line.segment, line.offset))
    states = {move[0]: move[2] for move in data.get("moves", ())}
    for sample in data["samples"]:
        if sample["id"] in states:
            fields = [plain(sample[name]) for name in ("id", "request_id", "author", "version")]
            row = (*fields, states[sample["id"]], "", "", 1, at, line.segment, line.offset)
            db.execute("INSERT OR REPLACE INTO samples VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)
