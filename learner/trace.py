"""Evidence: the samples behind a served reply, and those behind a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from learner.buffer import Buffer
from learner.errors import UnknownIdError
from learner.types import Bot, Sample, Turn
from learner.updates import SampleLine
from learner.versions import Versions


@dataclass(frozen=True, slots=True)
class Evidence:
    """One row behind a reply. ``sample`` is None for a factory row and for one whose text is no longer kept."""

    id: str
    weight: float
    line: SampleLine | None
    sample: Sample | None


class Trace:
    """Answer what is behind a reply."""

    def __init__(self, bot: Bot, data_dir: Path, versions: Versions, buffer: Buffer) -> None:
        self._bot = bot
        self._data_dir = data_dir
        self._versions = versions
        self._buffer = buffer

    def behind(self, version_id: str, turns: Sequence[Turn], *, limit: int = 5) -> list[Evidence]:
        """Return the rows behind what a version answers to these turns, the one that gave the reply first."""
        version = self._versions.get(version_id)
        answerer = self._bot.load(self._data_dir, version)
        lines = {line.id: line for line in self._versions.lines(version.id)}
        found = answerer.evidence(turns, limit=limit)
        return [Evidence(i, weight, lines.get(i), self._sample(i) if i in lines else None) for i, weight in found]

    def _sample(self, sample_id: str) -> Sample | None:
        try:
            return self._buffer.get(sample_id)
        except UnknownIdError:
            return None
