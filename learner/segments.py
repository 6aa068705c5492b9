"""Sealed segments: the settled log on disk, with a hash chain through all of it.

A segment is ``data_dir/log/00000001.jsonl``, named by the ``seq`` of its first line: immutable, one line per event,
ASCII only, so that no text can begin a line for any reader. A line holds ``seq``, ``id`` (of the log entry), ``at``,
``event``, ``data``, ``prev`` (the hash of the line before) and ``hash``: the sha256 of the line as it is without its
hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learner.errors import CorruptError

GENESIS = "0" * 64
"""What the first line names as the hash before it."""

_TAIL = len(',"hash":""}') + 64


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of the chain; exported, it shows a cut tail."""

    seq: int
    hash: str
    entry: str = ""

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Return the head that ``str`` gave ``text`` for; ValueError when it is none.

        >>> Head.parse(str(Head(3, "ab"))).seq
        3
        """
        seq, _, digest = text.strip().partition(":")
        return cls(int(seq), digest)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a segment, and where it is."""

    segment: str
    offset: int
    raw: bytes

    def record(self) -> dict[str, Any]:
        """Return the line's JSON; raises :class:`CorruptError` when it is none."""
        try:
            record = json.loads(self.raw)
        except ValueError as exc:
            raise CorruptError(
                f"log/{self.segment}, byte {self.offset}: not JSON; restore the file from a backup"
            ) from exc
        if not isinstance(record, dict):
            raise CorruptError(f"log/{self.segment}, byte {self.offset}: no event; restore the file from a backup")
        return record


def seal_line(seq: int, entry: str, event: dict[str, Any], prev: str) -> tuple[bytes, str]:
    """Return a segment's line for one event, with its line feed, and the line's hash."""
    data = {name: value for name, value in event.items() if name not in ("type", "at_ms")}
    about = {"seq": seq, "id": entry, "at": event.get("at_ms", 0), "event": str(event.get("type", ""))}
    record = {**about, "data": data, "prev": prev}
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
    digest = hashlib.sha256(body).hexdigest()
    return body[:-1] + f',"hash":"{digest}"}}\n'.encode(), digest


def hash_of(raw: bytes) -> str:
    """Return the hash that a sealed line ought to carry: of the line without it."""
    return hashlib.sha256(raw.rstrip(b"\n")[:-_TAIL] + b"}").hexdigest()


def _place(name: str) -> tuple[int, str]:
    """Return what orders names of segments, by number however many digits it has."""
    return len(name), name


class Segments:
    """The sealed segments of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "log"

    def names(self, after: str = "") -> list[str]:
        """Return the names of the segments after one of them, the oldest first."""
        names = (path.name for path in self.folder.glob("[0-9]*.jsonl"))
        return sorted((name for name in names if _place(name) > _place(after)), key=_place)

    def after(self, head: Head) -> Path:
        """Return where the segment belongs whose first line comes after ``head``."""
        return self.folder / f"{head.seq + 1:08d}.jsonl"

    def lines(self, name: str, offset: int = 0) -> Iterator[Line]:
        """Yield the lines of one segment from an offset on."""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(offset)
                for raw in file:
                    yield Line(name, offset, raw)
                    offset += len(raw)
        except OSError as exc:
            raise CorruptError(f"log/{name} cannot be read ({exc.strerror}); restore it from a backup") from exc

    def line_at(self, name: str, offset: int) -> Line:
        """Return the line at an offset."""
        line = next(self.lines(name, offset), None)
        if line is None:
            raise CorruptError(f"log/{name} ends before byte {offset}; restore it from a backup")
        return line

    def head(self) -> Head:
        """Return the last line's seq, hash and log entry; seq 0 before the first."""
        names = self.names()
        if not names:
            return Head(0, GENESIS)
        last = None
        for line in self.lines(names[-1]):
            last = line
        if last is None:
            raise CorruptError(f"log/{names[-1]} is empty; restore it from a backup")
        record = last.record()
        return Head(int(record["seq"]), str(record["hash"]), str(record["id"]))

    def clean(self) -> None:
        """Remove what a seal that died left aside."""
        for path in self.folder.glob(".*"):
            path.unlink(missing_ok=True)
