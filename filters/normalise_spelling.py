"""What one piece of text between spaces spells: signs for letters, letters repeated, words run together."""

from __future__ import annotations

import re
from functools import lru_cache

from filters.normalise_codes import LEAST_GAIN
from filters.normalise_words import LONGEST_KEPT, Words, wordlike

SHORT = 3  # letters of a word that may be half of one
DROPPED = 2.0  # nats of a letter that stands twice and is read once
HALF = 0.5  # of what a chunk costs as it stands: then a reading holds that is no known word
MARK = 4.0  # nats of a digit or a sign inside a word
LEAST_JOINED = 8  # letters before a word is looked at as several
SIGNS = frozenset("@$!|+€£¢¥§")
LEET = str.maketrans("0134567892@$!|+€£¢¥§(<^", "oieasgtbgzasiitelcyscca")
LEET_L = str.maketrans("0134567892@$!|+€£¢¥§(<^", "oleasgtbgzasiltelcyscca")
_DRAWN = (
    ("|-|", "h"),
    ("|_|", "u"),
    ("|<", "k"),
    ("|)", "d"),
    ("/\\", "a"),
    ("\\/\\/", "w"),
    ("\\/", "v"),
    ("()", "o"),
)
_DIGITS = frozenset("0123456789@$")  # never stand between letters that belong together
_SWAPPED = frozenset("0134567892@$!|+€£¢¥§(<^")
_PARTS = re.compile(r"[a-z]+|[^a-z]")
_BETWEEN = re.compile(r"[^a-z]+")
_CONTRACTION = re.compile(r"[a-z]+['’](?:s|t|d|m|re|ve|ll)")
_NUMBER = re.compile(r"[\d.,:/$€£%+-]*(?:1st|2nd|3rd|\dth|\d(?:s|x|k|m|am|pm|h|min|kg|km|cm|mm|gb|mb)?|[.,:/$€£%+-])")
_ADDRESS = re.compile(r"://|^www\.|\w@\w+\.\w")
_REPEATED = re.compile(r"([a-z])\1{2,}")
_DOUBLED = re.compile(r"([a-z])\1+")
_PAIRED = re.compile(r"([a-z])\1")
_STARRED = re.compile(r"[a-z]+[*#][*#a-z]*[a-z]|[a-z]+[*#]+")


def spelled_out(core: str, words: Words) -> str:
    """Return what a chunk on its own reads as, or an empty text where it reads best as it is."""
    if len(core) < SHORT or words.known(core):
        return ""
    return _remembered(core, words) if len(core) <= LONGEST_KEPT else _read(core, words)


def _read(core: str, words: Words) -> str:
    """Return the cheapest spelling of a chunk that is no word, or an empty text where none is much cheaper."""
    if not core.isascii() and not SIGNS & set(core):
        return ""
    if _NUMBER.fullmatch(core) or _CONTRACTION.fullmatch(core) or _ADDRESS.search(core):
        return ""
    before = sum(words.cost(part) if part.isalpha() else MARK for part in _PARTS.findall(core))
    best, reading = before - LEAST_GAIN, ""
    for letters, dropped, whole in _spellings(core, words):
        if 0 < dropped < SHORT and not words.known(letters):
            continue  # "shiitake": a letter or two that stand twice are no disguise
        if whole or words.known(letters) or len(letters) < LEAST_JOINED:
            cost, found = words.cost(letters), [letters]
        else:
            cost, found = words.segment(letters)
        if len(found) > 1 and core.isalpha():
            cost += LEAST_GAIN  # "cheerleaders" is two words that people do write as one
        if not (wordlike(cost, len(letters)) or cost <= HALF * before):
            continue
        cost += 0.0 if words.known(letters) else DROPPED * dropped
        if cost < best:
            best, reading = cost, " ".join(found)
    return reading if reading != core else ""


_remembered = lru_cache(maxsize=8192)(_read)


def _spellings(core: str, words: Words) -> list[tuple[str, int, bool]]:
    """Return the letters that a chunk may stand for, how many were dropped, and whether they must be one word."""
    parts = [part for part in _BETWEEN.split(core) if part]
    several = len(parts) > 1 and any(len(part) >= SHORT and words.known(part) for part in parts)
    swapped = bool(_SWAPPED & set(core))
    found: dict[str, bool] = {}
    if several and all(len(part) == 1 or words.known(part) for part in parts):
        if not swapped:
            return []
    elif not _DIGITS & set(core):
        found["".join(parts)] = several
    drawn = core
    for picture, letter in _DRAWN:
        drawn = drawn.replace(picture, letter)
    if drawn != core or swapped:
        for table in (LEET, LEET_L):
            found.setdefault("".join(_BETWEEN.split(drawn.translate(table))), several)
    if _STARRED.fullmatch(core) and 0 < core.count("*") + core.count("#") <= 2:
        found.update(dict.fromkeys((filled for filled in _filled(core) if words.known(filled)), True))
    spelled: dict[str, tuple[int, bool]] = {letters: (0, whole) for letters, whole in found.items()}
    for letters, whole in found.items():
        once = _REPEATED.sub(r"\1", letters)
        spelled.setdefault(_REPEATED.sub(r"\1\1", letters), (0, whole))
        spelled.setdefault(once, (0, whole))
        for single in (_DOUBLED.sub(r"\1", letters), _PAIRED.sub(r"\1", letters)):
            spelled.setdefault(single, (max(0, len(once) - len(single)), whole))
    return [(letters, *rest) for letters, rest in spelled.items() if len(letters) >= SHORT]


def _filled(core: str) -> list[str]:
    """Return the word with vowels for the letters that were starred out."""
    found = [""]
    for c in core:
        found = [start + letter for start in found for letter in ("aeiou" if c in "*#" else c)]
    return found
