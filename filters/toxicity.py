"""The shipped encoder's toxicity labels as a filter; the embedding comes out of the same pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filters.encoder import OnnxEncoder
from filters.merge import Running
from filters.types import Item, Scores
from filters.units import UNIT_TOKENS, Unit, split

CONTEXT_TOKENS = (
    48  # of the 128 that a unit brings: the pass of a sentence in a long text costs a third of what all would
)


class ToxicityFilter:
    """Labels of the heads on :class:`filters.encoder.OnnxEncoder`, each the worse of two readings.

    One reading looks at the text alone with its context attended to, the other at both together, so that neither a
    benign context hides a bad sentence nor a bad one hides by being cut in two.
    """

    def __init__(self, encoder: OnnxEncoder | None = None, name: str = "toxicity") -> None:
        self.encoder = encoder or OnnxEncoder()
        self._name = name

    @property
    def name(self) -> str:
        """The instance's name."""
        return self._name

    @property
    def version(self) -> str:
        """The encoder's, whose file holds the heads as well."""
        return self.encoder.version

    @property
    def labels(self) -> tuple[str, ...]:
        """The heads' labels."""
        return self.encoder.labels

    def score_many(self, items: Sequence[Item]) -> list[Scores]:
        """Return one :class:`Scores` per item, in order; a text longer than a unit is split into units."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> Scores:
        ids = self.encoder.token_ids(item.text)
        if not ids:
            return Scores(self._name, self.version, dict.fromkeys(self.labels, 0.0))
        if len(ids) > UNIT_TOKENS:
            return self._score_units(item)
        context = self.encoder.token_ids(item.context)[-CONTEXT_TOKENS:]
        passed = self.encoder.run(ids, context)
        worst = passed.logits.max(axis=0).astype(np.float64)
        values = 1.0 / (1.0 + np.exp(-np.clip(worst, -30.0, 30.0)))
        labelled = {label: float(value) for label, value in zip(self.labels, values, strict=True)}
        return Scores(self._name, self.version, labelled, embedding=passed.embedding)

    def _score_units(self, item: Item) -> Scores:
        running = Running(self._name, self.version)
        for unit in split(item.text, self.encoder.count_tokens):
            context = unit.context or item.context
            if len(self.encoder.token_ids(unit.text)) > UNIT_TOKENS:
                running.add(unit, Scores(self._name, self.version, coverage=0.0, error="a unit has too many tokens"))
                continue
            running.add(
                Unit(unit.text, unit.start, unit.end, context, unit.tokens), self._score(_part(item, unit, context))
            )
        return running.scores


def _part(item: Item, unit: Unit, context: str) -> Item:
    return Item(unit.text, item.direction, item.prompt, item.author, item.conversation, item.at_ms, context)
