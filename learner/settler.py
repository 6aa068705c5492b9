"""The settler: it seals log entries into segments, indexes them, and only then drops them from Redis."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learner.errors import DataFolderError
from learner.folder import write_new
from learner.index import Index
from learner.segments import Head, Segments, seal_line
from learner.store import Call, Keys, Store
from learner.types import Clock

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one settling did."""

    entries: int
    dropped: int
    head: Head


def read_log(keys: Keys, after: str = "", count: int = 1000, token: int = 0) -> Call[list[tuple[str, dict[str, Any]]]]:
    """Read log entries that are not settled yet, with their ids, the oldest first."""
    return Call("log_read", (keys.prefix,), (after, count, token), _entries)


def _entries(flat: list[str]) -> list[tuple[str, dict[str, Any]]]:
    return [(entry, _event(text)) for entry, text in zip(flat[::2], flat[1::2], strict=True)]


def _event(text: str) -> dict[str, Any]:
    """Return an event; one that is not what a script of ours writes is kept as it is, under ``unreadable``."""
    try:
        event = json.loads(text, parse_constant=str)
    except ValueError:
        event = None
    return event if isinstance(event, dict) else {"type": "unreadable", "at_ms": 0, "raw": text}


class Settler:
    """Seal the log, by lease. ``write`` puts bytes at a path as one step, where nothing is (tests make it fail).

    A segment's name follows from the line before it, so of two settlers one alone can go on with the chain.

    The process may die at any point: an entry that is in a segment and still in Redis is one, by its id.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        data_dir: Path,
        clock: Clock,
        *,
        max_entries: int = 5000,
        keep_drawn_ms: int = 86_400_000,
        write: Callable[[Path, bytes, str], None] = write_new,
    ) -> None:
        self._store = store
        self._keys = keys
        self._segments = Segments(data_dir)
        self._index = Index(data_dir)
        self._clock = clock
        self._max_entries = max_entries
        self._keep_drawn_ms = keep_drawn_ms
        self._write = write
        self._segments.clean()
        self._head = self._segments.head()

    @property
    def head(self) -> Head:
        """The last sealed line."""
        return self._head

    def settle(self, token: int, *, min_entries: int = 1) -> Settlement:
        """Seal what the log holds, when it is ``min_entries`` or more, and drop from Redis what is sealed.

        Raises
        ------
        ConflictError
            Another learner holds the lease, or has sealed these entries.
        DataFolderError
            The disk is full or not writable; nothing was dropped.
        """
        self._head = self._segments.head()
        sealed, least = 0, min_entries
        while entries := self._read(token):
            if len(entries) < least:
                break
            self._seal(entries)
            sealed, least = sealed + len(entries), 1
        self._index.update()
        return Settlement(sealed, self._drop(token), self._head)

    def _read(self, token: int) -> list[tuple[str, dict[str, Any]]]:
        """Return the next segment's entries, read page by page so that no call keeps Redis for long."""
        entries: list[tuple[str, dict[str, Any]]] = []
        while len(entries) < self._max_entries:
            after = entries[-1][0] if entries else self._head.entry
            count = min(_PAGE, self._max_entries - len(entries))
            page = self._store.run(read_log(self._keys, after, count, token))
            entries += page
            if len(page) < count:
                break
        return entries

    def _seal(self, entries: list[tuple[str, dict[str, Any]]]) -> None:
        head, lines = self._head, []
        for entry, event in entries:
            line, digest = seal_line(head.seq + 1, entry, event, head.hash)
            lines.append(line)
            head = Head(head.seq + 1, digest, entry)
        try:
            self._write(self._segments.after(self._head), b"".join(lines), "sealing the log")
        except OSError as exc:
            raise DataFolderError(f"cannot seal the log ({exc.strerror}); nothing was dropped from Redis") from exc
        self._head = head

    def _drop(self, token: int) -> int:
        if not self._head.entry:
            return 0
        args = (token, self._head.entry, self._clock(), self._keep_drawn_ms, 500, str(self._head))
        total = 0
        while dropped := self._store.run(Call("settled", (self._keys.prefix,), args, int)):
            total += dropped
        return total
