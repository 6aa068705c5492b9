"""What the buffer is told and what it answers: settings, per-sample outcomes, what an admission did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from learner.capture import DAY_MS, Deadlines
from learner.types import SampleState

Result = Literal["moved", "already", "refused", "unknown", "missing"]
FeedbackResult = Literal["recorded", "duplicate", "capped"]


@dataclass(frozen=True, slots=True)
class BufferSettings:
    """Limits of the buffer; counts are absolute, a day is a UTC day.

    Attributes
    ----------
    k_authors
        Independent supporters that let the repeats of a sample in (the pattern rule).
    young_ms
        An author this young whom no reviewer ever released is *young*: all young authors are one supporter.
    author_cap, conversation_cap, total_cap
        Samples drawn a day; None is no limit.
    max_held, max_quarantined
        Rows kept; what is over expires with an event: the oldest held, the least risky quarantined.
    keep_drawn_ms
        How long a drawn sample's row stays after its draw, before it is found in the settled log only.
    """

    k_authors: int = 3
    young_ms: int = 7 * DAY_MS
    author_cap: int | None = 20
    conversation_cap: int | None = 10
    total_cap: int | None = None
    feedback_cap: int = 50
    max_held: int = 100_000
    max_quarantined: int = 20_000
    admitted_ms: int = 30 * DAY_MS
    keep_drawn_ms: int = DAY_MS
    deadlines: Deadlines = field(default_factory=Deadlines)

    @property
    def caps(self) -> dict[str, int]:
        """The draw's caps, for scripts; a cap without a limit is left out."""
        caps = {"author": self.author_cap, "conversation": self.conversation_cap, "total": self.total_cap}
        return {name: cap for name, cap in caps.items() if cap is not None}

    @property
    def ttl_ms(self) -> dict[str, int]:
        """State to how long a sample may stay in it, for scripts."""
        keep = self.deadlines
        return {"held": keep.held_ms, "quarantined": keep.quarantined_ms, "admitted": self.admitted_ms}


@dataclass(frozen=True, slots=True)
class MoveOutcome:
    """What became of one sample; ``detail`` says why it did not move."""

    id: str
    result: Result
    state: SampleState | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Admission:
    """What an admission did. ``waiting`` counts the samples that are due but lack supporters or feedback."""

    admitted: tuple[str, ...] = ()
    quarantined: Mapping[str, str] = field(default_factory=dict)
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep ended: keys deleted, samples expired."""

    keys: int = 0
    expired: tuple[str, ...] = ()
