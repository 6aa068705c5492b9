"""Emoji as their names: the encoder's vocabulary has words for a snake and for a pistol, but no sign for either."""

from __future__ import annotations

import re
from functools import lru_cache

from emoji import EMOJI_DATA

MAX_WORDS = 4  # of a name: "face with tears of joy" loses nothing that matters

_EMOJI = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]")
_JOINERS = re.compile("[\ufe0e\ufe0f\u200d]")  # between two emoji they show nothing
_FILLERS = frozenset({"with", "of", "and", "sign", "symbol", "button"})
_SKIN = range(0x1F3FB, 0x1F400)


def named(text: str) -> tuple[str, list[int]]:
    """Return ``text`` with its emoji named, and for each of its characters where in ``text`` it comes from.

    >>> named("a \U0001f40d!")
    ('a  snake !', [0, 1, 2, 2, 2, 2, 2, 2, 2, 3])
    """
    found: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        said = _name(character) if _EMOJI.match(character) else character
        if _JOINERS.match(character) and place and _EMOJI.match(text[place - 1]):
            said = ""
        found.append(said)
        places += [place] * len(said)
    return "".join(found), places


def has_emoji(text: str) -> bool:
    """Return whether there is anything to name."""
    return not text.isascii() and _EMOJI.search(text) is not None


@lru_cache(maxsize=4096)
def _name(character: str) -> str:
    """Return an emoji's CLDR short name between spaces, nothing for a skin tone, else the character itself."""
    if ord(character) in _SKIN:
        return ""
    entry = EMOJI_DATA.get(character) or EMOJI_DATA.get(f"{character}\ufe0f")
    if entry is None:
        return character
    words = str(entry["en"]).strip(":").lower().replace("_", " ").replace("-", " ").split()
    return f" {' '.join([word for word in words if word not in _FILLERS][:MAX_WORDS])} "
