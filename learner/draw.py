"""Who is drawn: a fair share per author, by seed, within the day's caps. Pure."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from learner.types import Sample


def fair_share(
    samples: Sequence[Sample], limit: int, seed: int, spent: Mapping[str, int], caps: Mapping[str, int]
) -> list[Sample]:
    """Return up to ``limit`` samples, one per author and round, until caps or samples end.

    ``spent`` is what the day's draws took and ``caps`` what they may take, as :func:`learner.buffer_calls.spent` and
    :attr:`learner.outcomes.BufferSettings.caps` give them. The same input and seed give the same order.
    """
    shuffle = random.Random(seed)  # noqa: S311 - fairness, not secrecy; the seed is logged
    queues: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        queues[sample.author].append(sample)
    authors = sorted(queues)
    for author in authors:
        shuffle.shuffle(queues[author])
    taken = defaultdict(int, spent)
    drawn: list[Sample] = []
    while authors and len(drawn) < limit:
        shuffle.shuffle(authors)
        for author in list(authors):
            chosen = _next_within_caps(queues[author], taken, caps)
            if chosen is None:
                authors.remove(author)
            elif len(drawn) < limit:
                drawn.append(chosen)
                for owner in _owners(chosen).values():
                    taken[owner] += 1
    return drawn


def _owners(sample: Sample) -> dict[str, str]:
    return {"author": f"a:{sample.author}", "conversation": f"c:{sample.conversation}", "total": "*"}


def _next_within_caps(queue: list[Sample], taken: Mapping[str, int], caps: Mapping[str, int]) -> Sample | None:
    """Take samples off a queue until one fits the caps; the others cannot fit later either."""
    while queue:
        sample = queue.pop()
        owners = _owners(sample)
        if all(taken.get(owners[c], 0) < cap for c, cap in caps.items() if c != "conversation" or sample.conversation):
            return sample
    return None
