"""MemoryBot's ranker: which of the nearest rows answers. Seven features, one weight each; numpy serves, torch trains.

The start weights are chosen by hand so that what was learned wins over a factory row that fits as well, and loses to
one that fits better by a cosine of 0.15. Training may move each weight inside its bounds only, so that this stays so.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from learner.bots.memory_rows import Row, RowTable
from learner.errors import CorruptError

FEATURES = ("cosine", "context", "exact", "overlap", "support", "recency", "factory")
START = (6.0, 1.0, 2.0, 1.0, 0.5, 0.2, -0.6)
BOUNDS = ((4.0, 9.0), (0.0, 1.5), (1.5, 4.0), (0.0, 2.0), (0.0, 1.0), (0.1, 0.6), (-0.9, -0.4))
FLOOR = 0.45
"""Below this cosine no row fits, and a fallback row answers; between unrelated small talk MiniLM gives 0.1 to 0.4."""
TOP_K = 24
SEED_NOISE = 0.3
"""Largest bonus that a seed gives a row: below what separates a learned row from a factory row (0.4 + 0.1)."""

Float = npt.NDArray[np.float32]
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: the text, its unit embedding, and the embedding of the text with a little of the turn before."""

    text: str
    embedding: Float
    context: Float


@lru_cache(maxsize=8192)
def words(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case.

    >>> words("Hello, Wren!")
    ('hello', 'wren')
    """
    return tuple(_WORDS.findall(text.casefold()))


def overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """Return shared words / all words of two texts, in [0, 1].

    >>> overlap(("a", "b"), ("b", "c"))
    0.3333333333333333
    """
    union = set(first) | set(second)
    return len(set(first) & set(second)) / len(union) if union else 0.0


def features(query: Query, table: RowTable, found: Sequence[int], rows: Sequence[Row]) -> Float:
    """Return ``(len(found), 7)`` features of the rows at the positions ``found``."""
    asked = words(query.text)
    cosine = table.at(found, query.embedding)
    context = table.at(found, query.context)
    repliers: dict[tuple[str, ...], set[str]] = {}
    for row, near in zip(rows, cosine, strict=True):
        if near >= FLOOR:
            repliers.setdefault(words(row.reply), set()).add(row.author or row.id)
    told = [words(row.prompt) for row in rows]
    support = [min(1.0, max(0, len(repliers.get(words(row.reply), ())) - 1) / 4) for row in rows]
    factory = [float(row.role != "learned") for row in rows]
    recency = [0.0 if flag else (at + 1) / table.size for at, flag in zip(found, factory, strict=True)]
    exact = [float(bool(asked) and asked == other) for other in told]
    columns = [cosine, context, exact, [overlap(asked, other) for other in told], support, recency, factory]
    return np.stack([np.asarray(column, np.float32) for column in columns], axis=1)


def noise(seed: int, row: str) -> float:
    """Return the bonus that a seed gives a row, in [0, SEED_NOISE); seed 0 gives none."""
    if not seed:
        return 0.0
    digest = hashlib.sha256(f"{seed}:{row}".encode()).digest()
    return SEED_NOISE * int.from_bytes(digest[:4], "big") / 2**32


def dump(weights: Float) -> bytes:
    """Return the ranker's file."""
    return bytes(save({"weights": np.ascontiguousarray(weights, np.float32)}))


def parse(data: bytes) -> Float:
    """Return the weights in a ranker's file; raises :class:`CorruptError` when they are none."""
    try:
        weights: Float = load(data)["weights"]
    except (KeyError, ValueError, OSError) as exc:
        raise CorruptError("ranker.safetensors cannot be read; choose another version") from exc
    if weights.shape != (len(FEATURES),) or not all(math.isfinite(value) for value in weights.tolist()):
        raise CorruptError("ranker.safetensors does not hold seven weights; choose another version")
    return weights
