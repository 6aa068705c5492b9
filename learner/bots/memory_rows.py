"""Rows of MemoryBot: what it remembers, one immutable segment per update. Only here are row texts read or written.

A segment is a folder ``rows/<sha256>`` with ``embeddings.npy`` (n, dim) float16 rows, ``rows.jsonl`` with one JSON
object a line, ``offsets.npy``, the byte at which each line starts, and ``segment.json``, the sha256 of each of them.
The segment is named by the sha256 of its ``segment.json``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from learner.errors import CorruptError, LearnerError
from learner.folder import canonical, file_sha256, read_json, sha256, unreadable, write_folder

_MAPPED_BYTES = 1 << 20
"""Embeddings from this size on (1,365 rows at 384 dimensions) are memory-mapped; each holds a file descriptor."""
EMBEDDINGS, ROWS, OFFSETS, SEGMENT = "embeddings.npy", "rows.jsonl", "offsets.npy", "segment.json"

Half = npt.NDArray[np.float16]
Single = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Row:
    """One remembered exchange.

    Attributes
    ----------
    id
        The sample's id, or ``factory:<n>``.
    author
        Keyed hash of who taught it; empty for factory rows.
    role
        ``factory``, ``fallback`` (a factory row said when nothing fits) or ``learned``.
    """

    id: str
    author: str
    prompt: str
    reply: str
    role: str = "learned"


def _npy(array: npt.NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def encode_rows(rows: Sequence[Row]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Return rows as JSON lines and the byte at which each starts, the end last."""
    lines = [canonical(asdict(row)) + b"\n" for row in rows]
    return b"".join(lines), np.cumsum([0, *(len(line) for line in lines)], dtype=np.int64)


def decode_rows(data: bytes) -> list[Row]:
    """Return the rows of JSON lines."""
    return [Row(**json.loads(line)) for line in data.splitlines()]


def write_segment(folder: Path, rows: Sequence[Row], embeddings: Half) -> str:
    """Write one segment under ``folder/rows`` and return its name."""
    text, offsets = encode_rows(rows)
    files = {EMBEDDINGS: _npy(np.ascontiguousarray(embeddings, np.float16)), OFFSETS: _npy(offsets), ROWS: text}
    files[SEGMENT] = canonical({name: sha256(data) for name, data in files.items()})
    name = sha256(files[SEGMENT])
    write_folder(folder / "rows" / name, files, "version write")
    return name


def verify_segment(folder: Path, name: str) -> None:
    """Raise :class:`CorruptError`, naming the file, unless a segment's files are what its name says."""
    home = folder / "rows" / name
    if file_sha256(home / SEGMENT) != name:
        raise CorruptError(f"segment.json of rows/{name[:12]} is damaged; choose another version")
    for file, expected in read_json(home / SEGMENT).items():
        if file_sha256(home / file) != expected:
            raise CorruptError(f"{file} of rows/{name[:12]} is damaged; choose another version")


class RowSegment:
    """A segment, read-only. Large embeddings are memory-mapped: workers on one machine share their pages.

    A small segment holds no file descriptor, so a version may have as many as its rows; texts are read when asked for.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._home = folder / "rows" / name
        try:
            path = self._home / EMBEDDINGS
            mode: Literal["r"] | None = "r" if path.stat().st_size >= _MAPPED_BYTES else None
            self.embeddings: Half = np.load(path, mmap_mode=mode, allow_pickle=False)
            self._offsets = np.load(self._home / OFFSETS, allow_pickle=False)
        except OSError as exc:
            raise self._unreadable(exc) from exc
        except (ValueError, EOFError) as exc:
            raise CorruptError(f"rows/{name[:12]} cannot be read ({exc}); choose another version") from exc

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def row(self, index: int) -> Row:
        """Return one row."""
        start, end = int(self._offsets[index]), int(self._offsets[index + 1])
        try:
            with (self._home / ROWS).open("rb") as file:
                file.seek(start)
                return Row(**json.loads(file.read(end - start)))
        except OSError as exc:
            raise self._unreadable(exc) from exc

    def _unreadable(self, exc: OSError) -> LearnerError:
        return unreadable(exc, f"rows/{self.name[:12]} cannot be read ({exc}); choose another version")


class RowTable:
    """The rows of a version in order: segments after one another, less the tombstones.

    ``decode_rows_max`` rows at most are kept as float32 for speed (1.5 kB a row at 384 dimensions); the rest stays
    float16 on disk and is decoded by each query.
    """

    def __init__(
        self, folder: Path, segments: Sequence[str], tombstones: bytes, *, decode_rows_max: int = 8192
    ) -> None:
        self._segments = [RowSegment(folder, name) for name in segments]
        self._starts = np.cumsum([0, *(len(segment) for segment in self._segments)])
        self.size = int(self._starts[-1])
        padded = np.frombuffer(tombstones.ljust((self.size + 7) // 8, b"\0"), np.uint8)
        bits = np.unpackbits(padded, count=self.size, bitorder="little")
        self.hidden: npt.NDArray[np.bool_] = bits.astype(bool)
        self.row = lru_cache(maxsize=4096)(self._row)
        self._blocks: list[npt.NDArray[Any]] = [segment.embeddings for segment in self._segments]
        if self.size <= decode_rows_max:
            self._blocks = [block.astype(np.float32) for block in self._blocks]

    def _row(self, index: int) -> Row:
        """Return the row at a position over all segments."""
        segment = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._segments[segment].row(index - int(self._starts[segment]))

    def fallbacks(self) -> list[Row]:
        """Return the rows to say when nothing fits; only the first segment, the factory's, has any."""
        rows = [self.row(at) for at in range(int(self._starts[1])) if not self.hidden[at]]
        return [row for row in rows if row.role == "fallback"]

    def cosines(self, query: Single) -> Single:
        """Return the cosine of every row with a unit query, hidden rows at -2.

        Rounded to 1e-5, so that the last bits of a dot product never order rows.
        """
        parts: list[Single] = [block.astype(np.float32, copy=False) @ query for block in self._blocks]
        found: Single = np.asarray(np.round(np.concatenate(parts), 5), np.float32)
        found[self.hidden] = -2.0
        return found

    def nearest(self, query: Single, count: int) -> list[int]:
        """Return the positions of the nearest rows, nearest first, later rows before earlier ones that are as near."""
        cosines = self.cosines(query)
        count = min(count, self.size)
        cut = np.partition(cosines, self.size - count)[self.size - count]
        found = np.flatnonzero((cosines >= cut) & ~self.hidden)
        order = np.lexsort((-found, -cosines[found]))
        return [int(at) for at in found[order][:count]]

    def at(self, found: Sequence[int], query: Single) -> Single:
        """Return the cosines of the rows at some positions with a unit query, rounded as :meth:`cosines`."""
        if not len(found):
            return np.zeros(0, np.float32)
        picked = np.stack([self._vector(at) for at in found])
        cosines: Single = np.round(picked @ query, 5)
        return cosines

    def _vector(self, index: int) -> Single:
        segment = int(np.searchsorted(self._starts, index, side="right")) - 1
        vector: Single = self._blocks[segment][index - int(self._starts[segment])].astype(np.float32)
        return vector


def pack_tombstones(hidden: npt.NDArray[np.bool_]) -> bytes:
    """Return the bitmap of hidden rows, one bit a row, lowest bit first."""
    return np.packbits(hidden, bitorder="little").tobytes()
