"""Lines of ``tayguard score``: read as they come, and each an item to score."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from guard.cli_frame import CommandError

if TYPE_CHECKING:
    from filters.types import Direction, Item

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes. A line is held as a whole, so that its length is what memory depends on."""

_BLOCK = 64 * 1024
_NAMES = ("text", "id", "prompt", "direction", "conversation", "author")


class LineError(CommandError):
    """A line cannot be scored; those before it can."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 2)


@dataclass(frozen=True, slots=True)
class Line:
    """A line that can be scored, as it came."""

    raw: bytes
    id: str | int | None
    item: Item


class Lines:
    """The lines of a stream that can be scored, one after the other; blank ones are passed over.

    ``descriptor`` is the stream's, for who waits on several things at once; None where there is none to wait for.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.descriptor = _descriptor(stream)
        self._number = 0
        self._found: list[bytes] = []  # whole lines that were read and not taken, the next one last
        self._open: list[bytes] = []  # pieces of the line that has not ended
        self._open_bytes = 0
        self._ended = False

    @property
    def at_end(self) -> bool:
        """Whether every line was taken."""
        return self._ended and not self._found and not self._open

    def read(self) -> None:
        """Read what there is, at most one block; waits where there is nothing.

        Raises
        ------
        LineError
            The stream cannot be read.
        """
        try:
            block = os.read(self.descriptor, _BLOCK) if self.descriptor is not None else self._stream.read(_BLOCK)
        except OSError as exc:
            raise LineError(f"standard input cannot be read: {exc.strerror}") from exc
        *whole, rest = block.split(b"\n")
        if not block and self._open:
            whole = [b""]
        if whole:
            whole[0] = b"".join((*self._open, whole[0]))
            self._open, self._open_bytes = [], 0
            self._found = [*reversed(whole), *self._found]
        if rest:
            self._open.append(rest)
            self._open_bytes += len(rest)
        self._ended = not block or self._open_bytes > LONGEST_LINE

    def take(self) -> Line | None:
        """Return the next line of those read, None at the end or where more has to be read first.

        Raises
        ------
        LineError
            The line cannot be scored; the message names it.
        """
        while self._found:
            self._number += 1
            raw = self._found.pop()
            text = _decoded(raw, self._number)
            if text.strip():
                return Line(raw, *parsed(text, self._number))
        if self._ended and self._open:
            raise LineError(f"line {self._number + 1} is longer than {LONGEST_LINE} bytes: send the text in parts")
        return None


def _descriptor(stream: BinaryIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise LineError(f"line {number} is not UTF-8: {exc.reason} at byte {exc.start}") from exc


def parsed(text: str, number: int) -> tuple[str | int | None, Item]:
    """Return a line's id and item: a JSON object with a ``text``, or the line as it is.

    Raises
    ------
    LineError
        The line begins like a JSON object and is none, or a field is not what it may be.
    """
    from filters.types import Item

    if not text.lstrip().startswith("{"):
        return None, Item(text)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise LineError(f"line {number} begins like a JSON object but is none: {exc}") from exc
    if not isinstance(row.get("text"), str):
        raise LineError(f'line {number} has no "text"')
    wrong = [name for name in _NAMES[2:] if row.get(name) is not None and not isinstance(row[name], str)]
    if wrong:
        raise LineError(f"line {number}: {wrong[0]} must be a text")
    item_id = row.get("id")
    if item_id is not None and not isinstance(item_id, str | int):
        raise LineError(f"line {number}: id must be a text or a number")
    item = Item(row["text"], _direction(row, number), row.get("prompt"), row.get("author"), row.get("conversation"))
    return item_id, item


def _direction(row: Mapping[str, Any], number: int) -> Direction:
    given = row.get("direction") or ("out" if row.get("prompt") is not None else "in")
    if given in ("in", "out"):
        return "in" if given == "in" else "out"
    raise LineError(f"line {number}: direction is in or out, not {given[:20]!r}")
