"""Which authors of a batch make it fail the gate: by halves, within a budget of runs. Pure but for the trial itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from learner.types import Sample

TRIALS_MAX = 6
"""Runs of one batch in all, the first, whole one included."""


def find_culprits(batch: Sequence[Sample], passes: Callable[[Sequence[Sample]], bool], budget: int) -> list[Sample]:
    """Return the samples to quarantine from a batch that failed as a whole, in its order.

    Authors are split by halves until a failing part has one author. A part that failed when the budget ends counts
    whole, a part that was never tried too; when every part passes by itself, it is the batch.
    """
    authors = list(dict.fromkeys(sample.author for sample in batch))
    if len(authors) == 1:
        return list(batch)
    guilty: set[str] = set()
    open_parts = deque(_halves(authors))
    while open_parts:
        part = open_parts.popleft()
        if budget == 0:
            guilty.update(part)
            continue
        budget -= 1
        if passes([sample for sample in batch if sample.author in part]):
            continue
        if len(part) == 1:
            guilty.update(part)
        else:
            open_parts.extend(_halves(part))
    return [sample for sample in batch if sample.author in guilty] if guilty else list(batch)


def _halves(authors: Sequence[str]) -> tuple[list[str], list[str]]:
    middle = len(authors) // 2
    return list(authors[:middle]), list(authors[middle:])
