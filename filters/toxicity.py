"""The shipped encoder's toxicity labels as a filter; the embedding comes out of the same pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from filters.code import code_version
from filters.encoder import OnnxEncoder, Tokens
from filters.merge import Running
from filters.types import Item, Scores, Span
from filters.units import UNIT_TOKENS, chains, split

WHOLE = "toxicity"
"""The label that all others are kinds of."""

SPAN_SCORE = 0.1
"""A unit whose score is lower has no spans of its own: it is what anybody says."""

SPAN_DEPTH = 1.5
"""How far below the highest peak of a unit, in logits, a token still belongs to the span; see ``bench/spans.py``."""

Floats = npt.NDArray[np.float64]


class ToxicityFilter:
    """Labels of :class:`filters.encoder.OnnxEncoder`, each unit read with the units before it.

    Toxicity is at least as high as any of its kinds: an insult is toxic, however sure its own head is. With
    ``as_read`` it is what its head says, which is what calibration wants. With ``embed``, scores of what people say
    (direction ``in``) carry the embedding; it costs the upper layers, which plain talk does without otherwise. The
    scores are the same.
    """

    def __init__(
        self,
        encoder: OnnxEncoder | None = None,
        name: str = "toxicity",
        *,
        embed: bool = False,
        as_read: bool = False,
    ) -> None:
        self.encoder = encoder or OnnxEncoder()
        self._embed = embed
        self._whole = None if as_read else self.encoder.labels.index(WHOLE)
        self._name = name
        self._version = hashlib.sha256(f"{self.encoder.version} {code_version()}".encode()).hexdigest()

    @property
    def name(self) -> str:
        """The instance's name."""
        return self._name

    @property
    def version(self) -> str:
        """sha256 over the encoder's file, which holds the heads as well, and the code that reads a text."""
        return self._version

    @property
    def memoryless(self) -> bool:
        """Whether the scores depend on the item's text, context, prompt and direction alone."""
        return True

    @property
    def labels(self) -> tuple[str, ...]:
        """The heads' labels."""
        return self.encoder.labels

    def score_many(self, items: Sequence[Item]) -> list[Scores]:
        """Return one :class:`Scores` per item, in order; consecutive units of one text share a pass.

        A text longer than a unit is split into units.
        """
        found: list[Scores] = []
        for chain in _chained(items):
            found += self._score_chain(chain)
        return found

    def _score_chain(self, chain: Sequence[Item]) -> list[Scores]:
        read = [self.encoder.tokens(item.text) for item in chain]
        if any(len(tokens.ids) > UNIT_TOKENS for tokens in read):
            return [self._score_units(item) for item in chain]
        if not any(tokens.ids for tokens in read):
            return [self._nothing() for _ in chain]
        context = [self.encoder.tokens(text).ids for text in chain[0].context]
        wanted = self._embed and chain[0].direction == "in"
        passed = self.encoder.run([*context, *(tokens.ids for tokens in read)], embed=wanted)
        first = len(context)
        scores = 1.0 / (1.0 + np.exp(-np.clip(passed.logits[first:].astype(np.float64), -30.0, 30.0)))
        if self._whole is not None:
            scores[:, self._whole] = scores.max(axis=1)
        return [
            Scores(
                self._name,
                self.version,
                dict(zip(self.labels, map(float, values), strict=True)),
                spans=tuple(self._spans(item.text, tokens, peaks, values)),
                embedding=embedding if wanted else None,
            )
            if tokens.ids
            else self._nothing()
            for item, tokens, peaks, values, embedding in zip(
                chain, read, passed.peaks[first:], scores, passed.means[first:], strict=True
            )
        ]

    def _nothing(self) -> Scores:
        return Scores(self._name, self.version, dict.fromkeys(self.labels, 0.0))

    def _spans(self, text: str, tokens: Tokens, peaks: npt.NDArray[np.float32], values: Floats) -> Iterator[Span]:
        """Yield the words of a unit that carry its scores."""
        for column in np.flatnonzero(values >= SPAN_SCORE):
            high = peaks[:, column] >= peaks[:, column].max() - SPAN_DEPTH
            for start, end in _words(text, [tokens.ranges[at] for at in np.flatnonzero(high)]):
                yield Span(start, end, self.labels[column], float(values[column]))

    def _score_units(self, item: Item) -> Scores:
        """Return the scores of a text that nobody has split."""
        running = Running(self._name, self.version)
        for chain in chains(split(item.text, self.encoder.count_tokens)):
            if any(len(self.encoder.tokens(unit.text).ids) > UNIT_TOKENS for unit in chain):
                unread = Scores(self._name, self.version, coverage=0.0, error="a unit has too many tokens")
                found = [unread for _ in chain]
            else:
                found = self._score_chain([Item(unit.text, context=unit.context) for unit in chain])
            for unit, scores in zip(chain, found, strict=True):
                running.add(unit, scores)
        return running.scores


def _chained(items: Sequence[Item]) -> list[list[Item]]:
    """Return consecutive items together, each of which has those before it as the end of its context."""
    found: list[list[Item]] = []
    for item in items:
        last = found[-1][-1] if found else None
        if last is not None and last.text and item.context == (*last.context, last.text):
            found[-1].append(item)
        else:
            found.append([item])
    return found


def _words(text: str, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges widened to whole words, those that meet put together.

    >>> _words("You are stupid, really", [(8, 11), (11, 14)])
    [(8, 14)]
    """
    found: list[tuple[int, int]] = []
    for left, right in ranges:
        start, end = left, right
        while start and text[start - 1].isalnum():
            start -= 1
        while end < len(text) and text[end].isalnum():
            end += 1
        if found and not text[found[-1][1] : start].strip():
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found
