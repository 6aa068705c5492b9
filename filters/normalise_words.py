"""How much a run of letters looks like words, from a sub-word vocabulary that is ordered by frequency.

A cost is in nats and estimates minus the logarithm of a word's probability by Zipf's law: rank ``r`` of ``n`` words has
the probability ``1 / (r H(n))``, ``H`` the harmonic number, which is about 11 for 30,000 words (Zipf 1949).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

HARMONIC = math.log(11.0)
CONTINUED = 1.5  # what a sub-word inside a word costs more than a word of its rank, so that names fall in few words
RARE_PAIR = 4.0  # two letters that are in the vocabulary as an abbreviation
LETTER = 9.0  # a letter on its own, or one that no sub-word holds; a random letter of 26 would cost 3.3
LETTER_RATE, LETTER_BASE = 3.3, 3.0  # nats a letter and in all that what is read may cost; random letters cost 5 each
LONGEST_KEPT = 32  # letters of a word whose cost is remembered: strangers' text must not fill the memory
LONGEST_WORD = 18
OPENING = 5  # letters that no piece opens with are not looked at as longer ones
LONGEST_RUN = 256  # letters segmented at once; longer runs are cut there, so that time is linear
_PAIRS = (
    "ad ah am an as at be by do eh go ha he hi hm if im in is it me mr ms my"
    " no of oh ok on or ow so tv uh um up ur us we ya ye yo"
)
PAIRS = frozenset(_PAIRS.split(" "))
SINGLE = {"a": 4.0, "i": 4.0, "u": 7.0, "r": 8.0}


class Words:
    """A vocabulary (piece to id, WordPiece's ``##`` before a continuation; a lower id is more frequent) as word costs.

    Empty, it knows no word, and nothing that asks for a gain in known words is ever proposed.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        ordered = [piece for piece in sorted(vocabulary, key=lambda piece: vocabulary[piece]) if _is_word(piece)]
        self._starts: dict[str, float] = dict(SINGLE) if ordered else {}
        self._inside: dict[str, float] = {}
        for rank, piece in enumerate(ordered, 1):
            cost = math.log(rank) + HARMONIC
            if piece.startswith("##"):
                self._inside[piece[2:]] = cost + CONTINUED
            else:
                self._starts[piece] = cost + (RARE_PAIR if len(piece) == 2 and piece not in PAIRS else 0.0)
        self._openings = {piece[:OPENING] for piece in (*self._starts, *self._inside) if len(piece) >= OPENING}
        self.spelled = lru_cache(maxsize=4096)(self._spelled)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def known(self, word: str) -> bool:
        """Return whether lower-case ``word`` is a word by itself."""
        return word in self._starts and (len(word) > 2 or word in PAIRS or word in SINGLE)

    def cost(self, word: str) -> float:
        """Return what a lower-case word costs as it stands: as one word, in pieces where it has to be."""
        found = self._starts.get(word)
        if found is None:
            found = self.spelled(word) if len(word) <= LONGEST_KEPT else self._spelled(word)
        return found

    def _spelled(self, word: str) -> float:
        return sum(self._best(word[at : at + LONGEST_RUN], apart=False)[0] for at in range(0, len(word), LONGEST_RUN))

    def readable(self, text: str) -> bool:
        """Return whether the letters of ``text`` read like words; without a word list everything does."""
        letters = "".join(c for c in text.lower() if "a" <= c <= "z")
        return not self or wordlike(self.segment(letters)[0], len(letters))

    def segment(self, letters: str) -> tuple[float, list[str]]:
        """Return the cheapest way to read lower-case letters as words: its cost and the words."""
        total, words = 0.0, []
        for at in range(0, len(letters), LONGEST_RUN):
            cost, found = self._best(letters[at : at + LONGEST_RUN], apart=True)
            total += cost
            words += found
        return total, words

    def _best(self, letters: str, *, apart: bool) -> tuple[float, list[str]]:
        """Viterbi over the pieces; without ``apart`` a word starts at the first letter only."""
        size = len(letters)
        costs = [0.0] + [math.inf] * size
        origins: list[tuple[int, bool]] = [(0, True)] * (size + 1)
        for start in range(size):
            base = costs[start]
            for end in range(start + 1, min(start + LONGEST_WORD, size) + 1):
                part = letters[start:end]
                if end == start + OPENING and part not in self._openings:
                    break
                if start == 0 or apart:
                    cost = base + self._starts.get(part, LETTER if end == start + 1 else math.inf)
                    if cost < costs[end]:
                        costs[end], origins[end] = cost, (start, True)
                if start:
                    cost = base + self._inside.get(part, LETTER if end == start + 1 else math.inf)
                    if cost < costs[end]:
                        costs[end], origins[end] = cost, (start, False)
        words: list[str] = []
        end, tail = size, ""
        while end:
            start, opens = origins[end]
            tail = letters[start:end] + tail
            if opens:
                words.append(tail)
                tail = ""
            end = start
        return costs[size], words[::-1]


def wordlike(cost: float, letters: int) -> bool:
    """Return whether letters of that cost in all read like words."""
    return cost <= LETTER_RATE * letters + LETTER_BASE


def _is_word(piece: str) -> bool:
    letters = piece.removeprefix("##")
    return letters.isascii() and letters.isalpha() and letters.islower() and (len(letters) > 1 or piece != letters)


NO_WORDS = Words({})
