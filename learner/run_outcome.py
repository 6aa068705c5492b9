"""What a trainer works with, is told, and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from learner.buffer import Buffer, Judge
from learner.gate import Gate, GateReport
from learner.references import References
from learner.rollback import Rollback
from learner.store import Keys, Store
from learner.types import Bot, Clock
from learner.updates import UpdateLog
from learner.versions import Versions

Kind = Literal["promoted", "held", "rejected", "nothing", "frozen", "busy"]


@dataclass(frozen=True, slots=True)
class Judging:
    """The live policy as a judge of stored scores, and the filter versions whose scores it takes."""

    judge: Judge
    filters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """``batch_max`` samples at most in one update; a lease not renewed for ``lease_ms`` falls to another learner."""

    batch_max: int = 256
    lease_ms: int = 120_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did; ``text`` is one line for people. ``version`` is the candidate, promoted or not."""

    kind: Kind
    text: str
    version: str = ""
    update: str = ""
    samples: tuple[str, ...] = ()
    quarantined: tuple[str, ...] = ()
    gate: GateReport | None = None
    held: int = 0
    next_due_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a trainer works with."""

    bot: Bot
    store: Store
    keys: Keys
    data_dir: Path
    clock: Clock
    buffer: Buffer
    versions: Versions
    updates: UpdateLog
    gate: Gate
    references: References
    rollback: Rollback
