"""A loaded MemoryBot version: numpy over its rows, immutable, shared by threads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from filters.types import Encoder
from learner.bots.memory_ranker import FLOOR, TOP_K, Float, Query, features, noise, parse, words
from learner.bots.memory_rows import Row, RowTable
from learner.manifest import RANKER, TOMBSTONES, folder_of
from learner.texts import plain
from learner.types import Turn, Version

QUERY_TOKENS_MAX = 120
CONTEXT_CHARS_MAX = 200
CONTEXT_SHARE = 0.35
_SHORT_WORDS = 4
_PIECES = re.compile(r"\s*\S+(?:\s+$)?")

Candidate = tuple[float, Row]


def window(text: str, encoder: Encoder) -> str:
    """Return the beginning of a text that the encoder takes whole, halved until it fits."""
    text = " ".join(plain(text).split())[:2000]
    while encoder.count_tokens(text) > QUERY_TOKENS_MAX:
        text = text[: len(text) // 2]
    return text


def pieces(text: str) -> Iterator[str]:
    """Yield a text word by word; the pieces joined are the text.

    >>> list(pieces("Hi, I am Wren!"))
    ['Hi,', ' I', ' am', ' Wren!']
    """
    yield from _PIECES.findall(text)


class MemoryAnswerer:
    """Answer with the best of the nearest rows, or with a fallback row when none is near.

    ``embed`` gives a text's unit embedding; versions of one bot share it, with what it remembers.
    """

    def __init__(self, folder: Path, version: Version, embed: Callable[[str], Float]) -> None:
        home = folder_of(folder, version.id)
        self._version = version.id
        self._weights = parse((home / RANKER).read_bytes())
        self._table = RowTable(folder, version.segments, (home / TOMBSTONES).read_bytes())
        self._fallbacks = self._table.fallbacks()
        self._embed = embed

    @property
    def version(self) -> str:
        """Id of the version."""
        return self._version

    def reply(self, turns: Sequence[Turn], *, seed: int = 0, choice: int = 0) -> Iterator[str]:
        """Yield the reply in word pieces; choice ``n`` is the n-th best different reply."""
        best: dict[tuple[str, ...], str] = {}
        for _, row in self._candidates(turns, seed):
            best.setdefault(words(row.reply), row.reply)
        replies = list(best.values())
        yield from pieces(replies[choice % len(replies)])

    def evidence(self, turns: Sequence[Turn], *, limit: int = 5) -> list[tuple[str, float]]:
        """Return the ids of the rows behind the reply, its giver first; weights sum to 1 over all found."""
        found = self._candidates(turns, 0)
        first = words(found[0][1].reply)
        behind = sorted(found, key=lambda pair: words(pair[1].reply) != first)
        scores = np.asarray([score for score, _ in behind])
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        return [(row.id, round(float(share), 4)) for (_, row), share in zip(behind, shares, strict=True)][:limit]

    def _candidates(self, turns: Sequence[Turn], seed: int) -> list[Candidate]:
        """Return rows with their scores, best first; fallback rows last. Never empty."""
        text, before = _asked(turns)
        query = self._query(text, before)
        found = [at for at in self._table.nearest(query.embedding, TOP_K) if text]
        found = [at for at, near in zip(found, self._table.at(found, query.embedding), strict=True) if near >= FLOOR]
        ranked = self._ranked(query, found, before, seed) if found else []
        return ranked + self._fallback(text, before, seed)

    def _ranked(self, query: Query, found: Sequence[int], before: str, seed: int) -> list[Candidate]:
        rows = [self._table.row(at) for at in found]
        matrix = features(query, self._table, found, rows)
        scores = np.round(matrix.astype(np.float64) @ self._weights.astype(np.float64), 6).tolist()
        said, asked = words(before), words(query.text)
        order = []
        for at, row, score in zip(found, rows, scores, strict=True):
            repeats = words(row.reply) == said and words(row.prompt) != asked
            order.append((repeats, -(score + noise(seed, row.id)), -at, score, row))
        return [(score, row) for *_, score, row in sorted(order, key=lambda item: item[:3])]

    def _fallback(self, text: str, before: str, seed: int) -> list[Candidate]:
        def key(row: Row) -> tuple[bool, str]:
            return row.reply == before, hashlib.sha256(f"{seed}:{text}:{row.id}".encode()).hexdigest()

        return [(0.0, row) for row in sorted(self._fallbacks, key=key)]

    def _query(self, text: str, before: str) -> Query:
        embedding = self._embed(text)
        if not before or len(words(text)) >= _SHORT_WORDS:
            return Query(text, embedding, embedding)
        mixed = embedding + np.float32(CONTEXT_SHARE) * self._embed(before[-CONTEXT_CHARS_MAX:])
        return Query(text, embedding, (mixed / np.linalg.norm(mixed)).astype(np.float32))


def _asked(turns: Sequence[Turn]) -> tuple[str, str]:
    """Return the last user turn and the assistant turn before it, each empty when there is none."""
    spoken = [turn for turn in turns if turn.role in ("user", "assistant") and turn.text.strip()]
    while spoken and spoken[-1].role != "user":
        spoken.pop()
    if not spoken:
        return "", ""
    before = next((turn.text for turn in reversed(spoken[:-1]) if turn.role == "assistant"), "")
    return plain(spoken[-1].text).strip(), plain(before).strip()
