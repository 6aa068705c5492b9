"""A tiny deterministic encoder and scorer, so that tests of learning need no model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from filters.types import Embedding, Item, Scores

_BAD = re.compile(r"\b(idiot|stupid|dumb)\b", re.IGNORECASE)


class BagOfWords:
    """Hashed bag of words, 64 dimensions; texts with the same words are the same."""

    dim = 64

    def __init__(self, version: str = "bag-of-words-1") -> None:
        self.version = version
        self.encoded = 0

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def embed_many(self, texts: Sequence[str]) -> Embedding:
        self.encoded += len(texts)
        return np.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> Embedding:
        vector = np.full(self.dim, 1e-3, np.float32)
        for word in re.findall(r"\w+", text.casefold()):
            digest = hashlib.sha256(word.encode("utf-8", "replace")).digest()
            for at, sign in ((digest[0], 1), (digest[1], -1), (digest[2], 1), (digest[3], -1)):
                vector[at % self.dim] += sign
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def score_words(items: Sequence[Item]) -> list[Scores]:
    """Give 0.9 toxicity to a text with a rude word and 0.01 to all others."""
    return [Scores("words", "1", {"toxicity": 0.9 if _BAD.search(item.text) else 0.01}) for item in items]


def score_nothing(items: Sequence[Item]) -> list[Scores]:
    """A filter that is broken: nothing is scored."""
    return [Scores("words", "1", coverage=0.0, error="broken") for _ in items]
