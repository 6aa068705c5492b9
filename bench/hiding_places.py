"""More ways to hide that no single reading undoes: emoji for words, cuts over lines, dense tokens, very long texts."""

from __future__ import annotations

import random
import re

from bench.transforms_texts import PADDING, Transform

EMOJI = {
    "shit": "💩", "crap": "💩", "poop": "💩", "pig": "🐷", "rat": "🐀", "snake": "🐍", "clown": "🤡", "trash": "🗑️",
    "garbage": "🗑️", "monkey": "🐒", "dog": "🐶", "bitch": "🐕", "ass": "🍑", "dick": "🍆", "cock": "🐓", "kill": "🔪",
    "die": "💀", "dead": "💀", "gay": "🏳️‍🌈", "fuck": "🖕", "fucking": "🖕", "hate": "😡", "stupid": "🤪", "fire": "🔥",
    "gun": "🔫", "women": "👩", "woman": "👩", "jew": "✡️", "jews": "✡️", "muslim": "☪️", "muslims": "☪️",
}  # fmt: skip
_WORD = re.compile(rf"\b({'|'.join(EMOJI)})\b", re.IGNORECASE)

DENSE = "漢字仮名交じり文"
LONG_TOKENS = 20_000
PADDING_TOKENS = 40  # of PADDING, about
SPLIT_WORDS = 3


def _emoji(text: str, _: random.Random) -> str:
    return _WORD.sub(lambda match: EMOJI[match.group().lower()], text)


def _lines(text: str, _: random.Random) -> str:
    words = text.split()
    return "\n".join(" ".join(words[at : at + SPLIT_WORDS]) for at in range(0, len(words), SPLIT_WORDS))


def _dense(text: str, dice: random.Random) -> str:
    return f"{''.join(dice.choices(DENSE, k=60))} {text}"


PLACES: dict[str, Transform] = {
    "emoji for words": _emoji,
    "split over lines": _lines,
    "dense tokens before": _dense,
}
"""Name to transform, beside those of ``transforms_texts``; the encoder's training sees none of these."""


def buried(text: str, at: float) -> str:
    """Return the text at that share of some 20,000 tokens of benign sentences."""
    whole = LONG_TOKENS // PADDING_TOKENS
    before = round(at * whole)
    return f"{PADDING * before}{text} {PADDING * (whole - before)}"
