"""Files that nothing names any more: candidates that were not promoted, what was damaged, writes that were killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from learner.errors import CorruptError, UnknownIdError
from learner.manifest import read_version
from learner.pointer import Moves
from learner.updates import UpdateLog

_DAY_MS = 86_400_000


def remove_leftovers(data_dir: Path, moves: Moves, updates: UpdateLog, now_ms: int) -> int:
    """Remove what no record and no update under way names, once it is a day old; returns how many files or folders.

    What is older than the first record stays: it may be named by records that were lost. Only for who has the lease.
    """
    sweep = _Sweep(data_dir, moves, updates, now_ms)
    found = [*sweep.unfinished(), *sweep.versions(), *sweep.updates(), *sweep.inputs(), *sweep.rows()]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(found)


class _Sweep:
    """Find what may go, before anything does."""

    def __init__(self, data_dir: Path, moves: Moves, updates: UpdateLog, now_ms: int) -> None:
        self._data_dir = data_dir
        self._updates = updates
        self._newest = sorted(moves.records.values(), key=lambda record: -int(record["created_ms"]))
        self._first_ms = int(self._newest[-1]["created_ms"]) if self._newest else now_ms
        self._latest_ms = now_ms - _DAY_MS
        self._named = {str(record["update"]) for record in self._newest if record["parent"]} | {moves.pending} - {""}

    def _old(self, folder: str, pattern: str, first_ms: int) -> Iterator[Path]:
        for path in (self._data_dir / folder).glob(pattern):
            stat = path.lstat()
            times = [stat.st_mtime * 1000, stat.st_ctime * 1000]
            if min(times) >= first_ms and max(times) < self._latest_ms:
                yield path

    def unfinished(self) -> Iterator[Path]:
        """Yield what was written or put aside under a hidden name."""
        for folder in ("versions", "rows", "updates"):
            yield from self._old(folder, ".*", 0)

    def versions(self) -> Iterator[Path]:
        """Yield versions without a record."""
        recorded = {str(record["id"]) for record in self._newest}
        return (path for path in self._old("versions", "[!.]*", self._first_ms) if path.name not in recorded)

    def updates(self) -> Iterator[Path]:
        """Yield updates that made no recorded version."""
        return (path for path in self._old("updates", "[!.]*.json", self._first_ms) if path.stem not in self._named)

    def inputs(self) -> list[Path]:
        """Return inputs of no such update; none when one of these cannot be read."""
        left = {path.stem: path for path in self._old("updates", "[!.]*.safetensors", self._first_ms)}
        try:
            for update in self._named:
                left.pop(self._updates.read(update).inputs, None)
        except (CorruptError, UnknownIdError):
            return []
        return list(left.values())

    def rows(self) -> list[Path]:
        """Return rows of no recorded version; none when one of these cannot be read. The newest names nearly all."""
        left = {path.name: path for path in self._old("rows", "[!.]*", self._first_ms)}
        for record in self._newest:
            if not left:
                break
            try:
                segments = read_version(self._data_dir, str(record["id"])).segments
            except (CorruptError, UnknownIdError):
                return []
            left = {name: path for name, path in left.items() if name not in segments}
        return list(left.values())
