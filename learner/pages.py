"""What is shown of versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from learner.types import Version
from learner.updates import SampleLine


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A version as it is listed. ``promoted_ms`` are when it became live; ``gate`` is its gate's report.

    ``name`` is the route's, where an upstream answers.
    """

    id: str
    parent: str
    update: str
    created_ms: int
    promoted_ms: tuple[int, ...]
    live: bool
    undone: bool
    factory: bool
    rows: int
    samples: int
    authors: int
    gate: Mapping[str, Any]
    name: str = ""


@dataclass(frozen=True, slots=True)
class VersionPage:
    """What a version is and what it learned from: ``learned`` in its own update, the counts in all its ancestry.

    ``authors``, ``labels`` and ``released_by`` count samples; one with two reasons of a label counts once for it.
    """

    record: VersionRecord
    version: Version
    learned: tuple[SampleLine, ...]
    ancestry: tuple[str, ...]
    samples_in_all: int
    authors: Mapping[str, int]
    labels: Mapping[str, int]
    released_by: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What two versions do not share. ``probes`` is metric name to its value in the first and in the second."""

    first: str
    second: str
    only_first: tuple[SampleLine, ...]
    only_second: tuple[SampleLine, ...]
    probes: Mapping[str, tuple[float | None, float | None]]
