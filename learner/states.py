"""The states of a sample and the events that move it: the one table. Scripts get it as an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from learner.types import SampleState

MOVING: tuple[SampleState, ...] = ("held", "admitted", "quarantined")
"""States of samples in motion: rows of Redis, bounded by deadlines and limits."""


@dataclass(frozen=True, slots=True)
class Transition:
    """Where an event finds a sample, and where it leaves it."""

    sources: tuple[SampleState, ...]
    target: SampleState


TRANSITIONS: Mapping[str, Transition] = MappingProxyType(
    {
        "admitted": Transition(("held",), "admitted"),
        "quarantined": Transition(("held", "admitted"), "quarantined"),
        "released": Transition(("quarantined",), "admitted"),
        "discarded": Transition(("quarantined",), "discarded"),
        "reopened": Transition(("discarded", "admitted", "expired"), "quarantined"),
        "expired": Transition(("held", "admitted", "quarantined"), "expired"),
        "requarantined": Transition(("held", "admitted", "revoked"), "quarantined"),
        "revoked": Transition(("admitted", "quarantined"), "revoked"),
    }
)
"""Event to transition. *Drawn* moves nothing: the sample stays admitted. *Undone* reverts the event before it.

An update that is under way, or whose version is live, stays on its samples wherever they go: what is reopened is before
a reviewer and still learned, and its release is no second draw. A rollback past the update, or its end, takes it off.
"""
