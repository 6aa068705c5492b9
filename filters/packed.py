"""A unit's scores as a line of ASCII text and back, bit for bit, for a cache; only what is whole is ever packed."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from filters.types import Embedding, Scores, Span


def packed(found: Sequence[Scores]) -> str | None:
    """Return every filter's scores of one unit as text, or None where a filter did not score all of it.

    Broken, partial and absent scores may be whole the next time, and a delta belongs to one message: none is packed.

    >>> packed([Scores("words", "1", {"red": 0.1})])
    '[["words","1",{"red":0.1},[],{},null]]'
    >>> packed([Scores("words", "1", {"red": float("nan")})]) is None
    True
    """
    if not found or not all(map(_whole, found)):
        return None
    return json.dumps([_row(scores) for scores in found], separators=(",", ":"))


def unpacked(text: str) -> tuple[Scores, ...]:
    """Return what :func:`packed` packed.

    Raises
    ------
    ValueError
        The text is damaged; score the unit again.

    >>> unpacked(packed([Scores("words", "1", {"red": 0.1})]))[0].values
    {'red': 0.1}
    """
    try:
        found = tuple(_scores(*row) for row in json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise ValueError(f"these packed scores are damaged ({type(exc).__name__}); score the unit again") from exc
    if not found or not all(map(_whole, found)):
        raise ValueError("these packed scores are not whole; score the unit again")
    return found


def _whole(scores: Scores) -> bool:
    return scores.coverage == 1.0 and not scores.error and not scores.absent and scores.delta is None


def _row(scores: Scores) -> list[Any]:
    values = {label: float(value) for label, value in scores.values.items()}
    spans = [[int(span.start), int(span.end), span.label, float(span.score)] for span in scores.spans]
    return [scores.filter, scores.version, values, spans, dict(scores.variants), _text(scores.embedding)]


def _scores(
    name: str, version: str, values: dict[str, float], spans: list[Any], variants: dict[str, str], embedding: str | None
) -> Scores:
    places = tuple(Span(*span) for span in spans)
    return Scores(name, version, dict(values), spans=places, variants=dict(variants), embedding=_embedding(embedding))


def _text(embedding: Embedding | None) -> str | None:
    return None if embedding is None else base64.b64encode(embedding.astype("<f4").tobytes()).decode("ascii")


def _embedding(text: str | None) -> Embedding | None:
    if text is None:
        return None
    try:
        found: Embedding = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    except binascii.Error as exc:
        raise ValueError("the embedding is not base64") from exc
    return found
