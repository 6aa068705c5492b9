"""Ranges of a text: put together, and replaced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Range = tuple[int, int]
"""Characters of a text, half open."""


def joined(ranges: Iterable[Range]) -> list[Range]:
    """Return ranges in order, those that overlap as one.

    >>> joined([(8, 9), (0, 3), (2, 5)])
    [(0, 5), (8, 9)]
    """
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def with_replaced(text: str, ranges: Sequence[Range], by: str) -> str:
    """Return the text with ``by`` in the place of each range; space at a range's ends stays.

    >>> with_replaced("All is well. Not that. ", [(12, 23)], "[removed]")
    'All is well. [removed] '
    """
    pieces, at = [], 0
    for start, end in ranges:
        core = text[start:end]
        left = start + len(core) - len(core.lstrip())
        pieces += [text[at:left], by if core.strip() else ""]
        at = end - (len(core) - len(core.rstrip())) if core.strip() else left
    return "".join([*pieces, text[at:]])
