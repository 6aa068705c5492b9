"""Words whose letters stand apart, or that fell in pieces, put together by their gain in known words."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from filters.normalise_codes import LEAST_GAIN
from filters.normalise_spelling import LEAST_JOINED, LEET, LEET_L, MARK, SHORT, SIGNS, spelled_out
from filters.normalise_words import Words, wordlike

MIN_SPACED = 4  # without a word list: letters in a row that stand apart before they are joined: "a b c" is a list
RARE = 11.0  # nats; what a short word must cost to look like half of another
RETRIES = 3  # groups that a chunk may be looked at in: time stays linear where nothing fits together
LONGEST_SCRAPS = 12  # chunks that are parts of words, put together at once
LONGEST_GROUP = 96  # chunks put together at once: a unit has 64 tokens, its context's tail as many letters

_CHUNK = re.compile(r"\S+")
_SPACED = re.compile(rf"(?<!\w)\w(?:[^\w\n]{{1,3}}\w(?!\w)){{{MIN_SPACED - 1},}}")
_APART = re.compile(r"[^\w\n]+")
_EDGES = ".,!?;:\"'()[]{}<>*_~-…“”‘’«»`#/\\="


class _Chunk(NamedTuple):
    """A piece of text without a space: where it stands, its letters without quotes and stops around them."""

    start: int
    end: int
    core: str


def reread(text: str, words: Words) -> str:
    """Return the text with words put together, taken apart and spelled as a reader would; needs a word list for most.

    >>> from filters.normalise_words import NO_WORDS
    >>> reread("you i d i o t", NO_WORDS)
    'you idiot'
    """
    if not words:
        return _SPACED.sub(lambda match: _APART.sub("", match.group()), text)
    chunks = [_Chunk(m.start(), m.end(), _core(m.group())) for m in _CHUNK.finditer(text)]
    if all(_plain(chunk.core, words) for chunk in chunks):
        return text
    pieces: list[str] = []
    last = at = tried = 0
    while at < len(chunks):
        size = _group(chunks, at, words) if at >= tried else 1
        group = chunks[at : at + size]
        reading = _together(group, words) if size > 1 else ""
        if not reading:
            tried = max(tried, at + size // RETRIES)
            size, reading = 1, spelled_out(chunks[at].core, words)
            group = chunks[at : at + 1]
        if reading:
            raw = text[group[0].start : group[-1].end]
            head = raw.lower().find(group[0].core) if group[0].core else 0
            tail = raw.lower().rfind(group[-1].core) + len(group[-1].core)
            pieces += [text[last : group[0].start], raw[: max(head, 0)], reading, raw[tail:]]
            last = group[-1].end
        at += size
    return "".join([*pieces, text[last:]])


def _core(chunk: str) -> str:
    """Return the lower-case chunk without punctuation around it, which a sign on its own keeps."""
    lower = chunk.lower()
    return lower if len(lower) == 1 else lower.rstrip(_EDGES).lstrip(_EDGES.replace("!", "")) or lower[:1]


def _letter(core: str) -> bool:
    return len(core) == 1 and (core.isalnum() or core in SIGNS)


def _sign(core: str) -> bool:
    return not any(c.isalnum() for c in core)


def _odd(core: str, words: Words) -> bool:
    """Return whether a chunk looks like a part of a word."""
    if len(core) == 1:
        return _letter(core) and core not in "ai"
    if not core.isascii() or not core.isalpha():
        return False
    return not words.known(core) or (len(core) <= SHORT + 1 and words.cost(core) > RARE)


def _scrap(core: str, words: Words) -> bool:
    """Return whether a chunk may be put to one that is odd."""
    return core.isascii() and core.isalpha() and (len(core) <= SHORT or _odd(core, words))


def _plain(core: str, words: Words) -> bool:
    """Return whether a chunk is a word as it stands, or nothing that could be one."""
    if words.known(core):
        return not _odd(core, words)
    return _sign(core) if len(core) > 1 else not _letter(core)


def _group(chunks: list[_Chunk], at: int, words: Words) -> int:
    """Return how many chunks from ``at`` on may be words pulled apart; 1 where there is nothing odd."""
    first = chunks[at].core
    if len(first) > SHORT and not _odd(first, words):
        return 1
    singles = _run(chunks, at, _letter)
    if singles >= SHORT:
        return singles
    size = _run(chunks, at, lambda core: _scrap(core, words), LONGEST_SCRAPS)
    for after in range(1, size):
        if _letter(chunks[at + after].core) and _run(chunks, at + after, _letter) >= SHORT:
            size = after
            break
    return size if any(_odd(chunk.core, words) for chunk in chunks[at : at + size]) else 1


def _run(chunks: list[_Chunk], at: int, belongs: Callable[[str], bool], limit: int = LONGEST_GROUP) -> int:
    """Return how many chunks from ``at`` on belong, with signs between them; bounded, so that time is linear."""
    size = 0
    for offset, chunk in enumerate(chunks[at : at + limit], 1):
        if belongs(chunk.core):
            size = offset
        elif not size or not _sign(chunk.core) or len(chunk.core) > SHORT:
            break
    return max(1, size)


def _together(group: list[_Chunk], words: Words) -> str:
    """Return a group's letters as words, or an empty text where they stand better apart."""
    held = [chunk for chunk in group if _letter(chunk.core) or chunk.core.isalnum()]
    alphas = sum(chunk.core.isalpha() for chunk in held)
    if len(held) < 2 or alphas * 2 < len(held):
        return ""
    if len(held) == SHORT and any(chunk.end - chunk.start > len(chunk.core) for chunk in held[:-1]):
        return ""  # "a, b, c"
    gaps = [right.start - left.end for left, right in pairwise(held)]
    single = all(len(chunk.core) == 1 for chunk in held)
    before = sum(words.cost(chunk.core) if chunk.core.isalpha() else MARK for chunk in held)
    best, reading = before - LEAST_GAIN, ""
    there = {chunk.core for chunk in held}
    for table in (LEET, LEET_L):
        letters = [chunk.core.translate(table) for chunk in held]
        whole = "".join(letters)
        if not (whole.isascii() and whole.isalpha()):
            continue
        if single and len(set(gaps)) > 1:
            cost, found = _by_gaps(letters, gaps, words)
        else:
            cost, found = words.segment(whole)
            found = _settled(found, words)
        if not single and not all(word in there or words.known(word) for word in found):
            continue
        if cost < best and wordlike(cost, len(whole)) and any(len(word) >= SHORT for word in found):
            best, reading = cost, " ".join(found)
    return reading if reading.replace(" ", "") != "".join(chunk.core for chunk in held) or _fewer(reading, held) else ""


def _fewer(reading: str, held: list[_Chunk]) -> bool:
    return reading.count(" ") + 1 < len(held)


def _by_gaps(letters: list[str], gaps: list[int], words: Words) -> tuple[float, list[str]]:
    """Return words parted at the gaps that are wider than the narrowest; what is no word then may be several."""
    least, parts = min(gaps), letters[0]
    for gap, letter in zip(gaps, letters[1:], strict=True):
        parts += letter if gap == least else " " + letter
    total, found = 0.0, list[str]()
    for part in parts.split(" "):
        cost, inside = words.segment(part)
        if words.known(part) or words.cost(part) - cost < LEAST_GAIN:
            cost, inside = words.cost(part), [part]
        total += cost
        found += inside
    return total, found


def _settled(found: list[str], words: Words) -> list[str]:
    """Return a short run as one word where a part is a rare scrap: "mor on" is not what anybody wrote."""
    whole = "".join(found)
    scraps = any(words.cost(word) > RARE for word in found) and all(len(word) <= SHORT for word in found)
    return [whole] if scraps and len(whole) < LEAST_JOINED else found
